"""Shapes of files, keys and directories as CREATE FILE and WRITE KEY take them (purse-card.md 2, 4.2)."""

from dataclasses import dataclass, field
from enum import IntEnum

EF_HEADER = 11  # bytes an EF costs besides its body; a DF costs as much plus its name
KEY_HEADER = 8  # bytes a key record costs besides the key
FID_KEYS = 0x0000
OPTION_PLAIN = 0xFF  # plain reading allowed, line key 00 both ways


class FileKind(IntEnum):
    """Type byte without the two protection bits (purse-card.md 2.1)."""

    BINARY = 0x28
    FIXED = 0x2A
    VARIABLE = 0x2C
    CYCLIC = 0x2E
    PURSE = 0x2F
    DIRECTORY = 0x38
    KEYS = 0x3F


WITH_MAC = 0x80
WITH_CIPHER = 0x40
KIND_MASK = 0x3F
PURSE_BODY = 22


@dataclass(frozen=True)
class FileSpec:
    """An elementary file to create: type byte with protection bits and the body of CREATE FILE."""

    fid: int
    type: int
    shape: bytes  # space 2, or record count 1 and record length 1, or 02 08 for a purse
    read: int  # use right for a purse, add right for a key file
    write: int
    option: int = OPTION_PLAIN

    def create_body(self) -> bytes:
        """Data field of CREATE FILE (purse-card.md 2.4); for a purse `option` is the log's SFI."""
        if self.type & KIND_MASK == FileKind.PURSE and self.type == FileKind.PURSE:
            return bytes((self.type, *self.shape, self.read, 0x00, 0xFF, self.option))
        return bytes((self.type, *self.shape, self.read, self.write, 0xFF, self.option))

    @property
    def cost(self) -> int:
        """Bytes of chip memory: header and body."""
        kind = self.type & KIND_MASK
        if self.type == FileKind.PURSE:
            return EF_HEADER + PURSE_BODY
        if kind in (FileKind.FIXED, FileKind.CYCLIC):
            return EF_HEADER + self.shape[0] * (self.shape[1] + 1)
        return EF_HEADER + int.from_bytes(self.shape, "big")


@dataclass(frozen=True)
class KeyFileSpec:
    """The key file of a directory."""

    space: int
    short_id: int
    add: int
    fid: int = FID_KEYS

    def create_body(self) -> bytes:
        """Data field of CREATE FILE: 3F, space 2, short id, add right, FF FF."""
        return (
            bytes((FileKind.KEYS,))
            + self.space.to_bytes(2, "big")
            + bytes((self.short_id, self.add, 0xFF, 0xFF))
        )

    @property
    def cost(self) -> int:
        """Bytes of chip memory."""
        return EF_HEADER + self.space


@dataclass(frozen=True)
class KeySpec:
    """A key record to write. `third` and `fourth` are the bytes between the rights and the key.

    third: version, or next state, or FF; fourth: algorithm, or error counter. `hsm_usage` and `scope`
    say which master the HSM takes (12.5); None for the PIN, which comes from no master.
    """

    type: int
    id: int
    use: int
    change: int
    third: int
    fourth: int
    hsm_usage: int | None
    scope: str
    master_version: int = 1

    @property
    def prefix(self) -> bytes:
        """type, use, change, third, fourth: what stands before the key in WRITE KEY's plain data."""
        return bytes((self.type, self.use, self.change, self.third, self.fourth))


@dataclass(frozen=True)
class DirectorySpec:
    """A directory with its key file, keys and files in the order of personalization."""

    fid: int
    name: bytes
    space: int
    create: int
    erase: int
    app_file: int
    key_file: KeyFileSpec
    keys: tuple[KeySpec, ...] = field(default_factory=tuple)
    files: tuple[FileSpec, ...] = field(default_factory=tuple)

    def create_body(self) -> bytes:
        """Data field of CREATE FILE: 38, space 2, create, erase, app-file id, FF FF, name."""
        return (
            bytes((FileKind.DIRECTORY,))
            + self.space.to_bytes(2, "big")
            + bytes((self.create, self.erase, self.app_file, 0xFF, 0xFF))
            + self.name
        )

    @property
    def cost(self) -> int:
        """Bytes used: own header and name, key file, files."""
        return (
            EF_HEADER + len(self.name) + self.key_file.cost + sum(file.cost for file in self.files)
        )
