"""Work as rows with an expiring lease and a fencing token: the queue (architecture.md 6).

A worker claims the most urgent free item; the token rises with every claim of an item, and a result
that carries an old token is refused. `claim` skips rows others have locked on PostgreSQL; on SQLite the
writer lock of `Database.write` makes it exclusive.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Integer, String, bindparam, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import Clock
from core.db import Instant, Table, Tx
from core.errors import Rejected
from core.rows import Statement

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
    until = now + term
    if reclaim_expired:
        row = _CLAIM_ANY.first(tx, wanted=queue, who=holder, until=until, now=now)
    else:
        row = _CLAIM_FREE.first(tx, wanted=queue, who=holder, until=until)
    return None if row is None else Lease(queue, row.item, holder, row.token, until)


def renew(tx: Tx, clock: Clock, lease: Lease, term: timedelta) -> Lease:
    """Prolong a lease that is still ours. Raises Rejected LEASE-LOST when its token is old, as all below."""
    until = clock.now() + term
    _change(tx, lease, HELD, lease.holder, until)
    return Lease(lease.queue, lease.item, lease.holder, lease.token, until)


def finish(tx: Tx, lease: Lease) -> None:
    """The work is done; the item leaves the queue for good."""
    _change(tx, lease, DONE, lease.holder, None)


def give_back(tx: Tx, lease: Lease) -> None:
    """The work was not begun; the item is free again at once."""
    _change(tx, lease, FREE, None, None)


def _change(tx: Tx, lease: Lease, state: str, holder: str | None, until: datetime | None) -> None:
    changed = _CHANGE.run(
        tx, wanted=lease.queue, work=lease.item, owner=lease.holder, current=lease.token,
        then=state, who=holder, until=until,
    )  # fmt: skip
    if not changed:
        raise Rejected(
            "LEASE-LOST", f"{lease.queue}/{lease.item} token {lease.token} is no longer valid"
        )


def _claiming(free: ColumnElement[bool]) -> Statement:
    """Take the first item that is `free`; two claimers never wait for each other."""
    first = (
        select(LeaseRow.item)
        .where(LeaseRow.queue == bindparam("wanted"), free)
        .order_by(LeaseRow.rank, LeaseRow.offered_at, LeaseRow.item)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return Statement(
        update(LeaseRow)
        .where(LeaseRow.queue == bindparam("wanted"), LeaseRow.item == first.scalar_subquery())
        .values(
            state=HELD, holder=bindparam("who"), token=LeaseRow.token + 1,
            expires_at=bindparam("until"),
        )
        .returning(LeaseRow.item, LeaseRow.token)
    )  # fmt: skip


_IS_FREE = LeaseRow.state == FREE
_CLAIM_FREE = _claiming(_IS_FREE)
_CLAIM_ANY = _claiming(
    or_(_IS_FREE, (LeaseRow.state == HELD) & (LeaseRow.expires_at < bindparam("now")))
)
_CHANGE = Statement(
    update(LeaseRow)
    .where(
        LeaseRow.queue == bindparam("wanted"), LeaseRow.item == bindparam("work"),
        LeaseRow.state == HELD, LeaseRow.holder == bindparam("owner"),
        LeaseRow.token == bindparam("current"),
    )
    .values(state=bindparam("then"), holder=bindparam("who"), expires_at=bindparam("until"))
)  # fmt: skip


def waiting(tx: Tx, queue: str) -> int:
    """How many items of a queue are free."""
    return len(
        tx.scalars(
            select(LeaseRow.item).where(LeaseRow.queue == queue, LeaseRow.state == FREE)
        ).all()
    )
