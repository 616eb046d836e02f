"""A merchant's day on paper and as a table, a purse's view, and the explained message: nothing secret in any."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from core.errors import NotFound
from payments import ledger
from payments.explain import explain_iso8583
from payments.merchant_report import as_csv, as_pdf, merchant_report
from payments.purse_view import view
from tests.host_bench import MERCHANT, Keys, LabCard, LabHost

DAY = date(2026, 11, 28)
VECTORS = json.loads(Path("tests/vectors/iso8583.json").read_text("utf-8"))["vectors"]


def test_a_merchants_day_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    host = LabHost(Keys(tmp_path))
    terminal, card = host.terminal(), LabCard("00001000000147")
    terminal.sign_on()
    terminal.load(card, 5000)
    terminal.ask(terminal.purchase(card, 1350))
    host.clearing.close(DAY)
    with host.db.read() as tx:
        report = merchant_report(tx, DAY, MERCHANT)
        with pytest.raises(NotFound, match="CLEARING-MERCHANT"):
            merchant_report(tx, DAY, "000000000000000")
        with pytest.raises(NotFound, match="CLEARING-DAY"):
            merchant_report(tx, DAY + timedelta(days=1), MERCHANT)
        shown = view(tx, card.asn.hex())
        with pytest.raises(NotFound, match="PURSE-UNKNOWN"):
            view(tx, "0" * 20)
        lines = ledger.statement(tx, ledger.purse(card.asn.hex()))
        tx.execute(text("SELECT 1"))
    assert (report.count, report.amount, report.fee, report.paid) == (1, 1350, 5, 1345)
    table = as_csv(report).decode("utf-8-sig").splitlines()
    assert table[1].startswith("2026-11-28 12:00:00,10000001,000001,")
    assert table[1].endswith(",000010****0147,13.50,0.05,13.45,")
    assert as_pdf(report) == as_pdf(report)
    assert as_pdf(report).startswith(b"%PDF")
    assert (shown.posted_fen, shown.pending_fen, shown.counter, shown.open_loads) == (3650, 0, 1, 0)
    assert [(e.step, e.amount) for e in lines] == [("P", 5000), ("C", 5000), ("S", -1350)]
    host.close()


def test_a_day_without_sales_is_a_report_too(tmp_path: Path) -> None:
    host = LabHost(Keys(tmp_path))
    host.clearing.close(DAY)
    with host.db.read() as tx:
        report = merchant_report(tx, DAY, MERCHANT)
    assert (report.name, report.count, report.paid, report.sales) == ("Bakery", 0, 0, ())
    assert as_csv(report).decode("utf-8-sig").splitlines()[1] == (
        f"2026-11-28,,,,0,0.00,0.00,0.00,{MERCHANT}"
    )
    assert as_pdf(report).startswith(b"%PDF")
    host.close()


@pytest.mark.parametrize(
    "vector", [pytest.param(v, id=v["id"]) for v in VECTORS if v["op"] == "frame"]
)
def test_every_vector_is_explained_without_its_secrets(vector: dict[str, dict[str, str]]) -> None:
    lines = explain_iso8583(bytes.fromhex(vector["inputs"]["frame"]))
    shown = json.dumps([vars(line) for line in lines], ensure_ascii=False).upper()
    fields: dict[str, str] = vector["expected"]["fields"]  # type: ignore[assignment]
    for number in ("2", "35", "52", "58", "62"):
        if number in fields:
            assert fields[number] not in shown, number
    assert all(line.name_zh and line.meaning_zh for line in lines)
    assert sum(line.name_en.split()[0] in fields for line in lines) >= len(fields)


@pytest.mark.parametrize(
    "vector", [pytest.param(v, id=v["id"]) for v in VECTORS if v["op"] == "reject"]
)
def test_a_broken_message_is_explained_as_far_as_it_goes(
    vector: dict[str, dict[str, str]],
) -> None:
    raw = bytes.fromhex(vector["inputs"]["body"])
    found: str
    try:
        last = explain_iso8583(raw)[-1]
        assert last.name_en == "FAULT"
        found = last.meaning_en
    except ValueError as reason:
        found = str(reason)
    assert vector["expected"]["error"] in found


LOAD = bytes.fromhex(next(v for v in VECTORS if v["id"] == "load-req")["inputs"]["frame"])
BODY = LOAD[13:]


@pytest.mark.parametrize(
    ("raw", "fields", "en", "zh"),
    [
        (LOAD[:60], 8, "the length says 155 bytes, 58 follow", "长度为155字节，实际58字节"),
        (LOAD + b"\x00", 15, "the length says 155 bytes, 156 follow", "实际156字节"),
        (BODY[:47], 8, "field 42 short at byte 43", "第42域不完整"),
        (BODY + b"\x00", 15, "trailing bytes at byte", "末尾多余字节"),
        (BODY[:2] + b"\xf0" + BODY[3:], 0, "field 1 not used", "第1域未定义"),
        (BODY[:3] + b"\x24" + BODY[4:], 4, "field 22 padding at byte", "第22域填充错误"),
        (b"\x99\x99" + BODY[2:], 0, "message type", "消息类型未知"),
        (BODY[:1], 0, "bitmap short", "位图不完整"),
    ],
)
def test_odd_bytes_are_explained_up_to_their_fault(
    raw: bytes, fields: int, en: str, zh: str
) -> None:
    try:
        lines = explain_iso8583(raw)
    except ValueError as fault:
        words = fault.args
    else:
        words = (lines[-1].meaning_en, lines[-1].meaning_zh)
        assert lines[-1].name_en == "FAULT"
        assert (
            len({line.name_en.split()[0] for line in lines if line.name_en[0].isdigit()}) >= fields
        )
    assert en in words[0]
    assert zh in words[1]


def test_a_keep_alive_is_explained() -> None:
    assert explain_iso8583(bytes(2))[0].name_zh == "保活"
