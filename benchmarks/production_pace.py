"""Stations at their devices' true pace: what they add to physics, and what a card costs the database.

Printer and chip run as fast as real ones: movements, panels and the 115,200 baud line as printer.md 2.4 and 2.7,
the chip's wire, EEPROM and crypto as performance.md 4.1. Both stamp each command received and each answer sent;
whenever one of them is at work the time is physics, everything else is ours.
"""

import statistics
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core.clock import SystemClock
from personalization.station_outcome import End
from printer.commands import EvolisPrinter
from printer.sim.control import PrinterSimulator
from runtime.supervisor import Supervisor
from tests import station_floor

BAUD = 115_200
ETU_PER_BYTE = 11  # T=1 (performance.md 4.1)
FRAME_BYTES, BLOCK_GUARD_ETU = 4, 22
EEPROM_SECONDS, EEPROM_BYTES = 3.5e-3, 64
CRYPTO_SECONDS = 3e-3
WARM = 5  # cards before the CPU is counted
CARD_LIMIT_SECONDS = 120
RESET_SECONDS = 0.060 + 21 * 12 / 9_600
WRITING = frozenset({0xD6, 0xD4, 0xE0, 0xE2, 0xDC})
COMPUTING = frozenset({0x82, 0x88, 0xD4, 0x50, 0xD6, 0xE2, 0xDC, 0x84})


