"""Employers' accounts: operators, monthly confirmation, zero declaration, the printable list (residence.md 8)."""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import or_, select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotAllowed, Rejected
from registry.employment import service, workers
from registry.employment.tables import EmployerRow, EmploymentRow, OperatorRow, WorkerRow
from registry.masking import mask_citizen_id
from registry.roles import CLERKS, Actor, Role, require

VISITORS = (Role.EMPLOYER_OP, *CLERKS, Role.LABOUR_INSPECTOR)
"""Who may look into an employer's account; operators only into their own."""


@dataclass(frozen=True)
class ListedWorker:
    """A line of an employer's own list; the number is masked after entry."""

    record: str
    name: str
    citizen_id: str
    start: date
    end: date | None
    reported_on: date


def admit_operator(tx: Tx, employer_code: str, operator: Actor, clerk: Actor) -> None:
    """At the window, against documents: `operator` may act for the employer. Raises E-ROLE, E-OC-*."""
    require(clerk, *CLERKS, Role.LABOUR_INSPECTOR)
    require(operator, Role.EMPLOYER_OP)
    account = service.open_account(tx, employer_code)
    tx.merge(OperatorRow(employer_id=account.id, actor=operator.name))
    tx.flush()


def own_account(tx: Tx, employer_code: str, actor: Actor) -> EmployerRow:
    """The account an operator works on. Raises NotAllowed E-ROLE for anybody else's, Rejected E-OC-*."""
    require(actor, *VISITORS)
    account = service.open_account(tx, employer_code)
    own = tx.get(OperatorRow, (account.id, actor.name)) is not None
    if Role.EMPLOYER_OP in actor.roles and not own:
        raise NotAllowed("E-ROLE", "operators see their own employer only")
    return account


def own_record(tx: Tx, record: str, actor: Actor) -> EmploymentRow:
    """A record an operator may change. Raises NotAllowed E-ROLE, NotFound E-RECORD."""
    require(actor, *VISITORS)
    row = service.record_of(tx, record)
    account = tx.get_one(EmployerRow, row.employer_id)
    own_account(tx, account.code, actor)
    return row


def worker_list(
    tx: Tx, clock: Clock, employer_code: str, actor: Actor, day: date | None = None
) -> list[ListedWorker]:
    """Who works there on `day` (today): an operator's own list, without leavers. Raises E-ROLE, E-OC-*."""
    account = own_account(tx, employer_code, actor)
    on = day or business_date(clock.now())
    rows = tx.execute(
        select(EmploymentRow, WorkerRow)
        .join(WorkerRow, WorkerRow.id == EmploymentRow.worker_id)
        .where(
            EmploymentRow.employer_id == account.id,
            EmploymentRow.withdrawn_at.is_(None),
            EmploymentRow.start <= on,
            or_(EmploymentRow.end.is_(None), EmploymentRow.end >= on),
        )
        .order_by(EmploymentRow.start, EmploymentRow.id)
    ).all()
    people = workers.opened(tx, [worker for _, worker in rows])
    return [
        ListedWorker(
            row.id, worker.name, mask_citizen_id(worker.citizen_id), row.start, row.end,
            business_date(row.reported_at),
        )
        for (row, _), worker in zip(rows, people, strict=True)
    ]  # fmt: skip


def confirm_list(tx: Tx, clock: Clock, employer_code: str, actor: Actor) -> None:
    """«The list is complete», once a month. Raises E-ROLE, E-OC-*."""
    account = own_account(tx, employer_code, actor)
    today = business_date(clock.now())
    if account.list_confirmed_on == today:
        return
    account.list_confirmed_on = today
    events.append(tx, clock, "employer.list_confirmed", account.id, actor=actor.name)


def declare_zero(tx: Tx, clock: Clock, employer_code: str, actor: Actor) -> None:
    """«We have no workers». Raises E-ROLE, E-OC-*, Rejected E-NOT-ZERO (the list is not empty)."""
    account = own_account(tx, employer_code, actor)
    if worker_list(tx, clock, employer_code, actor):
        raise Rejected("E-NOT-ZERO", "the list is not empty")
    today = business_date(clock.now())
    if account.zero_declared_on == today:
        return
    account.zero_declared_on = today
    events.append(tx, clock, "employer.zero_declared", account.id, actor=actor.name)


def records_of(tx: Tx, citizen_id: str) -> list[EmploymentRow]:
    """What this register says of a person, for that person."""
    worker = workers.find(tx, citizen_id)
    if worker is None:
        return []
    return list(
        tx.scalars(
            select(EmploymentRow)
            .where(EmploymentRow.worker_id == worker.id, EmploymentRow.withdrawn_at.is_(None))
            .order_by(EmploymentRow.start)
        )
    )
