"""The 3-day rule, one place for all registers (residence.md 6.5).

``deadline = day of the event + 3 calendar days, 24:00`` in Shenzhen; the day of the event is not counted.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from core.clock import business_date
from registry.parameters import PILOT, Policy


@dataclass(frozen=True)
class Timeliness:
    """How many events were on time, and the worst of the late ones."""

    events: int
    on_time: int
    p50_days_late: int
    p95_days_late: int


def deadline(occurred_on: date, policy: Policy = PILOT) -> date:
    """The last day on which a report is on time."""
    return occurred_on + timedelta(days=policy.deadline_days)


def days_late(occurred_on: date, reported_at: datetime, policy: Policy = PILOT) -> int:
    """Calendar days past the deadline, 0 when on time.

    >>> from datetime import UTC
    >>> days_late(date(2007, 6, 10), datetime(2007, 6, 13, 15, 59, 59, tzinfo=UTC))
    0
    >>> days_late(date(2007, 6, 10), datetime(2007, 6, 13, 16, 0, tzinfo=UTC))
    1
    """
    return max(0, (business_date(reported_at) - deadline(occurred_on, policy)).days)


def timeliness(late: list[int]) -> Timeliness:
    """Summary of the days late of many events."""
    ranked = sorted(late)
    if not ranked:
        return Timeliness(0, 0, 0, 0)
    return Timeliness(
        len(ranked),
        sum(days == 0 for days in ranked),
        ranked[(len(ranked) - 1) // 2],
        ranked[-(-(len(ranked) * 95) // 100) - 1],
    )
