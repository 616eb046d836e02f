"""The port over TCP: mutual TLS, one certificate for each role, frames sent ahead and matched in order.

Safe to share between threads. Each role has up to `POOL` connections, opened when first needed; up to 64
commands are under way on each. Answers of a connection come in order, so whoever waits reads for all before
them. A connection that fails raises HSM-GONE for what was under way (it may have been done: the same
request may be sent again) and is replaced at the next call. No threads of its own, nothing left after `close`.
"""

import select
import socket
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Self, TypeVar

from core.errors import CityError
from hsm_sim.client import R, Request, Role
from hsm_sim.errors import HsmBusy, HsmForbidden
from hsm_sim.frame import (
    BULK_LENGTH_BYTES,
    HEADER_LENGTH,
    LENGTH_BYTES,
    MAX_BULK_FRAME,
    MAX_FRAME_CONFIGURABLE,
    MAX_IN_FLIGHT,
    frame_length,
    open_answer,
    pack,
)

POOL = 2
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
SERVER_NAME = "hsm.local"
CA_FILE = "ca.pem"
RECEIVE = 65_536
T = TypeVar("T")
Place = tuple[str, int] | Path  # TCP, or a Unix socket (bulk only)


@dataclass(frozen=True)
class ClientTls:
    """One client's certificate and key beside the CA's certificate."""

    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def of(cls, folder: Path, name: str) -> "ClientTls":
        """``<name>.pem`` and ``<name>.key`` of a folder made by `certificates.make_certificates`."""
        return cls(folder / CA_FILE, folder / f"{name}.pem", folder / f"{name}.key")

    def context(self) -> ssl.SSLContext:
        """TLS 1.3 with our certificate; the server must be of our CA. Raises HSM-TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_verify_locations(self.ca)
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError):
            raise HsmForbidden("HSM-TLS", "a certificate or key file is missing or wrong") from None
        return context


def roles_of(folder: Path, roles: Sequence[Role]) -> dict[Role, ClientTls]:
    """The certificates of these roles in a folder, named by role in lower case."""
    return {role: ClientTls.of(folder, role.lower()) for role in roles}


def _connect(place: Place) -> socket.socket:
    if isinstance(place, Path):
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            plain.settimeout(CONNECT_SECONDS)
            plain.connect(str(place))
        except OSError:
            plain.close()
            raise
        return plain
    plain = socket.create_connection(place, CONNECT_SECONDS)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return plain


class _Waiting:
    """One command under way."""

    __slots__ = ("answer", "header", "problem")

    def __init__(self, header: bytes) -> None:
        self.header = header
        self.answer: bytes | None = None
        self.problem: CityError | None = None

    @property
    def done(self) -> bool:
        return self.answer is not None or self.problem is not None


class _Connection:
    """One TLS connection: sending and reading are two locks, answers come in order."""

    def __init__(self, place: Place, context: ssl.SSLContext, bulk: bool) -> None:
        self.closed = False
        self.under_way: deque[_Waiting] = deque()
        self.chosen: deque[None] = deque()  # by callers that have not sent yet
        self._length_bytes = BULK_LENGTH_BYTES if bulk else LENGTH_BYTES
        self._limit = MAX_BULK_FRAME if bulk else MAX_FRAME_CONFIGURABLE
        self._sending = Lock()
        self._reading = Lock()
        self._tls = Lock()  # an SSL object is not for two threads at once
        self._buffer = bytearray()
        self._number = 0
        try:
            plain = _connect(place)
            try:
                self._socket = context.wrap_socket(plain, server_hostname=SERVER_NAME)
            except BaseException:
                plain.close()
                raise
        except ssl.SSLError:
            raise HsmForbidden("HSM-TLS", "no TLS with the HSM") from None
        except OSError as error:
            raise HsmBusy("HSM-GONE", f"no connection: {error.strerror}") from None
        self._socket.setblocking(False)

    def send(self, requests: Sequence[bytes]) -> list[_Waiting]:
        """Put commands (code and fields) on their way, at most 64 at once, for one caller who chose us."""
        try:
            with self._sending:
                made, frames = [], []
                for body in requests:
                    header = f"{self._number % 10**HEADER_LENGTH:0{HEADER_LENGTH}d}".encode("ascii")
                    self._number += 1
                    made.append(_Waiting(header))
                    frames.append(pack(header + body, self._length_bytes, self._limit))
                self.under_way.extend(made)
                self._send_all(b"".join(frames))
        finally:
            self.chosen.pop()
        return made

    def _send_all(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._try(partial(self._socket.send, rest), select.POLLOUT) :]
        except OSError:
            self.fail("sending failed")

    def _try(self, act: Callable[[], T], first: int) -> T:
        """Do one TLS operation, waiting outside the lock while the network is not ready."""
        waits_for = first
        while True:
            with self._tls:
                try:
                    return act()
                except ssl.SSLWantReadError:
                    waits_for = select.POLLIN
                except ssl.SSLWantWriteError:
                    waits_for = select.POLLOUT
            if not self._ready(waits_for, ANSWER_SECONDS):
                raise OSError("the HSM does not answer")

    def _ready(self, event: int, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._socket, event)
        return bool(poll.poll(seconds * 1000))

    @property
    def stale(self) -> bool:
        """Closed by us, or something to read although nothing is under way: the HSM closed it.

        Nor is anybody about to send, whose answer could come while we look.
        """
        idle = not self.chosen and not self.under_way
        return self.closed or (idle and self._ready(select.POLLIN, 0))

    def wait(self, waiting: _Waiting) -> bytes:
        """The answer's body; reads for everybody whose answer comes before."""
        while not waiting.done:
            with self._reading:
                if not waiting.done:
                    self._read_some()
        if waiting.problem is not None:
            raise waiting.problem
        assert waiting.answer is not None
        return waiting.answer

    def _read_some(self) -> None:
        """What the socket has now: every whole answer in it goes to whoever waits for it."""
        try:
            data = self._try(partial(self._socket.recv, RECEIVE), select.POLLIN)
            if not data:
                raise OSError("closed")
            self._buffer += data
            self._hand_out()
        except OSError:
            self.fail("no answer")
        except CityError as broken:
            self.fail(broken.detail)

    def _hand_out(self) -> None:
        at, head, end = 0, self._length_bytes, len(self._buffer)
        while at + head <= end:
            stop = at + head + frame_length(bytes(self._buffer[at : at + head]), self._limit)
            if stop > end:
                break
            if self.under_way:
                self.under_way.popleft().answer = bytes(self._buffer[at + head : stop])
            at = stop
        del self._buffer[:at]

    def fail(self, reason: str) -> None:
        """End the connection; everything under way raises HSM-GONE."""
        self.closed = True
        self._socket.close()
        while self.under_way:
            self.under_way.popleft().problem = HsmBusy("HSM-GONE", reason)


