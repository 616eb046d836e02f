"""The 279-character clearing file: vectors, every check of I-28, a closed day out and a partner's file in."""

import hashlib
import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from core.errors import Rejected
from payments import exchange_files, ledger, tac_checks
from payments import requests as r
from payments.clearing_file import (
    EOL,
    LENGTH,
    ClearingFile,
    FileFault,
    FileName,
    read_file,
    returned_file,
    write_file,
)
from payments.day_file import day_file
from payments.exchange_files import FileDesk, export_day
from payments.purse_data import PurseAnswer
from payments.tables import IncidentRow, LoadRow, PurchaseRow
from payments.unionpay_files import export_com, read_com
from tests.host_bench import ISSUER, LabCard, LabHost

VECTORS = {
    v["id"]: v for v in json.loads(Path("tests/vectors/iso8583.json").read_text("utf-8"))["vectors"]
}
DAY = date(2026, 11, 28)


def raw_of(name: str) -> tuple[str, bytes]:
    given = VECTORS[name]["inputs"]
    return given["name"], b"".join(line.encode() + EOL for line in given["lines"])


NAME, RAW = raw_of("clearing-file")


def test_the_vector_reads_and_writes_back() -> None:
    file, expected = read_file(NAME, RAW), VECTORS["clearing-file"]["expected"]
    sums = file.sums
    assert (sums.details, sums.load_fen, sums.purchase_fen, sums.unload_fen) == (
        expected["details"], expected["load_fen"], expected["purchase_fen"], expected["unload_fen"],
    )  # fmt: skip
    assert (sums.net, file.digest) == (2450, expected["sha256"])
    assert [-r.fee for r in file.records if r.kind == "36"] == expected["fees_fen"]
    assert write_file(file.header, file.records) == RAW
    assert all(len(line) == LENGTH for line in RAW.split(EOL)[:-1])


def _swap(raw: bytes, line: int, at: int, text: bytes) -> bytes:
    lines = raw.split(EOL)
    lines[line] = lines[line][:at] + text + lines[line][at + len(text) :]
    return EOL.join(lines)


@pytest.mark.parametrize(
    ("name", "raw", "reason"),
    [
        ("PC_48880001_20261128_X_01.txt", RAW, "name"),
        ("PC_48880001_20261340_T_01.txt", RAW, "name"),
        ("PC_48880002_20261128_T_01.txt", RAW, "header"),
        ("PC_48880001_20261128_T_02.txt", RAW, "header"),
        (NAME, _swap(RAW, 0, 57, b"noon"), "header"),
        (NAME, _swap(RAW, 0, 11, b"PCF02"), "header"),
        (NAME, RAW[:-2], "line length"),
        (NAME, _swap(RAW, 1, LENGTH - 8, b"0"), "digest"),
        (NAME, RAW.replace(EOL, b" \r\n", 2), "header"),
        (NAME, _swap(RAW, 2, 0, b"0000000007"), "running number"),
        (NAME, _swap(RAW, 5, 11, b"0000000003"), "trailer"),
        (NAME, _swap(RAW, 5, 33, b"00000000005001"), "trailer"),
        (*raw_of("clearing-file-tampered"), "digest"),
        (NAME, _swap(RAW, 1, 40, b"\xff"), "characters"),
    ],
)
def test_a_file_is_taken_whole_or_not_at_all(name: str, raw: bytes, reason: str) -> None:
    with pytest.raises(FileFault) as caught:
        read_file(name, raw)
    assert caught.value.reason == reason


def test_a_partner_mac_is_checked_when_it_is_agreed() -> None:
    file = read_file(NAME, RAW)
    sealed = write_file(file.header, file.records, lambda digest: digest[:8].hex().upper())

    def check(digest: bytes, mac: str) -> bool:
        return digest[:8].hex().upper() == mac

    assert read_file(NAME, sealed, check).mac == file.digest[:16]
    with pytest.raises(FileFault, match="MAC"):
        read_file(NAME, RAW, check)


def a_day(host: LabHost) -> tuple[LabCard, ClearingFile]:
    terminal, card = host.terminal(), LabCard("00001000000147")
    terminal.sign_on()
    terminal.load(card, 5000)
    terminal.ask(terminal.purchase(card, 1350))
    host.clearing.close(DAY)
    with host.db.read() as tx:
        name, raw = export_day(tx, host.clock, host.profile, DAY)
    assert FileName.parse(name).sender == "48880001"
    return card, read_file(name, raw)


