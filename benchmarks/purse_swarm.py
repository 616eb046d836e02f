"""A swarm of terminals in one thread: many links, many terminals on each, one request in flight per terminal.

Frames are built before the clock starts. Answers are matched by the TPDU (iso8583-host.md 2.4), since those
of one link may come in any order. What the host answered is checked after the clock has stopped.
"""

import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle

from hsm_sim.pinpad import SimPinPad
from payments.field_parts import WorkKeys
from payments.frames import HEADER, FrameReader
from payments.messages import Message, build, parse
from payments.requests import Station

RECEIVE = 65_536
SILENT_SECONDS = 60.0


@dataclass
class SwarmTerminal:
    """One terminal: who it is, its pad, and the frames it will send in order."""

    number: str
    merchant: str
    psam: bytes
    pad: SimPinPad
    address: int
    batch: str = ""
    trace: int = 0
    frames: list[bytes] = field(default_factory=list)

    @property
    def tpdu(self) -> bytes:
        """Source address: this terminal's number on its link, BCD."""
        return bytes.fromhex(f"600003{self.address:04d}")

    @property
    def station(self) -> Station:
        """Builder of its messages."""
        return Station(self.number, self.merchant, self.batch or "000000", self.tpdu, HEADER)

    def next_trace(self) -> str:
        """Field 11."""
        self.trace += 1
        return f"{self.trace:06d}"

    def sign_on(self, port: int) -> None:
        """Fetch work keys and batch over a connection of its own. RuntimeError when refused."""
        with socket.create_connection(("127.0.0.1", port), SILENT_SECONDS) as line:
            line.sendall(build(self.station.sign_on(self.next_trace())))
            reader, found = FrameReader(), []
            while not found:
                chunk = line.recv(RECEIVE)
                if not chunk:
                    raise RuntimeError("the host hung up during a sign-on")
                found = reader.feed(chunk)
        answer = parse(found[0])
        if answer.response != "00":
            raise RuntimeError(f"sign-on answered {answer.response}")
        self.pad.load_work_keys(bytes(WorkKeys.parse(answer.octets(62))))
        self.batch = answer.batch

    def queue(self, messages: Sequence[Message]) -> None:
        """Seal messages to be sent in order."""
        self.frames.extend(build(message, self.pad.make_mac) for message in messages)


@dataclass
class Outcome:
    """What a run gave: answers by terminal number in order, seconds of each, wall time, the swarm's own CPU."""

    answers: dict[str, list[bytes]]
    latencies: list[float]
    seconds: float
    cpu: float

    @property
    def count(self) -> int:
        """Answers in all."""
        return len(self.latencies)

    def percentile(self, percent: int) -> float:
        """Seconds within which so many per cent of the answers came."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]

    def codes(self) -> dict[str, int]:
        """How often each field 39 came."""
        found: dict[str, int] = {}
        for raws in self.answers.values():
            for raw in raws:
                code = parse(raw).response
                found[code] = found.get(code, 0) + 1
        return found


class _Link:
    """One connection with its terminals."""

    def __init__(self, port: int, terminals: Sequence[SwarmTerminal]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), SILENT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = FrameReader()
        self.by_address = {t.tpdu[3:5]: t for t in terminals}
        self.sent_at: dict[bytes, float] = {}
        self.next = {t.tpdu[3:5]: 0 for t in terminals}


def run(ports: Sequence[int], links: Sequence[Sequence[SwarmTerminal]]) -> Outcome:
    """Send everything that is queued, each terminal its next frame when the last was answered. The links are dealt
    out over the hosts' ports.

    RuntimeError when the host falls silent for a minute.
    """
    connections = [_Link(port, terminals) for port, terminals in zip(cycle(ports), links)]
    answers: dict[str, list[bytes]] = {t.number: [] for terminals in links for t in terminals}
    latencies: list[float] = []
    total = sum(len(t.frames) for terminals in links for t in terminals)
    selector = selectors.DefaultSelector()
    for link in connections:
        selector.register(link.socket, selectors.EVENT_READ, link)
    began, cpu = time.perf_counter(), time.process_time()
    for link in connections:
        link.socket.sendall(b"".join(_next(link, address) for address in link.by_address))
    while len(latencies) < total:
        ready = selector.select(SILENT_SECONDS)
        if not ready:
            raise RuntimeError(f"silence after {len(latencies)} of {total} answers")
        for key, _ in ready:
            _take(key.data, answers, latencies)
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    selector.close()
    for link in connections:
        link.socket.close()
    return Outcome(answers, latencies, seconds, used)


def _take(link: _Link, answers: dict[str, list[bytes]], latencies: list[float]) -> None:
    chunk = link.socket.recv(RECEIVE)
    if not chunk:
        raise RuntimeError("the host hung up")
    now = time.perf_counter()
    out = bytearray()
    for frame in link.reader.feed(chunk):
        address = frame[3:5]
        latencies.append(now - link.sent_at.pop(address))
        answers[link.by_address[address].number].append(frame)
        out += _next(link, address)
    if out:
        link.socket.sendall(out)


def _next(link: _Link, address: bytes) -> bytes:
    terminal, at = link.by_address[address], link.next[address]
    if at >= len(terminal.frames):
        return b""
    link.next[address] = at + 1
    link.sent_at[address] = time.perf_counter()
    return terminal.frames[at]
