"""Work as rows with an expiring lease and a fencing token: the queue (architecture.md 6).

A worker claims the most urgent free item; the token rises with every claim of an item, and a result
that carries an old token is refused. `claim` skips rows others have locked on PostgreSQL; on SQLite the
writer lock of `Database.write` makes it exclusive.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Integer, String, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import Clock
from core.db import Instant, Table, Tx
from core.errors import Rejected

FREE, HELD, DONE = "FREE", "HELD", "DONE"


class LeaseRow(Table):
    """One item of work in a named queue. Lower `rank` is served first, then the older."""

    __tablename__ = "lease"

    queue: Mapped[str] = mapped_column(String(40), primary_key=True)
    item: Mapped[str] = mapped_column(String(60), primary_key=True)
    rank: Mapped[int] = mapped_column(Integer, default=0)
    offered_at: Mapped[datetime] = mapped_column(Instant)
    state: Mapped[str] = mapped_column(String(4), default=FREE)
    holder: Mapped[str | None] = mapped_column(String(60))
    token: Mapped[int] = mapped_column(Integer, default=0)
    expires_at: Mapped[datetime | None] = mapped_column(Instant)


@dataclass(frozen=True)
class Lease:
    """A claim: `item` is ours until `expires_at`, provable by `token`."""

    queue: str
    item: str
    holder: str
    token: int
    expires_at: datetime


def offer(tx: Tx, clock: Clock, queue: str, item: str, rank: int = 0) -> None:
    """Put an item into a queue."""
    tx.add(LeaseRow(queue=queue, item=item, rank=rank, offered_at=clock.now(), state=FREE, token=0))


def claim(
    tx: Tx, clock: Clock, queue: str, holder: str, term: timedelta, reclaim_expired: bool = True
) -> Lease | None:
    """Claim the next item for `term`; None when nothing is free.

    With `reclaim_expired` False an expired lease stays with its holder until somebody accounts for it:
    a card may be inside that holder's machine (production.md 6).
    """
    now = clock.now()
    free = LeaseRow.state == FREE
    if reclaim_expired:
        free = or_(free, (LeaseRow.state == HELD) & (LeaseRow.expires_at < now))
    row = tx.scalars(
        select(LeaseRow)
        .where(LeaseRow.queue == queue, free)
        .order_by(LeaseRow.rank, LeaseRow.offered_at, LeaseRow.item)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
    if row is None:
        return None
    row.state, row.holder, row.token, row.expires_at = HELD, holder, row.token + 1, now + term
    tx.flush()
    return Lease(queue, row.item, holder, row.token, row.expires_at)


def check(tx: Tx, lease: Lease) -> LeaseRow:
    """The row of a lease that is still ours; raises Rejected LEASE-LOST when the token is old."""
    row = tx.get(LeaseRow, (lease.queue, lease.item), with_for_update=True)
    if row is None or row.state != HELD or row.token != lease.token or row.holder != lease.holder:
        raise Rejected(
            "LEASE-LOST", f"{lease.queue}/{lease.item} token {lease.token} is no longer valid"
        )
    return row


def renew(tx: Tx, clock: Clock, lease: Lease, term: timedelta) -> Lease:
    """Prolong a lease that is still ours."""
    row = check(tx, lease)
    row.expires_at = clock.now() + term
    return Lease(lease.queue, lease.item, lease.holder, lease.token, row.expires_at)


def finish(tx: Tx, lease: Lease) -> None:
    """The work is done; the item leaves the queue for good."""
    row = check(tx, lease)
    row.state, row.expires_at = DONE, None


def give_back(tx: Tx, lease: Lease) -> None:
    """The work was not begun; the item is free again at once."""
    row = check(tx, lease)
    row.state, row.holder, row.expires_at = FREE, None, None


def waiting(tx: Tx, queue: str) -> int:
    """How many items of a queue are free."""
    return len(
        tx.scalars(
            select(LeaseRow.item).where(LeaseRow.queue == queue, LeaseRow.state == FREE)
        ).all()
    )
