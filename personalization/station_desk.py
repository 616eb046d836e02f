"""The station's short transactions: take work, say where the card is, report its end (architecture.md 10).

Nothing here touches a device, and nothing that touches a device runs inside one of these. Everything may be
repeated. While the database is away all calls raise Unavailable; the journal remembers meanwhile.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import bindparam, select

from core import events
from core.clock import Clock
from core.db import Database, Tx
from core.errors import Rejected
from core.leases import FREE, LeaseRow
from core.rows import Statement
from personalization import floor, journal_import, plastic, serials, work
from personalization.plastic import Spoil
from personalization.station_journal import StationJournal
from personalization.tables import TrayRow, WorkOrderRow
from personalization.work import Claim, Made, Seen
from printer.port import PrinterState
from registry.residence import cards
from registry.residence.cards import CardData
from registry.roles import Actor

FRESH = timedelta(seconds=5)  # a claim this young needs no second look before the feed
LOST = frozenset({"LEASE-LOST", "W-LEASE"})
JOURNAL_PAGE = 5_000
LOOK_AHEAD = 64

_WAITING = Statement(
    select(WorkOrderRow.acc_no, WorkOrderRow.data_sha256)
    .join(LeaseRow, LeaseRow.item == WorkOrderRow.id)
    .join(TrayRow, TrayRow.batch == LeaseRow.queue)
    .where(TrayRow.station == bindparam("called"), LeaseRow.state == FREE)
    .order_by(LeaseRow.rank, LeaseRow.offered_at, LeaseRow.item)
    .limit(LOOK_AHEAD)
)


@dataclass(frozen=True, repr=False)
class Task:
    """A claimed work order, the card's data, and the card serials this station may still give out."""

    claim: Claim
    data: CardData
    serials: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """What the board shows of a station."""

    state: str
    sentence: str = ""
    printer: PrinterState | None = None


