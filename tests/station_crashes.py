"""Kill a station at every point of one card's cycle, start it again, and see that everything is accounted for.

A point lies before and after each journal line, device act and commit (and, where asked, each APDU). Run
``python -m tests.station_crashes [--apdus N]`` for the whole table; tests play a part of it.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import select

from cardos.client import CardSession
from core.db import Database
from personalization import batches, chip, counts, resolution
from personalization.plastic import Spoil
from personalization.states import GOOD, SpoilCode, WorkState
from personalization.station_desk import Told
from personalization.station_outcome import End, Outcome
from personalization.tables import PlasticRow, SpoilRow, TrayRow, WorkOrderRow
from printer.port import Panel, Side
from printer.sim.plastic import SimCard
from registry.residence.tables import CardRow
from tests.floor_bench import KEEPER, OTHER_KEEPER, SECOND, SUPERVISOR
from tests.station_floor import Bay, chip_of, floor

INKED = {Side.FRONT: set(Panel), Side.BACK: {Panel.BLACK}}
TRAY = 3


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Reaper:
    """Counts points and kills at one of them; 0 never kills. `apdus`: every so many APDUs are a point."""

    at: int = 0
    apdus: int = 0
    count: int = 0
    cycle: int = 0  # points of the whole cycle, once it has ended
    sent: int = 0
    dead: bool = False
    names: list[str] = field(default_factory=list)

    def point(self, name: str) -> None:
        if self.dead:
            raise Killed(name)
        self.count += 1
        self.names.append(name)
        if self.count == self.at:
            self.dead = True
            raise Killed(name)

    def apdu(self, when: str) -> None:
        if self.dead:
            raise Killed(when)
        if self.apdus and self.sent % self.apdus == 0:
            self.point(f"{when} APDU")


class Mortal:
    """Wraps an object: named methods are points, before and after."""

    def __init__(self, inner: Any, reaper: Reaper, label: str, *methods: str) -> None:
        self._inner, self._reaper, self._label, self._methods = inner, reaper, label, methods

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._methods:
            return found

        def call(*args: Any, **options: Any) -> Any:
            label = f"{self._label}.{name}"
            if self._label == "journal":
                label = f"{args[0].value} {name}"
            self._reaper.point(f"before {label}")
            result = found(*args, **options)
            self._reaper.point(f"after {label}")
            return result

        return call


class MortalReader(Mortal):
    """A reader whose channels count APDUs."""

    def connect(self) -> Any:
        self._reaper.point("before reader.connect")
        return MortalChannel(self._inner.connect(), self._reaper)


class MortalChannel:
    """One powered chip."""

    def __init__(self, inner: Any, reaper: Reaper) -> None:
        self._inner, self._reaper = inner, reaper

    @property
    def atr(self) -> bytes:
        return bytes(self._inner.atr)

    def transmit(self, apdu: bytes) -> bytes:
        self._reaper.sent += 1
        self._reaper.apdu("before")
        answer = bytes(self._inner.transmit(apdu))
        self._reaper.apdu("after")
        return answer

    def reset(self) -> bytes:
        return bytes(self._inner.reset())

    def close(self) -> None:
        self._inner.close()


class MortalDatabase:
    """Each commit has a point before and one after it."""

    def __init__(self, inner: Database, reaper: Reaper) -> None:
        self._inner, self._reaper = inner, reaper

    @contextmanager
    def write(self) -> Iterator[Any]:
        if self._reaper.dead:
            raise Killed("commit")
        with self._inner.write() as tx:
            yield tx
            self._reaper.point("before commit")
        self._reaper.point("after commit")

    def read(self) -> Any:
        return self._inner.read()


class MortalPrinter(Mortal):
    """Each panel is an act of its own."""

    def print(self, panels: Any, on_panel: Any = lambda _panel: None) -> None:
        self._reaper.point("before printer.print")

        def done(panel: Panel) -> None:
            self._reaper.point(f"after panel {panel.value}")
            on_panel(panel)

        self._inner.print(panels, done)
        self._reaper.point("after printer.print")


def start_mortal(bay: Bay, reaper: Reaper) -> None:
    """The station process, with a reaper between it and everything it touches."""
    bay.start(
        journal=lambda inner: Mortal(inner, reaper, "journal", "intent", "result"),
        printer=lambda inner: MortalPrinter(inner, reaper, "printer", "feed", "load", "eject"),
        reader=lambda inner: MortalReader(inner, reaper, "reader", "wait"),
        db=lambda inner: MortalDatabase(inner, reaper),
    )


# -- the operator and the two who look for cards ---------------------------------------------------------


def find(bay: Bay, card: PlasticRow) -> tuple[SimCard | None, str]:
    """Where the plastic of a row lies: hopper, reject box, hand. Unbound blanks are known by elimination."""
    machine = bay.simulator.machine
    piles = {"hopper": machine.hopper, "reject": machine.reject_box}
    for pile, cards in piles.items():
        for plastic in cards:
            if card.chip_serial is not None and plastic.chip_serial == card.chip_serial:
                return plastic, pile
    return (machine.reject_box[-1], "reject") if machine.reject_box else (None, "")


def whole(bay: Bay, plastic: SimCard, card_serial: str) -> bool:
    """Whether a card is what a good card is: closed chip with this serial, every panel once."""
    session = CardSession(chip_of(plastic))
    chip_of(plastic).reset()
    if chip.card_serial_on(session) != card_serial:
        return False
    inked = {side: set(face.inked()) for side, face in plastic.faces.items()}
    return inked == INKED and plastic.panels_used == sum(map(len, INKED.values()))


def helper(bay: Bay, outcome: Outcome) -> None:
    """An operator and two supervisors: they look at the machine and do what the sentence says."""
    if outcome.end is End.UNCERTAIN or outcome.code == "P-U04":
        search(bay, outcome.work_order)
    elif outcome.end is End.NEEDS_PERSON:
        raise AssertionError(f"unexpected: {outcome}")


def search(bay: Bay, work_order: str) -> None:
    city = bay.centre
    with city.db.write() as tx:
        row = tx.get(WorkOrderRow, work_order)
        assert row is not None
        if row.state != WorkState.UNCERTAIN:
            return
        card = tx.scalars(
            select(PlasticRow).where(
                PlasticRow.work_order == work_order, PlasticRow.token == row.token
            )
        ).one()
        plastic, pile = find(bay, card)
        good = (
            pile == "hopper" and card.card_serial and whole(bay, plastic, card.card_serial)  # type: ignore[arg-type]
        )
        if good:
            assert card.chip_serial is not None
            assert card.card_serial is not None
            resolution.found_good(
                tx, city.clock, work_order, card.chip_serial, card.card_serial, SUPERVISOR, SECOND
            )
        elif plastic is not None:
            spoil = Spoil(SpoilCode.UN1, "search", f"{bay.name}-reject", witness=SECOND.name)
            resolution.found_bad(tx, city.clock, work_order, spoil, SUPERVISOR, SECOND)
        else:
            resolution.not_found(tx, city.clock, work_order, SUPERVISOR, SECOND)


# -- what must hold afterwards -----------------------------------------------------------------------------


def violations(bay: Bay, fed: int) -> list[str]:
    """I1 to I7, I20 and the batch's equation, from the database and from the plastic itself."""
    city, machine, found = bay.centre, bay.simulator.machine, []
    with city.db.read() as tx:
        cards = tx.scalars(select(PlasticRow)).all()
        spoiled = set(tx.scalars(select(SpoilRow.card)))
        live = Counter(row.permit_no for row in tx.scalars(select(CardRow)) if row.state != "VOID")
        tx.expunge_all()
    if len(cards) != fed:
        found.append(f"{fed} blanks were fed, {len(cards)} are on the books")
    good = [card for card in cards if card.place in GOOD]
    if any(count != 1 for count in live.values()) or len(good) != 1:
        found.append(f"{len(good)} good cards, live {dict(live)}")
    in_hopper = {plastic.chip_serial: plastic for plastic in machine.hopper}
    for card in good:
        plastic = in_hopper.pop(card.chip_serial or "", None)
        if plastic is None or not whole(bay, plastic, card.card_serial or ""):
            found.append(f"good card {card.card_serial} is not in the hopper or not whole")
    unexplained = [card for card in cards if card.place not in GOOD and card.id not in spoiled]
    found += [f"card {card.id} is {card.place} without a reason" for card in unexplained]
    if in_hopper:
        found.append(f"{len(in_hopper)} cards in the hopper are on nobody's books")
    return found


