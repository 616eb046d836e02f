"""Commands and replies on the line: ESC name;parameters CR, counted payloads, ACK and NAK (printer.md 2.1, 2.2).

Nothing here knows what a command does. A reply has a shape per command; one of another shape is
CONFUSED, never believed: real machines sometimes give the previous command's answer.
"""

import re
from dataclasses import dataclass
from enum import Enum

from printer.link import Link, describe
from printer.status import ANSWER_CODES, OK
from printer.timing import Timing

ESC, SEPARATOR, CR, LF = b"\x1b", b";", b"\r", b"\n"
ACK, NAK, NUL = 0x06, 0x15, 0x00
MAX_REPLY = 256
NAK_CODES = frozenset("12TCFRKDW")
PAD_EXTRA = 64

_COUNTER = r"\d{1,10}"
_SHAPES = {
    "Rtp": r"[A-Z][A-Za-z0-9 .\-]{1,30}",
    "Rsn": r"[A-Z0-9\-]{4,20}",
    "Rfv": r"[A-Za-z0-9.\-]{1,20}",
    "Rkn": r"\d{3,8}",
    "Rr": r"[a-z]{1,6}",
    "Rcr": r"OK|ERR [A-Z ]{3,20}",
    "Rrt;count": rf"{_COUNTER}|ERR RIB DETECTION",
    "Rrt;qty": rf"{_COUNTER}|ERR RIB DETECTION",
    "Rlr": r"OK|ERR [A-Z ]{3,20}",
    "Rlr;p": r"OK|NO CARD|CARD|ERR CARD|SMART CARD|CONTACTLESS CARD|UNKNOWN|ERR MECHANICAL",
    "Rlr;h": r"CARD|NO CARD",
    "Rlr;r": r"OK|ERR NEED CLEANING",
    "Rem": r"\d{1,3};\d{1,3}",
    "Rcom;1": r"[0-9A-Z/+;]{5,40}",
    "Rok": r"OK",
    "Rst": r"[0-9A-F]{8}(;[0-9A-F]{8}){3}",
    **{f"Rco;{letter}": _COUNTER for letter in "cpnaml"},
    **{f"Rse;{letter}": r"\d{1,2},\d{2} Volts" for letter in "cmoprfnb"},
}
SHAPES = {name: re.compile(shape) for name, shape in _SHAPES.items()}


class Kind(Enum):
    """What came back."""

    ANSWER = "an acknowledgement, with a text of the right shape"
    REFUSED = "NAK and a code"
    SILENT = "nothing complete before the deadline"
    CONFUSED = "a reply of another shape"


@dataclass(frozen=True)
class Reply:
    """One reply. `nak` is the code letter when refused."""

    kind: Kind
    text: str = ""
    nak: str = ""


def encode(name: str, *parameters: str | int, payload: bytes | None = None) -> bytes:
    """``ESC name;p1;p2[;payload] CR``. Names are a capital and 1 to 5 small letters."""
    if not re.fullmatch(r"[A-Z][a-z]{1,5}", name):
        raise ValueError(f"{name!r} is no command name")
    parts = [name.encode("ascii"), *(str(item).encode("ascii") for item in parameters)]
    if any(byte in part for part in parts for byte in (ESC, SEPARATOR, CR)):
        raise ValueError("ESC, ; and CR belong into payloads only")
    if payload is not None:
        parts.append(payload)
    return ESC + SEPARATOR.join(parts) + CR


class ReplyReader:
    """Collects one reply from bytes, in ACK/NAK mode or as a text ended by NUL, CR or CR LF (later firmware)."""

    def __init__(self, plain: bool = False) -> None:
        self._plain = plain
        self._data = bytearray()
        self.rest = b""  # bytes behind a complete reply

    def push(self, data: bytes) -> tuple[str, str] | None:
        """Add bytes; (text, "") on success, ("", code) on NAK, None while incomplete."""
        for index, byte in enumerate(data):
            self._data.append(byte)
            done = self._complete(byte)
            if done is not None:
                self.rest = data[index + 1 :]
                return done
        return None

    @property
    def partial(self) -> bytes:
        """What came so far."""
        return bytes(self._data)

    def _complete(self, byte: int) -> tuple[str, str] | None:
        if self._plain:
            if byte not in (NUL, CR[0], LF[0]) or not self._data.strip(b"\0\r\n"):
                return None
            return _text(self._data.strip(b"\0\r\n")), ""
        if byte == ACK:
            return _text(self._data[:-1]), ""
        if len(self._data) > 1 and self._data[-2] == NAK:
            return "", chr(byte)
        return None


def _text(data: bytes | bytearray) -> str:
    """Replies are ASCII; anything else is kept visible and will fit no shape."""
    return bytes(data).decode("ascii", "backslashreplace")


class Wire:
    """Sends one command at a time and waits for its reply. `baud` is the speed the line runs at."""

    def __init__(self, link: Link, timing: Timing, baud: int, plain: bool = False) -> None:
        self.link = link
        self.timing = timing
        self.baud = baud
        self.plain = plain

    def exchange(self, name: str, *parameters: str | int, payload: bytes | None = None) -> Reply:
        """One command, one reply or its absence. Raises PrinterFault P-L05 when the line is gone."""
        frame = encode(name, *parameters, payload=payload)
        self.link.discard_waiting()
        label = ";".join([name, *map(str, parameters)])
        self.link.note(">", label if payload is None else f"{label};{describe(payload)}")
        if not self.link.write(frame):
            self.link.note("-", "the printer stopped taking bytes")
            return Reply(Kind.SILENT)
        return self.receive(label, self.timing.deadline(label, len(frame), self.baud))

    def receive(self, label: str, seconds: float) -> Reply:
        """Wait for the reply to `label`, at most `seconds`."""
        until = self.link.monotonic() + seconds
        reader = ReplyReader(self.plain)
        while True:
            data = self.link.read(until)
            done = reader.push(data)
            if done is not None:
                self.link.dropped(reader.rest)
                return self._judge(label, *done)
            if len(reader.partial) > MAX_REPLY:
                self.link.note("<", f"noise {describe(reader.partial)}")
                return Reply(Kind.CONFUSED)
            if not data:
                self.link.note("<", f"silence after {describe(reader.partial)!r}")
                return Reply(Kind.SILENT)

    def pad(self, byte_count: int) -> None:
        """Complete a payload that was cut: NULs, ignored when none is missing, and a CR (printer.md 6.4)."""
        self.link.note(">", f"NUL x {byte_count + PAD_EXTRA}, CR")
        self.link.write(bytes(byte_count + PAD_EXTRA) + CR)

    def _judge(self, label: str, text: str, nak: str) -> Reply:
        if nak:
            self.link.note("<", f"NAK {nak}")
            return Reply(Kind.REFUSED if nak in NAK_CODES else Kind.CONFUSED, nak=nak)
        shape = SHAPES.get(label)
        self.link.note("<", text if self.plain else f"{text} ACK" if text else "ACK")
        if shape is not None:
            fits = shape.fullmatch(text) is not None
        elif self.plain and text in ANSWER_CODES:
            return Reply(Kind.REFUSED, nak=ANSWER_CODES[text])
        else:
            fits = text == (OK if self.plain else "")
        return Reply(Kind.ANSWER if fits else Kind.CONFUSED, text=text)
