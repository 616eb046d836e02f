"""Paying at a terminal: the chip, the PSAM, a torn card, and what the journal then knows.

The rule under every test: money debited = goods given + uncertain (purse-card.md 18).
"""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from purse_bench import (
    Book,
    Liar,
    Torn,
    load,
    make_permit,
    make_psam,
    tac_of_purchase,
)

from cardos.card import Card
from cardos.client import CardSession, ChipError
from cardos.purse_requests import GetBalance, UpdateCappCache
from cardos.spec import ISSUER_ID
from core.errors import DeviceFault, EvidenceMismatch, Rejected
from payments.purse import open_psam, open_purse, pay, recover
from payments.purse_records import OutcomeUnknown, PurchaseStatus

NOON = datetime(2007, 6, 18, 4, 0, tzinfo=UTC)  # 12:00 in Shenzhen
DATE, TIME = bytes.fromhex("20070618"), bytes.fromhex("120000")
DEBIT = 2  # third command of `open_purse` and `pay`: SELECT, INITIALIZE, DEBIT


@pytest.fixture
def permit() -> Card:
    chip = make_permit()
    load(chip, 10_000)
    chip.reset()
    return chip


def balance(chip: Card) -> int:
    chip.reset()
    card = CardSession(chip)
    open_purse(card)
    return card.send(GetBalance())


def buy(chip, psam, book, amount=1250, channel=None, now=NOON):  # type: ignore[no-untyped-def]
    card = CardSession(channel or chip)
    return pay(card, open_purse(card), psam, amount, now, book.purchase)


# -- the good day -----------------------------------------------------------------------------------


def test_a_purchase_moves_the_money_and_leaves_all_the_evidence(permit: Card) -> None:
    _, psam = make_psam(7)
    book = Book()
    record = buy(permit, psam, book)
    assert book.statuses == ["opened", "pending", "done"]
    assert record.mac2_checked
    assert (record.amount, record.balance_before, record.counter) == (1250, 10_000, 0)
    assert (record.date, record.time, record.issuer) == (DATE, TIME, ISSUER_ID)
    assert record.tac == tac_of_purchase(record)
    assert balance(permit) == 8750


def test_the_evidence_has_the_layout_of_field_58(permit: Card) -> None:
    _, psam = make_psam(7)
    record = buy(permit, psam, Book())
    raw = bytes(record.evidence())
    assert len(raw) == 59
    assert raw[:20] == b"TA" + ISSUER_ID + record.asn
    assert raw[28:32] == (1250).to_bytes(4, "big")
    assert raw[32] == 6
    assert raw[33:39] == psam.terminal
    assert raw[-9:] == record.tac + (10_000).to_bytes(4, "big") + b"\x00"
    with pytest.raises(ValueError):
        replace(record, tac=b"").evidence()


def test_counters_of_card_and_psam_go_up_by_one_each_time(permit: Card) -> None:
    _, psam = make_psam()
    records = []
    for _ in range(3):
        permit.reset()
        records.append(buy(permit, psam, Book(), 100))
    assert [r.counter for r in records] == [0, 1, 2]
    first = records[0].terminal_counter
    assert [r.terminal_counter for r in records] == [first, first + 1, first + 2]


def test_a_composite_purchase_is_type_09(permit: Card) -> None:
    _, psam = make_psam()
    card, book = CardSession(permit), Book()
    purse = open_purse(card)
    update = UpdateCappCache(0x19, 0x01, bytes.fromhex("010100"))
    with pytest.raises(ChipError, match="CHIP-6A83"):  # the reserve file has no record yet
        pay(card, purse, psam, 100, NOON, book.purchase, [update])
    assert book.statuses == ["opened", "void"]
    assert book.lines[0].type == 9
    assert balance(permit) == 10_000


def test_not_enough_money_is_said_before_anything_is_written(permit: Card) -> None:
    _, psam = make_psam()
    book = Book()
    with pytest.raises(ChipError, match="CHIP-9401"):
        buy(permit, psam, book, 10_001)
    assert book.lines == []


def test_card_and_psam_must_be_valid_today(permit: Card) -> None:
    _, psam = make_psam()
    book = Book()
    with pytest.raises(Rejected, match="PURSE-EXPIRED"):
        buy(permit, psam, book, now=datetime(2018, 1, 1, tzinfo=UTC))
    old = replace(psam, application=replace(psam.application, end=bytes.fromhex("20070617")))
    with pytest.raises(Rejected, match="PURSE-PSAM-EXPIRED"):
        buy(permit, old, book)
    assert book.lines == []


