"""The printer's end of the line: commands out of bytes, bytes out of answers (printer.md 2.1, 2.2)."""

import re
from dataclasses import dataclass

from printer.raster import BITS, packed_size
from printer.status import ANSWER_CODES, OK

ESC, CR, SEPARATOR = 0x1B, 0x0D, 0x3B
ACK, NAK = b"\x06", b"\x15"
MAX_HEADER = 64
MAX_PAYLOAD = 700_000  # a byte per pixel and a little
NAME = re.compile(r"[A-Z][a-z]{1,5}")
BAD_HEADER = "ERR COMMAND"
BAD_PARAMETER = "ERR PARAM"
TOO_LATE = "ERR TIMEOUT"


@dataclass(frozen=True)
class Command:
    """One complete command. `error` is the answer when the frame itself was wrong."""

    name: str
    parameters: tuple[str, ...] = ()
    payload: bytes | None = None
    error: str = ""


class CommandParser:
    """Cuts the byte stream into commands. Payloads are counted, never searched for an end.

    ESC may be missing; NULs between commands are idle; an ESC inside a header starts over, so that a
    command whose end was lost on the line is forgotten instead of carried out late.
    """

    def __init__(self) -> None:
        self._header = bytearray()
        self._payload = bytearray()
        self._missing = 0
        self._awaits_cr = False
        self._abandoned = False

    @property
    def in_payload(self) -> bool:
        """Whether payload bytes are outstanding."""
        return self._missing > 0

    def push(self, data: bytes) -> list[Command]:
        """Take bytes in; returns the commands they complete."""
        found = []
        at = 0
        while at < len(data):
            if self._missing:
                chunk = data[at : at + self._missing]
                self._payload += chunk
                self._missing -= len(chunk)
                self._awaits_cr = self._missing == 0
                at += len(chunk)
                continue
            command = self._header_byte(data[at])
            at += 1
            if command is not None:
                found.append(command)
        return found

    def give_up(self) -> None:
        """Forget a half-received command."""
        self._header.clear()
        self._payload.clear()
        self._missing, self._awaits_cr, self._abandoned = 0, False, False

    def abandon(self) -> None:
        """The rest of this payload came too late: swallow it, then answer with a time-out."""
        self._abandoned = True

    def _header_byte(self, byte: int) -> Command | None:
        if self._awaits_cr:
            command = self._command(self._header, bytes(self._payload))
            late = self._abandoned
            self.give_up()
            if late:
                return Command(command.name, error=TOO_LATE)
            return command if byte == CR else Command(command.name, error=BAD_PARAMETER)
        if byte == ESC:
            self._header.clear()
        elif byte == CR:
            if self._header:
                command = self._command(self._header, None)
                self._header.clear()
                return command
        elif byte:
            self._header.append(byte)
            if byte == SEPARATOR:
                self._missing = self._payload_size()
            if len(self._header) > MAX_HEADER:
                self._header.clear()
                return Command("", error=BAD_HEADER)
        return None

    def _payload_size(self) -> int:
        """Length of the payload that begins behind this separator, 0 when none does."""
        parts = self._header.split(b";")[:-1]
        if parts[0] == b"Db" and len(parts) == 3 and parts[2].isdigit():
            levels = int(parts[2])
            return packed_size(levels) if levels in BITS else 0
        if parts[0] == b"Dbc" and len(parts) == 4 and parts[3].isdigit():
            size = int(parts[3])
            return size if size <= MAX_PAYLOAD else 0
        return 0

    def _command(self, header: bytearray, payload: bytes | None) -> Command:
        text = header.decode("latin-1")
        name, *parameters = text.split(";")
        if NAME.fullmatch(name) is None:
            return Command("", error=BAD_HEADER)
        if payload is not None:
            parameters = parameters[:-1]  # the empty one in front of the payload
        return Command(name, tuple(parameters), payload)


def reply(answer: str, text: str = "", plain: bool = False) -> bytes:
    """The bytes of an answer: ``text ACK`` or ``NAK code``; in plain mode a text and NUL."""
    if plain:
        return (text or answer).encode("ascii") + b"\0"
    if answer == OK:
        return text.encode("ascii") + ACK
    return NAK + ANSWER_CODES[answer].encode("ascii")
