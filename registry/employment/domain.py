"""Pure rules of the employment register (residence.md 8)."""

from datetime import date

from core.errors import Rejected

MINIMUM_AGE = 16
MAX_DAYS_AHEAD = 30
MAX_YEARS_BACK = 2
END_REASONS = frozenset({"01", "02", "03", "04", "05", "06", "07", "08", "99"})


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
