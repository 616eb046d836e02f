"""Everything a card shows to anybody: its public tree, balances and logs, through any `CardChannel`.

A chip has no command that lists files, so the survey goes where a terminal could: the MF, the names in
its directory file and the names known in the field (purse-card.md 11.4); in each directory all short
ids 1 to 30 are tried with READ BINARY and READ RECORD. It sends no PIN, no authentication and nothing
that writes, so no counter moves; a file that wants more is shown with the status word it answered.
"""

from dataclasses import dataclass

from cardos.client import CardSession
from cardos.records import PurseLogRecord
from cardos.requests import Fci
from cardos.spec import (
    AID_PURSE,
    AID_RESIDENCE,
    CHIP_MEMORY,
    CLA_BANK,
    CLA_ISO,
    FID_MF,
    LOG_RECORD_LENGTH,
    MAX_RECORDS,
    MF_NAME,
    RECORD_BY_NUMBER,
    SW,
    Ins,
    chip_serial,
)
from core.apdu import CardChannel, Command, Response
from core.tlv import find

FIELD_NAMES = (  # purse-card.md 11.4
    AID_PURSE,
    AID_RESIDENCE,
    bytes.fromhex("A000000632010105"),
    bytes.fromhex("5041592E535A54"),
    bytes.fromhex("A0000000038698070100"),
    bytes.fromhex("7378312E73682EC9E7BBE1B1A3D5CF"),
)
NO_NAME = b"NO SUCH NAME"
LAST_SHORT_ID = 30  # 31 is no short id of a record file
FIRST_LONG_OFFSET = 0x100
LONGEST_OFFSET = 0x7FFF
GOOD = (SW.OK, SW.NEVER_WRITTEN)
PURSES = {"ED": 1, "EP": 2}


@dataclass(frozen=True)
class FileView:
    """One elementary file. `data` for a binary one, `records` for records, else why it stays closed."""

    short_id: int
    kind: str  # "binary", "records", "other"
    sw: int
    data: bytes = b""
    records: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class PurseView:
    """One purse: balance in fen, or None with the status word that refused it."""

    name: str
    balance: int | None
    sw: int


@dataclass(frozen=True)
class DirectoryView:
    """A directory; `sw` 6A81 is a blocked application, which shows nothing but its name."""

    name: bytes
    sw: int
    fci: Fci
    files: tuple[FileView, ...] = ()
    purses: tuple[PurseView, ...] = ()

    @property
    def log(self) -> tuple[PurseLogRecord, ...]:
        """The transaction log, newest first: records of 23 bytes in a directory with a purse."""
        return tuple(
            PurseLogRecord.parse(record)
            for file in self.files
            if self.purses
            for record in file.records
            if len(record) == LOG_RECORD_LENGTH
        )


@dataclass(frozen=True)
class CardView:
    """The whole card. `chip_serial` is None for an ATR of another maker's form."""

    atr: bytes
    chip_serial: bytes | None
    directories: tuple[DirectoryView, ...]


def survey(channel: CardChannel) -> CardView:
    """Look at a powered card. Raises DeviceFault when it leaves."""
    card = CardSession(channel)
    try:
        serial = chip_serial(channel.atr)
    except ValueError:
        serial = None
    root = _select_mf(card)
    found = []
    if root.sw in (SW.OK, SW.BLOCKED):
        found.append(_directory(card, MF_NAME, root))
    if root.sw == SW.BLOCKED and _select(card, NO_NAME).sw == SW.BLOCKED:
        return CardView(
            channel.atr, serial, tuple(found)
        )  # a blocked card answers this to everything
    names = dict.fromkeys((*(_listed(found[0]) if found else ()), *FIELD_NAMES))
    for name in names:
        _select_mf(card)
        answer = _select(card, name)
        if answer.sw in (SW.OK, SW.BLOCKED):
            found.append(_directory(card, name, answer))
    return CardView(channel.atr, serial, tuple(found))


def _select_mf(card: CardSession) -> Response:
    return _exchange(card, Command(CLA_ISO, Ins.SELECT, 0, 0, FID_MF.to_bytes(2, "big"), 0))


def _select(card: CardSession, name: bytes) -> Response:
    return _exchange(card, Command(CLA_ISO, Ins.SELECT, 0x04, 0, name, 0))


def _exchange(card: CardSession, command: Command) -> Response:
    """One command; 6Cxx, which only a wrong Le brings, is followed once."""
    response = card.exchange(command)
    if response.sw >> 8 == 0x6C:
        right = Command(
            command.cla, command.ins, command.p1, command.p2, command.data, response.sw & 0xFF
        )
        response = card.exchange(right)
    return response


def _listed(root: DirectoryView) -> list[bytes]:
    """Application names in the directory file: records 61 { 4F name }."""
    names = []
    for file in root.files:
        for record in file.records:
            try:
                name = find(record, 0x61, 0x4F)
            except ValueError:
                continue
            if name:
                names.append(name)
    return names


def _directory(card: CardSession, name: bytes, answer: Response) -> DirectoryView:
    try:
        fci = Fci.parse(answer.data)
    except ValueError:  # a foreign card may answer in its own way
        fci = Fci()
    if answer.sw != SW.OK:
        return DirectoryView(name, answer.sw, fci)
    files = [_file(card, short_id) for short_id in range(1, LAST_SHORT_ID + 1)]
    return DirectoryView(
        fci.name or name,
        answer.sw,
        fci,
        tuple(file for file in files if file is not None),
        tuple(_purses(card)),
    )


def _file(card: CardSession, short_id: int) -> FileView | None:
    first = _exchange(card, Command(CLA_ISO, Ins.READ_BINARY, 0x80 | short_id, 0, le=0))
    if first.sw == SW.FILE_NOT_FOUND:
        return None
    if first.sw in GOOD:
        return FileView(short_id, "binary", first.sw, _rest(card, short_id, first.data))
    if first.sw != SW.WRONG_KIND:
        return FileView(short_id, "binary", first.sw)
    records: list[bytes] = []
    sw = int(SW.RECORD_NOT_FOUND)
    for number in range(1, MAX_RECORDS + 1):
        p2 = short_id << 3 | RECORD_BY_NUMBER
        answer = _exchange(card, Command(CLA_ISO, Ins.READ_RECORD, number, p2, le=0))
        sw = answer.sw
        if sw not in GOOD:
            break
        records.append(answer.data)
    if sw == SW.WRONG_KIND:
        return FileView(short_id, "other", sw)
    return FileView(short_id, "records", int(SW.OK) if records else sw, records=tuple(records))


def _rest(card: CardSession, short_id: int, data: bytes) -> bytes:
    """What READ BINARY did not give at once: the file is the current one now."""
    while data and len(data) <= min(LONGEST_OFFSET, CHIP_MEMORY):
        at = len(data)
        head = (0x80 | short_id, at) if at < FIRST_LONG_OFFSET else (at >> 8, at & 0xFF)
        more = _exchange(card, Command(CLA_ISO, Ins.READ_BINARY, *head, le=0))
        if more.sw not in GOOD or not more.data:
            break
        data += more.data
    return data


def _purses(card: CardSession) -> list[PurseView]:
    found = []
    for name, p2 in PURSES.items():
        answer = _exchange(card, Command(CLA_BANK, Ins.GET_BALANCE, 0, p2, le=4))
        if answer.sw == SW.OK and len(answer.data) == 4:
            found.append(PurseView(name, int.from_bytes(answer.data, "big"), answer.sw))
        elif answer.sw == SW.RIGHT_NOT_MET:
            found.append(PurseView(name, None, answer.sw))
    return found