# -- the torn card ----------------------------------------------------------------------------------


def test_a_card_pulled_after_the_debit_is_found_to_have_paid(permit: Card) -> None:
    _, psam = make_psam()
    book = Book()
    with pytest.raises(OutcomeUnknown, match="PURSE-PENDING"):
        buy(permit, psam, book, channel=Torn(permit, DEBIT, executed=True))
    assert book.statuses[-1] == "pending"
    permit.reset()
    record = recover(CardSession(permit), psam, book.lines[-1], book.purchase)
    assert record.status is PurchaseStatus.RECOVERED
    assert record.mac2_checked
    assert record.tac == tac_of_purchase(record)
    assert balance(permit) == 8750


def test_a_card_pulled_before_the_debit_is_found_not_to_have_paid(permit: Card) -> None:
    _, psam = make_psam()
    book = Book()
    with pytest.raises(OutcomeUnknown):
        buy(permit, psam, book, channel=Torn(permit, DEBIT, executed=False))
    permit.reset()
    record = recover(CardSession(permit), psam, book.lines[-1], book.purchase)
    assert record.status is PurchaseStatus.VOID
    assert balance(permit) == 10_000


def test_another_card_cannot_settle_it(permit: Card) -> None:
    _, psam = make_psam()
    book = Book()
    with pytest.raises(OutcomeUnknown):
        buy(permit, psam, book, channel=Torn(permit, DEBIT, executed=True))
    other = make_permit("00001000000244")
    with pytest.raises(Rejected, match="PURSE-OTHER-CARD"):
        recover(CardSession(other), psam, book.lines[-1], book.purchase)
    assert book.statuses[-1] == "pending"


def test_after_a_power_loss_of_the_terminal_the_tac_is_the_only_evidence(permit: Card) -> None:
    chip, psam = make_psam()
    book = Book()
    with pytest.raises(OutcomeUnknown):
        buy(permit, psam, book, channel=Torn(permit, DEBIT, executed=True))
    chip.reset()
    reopened = open_psam(CardSession(chip))
    for security_module in (None, reopened):
        permit.reset()
        record = recover(CardSession(permit), security_module, book.lines[1], book.purchase)
        assert record.status is PurchaseStatus.RECOVERED
        assert not record.mac2_checked
        assert record.tac == tac_of_purchase(record)


def test_another_sale_in_between_does_not_cost_the_psam_a_try(permit: Card) -> None:
    """The PSAM has gone on to another sale: MAC2 of the old one can no longer be asked."""
    _, psam = make_psam()
    book = Book()
    with pytest.raises(OutcomeUnknown):
        buy(permit, psam, book, channel=Torn(permit, DEBIT, executed=True))
    pending = book.lines[-1]
    other = make_permit("00001000000244")
    load(other, 500)
    buy(other, psam, book, 500)
    permit.reset()
    record = recover(CardSession(permit), psam, pending, book.purchase)
    assert record.status is PurchaseStatus.RECOVERED
    assert not record.mac2_checked


def test_another_terminal_in_between_makes_it_uncertain(permit: Card) -> None:
    _, ours = make_psam(1)
    _, theirs = make_psam(2)
    book = Book()
    with pytest.raises(OutcomeUnknown):
        buy(permit, ours, book, channel=Torn(permit, DEBIT, executed=True))
    permit.reset()
    buy(permit, theirs, Book(), 100)
    permit.reset()
    record = recover(CardSession(permit), ours, book.lines[-1], book.purchase)
    assert record.status is PurchaseStatus.UNCERTAIN
    assert record.log_seen is True  # the card's own log still shows our debit


def test_a_foreign_debit_under_our_counter_is_not_taken_for_ours(permit: Card) -> None:
    """Our debit never happened, another terminal then used the same counter value."""
    _, ours = make_psam(1)
    _, theirs = make_psam(2)
    book = Book()
    with pytest.raises(OutcomeUnknown):
        buy(permit, ours, book, channel=Torn(permit, DEBIT, executed=False))
    permit.reset()
    buy(permit, theirs, Book(), 100)
    permit.reset()
    record = recover(CardSession(permit), ours, book.lines[-1], book.purchase)
    assert record.status is PurchaseStatus.UNCERTAIN
    assert record.log_seen is False


