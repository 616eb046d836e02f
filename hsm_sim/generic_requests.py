"""Commands a payShield knows too: diagnostics, random, work keys, MACs, PIN translation (section 4)."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

from hsm_sim.client import Request, Role
from hsm_sim.codec import Layout, end_of_body
from hsm_sim.errors import refusal

_MAC_ROLES = (Role.SWITCH, Role.PURSE)
_KEYS = (Role.TERMS,)
MAC_4, MAC_8, MAC_16 = "0", "1", "2"
MAC_SIZES = {MAC_4: 4, MAC_8: 8, MAC_16: 16}
ISO_0, ISO_1, ISO_3, ISO_4 = "01", "05", "47", "48"


@dataclass(frozen=True)
class Diagnose(Request[tuple[bytes, str]]):
    """`NC`: check value of the LMK (3 bytes and 5 zeros) and the firmware, ``0001-SIM0``."""

    code = "NC"
    roles = (Role.MONITOR,)
    layout = Layout()
    answer = Layout("lmk_check:16H firmware:9A")


@dataclass(frozen=True)
class Echo(Request[bytes]):
    """`B2`: the same bytes back."""

    code = "B2"
    roles = (Role.MONITOR,)
    layout = Layout("data:4L")
    answer = Layout("data:TAIL")

    data: bytes


@dataclass(frozen=True)
class RandomBytes(Request[bytes]):
    """`N0`: 1 to 256 random bytes; `length` as three digits."""

    code = "N0"
    roles = (Role.MONITOR,)
    layout = Layout("length:3N")
    answer = Layout("data:TAIL")

    length: str


@dataclass(frozen=True)
class ExportedKey:
    """A new key as token, exported to a partner (scheme letter first), and check value (3 bytes)."""

    token: str
    exported: str
    check_value: bytes


_ATTRIBUTES = "=# usage:2A algorithm:2A mode:1A version:2N exportability:1A =00"


@dataclass(frozen=True)
class GenerateWorkKey(Request[tuple[str, bytes]]):
    """`A0` mode 0: a new work key (P0, M1, M3, M6, D0, or K0 for a TMK). Answer: token, check value."""

    code = "A0"
    roles = _KEYS
    layout = Layout(f"=0FFFS {_ATTRIBUTES}")
    answer = Layout("token:KEY kcv:6H")

    usage: str
    algorithm: str = "T2"
    mode: str = "N"
    version: str = "00"
    exportability: str = "N"


@dataclass(frozen=True)
class GenerateAndExport(Request[ExportedKey]):
    """`A0` mode 1: as mode 0, and export it under `under`, a ZMK (`kind` "0") or a TMK or pad key ("1").

    `scheme` R is a key block, X bare TDES-ECB where the wrapping key's attributes list it.
    """

    code = "A0"
    roles = _KEYS
    layout = Layout(f"=1FFFS; kind:[01] under:KEY scheme:[RX] {_ATTRIBUTES}")
    answer = Layout("keys:TAIL")

    under: str
    usage: str
    kind: str = "1"
    scheme: str = "R"
    algorithm: str = "T2"
    mode: str = "N"
    version: str = "00"
    exportability: str = "N"

    def parse(self, data: bytes) -> ExportedKey:
        text = data.decode("latin-1")
        (token,), at = _TOKEN.take(text)
        return ExportedKey(token, text[at:-6], bytes.fromhex(text[-6:]))


_TOKEN = Layout("token:KEY")


@dataclass(frozen=True)
class ImportWorkKey(Request[tuple[str, bytes]]):
    """`A6`: a partner's key block (``R`` + block) under a ZMK becomes a token. Answer: token, check value."""

    code = "A6"
    roles = _KEYS
    layout = Layout("=FFF zone:KEY block:BLOCK =S")
    answer = Layout("token:KEY kcv:6H")

    zone: str
    block: str


@dataclass(frozen=True)
class ExportWorkKey(Request[tuple[str, bytes]]):
    """`A8`: a token for a partner under a ZMK. Answer: ``R`` + block, check value.

    `version` of the key block: "D" under AES, "B" under TDES, "" as the zone key wants it.
    """

    code = "A8"
    roles = _KEYS
    layout = Layout("=FFF zone:KEY key:KEY =R")
    answer = Layout("block:BLOCK kcv:6H")

    zone: str
    key: str
    version: str = ""

    def encode(self) -> bytes:
        plain = self.layout.write(self.zone, self.key)
        return plain + (b"!" + self.version.encode("ascii") if self.version else b"")

    @classmethod
    def decode(cls, text: str) -> tuple[Self, str]:
        (zone, key), at = cls.layout.take(text)
        version = ""
        if text[at : at + 1] == "!":
            version, at = text[at + 1 : at + 2], at + 2
            if version not in ("B", "D"):
                raise refusal("15", "key block version")
        return cls(zone, key, version), end_of_body(text, at)


@dataclass(frozen=True)
class CheckValue(Request[bytes]):
    """`BU`: check value (3 bytes) of a key."""

    code = "BU"
    roles = (Role.TERMS, Role.SWITCH, Role.PURSE)
    layout = Layout("=FFF key:KEY")
    answer = Layout("kcv:6H")

    key: str


LENGTHS_KEPT = 256  # messages of one dialect have a few dozen lengths
_MAC_GIVEN = {size: Layout(f"mac:{2 * count}H") for size, count in MAC_SIZES.items()}
_MAC_HEAD = Layout("=0 input:[01] size:[012] algorithm:[136C] padding:[0-3] =FFF key:KEY length:4I")


