"""The quick way for good messages: one table, no error texts (performance.md 3.3, iso8583-host.md 15).

`payments.messages` asks here first. What is not plainly right makes both functions answer None: then the library
codec, which is the written truth, decides and says what is wrong. So this file can only agree with it; a
property test holds the two against each other, byte for byte.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache

from payments.iso_fields import (
    BITMAP_LENGTH,
    FIELDS,
    MINIMUM,
    MTI_LENGTH,
    MTI_NAMES,
    NO_CONTROL,
    TRACK,
    Field,
    Form,
)
from payments.purse_data import FORMS

PURSE_FIELD = 58
HEAD = MTI_LENGTH + BITMAP_LENGTH
BITMAPS_KEPT = 256
VALUES_KEPT = 8_192
# Fields whose values come again and again and are nobody's secret: their two forms are remembered.
_REPEATED = frozenset({3, 12, 13, 15, 22, 25, 26, 32, 39, 41, 42, 44, 49, 53, 60, 63})
_PURSE_LENGTHS = {flag.encode(): 2 + form.size for flag, form in FORMS.items()}
_TENS = {n: bytes.fromhex(f"{n:02d}") for n in range(100)}
_NUMBERS = {raw[0]: n for n, raw in _TENS.items()}
Value = str | bytes


def _digits(text: str) -> bool:
    return (text.isdecimal() and text.isascii()) or not text


def _printable(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _track(text: str) -> bool:
    return TRACK.fullmatch(text) is not None


def _no_control(text: str) -> bool:
    return _printable(text) or NO_CONTROL.fullmatch(text) is not None


class _Row:
    """How one field is written and read. Both ways give None for a value that is not plainly right."""

    __slots__ = (
        "bit",
        "coding",
        "digits",
        "front",
        "good",
        "least",
        "length",
        "number",
        "octets",
        "prefix",
        "repeated",
    )

    def __init__(self, field: Field) -> None:
        self.number, self.length, self.prefix = field.number, field.length, field.prefix
        self.bit = 1 << (64 - field.number)
        self.repeated = field.number in _REPEATED
        self.digits, self.octets = field.digits, field.form is Form.BYTES
        self.front = field.form is Form.N  # an odd count gets its 0 in front
        self.coding = "gb18030" if field.form is Form.CHINESE else "ascii"
        checks: dict[Form, Callable[[str], bool]] = {
            Form.Z: _track, Form.TEXT: _printable, Form.CHINESE: _no_control,
        }  # fmt: skip
        self.good = checks.get(field.form, _digits)
        self.least = MINIMUM.get(field.number, 0)

    def write(self, value: Value) -> bytes | None:
        """Length and value as they stand on the wire."""
        if isinstance(value, bytes):
            data, count = value, len(value)
            if not self.octets:
                return None
        elif self.octets or not self.good(value) or len(value) < self.least:
            return None
        elif self.digits:
            count = len(value)
            if count % 2:
                value = "0" + value if self.front else value + "0"
            data = bytes.fromhex(value)
        else:
            try:
                data = value.encode(self.coding)
            except UnicodeEncodeError:
                return None
            count = len(data)
        if count == self.length and not self.prefix:
            return data
        if count > self.length or not self.prefix:
            return None
        head = _TENS[count] if self.prefix == 1 else _TENS[count // 100] + _TENS[count % 100]
        return head + data

    def read(self, raw: bytes, count: int) -> Value | None:
        """The value of these bytes; `count` digits or bytes."""
        if self.octets:
            fits = self.number != PURSE_FIELD or _PURSE_LENGTHS.get(raw[:2]) == len(raw)
            return raw if fits else None
        if self.digits:
            text = raw.hex().upper()
            if count % 2:
                if (text[0] if self.front else text[-1]) != "0":
                    return None
                text = text[1:] if self.front else text[:-1]
        else:
            try:
                text = raw.decode(self.coding)
            except UnicodeDecodeError:
                return None
        return text if self.good(text) and len(text) >= self.least else None


_ROWS = {number: _Row(field) for number, field in FIELDS.items()}


@lru_cache(maxsize=VALUES_KEPT)
def _written(number: int, value: Value) -> bytes | None:
    return _ROWS[number].write(value)


@lru_cache(maxsize=VALUES_KEPT)
def _read(number: int, raw: bytes, count: int) -> Value | None:
    return _ROWS[number].read(raw, count)


def encode(mti: str, fields: Mapping[int, Value]) -> bytes | None:
    """The body of a message whose values all fit; None when any does not."""
    plan = _plan(mti, tuple(fields))
    if plan is None:
        return None
    head, rows = plan
    parts = [head]
    for row in rows:
        value = fields[row.number]
        data = _written(row.number, value) if row.repeated else row.write(value)
        if data is None:
            return None
        parts.append(data)
    return b"".join(parts)


@lru_cache(maxsize=BITMAPS_KEPT)
def _plan(mti: str, numbers: tuple[int, ...]) -> tuple[bytes, tuple[_Row, ...]] | None:
    """Type and bitmap as bytes, and the fields in their order; None for a type or field that means nothing here."""
    if mti not in MTI_NAMES or not _ROWS.keys() >= set(numbers):
        return None
    rows = tuple(_ROWS[number] for number in sorted(numbers))
    bitmap = sum(row.bit for row in rows)
    return bytes.fromhex(mti) + bitmap.to_bytes(BITMAP_LENGTH, "big"), rows


@lru_cache(maxsize=BITMAPS_KEPT)
def _rows_of(bitmap: bytes) -> tuple[_Row, ...] | None:
    """The fields of a bitmap; None when a bit is set that means nothing here. A dialect has few bitmaps."""
    bits = int.from_bytes(bitmap, "big")
    known = tuple(row for row in _ROWS.values() if bits & row.bit)
    return known if sum(row.bit for row in known) == bits else None


def decode(body: bytes) -> tuple[str, dict[int, Value]] | None:
    """Type and fields of a message without any fault; None when there may be one."""
    mti, end = body[:MTI_LENGTH].hex(), len(body)
    rows = _rows_of(body[MTI_LENGTH:HEAD]) if end >= HEAD else None
    if rows is None or mti not in MTI_NAMES:
        return None
    at = HEAD
    fields: dict[int, Value] = {}
    for row in rows:
        count = row.length
        if row.prefix:
            found = _length(body, at, row.prefix)
            if found is None or found > count:
                return None
            count, at = found, at + row.prefix
        stop = at + ((count + 1) // 2 if row.digits else count)
        if stop > end:
            return None
        raw = body[at:stop]
        value = _read(row.number, raw, count) if row.repeated else row.read(raw, count)
        if value is None:
            return None
        fields[row.number], at = value, stop
    return (mti, fields) if at == end else None


def _length(body: bytes, at: int, size: int) -> int | None:
    """A BCD length of one or two bytes; None when it is none."""
    total = 0
    for raw in body[at : at + size]:
        tens = _NUMBERS.get(raw)
        if tens is None:
            return None
        total = total * 100 + tens
    return total if at + size <= len(body) else None
