"""A real station on this machine: its port, its reader, its HSM line, kept beside its journal and opened as one.

The set-up is `stations/NAME.json` in the data folder: printer (device path or pyserial URL), reader (as PC/SC
lists it), ribbon. Everything else comes from the services.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cardos.pcsc import PcscReader, list_readers
from core.apdu import CardReader
from core.clock import Clock
from core.errors import DeviceFault, NotFound
from hsm_sim.client import KeySlots, Role
from hsm_sim.tcp import TcpHsm, roles_of
from personalization import artwork
from personalization.hsm_keys import HsmCardKeys
from personalization.station import Station
from personalization.station_cycle import Equipment
from personalization.station_desk import Desk
from personalization.station_journal import StationJournal
from printer.commands import EvolisPrinter
from printer.port import HEIGHT, WIDTH, Destination, Layers, PrinterIdentity, Side
from printer.timing import CLASSIC, FAST, INSTANT
from registry import vault
from registry.roles import Actor
from runtime.services import Services

TIMINGS = {"classic": CLASSIC, "fast": FAST, "instant": INSTANT}
BAR_PIXELS = 64
Machine = EvolisPrinter  # what maintenance works with


@dataclass(frozen=True)
class Setup:
    """One station's devices. `timing` is the machine's class: classic, fast, instant (a simulator)."""

    printer: str
    reader: str
    timing: str = "classic"

    @classmethod
    def load(cls, data: Path, name: str) -> "Setup":
        """Raises NotFound S-NO-SETUP."""
        path = _path(data, name)
        try:
            return cls(**json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError) as reason:
            raise NotFound("S-NO-SETUP", str(reason), station=name) from reason

    def save(self, data: Path, name: str) -> None:
        """Beside the station's journal."""
        path = _path(data, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")


def _path(data: Path, name: str) -> Path:
    return data / "stations" / f"{name}.json"


def open_printer(setup: Setup, clock: Clock) -> EvolisPrinter:
    """The driver, not attached yet."""
    ribbon = artwork.released().ribbon
    return EvolisPrinter(setup.printer, clock, timing=TIMINGS[setup.timing], ribbon=ribbon)


@contextmanager
def attached(setup: Setup, clock: Clock) -> Iterator[tuple[EvolisPrinter, PrinterIdentity]]:
    """The machine for one piece of maintenance; refused while its station runs (P-L06)."""
    printer = open_printer(setup, clock)
    try:
        yield printer, printer.identify()
    finally:
        printer.close()


@contextmanager
def open_station(
    services: Services, name: str, operator: Actor, *, hsm: tuple[str, int], certificates: Path,
    slots: Path, lang: str = "en",
) -> Iterator[Station]:  # fmt: skip
    """A station ready to run. Raises NotFound S-NO-SETUP, HSM-SLOTS, Unavailable J-LOCKED."""
    data = services.settings.data
    setup = Setup.load(data, name)
    with ExitStack() as stack:
        keys = stack.enter_context(TcpHsm(*hsm, roles_of(certificates, (Role.ISSUE, Role.DATA))))
        directory = KeySlots.load(slots)
        vault.attach(services.db, vault.Vault(keys, directory))
        printer = open_printer(setup, services.clock)
        stack.callback(printer.close)
        reader = PcscReader(setup.reader)
        stack.callback(reader.close)
        journal = stack.enter_context(
            StationJournal(data / "stations" / f"{name}.jsonl", name, services.clock)
        )
        loader = stack.enter_context(ThreadPoolExecutor(1))
        equipment = Equipment(
            printer, reader, journal, HsmCardKeys(keys, directory), services.clock,
            loader, clean=printer.clean,
        )  # fmt: skip
        yield Station(equipment, Desk(services.db, services.clock, journal, operator), lang=lang)


@contextmanager
def open_readers() -> Iterator[list[PcscReader]]:
    """Every reader of this machine, for this thread."""
    readers = [PcscReader(name) for name in list_readers()]
    try:
        yield readers
    finally:
        for reader in readers:
            reader.close()


def pair(
    printer: EvolisPrinter,
    readers: Sequence[CardReader],
    station: str,
    wait: Callable[[], None],
) -> CardReader:
    """Feed one test card and see at which reader it shows up (printer.md 3.4); the card goes to the reject box.

    `wait` gives slow readers their time. Raises DeviceFault S-UNPAIRED when none or several changed.
    """
    before = {reader.name for reader in readers if reader.present()}
    printer.feed()
    wait()
    changed = [reader for reader in readers if reader.name not in before and reader.present()]
    printer.eject(Destination.REJECT)
    if len(changed) != 1:
        raise DeviceFault(
            "S-UNPAIRED", f"{len(changed)} changed", station=station, count=len(changed)
        )
    return changed[0]


def print_test_card(printer: EvolisPrinter) -> None:
    """A grey ramp and bars on a test card: shows streaks, registration and density."""
    colour = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    ramp = np.linspace(255, 0, WIDTH // 2, dtype=np.uint8)
    colour[HEIGHT // 2 :, WIDTH // 2 : WIDTH // 2 * 2] = ramp[None, :, None]
    black = np.zeros((HEIGHT, WIDTH), np.uint8)
    for left in range(BAR_PIXELS, WIDTH // 2, 2 * BAR_PIXELS):
        black[BAR_PIXELS:-BAR_PIXELS, left : left + BAR_PIXELS] = 1
    face = Layers.separate(colour, black, np.zeros((HEIGHT, WIDTH), np.uint8))
    printer.feed()
    printer.load(face, Side.FRONT)
    printer.print(face.panels())
    printer.eject(Destination.REJECT)
