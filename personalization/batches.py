"""Batches: planned, released by a second person, run, counted, closed with no difference (production.md 4.4, 7).

A batch belongs to one point, or to several small ones. Its work orders are a queue of their own; its
blanks come in trays. It closes only when every blank and card of it is explained.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import EvidenceMismatch, NotFound, Rejected
from personalization import artwork, balance, incidents, journal_import, orders, schedule, work
from personalization.states import (
    BATCH_ALLOWED,
    OPEN_WORK,
    BatchState,
    WorkState,
    step,
)
from personalization.tables import BatchHandRow, BatchRow, OrderRow, TrayRow, WorkOrderRow
from registry import sequences
from registry.residence.domain import State
from registry.roles import Actor, Role, require, two_persons

MAX_BATCH = 500
SMALL_POINT = 20  # points with fewer orders waiting share a batch
PLANNED, RELEASED, RAN, COUNTED, CLOSED = "PLANNED", "RELEASED", work.RAN, "COUNTED", "CLOSED"


@dataclass(frozen=True)
class BatchView:
    """A batch for a screen. `waiting` may be shown; expected counts of blanks and cards are not here (I25)."""

    number: str
    point: str | None
    state: str
    template: str
    profile: str
    created_by: str
    released_by: str | None
    waiting: int
    in_work: int
    made: int | None  # None while it is to be counted
    uncertain: int
    open_incidents: int


def plan(
    tx: Tx,
    clock: Clock,
    planner: Actor,
    *,
    point: str | None = None,
    limit: int = MAX_BATCH,
    profile: str = orders.PROFILE,
) -> str:
    """Gather READY work orders of a point, or of all points together (`point` None), most urgent first.

    Returns the batch number. Raises NotAllowed E-ROLE; Rejected W-PROFILE, W-QUANTITY, W-NOTHING.
    """
    require(planner, Role.CARD_SUPERVISOR, Role.DATA_OFFICER)
    if profile not in orders.PROFILES:
        raise Rejected("W-PROFILE", f"no profile {profile}", profile=profile)
    if not 1 <= limit <= MAX_BATCH:
        raise Rejected("W-QUANTITY", f"1 to {MAX_BATCH}", quantity=limit)
    rows = _waiting(tx, clock, profile, point)[:limit]
    if not rows:
        raise Rejected("W-NOTHING", "no work order is ready", point=point or "*")
    template = artwork.released(orders.PROFILES[profile])
    day = business_date(clock.now())
    sequence = sequences.take(tx, f"batch-{day:%Y%m%d}")
    points = {order.point for order, _ in rows}
    batch = BatchRow(
        number=f"B{day:%Y%m%d}-{sequence:03d}", point=points.pop() if len(points) == 1 else None,
        template=orders.PROFILES[profile], template_sha256=template.sha256, profile=profile,
        state=BatchState.PLANNED, created_at=clock.now(), created_by=planner.name,
    )  # fmt: skip
    tx.add(batch)
    tx.flush()
    for _, row in rows:
        row.batch = batch.number
    _hand(tx, batch.number, planner, PLANNED)
    events.append(
        tx, clock, "batch.planned", batch.number, actor=planner.name, point=batch.point or "*",
        count=len(rows),
    )  # fmt: skip
    return batch.number


def _waiting(
    tx: Tx, clock: Clock, profile: str, point: str | None
) -> list[tuple[OrderRow, WorkOrderRow]]:
    query = (
        select(OrderRow, WorkOrderRow)
        .join(WorkOrderRow, WorkOrderRow.acc_no == OrderRow.acc_no)
        .where(
            WorkOrderRow.state == WorkState.READY,
            WorkOrderRow.batch.is_(None),
            WorkOrderRow.profile == profile,
        )
        .with_for_update()
    )
    if point is not None:
        query = query.where(OrderRow.point == point)
    now = clock.now()
    found: list[tuple[OrderRow, WorkOrderRow]] = list(tx.execute(query))
    found.sort(
        key=lambda pair: (
            schedule.rank(pair[0], pair[1].attempt, now), pair[0].ordered_at, pair[0].point,
            pair[0].acc_no,
        )
    )  # fmt: skip
    return found


def plan_all(tx: Tx, clock: Clock, planner: Actor) -> list[str]:
    """A batch for each point with at least 20 orders waiting, one for the small points together."""
    per_point = Counter(order.point for order, _ in _waiting(tx, clock, orders.PROFILE, None))
    large = sorted(point for point, count in per_point.items() if count >= SMALL_POINT)
    made = []
    for point in large:
        made += [
            plan(tx, clock, planner, point=point)
            for _ in range(0, per_point[point] - SMALL_POINT + 1, MAX_BATCH)
        ]
    while _waiting(tx, clock, orders.PROFILE, None):
        made.append(plan(tx, clock, planner))
    return made


def release(tx: Tx, clock: Clock, number: str, supervisor: Actor) -> None:
    """The second person lets it onto the floor. Raises NotAllowed E-ROLE, E-SOD; Rejected W-STATE, W-DESIGN."""
    require(supervisor, Role.CARD_SUPERVISOR)
    batch = get(tx, number)
    two_persons(Actor(batch.created_by, frozenset()), supervisor)
    if artwork.released(batch.template).sha256 != batch.template_sha256:
        raise Rejected("W-DESIGN", "the design is another than planned", template=batch.template)
    if not step(batch, BatchState.RELEASED, BATCH_ALLOWED):
        return
    batch.released_by, batch.released_at = supervisor.name, clock.now()
    _hand(tx, number, supervisor, RELEASED)
    now = clock.now()
    for order, row in _members(tx, number, [WorkState.READY]):
        work.release(tx, clock, row, schedule.rank(order, row.attempt, now))
        orders.advance(tx, clock, row.acc_no, State.IN_PRODUCTION, supervisor.name)
    tx.flush()
    events.append(tx, clock, "batch.released", number, actor=supervisor.name)


def pause(tx: Tx, clock: Clock, number: str, actor: Actor) -> None:
    """No new claims; a card inside a machine is finished. Raises NotAllowed E-ROLE; Rejected W-STATE."""
    require(actor, Role.CARD_SUPERVISOR, Role.CARD_OPERATOR)
    if step(get(tx, number), BatchState.PAUSED, BATCH_ALLOWED):
        events.append(tx, clock, "batch.paused", number, actor=actor.name)


def resume(tx: Tx, clock: Clock, number: str, actor: Actor) -> None:
    """Go on. Raises NotAllowed E-ROLE; Rejected W-STATE."""
    require(actor, Role.CARD_SUPERVISOR, Role.CARD_OPERATOR)
    if step(get(tx, number), BatchState.RUNNING, BATCH_ALLOWED):
        events.append(tx, clock, "batch.resumed", number, actor=actor.name)


def cancel(tx: Tx, clock: Clock, number: str, supervisor: Actor) -> None:
    """Before anything was claimed: its work orders wait for another plan.

    Raises NotAllowed E-ROLE; Rejected W-STATE, W-TRAY while it has blanks.
    """
    require(supervisor, Role.CARD_SUPERVISOR)
    batch = get(tx, number)
    if balance.batch_balance(tx, number).left:
        raise Rejected("W-TRAY", "return its blanks first", tray=number, quantity=0)
    if not step(batch, BatchState.CANCELLED, BATCH_ALLOWED):
        return
    for _, row in _members(tx, number, [WorkState.READY, WorkState.RELEASED]):
        if row.state == WorkState.READY:
            row.batch = None
        else:
            orders.cancel(tx, clock, row, "batch cancelled", supervisor.name)
            tx.flush()
            orders.replan(tx, clock, row)
    events.append(tx, clock, "batch.cancelled", number, actor=supervisor.name)


def finish(tx: Tx, clock: Clock, number: str, actor: Actor) -> None:
    """All its work is done. Raises NotAllowed E-ROLE; Rejected W-STATE, W-UNFINISHED."""
    require(actor, Role.CARD_SUPERVISOR, Role.CARD_OPERATOR)
    batch = get(tx, number)
    open_ones = len(_members(tx, number, OPEN_WORK))
    if open_ones:
        raise Rejected("W-UNFINISHED", f"{open_ones} not made", batch=number, count=open_ones)
    if step(batch, BatchState.FINISHED, BATCH_ALLOWED):
        batch.finished_at = clock.now()
        events.append(tx, clock, "batch.finished", number, actor=actor.name)


def close(tx: Tx, clock: Clock, number: str, closer: Actor) -> balance.Balance:
    """The last look: no difference, nothing uncertain, every journal read, every incident signed (I9).

    Raises NotAllowed E-ROLE, W-RAN-IT; Rejected W-STATE, W-UNCERTAIN, W-JOURNAL-UNREAD, W-INCIDENTS,
    W-BLANKS (not returned or carried on); EvidenceMismatch W-DIFFERENCE.
    """
    require(closer, Role.CARD_SUPERVISOR, Role.STOCK_KEEPER)
    batch = get(tx, number)
    if batch.state == BatchState.CLOSED:
        return balance.batch_balance(tx, number)
    incidents.did_not_run(tx, number, closer)
    if BatchState.CLOSED not in BATCH_ALLOWED[BatchState(batch.state)]:
        step(batch, BatchState.CLOSED, BATCH_ALLOWED)
    if _members(tx, number, [WorkState.UNCERTAIN]):
        raise Rejected("W-UNCERTAIN", "a card is not found yet", batch=number)
    for station in tx.scalars(select(TrayRow.station).where(TrayRow.batch == number).distinct()):
        # a station at work has lines that were not read yet: they are of the card it holds, in another batch
        if journal_import.unread(tx, station) and work.held(tx, station) is None:
            raise Rejected("W-JOURNAL-UNREAD", station, station=station)
    unsigned = incidents.open_ones(tx, number)
    if unsigned:
        raise Rejected("W-INCIDENTS", unsigned[0].what, batch=number, count=len(unsigned))
    sums = balance.batch_balance(tx, number)
    if sums.left or sums.in_work:
        raise Rejected("W-BLANKS", "blanks are still out", batch=number)
    if sums.difference:
        raise EvidenceMismatch("W-DIFFERENCE", str(sums.difference), batch=number)
    step(batch, BatchState.CLOSED, BATCH_ALLOWED)
    batch.closed_by, batch.closed_at = closer.name, clock.now()
    _hand(tx, number, closer, CLOSED)
    events.append(
        tx, clock, "batch.closed", number, actor=closer.name, good=sums.good,
        spoiled=sums.spoiled, difference=sums.difference,
    )  # fmt: skip
    return sums


def show(tx: Tx, number: str) -> BatchView:
    """Raises NotFound W-BATCH."""
    batch = get(tx, number, lock=False)
    counts = Counter(row.state for _, row in _members(tx, number, list(WorkState)))
    return BatchView(
        number, batch.point, batch.state, batch.template, batch.profile, batch.created_by,
        batch.released_by, counts[WorkState.READY] + counts[WorkState.RELEASED],
        counts[WorkState.CLAIMED] + counts[WorkState.MAKING],
        None
        if batch.state == BatchState.FINISHED
        else counts[WorkState.MADE] + counts[WorkState.ACCEPTED], counts[WorkState.UNCERTAIN],
        len(incidents.open_ones(tx, number)),
    )  # fmt: skip


def all_batches(tx: Tx, states: Sequence[BatchState] = ()) -> list[str]:
    """Numbers, newest first."""
    query = select(BatchRow.number).order_by(BatchRow.number.desc())
    if states:
        query = query.where(BatchRow.state.in_(states))
    return list(tx.scalars(query))


def get(tx: Tx, number: str, lock: bool = True) -> BatchRow:
    """Raises NotFound W-BATCH."""
    row = tx.get(BatchRow, number, with_for_update=True if lock else None)
    if row is None:
        raise NotFound("W-BATCH", "no such batch", batch=number)
    return row


def unfinished(tx: Tx, number: str) -> int:
    """Work orders released and not ended."""
    return (
        tx.scalar(
            select(func.count())
            .select_from(WorkOrderRow)
            .where(WorkOrderRow.batch == number, WorkOrderRow.state.in_(OPEN_WORK))
        )
        or 0
    )


def _members(
    tx: Tx, number: str, states: Sequence[WorkState] | frozenset[WorkState]
) -> list[tuple[OrderRow, WorkOrderRow]]:
    return list(
        tx.execute(
            select(OrderRow, WorkOrderRow)
            .join(WorkOrderRow, WorkOrderRow.acc_no == OrderRow.acc_no)
            .where(WorkOrderRow.batch == number, WorkOrderRow.state.in_(list(states)))
            .order_by(WorkOrderRow.id)
        )
    )


def _hand(tx: Tx, number: str, person: Actor, part: str) -> None:
    if tx.get(BatchHandRow, (number, person.name, part)) is None:
        tx.add(BatchHandRow(batch=number, person=person.name, part=part))
        tx.flush()
