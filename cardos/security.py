"""Key records, error counters and line protection (purse-card.md 3 to 5).

A key record: type 1, id 1, use 1, change 1, third 1 (version or next state), fourth 1 (algorithm or error
counter), length 1, mark 1, key. A PSAM's record in usage form has its usage byte as type, its version as
id, and the mark ``80 | tries left``. An error counter goes down before the comparison and comes back
after success, so that pulling the card gives no free try.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cardos import filesystem as fs
from cardos.filesystem import Node
from cardos.memory import Change, Eeprom
from cardos.spec import ALGORITHM_SM4, KEY_HEADER, KIND_MASK, MAC_LENGTH, SW, KeyType
from cardos.state import Apdu, Chip, Sw
from core import crypto

USAGE_MARK = 0x80
USAGE_TRIES = 3


@dataclass(frozen=True)
class Key:
    """A key record: where it stands, and how to read it. The key itself never leaves the chip."""

    memory: Eeprom
    at: int

    def __repr__(self) -> str:
        return f"Key(type={self.type:02X}, id={self.id:02X})"

    @property
    def stored_type(self) -> int:
        """Type byte as written, with the protection bits (or a PSAM usage byte)."""
        return self.memory.byte(self.at)

    @property
    def type(self) -> int:
        return self.stored_type & KIND_MASK

    @property
    def id(self) -> int:
        return self.memory.byte(self.at + 1)

    @property
    def use(self) -> int:
        return self.memory.byte(self.at + 2)

    @property
    def change(self) -> int:
        return self.memory.byte(self.at + 3)

    @property
    def third(self) -> int:
        return self.memory.byte(self.at + 4)

    @property
    def fourth(self) -> int:
        return self.memory.byte(self.at + 5)

    @property
    def length(self) -> int:
        return self.memory.byte(self.at + 6)

    @property
    def mark(self) -> int:
        return self.memory.byte(self.at + 7)

    @property
    def usage_form(self) -> bool:
        """Written in the PSAM's usage form."""
        return bool(self.mark & USAGE_MARK)

    @property
    def value(self) -> bytes:
        return self.memory.read(self.at + KEY_HEADER, self.length)

    @property
    def size(self) -> int:
        return KEY_HEADER + self.length

    @property
    def tries(self) -> int:
        """Tries still allowed, for the types that count them."""
        return self.fourth & 0x0F

    def spend_try(self) -> None:
        """Count a try before it is made."""
        self.memory.commit([(self.at + 5, bytes((self.fourth - 1,)))])

    def restore_change(self) -> Change:
        """Give back all tries."""
        return self.at + 5, bytes((self.fourth & 0xF0 | self.fourth >> 4,))


def keys_of(directory: Node) -> Iterator[Key]:
    """All key records of a directory."""
    for at in _key_addresses(directory):
        yield Key(directory.memory, at)


def _key_addresses(directory: Node) -> Iterator[int]:
    file = directory.key_file()
    if file is None:
        return
    cells, at = directory.memory.cells, file.body
    end = at + directory.memory.number(file.at + 9, 2)
    while at < end:
        yield at
        at += KEY_HEADER + cells[at + 6]


def find_key(directory: Node, kind: int, key_id: int | None = None) -> Key | None:
    """The key of a type, with the id, or the first one when the id is None."""
    cells = directory.memory.cells
    for at in _key_addresses(directory):
        if (
            cells[at] & KIND_MASK == kind
            and not cells[at + 7] & USAGE_MARK
            and key_id in (None, cells[at + 1])
        ):
            return Key(directory.memory, at)
    return None


def current(chip: Chip) -> Node:
    """The current directory."""
    return Node(chip.memory, chip.session.df)


def control_key(chip: Chip) -> Key:
    """Control key of the current directory, else of the nearest directory above; 6A88 without one."""
    for at in reversed(chip.session.path):
        key = find_key(Node(chip.memory, at), KeyType.CONTROL, 0)
        if key is not None:
            return key
    raise Sw(SW.KEY_NOT_FOUND)


def line_key(chip: Chip, key_id: int) -> Key:
    """The type 36 key of the current directory; 6A88 without one, 9303 when it is locked."""
    return line_key_of(current(chip), key_id)


def line_key_of(directory: Node, key_id: int) -> Key:
    """The type 36 key of a directory."""
    key = find_key(directory, KeyType.LINE, key_id)
    if key is None:
        raise Sw(SW.KEY_NOT_FOUND)
    if key.tries == 0:
        raise Sw(SW.LOCKED_FOR_EVER)
    return key


def take_challenge(chip: Chip) -> bytes:
    """The challenge fetched by the command before; 6984 without one."""
    if chip.session.challenge is None:
        raise Sw(SW.NO_CHALLENGE)
    return chip.session.challenge


def has_sm4(key: Key) -> bool:
    """Line keys carry FF as third byte; 04 there makes them SM4 keys (own profile)."""
    return key.third == ALGORITHM_SM4 and key.length == crypto.SM4_BLOCK


