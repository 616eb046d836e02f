"""A floor that is driven at random: stations, operators, power and network; checked after every step.

`FloorModel` is what hypothesis drives (tests/properties/test_floor_model.py). Every step may be refused; a
refusal is fine, a broken invariant is not. `bring_home` ends a run: power on, everything resolved, counted
and closed with no unexplained difference (I13).
"""

from typing import Any

from sqlalchemy import select

from core.db import Tx
from personalization import (
    balance,
    batches,
    counts,
    destruction,
    dispatch,
    incidents,
    journal_import,
    quality,
    receipt,
    stock,
)
from personalization.states import BatchState, ParcelState, Place, WorkState
from personalization.tables import (
    BatchRow,
    ParcelRow,
    PlasticRow,
    SpoilRow,
    StationRow,
    WorkOrderRow,
)
from registry.points.places import by_code
from registry.roles import Actor
from registry.settlers import clerk_at
from tests import floor_rules
from tests.floor_bench import (
    KEEPER,
    LOT,
    OPERATOR,
    OTHER_KEEPER,
    QC,
    SUPERVISOR,
)
from tests.floor_office import NAMES, Office, batches_in
from tests.floor_stations import (
    BAG,
    FEEDER,
    GONE,
    HOPPER,
    REJECT,
    Cut,
)

CLERK = clerk_at(by_code("001"))
GOOD_LOOK = dict.fromkeys(quality.Check, True)
MAX_ROUNDS = 60
OPEN = (WorkState.RELEASED, WorkState.CLAIMED, WorkState.MAKING, WorkState.UNCERTAIN)


