"""The bank card switch's header and body, partners' files of a day, and that every shared vector has a test."""

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import iso8583
import pytest
from sqlalchemy import select

from core.clock import business_date
from core.errors import Rejected
from hsm_sim import mac
from payments import requests as r
from payments.check_file import (
    check_day,
    compare,
    export_check_file,
    read_check_file,
    write_check_file,
)
from payments.clearing_file import FileFault
from payments.columns import LineFault
from payments.messages import SPEC
from payments.switch_messages import SwitchFault, SwitchHeader, SwitchMessage
from payments.tables import LoadRow
from payments.unionpay_files import is_unload, read_com, write_com
from tests.host_bench import Keys, LabCard, LabHost

VECTORS = json.loads(Path("tests/vectors/iso8583.json").read_text("utf-8"))["vectors"]
BY_ID = {vector["id"]: vector for vector in VECTORS}


def test_the_switch_header_reads_and_writes_back() -> None:
    vector = BY_ID["p-cups-header"]
    raw = bytes.fromhex(vector["inputs"]["header"])
    header, expected = SwitchHeader.parse(raw), vector["expected"]
    assert (header.destination, header.source, f"{header.total:04d}", header.reject) == (
        expected["destination"], expected["source"], expected["total_length"],
        expected["reject_code"],
    )  # fmt: skip
    assert (header.reserved.hex(), f"{header.version:02X}", f"{header.batch:02X}") == (
        expected["reserved"].lower(), expected["version"], expected["batch"],
    )  # fmt: skip
    assert bytes(header) == raw
    with pytest.raises(SwitchFault):
        SwitchHeader.parse(raw[:-1])


@pytest.mark.parametrize("name", ["p-cups-test01", "p-cups-test10"])
def test_the_switch_body_reads_and_writes_back(name: str) -> None:
    raw = bytes.fromhex(BY_ID[name]["inputs"]["body"])
    message, expected = SwitchMessage.parse(raw), BY_ID[name]["expected"]
    shown = {
        str(number): value.hex().upper() if isinstance(value, bytes) else value
        for number, value in message.fields.items()
    }
    assert message.mti == expected["mti"]
    for number, value in expected["fields"].items():
        assert shown[number] == value, number
    assert bytes(message) == raw
    for cut in (3, 11, 40, len(raw) - 1):
        with pytest.raises(SwitchFault):
            SwitchMessage.parse(raw[:cut])
    with pytest.raises(SwitchFault, match="trailing"):
        SwitchMessage.parse(raw + b"0")
    assert shown["2"] not in repr(message)


def test_an_odd_number_of_digits_gets_a_zero_in_front() -> None:
    wanted = BY_ID["p-odd-left"]
    entry = {**SPEC["2"], "len_type": wanted["inputs"]["length_bytes"], "left_pad": "0"}
    del entry["right_pad"]
    spec = {**SPEC, "2": entry}
    raw, _ = iso8583.encode({"t": "0200", "2": wanted["inputs"]["value"]}, spec)
    assert bytes(raw)[10:].hex() == wanted["expected"]["hex"]


# The tail of an answer of the public simulator: 100, 121, 123 with 226 bytes, 128.
LONG_TAIL = {100: "03050001", 121: "51S00000002503050001   00000000000000AA000", 123: "N " * 113,
             128: b"23B01FCE"}  # fmt: skip


def test_a_reserved_field_may_be_longer_than_printed_tables_say() -> None:
    told = SwitchMessage("0210", {2: "6226010562885479", 39: "00", 56: "PR003", **LONG_TAIL})
    assert SwitchMessage.parse(bytes(told)) == told


@pytest.mark.parametrize(
    "vector", [pytest.param(v, id=v["id"]) for v in VECTORS if v["op"].startswith("mac_")]
)
def test_message_macs(vector: dict[str, Any]) -> None:
    given, expected = vector["inputs"], vector["expected"]
    key, mab = bytes.fromhex(given["mak"]), bytes.fromhex(given["mab"])
    if vector["op"] == "mac_ecb":
        assert mac.unionpay(key, mab).hex().upper() == expected["field64"]
    elif vector["op"] == "mac_x99":
        assert mac.algorithm_1(key, mab, "1").hex().upper() == expected["full"]
    else:
        assert mac.algorithm_3(key, mab, "1").hex().upper() == expected["full"]


TESTED = frozenset(
    {
        "frame", "decode", "decode_reject", "reject", "reject_frame", "frame_mac", "mac_ecb",
        "mac_x99", "mac_x919", "work_keys", "pin_block", "f58", "f58_parse", "f58_unload",
        "f62_load_detail", "f62_parameters", "settlement_totals", "blacklist_page", "stream",
        "clearing_file", "bitmap", "encode_field", "cups_header", "cups_message", "scenario",
    }
)  # fmt: skip


def test_every_operation_of_the_vectors_has_its_test() -> None:
    counted = Counter(vector["op"] for vector in VECTORS)
    assert set(counted) <= TESTED
    assert counted.total() == 97


