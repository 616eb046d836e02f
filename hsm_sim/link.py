"""One connection of the host port: TLS handshake, frames in, answers out. It never waits: `server` calls it.

Commands of a connection are done in order, at most `MAX_IN_FLIGHT` in one turn. A client that does not take its
answers gets no more of its commands done. After a frame the stream cannot be trusted after, it is closed.
"""

import contextlib
import logging
import selectors
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsm_sim.frame import MAX_IN_FLIGHT, BrokenStream, frame_length
from hsm_sim.work import Client

if TYPE_CHECKING:
    from hsm_sim.server import HsmServer

_LOG = logging.getLogger("citycard.hsm")
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
RECEIVE = 65_536
MAX_UNSENT = 262_144  # bytes of answers a client may leave lying before its commands wait


@dataclass(frozen=True)
class Listening:
    """One way in: how long its length field is, how long a frame may be, whether it is the bulk listener."""

    length_bytes: int
    limit: int
    bulk: bool


class Link:
    """A connection. `client` is None until its certificate was seen; `since` is when it last said something."""

    def __init__(
        self, server: "HsmServer", listening: Listening, tls: ssl.SSLSocket, now: float
    ) -> None:
        self._server = server
        self._listening = listening
        self._tls = tls
        self._taken = bytearray()
        self._unsent = bytearray()
        self._busy = False  # a bulk frame is with a thread
        self._behind = False  # more frames are here than one turn does
        self._ending = False  # closed once the answers are out
        self._tls_wants = READ
        self.client: Client | None = None
        self.since = now

    def fileno(self) -> int:
        """For the selector."""
        return self._tls.fileno()

    @property
    def waits_for(self) -> int:
        """What the selector has to look for; 0 for nothing."""
        if self.client is None:
            return self._tls_wants
        if self._busy or self._behind or self._ending or len(self._unsent) > MAX_UNSENT:
            return WRITE if self._unsent else 0
        return READ | WRITE if self._unsent else READ

    def ready(self) -> None:
        """The network has something for us, or takes something from us."""
        try:
            if self.client is None:
                self._shake_hands()
            if self.client is not None:
                self._flush()
                if self.waits_for & READ:
                    self._receive()
                self.work()  # also what had to wait until the client took its answers
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as wants:
            self._tls_wants = READ if isinstance(wants, ssl.SSLWantReadError) else WRITE
        except OSError:
            self.close("")

    def _shake_hands(self) -> None:
        self._tls.do_handshake()
        self.client = self._server.welcome(self._tls)
        if self.client is None:
            self.close("")

    def _receive(self) -> None:
        data = self._tls.recv(RECEIVE)
        while data:
            self._taken += data
            if not self._tls.pending():
                self.since = self._server.now()
                return
            data = self._tls.recv(RECEIVE)
        raise ConnectionResetError

    # -- frames -----------------------------------------------------------------------------------

    def work(self) -> None:
        """Do the frames that are here, at most `MAX_IN_FLIGHT` before others have their turn."""
        if self.client is None or self._busy or self._ending or len(self._unsent) > MAX_UNSENT:
            return
        self._behind = False
        bodies: list[bytes] = []
        broken = ""
        most = 1 if self._listening.bulk else MAX_IN_FLIGHT
        try:
            while len(bodies) < most and (body := self._next_frame()) is not None:
                bodies.append(body)
        except BrokenStream as stream:
            broken = stream.code
        if bodies and self._listening.bulk:
            self._busy = True
            self._server.in_thread(self, self.client, bodies)
        elif bodies:
            self.answer(self._server.execute(self.client, bodies), len(bodies))
            if len(bodies) == most:
                self._behind = True  # and reads nothing more before
                self._server.again(self)
        if broken:
            self.close(broken)

    def answer_bulk(self, answers: list[bytes], asked: int) -> None:
        """The thread is done: send, and go on with what came meanwhile."""
        self.answer(answers, asked)
        self.work()

    def answer(self, answers: list[bytes], asked: int) -> None:
        """Send these; fewer than were asked for when one frame held no command: then the end."""
        self._busy = False
        size = self._listening.length_bytes
        for answer in answers:
            self._unsent += len(answer).to_bytes(size, "big")
            self._unsent += answer
        try:
            self._flush()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass  # the selector says when
        except OSError:
            self.close("")
        if len(answers) < asked:
            self.close("HSM-FRAME")

    def _next_frame(self) -> bytes | None:
        size = self._listening.length_bytes
        if len(self._taken) < size:
            return None
        end = size + frame_length(self._taken[:size], self._listening.limit)
        if len(self._taken) < end:
            return None
        body = bytes(self._taken[size:end])
        del self._taken[:end]
        return body

    def _flush(self) -> None:
        while self._unsent:
            del self._unsent[: self._tls.send(self._unsent)]
        if self._ending:
            self.end()

    def close(self, reason: str) -> None:
        """End it as soon as the answers are out; `reason` for the program's log."""
        if reason:
            _LOG.warning("connection closed: %s", reason)
        self._ending = True
        if not self._unsent or not reason:
            self.end()

    def end(self) -> None:
        """End it at once."""
        self._server.gone(self)
        with contextlib.suppress(OSError, ValueError):
            self._tls.unwrap()  # tells the client; does not wait for it
        self._tls.close()
