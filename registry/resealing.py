"""After a key rotation: everything sealed under an older version is sealed under the newest (HSM command 86).

A process of short transactions over every table with a column `sealed`, whichever register's it is: it opens
nothing and knows no field. Killed in the middle, the next run does the rest; twice changes nothing. Until it has
ended the old version must stay in the HSM, which opens what still carries it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from sqlalchemy import ColumnElement, Table, func, select, update

from core import events
from core.clock import Clock
from core.db import Database, Tx, metadata
from hsm_sim.data_requests import VERSION_LENGTH
from registry import vault
from registry.vault import Place

BATCH = 128  # rows of one transaction: eight frames of the HSM
BATCH_BYTES = 256 * 1024  # and no more than some ten portraits: the others wait so long
COLUMN = "sealed"
Progress = Callable[[str, int], None]  # the table, rows done since the last call


@dataclass(frozen=True)
class Standing:
    """Sealed rows of one table, and how many of them carry an older version of the key."""

    table: str
    rows: int
    old: int


def sealed_tables() -> list[Table]:
    """Every table that keeps sealed fields, by name."""
    return sorted(
        (table for table in metadata.tables.values() if COLUMN in table.c),
        key=lambda table: table.name,
    )


def standing(tx: Tx) -> list[Standing]:
    """How far the tables are from the newest version. Raises Unavailable VAULT-NONE."""
    version = vault.of(tx).version
    return [
        Standing(
            table.name,
            tx.scalar(select(func.count()).select_from(table)) or 0,
            tx.scalar(select(func.count()).select_from(table).where(_old(table, version))) or 0,
        )
        for table in sealed_tables()
    ]


def reseal_all(db: Database, clock: Clock, actor: str, progress: Progress | None = None) -> int:
    """Seal every old row anew; how many there were.

    Raises Unavailable VAULT-NONE, EvidenceMismatch HSM-01 (a row was altered: those before it are done), HSM-….
    """
    total = 0
    for table in sealed_tables():
        done = 0
        while count := _batch(db, table):
            done += count
            if progress is not None:
                progress(table.name, count)
        if done:
            with db.write() as tx:
                events.append(
                    tx, clock, "vault.resealed", table.name, actor=actor, rows=done,
                    version=vault.of(tx).version.decode("ascii"),
                )  # fmt: skip
        total += done
    return total


def _batch(db: Database, table: Table) -> int:
    (key,) = table.primary_key.columns
    with db.write() as tx:
        keeper = vault.of(tx)
        rows = tx.execute(
            select(key, table.c[COLUMN])
            .where(_old(table, keeper.version))
            .limit(BATCH)
            .with_for_update()
        ).all()
        sizes = accumulate(len(sealed) for _, sealed in rows)
        fit = max(1, sum(size <= BATCH_BYTES for size in sizes))
        places = [(Place(table.name, row), sealed) for row, sealed in rows[:fit]]
        for (place, _), sealed in zip(places, keeper.reseal(places), strict=True):
            tx.execute(update(table).where(key == place.row).values({COLUMN: sealed}))
    return len(places)


def _old(table: Table, version: bytes) -> ColumnElement[bool]:
    return func.substr(table.c[COLUMN], 1, VERSION_LENGTH) != version