_UnderWay = tuple[_Connection, list[int], list[_Waiting]]


class TcpHsm:
    """The HSM at a TCP port. Implements `client.Hsm`; use it as a context manager or `close` it."""

    def __init__(
        self, host: str, port: int, tls: Mapping[Role, ClientTls], bulk_port: int | None = None,
        pool: int = POOL, bulk_socket: Path | None = None,
    ) -> None:  # fmt: skip
        """`bulk_socket` is the Unix socket of command `90`; it is preferred to `bulk_port`."""
        self._place: Place = (host, port)
        self._bulk: Place | None = (host, bulk_port) if bulk_port is not None else None
        if bulk_socket is not None:
            self._bulk = bulk_socket
        self._contexts = {role: files.context() for role, files in tls.items()}
        self._pool = pool
        self._lock = Lock()
        self._connections: dict[tuple[Role, bool], list[_Connection]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, request: Request[R]) -> R:
        """The answer; raises the errors of `hsm_sim.errors`, HSM-ROLE, HSM-GONE, HSM-TLS."""
        return self.call_many([request])[0]

    def call_many(self, requests: Sequence[Request[R]]) -> list[R]:
        """Answers to several requests of one role, sent ahead on one connection; the first refusal is raised.

        Commands behind a refused one were done all the same.
        """
        answers: list[R] = []
        for start in range(0, len(requests), MAX_IN_FLIGHT):
            part = requests[start : start + MAX_IN_FLIGHT]
            bodies = [one.code.encode("ascii") + one.encode() for one in part]
            connection = self._connection(part[0])
            under_way = connection.send(bodies)
            bodies = [connection.wait(waiting) for waiting in under_way]
            for request, waiting, body in zip(part, under_way, bodies, strict=True):
                answers.append(request.parse(open_answer(body, waiting.header, request.code)))
        return answers

    def call_each(self, requests: Sequence[Request[Any]]) -> list[Any]:
        """The answer, or the error it ended in, of each request; all are sent before any is waited for.

        Requests may be of several roles. A refused one does not touch the others; a connection that fails
        gives HSM-GONE for those on it.
        """
        return self.begin_each(requests)()

    def begin_each(self, requests: Sequence[Request[Any]]) -> Callable[[], list[Any]]:
        """As `call_each` in two steps: the requests are on their way now, the outcomes come with the call of what
        is returned. Up to 64 a role go at once; what is never asked for is read over by the next caller.
        """
        outcomes: list[Any] = [None] * len(requests)
        by_role: dict[Role, list[int]] = {}
        for index, request in enumerate(requests):
            try:
                by_role.setdefault(self._role(request), []).append(index)
            except CityError as refused:
                outcomes[index] = refused
        rounds = [
            [part[start : start + MAX_IN_FLIGHT] for part in by_role.values() if start < len(part)]
            for start in range(0, max(map(len, by_role.values()), default=0), MAX_IN_FLIGHT)
        ]
        first = self._send_parts(requests, rounds[0], outcomes) if rounds else []

        def collect() -> list[Any]:
            self._collect(requests, first, outcomes)
            for parts in rounds[1:]:
                self._collect(requests, self._send_parts(requests, parts, outcomes), outcomes)
            return outcomes

        return collect

    def _send_parts(
        self, requests: Sequence[Request[Any]], parts: Sequence[list[int]], outcomes: list[Any]
    ) -> list[_UnderWay]:
        """One part for each role, at most 64 commands each, on their way at the same time."""
        under_way: list[_UnderWay] = []
        for part in parts:
            bodies = [requests[n].code.encode("ascii") + requests[n].encode() for n in part]
            try:
                connection = self._connection(requests[part[0]])
                under_way.append((connection, part, connection.send(bodies)))
            except CityError as gone:
                for index in part:
                    outcomes[index] = gone
        return under_way

    def _collect(
        self, requests: Sequence[Request[Any]], under_way: Sequence[_UnderWay], outcomes: list[Any]
    ) -> None:
        for connection, part, waitings in under_way:
            for index, waiting in zip(part, waitings, strict=True):
                request = requests[index]
                try:
                    body = connection.wait(waiting)
                    answer = open_answer(body, waiting.header, request.code)
                    outcomes[index] = request.parse(answer)
                except CityError as refused:
                    outcomes[index] = refused

    def _role(self, request: Request[R]) -> Role:
        for role in request.roles:
            if role in self._contexts:
                return role
        raise HsmForbidden("HSM-ROLE", f"{request.code} needs one of {list(request.roles)}")

    def _connection(self, request: Request[R]) -> _Connection:
        """An open connection of the role, to send on once; requests with a handle always take the first (R-13)."""
        role, bulk = self._role(request), request.bulk
        place = self._bulk if bulk else self._place
        if place is None:
            raise HsmBusy("HSM-GONE", "no bulk listener is known")
        with self._lock:
            found = self._connections.setdefault((role, bulk), [])
            for stale in [one for one in found if one.stale]:
                stale.fail("closed by the HSM")
                found.remove(stale)
            idle = min(found, key=lambda one: len(one.under_way), default=None)
            if request.on_one_connection and found:
                idle = found[0]
            elif idle is None or (idle.under_way and len(found) < self._pool):
                idle = _Connection(place, self._contexts[role], bulk)
                found.append(idle)
            idle.chosen.append(None)
            return idle

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for connections in self._connections.values():
                for connection in connections:
                    connection.fail("closed by us")
            self._connections.clear()
