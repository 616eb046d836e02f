"""Rising numbers, one named row each, taken inside the caller's transaction: gaps may happen, doubles cannot."""

from sqlalchemy import BigInteger, String
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Table, Tx


class SequenceRow(Table):
    """The last number given out under a name."""

    __tablename__ = "registry_sequence"

    name: Mapped[str] = mapped_column(String(60), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


def take(tx: Tx, name: str) -> int:
    """The next number under `name`, from 1. The row stays locked until the transaction ends."""
    return take_some(tx, name, 1)[0]


def take_some(tx: Tx, name: str, count: int) -> range:
    """The next `count` numbers under `name`, as `take` gives them one by one.

    The first takers of a day may come at the same moment: whoever is second waits for the row and counts on.
    """
    row = tx.get(SequenceRow, name, with_for_update=True)
    if row is None:
        dialect = tx.get_bind().dialect.name
        insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
        tx.execute(insert(SequenceRow).values(name=name, value=0).on_conflict_do_nothing())
        row = tx.get_one(SequenceRow, name, with_for_update=True)
    first = row.value + 1
    row.value += count
    tx.flush()
    return range(first, first + count)