def test_a_closed_day_goes_out_with_everything_its_tacs_cover(host: LabHost) -> None:
    card, file = a_day(host)
    load, purchase = file.records
    assert (load.kind, load.amount, load.balance, load.fee) == ("41", 5000, 5000, 0)
    assert (purchase.amount, purchase.fee, purchase.balance) == (1350, -5, 5000)
    assert (purchase.tac != "00000000", load.tac != "00000000") == (True, True)
    with host.db.read() as tx:
        again = export_day(tx, host.clock, host.profile, DAY)[1]
    assert again == write_file(file.header, file.records)
    assert card.balance == file.sums.net == 3650


def test_a_load_goes_out_on_the_day_its_money_moved(host: LabHost) -> None:
    """Asked for before midnight and proven after it: in one file, and in the report of that day."""
    terminal, card = host.terminal(), LabCard("00001000000147")
    terminal.sign_on()
    request, asked = terminal.load_request(card, 700, r.LOAD)
    answer = terminal.ask(request)
    proof = card.finish(asked, PurseAnswer.parse(answer.octets(58)))
    host.clock.advance(timedelta(days=1))
    before = host.clearing.close(DAY)
    terminal.sign_on()
    terminal.confirm(request, answer, proof)
    after = host.clearing.close(DAY + timedelta(days=1))
    assert [(one.loads, one.loaded) for one in (before, after)] == [(0, 0), (1, 700)]
    with host.db.read() as tx:
        days = [DAY, DAY + timedelta(days=1)]
        files = [read_file(*export_day(tx, host.clock, host.profile, day)) for day in days]
        lines = [len(read_com(export_com(tx, host.profile, day)[1])) for day in days]
    assert [file.sums.load_fen for file in files] == [0, 700]
    assert lines == [0, 1]


def test_a_partners_file_is_booked_once_and_its_bad_records_come_back(host: LabHost) -> None:
    card, file = a_day(host)
    own = file.records[1]
    header = replace(file.header, sender="01050000", receiver="48880001")
    fresh = card.pay(200, bytes.fromhex("100000000109"), 7, "20261128113000")
    good = replace(
        own, amount=200, tac=fresh.tac.hex().upper(), counter=f"{fresh.counter:04X}",
        psam="100000000109", terminal_counter="00000007", made="20261128113000", fee=0,
    )  # fmt: skip
    forged = replace(good, tac="00000000", terminal_counter="00000008")
    host.gate.strangers.add("00001000000155")
    stranger = replace(good, asn="00000000001000000155")
    records = (own, good, forged, stranger, good)
    name, raw = "PC_01050000_20261128_T_01.txt", write_file(header, records)
    desk = FileDesk(host.db, host.clock, host.keys.hsm, host.keys.masters, host.profile, host.gate)
    taken = desk.take(name, raw)
    assert (taken.records, taken.posted, taken.bad, taken.again) == (5, 1, 4, False)
    assert taken.returned is not None
    assert taken.returned_name == "PC_48880001_20261128_E_01.txt"
    back = read_file(taken.returned_name, taken.returned)
    assert [(r.number, r.result) for r in back.records] == [
        (1, "02"), (3, "01"), (4, "04"), (5, "02"),
    ]  # fmt: skip
    again = desk.take(name, raw)
    assert (again.again, again.returned) == (True, taken.returned)
    with host.db.read() as tx:
        assert ledger.balance(tx, "acquirer:01050000").posted == 200
        assert ledger.balance(tx, ledger.purse(card.asn.hex())).posted == card.balance


def test_a_good_tac_is_booked_once_whatever_card_counter_stands_beside_it(host: LabHost) -> None:
    """The TAC covers the PSAM's counter, not the card's (iso8583-host.md 5): by upload and by file."""
    card, file = a_day(host)
    header = replace(file.header, sender="01050000", receiver="48880001")
    own = file.records[1]
    uploaded = replace(own, counter="0009")
    sold = card.pay(200, bytes.fromhex("100000000109"), 7, "20261128113000")
    good = replace(
        own, amount=200, tac=sold.tac.hex().upper(), counter=f"{sold.counter:04X}",
        psam="100000000109", terminal_counter="00000007", made="20261128113000",
    )  # fmt: skip
    card.offline -= 1
    cloned = card.pay(300, bytes.fromhex("100000000109"), 8, "20261128113100")
    clone = replace(
        good, amount=300, tac=cloned.tac.hex().upper(), terminal_counter="00000008",
        made="20261128113100",
    )  # fmt: skip
    desk = FileDesk(host.db, host.clock, host.keys.hsm, host.keys.masters, host.profile, host.gate)
    first = [uploaded, good, replace(good, counter="0008"), clone]
    taken = desk.take("PC_01050000_20261128_T_01.txt", write_file(header, first))
    assert taken.returned is not None
    back = read_file(taken.returned_name, taken.returned)
    assert [(one.number, one.result) for one in back.records] == [(1, "05"), (3, "05"), (4, "08")]
    later = replace(header, number=2)
    second = [replace(good, counter="0007"), clone]
    taken = desk.take("PC_01050000_20261128_T_02.txt", write_file(later, second))
    assert (taken.bad, taken.posted) == (2, 0)
    with host.db.read() as tx:
        assert ledger.balance(tx, "acquirer:01050000").posted == 200


