"""Workers as the employment register knows them: found by keyed index, number and name under seal."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import insert, select

from core.clock import Clock, business_date
from core.db import Tx, queue_for
from core.errors import Rejected
from core.ids import uuid7
from registry import vault
from registry.employment.tables import WorkerRow
from registry.exchange import delivery
from registry.exchange.messages import Type
from registry.vault import Place

SOURCE = "employment"


@dataclass(frozen=True, repr=False)
class Worker:
    """What is sealed of a worker."""

    citizen_id: str
    name: str


def find(tx: Tx, citizen_id: str) -> WorkerRow | None:
    """The worker of a normalised citizen number."""
    return _by_index(tx, vault.citizen_index(tx, SOURCE, citizen_id))


def _by_index(tx: Tx, index: str) -> WorkerRow | None:
    return tx.scalar(select(WorkerRow).where(WorkerRow.citizen_index == index))


def opened(tx: Tx, rows: Sequence[WorkerRow]) -> list[Worker]:
    """Number and name of each, in few calls of the HSM."""
    sealed = [(Place(WorkerRow.__tablename__, row.id), row.sealed) for row in rows]
    return [Worker(**fields) for fields in vault.of(tx).open(sealed)]


def unknown(tx: Tx, citizen_ids: Sequence[str]) -> dict[str, str]:
    """Those of these normalised citizen numbers that nobody was entered under, with their indexes."""
    indexes = vault.of(tx).index(SOURCE, "citizen_id", citizen_ids)
    known = set(
        tx.scalars(select(WorkerRow.citizen_index).where(WorkerRow.citizen_index.in_(indexes)))
    )
    found = zip(citizen_ids, indexes, strict=True)
    return {citizen_id: index for citizen_id, index in found if index not in known}


def admit_all(tx: Tx, clock: Clock, people: Sequence[tuple[Worker, str]]) -> list[tuple[str, str]]:
    """Add workers whom nobody entered before, each with its index of `unknown`.

    Returns the key of each and the index by which the residence register knows the person, for the caller to tell.
    """
    keys = [uuid7(clock.now()) for _ in people]
    table = WorkerRow.__tablename__
    sealed = vault.of(tx).seal(
        [(Place(table, key), asdict(one)) for key, (one, _) in zip(keys, people, strict=True)]
    )
    rows = zip(keys, people, sealed, strict=True)
    tx.execute(
        insert(WorkerRow),
        [{"id": key, "citizen_index": index, "sealed": data} for key, (_, index), data in rows],
    )
    links = vault.of(tx).index("residence", "citizen_id", [one.citizen_id for one, _ in people])
    return list(zip(keys, links, strict=True))


def admit(tx: Tx, clock: Clock, citizen_id: str, name: str) -> WorkerRow:
    """Find or add a worker; a new one is linked to the residence register, by that register's index.

    Whoever else enters something about the same person waits until this transaction ends. Raises Rejected
    E-NAME-OTHER: the number is known under another name.
    """
    index = vault.citizen_index(tx, SOURCE, citizen_id)
    queue_for(tx, f"worker {index}")
    row = _by_index(tx, index)
    if row is not None:
        if opened(tx, [row])[0].name != name:
            raise Rejected("E-NAME-OTHER", "the citizen number is known under another name")
        return row
    key, fields = uuid7(clock.now()), {"citizen_id": citizen_id, "name": name}
    sealed = vault.seal(tx, WorkerRow.__tablename__, key, fields)
    row = WorkerRow(id=key, citizen_index=index, sealed=sealed)
    tx.add(row)
    tx.flush()
    link = {"citizen_index": vault.citizen_index(tx, "residence", citizen_id)}
    today = business_date(clock.now())
    delivery.send(tx, clock, SOURCE, Type.PERSON_LINKED, key, today, link)
    return row
