"""The floor's queue: which work comes first, and when it will be done (production.md 7).

Classes: 0 the remake of a failed card, 1 urgent, 2 normal, 3 bulk. A bulk order gains one class for
each 24 hours it waits, so that bulk cannot starve. Stations pull; nothing is pushed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Protocol

from sqlalchemy import bindparam, func, select, update

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import Rejected
from core.leases import FREE, LeaseRow
from core.rows import Statement
from personalization import balance, orders
from personalization.states import BatchState, LotState, WorkState
from personalization.tables import (
    BatchRow,
    LotRow,
    OrderRow,
    PlasticRow,
    StationRow,
    TrayRow,
    WorkOrderRow,
)
from registry.roles import Actor, Role, require

REMAKE = 0
AGE_STEP = timedelta(hours=24)
RATE_SAMPLE = 50
MAX_LISTED = 1_000


def _urgency() -> Statement:
    """A station's trays whose batches have waiting work, most urgent first."""
    best = (
        select(
            LeaseRow.queue,
            func.min(LeaseRow.rank).label("rank"),
            func.min(LeaseRow.offered_at).label("since"),
        )
        .where(LeaseRow.state == FREE)
        .group_by(LeaseRow.queue)
        .subquery()
    )
    return Statement(
        select(
            BatchRow.number.label("batch"), BatchRow.state, TrayRow.id.label("tray"), TrayRow.lot,
            balance.left_of(TrayRow.id.expression).label("blanks"),
        )
        .join(TrayRow, TrayRow.batch == BatchRow.number)
        .join(best, best.c.queue == BatchRow.number)
        .join(LotRow, LotRow.lot == TrayRow.lot)
        .where(
            TrayRow.station == bindparam("called"),
            (BatchRow.state == BatchState.RELEASED) | (BatchRow.state == BatchState.RUNNING),
            LotRow.state != LotState.QUARANTINED,
        )
        .order_by(best.c.rank, best.c.since, BatchRow.point, BatchRow.number, TrayRow.opened_at)
    )  # fmt: skip


_LOADED = _urgency()
_OLD_BULK = Statement(
    select(
        LeaseRow.queue, LeaseRow.item, LeaseRow.rank, OrderRow.priority, OrderRow.ordered_at,
        WorkOrderRow.attempt,
    )
    .join(WorkOrderRow, WorkOrderRow.id == LeaseRow.item)
    .join(OrderRow, OrderRow.acc_no == WorkOrderRow.acc_no)
    .where(
        LeaseRow.queue == WorkOrderRow.batch,
        LeaseRow.state == FREE,
        LeaseRow.rank > orders.URGENT,
        OrderRow.priority == orders.BULK,
        OrderRow.ordered_at <= bindparam("aged"),
    )
    .limit(MAX_LISTED)
)  # fmt: skip
_BETTER = Statement(
    update(LeaseRow)
    .where(LeaseRow.queue == bindparam("of_batch"), LeaseRow.item == bindparam("work"))
    .values(rank=bindparam("better"))
)


@dataclass(frozen=True)
class Loaded:
    """A batch a station has blanks for, and the tray they lie in."""

    batch: str
    state: BatchState
    tray: str
    lot: str


class Ordered(Protocol):
    """What a rank depends on: an `OrderRow`, or what a question found of it."""

    priority: int
    ordered_at: datetime


@dataclass(frozen=True)
class Waiting:
    """One work order in the queue, for a screen. No name, no identity number."""

    work_order: str
    acc_no: str
    attempt: int
    batch: str | None
    point: str
    rank: int
    waits_since: datetime
    state: str


@dataclass(frozen=True)
class Forecast:
    """Backlog over the stations' measured rates; `hours` None while no station has made a card."""

    backlog: int
    cards_per_hour: float
    stations: int
    hours: float | None


