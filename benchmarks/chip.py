"""The chip against another card emulator on the same pcscd, and where the time of a purchase goes.

    python benchmarks/chip.py [--rounds 5] [--apdus 300] [--json]

Readers: one private pcscd, four virtual slots, four cards at once, measured in turn, round by round:

    ours        citycard sim card, in a process of its own
    vicc        Debian's vsmartcard-vpicc (ISO 7816 emulator), code unchanged. Debian 12 packages it off the
                module path and without the Crypto library it imports: the path is added, and empty modules
                stand in for the library, which plain reading never calls
    vicc+ack    the same program with TCP_QUICKACK set before each recv: without it every APDU waits about
                44 ms for a delayed acknowledgement, which says nothing about its code. The fair baseline
    wire        a constant answer with our framing: what pcscd and the wire cost alone

Work: READ BINARY of 16 bytes from a 64-byte file of zeros that was created and selected. Shown are the
median over rounds of each round's median, the median of the ratios formed round by round with their spread,
the CPU time of each card's own process per APDU, and the share of an APDU that is ours.

Purchase in process: CPU time of INITIALIZE and DEBIT on a permit with the test keys, split into crypto,
memory and the rest. Crypto and memory are the recorded calls of one purchase, replayed alone; header bytes
that the file system reads straight from the cells count as rest.
Programs that are missing are named and left out.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cardos import samples
from cardos.card import Card
from cardos.client import CardSession
from cardos.memory import Eeprom
from cardos.pcsc import PcscChannel, PcscReader
from cardos.purse_requests import InitializeForPurchase
from cardos.records import asn_of
from cardos.requests import SelectName
from cardos.spec import AID_PURSE, PURSE_PROFILE, KeyType
from core import crypto
from runtime.pcscd import PrivatePcscd

READ = bytes.fromhex("00B0000010")
SEEN_SECONDS = 10.0
END_SECONDS = 10.0
SLOW_APDUS = 20  # of a card that stalls 44 ms at each
PURCHASES = 400
REPLAYS = 400

DEBIAN_PYTHON = "/usr/bin/python3"  # for which vicc is packaged
OURS = "from cli.sim import app; app()"
WIRE = """
import sys
from threading import Event
from cardos.vpcd import VirtualSlot
class Constant:
    atr = bytes.fromhex("3BE00000813120 4535")
    def reset(self): return self.atr
    def close(self): pass
    def transmit(self, apdu): return bytes(16) + b"\\x90\\x00"
VirtualSlot(("127.0.0.1", int(sys.argv[1]))).insert(Constant())
Event().wait()
"""
VICC = """
import runpy, socket, sys
from types import ModuleType
for name, parts in {"Crypto": "", "Crypto.Cipher": "DES3 DES AES ARC4", "Crypto.Hash": "HMAC SHA"}.items():
    module = sys.modules[name] = ModuleType(name)
    for part in parts.split():
        setattr(module, part, None)
sys.path.insert(0, "/usr/lib/python3/site-packages/virtualsmartcard")
plain = socket.socket.recv
def recv(self, *arguments):
    self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    return plain(self, *arguments)
if sys.argv.pop(1) == "ack":
    socket.socket.recv = recv
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def find_vicc() -> str | None:
    """The program, if it is installed."""
    return shutil.which("vicc") if Path(DEBIAN_PYTHON).exists() else None


def commands(port: int, folder: Path) -> dict[str, list[str] | None]:
    """How each card is started at a port; None when its program is missing."""
    vicc = find_vicc()
    at = ["--hostname", "127.0.0.1", "--port", str(port)]
    control = folder / f"{port}.sock"
    return {
        "ours": [
            sys.executable, "-c", OURS, "card", "--kind", "blank", "--vpcd", f"127.0.0.1:{port}",
            "--control", str(control),
        ],
        "vicc": [DEBIAN_PYTHON, "-c", VICC, "plain", vicc, *at] if vicc else None,
        "vicc+ack": [DEBIAN_PYTHON, "-c", VICC, "ack", vicc, *at] if vicc else None,
        "wire": [sys.executable, "-c", WIRE, str(port)],
    }  # fmt: skip


@contextmanager
def running(command: list[str]) -> Iterator[int]:
    """A card's process while it runs; its number."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(END_SECONDS)


def prepare(name: str, channel: PcscChannel) -> None:
    """Create and select a file of 64 zero bytes in the card's own way; AssertionError if it refuses."""
    if name == "ours":
        steps = ["80E000150728 0040F0F0FFFF", "00A40000020015", "00D6000040" + "00" * 64]
    elif name == "wire":
        steps = []
    else:  # ISO/IEC 7816-9: FCP with descriptor, file id and size; vicc fills it with zeros itself
        steps = ["00E00000 0D 62 0B 820101 83020015 80020040", "00A4000C020015"]
    for step in steps:
        answer = channel.transmit(bytes.fromhex(step))
        assert answer[-2:] == b"\x90\x00", f"{name}: {step} gave {answer.hex()}"
    answer = channel.transmit(READ)
    assert answer == bytes(16) + b"\x90\x00", f"{name}: READ BINARY gave {answer.hex()}"


