"""The rental-house register: moves in and out; every fact is a message to the others (residence.md 9)."""

from datetime import date, datetime

from sqlalchemy import or_, select

from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotFound, Rejected
from core.ids import uuid7
from registry.exchange import delivery
from registry.exchange.messages import Type
from registry.identifiers import validate_citizen_id
from registry.rental import address, occupants
from registry.rental.occupants import SOURCE
from registry.rental.tables import OccupancyRow

RELATIONS = frozenset({"TENANT", "SUB_TENANT", "FAMILY", "DORMITORY", "OWNER"})


def move_in(
    tx: Tx,
    clock: Clock,
    code: str,
    citizen_id: str,
    name: str,
    day: date,
    *,
    relation: str = "TENANT",
    bed: str = "",
    reported_at: datetime | None = None,
) -> str:
    """Register an occupant; returns the record's id. `reported_at`: when a landlord told it earlier.

    Raises Rejected E-CID-*, E-AC-*, E-OVERLAP, E-DATE-FUTURE, E-RELATION.
    """
    if relation not in RELATIONS:
        raise Rejected("E-RELATION", "unknown relation", relation=relation)
    today = business_date(clock.now())
    checked = validate_citizen_id(citizen_id, today)
    if not checked.ok:
        raise Rejected(checked.code)
    if day > today:
        raise Rejected("E-DATE-FUTURE", "nobody lives somewhere in the future")
    place = address.active(tx, code)
    person = occupants.admit(tx, clock, checked.normalized, name)
    clash = tx.scalar(
        select(OccupancyRow.id).where(
            OccupancyRow.occupant_id == person.id,
            OccupancyRow.address_code == code,
            OccupancyRow.withdrawn_at.is_(None),
            or_(OccupancyRow.move_out.is_(None), OccupancyRow.move_out >= day),
        )
    )
    if clash is not None:
        raise Rejected("E-OVERLAP", "the person is registered there already")
    row = OccupancyRow(
        id=uuid7(clock.now()),
        occupant_id=person.id,
        address_code=place.code,
        move_in=day,
        bed=bed,
        relation=relation,
        reported_at=reported_at or clock.now(),
        updated_at=clock.now(),
    )
    tx.add(row)
    tx.flush()
    payload = {"record": row.id, "code": code, "start": day.isoformat()}
    delivery.send(tx, clock, SOURCE, Type.OCCUPANCY_STARTED, person.id, day, payload)
    return row.id


def move_out(
    tx: Tx, clock: Clock, record: str, last_day: date, reported_at: datetime | None = None
) -> None:
    """Register the last day; the same day again changes nothing.

    Raises NotFound E-RECORD, Rejected E-DATE-ORDER, E-ENDED.
    """
    row = _record(tx, record)
    if row.move_out == last_day:
        return
    if row.move_out is not None:
        raise Rejected("E-ENDED", "the person moved out already")
    if last_day < row.move_in:
        raise Rejected("E-DATE-ORDER", "the last day lies before the first")
    row.move_out = last_day
    row.out_reported_at, row.out_updated_at = reported_at or clock.now(), clock.now()
    tx.flush()
    payload = {
        "record": row.id,
        "code": row.address_code,
        "start": row.move_in.isoformat(),
        "end": last_day.isoformat(),
    }
    delivery.send(tx, clock, SOURCE, Type.OCCUPANCY_ENDED, row.occupant_id, last_day, payload)


def withdraw(tx: Tx, clock: Clock, record: str) -> None:
    """The registration was an error: it never was. Raises NotFound E-RECORD."""
    row = _record(tx, record)
    row.withdrawn_at = clock.now()
    tx.flush()
    delivery.send(
        tx,
        clock,
        SOURCE,
        Type.OCCUPANCY_WITHDRAWN,
        row.occupant_id,
        row.move_in,
        {"record": row.id},
    )


def heartbeat(tx: Tx, clock: Clock) -> None:
    """Tell the others that this register is up, so that its silence about a person means something."""
    delivery.send(tx, clock, SOURCE, Type.HEARTBEAT, SOURCE, business_date(clock.now()), {})


def _record(tx: Tx, record: str) -> OccupancyRow:
    row = tx.get(OccupancyRow, record)
    if row is None or row.withdrawn_at is not None:
        raise NotFound("E-RECORD", "no such registration")
    return row
