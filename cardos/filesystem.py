"""The file tree in memory: headers, allocation, records. Rights and protection are checked elsewhere.

Every file is a header of 11 bytes, its name (directories) and its body, packed one behind the other in
the body of its directory (purse-card.md 2.2: exactly what a file costs)::

    EF     type 1, FID 2, space 2, read 1, write 1, option 1, a 1, b 1, c 1
           binary: a = A5 once written, bc = CRC-16 of the body
           fixed, cyclic: a = record length, b = number of records, c = slot of the newest (cyclic)
           variable: b = number of records      key file: read = short id, write = add right, bc = bytes used
    purse  type 1, FID 2, use 1, TAC key id 1, SFI of the log 1, proof types 1, on-line proof 4
    DF     type 1, FID 2, space of the body 2, used 2, create 1, erase 1, application file 1,
           name length - 1 in bits 8-5, failed unblocks in bits 4-3, lock in bits 2-1

A record slot (fixed, cyclic) is the record and a check byte.
"""

import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import xor

from cardos.memory import SET, Change, Eeprom
from cardos.spec import (
    EF_HEADER,
    KIND_MASK,
    PURSE_BODY,
    SW,
    WITH_CIPHER,
    WITH_MAC,
    FileKind,
)
from cardos.state import Sw

UNLOCKED, LOCKED, LOCKED_FOR_EVER = 0, 1, 2
MAX_FAILED_UNBLOCKS = 3


@dataclass(frozen=True, slots=True)
class Node:
    """A file: where its header stands, and how to read the header."""

    memory: Eeprom
    at: int

    def _number(self, offset: int) -> int:
        cells, at = self.memory.cells, self.at + offset
        return cells[at] << 8 | cells[at + 1]

    @property
    def type(self) -> int:
        return self.memory.cells[self.at]

    @property
    def kind(self) -> int:
        """Type without the protection bits."""
        return self.memory.cells[self.at] & KIND_MASK

    @property
    def with_mac(self) -> bool:
        return self.kind != FileKind.DIRECTORY and bool(self.type & WITH_MAC)

    @property
    def with_cipher(self) -> bool:
        return self.kind != FileKind.DIRECTORY and bool(self.type & WITH_CIPHER)

    @property
    def fid(self) -> int:
        return self._number(1)

    @property
    def is_directory(self) -> bool:
        return self.memory.cells[self.at] & KIND_MASK == FileKind.DIRECTORY

    @property
    def space(self) -> int:
        """Bytes of the body."""
        return PURSE_BODY if self.kind == FileKind.PURSE else self._number(3)

    @property
    def body(self) -> int:
        """Address of the body."""
        return self.at + EF_HEADER + (self.name_length if self.is_directory else 0)

    @property
    def size(self) -> int:
        """Bytes the whole file takes in its directory."""
        return _size_at(self.memory.cells, self.at)

    # elementary files
    @property
    def read_right(self) -> int:
        return self.memory.cells[self.at + 5]

    @property
    def write_right(self) -> int:
        return self.memory.cells[self.at + 6]

    @property
    def option(self) -> int:
        return self.memory.cells[self.at + 7]

    @property
    def use_right(self) -> int:
        """Of a purse."""
        return self.memory.cells[self.at + 3]

    @property
    def record_length(self) -> int:
        return self.memory.cells[self.at + 8]

    @property
    def count(self) -> int:
        """Number of records."""
        return self.memory.cells[self.at + 9]

    @property
    def newest(self) -> int:
        return self.memory.cells[self.at + 10]

    @property
    def capacity(self) -> int:
        """Records a fixed or cyclic file can hold."""
        return self.space // (self.record_length + 1)

    @property
    def written(self) -> bool:
        """Whether a binary file was ever written."""
        return self.memory.cells[self.at + 8] == SET

    @property
    def content(self) -> bytes:
        """The whole body of an EF."""
        return self.memory.read(self.body, self.space)

    # directories
    @property
    def name_length(self) -> int:
        return (self.memory.cells[self.at + 10] >> 4) + 1

    @property
    def name(self) -> bytes:
        return self.memory.read(self.at + EF_HEADER, self.name_length)

    @property
    def used(self) -> int:
        return self._number(5)

    @property
    def create_right(self) -> int:
        return self.memory.cells[self.at + 7]

    @property
    def erase_right(self) -> int:
        return self.memory.cells[self.at + 8]

    @property
    def application_file(self) -> int:
        return self.memory.cells[self.at + 9]

    @property
    def lock(self) -> int:
        return self.memory.cells[self.at + 10] & 3

    @property
    def failed_unblocks(self) -> int:
        return self.memory.cells[self.at + 10] >> 2 & 3

    def lock_change(self, lock: int, failed_unblocks: int) -> Change:
        """Set the lock and the count of failed unblocks."""
        keep = self.memory.cells[self.at + 10] & 0xF0
        return self.at + 10, bytes((keep | failed_unblocks << 2 | lock,))

    def addresses(self) -> Iterator[int]:
        """Where the headers of a directory's files stand, in the order of their creation."""
        cells, at = self.memory.cells, self.body
        end = at + self.used
        while at < end:
            yield at
            at += _size_at(cells, at)

    def children(self) -> Iterator["Node"]:
        """The files of a directory, in the order of their creation."""
        return (Node(self.memory, at) for at in self.addresses())

    def child(self, fid: int) -> "Node | None":
        """The file with this FID in the directory."""
        cells = self.memory.cells
        for at in self.addresses():
            if cells[at + 1] << 8 | cells[at + 2] == fid:
                return Node(self.memory, at)
        return None

    def key_file(self) -> "Node | None":
        """The directory's key file."""
        cells = self.memory.cells
        for at in self.addresses():
            if cells[at] & KIND_MASK == FileKind.KEYS:
                return Node(self.memory, at)
        return None


