"""Receipts: both languages, nothing secret, every line fits the paper."""

from dataclasses import replace

import pytest

from payments.field_parts import KindTotal, Totals
from payments.purse_records import PurchaseStatus
from payments.receipts import (
    WIDTH,
    columns,
    load_receipt,
    purchase_receipt,
    settlement_receipt,
)
from payments.terminal_batch import Settled
from payments.terminal_host import Identity
from payments.terminal_records import LoadState
from tests.unit.payments.test_terminal_store import load, purchase

ME = Identity("10000001", "898000000000001", bytes(6))


def test_a_purchase_shows_amount_balance_and_where_to_look() -> None:
    entry = purchase(7)
    record = replace(
        entry.record, asn=bytes.fromhex("00000000001000000147"), date=bytes.fromhex("20070618"),
        time=bytes.fromhex("103000"), tac=bytes.fromhex("662309AB"),
    )  # fmt: skip
    text = str(purchase_receipt(ME, replace(entry, record=record)))
    for shown in (
        "¥2.50",
        "¥6.50",
        "****0147",
        "00000007",
        "…09AB",
        "2007-06-18 10:30:00",
        "脱机消费",
        "paid",
    ):
        assert shown in text
    assert "662309AB" not in text
    assert "1000000147" not in text


def test_no_receipt_for_a_torn_purchase() -> None:
    with pytest.raises(ValueError, match="happened"):
        purchase_receipt(ME, purchase(1, PurchaseStatus.PENDING))


@pytest.mark.parametrize("state", list(LoadState))
def test_every_end_of_a_load_has_its_words(state: LoadState) -> None:
    case = load(
        state=state,
        account="6200000000042759",
        code="62",
        tac=b"TACX",
        date=bytes(4),
        time=bytes(3),
    )
    receipt = load_receipt(ME, case)
    assert "6200000000042759" not in str(receipt)
    assert all(columns(line) <= WIDTH for line in receipt.lines)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("00", "not loaded"),
        ("25", "not loaded"),
        ("22", "not reversed"),
        ("12", "not reversed"),
        ("30", "not reversed"),
    ],
)
def test_a_refused_reversal_prints_its_code_and_promises_nothing(code: str, words: str) -> None:
    receipt = load_receipt(ME, load(state=LoadState.REVERSED, code=code))
    assert words in str(receipt)
    assert (f"{code} " in str(receipt)) is (words == "not reversed")
    assert all(columns(line) <= WIDTH for line in receipt.lines)


def test_a_settlement_shows_both_kinds_and_the_hosts_result() -> None:
    totals = Totals({"36": KindTotal(3, 800), "41": KindTotal(1, 5_000)})
    receipt = settlement_receipt(ME, Settled(42, totals, 1, 0, False))
    assert "3  ¥8.00" in str(receipt)
    assert "1  ¥50.00" in str(receipt)
    assert "平账 balanced" in str(receipt)
    assert all(columns(line) <= WIDTH for line in receipt.lines)
    assert "differences" in str(settlement_receipt(ME, Settled(42, totals, 2, 4, True)))
