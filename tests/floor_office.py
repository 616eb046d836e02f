"""The office of a floor that is driven at random: batches, blanks, silent stations, lost cards.

Every act may be refused; a refusal is remembered by its code, a broken invariant is not forgiven.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from core.db import Tx
from core.errors import EvidenceMismatch, NotAllowed, NotFound, Rejected
from personalization import (
    balance,
    batches,
    commands,
    floor,
    incidents,
    plastic,
    resolution,
    stock,
    work,
)
from personalization.plastic import Spoil
from personalization.states import BatchState, Place, SpoilCode, WorkState
from personalization.tables import (
    BatchRow,
    IncidentRow,
    PlasticRow,
    SpoilRow,
    TrayRow,
    WorkOrderRow,
)
from registry.roles import Actor
from tests import floor_rules
from tests.floor_bench import (
    KEEPER,
    LOT,
    OFFICER,
    OTHER_KEEPER,
    SECOND,
    SUPERVISOR,
    Centre,
    copied_centre,
)
from tests.floor_stations import (
    FEEDER,
    FLOOR,
    GONE,
    HOPPER,
    INSIDE,
    REJECT,
    Body,
    ModelStation,
    World,
)

NAMES = ("S1", "S2")
SUMS_EVERY = 5


class Office:
    """The centre, the world and what a run remembers."""

    def __init__(self, orders: int, centre: Centre | None = None) -> None:
        """`centre`: one of one's own, on a database without work so far; else a copy on SQLite."""
        self.centre = centre or copied_centre(people=orders, ordered=orders)
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
            return self._refusal(refusal.code)
        except EvidenceMismatch as refusal:
            if refusal.code != "W-JOURNAL":  # a broken chain is never a normal answer
                raise
            return self._refusal(refusal.code)

    def _refusal(self, code: str) -> None:
        self.refused[code] = self.refused.get(code, 0) + 1

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
        batch = self.pick(batches_in(BatchState.PLANNED), number)
        if batch is not None:
            self.do(lambda tx: batches.release(tx, self.centre.clock, batch, releaser))

    def issue(self, number: int, station: str, quantity: int, second: Actor) -> None:
        """Blanks to a station under a command id; the click is kept and may come again."""
        batch = self.pick(batches_in(BatchState.RELEASED, BatchState.RUNNING), number)
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
        batch = self.pick(batches_in(BatchState.RUNNING, BatchState.PAUSED), number)
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


def batches_in(*states: BatchState) -> Any:
    """Numbers of the batches in one of these states, for `Office.pick`."""
    return select(BatchRow.number).where(BatchRow.state.in_(states)).order_by(BatchRow.number)
