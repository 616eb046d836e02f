"""File, key, PIN and life-cycle commands as typed requests (purse-card.md 2, 4, 6 and 7).

Files are named by file id (`fid`, 2 bytes) when selected or created, and by short id (`sfi`, 1 to 31,
the low bits of the fid) when read or written; ``sfi=None`` means the current file. A request that
needs line protection goes through `CardSession.send_protected`, which sets the class and adds the MAC.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from cardos.client import CardSession, Order, Protector, Request
from cardos.spec import (
    CLA_BANK,
    CLA_ISO,
    MAC_LENGTH,
    MAX_DATA,
    RECORD_BY_NUMBER,
    RECORD_BY_TAG,
    SW,
    Ins,
)
from core.apdu import Command
from core.tlv import find

READ_OK = frozenset({int(SW.OK), int(SW.NEVER_WRITTEN)})
MAX_SFI = 31
MAX_SHORT_OFFSET = 0xFF
MAX_OFFSET = 0x7FFF
PIN_SEPARATOR = b"\xff"


@dataclass(frozen=True)
class Fci:
    """What SELECT tells about a directory (purse-card.md 6): name, and 9F0C or 88; empty for an EF.

    `application_file` is the whole file 0015 of a purse (`cardos.records.ApplicationFile`).
    """

    name: bytes = b""
    application_file: bytes = b""
    directory_sfi: int | None = None

    @classmethod
    def parse(cls, data: bytes) -> "Fci":
        """Read template 6F as TLV, never by offset; ValueError when it is not one."""
        if not data:
            return cls()
        template = find(data, 0x6F)
        if template is None:
            raise ValueError("the answer to SELECT is no FCI template")
        own = find(template, 0xA5) or b""
        sfi = find(own, 0x88)
        return cls(find(template, 0x84) or b"", find(own, 0x9F0C) or b"", sfi[0] if sfi else None)


@dataclass(frozen=True)
class SelectFile(Request[Fci]):
    """``00 A4 00 00 02``: select by file id. 6A82 unknown; 6A81 blocked, yet it becomes current."""

    fid: int

    def command(self) -> Command:
        return Command(CLA_ISO, Ins.SELECT, 0x00, 0x00, self.fid.to_bytes(2, "big"), 0x00)

    def parse(self, data: bytes) -> Fci:
        return Fci.parse(data)


@dataclass(frozen=True)
class SelectName(Request[Fci]):
    """``00 A4 04 00``: select a directory by its whole name, 5 to 16 bytes. Errors as `SelectFile`."""

    name: bytes

    def command(self) -> Command:
        return Command(CLA_ISO, Ins.SELECT, 0x04, 0x00, self.name, 0x00)

    def parse(self, data: bytes) -> Fci:
        return Fci.parse(data)


@dataclass(frozen=True)
class ExternalAuthenticate(Order):
    """``00 82 00 kid 08``: prove a key 39 over the challenge fetched just before. 63Cx, 6983, 6984, 6A88."""

    key_id: int
    cryptogram: bytes

    def command(self) -> Command:
        return Command(CLA_ISO, Ins.EXTERNAL_AUTHENTICATE, 0x00, self.key_id, self.cryptogram)


def authenticate(
    card: CardSession,
    key_id: int,
    cryptogram: Callable[[bytes], bytes],
    challenge_length: int = MAC_LENGTH,
) -> None:
    """External authentication: `cryptogram` answers the challenge (HSM command 32).

    Control keys take a challenge of 4 bytes only, reader keys 8 (README decision 23).
    """
    card.send(ExternalAuthenticate(key_id, cryptogram(card.challenge(challenge_length))))


class InternalMode(IntEnum):
    """P1 of INTERNAL AUTHENTICATE: key type 30, 31 or 32."""

    ENCRYPT = 0
    DECRYPT = 1
    MAC = 2


@dataclass(frozen=True)
class InternalAuthenticate(Request[bytes]):
    """``00 88 mode kid Lc``: the card computes over `data` with a key 30, 31 or 32. 6A88 no such key."""

    key_id: int
    data: bytes
    mode: InternalMode = InternalMode.ENCRYPT

    def command(self) -> Command:
        return Command(CLA_ISO, Ins.INTERNAL_AUTHENTICATE, self.mode, self.key_id, self.data, 0x00)

    def parse(self, data: bytes) -> bytes:
        return data


def _binary_address(sfi: int | None, offset: int) -> tuple[int, int]:
    if sfi is None:
        if not 0 <= offset <= MAX_OFFSET:
            raise ValueError("an offset has 15 bits")
        return offset >> 8, offset & 0xFF
    if not 1 <= sfi <= MAX_SFI or not 0 <= offset <= MAX_SHORT_OFFSET:
        raise ValueError("a short file id is 1 to 31 and takes offsets up to 255")
    return 0x80 | sfi, offset


def _record_address(sfi: int | None, mode: int) -> int:
    if sfi is not None and not 1 <= sfi < MAX_SFI:
        raise ValueError("a short file id of a record file is 1 to 30")
    return (sfi or 0) << 3 | mode


@dataclass(frozen=True)
class ReadBinary(Request[bytes]):
    """``00 B0``: `length` bytes from `offset`; 0 means up to the end, 239 at most. 6981, 6982, 6A82, 6B00."""

    accepts = READ_OK
    length: int = 0
    offset: int = 0
    sfi: int | None = None

    def command(self) -> Command:
        return Command(
            CLA_ISO, Ins.READ_BINARY, *_binary_address(self.sfi, self.offset), le=self.length
        )

    def parse(self, data: bytes) -> bytes:
        if self.length and len(data) != self.length:
            raise ValueError(f"{self.length} bytes were asked for, {len(data)} came")
        return data


@dataclass(frozen=True)
class UpdateBinary(Order):
    """``00 D6``: write `data` at `offset`, all or nothing. 6982, 6987, 6988, 6985 (lower ssn), 6B00."""

    data: bytes
    offset: int = 0
    sfi: int | None = None

    def command(self) -> Command:
        return Command(
            CLA_ISO, Ins.UPDATE_BINARY, *_binary_address(self.sfi, self.offset), self.data
        )


@dataclass(frozen=True)
class ReadRecord(Request[bytes]):
    """``00 B2``: one record by number (1 is the newest of a cyclic file). 6A83 no such record.

    ``by_tag``: `number` is the first byte of a record of a variable file.
    """

    number: int
    sfi: int | None = None
    length: int = 0
    by_tag: bool = False

    def command(self) -> Command:
        mode = RECORD_BY_TAG if self.by_tag else RECORD_BY_NUMBER
        p2 = _record_address(self.sfi, mode)
        return Command(CLA_ISO, Ins.READ_RECORD, self.number, p2, le=self.length)

    def parse(self, data: bytes) -> bytes:
        return data


@dataclass(frozen=True)
class UpdateRecord(Order):
    """``00 DC``: replace a record, or make the next one (number = count + 1). 6700 other length, 6A83."""

    number: int
    data: bytes
    sfi: int | None = None
    by_tag: bool = False

    def command(self) -> Command:
        mode = RECORD_BY_TAG if self.by_tag else RECORD_BY_NUMBER
        p2 = _record_address(self.sfi, mode)
        return Command(CLA_ISO, Ins.UPDATE_RECORD, self.number, p2, self.data)


@dataclass(frozen=True)
class AppendRecord(Order):
    """``00 E2 00 P2``: add a record; a cyclic file drops its oldest. 6A84 a fixed file is full."""

    data: bytes
    sfi: int | None = None

    def command(self) -> Command:
        return Command(CLA_ISO, Ins.APPEND_RECORD, 0x00, _record_address(self.sfi, 0), self.data)


@dataclass(frozen=True)
class CreateFile(Order):
    """``80 E0 FID Lc body``; the bodies come from `cardos.spec` (`create_body`). 6982, 6A80, 6A84, 6A86."""

    fid: int
    body: bytes

    def command(self) -> Command:
        return Command(CLA_BANK, Ins.CREATE_FILE, self.fid >> 8, self.fid & 0xFF, self.body)


@dataclass(frozen=True)
class EraseDf(Order):
    """``80 0E 00 00 00``: remove everything below the current directory, keep its rights and space."""

    def command(self) -> Command:
        return Command(CLA_BANK, Ins.ERASE_DF, 0x00, 0x00, le=0x00)


@dataclass(frozen=True)
class WriteKey(Order):
    """``80/84 D4 P1 kid Lc``: add a key (`replaces` None, P1 01) or change the one of type `replaces`.

    `record` is type, use, change, third, fourth (`KeySpec.prefix`) and the key. In the protected form
    the business side knows no key: `record` is the prefix alone and the protector (HSM 14) makes
    cipher and MAC. 6982, 6983, 6984, 6987, 6A80, 6A82, 6A84, 6A88, 9302.
    """

    key_id: int
    record: bytes = field(repr=False)
    replaces: int | None = None

    def command(self) -> Command:
        p1 = 0x01 if self.replaces is None else self.replaces
        return Command(CLA_BANK, Ins.WRITE_KEY, p1, self.key_id, self.record)


@dataclass(frozen=True)
class VerifyPin(Order):
    """``00 20 00 id Lc PIN``: 2 to 8 bytes, BCD. 63Cx wrong, 6983 closed or locked, 9403 no such PIN."""

    pin: bytes = field(repr=False)
    pin_id: int = 0

    def command(self) -> Command:
        return Command(CLA_ISO, Ins.VERIFY, 0x00, self.pin_id, self.pin)


@dataclass(frozen=True)
class ChangePin(Order):
    """``80 5E 01 id Lc old FF new``: both 2 to 6 bytes without FF inside. 63Cx, 6983, 9403."""

    old: bytes = field(repr=False)
    new: bytes = field(repr=False)
    pin_id: int = 0

    def command(self) -> Command:
        if PIN_SEPARATOR in self.old + self.new:
            raise ValueError("FF separates the PINs and cannot be inside one")
        body = self.old + PIN_SEPARATOR + self.new
        return Command(CLA_BANK, Ins.CHANGE_PIN, 0x01, self.pin_id, body)


@dataclass(frozen=True)
class ReloadPin(Order):
    """``80 5E 00 id Lc newPIN MAC4``: `mac` is made with key 38 over the PIN alone (purse-card.md 7.5).

    A recorded one can be replayed, so prefer `PinUnblock`. 9302 wrong MAC, 9303 key 38 locked, 9403.
    """

    new: bytes = field(repr=False)
    mac: bytes
    pin_id: int = 0

    def command(self) -> Command:
        return Command(CLA_BANK, Ins.CHANGE_PIN, 0x00, self.pin_id, self.new + self.mac)


@dataclass(frozen=True)
class PinUnblock(Order):
    """``84 24 id 00 Lc cipher MAC4``, always protected: the protector (HSM 34) makes the whole data.

    Opens the PIN and sets it. 6988 wrong MAC, 9303 key 37 dead, 9403 no such PIN.
    """

    pin_id: int = 0

    def command(self) -> Command:
        return Command(CLA_BANK, Ins.PIN_UNBLOCK, self.pin_id, 0x00)


@dataclass(frozen=True)
class ApplicationBlock(Order):
    """``84 1E 00 P2 04 MAC4``, always protected: block the current directory, for good if `permanent`."""

    permanent: bool = False

    def command(self) -> Command:
        return Command(CLA_BANK, Ins.APPLICATION_BLOCK, 0x00, int(self.permanent))


@dataclass(frozen=True)
class ApplicationUnblock(Order):
    """``84 18 00 00 04 MAC4``, always protected: end a temporary block. 9303 it is permanent."""

    def command(self) -> Command:
        return Command(CLA_BANK, Ins.APPLICATION_UNBLOCK, 0x00, 0x00)


@dataclass(frozen=True)
class CardBlock(Order):
    """``84 16 00 00 04 MAC4``, always protected: the card answers 6A81 for ever after."""

    def command(self) -> Command:
        return Command(CLA_BANK, Ins.CARD_BLOCK, 0x00, 0x00)


def _pieces(length: int, size: int) -> Iterator[tuple[int, int]]:
    for offset in range(0, length, size):
        yield offset, min(size, length - offset)


def read_file(card: CardSession, fid: int, length: int) -> bytes:
    """A whole binary file of the current directory, in pieces of 239 bytes; selects it first."""
    card.send(SelectFile(fid))
    return b"".join(card.send(ReadBinary(size, at)) for at, size in _pieces(length, MAX_DATA))


def write_file(
    card: CardSession, fid: int, data: bytes, protector: Protector, challenge_length: int = 8
) -> None:
    """Write a whole binary file under line protection (MAC), in pieces; selects it first.

    Each piece is atomic, the file is not: read it back before relying on it.
    """
    card.send(SelectFile(fid))
    for at, size in _pieces(len(data), MAX_DATA - MAC_LENGTH):
        piece = UpdateBinary(data[at : at + size], at)
        card.send_protected(piece, protector, challenge_length)