def test_what_the_sender_did_not_accept_itself_is_not_booked(host: LabHost) -> None:
    card, file = a_day(host)
    sold = card.pay(200, bytes.fromhex("100000000109"), 7, "20261128113000")
    record = replace(
        file.records[1], amount=200, tac=sold.tac.hex().upper(), counter=f"{sold.counter:04X}",
        psam="100000000109", terminal_counter="00000007", made="20261128113000", result="03",
    )  # fmt: skip
    header = replace(file.header, sender="01050000", receiver="48880001")
    desk = FileDesk(host.db, host.clock, host.keys.hsm, host.keys.masters, host.profile, host.gate)
    taken = desk.take("PC_01050000_20261128_T_01.txt", write_file(header, [record]))
    assert taken.returned is not None
    assert read_file(taken.returned_name, taken.returned).records[0].result == "03"
    with host.db.read() as tx:
        assert ledger.balance(tx, "acquirer:01050000") == ledger.Balance(0, 0)


def test_a_foreign_cards_purchase_goes_out_for_its_own_centre_to_judge(host: LabHost) -> None:
    terminal = host.terminal()
    terminal.sign_on()
    host.gate.strangers.add("00001000000163")
    for serial, issuer in (("00001000000155", bytes(8)), ("00001000000163", ISSUER)):
        card = LabCard(serial, balance=5000, issuer=issuer)
        terminal.ask(terminal.purchase(card, 500))
    host.clearing.close(DAY)
    with host.db.read() as tx:
        file = read_file(*export_day(tx, host.clock, host.profile, DAY))
    assert [record.result for record in file.records] == ["00", "04"]


def test_a_record_that_a_file_brought_first_is_kept_when_its_terminal_uploads_it(
    host: LabHost,
) -> None:
    card, file = a_day(host)
    terminal = host.terminal(2)
    terminal.sign_on()
    sold = card.pay(200, terminal.psam, 7, "20261128113000")
    record = replace(
        file.records[1], amount=200, tac=sold.tac.hex().upper(), counter=f"{sold.counter:04X}",
        psam=terminal.psam.hex(), terminal_counter="00000007", made="20261128113000",
    )  # fmt: skip
    header = replace(file.header, sender="01050000", receiver="48880001")
    desk = FileDesk(host.db, host.clock, host.keys.hsm, host.keys.masters, host.profile, host.gate)
    assert desk.take("PC_01050000_20261128_T_01.txt", write_file(header, [record])).posted == 1
    terminal.ask(terminal.station.purchase(terminal.trace(), sold))
    copy = replace(sold, counter=sold.counter + 5)  # which the TAC does not cover
    terminal.ask(terminal.station.purchase(terminal.trace(), copy))
    terminal.ask(terminal.purchase(card, 300))
    assert host.judge.run() == 3  # the last record does not wait for them
    with host.db.read() as tx:
        rows = tx.execute(select(PurchaseRow.state, PurchaseRow.flags).order_by(PurchaseRow.id))
        assert [tuple(row) for row in rows][1:] == [("HELD", "D"), ("HELD", "P"), ("POSTED", "G")]
        assert ledger.balance(tx, ledger.purse(card.asn.hex())).posted == card.balance


def test_a_file_for_somebody_else_is_not_booked(host: LabHost) -> None:
    _, file = a_day(host)
    raw = write_file(replace(file.header, sender="01050000", receiver="03010000"), file.records)
    desk = FileDesk(host.db, host.clock, host.keys.hsm, host.keys.masters, host.profile, host.gate)
    with pytest.raises(Rejected, match="FILE-RECEIVER"):
        desk.take("PC_01050000_20261128_T_01.txt", raw)
    with host.db.read() as tx:
        assert ledger.balance(tx, "acquirer:01050000") == ledger.Balance(0, 0)


