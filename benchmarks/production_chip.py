"""Chip writing alone, with instant devices, beside a straight pyscard loop that sends the same APDUs.

The chip lies in a process of its own behind one pcscd, as a real one is no part of the station. Each pass gets
a fresh chip with the same dice, so that the recorded APDUs fit it. The HSM is one of three:

`at_hand`     an instant device: the cryptograms for these challenges are known
`in_process`  a stand-in computes them in the station's process, between the APDUs
`hsm`         the simulated HSM computes them in a process of its own, asked over mutual TLS for each command,
              because a card's challenge is good for one command only
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cardos.card import Card
from cardos.pcsc import PcscReader
from cardos.vpcd import VirtualSlot
from core import crypto
from core.clock import SystemClock
from hsm_sim.ceremony.city import hold_city_ceremonies
from hsm_sim.certificates import make_certificates
from hsm_sim.client import KeySlots, Role
from hsm_sim.device import make_hsm
from hsm_sim.launch import start_hsm
from hsm_sim.tcp import TcpHsm, roles_of
from personalization import chip, inspect
from personalization.chip import TRANSPORT_USAGE, CardKey
from personalization.hsm_keys import HsmCardKeys
from runtime.pcscd import PrivatePcscd
from tests.station_bench import LOT, ClearKeys, bound, dice, value

WAIT_SECONDS = 5.0


@dataclass(frozen=True)
class Way:
    """An HSM, and the transport keys of the chips whose lot master it has."""

    name: str
    keys: Any
    transport: Callable[[bytes], bytes]


def clear_transport(serial: bytes) -> bytes:
    """The transport key of a chip for the stand-in."""
    return value(CardKey(TRANSPORT_USAGE, f"lot-{LOT}", 1, serial))


def blank(serial: bytes, transport: bytes) -> Card:
    """A chip as delivered; the same serial throws the same dice."""
    return Card.blank("permit", dice(serial), serial, transport)


class Recorder:
    """A channel that keeps what went over it."""

    def __init__(self, channel: Any, log: list[bytes | None]) -> None:
        self._channel = channel
        self.log = log  # None is a reset

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


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock, and of this thread's CPU: a busy machine stretches the first, hardly the second."""

    wall: float
    cpu: float


@contextmanager
def spending(found: list[Spent]) -> Iterator[None]:
    """Put into `found` what the block took."""
    wall, cpu = time.perf_counter(), time.thread_time()
    yield
    found.append(Spent(time.perf_counter() - wall, time.thread_time() - cpu))


def bare_loop(reader: str, log: Sequence[bytes | None], spent: list[Spent]) -> None:
    """The same APDUs through raw pyscard calls."""
    from smartcard import scard  # type: ignore[import-untyped]

    rc, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    assert rc == 0
    rc, handle, protocol = scard.SCardConnect(context, reader, 1, 2)
    assert rc == 0, hex(rc)
    with spending(spent):
        for apdu in log:
            if apdu is None:
                rc, protocol = scard.SCardReconnect(handle, 1, 2, scard.SCARD_UNPOWER_CARD)
            else:
                rc, _answer = scard.SCardTransmit(handle, protocol, list(apdu))
            assert rc == 0, hex(rc)
    scard.SCardDisconnect(handle, scard.SCARD_UNPOWER_CARD)
    scard.SCardReleaseContext(context)


class ChipProcess:
    """The card's side of one virtual reader, in another process."""

    def __init__(self, port: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, port), daemon=True)
        self._process.start()

    def insert(self, serial: bytes, transport: bytes) -> None:
        """A fresh chip into the reader."""
        self._do((serial, transport))

    def remove(self) -> None:
        """The chip out of it."""
        self._do(None)

    def _do(self, what: tuple[bytes, bytes] | None) -> None:
        self._ours.send(what)
        self._ours.recv()

    def close(self) -> None:
        """End the process."""
        self._ours.close()
        self._process.join(WAIT_SECONDS)


def _serve(pipe: Any, port: int) -> None:
    slot = VirtualSlot(("127.0.0.1", port))
    while True:
        try:
            found = pipe.recv()
        except EOFError:
            return
        if found is None:
            slot.remove()
        else:
            slot.insert(blank(*found))
        pipe.send(True)


