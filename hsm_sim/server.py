"""The host port: mutual TLS 1.3, one role a connection, commands of a connection in order (3.1, 3.3).

Two listeners may run: the host port (2-byte length) and the bulk port for command `90` (4-byte length), TCP
and, for bulk, also a Unix socket with the same TLS. One loop serves every connection (`link`); bulk frames are
worked on in threads beside it. Limits: section 7.
"""

import contextlib
import logging
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from hsm_sim.certificates import CA_FILE, SERVER, client_of
from hsm_sim.engine import Engine
from hsm_sim.frame import BULK_LENGTH_BYTES, HEADER_LENGTH, LENGTH_BYTES, MAX_BULK_FRAME
from hsm_sim.link import READ, Link, Listening
from hsm_sim.work import Client

_LOG = logging.getLogger("citycard.hsm")
MAX_CONNECTIONS = 64
MAX_HANDSHAKES = 64  # connections whose certificate was not seen yet
BACKLOG = 128
IDLE_SECONDS = 300
HANDSHAKE_SECONDS = 5
TICK_SECONDS = 1.0
BULK_THREADS = 2
BULK = Listening(BULK_LENGTH_BYTES, MAX_BULK_FRAME, bulk=True)


def server_context(folder: Path) -> ssl.SSLContext:
    """TLS 1.3 only, with a client certificate of our CA or none at all; no tickets, no renegotiation."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(folder / CA_FILE)
    context.load_cert_chain(folder / f"{SERVER}.pem", folder / f"{SERVER}.key")
    context.num_tickets = 0
    return context


class HsmServer:
    """All listeners of one HSM. Everything but `stop` belongs to the thread that calls `run`."""

    def __init__(
        self, engine: Engine, certificates: Path, header_length: int = HEADER_LENGTH
    ) -> None:
        self.engine = engine
        self.now = time.monotonic  # deadlines of connections; nothing of it is ever told
        self._context = server_context(certificates)
        self._header_length = header_length
        self._selector = selectors.DefaultSelector()
        self._listeners: list[socket.socket] = []
        self._links: dict[Link, int] = {}  # what the selector looks for
        self._turns: deque[Link] = deque()
        self._done: deque[tuple[Link, list[bytes], int]] = deque()
        self._threads = ThreadPoolExecutor(BULK_THREADS, "hsm-bulk")
        self._numbers = 0
        self._stopping = False
        self._wake_in, self._wake_out = socket.socketpair()
        for end in (self._wake_in, self._wake_out):
            end.setblocking(False)
        self.watch(self._wake_out, self._woken)

    # -- opening ----------------------------------------------------------------------------------

    def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Open the host port; its number. Raises OSError."""
        return self._listen(
            Listening(LENGTH_BYTES, self.engine.hsm.frame_limit, bulk=False), host, port
        )

    def start_bulk(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Open the bulk port; its number. Raises OSError."""
        return self._listen(BULK, host, port)

    def start_bulk_socket(self, path: Path) -> None:
        """Open the bulk listener on a Unix socket. Raises OSError."""
        if path.is_socket():  # of an earlier run: the log's lock says that it has ended
            path.unlink()
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        opened.bind(str(path))
        path.chmod(0o600)
        self._accept_at(opened, BULK)

    def _listen(self, listening: Listening, host: str, port: int) -> int:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        opened = socket.create_server((host, port), family=family)
        self._accept_at(opened, listening)
        return int(opened.getsockname()[1])

    def _accept_at(self, opened: socket.socket, listening: Listening) -> None:
        opened.listen(BACKLOG)
        opened.setblocking(False)
        self._listeners.append(opened)
        self.watch(opened, lambda: self._accept(opened, listening))

    def watch(self, source: socket.socket | int, ready: Callable[[], None]) -> None:
        """Call `ready` whenever there is something to read; PermissionError for a plain file."""
        self._selector.register(source, READ, ready)

    def unwatch(self, source: int) -> None:
        """The opposite."""
        self._selector.unregister(source)

    # -- the loop ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until `stop`; once a second close intervals and idle connections."""
        tick = self.now() + TICK_SECONDS
        try:
            while not self._stopping:
                wait = 0.0 if self._turns else max(tick - self.now(), 0.0)
                for key, _ in self._selector.select(wait):
                    if isinstance(key.data, Link):
                        self._serve(key.data, key.data.ready)
                    else:
                        key.data()
                for _ in range(len(self._turns)):
                    link = self._turns.popleft()
                    self._serve(link, link.work)
                if self.now() >= tick:
                    tick = self.now() + TICK_SECONDS
                    self._tick()
        finally:
            self.close()

    def stop(self) -> None:
        """End `run`; may be called from a signal handler or another thread."""
        self._stopping = True
        self._wake()

    def _serve(self, link: Link, act: Callable[[], None]) -> None:
        """A bug in one connection ends that one; its text may hold data, so only its name is told."""
        try:
            act()
        except Exception as bug:
            _LOG.error("a connection broke inside: %s", type(bug).__name__)
            link.end()
        self._look(link)

    def _look(self, link: Link) -> None:
        """Have the selector look for what a connection waits for now."""
        before = self._links.get(link)
        if before is None or before == (after := link.waits_for):
            return
        if not before:
            self._selector.register(link, after, link)
        elif after:
            self._selector.modify(link, after, link)
        else:
            self._selector.unregister(link)
        self._links[link] = after

    def _tick(self) -> None:
        self.engine.tick()
        now = self.now()
        for link in list(self._links):
            if link.client is None and now - link.since > HANDSHAKE_SECONDS:
                link.end()
            elif now - link.since > IDLE_SECONDS:
                _LOG.warning("connection closed: idle")
                link.end()

    def close(self) -> None:
        """End all connections and listeners; `run` does it by itself."""
        for opened in self._listeners:
            opened.close()
        for link in list(self._links):
            link.end()
        self._threads.shutdown()
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()

    # -- connections ------------------------------------------------------------------------------

    def _accept(self, opened: socket.socket, listening: Listening) -> None:
        try:
            plain, _ = opened.accept()
        except OSError:
            return  # gone before we came
        strangers = sum(1 for link in self._links if link.client is None)
        if strangers >= MAX_HANDSHAKES:
            _LOG.warning("more than %d handshakes", MAX_HANDSHAKES)
            plain.close()
            return
        plain.setblocking(False)
        if plain.family != socket.AF_UNIX:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            tls = self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        except OSError:
            plain.close()
            return
        link = Link(self, listening, tls, self.now())
        self._links[link] = READ
        self._selector.register(link, READ, link)

    def welcome(self, tls: ssl.SSLSocket) -> Client | None:
        """Who this is by its certificate's key; None for strangers and when the house is full."""
        if sum(1 for link in self._links if link.client is not None) >= MAX_CONNECTIONS:
            _LOG.warning("more than %d connections", MAX_CONNECTIONS)
            return None
        certificate = tls.getpeercert(binary_form=True)
        assert certificate is not None  # CERT_REQUIRED
        key = client_of(certificate)
        known = self.engine.hsm.policy.clients.get(key)
        if known is None:
            self.engine.note_stranger(key)
            return None
        if self.engine.hsm.policy.dev:
            _LOG.warning("%s is connected to an HSM in development mode", known.name)
        self._numbers += 1
        return Client(known.name, known.role, self._numbers)

    def gone(self, link: Link) -> None:
        """A connection ends: what belonged to it goes too."""
        if self._links.pop(link, 0):
            self._selector.unregister(link)
        if link.client is not None:
            self.engine.connection_ended(link.client)

    def execute(self, client: Client, bodies: list[bytes]) -> list[bytes]:
        """Answers of the host port."""
        return self.engine.execute_many(client, bodies, self._header_length)

    def again(self, link: Link) -> None:
        """Give a connection another turn after the others: it has more frames than one turn does."""
        self._turns.append(link)

    # -- bulk frames ------------------------------------------------------------------------------

    def in_thread(self, link: Link, client: Client, bodies: list[bytes]) -> None:
        """Work on a bulk frame beside the loop: the host port keeps its speed."""

        def work() -> None:
            answers: list[bytes] = []
            try:
                answers = self.engine.execute_many(client, bodies, self._header_length, True)
            except Exception as bug:
                _LOG.error("a bulk frame broke inside: %s", type(bug).__name__)
            self._done.append((link, answers, len(bodies)))
            self._wake()

        self._threads.submit(work)

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_out.recv(4096)
        while self._done:
            link, answers, asked = self._done.popleft()
            if link in self._links:
                self._serve(link, partial(link.answer_bulk, answers, asked))

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake anyway; closed: nobody waits
            self._wake_in.send(b"!")
