"""The lease rule row by row (residence.md 6.7), and what a naive blacklist would get wrong."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cardos.records import asn_of
from cardos.residence_records import StatusRecord
from core.errors import Rejected
from payments.terminal_lists import CardLists, Listed
from payments.terminal_verdict import Question, decide_debit, decide_service
from registry.dormancy.status_list import card_hash

NOW = datetime(2007, 6, 18, 4, 0, tzinfo=UTC)
SERIAL = "00001000000147"
LOSS, EMP, ADMIN, CANCELLED = 4, 1, 16, 0x80
PENDING, ACTIVE, DORMANT, SUSPENDED, DEAD = 1, 2, 3, 4, 5


def chip(status: int = ACTIVE, ssn: int = 5, lease: str = "20070901") -> StatusRecord:
    return StatusRecord(
        status, 0, ssn, bytes.fromhex("20070101"), bytes.fromhex(lease),
        bytes.fromhex("20170101"), 1, bytes(3),
    )  # fmt: skip


def card(record: StatusRecord | None = None, **changes: object) -> Question:
    given = Question(asn_of(SERIAL), record or chip(), NOW)
    return replace(given, **changes)  # type: ignore[arg-type]


def lists(
    cause: int = 0, ssn: int = 6, black: str = "", age: timedelta = timedelta(hours=1)
) -> CardLists:
    status = {card_hash(SERIAL): Listed(cause, ssn, "20070601", "20070901")} if cause else {}
    return CardLists({asn_of(SERIAL): black} if black else {}, 1, status, 1, NOW - age, NOW - age)


def debit(given: CardLists, question: Question, amount: int = 100) -> int | str:
    try:
        return decide_debit(given, question, amount)
    except Rejected as refusal:
        return refusal.code


def service(given: CardLists, question: Question, dormant_ok: bool = False) -> int | str:
    try:
        return decide_service(given, question, dormant_ok)
    except Rejected as refusal:
        return refusal.code


@pytest.mark.parametrize(
    ("given", "question", "pays", "serves"),
    [
        (lists(), card(), 10, 10),
        (lists(CANCELLED, ssn=1), card(), "TERM-LISTED", "TERM-LISTED"),
        (lists(LOSS, ssn=6), card(), "TERM-LISTED", "TERM-LISTED"),
        (lists(LOSS, ssn=5), card(), 10, 10),
        (lists(ADMIN, ssn=6), card(), "TERM-LISTED", "TERM-LISTED"),
        (lists(), card(chip(PENDING)), "TERM-CARD-STATUS", "TERM-CARD-STATUS"),
        (lists(), card(chip(SUSPENDED)), "TERM-CARD-STATUS", "TERM-CARD-STATUS"),
        (lists(), card(chip(DEAD)), "TERM-CARD-STATUS", "TERM-CARD-STATUS"),
        (lists(), card(chip(DORMANT)), 5, "TERM-DORMANT"),
        (lists(EMP, ssn=6), card(), 6, "TERM-DORMANT"),
        (lists(EMP, ssn=5), card(), 10, 10),
        (lists(EMP, ssn=4), card(), 10, 10),
        (lists(), card(chip(lease="20070617")), 8, "TERM-LEASE"),
        (lists(), card(chip(lease="20070618")), 10, 10),
        (lists(black="03"), card(), "TERM-LISTED", "TERM-LISTED"),
        (lists(black="04"), card(), "TERM-LISTED", "TERM-LISTED"),
        (lists(black="01"), card(), 10, 10),
    ],
)
def test_the_first_matching_row_decides(
    given: CardLists, question: Question, pays: int | str, serves: int | str
) -> None:
    assert debit(given, question) == pays
    assert service(given, question) == serves


def test_a_sleeping_permit_keeps_the_services_marked_for_it() -> None:
    assert service(lists(), card(chip(DORMANT)), dormant_ok=True) == 5
    assert service(lists(EMP, ssn=6), card(), dormant_ok=True) == 6


def test_a_lost_card_without_residence_application_is_refused_by_the_blacklist() -> None:
    foreign = replace(card(), chip=None)
    assert debit(lists(black="01"), foreign) == "TERM-LISTED"
    assert debit(lists(), foreign) == 10
    assert service(lists(), foreign) == "TERM-CARD-STATUS"


@pytest.mark.parametrize(
    ("age", "amount", "pays", "serves"),
    [
        (timedelta(hours=48), 90_000, 10, 10),
        (timedelta(hours=48, seconds=1), 4_999, 9, "TERM-LIST-OLD"),
        (timedelta(hours=48, seconds=1), 5_000, "TERM-LIST-OLD", "TERM-LIST-OLD"),
        (timedelta(hours=168), 4_999, 9, "TERM-LIST-OLD"),
        (timedelta(hours=168, seconds=1), 1, "TERM-LIST-EXPIRED", "TERM-LIST-OLD"),
    ],
)
def test_old_lists_narrow_what_is_allowed(
    age: timedelta, amount: int, pays: int | str, serves: int | str
) -> None:
    assert debit(lists(age=age), card(), amount) == pays
    assert service(lists(age=age), card()) == serves


def test_without_any_list_nothing_is_allowed() -> None:
    assert debit(CardLists(), card()) == "TERM-LIST-EXPIRED"
    assert service(CardLists(), card()) == "TERM-LIST-OLD"