def test_a_load_in_a_partners_file_must_be_the_one_we_confirmed(host: LabHost) -> None:
    _, file = a_day(host)
    own = file.records[0]
    records = (
        own,
        replace(own, amount=5001),
        replace(own, psam="100000000999"),
        replace(own, tac="00000000"),
        replace(own, made="20261128000000"),
        replace(own, counter="0009"),
        own,
    )
    header = replace(file.header, sender="01050000", receiver="48880001")
    desk = FileDesk(host.db, host.clock, host.keys.hsm, host.keys.masters, host.profile, host.gate)
    taken = desk.take("PC_01050000_20261128_T_01.txt", write_file(header, records))
    assert taken.returned is not None
    back = read_file(taken.returned_name, taken.returned)
    assert [(one.number, one.result) for one in back.records] == [
        (2, "03"), (3, "05"), (4, "01"), (5, "01"), (6, "08"), (7, "02"),
    ]  # fmt: skip
    with host.db.read() as tx:
        assert ledger.balance(tx, "acquirer:01050000") == ledger.Balance(0, 0)


def _back(file: ClearingFile, results: list[str]) -> tuple[str, bytes]:
    """Our own file's records as a partner returns them."""
    raw = returned_file(file, results, "20261129080000")
    assert raw is not None
    return "PC_01050000_20261128_E_01.txt", raw


def test_records_of_ours_that_come_back_are_shown_once_and_move_nothing(host: LabHost) -> None:
    card, file = a_day(host)
    load, purchase = file.records
    stranger = replace(purchase, number=3, counter="0009")
    name, raw = _back(replace(file, records=(load, purchase, stranger)), ["08", "01", "02"])
    desk = FileDesk(host.db, host.clock, host.keys.hsm, host.keys.masters, host.profile, host.gate)
    taken = desk.take(name, raw)
    assert (taken.records, taken.bad, taken.posted, taken.again) == (3, 3, 0, False)
    assert taken.returned is None
    again = desk.take(name, raw)
    assert (again.bad, again.again) == (3, True)
    with host.db.read() as tx:
        rows = tx.scalars(select(IncidentRow).order_by(IncidentRow.id)).all()
        assert [row.kind for row in rows] == [
            "record-returned", "record-returned", "returned-unknown",
        ]  # fmt: skip
        assert tx.get(LoadRow, rows[0].subject) is not None
        assert rows[1].subject == tx.scalars(select(PurchaseRow.purse_key)).one()
        assert rows[1].detail == (
            "result 01 TAC: 1350 fen, record 2 of 20261128 file 01 to 01050000"
        )
        assert rows[1].evidence == replace(purchase, result="01").line().encode()
        assert ledger.balance(tx, ledger.purse(card.asn.hex())).posted == card.balance


def test_adjustments_are_for_people(host: LabHost) -> None:
    _, file = a_day(host)
    header = replace(file.header, kind="A", sender="01050000", receiver="48880001")
    desk = FileDesk(host.db, host.clock, host.keys.hsm, host.keys.masters, host.profile, host.gate)
    with pytest.raises(Rejected, match="FILE-KIND"):
        desk.take("PC_01050000_20261128_A_01.txt", write_file(header, file.records))


def test_our_file_of_a_day_that_is_over_is_made_once(host: LabHost) -> None:
    """Whenever it is asked for it has one digest, so that no partner takes it twice."""
    a_day(host)
    made = []
    for hours in (1, 23, 24):  # the day is not over; it is; a day later
        host.clock.advance(timedelta(hours=hours))
        with host.db.write() as tx:
            made.append(day_file(tx, host.clock, host.profile, DAY))
    assert made[0] != made[1] == made[2]
    assert read_file(*made[2]).header.made == "20261129120000"


def test_a_kind_nobody_knows_is_a_wrong_form_and_books_nothing(host: LabHost) -> None:
    _, file = a_day(host)
    header = replace(file.header, sender="01050000", receiver="48880001")
    raw = write_file(header, [replace(file.records[1], kind="22")])
    found = read_file("PC_01050000_20261128_T_01.txt", raw)
    assert (found.records, [number for number, _ in found.broken]) == ((), [1])