@contextmanager
def served_hsm() -> Iterator[Way]:
    """A city's HSM in its own process behind mutual TLS, and the lot its chips come from."""
    masters: list[bytes] = []
    with TemporaryDirectory() as place, ExitStack() as stack:
        folder, clock = Path(place), SystemClock()
        made = hold_city_ceremonies(folder / "hsm", clock, 1, make_hsm, folder / "audit", LOT)
        clients = make_certificates(folder / "certificates", clock)
        made.hsm.set_policy(made.hsm.policy.with_clients(clients))
        made.room.hand_over(f"lot-{LOT}-01", lambda master: masters.append(bytes(master)))
        made.hsm.close()
        process = stack.enter_context(
            start_hsm(folder / "hsm", folder / "certificates", made.unlock_secrets)
        )
        link = TcpHsm("127.0.0.1", process.port, roles_of(folder / "certificates", (Role.ISSUE,)))
        keys = HsmCardKeys(stack.enter_context(link), KeySlots.load(folder / "hsm" / "slots.json"))
        yield Way("hsm", keys, lambda serial: crypto.diversify(masters[0], serial))


def chip_writing(rounds: int) -> dict[str, Any]:
    """Ours and the bare loop with the same APDUs, ours first in every other round; the first round warms up.

    What will be sent is recorded from a chip in memory, whose dice fall as those of the chip in the reader.
    """
    with ExitStack() as stack:
        ways = [
            Way("at_hand", InstantKeys(ClearKeys()), clear_transport),
            Way("in_process", ClearKeys(), clear_transport), stack.enter_context(served_hsm()),
        ]  # fmt: skip
        daemon = stack.enter_context(PrivatePcscd(readers=1))
        name, port = next(iter(daemon.slots.items()))
        chips, reader = ChipProcess(port), PcscReader(name)
        stack.callback(reader.close)
        stack.callback(chips.close)

        def on_fresh_chip(serial: bytes, transport: bytes, work: Callable[[], None]) -> None:
            chips.insert(serial, transport)
            assert reader.wait(True, WAIT_SECONDS)
            try:
                work()
            finally:
                chips.remove()
                assert reader.wait(False, WAIT_SECONDS)

        def both(way: Way, number: int) -> tuple[Spent, Spent]:
            """The bare loop and ours, for one card."""
            serial = b"CHIP%04d" % number
            order, transport = bound(number, serial).chip, way.transport(serial)
            planned: list[bytes | None] = []
            write_card(Recorder(blank(serial, transport), planned), order, way.keys)
            sent: list[bytes | None] = []
            by_us: list[Spent] = []
            by_loop: list[Spent] = []

            def ours() -> None:
                channel = Recorder(reader.connect(), sent)
                with spending(by_us):
                    write_card(channel, order, way.keys)
                channel.close()

            acts = [ours, lambda: bare_loop(name, planned, by_loop)]
            for work in acts if number % 2 else acts[::-1]:
                on_fresh_chip(serial, transport, work)
            assert sent == planned, "the bare loop sent other APDUs"
            apdus.add(len(sent))
            return by_loop[0], by_us[0]

        apdus: set[int] = set()
        times: dict[str, list[tuple[Spent, Spent]]] = {way.name: [] for way in ways}
        for number in range(1, rounds + 2):
            for way in ways:
                times[way.name].append(both(way, number))
    (count,) = apdus
    return {
        "apdus": count, "rounds": rounds,
        **{name: _figures(found[1:]) for name, found in times.items()},
    }  # fmt: skip


def _figures(found: Sequence[tuple[Spent, Spent]]) -> dict[str, Any]:
    """Medians over the rounds; a ratio is taken within a round."""

    def milliseconds(values: Iterable[float]) -> float:
        return round(statistics.median(values) * 1000, 1)

    ratios = sorted(bare.wall / ours.wall for bare, ours in found)
    return {
        "speed_of_bare_loop": round(statistics.median(ratios), 3),
        "spread": [round(ratios[0], 3), round(ratios[-1], 3)],
        "ours_ms": milliseconds(ours.wall for _, ours in found),
        "bare_ms": milliseconds(bare.wall for bare, _ in found),
        "ours_cpu_ms": milliseconds(ours.cpu for _, ours in found),
        "bare_cpu_ms": milliseconds(bare.cpu for bare, _ in found),
    }
