"""The employment register: employers, hires, ends, withdrawals; every fact is a message to the others."""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import or_, select

from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotFound, Rejected
from core.ids import uuid7
from registry.employment import domain, workers
from registry.employment.tables import EmployerRow, EmploymentRow, WorkerRow
from registry.employment.workers import SOURCE
from registry.exchange import delivery
from registry.exchange.messages import Type
from registry.identifiers import (
    citizen_birth,
    validate_address_code,
    validate_citizen_id,
    validate_organisation_code,
)


@dataclass(frozen=True)
class Details:
    """What a hire may say beside person and day: contract, occupation, lodging; found by an inspection."""

    contract_kind: str = ""
    occupation: str = ""
    lodging: str = ""
    by_inspection: bool = False


NO_DETAILS = Details()


def open_employer(
    tx: Tx, clock: Clock, code: str, name: str, address_code: str, headcount: int
) -> str:
    """Open an employer's account; returns its id. Raises Rejected E-OC-CHECK, E-AC-CHECK, E-OC-DUP."""
    checked, place = validate_organisation_code(code), validate_address_code(address_code)
    for result in (checked, place):
        if not result.ok:
            raise Rejected(result.code)
    if tx.scalar(select(EmployerRow.id).where(EmployerRow.code == checked.normalized)):
        raise Rejected("E-OC-DUP", "the employer has an account", employer=checked.normalized)
    row = EmployerRow(
        id=uuid7(clock.now()),
        code=checked.normalized,
        name=name,
        address_code=place.normalized,
        declared_headcount=headcount,
        opened_at=clock.now(),
    )
    tx.add(row)
    tx.flush()
    return row.id


def hire(
    tx: Tx,
    clock: Clock,
    employer_code: str,
    citizen_id: str,
    name: str,
    start: date,
    details: Details = NO_DETAILS,
) -> str:
    """Record a hire; returns the record's id.

    Raises Rejected E-CID-*, E-AGE, E-DATE-*, E-OVERLAP, E-OC-*, E-NAME-OTHER (the number is known under
    another name: somebody was swapped).
    """
    today = business_date(clock.now())
    employer = open_account(tx, employer_code)
    checked = validate_citizen_id(citizen_id, today)
    if not checked.ok:
        raise Rejected(checked.code)
    domain.check_start(citizen_birth(checked.normalized), start, today)
    worker = workers.admit(tx, clock, checked.normalized, name)
    clash = tx.scalar(
        select(EmploymentRow.id).where(
            EmploymentRow.worker_id == worker.id,
            EmploymentRow.employer_id == employer.id,
            EmploymentRow.withdrawn_at.is_(None),
            or_(EmploymentRow.end.is_(None), EmploymentRow.end >= start),
        )
    )
    if clash is not None:
        raise Rejected("E-OVERLAP", "the worker is already active at this employer")
    row = EmploymentRow(
        id=uuid7(clock.now()),
        worker_id=worker.id,
        employer_id=employer.id,
        start=start,
        contract_kind=details.contract_kind,
        occupation=details.occupation,
        lodging=details.lodging,
        by_inspection=details.by_inspection,
        reported_at=clock.now(),
    )
    tx.add(row)
    tx.flush()
    payload = {"record": row.id, "employer": employer.id, "start": start.isoformat()}
    delivery.send(tx, clock, SOURCE, Type.EMPLOYMENT_STARTED, worker.id, start, payload)
    return row.id


def end(tx: Tx, clock: Clock, record: str, last_day: date, reason: str) -> None:
    """Record the last day worked; the same again changes nothing.

    Raises NotFound E-RECORD, Rejected E-DATE-*, E-REASON, E-ENDED.
    """
    row = record_of(tx, record)
    if (row.end, row.end_reason) == (last_day, reason):
        return
    if row.end is not None:
        raise Rejected("E-ENDED", "the employment has an end already")
    domain.check_end(row.start, last_day, reason, business_date(clock.now()))
    row.end, row.end_reason, row.end_reported_at = last_day, reason, clock.now()
    tx.flush()
    payload = {
        "record": row.id,
        "employer": row.employer_id,
        "start": row.start.isoformat(),
        "end": last_day.isoformat(),
        "reason": reason,
    }
    delivery.send(tx, clock, SOURCE, Type.EMPLOYMENT_ENDED, row.worker_id, last_day, payload)


