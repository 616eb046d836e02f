"""One indicator's value: what was counted, of what, how sure, against which target (residence.md 15).

The two counts are always shown beside the percentage, which is floored to a hundredth and never rounded up.
"""

from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from sqlalchemy import select

from core.clock import Clock
from core.db import Tx
from registry.indicators.statistics import Interval, Method, Verdict, judge, wilson
from registry.indicators.tables import IndicatorRow

TARGETS = {  # percent
    "E1": 80, "E2": 85, "E2D": 85, "R1": 95, "R2": 95, "A1": 100, "A2": 100, "A3": 100, "A4": 100,
    "A5": 100, "P1": 100, "P2": 100, "D1": 99, "D2": 100,
}  # fmt: skip
DISTRICT = "440308"


def percent(numerator: int, denominator: int) -> str:
    """A share in percent with two digits, floored; empty without a denominator.

    >>> percent(79_999, 100_000)
    '79.99 %'
    """
    if not denominator:
        return ""
    whole, part = divmod(_hundredths(numerator, denominator), 100)
    return f"{whole}.{part:02d} %"


def trend(now: tuple[int, int], before: tuple[int, int] | None) -> str:
    """Percentage points since the value before, of the shares as shown; empty where either has no denominator.

    >>> trend((79_999, 100_000), (4, 5))
    '-0.01'
    """
    if before is None or not (now[1] and before[1]):
        return ""
    change = _hundredths(*now) - _hundredths(*before)
    whole, part = divmod(abs(change), 100)
    return f"{'-' if change < 0 else '+'}{whole}.{part:02d}"


def _hundredths(numerator: int, denominator: int) -> int:
    return 10_000 * numerator // denominator


@dataclass(frozen=True)
class IndicatorValue:
    """See the module. `numerator` and `denominator` are whole; `source` says where the denominator comes from."""

    id: str
    as_of: date
    numerator: int
    denominator: int
    source: str
    method: Method
    interval: Interval | None
    verdict: Verdict
    scope: str = DISTRICT

    @property
    def target(self) -> int | None:
        """Percent."""
        return TARGETS.get(self.id)

    @property
    def shown(self) -> str:
        """``79.99 % (7999 of 10000)``, or the verdict alone without a denominator."""
        if not self.denominator:
            return self.verdict.value
        share = percent(self.numerator, self.denominator)
        return f"{share} ({self.numerator} of {self.denominator})"


def value(
    id: str, as_of: date, numerator: int, denominator: int, source: str, method: Method,
    interval: Interval | None = None, scope: str = DISTRICT,
) -> IndicatorValue:  # fmt: skip
    """Judge a pair of counts. A sample without an interval of its own gets Wilson's."""
    if method is Method.SAMPLE and interval is None and denominator:
        interval = wilson(numerator, denominator)
    percent = TARGETS.get(id)
    target = None if percent is None else Fraction(percent, 100)
    verdict = judge(numerator, denominator, target, method, interval)
    return IndicatorValue(
        id, as_of, numerator, denominator, source, method, interval, verdict, scope
    )


def keep(tx: Tx, clock: Clock, found: IndicatorValue) -> None:
    """Store a value; the same indicator, day and scope again is replaced."""
    tx.merge(
        IndicatorRow(
            indicator=found.id, as_of=found.as_of, scope=found.scope, numerator=found.numerator,
            denominator=found.denominator, source=found.source[:120], method=found.method,
            low=None if found.interval is None else found.interval.low,
            high=None if found.interval is None else found.interval.high,
            target_percent=found.target, verdict=found.verdict, computed_at=clock.now(),
        )
    )  # fmt: skip
    tx.flush()


def history(tx: Tx, id: str, scope: str = DISTRICT) -> list[IndicatorValue]:
    """All values of an indicator, oldest first."""
    rows = tx.scalars(
        select(IndicatorRow)
        .where(IndicatorRow.indicator == id, IndicatorRow.scope == scope)
        .order_by(IndicatorRow.as_of)
    )
    return [
        IndicatorValue(
            row.indicator, row.as_of, row.numerator, row.denominator, row.source, Method(row.method),
            None if row.low is None or row.high is None else Interval(row.low, row.high),
            Verdict(row.verdict), row.scope,
        )
        for row in rows
    ]  # fmt: skip
