"""May this card pay, may it use a service, at a terminal without the host? (residence.md 6.7, README decision 20)

The first matching row of the table wins. The chip's sequence number `ssn` only grows through a signed ticket, so
an entry whose `ssn` is not newer than the chip's is older than what the chip says (row 7): the rule a naive
blacklist lacks. Online verdicts (row 2) are the host's: the terminal then follows field 39.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cardos.residence_records import StatusRecord
from core.clock import purse_date_time
from core.errors import Rejected
from payments.purse_data import card_serial_of
from payments.terminal_lists import CardLists, Listed
from registry.dormancy.status_list import CANCELLED_BIT, card_hash
from registry.parameters import PILOT, Policy
from registry.residence.domain import CAUSE_BIT, ChipStatus, Hold

OLDEST_LIST = timedelta(hours=168)  # parameter 88
HELD = CAUSE_BIT[Hold.LOSS] | CAUSE_BIT[Hold.ADMIN] | CAUSE_BIT[Hold.EXPIRED]
ASLEEP = CAUSE_BIT[Hold.EMP] | CAUSE_BIT[Hold.RES]
REFUSED_CHIP = frozenset({ChipStatus.PENDING, ChipStatus.SUSPENDED, ChipStatus.CANCELLED})


@dataclass(frozen=True)
class Question:
    """A card at a terminal: its ASN, its EF.STATUS (None for a card without residence application)."""

    asn: bytes
    chip: StatusRecord | None
    now: datetime
    policy: Policy = PILOT
    oldest: timedelta = OLDEST_LIST


def decide_debit(lists: CardLists, card: Question, amount: int) -> int:
    """The row that allows an off-line debit of `amount` fen (5 to 10).

    Raises Rejected TERM-LISTED, TERM-CARD-STATUS, TERM-LIST-OLD or TERM-LIST-EXPIRED.
    """
    entry = _refuse_listed(lists, card)
    if card.chip is not None and card.chip.status in REFUSED_CHIP:
        raise Rejected(
            "TERM-CARD-STATUS", f"row 4: status {card.chip.status}", status=card.chip.status
        )
    row = _sleep_row(card.chip, entry)
    age = lists.age(card.now)
    if age is None or age > card.oldest:
        raise Rejected("TERM-LIST-EXPIRED", "row 9", hours=_hours(card.oldest))
    if age > card.policy.list_max_age:
        if amount >= card.policy.floor_fen:
            raise Rejected("TERM-LIST-OLD", "row 9", hours=_hours(age), floor=card.policy.floor_fen)
        return 9
    if row is None and _lease_over(card):
        return 8
    return 10 if row is None else row


def decide_service(lists: CardLists, card: Question, dormant_ok: bool) -> int:
    """The row that allows a status-bound service (5, 6 or 10).

    Raises Rejected TERM-LISTED, TERM-CARD-STATUS, TERM-DORMANT, TERM-LEASE, TERM-LIST-OLD.
    """
    entry = _refuse_listed(lists, card)
    chip = card.chip
    if chip is None or chip.status in REFUSED_CHIP:
        status = 0 if chip is None else chip.status
        raise Rejected("TERM-CARD-STATUS", f"row 4: status {status}", status=status)
    row = _sleep_row(chip, entry)
    if row is not None:
        if dormant_ok:
            return row
        causes = chip.causes if entry is None else entry.cause
        raise Rejected("TERM-DORMANT", f"row {row}", cause=causes)
    if _lease_over(card):
        raise Rejected("TERM-LEASE", "row 8", until=chip.lease_until.hex())
    age = lists.age(card.now)
    if age is None or age > card.policy.list_max_age:
        hours = _hours(card.policy.list_max_age if age is None else age)
        raise Rejected("TERM-LIST-OLD", "row 9", hours=hours, floor=0)
    return 10


def _refuse_listed(lists: CardLists, card: Question) -> Listed | None:
    """Row 3 and the blacklist; returns the card's entry in the status list."""
    reason = lists.black.get(card.asn)
    # Lost and stolen are judged by the status list, which knows whether the holder got the card back.
    if reason is not None and (reason not in ("01", "02") or card.chip is None):
        raise Rejected("TERM-LISTED", f"blacklist, reason {reason}", reason=reason)
    serial = card_serial_of(card.asn)
    entry = lists.status.get(card_hash(serial)) if serial is not None else None
    if entry is None:
        return None
    newer = card.chip is None or entry.ssn > card.chip.ssn
    if entry.cause & CANCELLED_BIT or (entry.cause & HELD and newer):
        raise Rejected(
            "TERM-LISTED", f"row 3: cause {entry.cause:02X}", reason=f"{entry.cause:02X}"
        )
    return entry


def _sleep_row(chip: StatusRecord | None, entry: Listed | None) -> int | None:
    """Row 5: the chip says dormant. Row 6: the list says so and knows better. None: awake (row 7 and on)."""
    if chip is None:
        return None
    if chip.status == ChipStatus.DORMANT:
        return 5
    if entry is not None and entry.cause & ASLEEP and entry.ssn > chip.ssn:
        return 6
    return None


def _lease_over(card: Question) -> bool:
    today, _ = purse_date_time(card.now)
    return card.chip is not None and card.chip.lease_until < today


def _hours(age: timedelta) -> int:
    return int(age.total_seconds() // 3600)
