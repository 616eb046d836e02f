"""The host port: mutual TLS 1.3, one role a connection, commands of a connection in order (3.1, 3.3).

Two listeners may run: the host port (2-byte length) and the bulk port for command `90` (4-byte length), TCP
and, for bulk, also a Unix socket with the same TLS. A frame the stream cannot be trusted after closes the
connection. Reading stops while a client does not take its answers. Limits: section 7.
"""

import asyncio
import contextlib
import logging
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hsm_sim.certificates import CA_FILE, SERVER, client_of
from hsm_sim.engine import Engine
from hsm_sim.frame import (
    BULK_LENGTH_BYTES,
    HEADER_LENGTH,
    LENGTH_BYTES,
    MAX_BULK_FRAME,
    MAX_IN_FLIGHT,
    BrokenStream,
    frame_length,
)
from hsm_sim.work import Client

_LOG = logging.getLogger("citycard.hsm")
MAX_CONNECTIONS = 64
IDLE_SECONDS = 300
HANDSHAKE_SECONDS = 5
TICK_SECONDS = 1.0
BULK_THREADS = 2


@dataclass(frozen=True)
class Listening:
    """One way in: how long its length field is, how long a frame may be, whether it is the bulk listener."""

    length_bytes: int
    limit: int
    bulk: bool