def close_batch(bay: Bay) -> list[str]:
    """Finish, count blindly, return the blanks, close; what refuses is a violation."""
    from personalization import stock

    city = bay.centre
    assert bay.station is not None
    bay.station._desk.say(Told("READY"))
    with city.db.write() as tx:
        tray = tx.scalars(select(TrayRow)).one()
        batch = tray.batch
        batches.finish(tx, city.clock, batch, SUPERVISOR)
        machine = bay.simulator.machine
        piles = {
            counts.GOOD: machine.hopper, counts.SPOILED: machine.reject_box,
            counts.BLANKS: machine.feeder,
        }  # fmt: skip
        for what in counts.COUNTED_THINGS:
            counted = counts.count(tx, city.clock, batch, what, len(piles[what]), KEEPER)
            if counted.verdict != counts.AGREES:
                return [f"count of {what}: {counted.verdict}"]
        stock.give_back(tx, city.clock, tray.id, len(machine.feeder), KEEPER, OTHER_KEEPER)
        sums = batches.close(tx, city.clock, batch, KEEPER)
    return [] if sums.difference == 0 else [f"difference {sums.difference}"]


# -- one case, and all of them --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One crash: where, how it went on, what was wrong afterwards (nothing)."""

    point: int
    name: str
    ends: tuple[str, ...]
    wrong: tuple[str, ...]


