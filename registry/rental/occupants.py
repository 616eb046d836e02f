"""Occupants as the rental register knows them: found by keyed index, number and name under seal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from core.clock import Clock, business_date
from core.db import Tx, queue_for
from core.ids import uuid7
from registry import vault
from registry.exchange import delivery
from registry.exchange.messages import Type
from registry.rental.tables import OccupantRow
from registry.vault import Place

SOURCE = "rental"


@dataclass(frozen=True, repr=False)
class Occupant:
    """What is sealed of an occupant."""

    citizen_id: str
    name: str


def indexes(tx: Tx, citizen_ids: Iterable[str]) -> list[str]:
    """How this register finds each of these normalised citizen numbers."""
    return vault.of(tx).index(SOURCE, "citizen_id", citizen_ids)


def opened(tx: Tx, rows: Sequence[OccupantRow]) -> list[Occupant]:
    """Number and name of each, in few calls of the HSM."""
    sealed = [(Place(OccupantRow.__tablename__, row.id), row.sealed) for row in rows]
    return [Occupant(**fields) for fields in vault.of(tx).open(sealed)]


def admit(tx: Tx, clock: Clock, citizen_id: str, name: str) -> OccupantRow:
    """Find or add an occupant; a new one is linked to the residence register, by that register's index.

    Whoever else enters something about the same person waits until this transaction ends.
    """
    (index,) = indexes(tx, [citizen_id])
    queue_for(tx, f"occupant {index}")
    row = tx.scalar(select(OccupantRow).where(OccupantRow.citizen_index == index))
    if row is not None:
        return row
    key, fields = uuid7(clock.now()), {"citizen_id": citizen_id, "name": name}
    sealed = vault.seal(tx, OccupantRow.__tablename__, key, fields)
    row = OccupantRow(id=key, citizen_index=index, sealed=sealed)
    tx.add(row)
    tx.flush()
    link = {"citizen_index": vault.citizen_index(tx, "residence", citizen_id)}
    today = business_date(clock.now())
    delivery.send(tx, clock, SOURCE, Type.PERSON_LINKED, key, today, link)
    return row