def line_mac(key: Key, challenge: bytes, message: bytes) -> bytes:
    """MAC of line protection under `key`."""
    if has_sm4(key) and key.type in (KeyType.LINE, KeyType.PIN_UNBLOCK):
        return crypto.sm4_mac(key.value, message, challenge.ljust(crypto.SM4_BLOCK, b"\x00"))
    return crypto.sm_mac(key.value, crypto.sm_iv(challenge), message)


def check_mac(chip: Chip, command: Apdu, key: Key, wrong: int, owner: Node | None = None) -> bytes:
    """Verify the MAC at the end of a command's data and return what stands before it.

    Counts the failure in the key; the last failure of a type 36 key locks its directory (`owner`, by
    default the current one) for good: 9303.
    """
    challenge = take_challenge(chip)
    data, mac = command.data[:-MAC_LENGTH], command.data[-MAC_LENGTH:]
    expected = line_mac(key, challenge, command.head + data)
    key.spend_try()
    if crypto.equal(mac, expected):
        chip.memory.commit([key.restore_change()])
        return data
    if key.tries == 0 and key.type == KeyType.LINE:
        lock_for_ever(owner or current(chip))
        raise Sw(SW.LOCKED_FOR_EVER)
    raise Sw(wrong)


def lock_for_ever(df: Node) -> None:
    """Permanent lock of a directory."""
    df.memory.commit([df.lock_change(fs.LOCKED_FOR_EVER, df.failed_unblocks)])


def encipher(key: Key, plain: bytes) -> bytes:
    """Cipher of line protection."""
    if has_sm4(key) and key.type in (KeyType.LINE, KeyType.PIN_UNBLOCK):
        block = bytes((len(plain),)) + plain
        whole = len(block) % crypto.SM4_BLOCK == 0
        return crypto.sm4_encrypt(
            key.value, block if whole else crypto.pad80(block, crypto.SM4_BLOCK)
        )
    return crypto.sm_encrypt(key.value, plain)


def decipher(key: Key, cipher: bytes) -> bytes:
    """Plain text of line protection; 6A80 when the length byte does not fit."""
    if has_sm4(key) and key.type in (KeyType.LINE, KeyType.PIN_UNBLOCK):
        if not cipher or len(cipher) % crypto.SM4_BLOCK:
            raise Sw(SW.BAD_DATA)
        block = crypto.sm4_decrypt(key.value, cipher)
        if block[0] > len(block) - 1:
            raise Sw(SW.BAD_DATA)
        return block[1 : 1 + block[0]]
    try:
        return crypto.sm_decrypt(key.value, cipher)
    except ValueError as error:
        raise Sw(SW.BAD_DATA) from error


# -- protection of files ----------------------------------------------------------------------------


def _file_key(chip: Chip, node: Node, shift: int) -> Key:
    return line_key(chip, 3 - (node.option >> shift & 3))


def may_be_protected(node: Node) -> bool:
    """Whether class 04 fits the file at all."""
    return node.with_mac or node.with_cipher


def written_data(chip: Chip, command: Apdu, node: Node) -> bytes:
    """The plain data of a writing command, after right and line protection were checked."""
    if command.protected and not may_be_protected(node):
        raise Sw(SW.CLASS_AGAINST_PROTECTION)
    key = _file_key(chip, node, 0) if command.protected else None
    chip.demand(node.write_right)
    if key is None:
        if may_be_protected(node):
            raise Sw(SW.PROTECTION_MISSING)
        return command.data
    data = command.data
    if node.with_mac:
        if len(data) <= MAC_LENGTH:
            raise Sw(SW.PROTECTION_MISSING)
        data = check_mac(chip, command, key, SW.MAC_WRONG)
    return decipher(key, data) if node.with_cipher else data


@dataclass(frozen=True)
class Reader:
    """How a reading command's answer leaves the chip."""

    key: Key | None
    challenge: bytes
    with_cipher: bool

    def limit(self, maximum: int) -> int:
        """How many plain bytes fit an answer of at most `maximum` bytes."""
        if self.key is None:
            return maximum
        room = maximum - MAC_LENGTH
        if self.with_cipher:
            block = crypto.SM4_BLOCK if has_sm4(self.key) else crypto.DES_BLOCK
            room = room // block * block - 1
        return room

    def wrap(self, data: bytes) -> bytes:
        """data, or data and MAC, or cipher and MAC (purse-card.md 5)."""
        if self.key is None:
            return data
        if self.with_cipher:
            data = encipher(self.key, data)
        return data + line_mac(self.key, self.challenge, data)


def reader(chip: Chip, command: Apdu, node: Node) -> Reader:
    """Check right and line protection of a reading command."""
    must = not node.option & 0x80
    if command.protected and not (may_be_protected(node) or must):
        raise Sw(SW.CLASS_AGAINST_PROTECTION)
    key = _file_key(chip, node, 2) if command.protected else None
    chip.demand(node.read_right)
    if key is None:
        if must:
            raise Sw(SW.PROTECTION_MISSING)
        return Reader(None, b"", False)
    if len(command.data) != MAC_LENGTH:
        raise Sw(SW.PROTECTION_MISSING)
    challenge = take_challenge(chip)
    check_mac(chip, command, key, SW.MAC_WRONG)
    return Reader(key, challenge, node.with_cipher)
