"""Issues of the trial run: raised, fixed in a version with a cause class, re-tested, closed (residence.md 16).

及时发现，及时调整: the median open time is an indicator. A failed re-test opens an issue again.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from statistics import median_low

from sqlalchemy import select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import Rejected
from core.ids import uuid7
from registry.masking import refuse_personal
from registry.pilot.tables import IssueRow

GRAVE = (1, 2)


class Source(StrEnum):
    """Who noticed it."""

    POINT = "POINT"
    TERMINAL = "TERMINAL"
    EXCHANGE = "EXCHANGE"
    HOLDER = "HOLDER"


class System(StrEnum):
    """Where it lies."""

    RESIDENCE = "RESIDENCE"
    EMPLOYMENT = "EMPLOYMENT"
    RENTAL = "RENTAL"
    EXCHANGE = "EXCHANGE"
    CARD = "CARD"
    PURSE = "PURSE"


class Cause(StrEnum):
    """从技术、业务流程及相关规定完善: what had to change."""

    TECHNIQUE = "TECHNIQUE"
    WORKFLOW = "WORKFLOW"
    RULE = "RULE"


@dataclass(frozen=True)
class Week:
    """An ISO week, ``2007-W23``, and how many issues it brought and ended."""

    name: str
    raised: int
    closed: int


def raise_issue(
    tx: Tx, clock: Clock, source: Source, system: System, severity: int, title: str
) -> str:
    """Enter a problem, severity 1 (grave) to 4; its id. Raises Rejected E-ISSUE, E-PERSONAL."""
    if not 1 <= severity <= 4 or not title.strip():
        raise Rejected("E-ISSUE", "severity 1 to 4 and a title", issue="new")
    refuse_personal(title)
    issue = uuid7(clock.now())
    tx.add(
        IssueRow(
            id=issue, source=source, system=system, severity=severity,
            title=title.strip()[:200], raised_at=clock.now(),
        )
    )  # fmt: skip
    tx.flush()
    events.append(tx, clock, "pilot.issue_raised", issue, system=system, severity=severity)
    return issue


def fix(tx: Tx, clock: Clock, issue: str, cause: Cause, version: str) -> None:
    """What was changed and in which version. Raises Rejected E-ISSUE (unknown, closed, no version)."""
    row = get(tx, issue)
    if not version.strip():
        raise Rejected("E-ISSUE", "a fix has a version", issue=issue)
    row.cause, row.fix_version, row.fixed_at = cause, version.strip()[:20], clock.now()
    tx.flush()
    events.append(tx, clock, "pilot.issue_fixed", issue, version=row.fix_version, cause=cause)


def retest(tx: Tx, clock: Clock, issue: str, passed: bool) -> None:
    """Test the fix again: passed closes, failed takes the fix away. Raises Rejected E-ISSUE (nothing fixed)."""
    row = get(tx, issue)
    if row.fix_version is None:
        raise Rejected("E-ISSUE", "there is no fix to test", issue=issue)
    row.retests += 1
    if passed:
        row.closed_at = clock.now()
    else:
        row.cause = row.fix_version = row.fixed_at = None
    tx.flush()
    outcome = "passed" if passed else "failed"
    events.append(tx, clock, "pilot.issue_retested", issue, outcome=outcome)


def open_issues(tx: Tx, grave_only: bool = False) -> list[IssueRow]:
    """What still waits, the gravest first."""
    query = select(IssueRow).where(IssueRow.closed_at.is_(None))
    if grave_only:
        query = query.where(IssueRow.severity.in_(GRAVE))
    return list(tx.scalars(query.order_by(IssueRow.severity, IssueRow.id)))


def median_open(tx: Tx) -> timedelta | None:
    """Median time from raised to closed, of closed issues."""
    rows = tx.scalars(select(IssueRow).where(IssueRow.closed_at.is_not(None)))
    spans = [row.closed_at - row.raised_at for row in rows if row.closed_at]
    return median_low(spans) if spans else None


def by_cause(tx: Tx) -> dict[str, int]:
    """Closed issues of each class, for the summary (SD-59)."""
    rows = tx.scalars(select(IssueRow.cause).where(IssueRow.closed_at.is_not(None)))
    found = Counter(cause for cause in rows if cause)
    return {cause.value: found[cause] for cause in Cause}


def by_week(tx: Tx) -> list[Week]:
    """The weekly trend, from the first week in which one was raised; weeks without any are left out."""
    raised: Counter[str] = Counter()
    closed: Counter[str] = Counter()
    for entered, ended in tx.execute(select(IssueRow.raised_at, IssueRow.closed_at)):
        raised[f"{business_date(entered):%G-W%V}"] += 1
        if ended is not None:
            closed[f"{business_date(ended):%G-W%V}"] += 1
    return [Week(name, raised[name], closed[name]) for name in sorted({*raised, *closed})]


def get(tx: Tx, issue: str) -> IssueRow:
    """An issue that is not closed. Raises Rejected E-ISSUE."""
    row = tx.get(IssueRow, issue, with_for_update=True)
    if row is None or row.closed_at is not None:
        raise Rejected("E-ISSUE", "unknown or closed", issue=issue)
    return row
