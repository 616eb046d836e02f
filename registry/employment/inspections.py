"""Inspections 检查、督促: whom to visit first, what was found, orders, and workers' objections (residence.md 8)."""

from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import func, or_, select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotFound, Rejected
from core.ids import uuid7
from registry.employment import lateness, service
from registry.employment.service import Details
from registry.employment.tables import DisputeRow, EmployerRow, EmploymentRow, InspectionRow
from registry.masking import refuse_personal
from registry.roles import Actor, Role, require

LOOK_BACK = timedelta(days=60)
QUIET_DAYS = 30
ORDER_DAYS = 15
UPHELD, DISMISSED = "UPHELD", "DISMISSED"
W_LATE, W_JUMP, W_QUIET, W_CROWD = 40, 20, 20, 20


@dataclass(frozen=True)
class Risk:
    """Why an employer should be visited: points out of 100, by cause."""

    employer: str
    late: int
    jump: int
    quiet: int
    crowd: int

    @property
    def points(self) -> int:
        return self.late + self.jump + self.quiet + self.crowd


def risk(tx: Tx, account: EmployerRow, day: date, seen_at_address: int = 0) -> Risk:
    """Points for late reports, a jump in size, a month of silence, and people the rental register sees there.

    `seen_at_address`: workers that register counts at the employer's building, as it told on request.
    """
    first = day - LOOK_BACK
    mine = lateness.reports(tx, first, day, of_employer=account.code)
    late = W_LATE * sum(r.late > 0 for r in mine) // len(mine) if mine else 0
    active = headcount(tx, account.id, day)
    before = headcount(tx, account.id, first)
    jump = W_JUMP if before and abs(active - before) * 2 > before else 0
    quiet = W_QUIET if not any((day - r.occurred_on).days <= QUIET_DAYS for r in mine) else 0
    crowd = W_CROWD if seen_at_address > max(active, account.declared_headcount) else 0
    return Risk(account.code, late, jump, quiet, crowd)


def headcount(tx: Tx, employer_id: str, day: date) -> int:
    """Registered workers on a day."""
    return (
        tx.scalar(
            select(func.count()).where(
                EmploymentRow.employer_id == employer_id,
                EmploymentRow.withdrawn_at.is_(None),
                EmploymentRow.start <= day,
                or_(EmploymentRow.end.is_(None), EmploymentRow.end >= day),
            )
        )
        or 0
    )


def ranking(tx: Tx, day: date) -> list[Risk]:
    """Open employers, the riskiest first."""
    accounts = tx.scalars(select(EmployerRow).where(EmployerRow.closed_on.is_(None)))
    return sorted(
        (risk(tx, account, day) for account in accounts), key=lambda r: (-r.points, r.employer)
    )


def open_case(tx: Tx, clock: Clock, employer_code: str, inspector: Actor) -> str:
    """Begin an inspection; returns its id, the same one while it is open. Raises E-ROLE, E-OC-*."""
    require(inspector, Role.LABOUR_INSPECTOR)
    account = service.open_account(tx, employer_code)
    under_way = tx.scalar(
        select(InspectionRow.id).where(
            InspectionRow.employer_id == account.id, InspectionRow.inspector == inspector.name,
            InspectionRow.closed_on.is_(None),
        )
    )  # fmt: skip
    if under_way is not None:
        return under_way
    today = business_date(clock.now())
    row = InspectionRow(
        id=uuid7(clock.now()), employer_id=account.id, opened_on=today, inspector=inspector.name,
        risk=risk(tx, account, today).points,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    return row.id


def find_worker(
    tx: Tx, clock: Clock, case: str, citizen_id: str, name: str, since: date, inspector: Actor
) -> str:
    """Somebody works there and was never reported: recorded, and late for ever. Returns the record.

    Raises E-ROLE, NotFound E-CASE, and what `service.hire` raises.
    """
    require(inspector, Role.LABOUR_INSPECTOR)
    account = tx.get_one(EmployerRow, _case(tx, case).employer_id)
    details = Details(by_inspection=True)
    return service.hire(tx, clock, account.code, citizen_id, name, since, details)


def count_heads(tx: Tx, clock: Clock, case: str, seen: int, inspector: Actor) -> date | None:
    """Heads counted on site against the register; a difference becomes an order. Returns its last day.

    Raises E-ROLE, NotFound E-CASE.
    """
    require(inspector, Role.LABOUR_INSPECTOR)
    row = _case(tx, case)
    today = business_date(clock.now())
    row.headcount_seen, row.headcount_known = seen, headcount(tx, row.employer_id, today)
    if seen != row.headcount_known and row.order_due is None:
        row.order_due = today + timedelta(days=ORDER_DAYS)
        events.append(
            tx, clock, "inspection.ordered", row.employer_id, actor=inspector.name,
            due_on=row.order_due.isoformat(),
        )  # fmt: skip
    return row.order_due


def close_case(tx: Tx, clock: Clock, case: str, seen: int, inspector: Actor) -> str:
    """The re-check: IN_ORDER when the heads agree now, else ESCALATED. Raises E-ROLE, E-CASE, E-CLOSED."""
    require(inspector, Role.LABOUR_INSPECTOR)
    row = _case(tx, case)
    if row.closed_on is not None:
        raise Rejected("E-CLOSED", "the case is closed", outcome=row.outcome or "-")
    today = business_date(clock.now())
    good = seen == headcount(tx, row.employer_id, today)
    row.closed_on, row.outcome = today, "IN_ORDER" if good else "ESCALATED"
    events.append(
        tx, clock, "inspection.closed", row.employer_id, actor=inspector.name, outcome=row.outcome
    )
    return row.outcome


def dispute(tx: Tx, clock: Clock, record: str, words: str) -> str:
    """«I never worked here»: a case, one at a time per record. Raises NotFound E-RECORD, Rejected E-PERSONAL."""
    refuse_personal(words)
    service.record_of(tx, record)
    row = tx.scalar(
        select(DisputeRow).where(DisputeRow.record == record, DisputeRow.closed_at.is_(None))
    )
    if row is None:
        row = DisputeRow(
            id=uuid7(clock.now()), record=record, opened_at=clock.now(), words=words[:200]
        )
        tx.add(row)
        tx.flush()
    return row.id


def decide_dispute(tx: Tx, clock: Clock, case: str, upheld: bool, inspector: Actor) -> None:
    """UPHELD withdraws the record: it never was. Raises E-ROLE, NotFound E-CASE, Rejected E-DECIDED."""
    require(inspector, Role.LABOUR_INSPECTOR)
    row = tx.get(DisputeRow, case, with_for_update=True)
    if row is None:
        raise NotFound("E-CASE", "no such case")
    if row.closed_at is not None:
        raise Rejected("E-DECIDED", "it was decided", outcome=row.outcome or "-")
    row.closed_at, row.closed_by = clock.now(), inspector.name
    row.outcome = UPHELD if upheld else DISMISSED
    if upheld:
        service.withdraw(tx, clock, row.record)


def _case(tx: Tx, case: str) -> InspectionRow:
    row = tx.get(InspectionRow, case, with_for_update=True)
    if row is None:
        raise NotFound("E-CASE", "no such case")
    return row
