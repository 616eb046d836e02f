"""Bytes to and from the printer: one exclusive port, deadlines, draining, and a transcript of the last exchanges.

A port is named by a device path or a pyserial URL (``/dev/ttyUSB0``, ``socket://host:9100``,
``rfc2217://host:port``). Nothing here knows a command. Deadlines are waits for a real machine, so they run
on the system's monotonic clock; the clock passed in dates the transcript only.
"""

import hashlib
import io
import select
import termios
from collections import deque
from dataclasses import dataclass

import serial

from core.clock import Clock, SystemClock
from core.errors import Unavailable
from printer.port import PrinterFault, Situation

POLL_SECONDS = 0.02  # one blocking read, where a port cannot be waited for
WRITE_CHUNK = 1024
WRITE_SECONDS = 10.0  # a printer that takes no kilobyte for so long has stopped listening
READ_CHUNK = 4096
MAX_TRANSCRIPT = 512
MAX_DRAIN_BYTES = 65_536
SHOWN_BYTES = 64

PORT_ERRORS = (serial.SerialException, OSError, termios.error)


@dataclass(frozen=True)
class Exchanged:
    """One line of the transcript: ISO time, ``>`` to or ``<`` from the printer, and what; payloads as digests."""

    at: str
    way: str
    text: str


class Link:
    """The line to one printer. Used by one thread."""

    def __init__(self, url: str, clock: Clock, write_seconds: float = WRITE_SECONDS) -> None:
        self.url = url
        self._clock = clock
        self._ticks = SystemClock()
        self._write_seconds = write_seconds
        self._port: serial.SerialBase | None = None
        self._arrivals: select.poll | None = None
        self.transcript: deque[Exchanged] = deque(maxlen=MAX_TRANSCRIPT)
        self.noise = 0  # bytes that arrived while nothing was asked, lifetime

    @property
    def is_open(self) -> bool:
        """Whether the port is open."""
        return self._port is not None

    def open(self, baud: int) -> None:
        """Open the port for this program alone.

        Raises Unavailable P-L06 when another program holds it, PrinterFault P-L05 when it cannot be opened.
        """
        self.close()
        try:
            port = serial.serial_for_url(self.url, do_not_open=True, baudrate=baud)
            port.timeout = POLL_SECONDS
            if not self.url.startswith("rfc2217:"):  # pyserial cannot bound writes there
                port.write_timeout = self._write_seconds
            if "://" not in self.url:
                port.exclusive = True
            port.open()
        except PORT_ERRORS as reason:
            if "lock" in str(reason):
                raise Unavailable("P-L06", str(reason), port=self.url) from reason
            raise self._lost(reason) from reason
        self._port = port
        self._arrivals = _arrivals(port)
        self.note("-", f"open {baud} 8N1")

    def close(self) -> None:
        """Let go of the port; harmless when it is closed."""
        port, self._port = self._port, None
        if port is not None:
            port.close()

    def monotonic(self) -> float:
        """Seconds for deadlines."""
        return self._ticks.monotonic()

    def write(self, data: bytes) -> bool:
        """Send all of `data`; False when the printer stopped taking bytes (how many it took is unknown)."""
        port = self._opened()
        try:
            for start in range(0, len(data), WRITE_CHUNK):
                port.write(data[start : start + WRITE_CHUNK])
        except serial.SerialTimeoutException:
            port.reset_output_buffer()
            return False
        except PORT_ERRORS as reason:
            raise self._lost(reason) from reason
        return True

    def read(self, until: float) -> bytes:
        """Whatever has come; waits for the first byte until the monotonic instant `until`. b"" is silence."""
        port = self._opened()
        try:
            while True:
                waiting = port.in_waiting
                if not waiting and self._arrivals is not None:
                    self._arrivals.poll(max(0.0, until - self.monotonic()) * 1000)
                data = bytes(port.read(max(1, min(READ_CHUNK, waiting))))
                if data or self.monotonic() >= until:
                    return data
        except PORT_ERRORS as reason:
            raise self._lost(reason) from reason

    def drain(self, quiet: float) -> int:
        """Throw away input until nothing came for `quiet` seconds; returns how many bytes that were."""
        dropped = bytearray()
        while data := self.read(self.monotonic() + quiet):
            dropped += data
            if len(dropped) > MAX_DRAIN_BYTES:
                break
        self.dropped(bytes(dropped))
        return len(dropped)

    def discard_waiting(self) -> None:
        """Throw away what arrived while nothing was asked: a printer never speaks unasked, so it is noise."""
        port = self._opened()
        try:
            waiting = min(port.in_waiting, MAX_DRAIN_BYTES)
            data = bytes(port.read(waiting)) if waiting else b""
        except PORT_ERRORS as reason:
            raise self._lost(reason) from reason
        self.dropped(data)

    def note(self, way: str, text: str) -> None:
        """Add a line to the transcript."""
        self.transcript.append(
            Exchanged(self._clock.now().isoformat(timespec="milliseconds"), way, text)
        )

    def dropped(self, data: bytes) -> None:
        """Count bytes nobody asked for."""
        if data:
            self.noise += len(data)
            self.note("<", f"noise {describe(data)}")

    def _opened(self) -> serial.SerialBase:
        if self._port is None:
            raise PrinterFault("P-L05", Situation.OFFLINE, "the port is closed", port=self.url)
        return self._port

    def _lost(self, reason: BaseException) -> PrinterFault:
        self.close()
        self.note("-", "line lost")
        return PrinterFault("P-L05", Situation.OFFLINE, str(reason), port=self.url)


def _arrivals(port: serial.SerialBase) -> "select.poll | None":
    """Sleeps until the port has something to read; None for a port without a descriptor (rfc2217).

    A panel takes seconds, and every look in between is time other stations of this process do not have.
    """
    try:
        descriptor = port.fileno()
    except io.UnsupportedOperation:
        return None
    found = select.poll()
    found.register(descriptor, select.POLLIN)
    return found


def describe(data: bytes) -> str:
    """Bytes for a log: short ones readable, long ones as length and digest. A photo never gets in."""
    if len(data) <= SHOWN_BYTES:
        return "".join(chr(byte) if 32 <= byte < 127 else f"<{byte:02X}>" for byte in data)
    return f"[{len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()[:16]}]"
