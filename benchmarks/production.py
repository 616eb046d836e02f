"""What a station adds to the machine's own time, and what chip writing costs beside a bare PC/SC loop.

    python benchmarks/production.py [--profile fast] [--stations 1 8 32] [--cards 2] [--rounds 7] [--json]

Efficiency (goal P16: 97 %). Printer and chip run at their true pace: movements, panels and the 115,200 baud
line as printer.md 2.4 and 2.7, the chip's wire, EEPROM and crypto as performance.md 4.1. Both devices stamp each
command received and each answer sent; whenever one of them is at work the time is physics, everything else
is ours: art, journal flushes, HSM, database, waiting for the reader's word. Measured from the first eject to the
last, so that a cycle holds everything between two cards. The HSM is a stand-in in the same process.

Central CPU a card (goal P17: 40 ms): the time all threads spend in database transactions, beside the station's
own work (art, driver, chip); the simulated devices' threads are left out.

Chip writing (goal: 80 % of the bare loop): instant devices behind one pcscd; the same chip with the same dice is
written by us, and by a straight pyscard loop that sends the recorded APDUs. The HSM is an instant device too: it
has the cryptograms for these challenges at hand. A second row lets a stand-in compute them in this process, between
the APDUs. Rounds are interleaved; shown are medians of the ratios of a round.
"""

import argparse
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from cardos.pcsc import PcscReader
from cardos.vpcd import VirtualSlot
from core.clock import SystemClock
from personalization import chip, inspect
from personalization.station_outcome import End
from printer.commands import EvolisPrinter
from printer.sim.control import PrinterSimulator
from printer.timing import CLASSIC, FAST
from runtime.pcscd import PrivatePcscd
from runtime.supervisor import Supervisor
from tests import station_floor
from tests.station_bench import ClearKeys, blank, bound

BAUD = 115_200
ETU_PER_BYTE = 11  # T=1 (performance.md 4.1)
FRAME_BYTES, BLOCK_GUARD_ETU = 4, 22
EEPROM_SECONDS, EEPROM_BYTES = 3.5e-3, 64
CRYPTO_SECONDS = 3e-3
WARM = 5  # cards before the CPU is counted
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
        places = over_pcsc(stack, stations) if pcsc else ()
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
        assert running.join(3_000)
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


