"""Typed fields of HSM frames: one declaration per command, read and written by client and server alike.

A layout is written as in the command tables of hsm-and-ceremony.md 4 and 5::

    Layout("=0 master:KEY factors:DIV random:8H balance:8I terminal:12H data:4L")

=======  =====================================================  =================
field    on the wire                                            value
=======  =====================================================  =================
=TEXT    this text                                              none
nN nA    n digits; n printable ASCII characters                 str
nH nI    n upper-case hex characters                            bytes; int
nD       n digits, two a byte (BCD)                              bytes
nW       n hex characters that end in date and time (14 digits)  bytes
nB       n raw bytes                                            bytes
nL       length as n hex characters, then so many raw bytes     bytes
[..]     characters of the set, as often as the pattern says    str
KEY      ``K`` + 3 hex (resident), or ``S`` + key block (3.2)   str, as it stands
BLOCK    ``R`` + key block, between two parties                 str, as it stands
DIV      number of levels 0..3, 16 hex characters each          tuple of 8 bytes
TAIL     everything left                                        bytes
=======  =====================================================  =================

Reading is strict (R-3): wrong type, lower-case hex, missing or extra bytes raise HSM-15, a key scheme
other than K and S HSM-26, an LMK identifier other than ``%00`` HSM-13.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import call
from typing import Any

from hsm_sim.errors import refusal

MAX_LEVELS = 3
WHEN_DIGITS = 14  # date (8) and time (6)
FACTOR_LENGTH = 8
TRAILER_MARK = "\x19"
MAX_TRAILER = 32
FOREIGN_SCHEMES = "UTXYR0123456789ABCDEF"
_LMK = re.compile("%[0-9]{2}")
_HEX = re.compile("[0-9A-F]*")
_TAIL = f"(?:%00)?(?:{TRAILER_MARK}[\\s\\S]{{0,{MAX_TRAILER}}})?\\Z"
_BLOCK_START = re.compile("[SR][A-D]([0-9]{4})")


class _Field:
    """One field: its name ("" for a constant), a pattern when its length is fixed, and its two ways."""

    __slots__ = ("name", "pattern", "plain", "read", "value", "write")

    def __init__(
        self,
        name: str,
        pattern: str,
        value: Callable[[str], Any],
        write: Callable[[Any], str],
        read: Callable[[str, int], int] | None = None,
    ) -> None:
        self.name = name
        self.pattern = pattern
        self.value = value
        self.write = write
        compiled = re.compile(pattern)

        def by_pattern(text: str, start: int) -> int:
            found = compiled.match(text, start)
            if found is None:
                raise refusal("15", f"field {name or 'constant'}")
            return found.end()

        self.plain = read is None  # its pattern says all there is to know
        self.read = read or by_pattern


_number = partial(int, base=16)


def _raw(text: str) -> bytes:
    return text.encode("latin-1")


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _upper(data: bytes) -> str:
    return data.hex().upper()


def _digits(data: bytes) -> str:
    text = data.hex()
    if not text.isdecimal():
        raise ValueError("not BCD")
    return text


def _factors(text: str) -> tuple[bytes, ...]:
    if text[0] == "1":  # every command of the pilot
        return (bytes.fromhex(text[1:]),)
    return tuple(bytes.fromhex(text[n : n + 16]) for n in range(1, len(text), 16))


def _div(factors: Sequence[bytes]) -> str:
    if len(factors) > MAX_LEVELS or any(len(factor) != FACTOR_LENGTH for factor in factors):
        raise ValueError("at most three factors of 8 bytes")
    return str(len(factors)) + _upper(b"".join(factors))


def _key_end(text: str, start: int) -> int:
    scheme = text[start : start + 1]
    if scheme == "K" and re.fullmatch("[0-9A-F]{3}", text[start + 1 : start + 4]):
        return start + 4
    if scheme and scheme in FOREIGN_SCHEMES:
        raise refusal("26", "a key under a scheme this HSM does not take")
    if scheme == "S":
        return _block_end(text, start)
    raise refusal("15", "key field")


def _block_end(text: str, start: int) -> int:
    block = _BLOCK_START.match(text, start)
    end = start + 1 + int(block[1]) if block is not None else 0
    if block is None or not block.end() < end <= len(text):
        raise refusal("15", "key block")
    return end


def _exchanged_end(text: str, start: int) -> int:
    if text[start : start + 1] in ("X", "U", "T"):
        raise refusal("26", "bare keys come in by the console's import only")
    if text[start : start + 1] != "R":
        raise refusal("15", "key block")
    return _block_end(text, start)


def _prefixed(digits: int) -> Callable[[str, int], int]:
    def end(text: str, start: int) -> int:
        length = text[start : start + digits]
        if len(length) != digits or not _HEX.fullmatch(length):
            raise refusal("15", "length")
        stop = start + digits + int(length, 16)
        if stop > len(text):
            raise refusal("15", "fewer bytes than the length says")
        return stop

    return end


def _with_length(digits: int) -> Callable[[bytes], str]:
    def write(data: bytes) -> str:
        if len(data) >= 16**digits:
            raise ValueError("too long for its length field")
        return f"{len(data):0{digits}X}" + _text(data)

    return write


def _fixed(name: str, kind: str, count: int) -> _Field:
    def sized(write: Callable[[Any], str]) -> Callable[[Any], str]:
        def checked(value: Any) -> str:
            text = write(value)
            if len(text) != count:
                raise ValueError(f"{name} has {count} characters")
            return text

        return checked

    if kind == "N":
        return _Field(name, f"[0-9]{{{count}}}", str, sized(str))
    if kind == "A":
        return _Field(name, f"[ -~]{{{count}}}", str, sized(str))
    if kind == "H":
        return _Field(name, f"[0-9A-F]{{{count}}}", bytes.fromhex, sized(_upper))
    if kind == "I":
        write = sized(lambda value: f"{value:0{count}X}")
        return _Field(name, f"[0-9A-F]{{{count}}}", _number, write)
    if kind == "D":
        return _Field(name, f"[0-9]{{{count}}}", bytes.fromhex, sized(_digits))
    if kind == "W":
        pattern = f"[0-9A-F]{{{count - WHEN_DIGITS}}}[0-9]{{{WHEN_DIGITS}}}"
        return _Field(name, pattern, bytes.fromhex, sized(_upper))
    if kind == "B":
        return _Field(name, f"[\\s\\S]{{{count}}}", _raw, sized(_text))
    if kind == "L":
        return _Field(
            name, "", lambda text: _raw(text[count:]), _with_length(count), _prefixed(count)
        )
    raise ValueError(f"no such field: {kind}")


def _field(token: str) -> _Field:
    if token.startswith("="):
        constant = token[1:]
        return _Field("", re.escape(constant), str, lambda _: constant)
    name, _, kind = token.partition(":")
    if kind == "KEY":
        return _Field(name, "K[0-9A-F]{3}", str, str, _key_end)
    if kind == "BLOCK":
        return _Field(name, "", str, str, _exchanged_end)
    if kind == "DIV":
        levels = "|".join(f"{n}[0-9A-F]{{{16 * n}}}" for n in range(MAX_LEVELS, -1, -1))
        return _Field(name, f"(?:{levels})", _factors, _div)
    if kind == "TAIL":
        return _Field(name, "", _raw, _text, lambda text, start: len(text))  # noqa: ARG005
    if kind.startswith("["):
        return _Field(name, kind, str, str)
    return _fixed(name, kind[-1], int(kind[:-1]))


def _runs(fields: Sequence[_Field]) -> Iterator[tuple[re.Pattern[str] | None, list[_Field]]]:
    """Neighbours of a fixed form as one pattern with their named fields; every other field alone, without one."""
    for plain, group in groupby(fields, lambda field: field.plain):
        run = list(group)
        if plain:
            pattern = "".join(f"({f.pattern})" if f.name else f.pattern for f in run)
            yield re.compile(pattern), [field for field in run if field.name]
        else:
            yield from ((None, [field]) for field in run)


class Layout:
    """The fields of a command or of its answer, in order."""

    def __init__(self, spec: str = "") -> None:
        self.spec = spec
        self._fields = tuple(_field(token) for token in spec.split())
        self._named = tuple(field for field in self._fields if field.name)
        self.names = tuple(field.name for field in self._named)
        self._values = tuple(field.value for field in self._named)
        first = self._fields[0] if self._fields else None
        self.prefix = "" if first is None or first.name else first.value(first.write(None))
        self.open_ended = any(not field.pattern and field.name for field in self._fields)
        quick = "".join(
            f"({field.pattern})" if field.name else field.pattern for field in self._fields
        )
        self._quick = None if self.open_ended else re.compile(quick + _TAIL)
        self._runs = tuple(_runs(self._fields))

    def encode(self, values: Mapping[str, Any]) -> bytes:
        """The bytes of these values; ValueError for one that does not fit its field."""
        parts = [field.write(values[field.name] if field.name else None) for field in self._fields]
        return "".join(parts).encode("latin-1")

    def write(self, *values: Any) -> bytes:
        """As `encode`, values in the order of the named fields."""
        return self.encode(dict(zip(self.names, values, strict=True)))

    def decode(self, text: str) -> tuple[list[Any], str]:
        """Values in order, and the trailer ("" when there is none) of a body read as Latin-1.

        Raises HSM-15, 13, 26 or 80. The quick way is the same rule compiled into one expression.
        """
        if self._quick is not None:
            found = self._quick.match(text)
            if found is not None:
                values = list(map(call, self._values, found.groups()))
                end = found.end(found.lastindex) if found.lastindex else 0
                return values, "" if end == len(text) else text[_trailer_at(text, end) :]
        values, at = self.take(text)
        return values, end_of_body(text, at)

    def read(self, data: bytes) -> list[Any]:
        """The values of an answer or of a part of one; raises as `decode`."""
        return self.decode(data.decode("latin-1"))[0]

    def take(self, text: str, start: int = 0) -> tuple[list[Any], int]:
        """The values that begin at `start` and where they end."""
        at, values = start, []
        for run, fields in self._runs:
            if run is None:
                field = fields[0]
                end = field.read(text, at)
                values.append(field.value(text[at:end]))
                at = end
                continue
            found = run.match(text, at)
            if found is None:
                return self._take_one_by_one(text, start)
            values += map(call, [field.value for field in fields], found.groups())
            at = found.end()
        return values, at

    def _take_one_by_one(self, text: str, start: int) -> tuple[list[Any], int]:
        """As `take`, and the refusal names the field that does not fit."""
        at, values = start, []
        for field in self._fields:
            end = field.read(text, at)
            if field.name:
                values.append(field.value(text[at:end]))
            at = end
        return values, at

    def repeat(self, text: str, start: int, count: int) -> tuple[list[list[Any]], int]:
        """The values of so many groups, one behind the other, and where they end."""
        at, groups = start, []
        for _ in range(count):
            values, at = self.take(text, at)
            groups.append(values)
        return groups, at


def with_length(data: bytes) -> bytes:
    """Four hex characters of length and the data; HSM-80 when they do not fit."""
    if len(data) > 0xFFFF:
        raise refusal("80", "longer than a length field")
    return f"{len(data):04X}".encode("ascii") + data


def _trailer_at(text: str, start: int) -> int:
    at = text.find(TRAILER_MARK, start)
    return len(text) if at < 0 else at


def end_of_body(text: str, at: int) -> str:
    """Check what follows the last field: nothing, ``%00``, a trailer; the trailer with its mark."""
    if text[at : at + 1] == "%":
        found = _LMK.match(text, at)
        if found is None:
            raise refusal("15", "LMK identifier")
        if found[0] != "%00":
            raise refusal("13", "there is one LMK, 00")
        at = found.end()
    trailer = text[at:]
    if trailer and (trailer[0] != TRAILER_MARK or len(trailer) > 1 + MAX_TRAILER):
        raise refusal("15", "bytes after the last field")
    return trailer