def _mac_fields(request: Any) -> bytes:
    """`_MAC_HEAD` and the data; the head is put together here, since every message of a terminal needs two."""
    data: bytes = request.data
    if len(data) > 0xFFFF:
        raise ValueError("longer than the length field")
    told = f"0{request.input}{request.size}{request.algorithm}{request.padding}FFF{request.key}"
    head = f"{told}{len(data):04X}".encode("latin-1")
    return head + (data if request.input == "0" else data.hex().upper().encode("ascii"))


@lru_cache(maxsize=LENGTHS_KEPT)
def _mac_data(form: str, length: int) -> Layout:
    """The data of so many bytes, raw (form 0) or as hex."""
    return Layout(f"data:{length}B" if form == "0" else f"data:{2 * length}H")


def _read_mac_fields(text: str) -> tuple[list[Any], int]:
    values, at = _MAC_HEAD.take(text)
    length = values.pop()
    if at + (length if values[0] == "0" else 2 * length) > len(text):
        raise refusal("15", "fewer bytes than the length says")
    (data,), at = _mac_data(values[0], length).take(text, at)
    return [*values, data], at


@dataclass(frozen=True)
class MakeMac(Request[bytes]):
    """`M6`: a MAC over `data`.

    `algorithm` 1 ISO 9797-1 alg. 1, 3 alg. 3 (X9.19), 6 CMAC, C UnionPay ECB (field 64: 8 ASCII characters);
    `size` MAC_4, MAC_8, MAC_16; `padding` 0 none, 1 to 3 methods of ISO 9797-1; `input` "0" sends the bytes,
    "1" twice as many hex characters.
    """

    code = "M6"
    roles = (Role.SWITCH,)
    layout = _MAC_HEAD
    answer = Layout("mac:TAIL")

    key: str
    data: bytes
    algorithm: str = "C"
    size: str = MAC_8
    padding: str = "1"
    input: str = "0"

    def encode(self) -> bytes:
        return _mac_fields(self)

    @classmethod
    def decode(cls, text: str) -> tuple[Self, str]:
        (form, size, algorithm, padding, key, data), at = _read_mac_fields(text)
        return cls(key, data, algorithm, size, padding, form), end_of_body(text, at)

    def parse(self, data: bytes) -> bytes:
        return bytes.fromhex(data.decode("ascii"))


@dataclass(frozen=True)
class VerifyMac(Request[None]):
    """`M8`: is this the MAC of `data`? Fields as in `M6`; `mac` as bytes."""

    code = "M8"
    roles = _MAC_ROLES
    layout = _MAC_HEAD

    key: str
    data: bytes
    mac: bytes
    algorithm: str = "C"
    size: str = MAC_8
    padding: str = "1"
    input: str = "0"

    def encode(self) -> bytes:
        if len(self.mac) != MAC_SIZES[self.size]:
            raise ValueError("the MAC has another length than its size field says")
        return _mac_fields(self) + self.mac.hex().upper().encode("ascii")

    @classmethod
    def decode(cls, text: str) -> tuple[Self, str]:
        (form, size, algorithm, padding, key, data), at = _read_mac_fields(text)
        (mac,), at = _MAC_GIVEN[size].take(text, at)
        return cls(key, data, mac, algorithm, size, padding, form), end_of_body(text, at)


_PIN_HEAD = Layout("source:KEY target:KEY =12")
_PIN_BLOCKS = {
    hexes + 16: Layout(f"block:{hexes}H source_format:2N target_format:2N account:12N")
    for hexes in (16, 32)
}


@dataclass(frozen=True)
class TranslatedPin:
    """A PIN block for the next zone: the PIN's length, the block, its format."""

    length: int
    block: bytes = field(repr=False)
    format: str


@dataclass(frozen=True)
class TranslateTerminalPin(Request[TranslatedPin]):
    """`CA`: a PIN block from a terminal's TPK to a zone's key.

    Formats ISO_0, ISO_1, ISO_3, ISO_4; `account` is the 12 digits of the account number, without check digit.
    """

    code = "CA"
    roles = (Role.SWITCH,)
    layout = _PIN_HEAD
    answer = Layout("length:2N rest:TAIL")

    source: str
    target: str
    block: bytes = field(repr=False)
    account: str
    source_format: str = ISO_0
    target_format: str = ISO_0

    def encode(self) -> bytes:
        fields = _PIN_BLOCKS.get(2 * len(self.block) + 16)
        if fields is None:
            raise ValueError("a PIN block has 8 or 16 bytes")
        return _PIN_HEAD.write(self.source, self.target) + fields.write(
            self.block, self.source_format, self.target_format, self.account
        )

    @classmethod
    def decode(cls, text: str) -> tuple[Self, str]:
        (source, target), at = _PIN_HEAD.take(text)
        stop = next((n for n in range(at, len(text)) if text[n] in "%\x19"), len(text))
        fields = _PIN_BLOCKS.get(stop - at)
        if fields is None:
            raise refusal("15", "PIN block, formats, account")
        (block, given, wanted, account), at = fields.take(text, at)
        return cls(source, target, block, account, given, wanted), end_of_body(text, at)

    def parse(self, data: bytes) -> TranslatedPin:
        text = data.decode("ascii")
        return TranslatedPin(int(text[:2]), bytes.fromhex(text[2:-2]), text[-2:])


@dataclass(frozen=True)
class TranslateZonePin(TranslateTerminalPin):
    """`CC`: a PIN block from one zone's key to another's."""

    code = "CC"
