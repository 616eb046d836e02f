"""A floor that is driven at random: stations, operators, power and network; checked after every step.

`FloorModel` is what hypothesis drives (tests/properties/test_floor_model.py). Every step may be refused; a
refusal is fine, a broken invariant is not. `bring_home` ends a run: power on, everything resolved, counted
and closed with no unexplained difference (I13).
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from core.db import Tx
from core.errors import NotAllowed, NotFound, Rejected
from personalization import (
    balance,
    batches,
    commands,
    counts,
    destruction,
    dispatch,
    floor,
    incidents,
    journal_import,
    plastic,
    quality,
    receipt,
    resolution,
    stock,
    work,
)
from personalization.plastic import Spoil
from personalization.states import BatchState, ParcelState, Place, SpoilCode, WorkState
from personalization.tables import (
    BatchRow,
    IncidentRow,
    ParcelRow,
    PlasticRow,
    SpoilRow,
    StationRow,
    TrayRow,
    WorkOrderRow,
)
from registry.points.places import by_code
from registry.roles import Actor
from registry.settlers import clerk_at
from tests import floor_rules
from tests.floor_bench import (
    KEEPER,
    LOT,
    OFFICER,
    OPERATOR,
    OTHER_KEEPER,
    QC,
    SECOND,
    SUPERVISOR,
    Centre,
    copied_centre,
)
from tests.floor_stations import (
    BAG,
    FEEDER,
    FLOOR,
    GONE,
    HOPPER,
    INSIDE,
    REJECT,
    Body,
    Cut,
    ModelStation,
    World,
)

NAMES = ("S1", "S2")
CLERK = clerk_at(by_code("001"))
GOOD_LOOK = dict.fromkeys(quality.Check, True)
MAX_ROUNDS = 60
SUMS_EVERY = 5
OPEN = (WorkState.RELEASED, WorkState.CLAIMED, WorkState.MAKING, WorkState.UNCERTAIN)


class FloorModel:
    """The centre, the world and what a run remembers."""

    def __init__(self, orders: int) -> None:
        self.centre: Centre = copied_centre(people=orders, ordered=orders)
        self.world = World()
        self.centre.attach(*NAMES)
        self.stations = {name: ModelStation(self.centre, self.world, name) for name in NAMES}
        self.once_waste: set[str] = set()
        self.looks = 0
        self.seals: dict[str, tuple[str, str]] = {}
        self.clicks: list[tuple[str, Callable[[], Any], Any]] = []
        self.refused: dict[str, int] = {}
        self.secrets = [
            value
            for settler in self.centre.settled
            for value in (settler.resident.citizen_id, settler.resident.name)
        ]

    # -- helpers of a step -------------------------------------------------------------------------------

    def do(self, act: Callable[[Tx], Any]) -> Any:
        """One office act in a transaction; a refusal is remembered by its code and answered as None."""
        try:
            with self.centre.db.write() as tx:
                return act(tx)
        except (Rejected, NotAllowed, NotFound) as refusal:
            self.refused[refusal.code] = self.refused.get(refusal.code, 0) + 1
            return None

    def pick(self, query: Any, number: int) -> Any:
        """One of the rows a query gives, by a random number; None of none."""
        with self.centre.db.read() as tx:
            rows = tx.scalars(query).all()
        return rows[number % len(rows)] if rows else None

    def check(self) -> None:
        """All invariants now; the balances at every fifth look."""
        self.looks += 1
        with self.centre.db.read() as tx:
            floor_rules.check_all(
                tx, self.world, self.once_waste, self.secrets, sums=self.looks % SUMS_EVERY == 0
            )

    # -- the office --------------------------------------------------------------------------------------

    def plan(self, limit: int, releaser: Actor) -> None:
        """Plan a batch, release it by somebody (perhaps the planner: refused)."""
        clock = self.centre.clock
        number = self.do(lambda tx: batches.plan(tx, clock, OFFICER, limit=limit))
        if number is not None:
            self.do(lambda tx: batches.release(tx, clock, number, releaser))

    def release(self, number: int, releaser: Actor) -> None:
        batch = self.pick(_batches(BatchState.PLANNED), number)
        if batch is not None:
            self.do(lambda tx: batches.release(tx, self.centre.clock, batch, releaser))

    def issue(self, number: int, station: str, quantity: int, second: Actor) -> None:
        """Blanks to a station under a command id; the click is kept and may come again."""
        batch = self.pick(_batches(BatchState.RELEASED, BatchState.RUNNING), number)
        if batch is None:
            return
        click = f"click-{len(self.clicks)}"
        values = {"batch": batch, "station": station, "quantity": quantity}

        def give() -> Any:
            return self.do(
                lambda tx: commands.once(
                    tx, self.centre.clock, click, "stock.issue", values,
                    lambda: {"tray": stock.issue(
                        tx, self.centre.clock, batch, station, LOT, quantity, KEEPER, second
                    )},
                )
            )  # fmt: skip

        answer = give()
        if answer is not None:
            self.world.load(self.centre, batch, station, quantity)
            self.clicks.append((click, give, answer))

    def double_click(self, number: int) -> None:
        """An old command again: the same answer, nothing happens."""
        if self.clicks:
            _, again, answer = self.clicks[number % len(self.clicks)]
            assert again() == answer, "a double click had a second effect"

    def give_back(self, number: int) -> None:
        """Blanks of a tray, as many as really lie there, go back to the vault."""
        tray = self.pick(select(TrayRow.id).order_by(TrayRow.id), number)
        if tray is not None:
            self._return(tray)

    def _return(self, tray: str) -> None:
        with self.centre.db.read() as tx:
            row = tx.get(TrayRow, tray)
            assert row is not None
            wanted, batch, station = balance.left(tx, tray), row.batch, row.station
        bodies = self.world.at(FEEDER, batch=batch, station=station)[:wanted]
        if not bodies or self.stations[station].claim is not None:
            return
        if self.do(
            lambda tx: [
                stock.give_back(tx, self.centre.clock, tray, len(bodies), KEEPER, OTHER_KEEPER)
            ]
        ):
            self.world.bodies = [body for body in self.world.bodies if body not in bodies]

    def pause_or_resume(self, number: int) -> None:
        batch = self.pick(_batches(BatchState.RUNNING, BatchState.PAUSED), number)
        if batch is None:
            return
        with self.centre.db.read() as tx:
            running = batches.get(tx, batch, lock=False).state == BatchState.RUNNING
        step = batches.pause if running else batches.resume
        self.do(lambda tx: step(tx, self.centre.clock, batch, SUPERVISOR))

    def steal_blank(self, number: int) -> None:
        """A blank disappears from a feeder: only a count can find out."""
        blanks = self.world.at(FEEDER)
        if blanks:
            blanks[number % len(blanks)].where = GONE

    def clear(self, station: str) -> None:
        self.do(lambda tx: floor.clear(tx, self.centre.clock, station, SUPERVISOR))

    # -- uncertain cards and silent stations -------------------------------------------------------------

    def declare_lost(self, name: str, journal_gone: bool) -> None:
        """Time passes and two people give a station up."""
        with self.centre.db.read() as tx:
            held = work.held(tx, name)
        if held is None:
            return
        self.centre.clock.advance(work.TERM + timedelta(seconds=1))
        if not journal_gone:
            self.do(lambda tx: self.centre.import_journal(tx, name))
        self.do(
            lambda tx: resolution.declare_lost(
                tx, self.centre.clock, held.work_order, SUPERVISOR, SECOND,
                journal_gone=journal_gone,
            )
        )  # fmt: skip

    def resolve(self, number: int) -> None:
        """Two people look for an uncertain card and say what they found."""
        row = self.pick(
            select(WorkOrderRow.id).where(WorkOrderRow.state == WorkState.UNCERTAIN), number
        )
        if row is None:
            return
        with self.centre.db.write() as tx:
            card = next(one for one in plastic.of_work_order(tx, row) if one.feed == 1)
            chip, station, place = card.chip_serial, card.station, card.place
        body = next((one for one in self.world.bodies if chip and one.chip == chip), None)
        if (
            chip is None
        ):  # nobody knows its chip: an inked card of this station in no record, or a blank
            body = self._stray_body(station)
        clock = self.centre.clock
        if body is None or body.where in (GONE, FEEDER):
            if place == Place.FED and body is not None:
                return  # it was never fed: the count will show it
            self.do(lambda tx: resolution.not_found(tx, clock, row, SUPERVISOR, KEEPER))
            return
        good = body.where == HOPPER and body.whole and body.printed != ""
        found = good and self.do(
            lambda tx: resolution.found_good(
                tx, clock, row, body.chip, body.printed, SUPERVISOR, KEEPER
            ) or True
        )  # fmt: skip
        if not found:
            waste = Spoil(SpoilCode.UN1, "search", "search-box", body=body.chip)
            if self.do(
                lambda tx: [resolution.found_bad(tx, clock, row, waste, SUPERVISOR, KEEPER)]
            ):
                body.where, body.whole = REJECT, False

    def _stray_body(self, station: str) -> Body | None:
        with self.centre.db.read() as tx:
            known = set(tx.scalars(select(PlasticRow.chip_serial)))
            bodies = set(tx.scalars(select(SpoilRow.body)))
        for where in (INSIDE, HOPPER, REJECT, FLOOR):
            for body in self.world.at(where, station=station):
                if body.chip not in known | bodies:
                    return body
        return None

    def resolve_stray(self, number: int) -> None:
        """A lost card's incident: it is found as waste, or stays missing."""
        row = self.pick(
            select(IncidentRow.subject).where(
                IncidentRow.kind == incidents.LOST, IncidentRow.closed_at.is_(None)
            ),
            number,
        )
        if row is None:
            return
        self.do(
            lambda tx: resolution.stray_found(tx, self.centre.clock, row, None, SUPERVISOR, KEEPER)
        )

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
        batch = self.pick(_batches(BatchState.RUNNING, BatchState.PAUSED), number)
        if batch is not None:
            self.do(lambda tx: batches.finish(tx, self.centre.clock, batch, OPERATOR))

    def count(self, number: int, slip: int) -> None:
        """Count what is really there, perhaps miscount; a second person counts again."""
        batch = self.pick(_batches(BatchState.FINISHED), number)
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
        batch = self.pick(_batches(BatchState.COUNTED), number)
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
                known = journal_import.last_seq(tx, name)
                journal_import.take_in(tx, self.centre.clock, diary.entries[:known])
                assert journal_import.last_seq(tx, name) == known, "I11"

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
            open_ones = list(tx.scalars(_batches(BatchState.RUNNING, BatchState.PAUSED)))
        for _ in open_ones:
            self.finish(0)
        for _ in range(MAX_ROUNDS):
            if self.pick(_batches(BatchState.FINISHED, BatchState.COUNTED), 0) is None:
                break
            self.count(0, 0)
            self.sign_differences()
            self.close(0, SUPERVISOR)
        self.check()
        with self.centre.db.read() as tx:
            left = tx.scalars(
                _batches(
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
            paused = list(tx.scalars(_batches(BatchState.PAUSED)))
        for batch in paused:
            self.do(
                lambda tx, batch=batch: batches.resume(tx, self.centre.clock, batch, SUPERVISOR)
            )
        self._feed_hungry()

    def _feed_hungry(self) -> None:
        """Batches with work and no blanks get a tray."""
        with self.centre.db.read() as tx:
            numbers = list(tx.scalars(_batches(BatchState.RUNNING, BatchState.RELEASED)))
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


def _batches(*states: BatchState) -> Any:
    return select(BatchRow.number).where(BatchRow.state.in_(states)).order_by(BatchRow.number)


def _parcels(*states: ParcelState) -> Any:
    return select(ParcelRow.number).where(ParcelRow.state.in_(states)).order_by(ParcelRow.number)