def _size_at(cells: bytearray, at: int) -> int:
    """Bytes the file with its header at `at` takes in its directory."""
    kind = cells[at] & KIND_MASK
    if kind == FileKind.PURSE:
        return EF_HEADER + PURSE_BODY
    own = EF_HEADER + ((cells[at + 10] >> 4) + 1 if kind == FileKind.DIRECTORY else 0)
    return own + (cells[at + 3] << 8 | cells[at + 4])


def directory_header(fid: int, space: int, rights: bytes, name: bytes) -> bytes:
    """Header and name of a directory; `rights` = create, erase, application file id."""
    return (
        bytes((FileKind.DIRECTORY,))
        + fid.to_bytes(2, "big")
        + space.to_bytes(2, "big")
        + bytes(2)
        + rights
        + bytes(((len(name) - 1) << 4,))
        + name
    )


def add_child(parent: Node, header: bytes, space: int) -> list[Change]:
    """Reserve room in `parent` and write the header; 6A84 when there is not enough.

    The body is erased first, outside the journal: nobody can see it before the commit.
    """
    cost = len(header) + space
    if parent.used + cost > parent.space:
        raise Sw(SW.NO_SPACE)
    at = parent.body + parent.used
    parent.memory.erase(at + len(header), space)
    return [(at, header), (parent.at + 5, (parent.used + cost).to_bytes(2, "big"))]


def empty_change(directory: Node) -> list[Change]:
    """Forget everything below a directory."""
    return [(directory.at + 5, bytes(2))]


# -- binary files -----------------------------------------------------------------------------------


def binary_intact(node: Node, content: bytes) -> bool:
    """Whether the file was written and the checksum of its content fits."""
    return node.written and node.memory.number(node.at + 9, 2) == binascii.crc_hqx(content, 0)


def binary_changes(node: Node, offset: int, data: bytes) -> list[Change]:
    """Write `data` at `offset` together with the new checksum."""
    old = node.content
    check = binascii.crc_hqx(old[:offset] + data + old[offset + len(data) :], 0)
    return [
        (node.body + offset, data),
        (node.at + 8, bytes((SET,)) + check.to_bytes(2, "big")),
    ]


# -- records ----------------------------------------------------------------------------------------


def _check(record: bytes) -> bytes:
    return bytes((reduce(xor, record, 0x5A),))


def _slot(node: Node, number: int) -> int:
    """Address of record `number` of a fixed or cyclic file; number 1 is the newest of a cyclic one."""
    cyclic = node.kind == FileKind.CYCLIC
    index = (node.newest - (number - 1)) % node.capacity if cyclic else number - 1
    return node.body + index * (node.record_length + 1)


def variable_records(node: Node) -> Iterator[tuple[int, bytes]]:
    """Address and bytes (tag, length, value) of every record of a variable file."""
    at = node.body
    for _ in range(node.count):
        length = 2 + node.memory.byte(at + 1)
        yield at, node.memory.read(at, length)
        at += length


def record_at(node: Node, number: int) -> tuple[int, bytes, bool]:
    """Address, bytes and soundness of a record; 6A83 when there is none of that number."""
    if not 1 <= number <= node.count:
        raise Sw(SW.RECORD_NOT_FOUND)
    if node.kind == FileKind.VARIABLE:
        for index, (at, record) in enumerate(variable_records(node), 1):
            if index == number:
                return at, record, True
    at = _slot(node, number)
    record = node.memory.read(at, node.record_length)
    return at, record, node.memory.read(at + node.record_length, 1) == _check(record)


def find_record(node: Node, first: int) -> int:
    """Number of the first record that begins with this tag or type id; 6A83 when there is none."""
    for number in range(1, node.count + 1):
        if record_at(node, number)[1][0] == first:
            return number
    raise Sw(SW.RECORD_NOT_FOUND)


def check_record(node: Node, record: bytes) -> None:
    """6700 or 6A80 unless the bytes can be a record of this file."""
    if node.kind == FileKind.VARIABLE:
        if len(record) < 2 or record[1] != len(record) - 2:
            raise Sw(SW.BAD_DATA)
    elif len(record) != node.record_length:
        raise Sw(SW.WRONG_LENGTH)


def replace_changes(node: Node, number: int, record: bytes) -> list[Change]:
    """Put `record` in the place of an existing one of the same length."""
    at, old, _ = record_at(node, number)
    if len(old) != len(record):
        raise Sw(SW.WRONG_LENGTH)
    check_record(node, record)
    return [(at, record if node.kind == FileKind.VARIABLE else record + _check(record))]


def append_changes(node: Node, record: bytes) -> list[Change]:
    """Add a record; a cyclic file gives up its oldest. 6A84 when a fixed or variable file is full."""
    check_record(node, record)
    if node.kind == FileKind.VARIABLE:
        used = sum(len(old) for _, old in variable_records(node))
        if used + len(record) > node.space or node.count == 0xFF:
            raise Sw(SW.NO_SPACE)
        return [(node.body + used, record), (node.at + 9, bytes((node.count + 1,)))]
    slot = record + _check(record)
    if node.kind == FileKind.FIXED:
        if node.count >= node.capacity:
            raise Sw(SW.NO_SPACE)
        return [(node.body + node.count * len(slot), slot), (node.at + 9, bytes((node.count + 1,)))]
    index = (node.newest + 1) % node.capacity if node.count else 0
    count = min(node.count + 1, node.capacity)
    return [(node.body + index * len(slot), slot), (node.at + 9, bytes((count, index)))]