def withdraw_end(tx: Tx, clock: Clock, record: str) -> None:
    """The end was an error: the employment goes on (case G). Raises NotFound E-RECORD, Rejected E-NOT-ENDED."""
    row = record_of(tx, record)
    if row.end is None:
        raise Rejected("E-NOT-ENDED", "the employment has no end")
    occurred = row.end
    row.end = row.end_reason = row.end_reported_at = None
    tx.flush()
    payload = {"record": row.id, "employer": row.employer_id, "start": row.start.isoformat()}
    delivery.send(tx, clock, SOURCE, Type.EMPLOYMENT_STARTED, row.worker_id, occurred, payload)


def correct(
    tx: Tx, clock: Clock, record: str, start: date, last_day: date | None = None, reason: str = ""
) -> None:
    """Replace what was reported about a record (the old statement stays in the history of the others).

    Raises NotFound E-RECORD, Rejected E-AGE, E-DATE-*, E-REASON.
    """
    row, today = record_of(tx, record), business_date(clock.now())
    (worker,) = workers.opened(tx, [tx.get_one(WorkerRow, row.worker_id)])
    domain.check_start(citizen_birth(worker.citizen_id), start, today)
    if last_day is not None:
        domain.check_end(start, last_day, reason, today)
    if (row.start, row.end, row.end_reason) == (start, last_day, reason or None):
        return
    row.start, row.end, row.end_reason = start, last_day, reason or None
    row.end_reported_at = None if last_day is None else row.end_reported_at or clock.now()
    tx.flush()
    payload = {"record": row.id, "employer": row.employer_id, "start": start.isoformat()}
    if last_day is not None:
        payload |= {"end": last_day.isoformat(), "reason": reason}
    delivery.send(tx, clock, SOURCE, Type.EMPLOYMENT_CORRECTED, row.worker_id, start, payload)


def withdraw(tx: Tx, clock: Clock, record: str) -> None:
    """The hire was an error: it never was. Raises NotFound E-RECORD."""
    row = record_of(tx, record)
    row.withdrawn_at = clock.now()
    tx.flush()
    payload = {"record": row.id}
    delivery.send(tx, clock, SOURCE, Type.EMPLOYMENT_WITHDRAWN, row.worker_id, row.start, payload)


def close_employer(tx: Tx, clock: Clock, employer_code: str, last_day: date) -> int:
    """The employer closed: every open employment ends with reason 07. Returns how many (case H)."""
    employer = open_account(tx, employer_code)
    open_records = tx.scalars(
        select(EmploymentRow.id).where(
            EmploymentRow.employer_id == employer.id,
            EmploymentRow.end.is_(None),
            EmploymentRow.withdrawn_at.is_(None),
        )
    ).all()
    for record in open_records:
        end(tx, clock, record, last_day, "07")
    employer.closed_on = last_day
    payload = {"employer": employer.id, "end": last_day.isoformat(), "workers": len(open_records)}
    delivery.send(tx, clock, SOURCE, Type.EMPLOYER_CLOSED, employer.id, last_day, payload)
    return len(open_records)


def heartbeat(tx: Tx, clock: Clock) -> None:
    """Tell the others that this register is up, so that its silence about a person means something."""
    today = business_date(clock.now())
    delivery.send(tx, clock, SOURCE, Type.HEARTBEAT, SOURCE, today, {})


def open_account(tx: Tx, code: str) -> EmployerRow:
    """The account of an employer that is not closed. Raises Rejected E-OC-CHECK, E-OC-UNKNOWN, E-OC-CLOSED."""
    checked = validate_organisation_code(code)
    if not checked.ok:
        raise Rejected(checked.code)
    row = tx.scalar(select(EmployerRow).where(EmployerRow.code == checked.normalized))
    if row is None:
        raise Rejected("E-OC-UNKNOWN", "no account under this organisation code")
    if row.closed_on is not None:
        raise Rejected("E-OC-CLOSED", "the employer is closed")
    return row


def record_of(tx: Tx, record: str) -> EmploymentRow:
    """A record that was not withdrawn. Raises NotFound E-RECORD."""
    row = tx.get(EmploymentRow, record)
    if row is None or row.withdrawn_at is not None:
        raise NotFound("E-RECORD", "no such employment")
    return row
