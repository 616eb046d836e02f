"""Loads at a terminal: the PIN, the host's MAC2, a torn card, and a relay that lies."""

import pytest
from purse_bench import (
    Book,
    Liar,
    Torn,
    host_mac2,
    load,
    make_permit,
    tac_of_load,
    verify_pin,
)

from cardos.card import Card
from cardos.client import CardSession, ChipError
from cardos.purse_requests import GetBalance
from core.errors import Rejected
from payments.purse import open_purse
from payments.purse_load import begin_load, finish_load, recover_load
from payments.purse_records import LoadStatus, OutcomeUnknown

DATE, TIME = bytes.fromhex("20070618"), bytes.fromhex("120000")


def balance(chip: Card) -> int:
    chip.reset()
    card = CardSession(chip)
    open_purse(card)
    return card.send(GetBalance())


def start_load(chip: Card, amount: int, channel=None):  # type: ignore[no-untyped-def]
    chip.reset()
    card = CardSession(channel or chip)
    purse = open_purse(card)
    verify_pin(card)
    return card, begin_load(card, purse, 1, amount, bytes(6))


def test_a_load_adds_the_money_and_gives_a_tac() -> None:
    chip, book = make_permit(), Book()
    record = load(chip, 5000, book)
    assert book.load_statuses == ["pending", "done"]
    assert record.tac == tac_of_load(record)
    assert balance(chip) == 5000
    asked, proof = bytes(record.request.evidence()), bytes(record.evidence())
    assert (asked[:2], len(asked), proof[:2], len(proof)) == (b"RQ", 48, b"SV", 55)
    assert proof[-9:] == record.tac + (5000).to_bytes(4, "big") + b"\x00"


def test_without_the_pin_there_is_no_load() -> None:
    card = CardSession(make_permit())
    with pytest.raises(ChipError, match="CHIP-6982"):
        begin_load(card, open_purse(card), 1, 100, bytes(6))
    closed = CardSession(make_permit(pin_open=False))
    open_purse(closed)
    with pytest.raises(ChipError, match="CHIP-6983"):
        verify_pin(closed)


@pytest.mark.parametrize("executed", [True, False])
def test_a_torn_load_is_settled_by_proof_or_claim(executed: bool) -> None:
    chip, book = make_permit(), Book()
    _, request = start_load(chip, 5000)
    mac2 = host_mac2(request, DATE, TIME)
    torn = CardSession(Torn(chip, 0, executed))
    with pytest.raises(OutcomeUnknown, match="PURSE-PENDING"):
        finish_load(torn, request, DATE, TIME, mac2, book.load)
    chip.reset()
    settled = recover_load(CardSession(chip), book.loads[-1], book.load, verify_pin)
    if executed:
        assert settled.status is LoadStatus.RECOVERED
        assert settled.tac == tac_of_load(settled)
    else:
        assert settled.status is LoadStatus.NOT_EXECUTED
        unknown = bytes(settled.evidence())
        assert (unknown[:2], unknown[-9:-1]) == (b"SX", bytes(4) + b"\xff" * 4)
    assert balance(chip) == (5000 if executed else 0)


def test_without_the_pin_an_unexecuted_load_stays_uncertain_and_can_be_asked_again() -> None:
    chip, book = make_permit(), Book()
    _, request = start_load(chip, 5000)
    torn = CardSession(Torn(chip, 0, executed=False))
    with pytest.raises(OutcomeUnknown):
        finish_load(torn, request, DATE, TIME, host_mac2(request, DATE, TIME), book.load)
    chip.reset()
    unclear = recover_load(CardSession(chip), book.loads[-1], book.load)
    assert unclear.status is LoadStatus.UNCERTAIN
    chip.reset()
    again = recover_load(CardSession(chip), unclear, book.load, verify_pin)
    assert again.status is LoadStatus.NOT_EXECUTED


def test_a_refused_load_claims_the_counter_did_not_move() -> None:
    chip, book = make_permit(), Book()
    card, request = start_load(chip, 5000)
    with pytest.raises(ChipError, match="CHIP-9302"):
        finish_load(card, request, DATE, TIME, bytes(4), book.load)
    assert book.load_statuses == ["pending", "not_executed"]
    assert balance(chip) == 0


def test_the_relay_that_answers_9302_gets_the_load_but_no_refund() -> None:
    """The attack of purse-card.md 8.11: the card was loaded, the load device was told it was not."""
    chip, book = make_permit(), Book()
    channel = Liar(chip, 0x52, bytes.fromhex("9302"))
    card, request = start_load(chip, 5000, channel)
    mac2 = host_mac2(request, DATE, TIME)
    record = finish_load(card, request, DATE, TIME, mac2, book.load)
    assert record.status is LoadStatus.RECOVERED
    assert record.tac == tac_of_load(record)
    assert balance(chip) == 5000


def test_another_card_cannot_settle_a_load() -> None:
    chip, book = make_permit(), Book()
    _, request = start_load(chip, 5000)
    torn = CardSession(Torn(chip, 0, executed=True))
    with pytest.raises(OutcomeUnknown):
        finish_load(torn, request, DATE, TIME, host_mac2(request, DATE, TIME), book.load)
    other = CardSession(make_permit("00001000000244"))
    with pytest.raises(Rejected, match="PURSE-OTHER-CARD"):
        recover_load(other, book.loads[-1], book.load)