def test_a_banks_check_file_is_what_the_bank_was_debited(tmp_path: Path) -> None:
    host = LabHost(Keys(tmp_path))
    terminal, card = host.terminal(), LabCard("00001000000147")
    terminal.sign_on()
    for amount, kind in ((5000, r.LOAD), (700, r.CASH_LOAD), (1000, r.UNLOAD), (300, r.LOAD)):
        terminal.load(card, amount, kind)
    gone, _ = terminal.load_request(card, 900, r.LOAD)
    terminal.ask(gone)
    terminal.ask(r.reversal(gone, "98"))
    with host.db.read() as tx:
        name, raw = export_check_file(tx, host.profile, business_date(host.clock.now()))
    assert name == f"DZ_XYK_{host.profile.acquirer}_{business_date(host.clock.now()):%Y%m%d}.txt"
    lines = read_check_file(raw)
    assert [(line.amount, line.terminal) for line in lines] == [
        (5000, "10000001"),
        (300, "10000001"),
    ]
    assert raw.startswith(b"2|5300\r\n")
    assert {line.reference for line in lines} < {
        line.reference for line in host.bank.check_file(business_date(host.clock.now()))
    }
    for old, new, where in (
        (b"2|5300", b"2|5301", "line 0"), (b"|5000\r\n", b"|50x0\r\n", "line 1"),
        (b"|300\r\n", b"|300", "line 1"), (b"|10000001|", b"|", "line 1"), (b"|", b"\xff", "line 0"),
    ):  # fmt: skip
        with pytest.raises(LineFault, match=where):
            read_check_file(raw.replace(old, new, 1))
    host.close()


def test_a_banks_check_file_is_compared_reference_by_reference(tmp_path: Path) -> None:
    host = LabHost(Keys(tmp_path))
    terminal, card = host.terminal(), LabCard("00001000000147")
    terminal.sign_on()
    for amount in (5000, 300, 700, 900):
        terminal.load(card, amount, r.LOAD)
    gone, _ = terminal.load_request(card, 1100, r.LOAD)
    taken_back = terminal.ask(gone).text(37)
    terminal.ask(r.reversal(gone, "98"))
    host.bank.plan.append("refuse:51")
    broke = terminal.ask(terminal.load_request(card, 1200, r.LOAD)[0]).text(37)
    day = business_date(host.clock.now())
    with host.db.read() as tx:
        name, own = export_check_file(tx, host.profile, day)
        assert compare(tx, check_day(name, host.profile), own).differences == ()
        first, second, third, fourth = read_check_file(own)
        theirs = [
            second, second, replace(third, amount=701), replace(fourth, terminal="99999999"),
            replace(first, reference=taken_back, amount=1100),
            replace(first, reference=broke, amount=1200),
            replace(first, reference="633399999999"),
        ]  # fmt: skip
        found = compare(tx, day, write_check_file(theirs))
        assert {one.reference: (one.amount, one.code) for one in found.differences} == {
            first.reference: (-5000, "missing"), second.reference: (300, "twice"),
            third.reference: (1, "amount"), fourth.reference: (0, "card"),
            taken_back: (1100, "not-told"), broke: (1200, "declined"),
            "633399999999": (5000, "unknown"),
        }  # fmt: skip
        assert (len(found.differences), found.unexplained) == (7, 6)
        later = [compare(tx, day + timedelta(days=days), own) for days in (1, 2)]
        assert [{one.code for one in each.differences} for each in later] == [
            {"day-before"}, {"other-day"},
        ]  # fmt: skip
    host.authorizer.forward_orders()
    with host.db.read() as tx:
        codes = {one.code for one in compare(tx, day, write_check_file(theirs)).differences}
    assert "given-back" in codes
    with pytest.raises(FileFault, match="name"):
        check_day(name.replace("1128", "1131"), host.profile)
    with pytest.raises(Rejected, match="FILE-RECEIVER"):
        check_day(name.replace("48880001", "48880002"), host.profile)
    host.close()


def test_a_days_loads_as_a_com_file(tmp_path: Path) -> None:
    host = LabHost(Keys(tmp_path))
    terminal, card = host.terminal(), LabCard("00001000000147")
    terminal.sign_on()
    terminal.load(card, 5000, r.LOAD)
    terminal.load(card, 1000, r.UNLOAD)
    with host.db.read() as tx:
        raw = write_com(host.profile, tx.scalars(select(LoadRow).order_by(LoadRow.trace)).all())
    lines = read_com(raw)
    assert [(line.fen, is_unload(line)) for line in lines] == [(5000, False), (1000, True)]
    assert b"".join(str(line).encode() + b"\r\n" for line in lines) == raw
    with pytest.raises(LineFault, match="separator"):
        read_com(raw.replace(b" 00000000000", b"x00000000000", 1))
    assert {line.instalment for line in lines} == {"C00000000000"}  # a fee like the other four
    with pytest.raises(LineFault, match="end"):  # cut off: the last line would be lost unseen
        read_com(raw[:-40])
    with pytest.raises(LineFault, match="characters"):
        read_com(raw.replace(b"48880001", b"4888\xff001", 1))
    host.close()
