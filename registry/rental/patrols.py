"""Patrols: what an officer found at a unit, offline on a hand-held, and what follows from it (residence.md 9).

A form has a number of its own, so that uploading it twice changes nothing; the same number with other
content is a conflict for a person. Who is registered but was not found at two visits is a ghost: a
move-out is proposed, never done by itself.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import Select, delete, select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotFound, Rejected
from registry import vault
from registry.exchange import delivery
from registry.exchange.messages import Type
from registry.identifiers import validate_citizen_id
from registry.rental import occupants, service, tasks
from registry.rental.tables import AbsenceRow, OccupancyRow, OccupantRow, UnitRow, VisitRow
from registry.roles import Actor, Role, require

GHOST_VISITS = 2
MAX_PEOPLE = 200
VISIT_LIFE = timedelta(days=730)


@dataclass(frozen=True, repr=False)
class Found:
    """A person met at the door. `citizen_id` empty: not shown. `since`: move-in day as told."""

    name: str
    citizen_id: str = ""
    since: date | None = None


@dataclass(frozen=True)
class PatrolForm:
    """One visit as the hand-held recorded it."""

    visit_id: str
    code: str
    at: datetime
    people: tuple[Found, ...]

    @property
    def digest(self) -> str:
        """Over everything, to tell a repeat from a conflict."""
        people = [(p.name, p.citizen_id, str(p.since)) for p in self.people]
        text = json.dumps([self.visit_id, self.code, self.at.isoformat(), people])
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class VisitResult:
    """Records confirmed, people added, registered people not found."""

    confirmed: int
    added: int
    missing: int
    repeated: bool = False


def upload(tx: Tx, clock: Clock, form: PatrolForm, officer: Actor) -> VisitResult:
    """Take a form in.

    Raises NotAllowed E-ROLE, NotFound E-UNIT-NONE, Rejected E-CONFLICT (the number came before with other
    content: both versions are in the task), E-CID-*, E-PATROL (more than 200 people).
    """
    require(officer, Role.STATION_CLERK, Role.POLICE_CLERK)
    if tx.get(UnitRow, form.code) is None:
        raise NotFound("E-UNIT-NONE", "no such rented unit")
    if len(form.people) > MAX_PEOPLE:
        raise Rejected("E-PATROL", "more people than a form holds")
    before = tx.get(VisitRow, form.visit_id)
    (form_index,) = vault.of(tx).index(occupants.SOURCE, "patrol_form", [form.digest])
    if before is not None:
        if before.form_index == form_index:
            return VisitResult(before.confirmed, before.added, before.missing, True)
        raise Rejected("E-CONFLICT", "this visit was uploaded with other content")
    registered = _registered(tx, form.code, business_date(form.at))
    shown = _shown(tx, form)
    added = _add_new(tx, clock, form, [one for key, one in shown.items() if key not in registered])
    missing = [row for key, row in registered.items() if key not in shown]
    confirmed = [row for key, row in registered.items() if key in shown]
    for row in confirmed:
        row.station_saw_at = row.station_saw_at or form.at
        tasks.close(tx, clock, tasks.GHOST, row.id, officer.name, "found again")
    result = VisitResult(len(confirmed), added, len(missing))
    tx.add(
        VisitRow(
            id=form.visit_id, code=form.code, at=form.at, officer=officer.name,
            confirmed=result.confirmed, added=added, missing=result.missing,
            form_index=form_index,
        )
    )  # fmt: skip
    tx.flush()
    _note_absences(tx, clock, form, confirmed, missing)
    events.append(
        tx, clock, "unit.visited", form.code, actor=officer.name, confirmed=result.confirmed,
        added=added, missing=result.missing,
    )  # fmt: skip
    return result


def keep_conflict(tx: Tx, clock: Clock, form: PatrolForm) -> str:
    """Put the other version of a form before a person: «both versions to a queue». Returns the task."""
    detail = f"{form.code}: {len(form.people)} people, digest {form.digest[:16]}"
    return tasks.open_task(tx, clock, tasks.CONFLICT, form.visit_id, detail)


def _shown(tx: Tx, form: PatrolForm) -> dict[str, Found]:
    """Who showed a document, each once, by this register's index of the number. Raises Rejected E-CID-*."""
    found, today = [], business_date(form.at)
    for person in form.people:
        if person.citizen_id:
            checked = validate_citizen_id(person.citizen_id, today)
            if not checked.ok:
                raise Rejected(checked.code)
            found.append(Found(person.name, checked.normalized, person.since))
    indexes = occupants.indexes(tx, [person.citizen_id for person in found])
    return dict(zip(indexes, found, strict=True))


