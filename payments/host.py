"""The ISO 8583 listener: frames in, answers out, bounded everywhere (iso8583-host.md 2.4).

One asyncio loop in a thread of its own reads and writes; `payments.committer` decides. Over its limits it stops
reading, it never queues without bound::

    with serve(authorizer, clock) as running:
        print(running.port)

A connection belongs to nobody: authority comes from MAC and terminal number of each message.
"""

import asyncio
import ssl
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from core.clock import Clock
from core.errors import Unavailable
from payments.authorize import Authorizer
from payments.chores import Chores, host_chores
from payments.committer import Committer, Ticket
from payments.frames import KEEP_ALIVE, FrameFault, FrameReader
from payments.host_metrics import HostMetrics
from payments.judging import Judge
from payments.work import Act, Arrival, Reply

MAX_CONNECTIONS = 2_000
MAX_PER_ADDRESS = 200
MAX_PER_CONNECTION = 8
MAX_IN_WORK = 256
READ_BYTES = 4_096  # what one look at a socket may bring: more stays in the kernel
IDLE_SECONDS = 90.0
FRAME_SECONDS = 10.0
SWEEP_SECONDS = 1.0
WRONG_MACS_PER_MINUTE = 20
REFUSE_SECONDS = 60.0
MAX_REMEMBERED = 4_096
START_SECONDS = 30.0
_log = structlog.get_logger("purse.host")


@dataclass(frozen=True)
class Limits:
    """Bounds of a listener; the defaults are the interface's. `trusted` addresses are concentrators."""

    connections: int = MAX_CONNECTIONS
    per_address: int = MAX_PER_ADDRESS
    idle_seconds: float = IDLE_SECONDS
    frame_seconds: float = FRAME_SECONDS
    wrong_macs: int = WRONG_MACS_PER_MINUTE
    trusted: frozenset[str] = frozenset()


@dataclass
class _Brake:
    """Wrong MACs by address: too many in a minute and the address is refused for a while (I-22)."""

    limit: int
    trusted: frozenset[str]
    _times: dict[str, deque[float]] = field(default_factory=dict)
    _until: dict[str, float] = field(default_factory=dict)

    def refuses(self, address: str, now: float) -> bool:
        return self._until.get(address, 0.0) > now

    def wrong(self, address: str, now: float) -> bool:
        """Count one; True when the address is to be refused now."""
        if address in self.trusted:
            return False
        if len(self._times) > MAX_REMEMBERED:
            self._times.clear()
            self._until = {a: t for a, t in self._until.items() if t > now}
        times = self._times.setdefault(address, deque(maxlen=self.limit + 1))
        times.append(now)
        if len(times) <= self.limit or now - times[0] > 60:
            return False
        self._until[address] = now + REFUSE_SECONDS
        return True


class _Connection(asyncio.BufferedProtocol):
    """One TCP connection. It stops reading while its frames wait, the host is full, or its peer takes no answers.

    Writes of one batch are joined by the transport's buffer.
    """

    def __init__(self, host: "_Host") -> None:
        self.host = host
        self.reader = FrameReader()
        self.address = ""
        self.peer = ""
        self.in_work = 0
        self.held: deque[Ticket] = deque()
        self.heard = self.began = host.clock.monotonic()
        self.transport: asyncio.Transport | None = None
        self.paused = self.choked = self.said_all = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        name = transport.get_extra_info("peername") or ("local", 0)
        self.address, self.peer = str(name[0]), f"{name[0]}:{name[1]}"
        self.host.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # how it ended changes nothing
        self.transport = None
        self.host.lost(self)

    def eof_received(self) -> bool:
        """A peer that has said all is still answered, then it is let go (TLS knows no half an end)."""
        self.said_all = True
        plain = self.transport is not None and not self.transport.get_extra_info("sslcontext")
        return plain and bool(self.in_work or self.held)

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint  # one buffer serves all: it is emptied before the loop turns to another socket
        return self.host.buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self.host.buffer[:nbytes])
        now = self.host.clock.monotonic()
        self.heard = now
        if not self.reader.unfinished:
            self.began = now
        try:
            frames = self.reader.feed(data)
        except FrameFault as fault:
            self.close(fault.reason)
            return
        if frames:
            self.began = now
        wanted = [frame for frame in frames if frame != KEEP_ALIVE]
        if len(wanted) < len(frames) and self.transport is not None:
            self.transport.write(KEEP_ALIVE * (len(frames) - len(wanted)))
        if wanted:
            self.held.extend(Ticket(Arrival(frame, self.peer), self, now) for frame in wanted)
            self.host.take_in([self])

    def pause_writing(self) -> None:
        self.choked = True
        self.settle()

    def resume_writing(self) -> None:
        self.choked = False
        self.settle()

    def close(self, reason: str) -> None:
        if self.transport is not None:
            self.host.metrics.closed.labels(reason).inc()
            _log.info("connection closed", reason=reason, peer=self.peer)
            if self.choked:  # what it never took would keep the connection open for ever
                self.transport.abort()
            else:
                self.transport.close()

    def settle(self) -> None:
        """Read the socket or leave it alone, as things stand now."""
        stop = self.choked or self.host.full or self.in_work >= MAX_PER_CONNECTION
        stop = stop or bool(self.held)
        if self.transport is None or stop is self.paused:
            return
        self.paused = stop
        if stop:
            self.transport.pause_reading()
        else:
            self.began = self.host.clock.monotonic()  # while we did not read, nobody was slow
            self.transport.resume_reading()


