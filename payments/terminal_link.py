"""The terminal's line to the host: one request in flight, frames over TCP, with or without TLS (iso8583-host.md 2).

An exchange ends with the answer that was waited for, or with silence: a cut line, a refused connection and
a clock that ran out are the same to whoever asked. After silence the connection is closed, so that a
late answer dies with it.
"""

import select
import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol

from core.clock import Clock
from core.errors import Unavailable
from payments.frames import FRAME_MAX, KEEP_ALIVE, FrameFault, FrameReader

CONNECT_SECONDS = 5
MAX_STRAY_FRAMES = 64

Wanted = Callable[[bytes], bool]
Tap = Callable[[str, bytes], None]
"""``(direction, frame)`` with direction ``>`` to the host and ``<`` from it: for traces and counters."""


class HostLink(Protocol):
    """Port of the terminal: where frames go to and answers come from."""

    def open(self) -> None:
        """Be connected. Raises Unavailable TERM-OFFLINE; then nothing has been sent."""
        ...

    def exchange(self, frame: bytes, wanted: Wanted, timeout: int) -> bytes | None:
        """Send a frame and return the first one that `wanted` accepts; None for silence."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class TcpLink:
    """A connection to ``host:port`` that is made when needed and kept (`HostLink`)."""

    def __init__(
        self,
        host: str,
        port: int,
        clock: Clock,
        tls: ssl.SSLContext | None = None,
        tap: Tap | None = None,
    ) -> None:
        self._address = (host, port)
        self._clock = clock
        self._tls = tls
        self._tap = tap
        self._socket: socket.socket | None = None
        self._reader = FrameReader()
        self._ready: list[bytes] = []

    def open(self) -> None:
        """Connect if not connected. Unavailable TERM-OFFLINE."""
        if self._socket is not None and self._hung_up():
            self.close()
        if self._socket is not None:
            return
        host, port = self._address
        try:
            line = socket.create_connection(self._address, CONNECT_SECONDS)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                line = self._tls.wrap_socket(line, server_hostname=host)
        except OSError as reason:
            raise Unavailable(
                "TERM-OFFLINE", f"{host}:{port}: {reason}", host=host, port=port
            ) from reason
        self._socket, self._reader, self._ready = line, FrameReader(), []

    def _hung_up(self) -> bool:
        """Whether the host closed an idle line: found out now, it is not taken for silence later."""
        assert self._socket is not None
        readable, _, _ = select.select([self._socket], [], [], 0)
        if not readable:
            return False
        try:
            self._socket.settimeout(CONNECT_SECONDS)
            chunk = self._socket.recv(FRAME_MAX)
            self._reader.feed(chunk)  # answers nobody waits for any more, and keep-alives
        except (OSError, FrameFault):
            return True
        return not chunk

    def exchange(self, frame: bytes, wanted: Wanted, timeout: int) -> bytes | None:
        """One request and its answer; stray frames are dropped, keep-alives answered."""
        began = self._clock.monotonic()
        try:
            self.open()
            self._send(frame)
            for _ in range(MAX_STRAY_FRAMES):
                answer = self._receive(began, timeout)
                if answer is not None and wanted(answer):
                    return answer
        except (OSError, FrameFault, Unavailable):
            # Silence to the caller, whatever its cause: the request may have arrived all the same.
            self.close()
            return None
        self.close()
        return None

    def _send(self, frame: bytes) -> None:
        assert self._socket is not None
        if self._tap is not None and frame != KEEP_ALIVE:
            self._tap(">", frame)
        self._socket.sendall(frame)

    def _receive(self, began: Any, timeout: int) -> bytes | None:
        """The next frame; None for a keep-alive. OSError when time or line end."""
        assert self._socket is not None
        while not self._ready:
            left = timeout - (self._clock.monotonic() - began)
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            chunk = self._socket.recv(FRAME_MAX)
            if not chunk:
                raise ConnectionResetError
            self._ready = self._reader.feed(chunk)
        frame = self._ready.pop(0)
        if frame == KEEP_ALIVE:
            return None
        if self._tap is not None:
            self._tap("<", frame)
        return frame

    def close(self) -> None:
        """Hang up; the next exchange connects again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