class Desk:
    """One station's side of the database."""

    def __init__(
        self, db: Database, clock: Clock, journal: StationJournal, operator: Actor
    ) -> None:
        self._db = db
        self._clock = clock
        self._journal = journal
        self.operator = operator
        self._ahead: CardData | None = None
        self._taken: Claim | None = None

    @property
    def station(self) -> str:
        """Whose desk it is."""
        return self._journal.station

    def attach(self, printer_serial: str, reader: str) -> None:
        """Enter the station on the floor, with its machine and its reader."""
        with self._db.write() as tx:
            floor.attach(
                tx, self._clock, self.station, self.operator,
                printer_serial=printer_serial, reader=reader,
            )  # fmt: skip

    def take(self) -> Task | None:
        """The next work order, or the one still held; None when there is none.

        Raises Rejected W-STOPPED, W-DRAINING.
        """
        with self._db.write() as tx:
            claim = work.held(tx, self.station)
            if claim is not None:
                data = cards.card_data(tx, claim.acc_no)
            else:
                found = work.next_card(
                    tx, self._clock, self.station, self.operator, opened=self._ahead
                )
                if found is None:
                    return None
                claim, data = found
                self._announce(tx)
                self._taken = claim
            block = serials.lease_block(tx, self._clock, self.station, claim.lot)
            return Task(claim, data, tuple(block))

    def next_up(self, drawn: Collection[str]) -> CardData | None:
        """The first waiting card for this station's trays that nobody has drawn yet; a look, not a claim."""
        with self._db.read() as tx:
            for found in _WAITING.rows(tx, called=self.station):
                if found.data_sha256 not in drawn:
                    self._ahead = cards.card_data(tx, found.acc_no)
                    return self._ahead
        return None

    def resume(self, claim: Claim) -> Task | None:
        """The data of a card that a crash interrupted; None when the work order is no longer ours."""
        with self._db.write() as tx:
            held = work.held(tx, self.station)
            if held is None or (held.work_order, held.token) != (claim.work_order, claim.token):
                return None
            renewed = work.renew(tx, self._clock, held)
            block = serials.lease_block(tx, self._clock, self.station, claim.lot)
            return Task(renewed, cards.card_data(tx, claim.acc_no), tuple(block))

    def may_feed(self, claim: Claim) -> Claim | None:
        """The last look before a blank is spent: as `still_ours`, and nothing holds the station back.

        What `take` found less than five seconds ago is not asked again. Raises Rejected W-STOPPED, W-DRAINING.
        """
        age = work.TERM - (claim.lease.expires_at - self._clock.now())
        if claim is self._taken and age < FRESH:
            return claim
        return self.still_ours(claim, before_feed=True)

    def still_ours(self, claim: Claim, before_feed: bool = False) -> Claim | None:
        """Renew the lease; None when another holds it now."""
        try:
            with self._db.write() as tx:
                if before_feed:
                    floor.may_work(tx, self.station)
                self._announce(tx)
                return work.renew(tx, self._clock, claim)
        except Rejected as refusal:
            if refusal.code in LOST:
                return None
            raise

    def fed(self, claim: Claim, chip_serial: str) -> bool:
        """A blank is consumed; whether its chip was never seen before (CH6)."""
        with self._db.write() as tx:
            known = plastic.chip_known(tx, chip_serial)
            work.fed(tx, self._clock, claim)
            self._say(tx, Told("ENCODING"))
            return not known

    def say(self, told: Told) -> None:
        """One word and one sentence for the board, and the journal lines not seen yet."""
        with self._db.write() as tx:
            self._import(tx)
            self._say(tx, told)

    def _say(self, tx: Tx, told: Told) -> None:
        printer = told.printer
        floor.say(
            tx, self._clock, self.station, told.state, told.sentence,
            ribbon=None if printer is None else printer.ribbon,
            ribbon_left=None if printer is None else printer.ribbon_left,
        )  # fmt: skip

    def unfed(self, claim: Claim) -> None:
        """Nothing was fed: the work order is free for others. One that is not ours any more stays as it is."""
        try:
            with self._db.write() as tx:
                self._import(tx)
                work.unfed(tx, self._clock, claim)
        except Rejected as refusal:
            if refusal.code not in LOST:
                raise

    def made(self, claim: Claim, made: Made, told: Told) -> None:
        """A good card lies in the hopper. Rejected LEASE-LOST, W-CHIP-KNOWN, W-SERIAL: it is waste after all."""
        with self._db.write() as tx:
            self._import(tx)
            work.made(tx, self._clock, claim, made)
            self._say(tx, told)

    def failed(self, claim: Claim, spoil: Spoil, seen: Seen, told: Told) -> None:
        """The card is waste; the remake is queued."""
        with self._db.write() as tx:
            self._import(tx)
            work.failed(tx, self._clock, claim, spoil, seen)
            self._say(tx, told)

    def uncertain(self, claim: Claim, reason: str, seen: Seen) -> None:
        """Two people have to look for the card. One whose work order is not ours any more is entered as waste."""
        try:
            with self._db.write() as tx:
                self._import(tx)
                work.uncertain(tx, self._clock, claim, reason, seen)
        except Rejected as refusal:
            if refusal.code not in LOST:
                raise

    def is_resolved(self, claim: Claim) -> bool:
        """Whether the two people have decided about an uncertain card."""
        with self._db.read() as tx:
            return work.by_id(tx, claim.work_order).state != "UNCERTAIN"

    def stop(self, reason: str, reader: str = "") -> None:
        """Hold this station back until a supervisor clears it, and the one that owns `reader` too."""
        with self._db.write() as tx:
            for row in floor.all_stations(tx):
                if row.name == self.station or (reader and row.reader == reader):
                    floor.stop(tx, self._clock, row.name, reason, self.station)

    def foreign_card(self, position: str) -> None:
        """A card was inside that no journal line explains: the security event."""
        with self._db.write() as tx:
            self._import(tx)
            events.append(
                tx, self._clock, "station.foreign_card", self.station, actor=self.station,
                position=position,
            )  # fmt: skip

    def _announce(self, tx: Tx) -> None:
        """A line follows, of what is done under a fresh claim; it is read before anybody gives the claim away."""
        floor.announce(tx, self._clock, self.station, self._journal.last_seq + 1)

    def _import(self, tx: Tx) -> None:
        known = journal_import.mark(tx, self.station)
        lines = self._journal.after(known.seq)
        for start in range(0, len(lines), JOURNAL_PAGE):
            page = lines[start : start + JOURNAL_PAGE]
            known = journal_import.take_in(tx, self._clock, page, known)
