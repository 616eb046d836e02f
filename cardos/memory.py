"""EEPROM with an atomic journal, and power that can go at every single byte written.

Layout: 16 bytes of system data, the journal, then the user memory where the files live::

    0   4  magic          4  1  kind          5  1  protocol       6  1  card block (00 open, A5 blocked)
    7   1  white card (A5: CREATE FILE 3F00 still allowed)         8  8  chip serial
    16  1  journal valid (A5)   17  2  length   19  4  CRC-32   23  entries: address 2, length 2, bytes

A commit writes the new bytes to the journal, sets the valid byte, copies, clears the valid byte. At
power-up a valid journal is finished, anything else is dropped (purse-card.md 8.10). A torn byte may
hold anything: the valid byte counts only together with the checksum.
"""

import zlib

from core.errors import DeviceFault

SYSTEM_MAGIC = b"CCOS"
KIND_AT = 4
PROTOCOL_AT = 5
CARD_BLOCK_AT = 6
WHITE_AT = 7
SERIAL_AT = 8
JOURNAL_AT = 16
JOURNAL_ENTRIES = JOURNAL_AT + 7
USER_AT = 2048
JOURNAL_SIZE = USER_AT - JOURNAL_ENTRIES  # bytes of entries one commit may have
PAGE = 64  # unit of erasing free memory
SET = 0xA5
ERASED = 0xFF

Change = tuple[int, bytes]


class PowerCut(DeviceFault):
    """The power went, or is off; the chip answers again after `reset`. Code CARD-GONE."""

    def __init__(self, detail: str = "the card lost its power") -> None:
        super().__init__("CARD-GONE", detail)


class JournalFull(Exception):
    """A change does not fit the journal: the chip answers 6581."""


class Eeprom:
    """Byte-addressed memory.

    Attributes
    ----------
    cells : the bytes, for reading headers quickly; only `program` may write them.
    writes : bytes programmed since construction.
    dirty : whether anything was programmed since the owner last looked.
    """

    def __init__(self, content: bytes) -> None:
        self.cells = bytearray(content)
        self.writes = 0
        self.dirty = False
        self._left: int | None = None
        self._torn: int | None = None

    def cut_after(self, writes: int, torn: int | None = None) -> None:
        """Let `writes` more bytes be written, then cut; the byte after them becomes `torn` if given."""
        if writes < 0:
            raise ValueError("a cut comes after zero or more writes")
        self._left, self._torn = writes, torn

    def keep_power(self) -> None:
        """Forget an armed cut."""
        self._left = None

    def __len__(self) -> int:
        return len(self.cells)

    def dump(self) -> bytes:
        """The whole content, for images."""
        return bytes(self.cells)

    def read(self, at: int, length: int) -> bytes:
        """`length` bytes from address `at`."""
        return bytes(self.cells[at : at + length])

    def byte(self, at: int) -> int:
        """One byte."""
        return self.cells[at]

    def number(self, at: int, length: int) -> int:
        """A big-endian number."""
        return int.from_bytes(self.cells[at : at + length], "big")

    def program(self, at: int, data: bytes) -> None:
        """Write bytes one after the other, without the journal. Raises PowerCut when it is time."""
        if at < 0 or at + len(data) > len(self.cells):
            raise AssertionError("address outside the memory")
        self.dirty = True
        if self._left is not None and len(data) > self._left:
            done = self._left
            self.cells[at : at + done] = data[:done]
            if self._torn is not None:
                self.cells[at + done] = self._torn
            self.writes += done
            self._left = None
            raise PowerCut()
        if self._left is not None:
            self._left -= len(data)
        self.cells[at : at + len(data)] = data
        self.writes += len(data)

    def commit(self, changes: list[Change]) -> None:
        """Make all changes or none, whatever happens to the power. Raises JournalFull before any."""
        entries = b"".join(
            at.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data for at, data in changes
        )
        if len(entries) > JOURNAL_SIZE:
            raise JournalFull()
        head = len(entries).to_bytes(2, "big") + zlib.crc32(entries).to_bytes(4, "big")
        self.program(JOURNAL_AT + 1, head + entries)
        self.program(JOURNAL_AT, bytes((SET,)))
        for at, data in changes:
            self.program(at, data)
        self.program(JOURNAL_AT, b"\x00")

    def recover(self) -> None:
        """Power-up: finish a valid journal, drop any other. May itself be cut and run again."""
        if self.cells[JOURNAL_AT] != SET:
            return
        length = self.number(JOURNAL_AT + 1, 2)
        entries = self.read(JOURNAL_ENTRIES, length)
        if length <= JOURNAL_SIZE and zlib.crc32(entries) == self.number(JOURNAL_AT + 3, 4):
            at = 0
            while at < length:
                target = int.from_bytes(entries[at : at + 2], "big")
                size = int.from_bytes(entries[at + 2 : at + 4], "big")
                self.program(target, entries[at + 4 : at + 4 + size])
                at += 4 + size
        self.program(JOURNAL_AT, b"\x00")

    def erase(self, at: int, length: int) -> None:
        """Set free memory to FF, page by page; pages that are erased already cost no write."""
        for start in range(at, at + length, PAGE):
            size = min(PAGE, at + length - start)
            blank = bytes((ERASED,)) * size
            if self.cells[start : start + size] != blank:
                self.program(start, blank)
