"""Work orders on the floor: a station claims one, and says what became of it (production.md 4.2, 6).

For a station's process, in this order::

    claim = work.claim(tx, clock, "S1", operator)      # lease and fencing token; None: nothing to do
    claim = work.renew(tx, clock, claim)               # before the feed, and while it takes long
    work.made(tx, clock, claim, Made(...))             # after taking its journal in, or
    work.failed(tx, clock, claim, plastic.Spoil(...), seen)    # the card is waste; a remake is queued, or
    work.uncertain(tx, clock, claim, reason, seen)     # nobody knows where it is, or
    work.unfed(tx, clock, claim)                       # nothing was fed: free again at once

Every report may be repeated. A report under an old token is refused with LEASE-LOST, except that a late
station may always say that its card is waste (I12): that card is entered, the work order stays as it is.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, select

from core import events, leases
from core.clock import Clock
from core.db import Tx, metadata
from core.errors import NotFound, Rejected
from core.leases import Lease, LeaseRow
from core.rows import Insert, Statement
from personalization import floor, incidents, journal_import, late, orders, plastic, schedule, stock
from personalization.plastic import Spoil
from personalization.schedule import Loaded
from personalization.states import (
    BATCH_ALLOWED,
    WORK_ALLOWED,
    BatchState,
    Place,
    WorkState,
    step,
)
from personalization.tables import BatchHandRow, BatchRow, PlasticRow, TrayRow, WorkOrderRow
from registry.residence.cards import CardData
from registry.residence.domain import State
from registry.roles import Actor, Role, require

SETTLED = frozenset({WorkState.UNCERTAIN, WorkState.MADE, WorkState.ACCEPTED, WorkState.FAILED})
RUNS = frozenset({BatchState.RELEASED, BatchState.RUNNING, BatchState.PAUSED})
TERM = timedelta(
    minutes=10
)  # a card takes under two minutes; a jam may hold it longer and is renewed
MAX_STALE = 20  # work orders whose data changed, skipped in one claim
RAN = "RAN"

_HANDS = Insert(metadata.tables[BatchHandRow.__tablename__], quiet=True)
_HELD = Statement(
    select(
        WorkOrderRow.id, WorkOrderRow.acc_no, WorkOrderRow.attempt, WorkOrderRow.batch,
        WorkOrderRow.operator, WorkOrderRow.tray, WorkOrderRow.template, WorkOrderRow.profile,
        WorkOrderRow.data_sha256, WorkOrderRow.token, TrayRow.lot, LeaseRow.expires_at,
    )
    .outerjoin(TrayRow, TrayRow.id == WorkOrderRow.tray)
    .outerjoin(
        LeaseRow, (LeaseRow.queue == WorkOrderRow.batch) & (LeaseRow.item == WorkOrderRow.id)
    )
    .where(
        WorkOrderRow.station == bindparam("called"),
        (WorkOrderRow.state == WorkState.CLAIMED) | (WorkOrderRow.state == WorkState.MAKING),
    )
)  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """A work order that is ours, provable by the lease's token. `lot` is the lot of the tray loaded."""

    work_order: str
    acc_no: str
    attempt: int
    batch: str
    station: str
    operator: str
    tray: str
    lot: str
    template: str
    profile: str
    data_sha256: str
    lease: Lease

    @property
    def token(self) -> int:
        """The fencing token, written in every journal line of this card."""
        return self.lease.token

    @property
    def origin(self) -> plastic.Origin:
        """Where a card of this claim comes from."""
        return plastic.Origin(
            self.work_order, self.token, self.acc_no, self.lot, self.tray, self.batch, self.station
        )


@dataclass(frozen=True)
class Seen:
    """What is known of the plastic: its numbers once bound, how many blanks left the feeder."""

    chip_serial: str | None = None
    card_serial: str | None = None
    fed: int = 1


@dataclass(frozen=True)
class Made:
    """A good card in the hopper. `cycle_seconds` from the feed's intent to the eject's answer."""

    chip_serial: str
    card_serial: str
    cycle_seconds: float
    ribbon: str | None = None


