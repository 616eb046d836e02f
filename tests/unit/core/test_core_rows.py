"""Statements compiled once and run at the driver, beside the session that owns the transaction."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from core.db import Database
from core.leases import FREE, HELD, LeaseRow
from core.rows import Statement

NOW = datetime(2007, 11, 1, 8, tzinfo=UTC)
FIND = Statement(
    select(LeaseRow.item, LeaseRow.offered_at, LeaseRow.expires_at)
    .where(LeaseRow.queue == bindparam("wanted"), LeaseRow.state == FREE)
    .order_by(LeaseRow.rank)
)
HOLD = Statement(
    update(LeaseRow)
    .where(LeaseRow.queue == bindparam("wanted"), LeaseRow.state == FREE)
    .values(state=HELD, token=LeaseRow.token + 1, expires_at=bindparam("until"))
    .returning(LeaseRow.item, LeaseRow.token, LeaseRow.expires_at)
)
ENTER = Statement(
    insert(LeaseRow).values(
        queue=bindparam("wanted"), item="card", offered_at=bindparam("now"), rank=0, token=0,
        state=FREE,
    )
)  # fmt: skip


@pytest.fixture
def db() -> Iterator[Database]:
    database = Database("sqlite://")
    database.create_tables()
    yield database
    database.close()


def lease(item: str, rank: int) -> LeaseRow:
    return LeaseRow(queue="q", item=item, rank=rank, offered_at=NOW, state=FREE, token=0)


def test_a_select_sees_what_the_session_still_holds_back(db: Database) -> None:
    with db.write() as tx:
        tx.add_all([lease("late", 2), lease("soon", 1)])
        found = FIND.rows(tx, wanted="q")
        assert [row.item for row in found] == ["soon", "late"]
        assert found[0].offered_at == NOW  # an aware instant, as the column's type reads it
        assert found[0].expires_at is None
        assert FIND.first(tx, wanted="other") is None


def test_a_change_counts_and_returns_its_rows(db: Database) -> None:
    until = NOW + timedelta(minutes=10)
    with db.write() as tx:
        tx.add(lease("a", 1))
        (held,) = HOLD.rows(tx, wanted="q", until=until)
        assert held == ("a", 1, until)
        assert HOLD.run(tx, wanted="q", until=until) == 0
    with db.read() as tx:
        row = tx.get_one(LeaseRow, ("q", "a"))
        assert (row.state, row.token, row.expires_at) == (HELD, 1, until)


def test_parameters_are_given_by_name_and_all_of_them(db: Database) -> None:
    with db.read() as tx:
        with pytest.raises(TypeError, match="until"):
            HOLD.run(tx, wanted="q")
        with pytest.raises(TypeError, match="other"):
            FIND.rows(tx, wanted="q", other=1)


def test_a_broken_constraint_is_raised_as_the_session_would(db: Database) -> None:
    with pytest.raises(IntegrityError), db.write() as tx:
        assert ENTER.run(tx, wanted="q", now=NOW) == 1
        ENTER.run(tx, wanted="q", now=NOW)
    with db.read() as tx:
        assert FIND.rows(tx, wanted="q") == []


def test_a_list_of_keys_is_not_a_statement_of_this_kind(db: Database) -> None:
    listed = Statement(select(LeaseRow.item).where(LeaseRow.item.in_(("a", "b"))))
    with db.read() as tx, pytest.raises(AssertionError, match="Lookup"):
        listed.rows(tx)