def median_microseconds(channel: PcscChannel, count: int) -> float:
    times = []
    for _ in range(count):
        begun = time.perf_counter_ns()
        channel.transmit(READ)
        times.append(time.perf_counter_ns() - begun)
    return statistics.median(times) / 1000


def cpu_nanoseconds(process: int) -> int:
    """CPU time of all threads of a process."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def readers(rounds: int, apdus: int) -> dict[str, Any]:
    """The four cards on one pcscd; microseconds per APDU."""
    medians: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    missing: list[str] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        daemon = stack.enter_context(PrivatePcscd(readers=2))
        channels: dict[str, PcscChannel] = {}
        processes: dict[str, int] = {}
        names = ("ours", "vicc", "vicc+ack", "wire")
        for name, (reader_name, port) in zip(names, daemon.slots.items(), strict=True):
            command = commands(port, folder)[name]
            if command is None:
                missing.append(f"{name}: install vsmartcard-vpicc")
                continue
            processes[name] = stack.enter_context(running(command))
            reader = PcscReader(reader_name)
            stack.callback(reader.close)
            if not reader.wait(True, SEEN_SECONDS):
                raise SystemExit(f"{name} did not come up")
            channels[name] = reader.connect()
            stack.callback(channels[name].close)
            prepare(name, channels[name])
        for _ in range(rounds):
            for name, channel in channels.items():
                count = SLOW_APDUS if name == "vicc" else apdus
                before = cpu_nanoseconds(processes[name])
                medians.setdefault(name, []).append(median_microseconds(channel, count))
                spent = (cpu_nanoseconds(processes[name]) - before) / count / 1000
                cpu.setdefault(name, []).append(spent)
    return {
        "microseconds_per_apdu": {name: statistics.median(m) for name, m in medians.items()},
        "card_cpu_per_apdu": {name: statistics.median(c) for name, c in cpu.items()},
        "times_slower_than_ours": {
            name: against(m, medians["ours"]) for name, m in medians.items()
        },
        "times_ours_in_card_cpu": {name: against(c, cpu["ours"]) for name, c in cpu.items()},
        "rounds": medians,
        "cpu_rounds": cpu,
        "missing": missing,
    }


def against(theirs: list[float], ours: list[float]) -> dict[str, float]:
    """Ratios to ours, formed round by round."""
    ratios = [one / other for one, other in zip(theirs, ours, strict=True)]
    return {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}


def cpu_microseconds(work: Callable[[], None], times: int, rounds: int) -> float:
    """Median over rounds of the CPU time of one call."""
    found = []
    for _ in range(rounds):
        begun = time.process_time_ns()
        for _ in range(times):
            work()
        found.append((time.process_time_ns() - begun) / times / 1000)
    return statistics.median(found)


# -- purchase ---------------------------------------------------------------------------------------


class Terminal:
    """Makes the second command of a purchase; its own computing is not measured."""

    def __init__(self, card: Card) -> None:
        self.card = card
        asn = asn_of(samples.CARD_SERIAL)
        spec = next(k for k in PURSE_PROFILE.keys if k.type & 0x3F == KeyType.PURCHASE)
        self.key = samples.card_key(spec, asn)
        self.first = bytes(InitializeForPurchase(1, 0, samples.TERMINAL).command())
        CardSession(card).send(SelectName(AID_PURSE))

    def second(self, answer: bytes) -> bytes:
        session = crypto.purse_session_key(self.key, answer[11:15], answer[4:6], bytes(2))
        when = samples.FIRST_DAY + bytes.fromhex("120000")
        text = bytes(4) + b"\x06" + samples.TERMINAL + when
        mac1 = crypto.purse_mac(session, text)
        return bytes.fromhex("805401000F") + bytes(4) + when + mac1 + b"\x08"


def purchase_microseconds(terminal: Terminal) -> float:
    """CPU time the chip takes for one purchase of 0 fen, terminal excluded; mean of many."""
    spent = 0
    for _ in range(PURCHASES):
        begun = time.process_time_ns()
        answer = terminal.card.transmit(terminal.first)
        spent += time.process_time_ns() - begun
        command = terminal.second(answer)
        begun = time.process_time_ns()
        done = terminal.card.transmit(command)
        spent += time.process_time_ns() - begun
        assert done[-2:] == b"\x90\x00", done.hex()
    return spent / PURCHASES / 1000


Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


@contextmanager
def recorded(owner: Any, names: tuple[str, ...], calls: list[Call]) -> Iterator[None]:
    """Note the outermost calls of these functions; calls among themselves are part of the outer one."""
    inside = [0]
    saved = {name: getattr(owner, name) for name in names}

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **options: Any) -> Any:
            if not inside[0]:
                calls.append((function, arguments, options))
            inside[0] += 1
            try:
                return function(*arguments, **options)
            finally:
                inside[0] -= 1

        return noted

    for name, function in saved.items():
        setattr(owner, name, wrap(function))
    try:
        yield
    finally:
        for name, function in saved.items():
            setattr(owner, name, function)


CRYPTO = ("purse_session_key", "purse_mac", "tac", "equal")
MEMORY = ("read", "byte", "number", "program", "commit", "erase", "recover")


def purchase(rounds: int) -> dict[str, Any]:
    """CPU microseconds of a purchase in process and where they go."""
    card = samples.permit(os.urandom)
    terminal = Terminal(card)
    total = statistics.median(purchase_microseconds(terminal) for _ in range(rounds))
    computing: list[Call] = []
    with recorded(crypto, CRYPTO, computing):
        answer = card.transmit(terminal.first)
    own = len(computing)
    command = terminal.second(answer)
    with recorded(crypto, CRYPTO, computing):
        card.transmit(command)
    storing: list[Call] = []
    with recorded(Eeprom, MEMORY, storing):
        answer = card.transmit(terminal.first)
        command = terminal.second(answer)
        card.transmit(command)

    def replay(calls: list[Call]) -> Callable[[], None]:
        def work() -> None:
            for function, arguments, options in calls:
                function(*arguments, **options)

        return work

    crypto_part = cpu_microseconds(replay(computing), REPLAYS, rounds)
    memory_part = cpu_microseconds(replay(storing), REPLAYS, rounds)
    return {
        "total": total,
        "crypto": crypto_part,
        "memory": memory_part,
        "rest": total - crypto_part - memory_part,
        "crypto_calls": len(computing),
        "crypto_calls_in_initialize": own,
        "memory_calls": len(storing),
    }


def read_binary_in_process(rounds: int) -> float:
    """CPU microseconds of the same READ BINARY on the card object alone."""
    card = Card.blank(serial=bytes(8))
    for step in ("80E0001507280040F0F0FFFF", "00A40000020015"):
        card.transmit(bytes.fromhex(step))
    card.transmit(b"\x00\xd6\x00\x00\x40" + bytes(range(64)))
    return cpu_microseconds(lambda: card.transmit(READ) and None, 2000, rounds)


def shown(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


def show(result: dict[str, Any]) -> None:
    out = sys.stdout.write
    found = result["readers"]
    out(f"READ BINARY, 16 bytes, over PC/SC ({result['load']})\n")
    out(f"  {'':<10}{'us per APDU':>14}{'x ours':>26}{'CPU of the card':>20}{'x ours':>26}\n")
    for name, value in found["microseconds_per_apdu"].items():
        cpu = found["card_cpu_per_apdu"][name]
        slower = shown(found["times_slower_than_ours"][name])
        out(f"  {name:<10}{value:14.1f}{slower:>26}{cpu:20.1f}")
        out(f"{shown(found['times_ours_in_card_cpu'][name]):>26}\n")
    for line in result["readers"]["missing"]:
        out(f"  left out: {line}\n")
    out(
        f"  our chip alone, in process: {result['read_binary_cpu']:.1f} us CPU, "
        f"{100 * result['our_share']:.0f} % of an APDU; pcscd, wire and host take the rest\n"
    )
    parts = result["purchase_cpu"]
    out(f"Purchase in process: {parts['total']:.0f} us CPU\n")
    for name in ("crypto", "memory", "rest"):
        share = 100 * parts[name] / parts["total"]
        out(f"  {name:<8}{parts[name]:8.0f} us {share:5.0f} %\n")
    out(
        f"  {parts['crypto_calls']} crypto calls ({parts['crypto_calls_in_initialize']} of them in "
        f"INITIALIZE), {parts['memory_calls']} memory calls\n"
    )


def main() -> None:
    asked = argparse.ArgumentParser(description="The chip's benchmarks.")
    asked.add_argument("--rounds", type=int, default=7)
    asked.add_argument("--apdus", type=int, default=300)
    asked.add_argument("--json", action="store_true")
    options = asked.parse_args()
    result: dict[str, Any] = {
        "schema": "citycard/benchmark-chip/1",
        "load": f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the run",
        "readers": readers(options.rounds, options.apdus),
        "read_binary_cpu": read_binary_in_process(options.rounds),
        "purchase_cpu": purchase(options.rounds),
    }
    result["our_share"] = (
        result["read_binary_cpu"] / result["readers"]["microseconds_per_apdu"]["ours"]
    )
    if options.json:
        json.dump(result, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        show(result)


if __name__ == "__main__":
    main()