def _registered(tx: Tx, code: str, day: date) -> dict[str, OccupancyRow]:
    """Who is registered at a unit on a day, by this register's index of the number."""
    rows = tx.execute(
        select(OccupantRow.citizen_index, OccupancyRow)
        .join(OccupancyRow, OccupancyRow.occupant_id == OccupantRow.id)
        .where(
            OccupancyRow.address_code == code,
            OccupancyRow.withdrawn_at.is_(None),
            OccupancyRow.move_in <= day,
            (OccupancyRow.move_out.is_(None)) | (OccupancyRow.move_out >= day),
        )
    )
    return {row[0]: row[1] for row in rows}


def _add_new(tx: Tx, clock: Clock, form: PatrolForm, people: Sequence[Found]) -> int:
    for person in people:
        since = person.since or business_date(form.at)
        record = service.move_in(
            tx, clock, form.code, person.citizen_id, person.name, since, reported_at=form.at
        )
        tx.get_one(OccupancyRow, record).station_saw_at = form.at
    unknown = sum(not person.citizen_id for person in form.people)
    if unknown:
        tasks.open_task(
            tx, clock, tasks.MISMATCH, form.code, f"{unknown} people did not show a document"
        )
    return len(people)


def _note_absences(
    tx: Tx,
    clock: Clock,
    form: PatrolForm,
    confirmed: Sequence[OccupancyRow],
    missing: Sequence[OccupancyRow],
) -> None:
    for row in confirmed:
        for absence in tx.scalars(select(AbsenceRow).where(AbsenceRow.occupancy_id == row.id)):
            tx.delete(absence)
    for row in missing:
        tx.add(AbsenceRow(occupancy_id=row.id, visit_id=form.visit_id))
        tx.flush()
        count = len(tx.scalars(select(AbsenceRow).where(AbsenceRow.occupancy_id == row.id)).all())
        if count >= GHOST_VISITS:
            detail = f"{form.code}: not found at {count} visits, move-out proposed"
            tasks.open_task(tx, clock, tasks.GHOST, row.id, detail)


def confirm_ghost(tx: Tx, clock: Clock, record: str, last_day: date, officer: Actor) -> None:
    """The person got notice and did not come: the move-out is registered, and RES follows from the facts.

    Raises NotAllowed E-ROLE, Rejected E-NOT-GHOST, and what `service.move_out` raises.
    """
    require(officer, Role.STATION_CLERK)
    if not any(task.subject == record for task in tasks.waiting(tx, tasks.GHOST)):
        raise Rejected("E-NOT-GHOST", "two visits did not miss this person")
    service.move_out(tx, clock, record, last_day)
    tasks.close(tx, clock, tasks.GHOST, record, officer.name, "moved out")


def verify(tx: Tx, clock: Clock, record: str, officer: Actor) -> bool:
    """One office saw the occupancy; True when both have: VERIFIED, told once (5.5 of the order).

    Raises NotAllowed E-ROLE, NotFound E-RECORD.
    """
    require(officer, Role.STATION_CLERK, Role.POLICE_CLERK)
    row = tx.get(OccupancyRow, record)
    if row is None or row.withdrawn_at is not None:
        raise NotFound("E-RECORD", "no such registration")
    before = verified(row)
    if Role.STATION_CLERK in officer.roles:
        row.station_saw_at = row.station_saw_at or clock.now()
    else:
        row.police_saw_at = row.police_saw_at or clock.now()
    tx.flush()
    if verified(row) and not before:
        tasks.close(tx, clock, tasks.MISMATCH, record, officer.name, "verified")
        payload = {"record": record, "code": row.address_code}
        today = business_date(clock.now())
        delivery.send(
            tx, clock, occupants.SOURCE, Type.OCCUPANCY_VERIFIED, row.occupant_id, today, payload
        )
    return verified(row)


def dispute(tx: Tx, clock: Clock, record: str, officer: Actor, what: str) -> str:
    """The offices disagree: into the shared queue, five days. Raises NotAllowed E-ROLE."""
    require(officer, Role.STATION_CLERK, Role.POLICE_CLERK)
    return tasks.open_task(tx, clock, tasks.MISMATCH, record, what)


def verified(row: OccupancyRow) -> bool:
    """Whether station and police both saw it."""
    return row.station_saw_at is not None and row.police_saw_at is not None


def old_visits(now: datetime) -> Select[str]:
    """Visits past their time: two years (residence.md 17)."""
    return select(VisitRow.id).where(VisitRow.at < now - VISIT_LIFE).order_by(VisitRow.id)


def drop_visits(tx: Tx, visits: Sequence[str]) -> None:
    """They and the absences they found end."""
    tx.execute(delete(AbsenceRow).where(AbsenceRow.visit_id.in_(visits)))
    tx.execute(delete(VisitRow).where(VisitRow.id.in_(visits)))
