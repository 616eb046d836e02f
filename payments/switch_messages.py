"""The bank card switch's message form (iso8583-host.md 14): a 46-byte header and an ASCII body of 128 fields.

Only a bank-side adapter needs it. Header: length 2Eh, flag and version, total length 4 digits, destination 11,
source 11, reserved 3, batch 1, transaction information 8, user information 1, reject code 5. Lengths of
variable fields are two or three ASCII digits and count bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from core.errors import Rejected

HEADER_LENGTH = 46
MAX_BODY = 9_999 - HEADER_LENGTH
MTI_LENGTH, BITMAP_LENGTH = 4, 8
# Fixed lengths in bytes; L2 and L3 are variable ones with the most they may hold.
_FIXED = {
    3: 6, 4: 12, 5: 12, 6: 12, 7: 10, 9: 8, 10: 8, 11: 6, 12: 6, 13: 4, 14: 4, 15: 4, 16: 4, 18: 4,
    19: 3, 22: 3, 23: 3, 25: 2, 26: 2, 28: 9, 37: 12, 38: 6, 39: 2, 41: 8, 42: 15, 43: 40, 49: 3,
    50: 3, 51: 3, 52: 8, 53: 16, 66: 1, 70: 3, 74: 10, 75: 10, 76: 10, 77: 10, 78: 10, 79: 10,
    80: 10, 81: 10, 82: 12, 84: 12, 86: 16, 87: 16, 88: 16, 89: 16, 90: 42, 96: 8, 97: 17, 128: 8,
}  # fmt: skip
_L2 = {2: 19, 32: 11, 33: 11, 35: 37, 44: 25, 45: 79, 99: 11, 100: 11, 102: 28, 103: 28}
_L3 = {
    36: 104, 48: 512, 54: 120, 55: 255, 56: 512, 57: 100, 58: 100, 59: 600, 60: 100, 61: 200,
    62: 200, 63: 512, 104: 600, 113: 512, 116: 512, 117: 256, 121: 999, 122: 999, 123: 999,
    125: 256, 126: 256,
}  # fmt: skip  # 121 to 123: printed tables say 100, published answers carry 226 bytes in 123
_BYTES = frozenset({52, 55, 63, 96, 128})
_CODING = "gb18030"


class SwitchFault(Rejected):
    """Not a message of the switch; `field` 0 stands for header, type or bitmap."""

    response_code = "30"

    def __init__(self, field: int, reason: str, position: int) -> None:
        super().__init__(
            "SWITCH-MESSAGE", f"field {field} {reason} at byte {position}", field=field
        )
        self.field = field
        self.reason = reason


@dataclass(frozen=True)
class SwitchHeader:
    """The 46 bytes in front. `reject` other than 00000: position, field, kind of error."""

    destination: str
    source: str
    total: int
    version: int = 2
    reserved: bytes = bytes(3)
    batch: int = 1
    transaction: bytes = b"00000000"
    user: int = 0
    reject: str = "00000"

    def __bytes__(self) -> bytes:
        return b"".join(
            (
                bytes((HEADER_LENGTH, self.version)), f"{self.total:04d}".encode(),
                self.destination.ljust(11).encode(), self.source.ljust(11).encode(),
                self.reserved, bytes((self.batch,)), self.transaction, bytes((self.user,)),
                self.reject.encode(),
            )
        )  # fmt: skip

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Raises SwitchFault."""
        if len(raw) != HEADER_LENGTH or raw[0] != HEADER_LENGTH:
            raise SwitchFault(0, "header length", 0)
        total, reject = raw[2:6], raw[41:46]
        if not total.isdigit() or not reject.isdigit():
            raise SwitchFault(0, "header digits", 2)
        try:
            destination, source = raw[6:17].decode("ascii"), raw[17:28].decode("ascii")
        except UnicodeDecodeError:
            raise SwitchFault(0, "header characters", 6) from None
        return cls(
            destination.rstrip(), source.rstrip(), int(total), raw[1], raw[28:31], raw[31],
            raw[32:40], raw[40], reject.decode(),
        )  # fmt: skip


@dataclass(frozen=True, repr=False)
class SwitchMessage:
    """Type and fields; 52, 55, 63, 96 and 128 are bytes, the rest text in GB18030."""

    mti: str
    fields: Mapping[int, str | bytes]

    def __repr__(self) -> str:
        return f"SwitchMessage({self.mti}, fields {sorted(self.fields)})"

    def __bytes__(self) -> bytes:
        wide = any(number > 64 for number in self.fields)
        bits = sum(1 << (128 - number) for number in self.fields) | (1 << 127 if wide else 0)
        bitmap = bits.to_bytes(16, "big")[: 16 if wide else BITMAP_LENGTH]
        body = b"".join(_wire(number, self.fields[number]) for number in sorted(self.fields))
        return self.mti.encode() + bitmap + body

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Raises SwitchFault, also for bytes behind the last field."""
        if len(body) < MTI_LENGTH + BITMAP_LENGTH or not body[:MTI_LENGTH].isdigit():
            raise SwitchFault(0, "type or bitmap", 0)
        wide = bool(body[MTI_LENGTH] & 0x80)
        at = MTI_LENGTH + (2 * BITMAP_LENGTH if wide else BITMAP_LENGTH)
        bits = int.from_bytes(body[MTI_LENGTH:at].ljust(16, b"\x00"), "big")
        fields: dict[int, str | bytes] = {}
        for number in range(2, 129):
            if bits >> (128 - number) & 1:
                value, at = _read(number, body, at)
                fields[number] = value
        if at != len(body):
            raise SwitchFault(0, "trailing bytes", at)
        return cls(body[:MTI_LENGTH].decode(), fields)


def _wire(number: int, value: str | bytes) -> bytes:
    raw = value if isinstance(value, bytes) else value.encode(_CODING)
    if number in _FIXED:
        if len(raw) != _FIXED[number]:
            raise SwitchFault(number, "length", 0)
        return raw
    digits, most = (2, _L2[number]) if number in _L2 else (3, _L3.get(number, 0))
    if not 0 < len(raw) <= most:
        raise SwitchFault(number, "length", 0)
    return f"{len(raw):0{digits}d}".encode() + raw


def _read(number: int, body: bytes, at: int) -> tuple[str | bytes, int]:
    length = _FIXED.get(number)
    if length is None:
        digits, most = (2, _L2[number]) if number in _L2 else (3, _L3.get(number, 0))
        stated = body[at : at + digits]
        if not most:
            raise SwitchFault(number, "not used", at)
        if len(stated) != digits or not stated.isdigit() or int(stated) > most:
            raise SwitchFault(number, "length", at)
        length, at = int(stated), at + digits
    raw = body[at : at + length]
    if len(raw) != length:
        raise SwitchFault(number, "short", at)
    if number in _BYTES:
        return raw, at + length
    try:
        return raw.decode(_CODING), at + length
    except UnicodeDecodeError:
        raise SwitchFault(number, "characters", at) from None
