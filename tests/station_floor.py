"""A floor of real stations for tests: centre, chips, readers, printers on their lines, an operator's hands."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cardos.card import Card
from cardos.slot import Slot
from cardos.vpcd import VirtualSlot
from core.clock import FixedClock
from core.db import Database
from personalization import artwork
from personalization.station import Station
from personalization.station_cycle import SEAT_SECONDS, Equipment, Neighbourhood
from personalization.station_desk import Desk
from personalization.station_journal import StationJournal
from personalization.station_outcome import End, Outcome
from printer.commands import EvolisPrinter
from printer.sim.control import PrinterSimulator
from printer.sim.plastic import SimCard
from printer.timing import INSTANT
from tests.floor_bench import LOT, OPERATOR, START, Centre, centre
from tests.station_bench import ClearKeys, blank
from tests.vault_bench import with_vault

TEMPLATE = artwork.released()
RIBBON = TEMPLATE.ribbon
MAX_TURNS = 400


@dataclass
class Bay:
    """One station with everything around it."""

    centre: Centre
    name: str
    folder: Path
    slot: Any
    reader: Any
    simulator: PrinterSimulator
    loader: ThreadPoolExecutor
    others: list[Any] = field(default_factory=list)
    neighbourhood: Neighbourhood = field(default_factory=Neighbourhood)
    keys: Any = field(default_factory=ClearKeys)
    station: Station | None = None
    journal: StationJournal | None = None
    printer: EvolisPrinter | None = None

    def start(self, **wrap: Callable[[Any], Any]) -> Station:
        """A station process comes up; `wrap` may put something between it and its `printer`, `reader`, ..."""
        put = {
            **dict.fromkeys(("printer", "reader", "journal", "db", "keys", "clock"), _same),
            **wrap,
        }
        self.journal = StationJournal(self.journal_path, self.name, self.centre.clock)
        self.printer = EvolisPrinter(
            self.simulator.url, self.centre.clock, timing=INSTANT, ribbon=RIBBON
        )
        journal = put["journal"](self.journal)
        equipment = Equipment(
            printer=put["printer"](self.printer),
            reader=put["reader"](self.reader),
            journal=journal,
            keys=put["keys"](self.keys),
            clock=put["clock"](self.centre.clock),
            loader=self.loader,
            others=tuple(self.others),
            clean=self.printer.clean,
            neighbourhood=self.neighbourhood,
            seat_seconds=0.2 if isinstance(self.slot, Slot) else SEAT_SECONDS,
        )
        desk = Desk(put["db"](self.centre.db), self.centre.clock, journal, OPERATOR)
        self.station = Station(equipment, desk, TEMPLATE)
        return self.station

    @property
    def journal_path(self) -> Path:
        return self.folder / f"{self.name}.jsonl"

    def die(self) -> None:
        """kill -9: the process is gone, what it held is let go by the system."""
        if self.journal is not None:
            self.journal.close()
        if self.printer is not None:
            self.printer.close()
        if isinstance(self.slot, Slot):
            self.slot._user = None  # a dead process powers no chip
        self.station = None

    def load(self, count: int, first: int = 1, lot: str = LOT) -> list[SimCard]:
        """Blanks into the feeder."""
        cards = []
        for number in range(first, first + count):
            serial = self.chip_serial(number)
            card = blank(serial, lot)
            cards.append(SimCard(self.card_id(number), lot, card, serial.hex().upper()))
        self.simulator.load_cards(cards)
        return cards

    def chip_serial(self, number: int) -> bytes:
        return self.name.encode().rjust(4, b"\x00")[-4:] + number.to_bytes(4, "big")

    def card_id(self, number: int) -> str:
        return f"{self.name}-B{number:04d}"

    def turns(
        self,
        help_out: Callable[["Bay", Outcome], None],
        limit: int = MAX_TURNS,
        resume: bool = False,
    ) -> list[Outcome]:
        """Run until idle or stopped; an operator helps where a person is needed.

        `resume`: a supervisor clears a stopped station, and it goes on.
        """
        assert self.station is not None
        outcomes = []
        for _ in range(limit):
            outcome = self.station.run_once()
            outcomes.append(outcome)
            if outcome.end is End.IDLE or (outcome.end is End.STOPPED and not resume):
                return outcomes
            if outcome.end not in (End.MADE, End.SPOILED):
                help_out(self, outcome)
        raise AssertionError(f"no end after {limit} turns: {outcomes[-3:]}")


def _same(thing: Any) -> Any:
    return thing


def nobody(_bay: Bay, outcome: Outcome) -> None:
    """No operator is there: nothing may need one."""
    raise AssertionError(outcome)


@contextmanager
def floor(
    folder: Path, db: Database | None = None, *, stations: int = 1, people: int = 2, tray: int = 6,
    orders: int | None = None, keys: Any = None,
    places: Sequence[tuple[Any, Any]] = (), **machine: Any,
) -> Iterator[list[Bay]]:  # fmt: skip
    """Stations with blanks in their feeders and one batch released to them all.

    `places` are pairs of a slot (insert, remove) and the reader that sees it; without them both are in
    this process.
    """
    names = [f"S{number}" for number in range(1, stations + 1)]
    with ExitStack() as stack:
        if db is None:
            path = folder / "city.db"
            path.write_bytes(_released(stations, people, tray, orders or people))
            db = with_vault(Database(f"sqlite:///{path}"))
            stack.callback(db.close)
            city = Centre(db, FixedClock(START), [])
        else:
            city = _release(db, names, people, tray, orders or people)
        bays = []
        out = machine.pop("out", folder / "cards")
        timing = machine.pop("timing", INSTANT)
        for place, name in enumerate(names):
            slot, reader = places[place] if places else (Slot(f"reader {name}"),) * 2
            simulator = stack.enter_context(
                PrinterSimulator(
                    slot=slot, chip_powered=_power(slot), timing=timing, ribbon=RIBBON,
                    stock=artwork.stock(TEMPLATE), out=out,
                    state_file=folder / f"{name}.counters", serial=f"CCS300-{name}", **machine,
                )
            )  # fmt: skip
            loader = stack.enter_context(ThreadPoolExecutor(1))
            bay = Bay(city, name, folder, slot, reader, simulator, loader)
            if keys is not None:
                bay.keys = keys
            stack.callback(bay.die)
            bay.load(tray)
            bays.append(bay)
        street = Neighbourhood()
        for bay in bays:
            bay.neighbourhood = street
            bay.others = [_own_view(other.reader, stack) for other in bays if other is not bay]
        yield bays


def _release(db: Database, names: Sequence[str], people: int, tray: int, orders: int) -> Centre:
    """People who applied, one batch released, blanks issued to every station."""
    city = centre(db, people, max(200, tray * len(names)))
    city.order(*range(orders))
    city.attach(*names)
    batch = city.release()
    for name in names:
        city.issue(batch, name, tray)
    return city


@cache
def _released(stations: int, people: int, tray: int, orders: int) -> bytes:
    """A database file in that state; made once for each size."""
    with TemporaryDirectory() as place:
        path = Path(place) / "city.db"
        db = with_vault(Database(f"sqlite:///{path}"))
        db.create_tables()
        _release(db, [f"S{number}" for number in range(1, stations + 1)], people, tray, orders)
        with db.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        return path.read_bytes()


def _own_view(reader: Any, stack: ExitStack) -> Any:
    """Another station's look at a reader: a PC/SC context belongs to one thread."""
    if isinstance(reader, Slot):
        return reader
    own = type(reader)(reader.name)
    stack.callback(own.close)
    return own


def _power(slot: Any) -> Callable[[], bool]:
    """Whether the chip has power while the machine wants to move it; a virtual slot cannot say."""
    return lambda: isinstance(slot, Slot) and slot._user is not None


def chip_of(card: SimCard) -> Card:
    """The simulated chip on a simulated plastic."""
    assert isinstance(card.chip, Card)
    return card.chip


def over_pcsc(stack: ExitStack, stations: int) -> Sequence[tuple[Any, Any]]:
    """A slot and its reader for each station over a private pcscd; one daemon serves sixteen."""
    from cardos.pcsc import (
        PcscReader,  # the smart card library may be absent where no test asks for it
    )
    from runtime.pcscd import PrivatePcscd

    daemon = stack.enter_context(PrivatePcscd(readers=-(-stations // 2)))
    places = []
    for name, port in list(daemon.slots.items())[:stations]:
        reader = PcscReader(name)
        stack.callback(reader.close)
        places.append((VirtualSlot(("127.0.0.1", port)), reader))
    return places
