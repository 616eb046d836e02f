"""The quick way for good messages: one table, no error texts (performance.md 3.3, iso8583-host.md 15).

`payments.messages` asks here first. What is not plainly right makes both functions answer None: then the library
codec, which is the written truth, decides and says what is wrong. So this file can only agree with it; a
property test holds the two against each other, byte for byte.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from re import Pattern

from payments.iso_fields import (
    BITMAP_LENGTH,
    DECIMAL,
    FIELDS,
    MINIMUM,
    MTI_LENGTH,
    MTI_NAMES,
    NO_CONTROL,
    PRINTABLE,
    TRACK,
    Form,
)
from payments.purse_data import FORMS

PURSE_FIELD = 58
HEAD = MTI_LENGTH + BITMAP_LENGTH
_PURSE_LENGTHS = {flag.encode(): 2 + form.size for flag, form in FORMS.items()}
_TENS = {n: bytes.fromhex(f"{n:02d}") for n in range(100)}
_NUMBERS = {raw[0]: n for n, raw in _TENS.items()}


@dataclass(frozen=True)
class _Row:
    """How one field is written: `digits` counts nibbles, `front` pads an odd count in front."""

    number: int
    length: int
    prefix: int
    digits: bool
    front: bool
    octets: bool
    coding: str
    good: Pattern[str]
    least: int


def _row(number: int) -> _Row:
    field = FIELDS[number]
    good = {Form.Z: TRACK, Form.TEXT: PRINTABLE, Form.CHINESE: NO_CONTROL}.get(field.form, DECIMAL)
    return _Row(
        number, field.length, field.prefix, field.digits, field.form is Form.N,
        field.form is Form.BYTES, "gb18030" if field.form is Form.CHINESE else "ascii", good,
        MINIMUM.get(number, 0),
    )  # fmt: skip


_ROWS = {number: _row(number) for number in FIELDS}
_BITS = [(1 << (64 - number), _ROWS.get(number)) for number in range(1, 65)]


def encode(mti: str, fields: Mapping[int, str | bytes]) -> bytes | None:
    """The body of a message whose values all fit; None when any does not."""
    bitmap, parts = 0, []
    for number in sorted(fields):
        row, value = _ROWS.get(number), fields[number]
        if row is None or isinstance(value, bytes) is not row.octets:
            return None
        data, count = _wire(row, value)
        if data is None or count > row.length or (not row.prefix and count != row.length):
            return None
        bitmap |= 1 << (64 - number)
        if row.prefix == 1:
            parts.append(_TENS[count])
        elif row.prefix == 2:
            parts.append(_TENS[count // 100] + _TENS[count % 100])
        parts.append(data)
    if mti not in MTI_NAMES:
        return None
    return bytes.fromhex(mti) + bitmap.to_bytes(BITMAP_LENGTH, "big") + b"".join(parts)


def _wire(row: _Row, value: str | bytes) -> tuple[bytes | None, int]:
    """Bytes on the wire and the count for the length."""
    if isinstance(value, bytes):
        return value, len(value)
    if row.good.fullmatch(value) is None or len(value) < row.least:
        return None, 0
    if not row.digits:
        try:
            data = value.encode(row.coding)
        except UnicodeEncodeError:
            return None, 0
        return data, len(data)
    padded = value if len(value) % 2 == 0 else "0" + value if row.front else value + "0"
    return bytes.fromhex(padded), len(value)


def decode(body: bytes) -> tuple[str, dict[int, str | bytes]] | None:
    """Type and fields of a message without any fault; None when there may be one."""
    mti = body[:MTI_LENGTH].hex()
    if mti not in MTI_NAMES or len(body) < HEAD:
        return None
    bitmap, at, end = int.from_bytes(body[MTI_LENGTH:HEAD], "big"), HEAD, len(body)
    fields: dict[int, str | bytes] = {}
    for bit, row in _BITS:
        if not bitmap & bit:
            continue
        if row is None:
            return None
        count = row.length
        if row.prefix:
            found = _length(body, at, row.prefix)
            if found is None or found > row.length:
                return None
            count, at = found, at + row.prefix
        stop = at + ((count + 1) // 2 if row.digits else count)
        if stop > end:
            return None
        value = _value(row, body[at:stop], count)
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


def _value(row: _Row, raw: bytes, count: int) -> str | bytes | None:
    if row.octets:
        fits = row.number != PURSE_FIELD or _PURSE_LENGTHS.get(raw[:2]) == len(raw)
        return raw if fits else None
    if row.digits:
        text = raw.hex().upper()
        if count % 2:
            if (text[0] if row.front else text[-1]) != "0":
                return None
            text = text[1:] if row.front else text[:-1]
    else:
        try:
            text = raw.decode(row.coding)
        except UnicodeDecodeError:
            return None
    if row.good.fullmatch(text) is None or len(text) < row.least:
        return None
    return text
