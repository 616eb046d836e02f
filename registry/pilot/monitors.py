"""Monitors of the trial run: what goes wrong is found and entered as an issue by itself (SD-05, SD-43).

Each monitor is one question to one system; its finding has a title that names the fault and nobody. `look`
raises an issue for every new finding; `retest` closes one only when its monitor does not find it any more.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import select

from core.clock import Clock, business_date
from core.db import Tx
from registry.dormancy import cases
from registry.dormancy.tables import BreakerRow
from registry.employment import lateness
from registry.employment.tables import EmployerRow
from registry.exchange import dead_letters, reconcile, transport
from registry.exchange.tables import DeadLetterRow, PostingRow
from registry.parameters import PILOT
from registry.pilot import issues, workflow
from registry.pilot.issues import Source, System
from registry.pilot.tables import OpeningRow
from registry.points import readiness
from registry.points.places import all_points
from registry.rental import quality, tasks
from registry.services import running

PAIRS = (("employment", "residence"), ("rental", "residence"))
SILENT_EMPLOYERS_PERCENT = 20  # E1 wants 80 % of them


@dataclass(frozen=True)
class Finding:
    """Something wrong now. `title` is the same as long as the fault is the same."""

    source: Source
    system: System
    severity: int
    title: str


Monitor = Callable[[Tx, Clock], Iterator[Finding]]


def dead_messages(tx: Tx, _clock: Clock) -> Iterator[Finding]:
    """Messages that found no taker, by sender and reason."""
    query = select(DeadLetterRow.source, DeadLetterRow.code).where(
        DeadLetterRow.state == dead_letters.OPEN
    )
    for source, code in sorted({tuple(row) for row in tx.execute(query)}):
        yield Finding(
            Source.EXCHANGE, System.EXCHANGE, 2, f"messages of {source} refused with {code}"
        )


def undelivered(tx: Tx, _clock: Clock) -> Iterator[Finding]:
    """Messages a receiver did not answer for a whole day."""
    query = select(PostingRow.consumer).where(PostingRow.state == transport.DEAD)
    for consumer in sorted(set(tx.scalars(query))):
        yield Finding(Source.EXCHANGE, System.EXCHANGE, 2, f"messages given up at {consumer}")


def silence(tx: Tx, clock: Clock) -> Iterator[Finding]:
    """Registers that were not heard: their people do not fall asleep meanwhile."""
    for source in cases.silent_feeds(tx, clock, PILOT):
        yield Finding(Source.EXCHANGE, System(source.upper()), 1, f"{source} register not heard")


def drift(tx: Tx, _clock: Clock) -> Iterator[Finding]:
    """Pairs that differed by more than 0.1 % at their last comparison."""
    for source, consumer in PAIRS:
        last = reconcile.last_drift(tx, source, consumer)
        if last and last.differing * 1_000 > last.subjects * reconcile.DRIFT_ALARM_PER_MILLE:
            yield Finding(
                Source.EXCHANGE, System.EXCHANGE, 2, f"{source} and {consumer} have drifted apart"
            )


def stopped_sweeps(tx: Tx, _clock: Clock) -> Iterator[Finding]:
    """Nights the breaker stopped and nobody released."""
    query = select(BreakerRow.day).where(BreakerRow.first_person.is_(None)).order_by(BreakerRow.day)
    for day in tx.scalars(query):
        yield Finding(Source.POINT, System.RESIDENCE, 1, f"mass sleep stopped on {day:%d %B}")


def slow_steps(tx: Tx, clock: Clock) -> Iterator[Finding]:
    """Steps of the workflow in which an application waits too long."""
    late = {state for _, state, _ in workflow.overdue(tx, business_date(clock.now()))}
    for state in sorted(late):
        yield Finding(Source.POINT, System.RESIDENCE, 3, f"applications wait too long in {state}")


def silent_employers(tx: Tx, clock: Clock) -> Iterator[Finding]:
    """More employers without this month's list than the target lets pass."""
    silent = len(lateness.missing_employers(tx, business_date(clock.now())))
    known = len(tx.scalars(select(EmployerRow.id).where(EmployerRow.closed_on.is_(None))).all())
    if silent * 100 > known * SILENT_EMPLOYERS_PERCENT:
        yield Finding(
            Source.POINT, System.EMPLOYMENT, 3, "too many employers without a monthly list"
        )


def address_errors(tx: Tx, _clock: Clock) -> Iterator[Finding]:
    """Plates that say something else than the register, or hang without a code in force."""
    measured = quality.measure(tx)
    if measured.orphans:
        yield Finding(Source.POINT, System.RENTAL, 2, "plates without a code in force")
    if measured.correspondence.numerator < measured.correspondence.denominator:
        yield Finding(Source.POINT, System.RENTAL, 2, "plates and register say different things")


def old_tasks(tx: Tx, clock: Clock) -> Iterator[Finding]:
    """Kinds of the stations' shared queue that are past their five days (SD-57)."""
    for kind in sorted({row.kind for row in tasks.overdue(tx, clock)}):
        yield Finding(Source.POINT, System.RENTAL, 3, f"station tasks overdue: {kind}")


def unready_points(tx: Tx, clock: Clock) -> Iterator[Finding]:
    """Points that lost their readiness after all had opened."""
    if tx.get(OpeningRow, 1) is None:
        return
    ready = set(readiness.ready_points(tx, clock))
    for point in all_points():
        if point.code not in ready:
            yield Finding(Source.POINT, System.RESIDENCE, 2, f"point {point.code} is not ready")


def failing_hooks(tx: Tx, _clock: Clock) -> Iterator[Finding]:
    """Services whose hooks failed: no permit waited, but their owners must look."""
    for service in sorted({one.service for one in running.open_faults(tx)}):
        yield Finding(Source.TERMINAL, System.CARD, 3, f"hooks of service {service} fail")


MONITORS: Mapping[str, Monitor] = {
    one.__name__: one
    for one in (
        dead_messages, undelivered, silence, drift, stopped_sweeps, slow_steps, silent_employers,
        address_errors, old_tasks, unready_points, failing_hooks,
    )
}  # fmt: skip


def findings(tx: Tx, clock: Clock, only: tuple[str, ...] = ()) -> list[Finding]:
    """What all monitors, or those named, find now."""
    return [
        finding
        for name, monitor in MONITORS.items()
        if not only or name in only
        for finding in monitor(tx, clock)
    ]


def look(tx: Tx, clock: Clock, only: tuple[str, ...] = ()) -> list[str]:
    """Raise an issue for every finding that has no open one yet; the ids of the new issues."""
    known = {row.title for row in issues.open_issues(tx)}
    return [
        issues.raise_issue(tx, clock, one.source, one.system, one.severity, one.title)
        for one in findings(tx, clock, only)
        if one.title not in known
    ]


def retest(tx: Tx, clock: Clock, issue: str, only: tuple[str, ...] = ()) -> bool:
    """Test a fix by looking again: passed when no monitor finds the fault any more. Raises Rejected E-ISSUE."""
    title = issues.get(tx, issue).title
    passed = title not in {one.title for one in findings(tx, clock, only)}
    issues.retest(tx, clock, issue, passed)
    return passed