class FloorModel(Office):
    """The office, and everything behind the machines: inspection, parcels, waste, counts, the end of a run."""

    # -- quality, parcels, waste -------------------------------------------------------------------------

    def inspect(self, number: int, good: bool, wrong_chip: bool = False) -> None:
        """Scan and look at one card in the hopper."""
        bodies = [body for body in self.world.at(HOPPER) if body.printed]
        if not bodies:
            return
        body = bodies[number % len(bodies)]
        chip = self.centre.next_chip() if wrong_chip else body.chip
        clock = self.centre.clock
        seen = self.do(lambda tx: quality.scan(tx, clock, f"R1{body.printed}", chip, QC))
        if seen is not None and seen.verdict == quality.LOOK:
            answers = {**GOOD_LOOK, quality.Check.SURFACE: good}
            seen = self.do(lambda tx: quality.look(tx, clock, body.printed, answers, QC))
        if seen is not None and seen.verdict == quality.FAIL:
            body.where, body.whole = REJECT, False

    def pack(self, number: int) -> None:
        bodies = [body for body in self.world.at(HOPPER) if body.printed]
        if not bodies:
            return
        body = bodies[number % len(bodies)]

        def act(tx: Tx) -> bool:
            parcel = dispatch.open_parcel(tx, self.centre.clock, "001", QC)
            return bool(dispatch.pack(tx, self.centre.clock, parcel, body.printed, QC))

        if self.do(act):
            body.where = BAG

    def send(self) -> None:
        """Seal and send the open bag."""
        parcel = self.pick(_parcels(ParcelState.OPEN, ParcelState.SEALED), 0)
        if parcel is None:
            return
        seals = self.seals.setdefault(parcel, (f"{parcel}-1", f"{parcel}-2"))
        clock = self.centre.clock
        self.do(lambda tx: dispatch.seal(tx, clock, parcel, seals, QC, KEEPER))
        self.do(lambda tx: dispatch.send(tx, clock, parcel, "courier", KEEPER))

    def receive(self, number: int, lose: bool, wrong_seal: bool) -> None:
        """A bag arrives, perhaps with a card lacking or another seal, and is scanned out."""
        parcel = self.pick(_parcels(ParcelState.WITH_COURIER), number)
        if parcel is None:
            return
        clock = self.centre.clock
        with self.centre.db.read() as tx:
            inside = [scan.card_serial for scan in dispatch.scans(tx, parcel, dispatch.PACK)]
        if lose:
            lost = inside.pop()
            next(b for b in self.world.bodies if b.printed == lost).where = GONE
        seals = ("x", "y") if wrong_seal else self.seals[parcel]
        self.do(lambda tx: receipt.receive(tx, clock, parcel, seals, len(inside), CLERK))
        for serial in inside:
            self.do(lambda tx, card=serial: receipt.unpack(tx, clock, parcel, card, CLERK))
        self.do(lambda tx: receipt.settle(tx, clock, parcel, CLERK))

    def end_dispute(self, number: int) -> None:
        parcel = self.pick(_parcels(ParcelState.DISPUTED), number)
        if parcel is not None:
            self.do(
                lambda tx: receipt.end_dispute(
                    tx, self.centre.clock, parcel, "looked for", SUPERVISOR, KEEPER
                )
            )

    def empty_boxes(self) -> None:
        """Two people scan every card out of every reject box that the books know."""
        with self.centre.db.read() as tx:
            found = tx.execute(
                select(SpoilRow.reject_box, PlasticRow.id)
                .join(PlasticRow, PlasticRow.id == SpoilRow.card)
                .where(PlasticRow.place == Place.IN_REJECT)
            ).all()
        boxes: dict[str, list[str]] = {}
        for box, card in found:
            boxes.setdefault(box, []).append(card)
        for box, cards in boxes.items():
            self.do(
                lambda tx, box=box, cards=cards: destruction.empty_box(
                    tx, self.centre.clock, box, cards, KEEPER, QC
                )
            )

    def destroy(self) -> None:
        """Punch what was counted, of batches that are closed."""
        with self.centre.db.read() as tx:
            cards = tx.scalars(
                select(PlasticRow.id)
                .join(BatchRow, BatchRow.number == PlasticRow.batch)
                .where(PlasticRow.place == Place.COUNTED, BatchRow.state == BatchState.CLOSED)
            ).all()
        if cards:
            self.do(
                lambda tx: destruction.destroy(
                    tx, self.centre.clock, list(cards), "punched", KEEPER, QC
                )
            )

    # -- the end of a batch ------------------------------------------------------------------------------

    def finish(self, number: int) -> None:
        batch = self.pick(batches_in(BatchState.RUNNING, BatchState.PAUSED), number)
        if batch is not None:
            self.do(lambda tx: batches.finish(tx, self.centre.clock, batch, OPERATOR))

    def count(self, number: int, slip: int) -> None:
        """Count what is really there, perhaps miscount; a second person counts again."""
        batch = self.pick(batches_in(BatchState.FINISHED), number)
        if batch is None or any(one.claim is not None for one in self.stations.values()):
            return
        with self.centre.db.read() as tx:
            real = {what: counts.expected_now(tx, batch, what) for what in counts.COUNTED_THINGS}
        real[counts.BLANKS] = len(self.world.at(FEEDER, batch=batch))
        for what in counts.COUNTED_THINGS:
            for person, wrong in ((KEEPER, slip), (OTHER_KEEPER, 0)):
                value = max(0, real[what] + wrong)
                self.do(
                    lambda tx, what=what, value=value, person=person: counts.count(
                        tx, self.centre.clock, batch, what, value, person
                    )
                )

    def sign_differences(self) -> None:
        """Two people explain what the counts found."""
        with self.centre.db.read() as tx:
            rows = [(row.id, row.kind, row.subject) for row in incidents.open_ones(tx)]
        for incident, kind, subject in rows:
            if kind == incidents.DIFFERENCE and subject.endswith(f" {counts.BLANKS}"):
                act = counts.explain_blanks
            elif kind in (incidents.DIFFERENCE, incidents.SEAL, incidents.LOST):
                act = incidents.sign
            else:
                continue
            self.do(
                lambda tx, act=act, incident=incident: act(
                    tx, self.centre.clock, incident, "explained", SUPERVISOR, KEEPER
                )
            )

    def close(self, number: int, closer: Actor) -> None:
        """Return what is left and close, perhaps by somebody who may not."""
        batch = self.pick(batches_in(BatchState.COUNTED), number)
        if batch is None:
            return
        bodies = self.world.at(FEEDER, batch=batch)
        if bodies and self.do(
            lambda tx: [
                stock.give_back_rest(
                    tx, self.centre.clock, batch, len(bodies), KEEPER, OTHER_KEEPER
                )
            ]
        ):
            self.world.bodies = [body for body in self.world.bodies if body not in bodies]
        self.do(lambda tx: batches.close(tx, self.centre.clock, batch, closer))

    def replay(self) -> None:
        """Every journal once more from its first line: nothing new (I11)."""
        for name, diary in self.centre.diaries.items():
            with self.centre.db.write() as tx:
                known = journal_import.mark(tx, name).seq
                journal_import.take_in(tx, self.centre.clock, diary.entries[:known])
                assert journal_import.mark(tx, name).seq == known, "I11"

    # -- the end of a run --------------------------------------------------------------------------------

    def bring_home(self) -> None:
        """Whatever happened: every batch that ran closes with no unexplained difference (I13)."""
        for station in self.stations.values():
            station.online = True
        for _ in range(MAX_ROUNDS):
            self._settle_stations()
            self.resolve(0)
            self.resolve_stray(0)
            for name in NAMES:
                self.clear(name)
            if self._quiet() and not self._work_left():
                break
        else:
            raise AssertionError(f"the floor does not come to rest: {self._unrest()}")
        with self.centre.db.read() as tx:
            open_ones = list(tx.scalars(batches_in(BatchState.RUNNING, BatchState.PAUSED)))
        for _ in open_ones:
            self.finish(0)
        for _ in range(MAX_ROUNDS):
            if self.pick(batches_in(BatchState.FINISHED, BatchState.COUNTED), 0) is None:
                break
            self.count(0, 0)
            self.sign_differences()
            self.close(0, SUPERVISOR)
        self.check()
        with self.centre.db.read() as tx:
            left = tx.scalars(
                batches_in(
                    BatchState.RUNNING, BatchState.PAUSED, BatchState.FINISHED, BatchState.COUNTED
                )
            ).all()
            assert not left, f"I13: {left} {self.refused}"
            assert balance.lot_balance(tx).difference == 0, "I13"
            floor_rules.physical(tx, self.world)
            floor_rules.told(tx)

    def _settle_stations(self) -> None:
        for station in self.stations.values():
            if not station.powered:
                station.wake()
            empty = False
            while station.claim is not None and station.next_step is not None and not empty:
                before = station.next_step, station.claim
                station.act(Cut.NONE)
                empty = (station.next_step, station.claim) == before
            if empty:
                station.give_up()  # another station may have blanks
                continue
            station.report()
            station.take()
        with self.centre.db.read() as tx:
            paused = list(tx.scalars(batches_in(BatchState.PAUSED)))
        for batch in paused:
            self.do(
                lambda tx, batch=batch: batches.resume(tx, self.centre.clock, batch, SUPERVISOR)
            )
        self._feed_hungry()

    def _feed_hungry(self) -> None:
        """Batches with work and no blanks get a tray."""
        with self.centre.db.read() as tx:
            numbers = list(tx.scalars(batches_in(BatchState.RUNNING, BatchState.RELEASED)))
            hungry = [
                number
                for number in numbers
                if batches.unfinished(tx, number)
                and not any(self._can_feed(tx, number, name) for name in NAMES)
            ]
        for number in hungry:
            with self.centre.db.read() as tx:
                names = [row.name for row in tx.scalars(select(StationRow))]
            tray = self.do(
                lambda tx, number=number, name=names[0]: stock.issue(
                    tx, self.centre.clock, number, name, LOT, 5, KEEPER, OTHER_KEEPER
                )
            )
            if tray is not None:
                self.world.load(self.centre, number, names[0], 5)

    def _can_feed(self, tx: Tx, number: str, name: str) -> bool:
        """Blanks that are there and in the books: a theft or a found blank leaves one without the other."""
        books = balance.station_balance(tx, name, number).left
        return books > 0 and bool(self.world.at(FEEDER, batch=number, station=name))

    def _unrest(self) -> str:
        """What is still open, for a failure's text."""
        with self.centre.db.read() as tx:
            works = tx.execute(
                select(WorkOrderRow.acc_no, WorkOrderRow.state, WorkOrderRow.batch)
            ).all()
            open_ones = [row for row in works if row.state in OPEN]
            stops = tx.execute(select(StationRow.name, StationRow.stop_reason)).all()
        held = [
            (one.name, one.claim and one.claim.work_order, one.next_step, one.doubt)
            for one in self.stations.values()
        ]
        return f"{open_ones} {stops} {held} {self.refused}"

    def _quiet(self) -> bool:
        return all(one.claim is None and one.powered for one in self.stations.values())

    def _work_left(self) -> bool:
        with self.centre.db.read() as tx:
            left = tx.scalars(select(WorkOrderRow.id).where(WorkOrderRow.state.in_(OPEN))).all()
            return bool(left)


def _parcels(*states: ParcelState) -> Any:
    return select(ParcelRow.number).where(ParcelRow.state.in_(states)).order_by(ParcelRow.number)