def server_context(folder: Path) -> ssl.SSLContext:
    """TLS 1.3 only, with a client certificate of our CA or none at all; no tickets, no renegotiation."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(folder / CA_FILE)
    context.load_cert_chain(folder / f"{SERVER}.pem", folder / f"{SERVER}.key")
    context.num_tickets = 0
    return context


class _Link(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: "HsmServer", listening: Listening) -> None:
        self._server = server
        self._listening = listening
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._client: Client | None = None
        self._paused = False
        self._scheduled = False
        self._busy = False
        self._last = 0.0

    # -- asyncio's side ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._last = self._server.now()
        self._client = self._server.welcome(self, transport)
        if self._client is None:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._server.gone(self, self._client)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._last = self._server.now()
        self._buffer += data
        if not self._scheduled and not self._paused:
            self._work()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        """The client does not take its answers: take no more from it."""
        self._paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused = False
        if self._transport is not None:
            self._transport.resume_reading()
        self._work()

    # -- frames -----------------------------------------------------------------------------------

    def _work(self) -> None:
        """Answer what is in the buffer, at most `MAX_IN_FLIGHT` frames before others have their turn."""
        self._scheduled = False
        if self._listening.bulk:
            self._work_bulk()
            return
        bodies: list[bytes] = []
        broken = ""
        try:
            while len(bodies) < MAX_IN_FLIGHT and (body := self._next_frame()) is not None:
                bodies.append(body)
        except BrokenStream as stream:
            broken = stream.code
        if bodies and not self._answer(bodies):
            broken = "HSM-FRAME"
        if broken:
            self._close(broken)
        elif len(bodies) == MAX_IN_FLIGHT:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._work)

    def _work_bulk(self) -> None:
        """One frame at a time in a thread of its own: the host port keeps its speed."""
        if self._busy or self._transport is None:
            return
        try:
            body = self._next_frame()
        except BrokenStream as stream:
            self._close(stream.code)
            return
        if body is None:
            self._transport.resume_reading()
            return
        self._busy = True
        self._transport.pause_reading()
        loop = asyncio.get_running_loop()
        assert self._client is not None
        done = loop.run_in_executor(
            self._server.bulk_threads, self._server.engine.execute_many, self._client, [body],
            HEADER_LENGTH, True,
        )  # fmt: skip
        done.add_done_callback(self._bulk_done)

    def _bulk_done(self, done: "asyncio.Future[list[bytes]]") -> None:
        self._busy = False
        answers = done.result()
        self._send(answers)
        if not answers:
            self._close("HSM-FRAME")
        elif not self._paused:
            self._work_bulk()

    def _answer(self, bodies: list[bytes]) -> bool:
        """Answer frames in order; False when one held no command, and then nothing after it."""
        assert self._client is not None
        answers = self._server.engine.execute_many(self._client, bodies, HEADER_LENGTH)
        self._send(answers)
        return len(answers) == len(bodies)

    def _send(self, answers: list[bytes]) -> None:
        if self._transport is not None and answers:
            size = self._listening.length_bytes
            self._transport.write(
                b"".join(len(answer).to_bytes(size, "big") + answer for answer in answers)
            )

    def _next_frame(self) -> bytes | None:
        size = self._listening.length_bytes
        if len(self._buffer) < size:
            return None
        end = size + frame_length(bytes(self._buffer[:size]), self._listening.limit)
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[size:end])
        del self._buffer[:end]
        return body

    def _close(self, reason: str) -> None:
        _LOG.warning("connection closed: %s", reason)
        if self._transport is not None:
            self._transport.close()

    def close_if_idle(self, now: float) -> None:
        """End a connection nobody has used for five minutes."""
        if now - self._last > IDLE_SECONDS:
            self._close("idle")

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()


class HsmServer:
    """All listeners of one HSM."""

    def __init__(self, engine: Engine, certificates: Path) -> None:
        self.engine = engine
        self._context = server_context(certificates)
        self._links: set[_Link] = set()
        self._servers: list[asyncio.Server] = []
        self._numbers = 0
        self.bulk_threads = ThreadPoolExecutor(BULK_THREADS, "hsm-bulk")

    def now(self) -> float:
        """The loop's clock."""
        return asyncio.get_running_loop().time()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Open the host port; its number."""
        return await self._listen(
            Listening(LENGTH_BYTES, self.engine.hsm.frame_limit, bulk=False), host, port
        )

    async def start_bulk(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Open the bulk port; its number."""
        return await self._listen(BULK, host, port)

    async def start_bulk_socket(self, path: Path) -> None:
        """Open the bulk listener on a Unix socket."""
        server = await asyncio.get_running_loop().create_unix_server(
            lambda: _Link(self, BULK), str(path), ssl=self._context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
        )  # fmt: skip
        path.chmod(0o600)
        self._servers.append(server)

    async def _listen(self, listening: Listening, host: str, port: int) -> int:
        server = await asyncio.get_running_loop().create_server(
            lambda: _Link(self, listening), host, port, ssl=self._context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
        )  # fmt: skip
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`; once a second close intervals and idle connections."""
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), TICK_SECONDS)
            self.engine.tick()
            for link in list(self._links):
                link.close_if_idle(self.now())
        await self.close()

    async def close(self) -> None:
        """Close all listeners and connections."""
        for server in self._servers:
            server.close()
        for link in list(self._links):
            link.abort()
        for server in self._servers:
            await server.wait_closed()
        await asyncio.get_running_loop().run_in_executor(None, self.bulk_threads.shutdown)

    def welcome(self, link: _Link, transport: asyncio.Transport) -> Client | None:
        """Who this is by its certificate's key; None for strangers and when the house is full."""
        if len(self._links) >= MAX_CONNECTIONS:
            _LOG.warning("more than %d connections", MAX_CONNECTIONS)
            return None
        tls = transport.get_extra_info("ssl_object")
        key = client_of(tls.getpeercert(binary_form=True))
        known = self.engine.hsm.policy.clients.get(key)
        if known is None:
            self.engine.note_stranger(key)
            return None
        if self.engine.hsm.policy.dev:
            _LOG.warning("%s is connected to an HSM in development mode", known.name)
        self._links.add(link)
        self._numbers += 1
        return Client(known.name, known.role, self._numbers)

    def gone(self, link: _Link, client: Client | None) -> None:
        """A connection ended: what belonged to it goes too."""
        self._links.discard(link)
        if client is not None:
            self.engine.connection_ended(client)


BULK = Listening(BULK_LENGTH_BYTES, MAX_BULK_FRAME, bulk=True)
