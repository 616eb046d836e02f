"""What only PostgreSQL does: claims that skip locked rows, and readers that wait for late commits."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, text

from core import events, leases
from core.clock import FixedClock
from core.db import Database

pytestmark = pytest.mark.postgres
CLOCK = FixedClock(datetime(2007, 6, 10, 1, 0, tzinfo=UTC))
TERM = timedelta(seconds=30)


def test_two_workers_claim_different_items_at_the_same_moment(postgres: Database) -> None:
    with postgres.write() as tx:
        leases.offer(tx, CLOCK, "cards", "order-1")
        leases.offer(tx, CLOCK, "cards", "order-2")
    with postgres.write() as first, postgres.write() as second:
        one = leases.claim(first, CLOCK, "cards", "station-1", TERM)
        two = leases.claim(second, CLOCK, "cards", "station-2", TERM)
        three = leases.claim(second, CLOCK, "cards", "station-3", TERM)
    assert one is not None
    assert two is not None
    assert (one.item, two.item, three) == ("order-1", "order-2", None)


def test_a_kept_connection_that_the_server_ended_is_replaced(postgres: Database) -> None:
    kept, who = postgres.keep(), select(func.pg_backend_pid())
    with kept.read() as tx:
        first = tx.scalar(who)
    with kept.read() as tx:
        assert tx.scalar(who) == first
    with postgres.write() as tx:
        assert tx.scalar(select(func.pg_terminate_backend(first, 10_000)))  # and waits for its end
    with kept.write() as tx:
        assert tx.scalar(who) != first
        leases.offer(tx, CLOCK, "cards", "order-1")
    with postgres.read() as tx:
        assert tx.query(leases.LeaseRow).one().item == "order-1"
    kept.close()


def test_a_kept_connection_reads_by_key_and_leaves_that_to_nobody(postgres: Database) -> None:
    many = "{" + ",".join(f"queue-{n}" for n in range(64)) + "}"
    question = text(f"EXPLAIN SELECT * FROM lease WHERE queue = ANY('{many}'::text[])")
    kept = postgres.keep()
    with kept.read() as tx:  # the table is empty and was never analysed
        assert "Seq Scan" not in str(tx.execute(question).all())
    kept.close()
    with postgres.read() as tx:
        assert "Seq Scan" in str(tx.execute(question).all())


def test_a_reader_never_skips_an_event_that_commits_late(postgres: Database) -> None:
    with postgres.write() as slow:
        events.append(
            slow, CLOCK, "card.bound", "early", permit_no="1", chip_serial="2", acc_no="3"
        )
        slow.flush()
        with postgres.write() as quick:
            events.append(
                quick, CLOCK, "card.bound", "late", permit_no="1", chip_serial="2", acc_no="3"
            )
        with postgres.read() as tx:
            assert events.after(tx, 0) == []
    with postgres.read() as tx:
        assert [event.subject for event in events.after(tx, 0)] == ["early", "late"]


def test_instants_keep_their_moment(postgres: Database) -> None:
    with postgres.write() as tx:
        leases.offer(tx, CLOCK, "cards", "order-1")
    with postgres.read() as tx:
        assert tx.query(leases.LeaseRow).one().offered_at == CLOCK.now()