def over_pcsc(stack: ExitStack, stations: int) -> Sequence[tuple[Any, Any]]:
    """Virtual readers; one pcscd serves sixteen."""
    daemon = stack.enter_context(PrivatePcscd(readers=-(-stations // 2)))
    places = []
    for name, port in list(daemon.slots.items())[:stations]:
        reader = PcscReader(name)
        stack.callback(reader.close)
        places.append((VirtualSlot(("127.0.0.1", port)), reader))
    return places


class Recorder:
    """A channel that keeps what went over it."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self.log: list[bytes | None] = []  # None is a reset

    @property
    def atr(self) -> bytes:
        return bytes(self._channel.atr)

    def transmit(self, apdu: bytes) -> bytes:
        self.log.append(apdu)
        return bytes(self._channel.transmit(apdu))

    def reset(self) -> bytes:
        self.log.append(None)
        return bytes(self._channel.reset())

    def close(self) -> None:
        self._channel.close()


class InstantKeys:
    """An HSM without a pause: every answer once computed by another is at hand the next time."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = _remembering(getattr(self._inner, name))
        setattr(self, name, found)
        return found


def _remembering(function: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[tuple[Any, ...], Any] = {}

    def call(*values: Any) -> Any:
        if values not in known:
            answer = function(*values)
            known[values] = _remembering(answer) if callable(answer) else answer
        return known[values]

    return call


def write_card(channel: Any, order: Any, keys: Any) -> None:
    chip.write(channel, order, keys)
    inspect.read_back(channel, order, keys)
    chip.close(channel, order, keys)


def bare_loop(reader: str, log: Sequence[bytes | None]) -> float:
    """The same APDUs through raw pyscard calls; seconds."""
    from smartcard import scard  # type: ignore[import-untyped]

    rc, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    assert rc == 0
    rc, handle, protocol = scard.SCardConnect(context, reader, 1, 2)
    assert rc == 0, hex(rc)
    began = time.perf_counter()
    for apdu in log:
        if apdu is None:
            rc, protocol = scard.SCardReconnect(handle, 1, 2, scard.SCARD_UNPOWER_CARD)
        else:
            rc, _answer = scard.SCardTransmit(handle, protocol, list(apdu))
        assert rc == 0, hex(rc)
    seconds = time.perf_counter() - began
    scard.SCardDisconnect(handle, scard.SCARD_UNPOWER_CARD)
    scard.SCardReleaseContext(context)
    return seconds


def chip_writing(rounds: int) -> dict[str, Any]:
    """Ours beside the bare loop."""
    order, computing = bound().chip, ClearKeys()
    instant = InstantKeys(computing)
    recorder = Recorder(blank())
    write_card(recorder, order, instant)
    seconds: dict[str, list[float]] = {"bare": [], "ours": [], "computing": []}
    with PrivatePcscd(readers=1) as daemon:
        name, port = next(iter(daemon.slots.items()))
        slot, reader = VirtualSlot(("127.0.0.1", port)), PcscReader(name)

        def on_fresh_card(work: Callable[[], float]) -> float:
            slot.insert(blank())
            assert reader.wait(True, 5)
            try:
                return work()
            finally:
                slot.remove()
                assert reader.wait(False, 5)

        def ours(keys: Any) -> float:
            channel = reader.connect()
            began = time.perf_counter()
            write_card(channel, order, keys)
            seconds = time.perf_counter() - began
            channel.close()
            return seconds

        for _ in range(rounds + 1):  # the first warms up
            seconds["bare"].append(on_fresh_card(lambda: bare_loop(name, recorder.log)))
            seconds["ours"].append(on_fresh_card(lambda: ours(instant)))
            seconds["computing"].append(on_fresh_card(lambda: ours(computing)))
        reader.close()
    bare = seconds["bare"][1:]
    ratios = {
        way: sorted(one / other for one, other in zip(bare, all_of_it[1:], strict=True))
        for way, all_of_it in seconds.items()
    }
    return {
        "apdus": len(recorder.log), "rounds": rounds,
        "speed_of_bare_loop": round(statistics.median(ratios["ours"]), 3),
        "spread": [round(ratios["ours"][0], 3), round(ratios["ours"][-1], 3)],
        "with_computing_hsm": round(statistics.median(ratios["computing"]), 3),
        "ours_ms": round(statistics.median(seconds["ours"][1:]) * 1000, 1),
        "bare_ms": round(statistics.median(bare) * 1000, 1),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--profile", choices=("classic", "fast"), default="fast")
    parser.add_argument("--stations", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--cards", type=int, default=2, help="a station")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cpu-cards", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    timing = {"classic": CLASSIC, "fast": FAST}[wanted.profile]
    report: dict[str, Any] = {
        "schema": "citycard/benchmark-production/1", "profile": wanted.profile,
        "load_before": os.getloadavg()[0], "chip_writing": chip_writing(wanted.rounds),
        "central_cpu": central_cpu(wanted.cpu_cards), "efficiency": [],
    }  # fmt: skip
    for stations in wanted.stations:
        for pcsc in (False, True) if stations <= 16 else (False,):
            report["efficiency"].append(efficiency(stations, wanted.cards, pcsc, timing))
    report["load_after"] = os.getloadavg()[0]
    if wanted.json:
        print(json.dumps(report, indent=1))
        return 0
    writing = report["chip_writing"]
    print(
        f"chip writing: {writing['speed_of_bare_loop']:.0%} of a bare pyscard loop "
        f"({writing['ours_ms']} ms, {writing['bare_ms']} ms; {writing['apdus']} APDUs; "
        f"spread {writing['spread']}); goal 80 %. With an HSM computing in the same process "
        f"{writing['with_computing_hsm']:.0%}"
    )
    central = report["central_cpu"]
    print(
        f"central CPU: {central['database_ms_a_card']} ms a card in transactions ({central['cards']} "
        "cards, one station); goal 40"
    )
    for row in report["efficiency"]:
        print(
            f"{row['stations']:3d} stations {'pcscd ' if row['pcsc'] else 'direct'}: efficiency "
            f"{row['efficiency']:.1%} (worst {row['worst']:.1%}; goal 97 %), {row['seconds_a_card']} s a "
            f"card, {row['process_cpu_ms_a_card']} ms CPU a card with all simulated devices"
        )
    print(f"load average {report['load_before']:.1f} before, {report['load_after']:.1f} after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
