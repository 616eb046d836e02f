"""Command and response APDUs (ISO/IEC 7816-3 and -4, short form) and the two card ports.

A command is ``CLA INS P1 P2 [Lc data] [Le]``, an answer is data followed by SW1 SW2. The purse chip
allows at most 239 bytes each way (purse-card.md 1), extended lengths do not exist here.
"""

from dataclasses import dataclass
from typing import Protocol, Self

MAX_DATA = 255
HEADER_LENGTH = 4


@dataclass(frozen=True)
class Command:
    """A command APDU. `le` None: no answer data expected; 0 means "as much as there is" (Le 00)."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""
    le: int | None = None

    def __post_init__(self) -> None:
        if (self.cla | self.ins | self.p1 | self.p2) & ~0xFF:
            raise ValueError("header fields are single bytes")
        if len(self.data) > MAX_DATA:
            raise ValueError("short APDUs carry at most 255 bytes")
        if self.le is not None and not 0 <= self.le <= 0xFF:
            raise ValueError("Le is one byte")

    @property
    def header(self) -> bytes:
        """CLA INS P1 P2."""
        return bytes((self.cla, self.ins, self.p1, self.p2))

    def __bytes__(self) -> bytes:
        body = bytes((len(self.data),)) + self.data if self.data else b""
        tail = b"" if self.le is None else bytes((self.le,))
        return self.header + body + tail

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Split raw bytes by the four cases; ValueError when the lengths do not add up."""
        if len(raw) < HEADER_LENGTH:
            raise ValueError("a command has at least four bytes")
        cla, ins, p1, p2 = raw[:HEADER_LENGTH]
        rest = raw[HEADER_LENGTH:]
        if not rest:
            return cls(cla, ins, p1, p2)
        if len(rest) == 1:
            return cls(cla, ins, p1, p2, le=rest[0])
        lc = rest[0]
        if lc == 0 or len(rest) not in (lc + 1, lc + 2):
            raise ValueError("Lc does not fit the number of bytes")
        le = rest[lc + 1] if len(rest) == lc + 2 else None
        return cls(cla, ins, p1, p2, rest[1 : lc + 1], le)


@dataclass(frozen=True)
class Response:
    """An answer: data and the status word as one number (0x9000)."""

    data: bytes
    sw: int

    def __bytes__(self) -> bytes:
        return self.data + self.sw.to_bytes(2, "big")

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Split data and status word; ValueError when there is no status word."""
        if len(raw) < 2:
            raise ValueError("an answer has at least a status word")
        return cls(raw[:-2], int.from_bytes(raw[-2:], "big"))


class CardChannel(Protocol):
    """Port: one powered card.

    `transmit` raises `core.errors.DeviceFault` (code CARD-GONE) when the card left, was torn or gave
    fewer than two bytes; what the chip did with the command is then unknown and must be asked.
    """

    @property
    def atr(self) -> bytes: ...

    def transmit(self, apdu: bytes) -> bytes:
        """Send one APDU; the answer is data followed by SW1 SW2."""
        ...

    def reset(self) -> bytes:
        """Reset the card; all volatile state is gone. Returns the ATR."""
        ...

    def close(self) -> None:
        """Power the card down and let go of the reader."""
        ...


class CardReader(Protocol):
    """Port: one slot. `wait` returns True when the slot became occupied (or empty) in time."""

    @property
    def name(self) -> str: ...

    def present(self) -> bool: ...

    def wait(self, present: bool, timeout: float) -> bool: ...

    def connect(self) -> CardChannel: ...
