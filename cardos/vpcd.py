"""Plugs a chip into pcscd's virtual reader (vsmartcard's vpcd), so that real PC/SC programs talk to it.

The slot host is the *card's* side of TCP: vpcd listens, we dial. Every message both ways is a 2-byte
length and that many bytes; one byte is a control (0 off, 1 on, 2 reset, 4 ATR), more is an APDU
(pcsc-and-serial.md 2). It holds no logic beyond framing and power, so that a card in process and a
card behind a reader run the same code. One blocking thread per slot.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from threading import Event, Thread

from core.apdu import CardChannel
from core.clock import Clock, SystemClock
from core.errors import CityError, DeviceFault, Unavailable

POWER_OFF, POWER_ON, RESET, GET_ATR = 0, 1, 2, 4
MAX_FRAME = 0xFFFF
EMPTY_SLOT_SECONDS = (
    0.5  # pcscd polls every 0.4 s; a faster swap leaves the reader stuck (section 7)
)
CONNECT_SECONDS = 5.0
CONNECT_RETRY_SECONDS = 0.02
JOIN_SECONDS = 5.0


class TearPoint(Enum):
    """Where a card is torn out. Never between the two length bytes: that crashes pcscd (section 2, rule 4)."""

    BEFORE_COMMAND = "the chip never sees the command"
    BEFORE_REPLY = "the chip has done it, no byte of the answer leaves"
    AFTER_LENGTH = "the answer is announced, then nothing"
    IN_BODY = "half of the answer leaves"


class VirtualSlot:
    """One slot of a virtual reader, seen from the card: insert, remove, tear.

    `address` is vpcd's (host, port) for the slot. Not for use by two threads at once.
    """

    def __init__(self, address: tuple[str, int], clock: Clock | None = None) -> None:
        self._address = address
        self._clock = clock or SystemClock()
        self._empty_since = self._clock.monotonic()  # who held the slot before is not known
        self._pause = Event()
        self._link: _Link | None = None

    @property
    def occupied(self) -> bool:
        """Whether a card is in and its connection lives."""
        return self._link is not None and self._link.alive

    def insert(self, card: CardChannel) -> None:
        """Put a card in, half a second after the last one left at the earliest.

        Unavailable CARD-OCCUPIED when one is in, CARD-NO-VPCD when nobody listens at the address.
        """
        if self.occupied:
            raise Unavailable("CARD-OCCUPIED", f"slot {self._address[1]} holds a card")
        self.remove()
        left = self._empty_since + EMPTY_SLOT_SECONDS - self._clock.monotonic()
        if left > 0:
            self._pause.wait(left)
        self._link = _Link(self._dial(), card, self._gone)

    def remove(self) -> None:
        """Take the card out and wait until its thread has ended. What failed inside is raised here."""
        link, self._link = self._link, None
        if link is not None:
            link.close()
            if link.failure is not None:
                raise link.failure

    def tear(self, point: TearPoint) -> None:
        """Arm a tear at the next APDU; after it the slot is empty. DeviceFault CARD-ABSENT when it is already."""
        if self._link is None or not self._link.alive:
            raise DeviceFault("CARD-ABSENT", "no card to tear")
        self._link.tear_at = point

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the card is out (torn, or the reader went away); False after `timeout` seconds."""
        return self._link is None or self._link.join(timeout)

    def _gone(self) -> None:
        self._empty_since = self._clock.monotonic()

    def _dial(self) -> socket.socket:
        deadline = self._clock.monotonic() + CONNECT_SECONDS
        while True:
            try:
                return socket.create_connection(self._address, timeout=CONNECT_SECONDS)
            except OSError as reason:
                if self._clock.monotonic() > deadline:
                    raise Unavailable(
                        "CARD-NO-VPCD",
                        f"nobody listens at {self._address}: {reason}",
                        port=self._address[1],
                    ) from reason
            self._pause.wait(CONNECT_RETRY_SECONDS)


class _Link:
    """The connection of one inserted card and the thread that serves it."""

    def __init__(self, link: socket.socket, card: CardChannel, gone: Callable[[], None]) -> None:
        link.settimeout(None)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = link
        self._card = card
        self._gone = gone
        self._powered = False
        self.tear_at: TearPoint | None = None
        self.failure: BaseException | None = None
        self._thread = Thread(target=self._run, name=f"card-{link.getpeername()[1]}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def join(self, timeout: float | None) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        """End the connection and the thread; safe when they ended by themselves."""
        with suppress(OSError):  # the other side may have been faster
            self._socket.shutdown(socket.SHUT_RDWR)
        if not self.join(JOIN_SECONDS):
            raise DeviceFault("CARD-SILENT", "the chip did not come back from a command")

    def _run(self) -> None:
        try:
            with self._socket:
                while (message := self._receive()) is not None and self._serve(message):
                    pass
        except ConnectionError:  # the reader went away: for a card that is a power cut
            pass
        except BaseException as reason:
            self.failure = reason
        finally:
            self._gone()

    def _receive(self) -> bytes | None:
        head = self._exactly(2)
        return None if head is None else self._exactly(int.from_bytes(head, "big"))

    def _exactly(self, count: int) -> bytes | None:
        """`count` bytes, or None when the reader closed.

        vpcd sends length and body apart; without a quick acknowledgement before *every* recv the body
        waits 40 ms for the delayed one (section 2, rule 1).
        """
        data = b""
        while len(data) < count:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            part = self._socket.recv(count - len(data))
            if not part:
                return None
            data += part
        return data

    def _serve(self, message: bytes) -> bool:
        """Act on one message; False ends the connection, as it ends when the chip loses its power inside."""
        try:
            if len(message) != 1:
                return self._command(message)
            if message[0] in (POWER_ON, RESET):
                self._power_on()
        except CityError:
            return False
        if message[0] == POWER_OFF:
            self._powered = False
        elif message[0] == GET_ATR:
            self._send(self._card.atr)
        return True

    def _power_on(self) -> None:
        self._card.reset()
        self._powered = True

    def _command(self, apdu: bytes) -> bool:
        point, self.tear_at = self.tear_at, None
        if point is TearPoint.BEFORE_COMMAND:
            return False
        if not self._powered:  # after another client's power-off there may be no power-on (rule 6)
            self._power_on()
        answer = self._card.transmit(apdu)
        if point is TearPoint.BEFORE_REPLY or not 2 <= len(answer) <= MAX_FRAME:
            return False
        frame = len(answer).to_bytes(2, "big") + answer
        if point is TearPoint.AFTER_LENGTH:
            self._socket.sendall(frame[:2])
        elif point is TearPoint.IN_BODY:
            self._socket.sendall(frame[: 2 + len(answer) // 2])
        else:
            self._send(answer)
        return point is None

    def _send(self, body: bytes) -> None:
        self._socket.sendall(len(body).to_bytes(2, "big") + body)