class _Host:
    """The listener's state; every method runs in its loop but `_deliver`."""

    def __init__(
        self, authorizer: Authorizer, clock: Clock, limits: Limits, metrics: HostMetrics
    ) -> None:
        self.clock, self.limits, self.metrics = clock, limits, metrics
        self.connections: set[_Connection] = set()
        self.addresses: Counter[str] = Counter()
        self.in_work = 0
        self.full = False
        self.taken_in: list[Ticket] = []
        self.buffer = memoryview(bytearray(READ_BYTES))
        self.withdrawn: OrderedDict[str, None] = OrderedDict()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.brake = _Brake(limits.wrong_macs, limits.trusted)
        self.committer = Committer(authorizer, clock, metrics, self._deliver)

    def opened(self, connection: _Connection) -> None:
        self.connections.add(connection)
        self.addresses[connection.address] += 1
        self.metrics.connections.set(len(self.connections))
        now = self.clock.monotonic()
        if self.brake.refuses(connection.address, now):
            connection.close("address refused")
        elif len(self.connections) > self.limits.connections:
            connection.close("too many connections")
        elif (
            self.addresses[connection.address] > self.limits.per_address
            and connection.address not in self.limits.trusted
        ):
            connection.close("too many from one address")
        else:
            connection.settle()

    def lost(self, connection: _Connection) -> None:
        connection.held.clear()
        self.connections.discard(connection)
        self.addresses[connection.address] -= 1
        if self.addresses[connection.address] <= 0:
            del self.addresses[connection.address]
        self.metrics.connections.set(len(self.connections))

    def take_in(self, connections: Iterable[_Connection]) -> None:
        """Put what these connections hold to work, as far as both limits allow, and read on or not."""
        taken: list[Ticket] = []
        for one in connections:
            room = min(MAX_PER_CONNECTION - one.in_work, MAX_IN_WORK - self.in_work)
            fresh = [one.held.popleft() for _ in range(min(room, len(one.held)))]
            one.in_work += len(fresh)
            self.in_work += len(fresh)
            taken += fresh
            one.settle()
        if taken:
            if not self.taken_in:  # what other sockets bring in this turn of the loop comes along
                asyncio.get_running_loop().call_soon(self._hand_in)
            self.taken_in += taken
        if self.full is not (self.in_work >= MAX_IN_WORK):
            self.full = not self.full
            for one in self.connections:
                one.settle()

    def _hand_in(self) -> None:
        """One wake-up of a committer for everything that one look at the sockets brought."""
        self.committer.put(self.taken_in)
        self.taken_in = []

    def _deliver(self, replies: list[tuple[Any, Reply]]) -> None:
        """From the committer's thread: one wake-up of the loop for a whole batch."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self._send, replies)

    def _send(self, replies: list[tuple[_Connection, Reply]]) -> None:
        for _, reply in replies:
            if reply.withdrawn:
                self.withdrawn[reply.withdrawn] = None
                if len(self.withdrawn) > MAX_REMEMBERED:
                    self.withdrawn.popitem(last=False)
        codes: Counter[str] = Counter()
        out: dict[_Connection, list[bytes]] = {}
        for connection, reply in replies:
            connection.in_work -= 1
            self.in_work -= 1
            frames = out.setdefault(connection, [])
            if reply.act is Act.SEND and self._may_leave(reply):
                frames.append(reply.frame)
                codes[reply.code] += 1
        for connection, frames in out.items():
            if frames and connection.transport is not None:
                connection.transport.write(b"".join(frames))
            if connection.said_all and not (connection.in_work or connection.held):
                connection.close("said all")
        for code, count in codes.items():
            self.metrics.answers.labels(code).inc(count)
        for connection, reply in replies:
            if reply.act is Act.CLOSE:
                connection.close("not a message")
            elif reply.wrong_mac:
                self._wrong_mac(connection)
        self.take_in(self.connections if self.full else out)

    def _may_leave(self, reply: Reply) -> bool:
        """The last look before a MAC2 leaves: its load may have been reversed meanwhile (I-30)."""
        gone = reply.secret and reply.key in self.withdrawn
        if gone:
            self.metrics.dropped.labels("reversed").inc()
        return not gone

    def _wrong_mac(self, connection: _Connection) -> None:
        if self.brake.wrong(connection.address, self.clock.monotonic()):
            _log.warning("address refused for a while", address=connection.address)
            for one in [c for c in self.connections if c.address == connection.address]:
                one.close("wrong MACs")

    def sweep(self) -> None:
        """Cut idle connections and slow senders."""
        now = self.clock.monotonic()
        for one in list(self.connections):
            unfinished = one.reader.unfinished and not one.paused
            if unfinished and now - one.began > self.limits.frame_seconds:
                one.close("slow sender")
            elif not one.in_work and now - one.heard > self.limits.idle_seconds:
                one.close("idle")


@dataclass
class Running:
    """A host at work: where it listens, its figures."""

    port: int
    metrics: HostMetrics


class HostThread:
    """A listener with its loop in a thread. `start` returns the port; `stop` answers what was taken in."""

    def __init__(
        self,
        authorizer: Authorizer,
        clock: Clock,
        bind: str = "127.0.0.1",
        port: int = 0,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        judge: Judge | None = None,
    ) -> None:
        self.metrics = HostMetrics()
        self._chores = Chores(clock, self.metrics, host_chores(authorizer, judge))
        self._host = _Host(authorizer, clock, limits or Limits(), self.metrics)
        self._bind, self._want, self._tls = bind, port, tls
        self._port = 0
        self._ready = threading.Event()
        self._problem: BaseException | None = None
        self._ended: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="purse-host", daemon=True)

    def start(self) -> int:
        """Listen. Raises Unavailable HOST-LISTEN when the address cannot be had."""
        self._thread.start()
        if not self._ready.wait(START_SECONDS) or self._problem is not None:
            raise Unavailable("HOST-LISTEN", str(self._problem or "it did not start"))
        return self._port

    def stop(self) -> None:
        """Stop listening, answer what was taken in, close every connection."""
        self._chores.stop()
        self._host.committer.stop()
        loop, ended = self._host.loop, self._ended
        if loop is not None and ended is not None:
            loop.call_soon_threadsafe(ended.set)
        self._thread.join(START_SECONDS)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as problem:
            self._problem = problem
            self._ready.set()

    async def _serve(self) -> None:
        host = self._host
        host.loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        server = await host.loop.create_server(
            lambda: _Connection(host), self._bind, self._want, ssl=self._tls, backlog=1024
        )
        self._port = server.sockets[0].getsockname()[1]
        host.committer.start()
        self._chores.start()
        self._ready.set()
        sweeper = asyncio.create_task(self._sweep())
        await self._ended.wait()
        sweeper.cancel()
        server.close()
        for connection in list(host.connections):
            connection.close("host stops")
        await server.wait_closed()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._host.sweep()


@contextmanager
def serve(
    authorizer: Authorizer,
    clock: Clock,
    bind: str = "127.0.0.1",
    port: int = 0,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
    judge: Judge | None = None,
) -> Iterator[Running]:
    """A running host for the length of a block; with `judge` it judges purchases and publishes lists too."""
    thread = HostThread(authorizer, clock, bind, port, limits, tls, judge)
    found = thread.start()
    try:
        yield Running(found, thread.metrics)
    finally:
        thread.stop()
