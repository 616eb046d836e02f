"""The audit of E2 by a second, independent count (residence.md 15, dual-system estimate).

The employment register is one list of the workers; workers met at a blind field check are another. From both
and what they share follows how many workers there are, those on neither list included.
"""

from collections.abc import Sequence
from datetime import date

from sqlalchemy import func, select

from core.db import Tx
from registry.employment.tables import EmploymentRow
from registry.indicators.compute import working_on
from registry.indicators.statistics import Z95, Interval, Method, dual_system
from registry.indicators.values import IndicatorValue, value

CAVEAT = "assumes independent counts"


def second_count(tx: Tx, day: date, met: Sequence[Sequence[str]]) -> IndicatorValue:
    """E2D: entered workers of the estimated ones. `met`: per worker met, the records shown of them, if any.

    A record counts when the register has it and it covers the day. The interval holds 95 % of the estimates.
    """
    wanted = [record for records in met for record in records]
    valid = set[str]()
    for first in range(0, len(wanted), 1_000):
        piece = wanted[first : first + 1_000]
        valid |= set(
            tx.scalars(
                select(EmploymentRow.id).where(EmploymentRow.id.in_(piece), *working_on(day))
            )
        )
    both = sum(any(record in valid for record in records) for records in met)
    entered = (
        tx.scalar(select(func.count(EmploymentRow.worker_id.distinct())).where(*working_on(day)))
        or 0
    )
    if not met:
        return value("E2D", day, entered, 0, "nobody was met", Method.ESTIMATE)
    found = dual_system(entered, len(met), both)
    workers, spread = float(found.estimate), Z95 * found.standard_error
    interval = Interval(
        entered / (workers + spread), min(1.0, entered / max(1.0, workers - spread))
    )
    source = f"dual-system estimate: {len(met)} met, {both} of them entered; {CAVEAT}"
    return value("E2D", day, entered, round(found.estimate), source, Method.ESTIMATE, interval)