def rank(order: Ordered, attempt: int, now: datetime) -> int:
    """Effective class of an order's work at `now`."""
    if attempt > 1:
        return REMAKE
    if order.priority < orders.BULK:
        return order.priority
    return max(orders.URGENT, order.priority - (now - order.ordered_at) // AGE_STEP)


def loaded(tx: Tx, clock: Clock, station: str) -> list[Loaded]:
    """Batches this station has blanks for, the one with the most urgent waiting work first (I21)."""
    age(tx, clock)
    usable: dict[str, Loaded] = {}
    for found in _LOADED.rows(tx, called=station):
        if found.batch not in usable and found.blanks > 0:
            usable[found.batch] = Loaded(
                found.batch, BatchState(found.state), found.tray, found.lot
            )
    return list(usable.values())


def age(tx: Tx, clock: Clock) -> int:
    """Give old bulk orders their better class in the queue; returns how many moved."""
    now = clock.now()
    moved = 0
    for lease in _OLD_BULK.rows(tx, aged=now - AGE_STEP):
        better = rank(lease, lease.attempt, now)
        if better < lease.rank:
            moved += _BETTER.run(tx, of_batch=lease.queue, work=lease.item, better=better)
    return moved


def bump(tx: Tx, clock: Clock, acc_no: str, supervisor: Actor, reason: str) -> None:
    """An order becomes urgent. Raises NotAllowed E-ROLE, NotFound W-ORDER, Rejected W-REASON."""
    require(supervisor, Role.CARD_SUPERVISOR)
    if not reason.strip():
        raise Rejected("W-REASON", "urgency needs a reason")
    order = orders.get(tx, acc_no, lock=True)
    if order.priority == orders.URGENT:
        return
    order.priority, order.bump_reason = orders.URGENT, reason[:200]
    work = orders.live_work(tx, acc_no)
    if work is not None and work.batch is not None:
        lease = tx.get(LeaseRow, (work.batch, work.id), with_for_update=True)
        if lease is not None and lease.state == FREE:
            lease.rank = min(lease.rank, orders.URGENT)
    events.append(tx, clock, "order.bumped", acc_no, actor=supervisor.name, reason=reason[:200])


def queue(tx: Tx, clock: Clock, point: str | None = None, limit: int = MAX_LISTED) -> list[Waiting]:
    """Work that waits, in the order of section 7."""
    query = (
        select(WorkOrderRow, OrderRow)
        .join(OrderRow, OrderRow.acc_no == WorkOrderRow.acc_no)
        .where(WorkOrderRow.state.in_((WorkState.DRAFT, WorkState.READY, WorkState.RELEASED)))
    )
    if point is not None:
        query = query.where(OrderRow.point == point)
    now = clock.now()
    found = [
        Waiting(
            work.id, work.acc_no, work.attempt, work.batch, order.point,
            rank(order, work.attempt, now), order.ordered_at, work.state,
        )
        for work, order in tx.execute(query)
    ]  # fmt: skip
    found.sort(key=lambda item: (item.rank, item.waits_since, item.point, item.acc_no))
    return found[:limit]


def backlog(tx: Tx) -> int:
    """Work orders not made yet."""
    states = (WorkState.READY, WorkState.RELEASED, WorkState.CLAIMED, WorkState.MAKING)
    return (
        tx.scalar(
            select(func.count()).select_from(WorkOrderRow).where(WorkOrderRow.state.in_(states))
        )
        or 0
    )


def cards_per_hour(tx: Tx, station: str) -> float:
    """Measured rate: the median cycle of the station's last 50 good cards; 0 before the first."""
    cycles = tx.scalars(
        select(PlasticRow.cycle_seconds)
        .where(PlasticRow.station == station, PlasticRow.cycle_seconds.is_not(None))
        .order_by(PlasticRow.ended_at.desc())
        .limit(RATE_SAMPLE)
    ).all()
    middle = median([seconds for seconds in cycles if seconds]) if any(cycles) else 0.0
    return 3600 / middle if middle else 0.0


def forecast(tx: Tx) -> Forecast:
    """When today's backlog will be done by the stations that may work."""
    names = tx.scalars(
        select(StationRow.name).where(
            StationRow.stop_reason.is_(None), StationRow.draining.is_(False)
        )
    ).all()
    rates = [rate for name in names if (rate := cards_per_hour(tx, name))]
    waiting, total = backlog(tx), sum(rates)
    return Forecast(waiting, total, len(rates), waiting / total if total else None)
