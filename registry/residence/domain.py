"""Pure rules of the residence register: application states, permit status, the purse gate (residence.md 5, 6)."""

from collections.abc import Collection
from datetime import date, timedelta
from enum import IntEnum, StrEnum


class State(StrEnum):
    """Application states (residence.md 5.3)."""

    DRAFT = "DRAFT"
    SUBMITTED = "SUBMITTED"
    ACCEPTED = "ACCEPTED"
    VERIFYING = "VERIFYING"
    IN_REVIEW = "IN_REVIEW"
    RETURNED = "RETURNED"
    REJECTED = "REJECTED"
    APPROVED = "APPROVED"
    DATA_PREP = "DATA_PREP"
    IN_PRODUCTION = "IN_PRODUCTION"
    QC = "QC"
    REWORK = "REWORK"
    PACKED = "PACKED"
    IN_TRANSIT = "IN_TRANSIT"
    AT_POINT = "AT_POINT"
    COLLECTED = "COLLECTED"
    CLOSED = "CLOSED"
    UNCLAIMED = "UNCLAIMED"
    WITHDRAWN = "WITHDRAWN"


ALLOWED: dict[State, frozenset[State]] = {
    State.DRAFT: frozenset({State.SUBMITTED, State.WITHDRAWN}),
    State.SUBMITTED: frozenset({State.ACCEPTED, State.WITHDRAWN}),
    State.ACCEPTED: frozenset({State.VERIFYING, State.WITHDRAWN}),
    State.VERIFYING: frozenset({State.IN_REVIEW, State.WITHDRAWN}),
    State.IN_REVIEW: frozenset({State.RETURNED, State.REJECTED, State.APPROVED, State.WITHDRAWN}),
    State.RETURNED: frozenset({State.VERIFYING, State.WITHDRAWN}),
    State.REJECTED: frozenset(),
    State.APPROVED: frozenset({State.DATA_PREP, State.WITHDRAWN}),
    State.DATA_PREP: frozenset({State.IN_PRODUCTION, State.WITHDRAWN}),
    State.IN_PRODUCTION: frozenset({State.QC, State.WITHDRAWN}),
    State.QC: frozenset({State.REWORK, State.PACKED}),
    State.REWORK: frozenset({State.IN_PRODUCTION}),
    State.PACKED: frozenset({State.IN_TRANSIT}),
    State.IN_TRANSIT: frozenset({State.AT_POINT}),
    State.AT_POINT: frozenset({State.COLLECTED, State.UNCLAIMED}),
    State.COLLECTED: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
    State.UNCLAIMED: frozenset(),
    State.WITHDRAWN: frozenset(),
}


class Kind(StrEnum):
    """What is applied for."""

    NEW = "NEW"
    REPLACE_LOST = "REPLACE_LOST"
    REPLACE_DAMAGED = "REPLACE_DAMAGED"
    RENEW = "RENEW"
    CHANGE_FACE = "CHANGE_FACE"
    CONVERT = "CONVERT"


REPLACEMENTS = frozenset({Kind.REPLACE_LOST, Kind.REPLACE_DAMAGED})
"""From the order on the old card is dead; with the other kinds it lives until the new one is handed over."""


class Channel(StrEnum):
    """Where an application comes from (5.2)."""

    WINDOW = "WINDOW"
    BATCH = "BATCH"
    MOBILE = "MOBILE"


class Basis(StrEnum):
    """Grounds of a permit. `number` is what EF.BASIS carries."""

    EMPLOYMENT = "EMPLOYMENT"
    BUSINESS = "BUSINESS"
    PROPERTY = "PROPERTY"
    STUDY = "STUDY"
    TALENT = "TALENT"
    DEPENDANT = "DEPENDANT"

    @property
    def number(self) -> int:
        return list(Basis).index(self) + 1


class PermitType(StrEnum):
    """Residence permit (10 years) and temporary residence permit (6 months)."""

    RP = "RP"
    TRP = "TRP"

    @property
    def number(self) -> int:
        return list(PermitType).index(self) + 1


