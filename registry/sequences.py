"""Rising numbers, one named row each, taken inside the caller's transaction: gaps may happen, doubles cannot."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import BigInteger, String, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Table, Tx
from core.rows import Statement


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
    last = int(_TAKE[tx.get_bind().dialect.name].rows(tx, name=name, count=count)[0].value)
    return range(last - count + 1, last + 1)


def _taking(insert: Callable[[type[SequenceRow]], Any]) -> Statement:
    fresh = insert(SequenceRow).values(name=bindparam("name"), value=bindparam("count"))
    return Statement(
        fresh.on_conflict_do_update(
            index_elements=[SequenceRow.name],
            set_={"value": SequenceRow.value + fresh.excluded.value},
        ).returning(SequenceRow.value)
    )


_TAKE = {"sqlite": _taking(sqlite.insert), "postgresql": _taking(postgresql.insert)}