def test_torn_again_while_it_is_settled_it_stays_pending(permit: Card) -> None:
    _, psam = make_psam()
    book = Book()
    with pytest.raises(OutcomeUnknown):
        buy(permit, psam, book, channel=Torn(permit, DEBIT, executed=True))
    pending = book.lines[-1]
    for step in range(4):  # SELECT, INITIALIZE, READ RECORD, GET TRANSACTION PROVE
        permit.reset()
        with pytest.raises(OutcomeUnknown):
            recover(CardSession(Torn(permit, step, executed=True)), psam, pending, book.purchase)
    permit.reset()
    settled = recover(CardSession(permit), psam, pending, book.purchase)
    assert settled.status is PurchaseStatus.RECOVERED
    assert recover(CardSession(permit), psam, settled, book.purchase) is settled


def test_a_sale_opened_before_a_crash_is_void_without_the_card(permit: Card) -> None:
    _, psam = make_psam()
    book = Book()
    buy(permit, psam, book)
    opened = book.lines[0]
    assert recover(CardSession(permit), None, opened, book.purchase).status is PurchaseStatus.VOID


def test_the_power_may_go_at_every_write_of_the_debit(permit: Card) -> None:
    """Whatever the chip had written: money gone = goods given + uncertain."""
    _, psam = make_psam()
    paid, before = 0, balance(permit)
    for writes in range(0, 400, 7):
        book = Book()
        permit.reset()
        card = CardSession(permit)
        purse = open_purse(card)
        permit.power_cut_after(writes)
        try:
            record = pay(card, purse, psam, 10, NOON, book.purchase)
        except OutcomeUnknown:
            permit.keep_power()
            permit.reset()
            record = recover(CardSession(permit), psam, book.lines[-1], book.purchase)
        permit.keep_power()
        assert record.status in (
            PurchaseStatus.DONE,
            PurchaseStatus.RECOVERED,
            PurchaseStatus.VOID,
        )
        paid += 10 * (record.status is not PurchaseStatus.VOID)
    assert 0 < paid < 10 * 58
    assert balance(permit) == before - paid


# -- lies -------------------------------------------------------------------------------------------


def test_a_relayed_refusal_is_not_believed(permit: Card) -> None:
    _, psam = make_psam()
    book = Book()
    record = buy(permit, psam, book, channel=Liar(permit, 0x54, bytes.fromhex("9302")))
    assert record.status is PurchaseStatus.RECOVERED
    assert balance(permit) == 8750


def test_a_true_refusal_is_told_and_void(permit: Card) -> None:
    _, psam = make_psam()
    book = Book()

    class Garbled:
        """Changes MAC1 on its way to the card."""

        def transmit(self, apdu: bytes) -> bytes:
            if apdu[1] == 0x54:
                apdu = apdu[:-2] + bytes((apdu[-2] ^ 1,)) + apdu[-1:]
            return permit.transmit(apdu)

    with pytest.raises(ChipError, match="CHIP-9302"):
        buy(permit, psam, book, channel=Garbled())
    assert book.statuses == ["opened", "pending", "void"]
    assert balance(permit) == 10_000


def test_a_card_that_makes_up_its_mac2_gets_no_goods(permit: Card) -> None:
    _, psam = make_psam()
    book = Book()
    with pytest.raises(EvidenceMismatch, match="PURSE-FALSE-CARD"):
        buy(permit, psam, book, channel=Liar(permit, 0x54, bytes(8) + bytes.fromhex("9000")))
    assert book.statuses[-1] == "suspect"


def test_a_psam_that_dies_after_the_debit_does_not_undo_it(permit: Card) -> None:
    chip, psam = make_psam()
    book = Book()

    class Unplugged:
        """The PSAM's contact fails once MAC1 is out."""

        def transmit(self, apdu: bytes) -> bytes:
            if apdu[1] == 0x72:
                raise DeviceFault("CARD-GONE", "no contact")
            return chip.transmit(apdu)

    record = buy(permit, replace(psam, session=CardSession(Unplugged())), book)
    assert record.status is PurchaseStatus.DONE
    assert not record.mac2_checked
    assert record.tac == tac_of_purchase(record)