@pytest.mark.parametrize("field", ["tac", "made", "trace"])
def test_a_record_of_wrong_form_comes_back_with_09(host: LabHost, field: str) -> None:
    _, file = a_day(host)
    header = replace(file.header, sender="01050000", receiver="48880001")
    good = write_file(header, file.records)
    *lines, tail, _ = good.split(EOL)
    body = EOL.join(lines) + EOL
    value = getattr(file.records[1], field).encode()
    lines[2] = lines[2].replace(b" %b " % value, b" %b " % (b"X" * len(value)), 1)
    broken = EOL.join(lines) + EOL
    tail = tail.replace(
        hashlib.sha256(body).hexdigest().upper().encode(),
        hashlib.sha256(broken).hexdigest().upper().encode(),
    )
    desk = FileDesk(host.db, host.clock, host.keys.hsm, host.keys.masters, host.profile, host.gate)
    taken = desk.take("PC_01050000_20261128_T_01.txt", broken + tail + EOL)
    assert (taken.records, taken.bad) == (2, 1)
    assert taken.returned is not None
    back = read_file(
        taken.returned_name, taken.returned
    )  # its sums hold, whatever the record's form
    assert (back.records, [number for number, _ in back.broken]) == ((), [2])
    assert b" 09 " in taken.returned


def test_a_control_character_in_a_record_harms_no_other_record(host: LabHost) -> None:
    _, file = a_day(host)
    header = replace(file.header, sender="01050000", receiver="48880001")
    good = write_file(header, [replace(file.records[1], merchant="ODD?SHOP"), file.records[1]])
    *lines, tail, _ = good.split(EOL)
    odd = [line.replace(b"ODD?SHOP", b"ODD\x1bSHOP") for line in lines]
    body, before = (EOL.join(part) + EOL for part in (odd, lines))
    digests = (hashlib.sha256(part).hexdigest().upper().encode() for part in (before, body))
    desk = FileDesk(host.db, host.clock, host.keys.hsm, host.keys.masters, host.profile, host.gate)
    taken = desk.take("PC_01050000_20261128_T_01.txt", body + tail.replace(*digests) + EOL)
    assert taken.returned is not None
    back = read_file(taken.returned_name, taken.returned)
    assert ([number for number, _ in back.broken], [one.result for one in back.records]) == (
        [1], ["02"],
    )  # fmt: skip


@pytest.mark.parametrize(
    "asn", ["FFFFFFFFFFFFFFFFFFFF", "00000000000000000000", "ABCDEF0000ABCDEF0147"]
)
def test_a_card_number_nobody_can_have_harms_no_other_record(host: LabHost, asn: str) -> None:
    _, file = a_day(host)
    host.gate.strangers.add(asn[6:].lower())
    header = replace(file.header, sender="01050000", receiver="48880001")
    raw = write_file(header, [file.records[1], replace(file.records[1], asn=asn)])
    desk = FileDesk(host.db, host.clock, host.keys.hsm, host.keys.masters, host.profile, host.gate)
    taken = desk.take("PC_01050000_20261128_T_01.txt", raw)
    assert taken.returned is not None
    back = read_file(taken.returned_name, taken.returned)
    assert [(one.number, one.result) for one in back.records] == [(1, "02"), (2, "04")]


@pytest.mark.parametrize("bulk", [True, False])
def test_many_tacs_go_by_the_bulk_form_and_every_bad_one_is_found(
    host: LabHost, monkeypatch: pytest.MonkeyPatch, bulk: bool
) -> None:
    monkeypatch.setattr(tac_checks, "BULK_FROM", 20)
    monkeypatch.setattr(exchange_files, "ROWS_A_STATEMENT", 7)
    _, file = a_day(host)
    card, psam = LabCard("00001000000163", balance=9_000), bytes.fromhex("100000000109")
    paid = [card.pay(100 + n, psam, n, "20261128113000") for n in range(40)]
    records = [
        replace(
            file.records[1], asn=card.asn.hex().upper(), amount=one.amount,
            counter=f"{one.counter:04X}", psam=psam.hex(), terminal_counter=f"{n:08X}",
            made="20261128113000", tac="00000000" if n in (0, 8, 39) else one.tac.hex().upper(),
        )
        for n, one in enumerate(paid)
    ]  # fmt: skip
    raw = write_file(replace(file.header, sender="01050000", receiver="48880001"), records)
    asked: list[str] = []
    call = host.keys.hsm.call
    monkeypatch.setattr(host.keys.hsm, "call", lambda one: (asked.append(one.code), call(one))[1])
    desk = FileDesk(
        host.db, host.clock, host.keys.hsm, host.keys.masters, host.profile, host.gate, bulk
    )
    taken = desk.take("PC_01050000_20261128_T_01.txt", raw)
    assert (taken.records, taken.bad, taken.posted) == (40, 3, 37)
    assert asked == ["90" if bulk else "44"]
    assert taken.returned is not None
    back = read_file(taken.returned_name, taken.returned)
    assert [(one.number, one.result) for one in back.records] == [(1, "01"), (9, "01"), (40, "01")]
