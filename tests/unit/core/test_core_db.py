"""One database, two makes: what `Database`, events and leases promise."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from core import events, leases
from core.clock import FixedClock
from core.db import Database, FairLock
from core.errors import Rejected, Unavailable

START = datetime(2007, 6, 10, 1, 0, tzinfo=UTC)
TERM = timedelta(seconds=30)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(START)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'city.db'}")
    database.create_tables()
    yield database
    database.close()


def test_a_failed_block_leaves_nothing(db: Database, clock: FixedClock) -> None:
    with pytest.raises(RuntimeError), db.write() as tx:
        leases.offer(tx, clock, "cards", "order-1")
        raise RuntimeError
    with db.read() as tx:
        assert tx.scalars(select(leases.LeaseRow)).all() == []


def test_a_kept_connection_commits_and_rolls_back_as_any_other(
    db: Database, clock: FixedClock
) -> None:
    kept, seen = db.keep(), select(leases.LeaseRow.item)
    with pytest.raises(RuntimeError), kept.write() as tx:
        leases.offer(tx, clock, "cards", "order-1")
        raise RuntimeError
    with kept.write() as tx:
        leases.offer(tx, clock, "cards", "order-2")
    with kept.write() as tx:
        tx.add(leases.LeaseRow(queue="cards", item="order-3", offered_at=START))
    with db.read() as tx:
        assert tx.scalars(seen).all() == ["order-2", "order-3"]
    with kept.read() as tx:
        assert tx.scalars(seen).all() == ["order-2", "order-3"]
    kept.close()


def test_a_statements_values_do_not_stand_in_its_error(db: Database) -> None:
    with pytest.raises(IntegrityError) as told, db.write() as tx:
        for _ in range(2):
            tx.add(events.CursorRow(reader="Zhang Wei", seq=1))
            tx.flush()
            tx.expunge_all()
    assert "Zhang Wei" not in str(told.value)


def test_instants_come_back_aware_and_in_utc(db: Database, clock: FixedClock) -> None:
    with db.write() as tx:
        leases.offer(tx, clock, "cards", "order-1")
    with db.read() as tx:
        assert tx.scalars(select(leases.LeaseRow)).one().offered_at == START


def test_a_late_result_with_an_old_token_is_refused(db: Database, clock: FixedClock) -> None:
    with db.write() as tx:
        leases.offer(tx, clock, "cards", "order-1")
        slow = leases.claim(tx, clock, "cards", "station-1", TERM)
    assert slow is not None
    clock.advance(TERM + timedelta(seconds=1))
    with db.write() as tx:
        fast = leases.claim(tx, clock, "cards", "station-2", TERM)
        assert fast is not None
        assert fast.token == slow.token + 1
    with pytest.raises(Rejected, match="LEASE-LOST"), db.write() as tx:
        leases.finish(tx, slow)
    with db.write() as tx:
        leases.finish(tx, fast)
        assert leases.claim(tx, clock, "cards", "station-1", TERM) is None


def test_an_expired_lease_can_wait_for_its_holder(db: Database, clock: FixedClock) -> None:
    with db.write() as tx:
        leases.offer(tx, clock, "cards", "order-1")
        leases.claim(tx, clock, "cards", "station-1", TERM)
    clock.advance(TERM * 2)
    with db.write() as tx:
        assert leases.claim(tx, clock, "cards", "station-2", TERM, reclaim_expired=False) is None


def test_rank_before_age(db: Database, clock: FixedClock) -> None:
    with db.write() as tx:
        leases.offer(tx, clock, "cards", "normal", rank=2)
        clock.advance(timedelta(seconds=1))
        leases.offer(tx, clock, "cards", "remake", rank=0)
        first = leases.claim(tx, clock, "cards", "station-1", TERM)
    assert first is not None
    assert first.item == "remake"


def test_no_item_is_claimed_twice_by_many_threads(db: Database, clock: FixedClock) -> None:
    items = {f"order-{n}" for n in range(24)}
    with db.write() as tx:
        for item in items:
            leases.offer(tx, clock, "cards", item)
    claimed: list[str] = []

    def work(name: str) -> None:
        while True:
            with db.write() as tx:
                lease = leases.claim(tx, clock, "cards", name, TERM)
            if lease is None:
                return
            claimed.append(lease.item)

    threads = [threading.Thread(target=work, args=(f"station-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(items)


def test_the_fair_lock_gives_up_with_a_reason() -> None:
    lock = FairLock()
    lock.acquire(1)
    with pytest.raises(Unavailable, match="DB-BUSY"):
        lock.acquire(0.01)
    lock.release()
    lock.acquire(1)


def test_events_need_a_sentence_and_keep_their_order(db: Database, clock: FixedClock) -> None:
    with pytest.raises(AssertionError, match="not in any"), db.write() as tx:
        events.append(tx, clock, "never.heard", "x")
    kind = next(iter(events.kinds()), None)
    if kind is None:
        pytest.skip("no package has declared an event yet")
    with db.write() as tx:
        for subject in ("a", "b", "c"):
            events.append(tx, clock, kind, subject)
        events.move_cursor(tx, "board", 1)
    with db.read() as tx:
        assert [event.subject for event in events.after(tx, 0)] == ["a", "b", "c"]
        assert [event.subject for event in events.after(tx, events.cursor(tx, "board"))] == [
            "b",
            "c",
        ]
        assert events.newest(tx, 1)[0].subject == "c"


def test_a_cursor_never_goes_back(db: Database) -> None:
    with db.write() as tx:
        events.move_cursor(tx, "board", 5)
    with pytest.raises(AssertionError, match="would go back"), db.write() as tx:
        events.move_cursor(tx, "board", 4)
