"""A test bench for the printer: a machine with blanks, a driver on its line, and a small picture to print."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np

from cardos.slot import Slot
from core.clock import FixedClock
from printer.commands import EvolisPrinter
from printer.port import HEIGHT, WIDTH, Destination, Layers, Side
from printer.sim.control import PrinterSimulator
from printer.sim.plastic import SimCard
from printer.timing import INSTANT

LAUNCH = datetime(2007, 6, 18, 1, 0, tzinfo=UTC)


class Chip:
    """Answers everything with 9000; enough for a slot."""

    def __init__(self, serial: str) -> None:
        self.atr = bytes.fromhex("3B6800000000" + serial)

    def transmit(self, apdu: bytes) -> bytes:
        return b"\x90\x00"

    def reset(self) -> bytes:
        return self.atr

    def close(self) -> None:
        """Nothing to let go of."""


def blanks(count: int, first: int = 1) -> list[SimCard]:
    """Blank cards with chips, card ids B0001 onwards."""
    serials = [f"{number:016X}" for number in range(first, first + count)]
    return [
        SimCard(f"B{number:04d}", "L-1", Chip(serial), serial)
        for number, serial in enumerate(serials, first)
    ]


def picture(seed: int = 7, varnish: bool = True) -> Layers:
    """A face with a noisy colour patch, black bars and (with `varnish`) a full overlay."""
    dice = np.random.default_rng(seed)
    colour = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    colour[120:420, 640:900] = dice.integers(0, 255, (300, 260, 3), np.uint8)
    black = np.zeros((HEIGHT, WIDTH), np.uint8)
    black[480:500, 80:900] = 1
    black[520:600, 80 : 80 + 40 * (1 + seed % 9)] = dice.integers(
        0, 2, (80, 40 * (1 + seed % 9)), np.uint8
    )
    return Layers.separate(colour, black, np.full((HEIGHT, WIDTH), int(varnish), np.uint8))


class Bench:
    """One machine, its reader, its driver."""

    def __init__(self, simulator: PrinterSimulator, printer: EvolisPrinter, slot: Slot) -> None:
        self.simulator = simulator
        self.printer = printer
        self.slot = slot

    def make(self, layers: Layers | None = None) -> None:
        """One card from blank to hopper."""
        face = layers or picture()
        self.printer.feed()
        self.printer.load(face, Side.FRONT)
        self.printer.print(face.panels())
        self.printer.eject(Destination.HOPPER)

    def fed_and_loaded(self) -> Layers:
        """A card at the contacts and a picture in the machine."""
        face = picture()
        self.printer.feed()
        self.printer.load(face, Side.FRONT)
        return face

    def wire(self) -> list[str]:
        """The transcript so far, without times."""
        return [f"{line.way} {line.text}" for line in self.printer.transcript]


@contextmanager
def bench(
    cards: int = 3, attach: bool = True, driver: Any = None, **options: Any
) -> Iterator[Bench]:
    """A running simulator with `cards` blanks; `driver` are options for the driver, the rest for the machine."""
    slot = options.pop("slot", None) or Slot("station 1")
    timing = options.pop("timing", INSTANT)
    with PrinterSimulator(slot=slot, timing=timing, **options) as simulator:
        simulator.load_cards(blanks(cards))
        printer = EvolisPrinter(
            simulator.url, FixedClock(LAUNCH), **{"timing": timing, **(driver or {})}
        )
        try:
            if attach:
                printer.identify()
            yield Bench(simulator, printer, slot)
        finally:
            printer.close()