def claim(
    tx: Tx, clock: Clock, station: str, operator: Actor, term: timedelta = TERM
) -> Claim | None:
    """The most urgent work order this station has blanks for; None when there is none.

    Raises NotAllowed E-ROLE, NotFound W-STATION, Rejected W-STOPPED, W-DRAINING, and W-HOLDING while an
    earlier one is not reported (`held` gives it back after a restart).
    """
    mine = held(tx, station)
    if mine is not None:
        raise Rejected("W-HOLDING", mine.work_order, station=station, work_order=mine.work_order)
    found = next_card(tx, clock, station, operator, term)
    return None if found is None else found[0]


def next_card(
    tx: Tx, clock: Clock, station: str, operator: Actor, term: timedelta = TERM,
    opened: CardData | None = None,
) -> tuple[Claim, CardData] | None:  # fmt: skip
    """As `claim`, for a station that holds nothing, with the data that were compared with the release.

    `opened`: the data of the card that was looked ahead for (`registry.residence.cards.card_data`).
    """
    require(operator, Role.CARD_OPERATOR)
    floor.may_work(tx, station)
    stale = 0
    for tray in schedule.loaded(tx, clock, station):
        while stale < MAX_STALE:
            lease = leases.claim(tx, clock, tray.batch, station, term, reclaim_expired=False)
            if lease is None:
                break
            row = by_id(tx, lease.item)
            data = orders.unchanged(tx, row, opened)
            if data is not None:
                return _take(tx, clock, row, tray, operator, lease), data
            orders.renew_data(tx, clock, row)
            stale += 1
    return None


def _take(
    tx: Tx, clock: Clock, row: WorkOrderRow, tray: Loaded, operator: Actor, lease: Lease
) -> Claim:
    step(row, WorkState.CLAIMED, WORK_ALLOWED)
    row.station, row.operator, row.tray = lease.holder, operator.name, tray.tray
    row.token, row.claimed_at = lease.token, clock.now()
    if tray.state == BatchState.RELEASED:
        _start(tx, clock, tray.batch, operator)
    _HANDS.run(tx, [{"batch": tray.batch, "person": operator.name, "part": RAN}])
    events.append(
        tx, clock, "work_order.claimed", row.id, actor=operator.name, station=lease.holder,
        token=lease.token, acc_no=row.acc_no,
    )  # fmt: skip
    return _claim(row, tray.batch, tray.lot, lease)


def _start(tx: Tx, clock: Clock, number: str, operator: Actor) -> None:
    """RELEASED to RUNNING, by the first claim of whichever station is first."""
    batch = tx.get_one(BatchRow, number, with_for_update=True)
    if step(batch, BatchState.RUNNING, BATCH_ALLOWED):
        events.append(tx, clock, "batch.started", number, actor=operator.name)


def _claim(row: Any, batch: str, lot: str, lease: Lease) -> Claim:
    """`row` is a `WorkOrderRow`, or what `held` found of one."""
    return Claim(
        row.id, row.acc_no, row.attempt, batch, lease.holder, row.operator or "", row.tray,
        lot, row.template, row.profile, row.data_sha256 or "", lease,
    )  # fmt: skip


def held(tx: Tx, station: str) -> Claim | None:
    """The work order a station has claimed and not reported, for its restart."""
    row = _HELD.first(tx, called=station)
    if row is None:
        return None
    if None in (row.batch, row.token, row.lot, row.expires_at):
        raise AssertionError(f"work order {row.id} is held without batch, tray, token or lease")
    lease = Lease(row.batch, row.id, station, row.token, row.expires_at)
    return _claim(row, row.batch, row.lot, lease)


def renew(tx: Tx, clock: Clock, claim: Claim, term: timedelta = TERM) -> Claim:
    """Prolong a claim; the last look before the feed. Raises Rejected LEASE-LOST."""
    lease = leases.renew(tx, clock, claim.lease, term)
    return Claim(**{**vars(claim), "lease": lease})