class Hold(StrEnum):
    """Holds of a permit (6.2). EMP and RES make it sleep."""

    EMP = "EMP"
    RES = "RES"
    LOSS = "LOSS"
    EXPIRED = "EXPIRED"
    ADMIN = "ADMIN"
    CANCELLED = "CANCELLED"


class ChipStatus(IntEnum):
    """Byte 1 of EF.STATUS (6.6)."""

    PENDING = 1
    ACTIVE = 2
    DORMANT = 3
    SUSPENDED = 4
    CANCELLED = 5


class CardState(StrEnum):
    """What the register knows of a plastic; its place is production's."""

    BOUND = "BOUND"
    ISSUED = "ISSUED"
    VOID = "VOID"


CAUSE_BIT = {Hold.EMP: 1, Hold.RES: 2, Hold.LOSS: 4, Hold.EXPIRED: 8, Hold.ADMIN: 16}
SUSPENDING = frozenset({Hold.LOSS, Hold.EXPIRED, Hold.ADMIN})
SLEEPING = frozenset({Hold.EMP, Hold.RES})
APPROVED_CODE = "00"


def chip_status(holds: Collection[Hold], handed_over: bool) -> ChipStatus:
    """What the chip shall say."""
    if Hold.CANCELLED in holds:
        return ChipStatus.CANCELLED
    if SUSPENDING.intersection(holds):
        return ChipStatus.SUSPENDED
    if not handed_over:
        return ChipStatus.PENDING
    return ChipStatus.DORMANT if SLEEPING.intersection(holds) else ChipStatus.ACTIVE


def causes(holds: Collection[Hold]) -> int:
    """Byte 2 of EF.STATUS."""
    return sum(bit for hold, bit in CAUSE_BIT.items() if hold in holds)


def shown_status(holds: Collection[Hold], watch: bool = False) -> str:
    """The strongest member: CANCELLED > EXPIRED > LOSS > ADMIN > DORMANT > WATCH > ACTIVE (6.2)."""
    for hold in (Hold.CANCELLED, Hold.EXPIRED, Hold.LOSS, Hold.ADMIN):
        if hold in holds:
            return str(hold)
    if SLEEPING.intersection(holds):
        return "DORMANT"
    return "WATCH" if watch else "ACTIVE"


def load_refusal(
    card: CardState | None, void_reason: str | None, holds: Collection[Hold], stolen: bool
) -> str:
    """Field 39 for a load, ``00`` when it may go on (README decision 20).

    62 dormant, pending or ADMIN; 54 expired; 41 lost; 43 stolen; 04 cancelled, replaced or suspect;
    14 unknown.
    """
    if card is None:
        return "14"
    if card is CardState.VOID:
        return {"LOST": "41", "STOLEN": "43"}.get(void_reason or "", "04")
    if Hold.CANCELLED in holds:
        return "04"
    if Hold.EXPIRED in holds:
        return "54"
    if Hold.LOSS in holds:
        return "43" if stolen else "41"
    if holds or card is CardState.BOUND:
        return "62"
    return APPROVED_CODE


def may_debit(card: CardState | None, holds: Collection[Hold]) -> bool:
    """A sleeping card may pay: the balance is the holder's money (6.9)."""
    return card is CardState.ISSUED and not {*SUSPENDING, Hold.CANCELLED}.intersection(holds)


def add_working_days(day: date, count: int) -> date:
    """`count` working days (Monday to Friday) after `day`."""
    while count:
        day += timedelta(days=1)
        if day.weekday() < 5:
            count -= 1
    return day


def working_days(first: date, last: date) -> int:
    """Working days after `first` up to and including `last`."""
    span = (last - first).days
    return sum((first + timedelta(days=n)).weekday() < 5 for n in range(1, span + 1))


def add_months(day: date, months: int) -> date:
    """The same day so many months later, or the last day of that month."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    for last in (day.day, 30, 29, 28):
        try:
            return date(year, month + 1, last)
        except ValueError:
            continue
    raise AssertionError("every month has 28 days")


def valid_until(issued: date, kind: PermitType, years: int, months: int) -> date:
    """Last day: RP `years`, TRP `months` after issue, less one day."""
    span = years * 12 if kind is PermitType.RP else months
    return add_months(issued, span) - timedelta(days=1)