def play(point: int, apdus: int = 0) -> tuple[Case, Reaper]:
    """Crash at `point` (0: not at all), restart, bring the order to its end, count everything."""
    reaper = Reaper(point, apdus)
    memory = Path("/dev/shm")  # thousands of flushes: their order is what counts, not the disk
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        folder = Path(place)
        with floor(folder, people=1, tray=TRAY, out=None) as (bay,):
            start_mortal(bay, reaper)
            ends: list[str] = []
            try:
                outcomes = bay.turns(helper)
            except Killed:
                bay.die()
                bay.start()
                ends.append("killed")
                outcomes = bay.turns(helper)
            ends += [outcome.end.value for outcome in outcomes]
            reaper.at, reaper.cycle = 0, reaper.count
            fed = TRAY - len(bay.simulator.machine.feeder)
            wrong = [*violations(bay, fed), *close_batch(bay)]
    name = reaper.names[point - 1] if 0 < point <= len(reaper.names) else "none"
    return Case(point, name, tuple(ends), tuple(wrong)), reaper


def main() -> int:
    apdus = int(sys.argv[sys.argv.index("--apdus") + 1]) if "--apdus" in sys.argv else 0
    whole_cycle, reaper = play(0, apdus)
    sys.stdout.write(f"crash points in one cycle: {reaper.cycle}\n")
    bad = 0
    for point in range(1, reaper.cycle + 1):
        case, _reaper = play(point, apdus)
        bad += bool(case.wrong)
        wrong = "; ".join(case.wrong) or "ok"
        sys.stdout.write(f"{point:4d} {case.name:28s} {' '.join(case.ends):44s} {wrong}\n")
        sys.stdout.flush()
    sys.stdout.write(f"crash points tried {reaper.cycle}, violations {bad}\n")
    return 1 if bad or whole_cycle.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
