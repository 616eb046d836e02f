"""Chapter 3, production: blanks are received, a batch is released by a second person, stations make the cards.

Every chip is written through its reader with cryptograms of the HSM, every face goes over the printer's serial
line. One scripted ribbon fault spoils one card, which is remade.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Thread

from cardos.card import Card
from cardos.spec import chip_serial
from core.apdu import CardReader
from personalization import artwork, balance, batches, floor, orders, stock
from personalization.balance import Balance
from personalization.station import Station
from personalization.station_cycle import Equipment, StationKeys
from personalization.station_desk import Desk
from personalization.station_journal import StationJournal
from personalization.station_outcome import End, Outcome
from printer.commands import EvolisPrinter
from printer.sim.control import PrinterSimulator
from printer.sim.machine import ChipSlot
from printer.sim.plastic import SimCard
from printer.timing import INSTANT
from runtime.demo.city import (
    KEEPER,
    LOT,
    OFFICER,
    OPERATOR,
    OTHER_KEEPER,
    SUPERVISOR,
    City,
)  # fmt: skip
from runtime.demo.slots import Slots

CHIP_TYPE = "PERMIT-16K"
SPARE_BLANKS = 4
RIBBON_TEARS = "F7 during(m, 300)"
TURNS_PER_CARD = 20
JOIN_SECONDS = 600.0


@dataclass
class Bay:
    """One station with its machine, and the plastics that were put into it."""

    name: str
    station: Station
    simulator: PrinterSimulator
    plastics: list[SimCard]
    outcomes: list[Outcome]
    failure: BaseException | None = None


@dataclass(frozen=True)
class Produced:
    """What came out: chips by their serial (16 hex digits), the stock equation, faults met."""

    chips: dict[str, Card]
    balance: Balance
    outcomes: tuple[Outcome, ...]
    batch: str


def fill_vault(city: City, quantity: int) -> None:
    """A delivery of blanks, counted by two."""
    with city.db.write() as tx:
        stock.announce_lot(
            tx, city.clock, LOT, supplier="Harbour Card Works", stock="residence-1",
            chip_type=CHIP_TYPE, transport_key=f"lot-{LOT}", quantity=quantity, actor=KEEPER,
        )  # fmt: skip
        stock.receive_lot(tx, city.clock, LOT, quantity, KEEPER, OTHER_KEEPER)


def release_batch(city: City) -> str:
    """Orders from the registers, planned by one person, released by another."""
    with city.db.write() as tx:
        orders.take_in(tx, city.clock)
    with city.db.write() as tx:
        number = batches.plan(tx, city.clock, OFFICER)
        batches.release(tx, city.clock, number, SUPERVISOR)
    return number


def make_cards(
    city: City, slots: Slots, keys: StationKeys, blank: Callable[[], Card], stations: Sequence[str]
) -> Produced:
    """The whole chapter; `blank` gives the next chip of the delivered lot."""
    template = artwork.released()
    quantity = city.options.cards + SPARE_BLANKS
    fill_vault(city, quantity)
    batch = release_batch(city)
    with ExitStack() as closing:
        bays = [_bay(city, slots, name, keys, template, closing) for name in stations]
        shares = [quantity // len(bays) + (n < quantity % len(bays)) for n in range(len(bays))]
        for bay, share in zip(bays, shares, strict=True):
            with city.db.write() as tx:
                floor.attach(tx, city.clock, bay.name, OPERATOR)
                stock.issue(tx, city.clock, batch, bay.name, LOT, share, KEEPER, OTHER_KEEPER)
            bay.plastics = [_plastic(blank()) for _ in range(share)]
            bay.simulator.load_cards(bay.plastics)
        bays[0].simulator.inject(RIBBON_TEARS)
        _run_all(city, bays)
    with city.db.write() as tx:
        batches.finish(tx, city.clock, batch, OPERATOR)
        stock_now = balance.lot_balance(tx, LOT)
    chips = {
        plastic.chip_serial: plastic.chip
        for bay in bays
        for plastic in bay.plastics
        if isinstance(plastic.chip, Card)
    }
    return Produced(chips, stock_now, tuple(o for bay in bays for o in bay.outcomes), batch)


def _plastic(chip: Card) -> SimCard:
    """The plastic carries its chip's serial as its number, so that its pictures are found by it."""
    serial = chip_serial(chip.atr).hex().upper()
    return SimCard(serial, LOT, chip, serial)


def _bay(
    city: City, slots: Slots, name: str, keys: StationKeys, template: artwork.Template,
    closing: ExitStack,
) -> Bay:  # fmt: skip
    """A printer behind its line, its contact station's reader, its journal."""
    place: ChipSlot
    reader: CardReader
    place, reader = slots.take(f"station {name}")
    simulator = closing.enter_context(
        PrinterSimulator(
            slot=place, timing=INSTANT, ribbon=template.ribbon, stock=artwork.stock(template),
            out=city.folder("pictures"), state_file=city.folder("stations") / f"{name}.counters",
            serial=f"CCS300-{name}",
        )
    )  # fmt: skip
    printer = EvolisPrinter(simulator.url, city.clock, timing=INSTANT, ribbon=template.ribbon)
    closing.callback(printer.close)
    journal = StationJournal(city.folder("stations") / f"{name}.jsonl", name, city.clock)
    closing.callback(journal.close)
    loader = closing.enter_context(ThreadPoolExecutor(1))
    equipment = Equipment(printer, reader, journal, keys, city.clock, loader)
    station = Station(equipment, Desk(city.db, city.clock, journal, OPERATOR), template)
    return Bay(name, station, simulator, [], [])


def _run_all(city: City, bays: Sequence[Bay]) -> None:
    """All stations at once, each in its own thread, until none has work."""
    threads = [Thread(target=_run, args=(city, bay), name=bay.name, daemon=True) for bay in bays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(JOIN_SECONDS)
    for bay in bays:
        if bay.failure is not None:
            raise bay.failure


def _run(city: City, bay: Bay) -> None:
    try:
        for _ in range(TURNS_PER_CARD * (len(bay.plastics) + 1)):
            outcome = bay.station.run_once()
            bay.outcomes.append(outcome)
            if outcome.end is End.IDLE:
                return
            if outcome.end is End.MADE:
                city.progress("cards made", 1)
            if outcome.code:
                _help(bay, outcome)
        raise AssertionError(f"{bay.name} does not come to an end: {bay.outcomes[-3:]}")
    except BaseException as failure:
        bay.failure = failure


def _help(bay: Bay, outcome: Outcome) -> None:
    """The operator does what the station's sentence says: here, change the ribbon."""
    bay.simulator.replace_ribbon(artwork.released().ribbon)
    if outcome.end is End.STOPPED:
        raise AssertionError(f"{bay.name} stopped: {outcome.sentence}")
