"""Pure rules of the employment register (residence.md 6.5, 8)."""

from datetime import date, datetime

from core.clock import business_date
from core.errors import Rejected

MINIMUM_AGE = 16
MAX_DAYS_AHEAD = 30
MAX_YEARS_BACK = 2
DEADLINE_DAYS = 3
END_REASONS = frozenset({"01", "02", "03", "04", "05", "06", "07", "08", "99"})


def days_late(occurred_on: date, reported_at: datetime, deadline_days: int = DEADLINE_DAYS) -> int:
    """Calendar days past the 3-day deadline; the day of the event is not counted.

    >>> from datetime import UTC
    >>> days_late(date(2007, 6, 10), datetime(2007, 6, 13, 15, 59, 59, tzinfo=UTC))
    0
    >>> days_late(date(2007, 6, 10), datetime(2007, 6, 13, 16, 0, tzinfo=UTC))
    1
    """
    return max(0, (business_date(reported_at) - occurred_on).days - deadline_days)


def age_on(birth: date, day: date) -> int:
    """Full years."""
    return day.year - birth.year - ((day.month, day.day) < (birth.month, birth.day))


def check_start(birth: date, start: date, today: date) -> None:
    """Raises Rejected E-AGE, E-DATE-FUTURE or E-DATE-OLD."""
    if age_on(birth, start) < MINIMUM_AGE:
        raise Rejected("E-AGE", "a worker is at least 16")
    if (start - today).days > MAX_DAYS_AHEAD:
        raise Rejected("E-DATE-FUTURE", "a hire lies at most 30 days ahead")
    if start.year < today.year - MAX_YEARS_BACK:
        raise Rejected("E-DATE-OLD", "a hire lies at most two years back")


def check_end(start: date, end: date, reason: str, today: date) -> None:
    """Raises Rejected E-DATE-ORDER, E-DATE-FUTURE or E-REASON."""
    if end < start:
        raise Rejected("E-DATE-ORDER", "the last day lies before the first")
    if (end - today).days > MAX_DAYS_AHEAD:
        raise Rejected("E-DATE-FUTURE", "an end lies at most 30 days ahead")
    if reason not in END_REASONS:
        raise Rejected("E-REASON", "unknown end reason")