def unfed(tx: Tx, clock: Clock, claim: Claim) -> None:
    """CLAIMED to RELEASED: the journal proves that no blank was fed. Raises LEASE-LOST, W-STATE, W-FED."""
    row = by_id(tx, claim.work_order)
    if row.state == WorkState.RELEASED and row.token == claim.token:
        return
    if _owned(tx, claim) is None:
        raise _lost(claim)
    if journal_import.was_fed(tx, claim.work_order, claim.token):
        raise Rejected("W-FED", "the journal says a blank was fed", work_order=claim.work_order)
    free(tx, row, claim)
    events.append(tx, clock, "work_order.given_back", row.id, actor=claim.station)


def free(tx: Tx, row: WorkOrderRow, claim: Claim) -> None:
    """CLAIMED to RELEASED: nobody's; the claim's token is old from here on."""
    step(row, WorkState.RELEASED, WORK_ALLOWED)
    leases.give_back(tx, claim.lease)
    row.station, row.tray = None, None
    tx.flush()


def fed(tx: Tx, clock: Clock, claim: Claim, seen: Seen | None = None) -> None:
    """CLAIMED to MAKING: a blank is consumed. For the board; the final reports include it."""
    row = _owned(tx, claim)
    if row is None:
        raise _lost(claim)
    _making(tx, clock, row, claim, seen or Seen())


def made(tx: Tx, clock: Clock, claim: Claim, made: Made) -> None:
    """MAKING to MADE: the card is good and in the hopper, its application goes to QC.

    The imported journal must show feed, bind, chip, print and eject under this token (I4). Raises
    Rejected LEASE-LOST, W-CHIP-KNOWN, W-SERIAL; EvidenceMismatch W-JOURNAL.
    """
    row = _owned(tx, claim)
    if row is None or row.state in (WorkState.UNCERTAIN, WorkState.FAILED):
        raise _lost(claim)  # two people look for it by now, or said that it is waste
    if row.state in (WorkState.MADE, WorkState.ACCEPTED):
        return
    journal_import.require_whole(
        tx, claim.work_order, claim.token, made.chip_serial, made.card_serial
    )
    with tx.no_autoflush:  # no question in here is about what it writes: one flush for all of it
        card = _making(tx, clock, row, claim, Seen(made.chip_serial, made.card_serial))
        plastic.bind(tx, clock, card, made.card_serial, made.chip_serial)
        plastic.walk(card, Place.EJECTED)
        card.ended_at, card.cycle_seconds = clock.now(), made.cycle_seconds
        card.ribbon = made.ribbon
        step(row, WorkState.MADE, WORK_ALLOWED)
        row.ended_at = clock.now()
        leases.finish(tx, claim.lease)
        orders.advance(tx, clock, row.acc_no, State.QC, claim.station)
    events.append(
        tx, clock, "card.personalized", made.card_serial, actor=claim.operator,
        station=claim.station, chip_serial=made.chip_serial, acc_no=row.acc_no,
        attempt=row.attempt, batch=claim.batch, seconds=round(made.cycle_seconds, 1),
    )  # fmt: skip


def failed(
    tx: Tx, clock: Clock, claim: Claim, spoil: Spoil, seen: Seen | None = None
) -> WorkOrderRow | None:
    """MAKING to FAILED: the card is waste, the remake is queued first in the same batch.

    Returns the remake; None after the third attempt, or when the token is old (then only the card is
    entered). Watches the station's row of spoiled cards (I16).
    """
    seen = seen or Seen()
    row = _owned(tx, claim)
    if row is None or row.state == WorkState.UNCERTAIN:
        late.spoiled(
            tx, clock, claim.origin, claim.operator, spoil, seen.card_serial, seen.chip_serial
        )
        return None
    if row.state == WorkState.FAILED:
        return None
    card = _making(tx, clock, row, claim, seen)
    note = plastic.bind_if_possible(tx, clock, card, seen.card_serial, seen.chip_serial)
    plastic.spoil(tx, clock, card, spoil, claim.operator, note)
    step(row, WorkState.FAILED, WORK_ALLOWED)
    row.ended_at = clock.now()
    leases.finish(tx, claim.lease)
    tx.flush()
    again = queue_remake(tx, clock, row)
    floor.watch_spoilage(tx, clock, claim.station)
    if spoil.code in stock.CHIP_CODES:
        stock.watch_lot(tx, clock, claim.lot)
    return again


