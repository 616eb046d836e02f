"""Occupants as the rental register knows them: found by keyed index, number and name under seal."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import insert, select

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


def unknown(tx: Tx, citizen_ids: Sequence[str]) -> dict[str, str]:
    """Those of these normalised citizen numbers that nobody was entered under, with their indexes."""
    found = indexes(tx, citizen_ids)
    rows = select(OccupantRow.citizen_index).where(OccupantRow.citizen_index.in_(found))
    known = set(tx.scalars(rows))
    return {cid: index for cid, index in zip(citizen_ids, found, strict=True) if index not in known}


def admit_all(
    tx: Tx, clock: Clock, people: Sequence[tuple[Occupant, str]]
) -> list[tuple[str, str]]:
    """Add occupants whom nobody entered before, each with its index of `unknown`.

    Returns the key of each and the index by which the residence register knows the person, for the caller to tell.
    """
    keyed = [(uuid7(clock.now()), one, index) for one, index in people]
    table = OccupantRow.__tablename__
    sealed = vault.of(tx).seal([(Place(table, key), asdict(one)) for key, one, _ in keyed])
    tx.execute(
        insert(OccupantRow),
        [
            {"id": key, "citizen_index": index, "sealed": data}
            for (key, _, index), data in zip(keyed, sealed, strict=True)
        ],
    )
    links = vault.of(tx).index("residence", "citizen_id", [one.citizen_id for _, one, _ in keyed])
    return [(key, link) for (key, _, _), link in zip(keyed, links, strict=True)]


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
