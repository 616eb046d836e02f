"""The counted indicators: employers, workers, timeliness, addresses, points, exchange, dormancy (residence.md 15).

Each function takes the day and gives a value with its denominator's source; nothing is rounded up.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from statistics import median_low

from sqlalchemy import ColumnElement, func, select

from core.clock import Clock
from core.db import Tx
from registry.dormancy.tables import SpellRow
from registry.employment import feeds
from registry.employment import lateness as employment_lateness
from registry.employment.tables import EmployerRow, EmploymentRow, InspectionRow
from registry.exchange import dead_letters, reconcile
from registry.identifiers import validate_address_code
from registry.indicators.statistics import Method, Verdict
from registry.indicators.values import IndicatorValue, value
from registry.points import readiness, training
from registry.points.places import COUNT
from registry.rental import lateness as rental_lateness
from registry.rental import quality
from registry.rental import service as rental
from registry.rental.tables import AddressRow, OccupancyRow, PlateRow

LIST_DAYS = 31
ENOUGH = 300  # sleeps, and wakes, that let dormancy be judged
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


def working_on(day: date) -> tuple[ColumnElement[bool], ...]:
    """The conditions of a record that covers a day."""
    return (
        EmploymentRow.start <= day, EmploymentRow.withdrawn_at.is_(None),
        (EmploymentRow.end.is_(None)) | (EmploymentRow.end >= day),
    )  # fmt: skip


def worker_entry(tx: Tx, day: date) -> IndicatorValue:
    """E2: distinct verified persons at work of the workers that covered and uncovered employers owe."""
    at_work = working_on(day)
    persons = tx.scalar(select(func.count(EmploymentRow.worker_id.distinct())).where(*at_work)) or 0
    records = tx.scalar(select(func.count()).select_from(EmploymentRow).where(*at_work)) or 0
    owed, guessed = _owed(tx, day, at_work)
    if records:
        owed = owed * persons // records  # jobs to persons
    source = "declared, recorded or inspected headcount; uncovered ones by size and kind"
    method = Method.ESTIMATE if guessed else Method.CENSUS
    return value("E2", day, persons, owed, source, method)


def _owed(tx: Tx, day: date, at_work: tuple[ColumnElement[bool], ...]) -> tuple[int, int]:
    """Workers owed: what is known of covered and of inspected employers, an estimate for the others.

    Also how many employers had to be estimated: with none of them the figure is counted.
    """
    active = dict(
        tx.execute(
            select(EmploymentRow.employer_id, func.count())
            .where(*at_work)
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
    """A1 to A4 of rooms against the field census, A5 plates whose code is in force of all that hang."""
    measured = quality.measure(tx)
    hung = tx.scalar(
        select(func.count(PlateRow.code.distinct())).where(
            PlateRow.kind == quality.ROOM, PlateRow.state == "HUNG"
        )
    )
    parts = {
        "A1": measured.plates, "A2": measured.codes, "A3": measured.cards,
        "A4": measured.correspondence,
    }  # fmt: skip
    found = [
        value(id, day, part.numerator, part.denominator, "field census of doors", Method.CENSUS)
        for id, part in parts.items()
    ]
    plates, orphans = hung or 0, len(measured.orphans)
    return [
        *found,
        value("A5", day, plates - orphans, plates, "plates that hang at rooms", Method.CENSUS),
    ]


def conformity(tx: Tx, day: date) -> IndicatorValue:
    """R4: living spells whose code is right and in force, dates in order, relation known, both clocks set."""
    rows = tx.execute(
        select(OccupancyRow, AddressRow.status)
        .join(AddressRow, AddressRow.code == OccupancyRow.address_code)
        .where(OccupancyRow.withdrawn_at.is_(None), OccupancyRow.move_in <= day)
    )
    good = count = 0
    for row, status in rows:
        count += 1
        in_force = status == "ACTIVE" or row.move_out is not None
        in_order = row.reported_at <= row.updated_at and row.relation in rental.RELATIONS
        good += validate_address_code(row.address_code).ok and in_force and in_order
    return value("R4", day, good, count, "records of the rental register", Method.CENSUS)


def points(tx: Tx, clock: Clock, day: date) -> list[IndicatorValue]:
    """P1 points ready of 23, P2 staff certified of assigned."""
    ready, staff = len(readiness.ready_points(tx, clock)), training.coverage(tx, clock)
    return [
        value("P1", day, ready, COUNT, "the 23 points", Method.CENSUS),
        value("P2", day, staff.certified, staff.required, "staff lists", Method.CENSUS),
    ]


def exchange(tx: Tx, clock: Clock, day: date) -> IndicatorValue:
    """X1: subjects on which sender and receiver agreed at their last comparison.

    MET with a drift of at most 0.1 % and no message in dead letters for more than three days.
    """
    subjects = differing = 0
    for source in ("employment", "rental"):
        last = reconcile.last_drift(tx, source, "residence")
        if last is not None:
            subjects, differing = subjects + last.subjects, differing + last.differing
    dead = dead_letters.too_old(tx, clock)
    source = f"subjects of the last nightly comparison; {dead} dead letters over 3 days"
    found = value("X1", day, subjects - differing, subjects, source, Method.CENSUS)
    if found.verdict is Verdict.NO_DENOMINATOR:
        return found
    within = differing * 1_000 <= subjects * reconcile.DRIFT_ALARM_PER_MILLE and not dead
    return replace(found, verdict=Verdict.MET if within else Verdict.NOT_MET)


def dormancy(tx: Tx, day: date) -> list[IndicatorValue]:
    """D1 sleeps that stood, of those that are over (at most 1 % were voided); D2 whether there were enough.

    D2 needs `ENOUGH` sleeps and as many wakes: below that the pilot has not tried dormancy.
    """
    slept = tx.scalar(select(func.count()).select_from(SpellRow)) or 0
    ended = tx.scalar(select(func.count()).where(SpellRow.outcome.is_not(None))) or 0
    voided = tx.scalar(select(func.count()).where(SpellRow.outcome == "VOIDED")) or 0
    volume = min(slept, ended - voided, ENOUGH)
    source = f"sleeps ({slept}) and wakes ({ended - voided}) wanted of the pilot"
    return [
        value("D1", day, ended - voided, ended, "sleeps that are over", Method.CENSUS),
        value("D2", day, volume, ENOUGH, source, Method.CENSUS),
    ]


def lags(tx: Tx) -> dict[str, int | None]:
    """Median days from the fact that let a permit sleep or wake to the server's change, by direction (D1)."""
    rows = tx.execute(
        select(SpellRow.fact_from, SpellRow.server_from, SpellRow.fact_to, SpellRow.server_to)
    ).all()
    slept = [(row.server_from - row.fact_from).days for row in rows]
    woken = [(row.server_to - row.fact_to).days for row in rows if row.server_to and row.fact_to]
    return {
        "sleep": median_low(slept) if slept else None, "wake": median_low(woken) if woken else None,
    }  # fmt: skip
