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
from datetime import datetime, timedelta

from sqlalchemy import select

from core import events, leases
from core.clock import Clock
from core.db import Tx
from core.errors import NotFound, Rejected
from core.leases import Lease
from personalization import floor, incidents, journal_import, orders, plastic, schedule, stock
from personalization.plastic import Spoil
from personalization.states import (
    BATCH_ALLOWED,
    IN_WORK,
    WASTE,
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
    tx: Tx, clock: Clock, station: str, operator: Actor, term: timedelta = TERM
) -> tuple[Claim, CardData] | None:
    """As `claim`, for a station that holds nothing, with the data that were compared with the release."""
    require(operator, Role.CARD_OPERATOR)
    floor.may_work(tx, station)
    stale = 0
    for batch, tray in schedule.loaded(tx, clock, station):
        while stale < MAX_STALE:
            lease = leases.claim(tx, clock, batch.number, station, term, reclaim_expired=False)
            if lease is None:
                break
            row = by_id(tx, lease.item)
            data = orders.unchanged(tx, row)
            if data is not None:
                return _take(tx, clock, row, batch, tray, operator, lease), data
            orders.renew_data(tx, clock, row)
            stale += 1
    return None


def _take(
    tx: Tx, clock: Clock, row: WorkOrderRow, batch: BatchRow, tray: TrayRow, operator: Actor,
    lease: Lease,
) -> Claim:  # fmt: skip
    step(row, WorkState.CLAIMED, WORK_ALLOWED)
    row.station, row.operator, row.tray = lease.holder, operator.name, tray.id
    row.token, row.claimed_at = lease.token, clock.now()
    if batch.state == BatchState.RELEASED:
        step(batch, BatchState.RUNNING, BATCH_ALLOWED)
        events.append(tx, clock, "batch.started", batch.number, actor=operator.name)
    if tx.get(BatchHandRow, (batch.number, operator.name, RAN)) is None:
        tx.add(BatchHandRow(batch=batch.number, person=operator.name, part=RAN))
    tx.flush()
    events.append(
        tx, clock, "work_order.claimed", row.id, actor=operator.name, station=lease.holder,
        token=lease.token, acc_no=row.acc_no,
    )  # fmt: skip
    return _claim(tx, row, lease.expires_at)


def _claim(tx: Tx, row: WorkOrderRow, expires_at: datetime) -> Claim:
    tray = tx.get(TrayRow, row.tray)
    if tray is None or row.batch is None or row.station is None or row.token is None:
        raise AssertionError(f"work order {row.id} is {row.state} without station, tray or token")
    lease = Lease(row.batch, row.id, row.station, row.token, expires_at)
    return Claim(
        row.id, row.acc_no, row.attempt, row.batch, row.station, row.operator or "", tray.id,
        tray.lot, row.template, row.profile, row.data_sha256 or "", lease,
    )  # fmt: skip


def held(tx: Tx, station: str) -> Claim | None:
    """The work order a station has claimed and not reported, for its restart."""
    row = tx.scalar(
        select(WorkOrderRow).where(
            WorkOrderRow.station == station,
            WorkOrderRow.state.in_((WorkState.CLAIMED, WorkState.MAKING)),
        )
    )
    if row is None:
        return None
    lease = tx.get(leases.LeaseRow, (row.batch, row.id))
    if lease is None or lease.expires_at is None:
        raise AssertionError(f"work order {row.id} is {row.state} without a lease")
    return _claim(tx, row, lease.expires_at)


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
        _late(tx, clock, claim, spoil, seen)
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
        _stray(tx, clock, claim, reason, seen)
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
    found = [plastic.fed(tx, clock, claim_origin(claim), feed) for feed in range(1, seen.fed + 1)]
    return found[0]


def claim_origin(claim: Claim) -> plastic.Origin:
    """Where a card of this claim comes from."""
    return plastic.Origin(
        claim.work_order, claim.token, claim.acc_no, claim.lot, claim.tray, claim.batch,
        claim.station,
    )  # fmt: skip


def _late(tx: Tx, clock: Clock, claim: Claim, spoil: Spoil, seen: Seen) -> None:
    """A station with an old token reports its card: waste, and nothing else changes (I12)."""
    card = plastic.fed(tx, clock, claim_origin(claim), 1)
    if card.place in WASTE or card.place == Place.DESTROYED:
        return
    note = plastic.bind_if_possible(tx, clock, card, seen.card_serial, seen.chip_serial)
    plastic.spoil(tx, clock, card, spoil, claim.operator, note)
    events.append(tx, clock, "card.late", claim.work_order, actor=claim.station, token=claim.token)


def _stray(tx: Tx, clock: Clock, claim: Claim, reason: str, seen: Seen) -> None:
    """A late station does not know where its card is: it stays in the count until two people say."""
    card = plastic.fed(tx, clock, claim_origin(claim), 1)
    if card.place not in IN_WORK:
        return
    plastic.bind_if_possible(tx, clock, card, seen.card_serial, seen.chip_serial)
    incidents.begin(tx, clock, incidents.LOST, card.id, reason, claim.station, batch=claim.batch)


def chip_known(tx: Tx, chip_serial: str) -> bool:
    """Whether this chip was ever in a machine: look before writing (CH6)."""
    return (
        tx.scalar(select(PlasticRow.id).where(PlasticRow.chip_serial == chip_serial.upper()))
        is not None
    )
