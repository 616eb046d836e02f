"""Files of hires and leavers, and drafts: saved, submitted, accepted are three things (residence.md 5.2, 8).

Each row stands for itself unless the sender asks for all or nothing; a row that was accepted once is a
repeat for ever, in whatever file it comes.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import date

from sqlalchemy import select

from core.clock import Clock, business_date
from core.db import Tx, queue_for
from core.errors import CityError, NotFound, Rejected
from core.ids import uuid7
from registry import imports, vault
from registry.employment import accounts, service, workers
from registry.employment.service import Details
from registry.employment.tables import (
    BatchLineRow,
    BatchRow,
    DraftRow,
    EmployerRow,
    EmploymentRow,
)
from registry.identifiers import validate_address_code, validate_citizen_id
from registry.imports import Imported, Row, RowError
from registry.roles import Actor, require

HIRE_COLUMNS = (
    "name", "id_no", "sex", "hukou_division", "hukou_text", "phone", "start_date",
    "contract_kind", "occupation", "workplace_code27", "lodging_kind", "lodging_code27",
    "photo_receipt", "apply_permit", "remark",
)  # fmt: skip
HIRE_REQUIRED = ("name", "id_no", "start_date")
LEAVER_COLUMNS = ("id_no", "end_date", "end_reason")
_COLUMNS = (
    ("E-NAME", "name"), ("E-DATE", "start_date"), ("E-AGE", "start_date"),
    ("E-AC-CHECK", "workplace_code27"), ("E-REASON", "end_reason"), ("E-ENDED", "end_date"),
)  # fmt: skip
_SEX = {"1": 1, "男": 1, "m": 1, "2": 2, "女": 2, "f": 2}

Act = Callable[[Row], str]


def import_hires(
    tx: Tx,
    clock: Clock,
    employer_code: str,
    data: bytes,
    actor: Actor,
    all_or_nothing: bool = False,
) -> Imported:
    """Take a file of new workers in (the template of residence.md 8).

    Raises E-ROLE, E-OC-*, E-FILE*; with `all_or_nothing` Rejected E-BATCH when any row is bad, and then
    nothing was taken.
    """
    account = accounts.own_account(tx, employer_code, actor)
    rows = imports.read_table(data, HIRE_COLUMNS, HIRE_REQUIRED)

    def act(row: Row) -> str:
        return hire_row(tx, clock, account, row.values)

    return _run(tx, clock, account, data, rows, actor, act, all_or_nothing)


def import_leavers(
    tx: Tx,
    clock: Clock,
    employer_code: str,
    data: bytes,
    actor: Actor,
    all_or_nothing: bool = False,
) -> Imported:
    """Take a file of leavers in: number, last day, reason. Raises as `import_hires`."""
    account = accounts.own_account(tx, employer_code, actor)
    rows = imports.read_table(data, LEAVER_COLUMNS, LEAVER_COLUMNS)

    def act(row: Row) -> str:
        record = _running(tx, clock, account, row.values["id_no"])
        last_day = imports.a_date(row.values, "end_date")
        service.end(tx, clock, record, last_day, row.values["end_reason"].zfill(2))
        return record

    return _run(tx, clock, account, data, rows, actor, act, all_or_nothing)


def hire_row(tx: Tx, clock: Clock, account: EmployerRow, values: dict[str, str]) -> str:
    """One new worker by the template's columns; returns the record. Raises Rejected with the row's code."""
    number, today = values["id_no"], business_date(clock.now())
    checked = validate_citizen_id(number, today)
    if not checked.ok:
        raise Rejected(checked.code)
    sex = values.get("sex", "").lower()
    if sex and _SEX.get(sex) != (1 if int(checked.normalized[16]) % 2 else 2):
        raise Rejected("E-CID-SEX", "stated sex and number differ")
    if len(values["name"]) < 2:
        raise Rejected("E-NAME", "the name is missing")
    for column in ("workplace_code27", "lodging_code27"):
        if values.get(column) and not validate_address_code(values[column]).ok:
            raise Rejected("E-AC-CHECK", "the address code is wrong", column=column)
    details = Details(
        values.get("contract_kind", "")[:10], values.get("occupation", "")[:20],
        values.get("lodging_kind", "")[:10],
    )  # fmt: skip
    start = imports.a_date(values, "start_date")
    return service.hire(tx, clock, account.code, checked.normalized, values["name"], start, details)


def save_draft(
    tx: Tx, clock: Clock, employer_code: str, values: dict[str, str], actor: Actor
) -> str:
    """Keep what an operator typed so far; returns the draft's id.

    A worker has one draft at an employer: saved again it is the same draft with what stands in it now. The
    save that comes once more after the draft was submitted changes nothing. Raises E-ROLE, E-OC-*, E-DATE,
    E-SEAL-SIZE.
    """
    account = accounts.own_account(tx, employer_code, actor)
    day, place = imports.a_date(values, "start_date"), DraftRow.__tablename__
    typed = values.get("id_no") or json.dumps(values, sort_keys=True)
    digest = hashlib.sha256(typed.strip().upper().encode()).hexdigest()
    index = vault.of(tx).index(workers.SOURCE, "draft", [digest])[0]
    queue_for(tx, f"draft {account.id} {index}")
    row = tx.scalar(
        select(DraftRow)
        .where(DraftRow.employer_id == account.id, DraftRow.draft_index == index)
        .order_by(DraftRow.saved_at.desc())
        .limit(1)
    )
    if row is not None:
        if vault.open_row(tx, place, row.id, row.sealed) == values:
            return row.id
        if row.submitted_at is None:
            row.sealed, row.occurred_on = vault.seal(tx, place, row.id, values), day
            tx.flush()
            return row.id
    key = uuid7(clock.now())
    row = DraftRow(
        id=key, employer_id=account.id, draft_index=index, sealed=vault.seal(tx, place, key, values),
        occurred_on=day, saved_at=clock.now(), saved_by=actor.name,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    return row.id


def submit_draft(tx: Tx, clock: Clock, draft: str, actor: Actor) -> str:
    """Submit a draft; returns the record, the same one when repeated. Raises what a row raises.

    A refused submission does not stop the clock: the draft stays a draft.
    """
    require(actor, *accounts.VISITORS)
    row = tx.get(DraftRow, draft, with_for_update=True)
    if row is None:
        raise NotFound("E-RECORD", "no such draft")
    account = tx.get_one(EmployerRow, row.employer_id)
    accounts.own_account(tx, account.code, actor)
    if row.record is None:
        typed = vault.open_row(tx, DraftRow.__tablename__, row.id, row.sealed)
        row.record = hire_row(tx, clock, account, typed)
        row.submitted_at = clock.now()
        tx.flush()
    return row.record


def _run(
    tx: Tx, clock: Clock, account: EmployerRow, data: bytes, rows: list[Row], actor: Actor,
    act: Act, all_or_nothing: bool,
) -> Imported:  # fmt: skip
    batch = BatchRow(
        id=uuid7(clock.now()), employer_id=account.id, sha256=hashlib.sha256(data).hexdigest(),
        sent_at=clock.now(), sent_by=actor.name, rows=len(rows), accepted=0, repeated=0, refused=0,
    )  # fmt: skip
    tx.add(batch)
    tx.flush()
    errors: list[RowError] = []
    indexes = vault.of(tx).index(workers.SOURCE, "batch_line", (row.digest for row in rows))
    for row, index in zip(rows, indexes, strict=True):
        if tx.get(BatchLineRow, (account.id, index)) is not None:
            batch.repeated += 1
            continue
        try:
            with tx.begin_nested():
                record = act(row)
                tx.add(
                    BatchLineRow(
                        employer_id=account.id, line_index=index, batch_id=batch.id, record=record
                    )
                )
        except CityError as fault:
            errors.append(imports.row_error(row.number, _column(fault), fault))
        else:
            batch.accepted += 1
    batch.refused = len(errors)
    tx.flush()
    if errors and all_or_nothing:
        raise Rejected("E-BATCH", "rows are bad", rows=len(errors), first=errors[0].row)
    return Imported(len(rows), batch.accepted, batch.repeated, tuple(errors))


def _column(fault: CityError) -> str:
    """The column a fault is about; what is not named concerns the person."""
    named = fault.facts.get("column")
    if named:
        return str(named)
    return next((column for code, column in _COLUMNS if fault.code.startswith(code)), "id_no")


def _running(tx: Tx, clock: Clock, account: EmployerRow, number: str) -> str:
    checked = validate_citizen_id(number, business_date(clock.now()))
    if not checked.ok:
        raise Rejected(checked.code)
    worker = workers.find(tx, checked.normalized)
    record = tx.scalar(
        select(EmploymentRow.id)
        .where(
            EmploymentRow.employer_id == account.id,
            EmploymentRow.worker_id == (worker.id if worker else None),
            EmploymentRow.withdrawn_at.is_(None),
        )
        .order_by(EmploymentRow.end.is_not(None), EmploymentRow.start.desc())
        .limit(1)
    )
    if record is None:
        raise NotFound("E-RECORD", "nobody of this number works here")
    return record


def reminders(tx: Tx, clock: Clock) -> list[tuple[str, date, int]]:
    """Drafts whose first or second day has passed: (draft, day of the hire, days left to the deadline)."""
    today = business_date(clock.now())
    rows = tx.scalars(
        select(DraftRow).where(DraftRow.submitted_at.is_(None)).order_by(DraftRow.occurred_on)
    )
    found = []
    for row in rows:
        age = (today - row.occurred_on).days
        if age >= 1:
            found.append((row.id, row.occurred_on, max(0, 3 - age)))
    return found