def chip_seconds(apdu: bytes, answer: bytes) -> float:
    """Physics of one exchange: the wire both ways, EEPROM, crypto."""
    characters = len(apdu) + len(answer) + 2 * FRAME_BYTES
    seconds = (characters * ETU_PER_BYTE + 2 * BLOCK_GUARD_ETU) / BAUD
    if apdu[1] in WRITING:
        seconds += -(-len(apdu) // EEPROM_BYTES) * EEPROM_SECONDS
    return seconds + (CRYPTO_SECONDS if apdu[1] in COMPUTING else 0.0)


class Stamps:
    """When a device was at work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.spans: list[tuple[float, float]] = []

    def add(self, began: float, ended: float) -> None:
        with self._lock:
            self.spans.append((began, ended))

    def busy(self, began: float, ended: float) -> float:
        """Seconds between the two instants in which something was at work."""
        total, until = 0.0, began
        for start, stop in sorted(self.spans):
            start, stop = max(start, until), min(stop, ended)
            if stop > start:
                total += stop - start
                until = stop
        return total


class TrueChip:
    """A card that takes the time a real one takes; stamps command received and answer sent."""

    def __init__(self, card: Any, stamps: Stamps) -> None:
        self._card, self._stamps = card, stamps
        self._sleep = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._card, name)

    @property
    def atr(self) -> bytes:
        return bytes(self._card.atr)

    def _spend(self, began: float, seconds: float) -> None:
        self._sleep.wait(max(0.0, began + seconds - time.monotonic()))
        self._stamps.add(began, time.monotonic())

    def transmit(self, apdu: bytes) -> bytes:
        began = time.monotonic()
        answer = bytes(self._card.transmit(apdu))
        self._spend(began, chip_seconds(apdu, answer))
        return answer

    def reset(self) -> bytes:
        began = time.monotonic()
        atr = bytes(self._card.reset())
        self._spend(began, RESET_SECONDS)
        return atr

    def close(self) -> None:
        self._card.close()


class StampedPrinter(PrinterSimulator):
    """The simulated machine, stamping the first byte of a command and the reply."""

    def __init__(self, **options: Any) -> None:
        self.stamps = Stamps()
        self._since: float | None = None
        super().__init__(**options)

    def _serve(self, data: bytes) -> None:
        if self._since is None and data:
            self._since = time.monotonic()
        super()._serve(data)

    def _answer(self, answer: Any) -> None:
        super()._answer(answer)
        if self._since is not None:
            self.stamps.add(self._since, time.monotonic())
            self._since = None


class TimedDatabase:
    """Counts the CPU time threads spend inside transactions."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.cpu = 0.0
        self._lock = threading.Lock()

    def _timed(self, opened: Any) -> Any:
        database = self

        class Timed:
            def __enter__(self) -> Any:
                self._cpu = time.thread_time()
                return opened.__enter__()

            def __exit__(self, *problem: Any) -> Any:
                answer = opened.__exit__(*problem)
                with database._lock:
                    database.cpu += time.thread_time() - self._cpu
                return answer

        return Timed()

    def write(self) -> Any:
        return self._timed(self._inner.write())

    def read(self) -> Any:
        return self._timed(self._inner.read())


def efficiency(stations: int, cards: int, pcsc: bool, timing: Any) -> dict[str, Any]:
    """One floor at true pace."""
    with TemporaryDirectory() as place, ExitStack() as stack:
        places = station_floor.over_pcsc(stack, stations) if pcsc else ()
        simulators = station_floor.PrinterSimulator
        station_floor.PrinterSimulator = StampedPrinter  # type: ignore[misc]
        stack.callback(setattr, station_floor, "PrinterSimulator", simulators)
        bays = stack.enter_context(
            station_floor.floor(
                Path(place), stations=stations, people=stations * cards, tray=cards * 2 + 1,
                out=None, places=places, timing=timing,
            )
        )  # fmt: skip
        ends: dict[str, list[float]] = {bay.name: [] for bay in bays}
        for bay in bays:
            for plastic in bay.simulator.machine.feeder:
                plastic.chip = TrueChip(plastic.chip, bay.simulator.stamps)  # type: ignore[attr-defined]
            bay.others = []
            clock = SystemClock()
            bay.start(
                printer=lambda _inner, bay=bay, clock=clock: EvolisPrinter(
                    bay.simulator.url, clock, timing=timing, ribbon=station_floor.RIBBON
                ),
                clock=lambda _inner, clock=clock: clock,
            )

        def heard(name: str, outcome: Any) -> None:
            if outcome.end is End.MADE:
                ends[name].append(time.monotonic())
            elif outcome.end is not End.IDLE:
                raise AssertionError(outcome)

        cpu = time.process_time()
        began = time.monotonic()
        running = Supervisor(
            [bay.station for bay in bays if bay.station], heard=heard, until_idle=True
        )
        running.start()
        limit = CARD_LIMIT_SECONDS * (cards + 1)
        if not running.join(limit):
            running.drain()
            raise TimeoutError(f"{stations} stations did not make {cards} cards each in {limit} s")
        cpu = time.process_time() - cpu
        made = sum(map(len, ends.values()))
        shares = []
        for bay in bays:
            until = ends[bay.name][-1]
            first = ends[bay.name][0] if len(ends[bay.name]) > 1 else began
            shares.append(bay.simulator.stamps.busy(first, until) / (until - first))  # type: ignore[attr-defined]
        return {
            "stations": stations, "pcsc": pcsc, "cards": made,
            "efficiency": round(statistics.mean(shares), 4), "worst": round(min(shares), 4),
            "seconds_a_card": round((max(map(max, ends.values())) - began) / (made / stations), 1),
            "process_cpu_ms_a_card": round(cpu / made * 1000, 1),
        }  # fmt: skip


def central_cpu(cards: int) -> dict[str, Any]:
    """CPU time in transactions with instant devices, the first cards (compiling statements) apart."""
    with TemporaryDirectory() as place, ExitStack() as stack:
        bays = stack.enter_context(
            station_floor.floor(Path(place), people=cards + WARM, tray=cards + WARM, out=None)
        )
        (bay,) = bays
        database = TimedDatabase(bay.centre.db)
        station = bay.start(db=lambda _inner: database)
        for _ in range(WARM):
            assert station.run_once().end is End.MADE
        before = database.cpu
        for _ in range(cards):
            assert station.run_once().end is End.MADE
        return {
            "cards": cards,
            "database_ms_a_card": round((database.cpu - before) / cards * 1e3, 1),
        }
