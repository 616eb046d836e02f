"""Hires and ends that were reported late, per employer and street (residence.md 6.5, 8)."""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import select

from core.clock import business_date
from core.db import Tx
from registry.deadlines import Timeliness, days_late, timeliness
from registry.employment.tables import EmployerRow, EmploymentRow
from registry.parameters import PILOT, Policy

HIRED, ENDED = "HIRED", "ENDED"
STREET_DIGITS = 9


@dataclass(frozen=True)
class Report:
    """One reported event. An event only an inspection found counts as late, however quickly it was typed."""

    record: str
    employer: str
    street: str
    what: str
    occurred_on: date
    late: int
    by_inspection: bool


def reports(
    tx: Tx, first: date, last: date, policy: Policy = PILOT, of_employer: str = ""
) -> list[Report]:
    """All hires and ends that happened from `first` to `last` and were accepted, or those of one employer."""
    query = (
        select(EmploymentRow, EmployerRow)
        .join(EmployerRow, EmployerRow.id == EmploymentRow.employer_id)
        .where(EmploymentRow.withdrawn_at.is_(None))
        .order_by(EmploymentRow.id)
    )
    if of_employer:
        query = query.where(EmployerRow.code == of_employer)
    found = []
    for row, employer in tx.execute(query):
        street = employer.address_code[:STREET_DIGITS]
        if first <= row.start <= last:
            late = days_late(row.start, row.reported_at, policy)
            if row.by_inspection:
                late = max(1, late)
            found.append(
                Report(row.id, employer.code, street, HIRED, row.start, late, row.by_inspection)
            )
        if row.end is not None and row.end_reported_at is not None and first <= row.end <= last:
            late = days_late(row.end, row.end_reported_at, policy)
            found.append(Report(row.id, employer.code, street, ENDED, row.end, late, False))
    return found


def late_list(
    tx: Tx, first: date, last: date, employer: str = "", policy: Policy = PILOT
) -> list[Report]:
    """The late ones, the latest first; of one employer when its code is given."""
    late = [
        report
        for report in reports(tx, first, last, policy)
        if report.late and employer in ("", report.employer)
    ]
    return sorted(late, key=lambda report: (-report.late, report.record, report.what))


def league_table(
    tx: Tx, first: date, last: date, policy: Policy = PILOT
) -> list[tuple[str, Timeliness]]:
    """Streets by their share of timely reports, the best first."""
    late: dict[str, list[int]] = {}
    for report in reports(tx, first, last, policy):
        late.setdefault(report.street, []).append(report.late)
    table = [(street, timeliness(days)) for street, days in late.items()]
    return sorted(table, key=lambda line: (-line[1].on_time * 10_000 // line[1].events, line[0]))


def missing_employers(tx: Tx, day: date, days: int = 31) -> list[str]:
    """Open employers without any report, confirmation or zero declaration in the last `days`."""
    silent = []
    for row in tx.scalars(select(EmployerRow).where(EmployerRow.closed_on.is_(None))):
        heard = [row.list_confirmed_on, row.zero_declared_on]
        told = tx.scalars(
            select(EmploymentRow.reported_at).where(EmploymentRow.employer_id == row.id)
        )
        heard += [business_date(at) for at in told]
        last = max((on for on in heard if on is not None), default=None)
        if last is None or (day - last).days > days:
            silent.append(row.code)
    return sorted(silent)
