"""The counted indicators: employers, workers, timeliness, addresses, points, exchange, dormancy (residence.md 15).

Each function takes the day and gives a value with its denominator's source; nothing is rounded up.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from statistics import median_low

from sqlalchemy import func, select

from core.clock import Clock
from core.db import Tx
from registry.dormancy.tables import SpellRow
from registry.employment import feeds
from registry.employment import lateness as employment_lateness
from registry.employment.tables import EmployerRow, EmploymentRow, InspectionRow
from registry.exchange.tables import DeadLetterRow
from registry.indicators.statistics import Method
from registry.indicators.values import IndicatorValue, value
from registry.points import readiness, training
from registry.points.places import COUNT
from registry.rental import lateness as rental_lateness
from registry.rental import quality

LIST_DAYS = 31
DEAD_AFTER = timedelta(days=3)
INDIVIDUAL = "INDIVIDUAL"
SIZE_BANDS = (5, 20, 100, 500)


def covered(tx: Tx, day: date) -> set[str]:
    """Codes of employers with an account and a list, confirmation or zero declaration of the last 31 days."""
    silent = set(employment_lateness.missing_employers(tx, day, LIST_DAYS))
    accounts = tx.scalars(select(EmployerRow.code).where(EmployerRow.closed_on.is_(None)))
    return set(accounts) - silent


def owing(tx: Tx) -> tuple[set[str], int]:
    """Employers that have workers: the feeds' union (individuals only when an account shows workers).

    Also how many pairs were merged by name alone, which a person should look at.
    """
    merged = feeds.union(tx)
    declared = dict(tx.execute(select(EmployerRow.code, EmployerRow.declared_headcount)).all())
    codes = {
        one.code or one.reg_no or f"{one.name}/{one.building}"
        for one in merged.employers
        if one.kind != INDIVIDUAL or declared.get(one.code, 0) > 0
    }
    return codes, merged.by_name


def employer_coverage(tx: Tx, day: date) -> IndicatorValue:
    """E1: covered of those that owe a list."""
    codes, by_name = owing(tx)
    source = f"union of the business and quality feeds and inspections, {by_name} merged by name"
    return value("E1", day, len(covered(tx, day) & codes), len(codes), source, Method.CENSUS)


def worker_entry(tx: Tx, day: date) -> IndicatorValue:
    """E2: distinct verified persons at work of the workers that covered and uncovered employers owe."""
    at_work = (
        EmploymentRow.start <= day, EmploymentRow.withdrawn_at.is_(None),
        (EmploymentRow.end.is_(None)) | (EmploymentRow.end >= day),
    )  # fmt: skip
    persons = tx.scalar(select(func.count(EmploymentRow.worker_id.distinct())).where(*at_work)) or 0
    records = tx.scalar(select(func.count()).select_from(EmploymentRow).where(*at_work)) or 0
    owed, guessed = _owed(tx, day, at_work)
    if records:
        owed = owed * persons // records  # jobs to persons
    source = "declared, recorded or inspected headcount; uncovered ones by size and kind"
    method = Method.ESTIMATE if guessed else Method.CENSUS
    return value("E2", day, persons, owed, source, method)


def _owed(tx: Tx, day: date, at_work: tuple[object, ...]) -> tuple[int, int]:
    """Workers owed: what is known of covered and of inspected employers, an estimate for the others.

    Also how many employers had to be estimated: with none of them the figure is counted.
    """
    active = dict(
        tx.execute(
            select(EmploymentRow.employer_id, func.count())
            .where(*at_work)  # type: ignore[arg-type]  # column expressions
            .group_by(EmploymentRow.employer_id)
        ).all()
    )
    seen = dict(
        tx.execute(
            select(InspectionRow.employer_id, func.max(InspectionRow.headcount_seen)).group_by(
                InspectionRow.employer_id
            )
        ).all()
    )
    lists, codes = covered(tx, day), owing(tx)[0]
    total = 0
    known: dict[str, list[int]] = {}
    for row in tx.scalars(select(EmployerRow).where(EmployerRow.closed_on.is_(None))):
        heads = max(row.declared_headcount, active.get(row.id, 0), seen.get(row.id) or 0)
        if row.code in lists:
            total += heads
            known.setdefault(row.kind, []).append(heads)
        elif row.code in codes and (inspected := seen.get(row.id)):
            total += inspected
            codes = codes - {row.code}
    unknown = codes - lists
    return total + _estimated(unknown, tx, known), len(unknown)


def _estimated(codes: set[str], tx: Tx, known: Mapping[str, list[int]]) -> int:
    """Uncovered employers at the median of covered ones of the same kind."""
    kinds = {one.code: one.kind for one in feeds.union(tx).employers}
    every = [heads for group in known.values() for heads in group]
    total = 0
    for code in codes:
        group = known.get(kinds.get(code, ""), every)
        total += median_low(group) if group else 0
    return total


def employment_timeliness(tx: Tx, first: date, last: date) -> IndicatorValue:
    """E3: hires and ends reported within three days, of all that happened in the span."""
    found = employment_lateness.reports(tx, first, last)
    timely = sum(report.late == 0 for report in found)
    return value("E3", last, timely, len(found), f"reports of {first} to {last}", Method.CENSUS)


def rental_timeliness(tx: Tx, first: date, last: date) -> IndicatorValue:
    """R3: moves entered within three days."""
    found = rental_lateness.changes(tx, first, last)
    timely = sum(change.late == 0 for change in found)
    return value("R3", last, timely, len(found), f"moves of {first} to {last}", Method.CENSUS)


def addresses(tx: Tx, day: date) -> list[IndicatorValue]:
    """A1 to A4 of rooms against the field census."""
    measured = quality.measure(tx)
    parts = {
        "A1": measured.plates, "A2": measured.codes, "A3": measured.cards,
        "A4": measured.correspondence,
    }  # fmt: skip
    return [
        value(id, day, part.numerator, part.denominator, "field census of doors", Method.CENSUS)
        for id, part in parts.items()
    ]


def points(tx: Tx, clock: Clock, day: date) -> list[IndicatorValue]:
    """P1 points ready of 23, P2 staff certified of assigned."""
    ready, staff = len(readiness.ready_points(tx, clock)), training.coverage(tx, clock)
    return [
        value("P1", day, ready, COUNT, "the 23 points", Method.CENSUS),
        value("P2", day, staff.certified, staff.required, "staff lists", Method.CENSUS),
    ]


def exchange(tx: Tx, clock: Clock) -> int:
    """X1: messages that lie in dead letters for more than three days; 0 is wanted."""
    query = select(func.count()).where(
        DeadLetterRow.refused_at < clock.now() - DEAD_AFTER, DeadLetterRow.state == "OPEN"
    )
    return tx.scalar(query) or 0


def dormancy(tx: Tx, day: date) -> list[IndicatorValue]:
    """D1 sleeps that were voided of those that ended (at most 1 % is wanted), D2 sleeps and wakings observed."""
    slept = tx.scalar(select(func.count()).select_from(SpellRow)) or 0
    ended = tx.scalar(select(func.count()).where(SpellRow.outcome.is_not(None))) or 0
    voided = tx.scalar(select(func.count()).where(SpellRow.outcome == "VOIDED")) or 0
    return [
        value("D1", day, voided, ended, "sleeps that ended", Method.CENSUS),
        value("D2", day, ended, slept, "all sleeps of the pilot", Method.CENSUS),
    ]
