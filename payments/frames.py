"""The frame around a message: length, TPDU, header; and the reader that cuts a TCP stream into frames.

::

    length(2, big endian)  TPDU(5)  header(6)  body            iso8583-host.md 2.1 to 2.3

`length` counts everything after itself, 21 to 2048. ``0000`` alone is a keep-alive. A fault here closes the
connection: behind a wrong length the stream cannot be trusted any more (I-2).
"""

from dataclasses import dataclass

from core.errors import Rejected

FRAME_MIN = 21
FRAME_MAX = 2048
LENGTH_BYTES = 2
TPDU_LENGTH = 5
TPDU_IDENTIFIER = 0x60
HEADER_LENGTH = 6
BODY_OFFSET = LENGTH_BYTES + TPDU_LENGTH + HEADER_LENGTH
KEEP_ALIVE = b"\x00\x00"
TPDU = bytes.fromhex("6000030000")
HEADER = bytes.fromhex("613100311101")

# Processing requirement, low nibble of the header's third byte, set by the host in answers (2.3).
NOTHING, SEND_STATUS, SIGN_ON_AGAIN, LOAD_LIST = 0, 2, 3, 7


class FrameFault(Rejected):
    """Not a frame: close the connection. `reason` is ``frame length`` or ``TPDU identifier``."""

    response_code = "30"

    def __init__(self, reason: str, position: int) -> None:
        super().__init__("ISO-FRAME", f"{reason} at byte {position}", position=position)
        self.reason = reason
        self.position = position


@dataclass(frozen=True)
class Frame:
    """TPDU, header and body of one frame."""

    tpdu: bytes
    header: bytes
    body: bytes

    def __bytes__(self) -> bytes:
        length = TPDU_LENGTH + HEADER_LENGTH + len(self.body)
        if not FRAME_MIN <= length <= FRAME_MAX:
            raise FrameFault("frame length", 0)
        return length.to_bytes(LENGTH_BYTES, "big") + self.tpdu + self.header + self.body


def cut(raw: bytes) -> Frame:
    """TPDU, header and body of one complete frame. Raises FrameFault."""
    if len(raw) < BODY_OFFSET or int.from_bytes(raw[:LENGTH_BYTES], "big") + 2 != len(raw):
        raise FrameFault("frame length", 0)
    _check_length(len(raw) - LENGTH_BYTES)
    if raw[LENGTH_BYTES] != TPDU_IDENTIFIER:
        raise FrameFault("TPDU identifier", LENGTH_BYTES)
    return Frame(raw[2:7], raw[7:13], raw[13:])


def _check_length(length: int) -> None:
    if not FRAME_MIN <= length <= FRAME_MAX:
        raise FrameFault("frame length", 0)


class FrameReader:
    """Cuts a byte stream into frames; holds at most one unfinished frame.

    `feed` decides on a bad length after two bytes and on a bad TPDU after three, without waiting for the
    rest, so a peer cannot make us keep more than `FRAME_MAX` bytes.
    """

    def __init__(self) -> None:
        self._rest = b""

    @property
    def unfinished(self) -> bool:
        """Whether a frame has begun: its rest must come within 10 s (2.4)."""
        return bool(self._rest)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Whole frames (keep-alives as ``0000``) that `chunk` completes. Raises FrameFault."""
        data = self._rest + chunk
        found: list[bytes] = []
        at = 0
        while len(data) - at >= LENGTH_BYTES:
            length = int.from_bytes(data[at : at + LENGTH_BYTES], "big")
            if length == 0:
                found.append(KEEP_ALIVE)
                at += LENGTH_BYTES
                continue
            _check_length(length)
            if len(data) - at > LENGTH_BYTES and data[at + LENGTH_BYTES] != TPDU_IDENTIFIER:
                raise FrameFault("TPDU identifier", LENGTH_BYTES)
            end = at + LENGTH_BYTES + length
            if len(data) < end:
                break
            found.append(data[at:end])
            at = end
        self._rest = data[at:]
        return found


def answer_tpdu(tpdu: bytes) -> bytes:
    """The answer swaps destination and source."""
    return tpdu[:1] + tpdu[3:5] + tpdu[1:3]


def answer_header(header: bytes, requirement: int = NOTHING) -> bytes:
    """The host echoes the header except the requirement nibble."""
    return header[:2] + bytes((header[2] & 0xF0 | requirement,)) + header[3:]


def requirement_of(header: bytes) -> int:
    """What the host asks the terminal to do after this transaction (2.3)."""
    return header[2] & 0x0F