def uncertain(tx: Tx, clock: Clock, claim: Claim, reason: str, seen: Seen | None = None) -> None:
    """MAKING to UNCERTAIN: nobody knows where the card is; two people look for it.

    Under an old token only the card is entered, with an incident of its own (I12): it is not forgotten.
    """
    seen = seen or Seen()
    row = _owned(tx, claim) or _retaken(tx, clock, claim)
    if row is None:
        late.strayed(tx, clock, claim.origin, reason, seen.card_serial, seen.chip_serial)
        return
    if row.state in SETTLED:
        return
    card = _making(tx, clock, row, claim, seen)
    plastic.bind_if_possible(tx, clock, card, seen.card_serial, seen.chip_serial)
    to_uncertain(tx, clock, row, card, reason, claim.station)
    leases.finish(tx, claim.lease)


def to_uncertain(
    tx: Tx, clock: Clock, row: WorkOrderRow, card: PlasticRow, reason: str, actor: str
) -> None:
    """The one place where an uncertain card becomes an incident."""
    step(row, WorkState.UNCERTAIN, WORK_ALLOWED)
    incidents.begin(tx, clock, incidents.UNCERTAIN, row.id, reason, actor, batch=card.batch)
    events.append(
        tx, clock, "work_order.uncertain", row.id, actor=actor, station=card.station, reason=reason
    )


def queue_remake(tx: Tx, clock: Clock, row: WorkOrderRow) -> WorkOrderRow | None:
    """The next attempt. While its batch runs it joins that batch, first in the queue: the second person
    who released the batch released this person's card; later it waits for the next plan."""
    again = orders.remake(tx, clock, row)
    batch = None if row.batch is None else tx.get(BatchRow, row.batch, with_for_update=True)
    if again is None or batch is None or batch.state not in RUNS:
        return again
    again.batch = batch.number
    release(tx, clock, again, schedule.REMAKE)
    return again


def release(tx: Tx, clock: Clock, row: WorkOrderRow, rank: int) -> None:
    """READY to RELEASED and into its batch's queue."""
    if row.batch is None:
        raise AssertionError(f"work order {row.id} is released without a batch")
    step(row, WorkState.RELEASED, WORK_ALLOWED)
    leases.offer(tx, clock, row.batch, row.id, rank)


def by_id(tx: Tx, work_order: str, lock: bool = True) -> WorkOrderRow:
    """Raises NotFound W-WORK."""
    row = tx.get(WorkOrderRow, work_order, with_for_update=True if lock else None)
    if row is None:
        raise NotFound("W-WORK", "no such work order", work_order=work_order)
    return row


def _owned(tx: Tx, claim: Claim) -> WorkOrderRow | None:
    """The work order, locked, when the claim's token is its newest; None when the token is old."""
    row = by_id(tx, claim.work_order)
    return row if row.token == claim.token and row.station == claim.station else None


def _retaken(tx: Tx, clock: Clock, claim: Claim) -> WorkOrderRow | None:
    """A given-back work order that nobody took since, held again: its card must be found first (I6)."""
    row = by_id(tx, claim.work_order)
    lease = tx.get(leases.LeaseRow, (claim.batch, claim.work_order), with_for_update=True)
    if row.state != WorkState.RELEASED or row.token != claim.token or lease is None:
        return None
    lease.state, lease.holder, lease.expires_at = leases.HELD, claim.station, clock.now()
    step(row, WorkState.CLAIMED, WORK_ALLOWED)
    row.station, row.tray = claim.station, claim.tray
    return row


def _lost(claim: Claim) -> Rejected:
    return Rejected(
        "LEASE-LOST", f"{claim.batch}/{claim.work_order} token {claim.token} is no longer valid"
    )


def _making(tx: Tx, clock: Clock, row: WorkOrderRow, claim: Claim, seen: Seen) -> PlasticRow:
    """CLAIMED to MAKING and the plastics the feed took; the first of them is the card."""
    if row.state == WorkState.CLAIMED:
        step(row, WorkState.MAKING, WORK_ALLOWED)
        events.append(
            tx, clock, "work_order.making", row.id, actor=claim.operator, station=claim.station
        )
    found = [plastic.fed(tx, clock, claim.origin, feed) for feed in range(1, seen.fed + 1)]
    return found[0]
