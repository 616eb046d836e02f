"""WRITE KEY, authentication, PINs, blocking (purse-card.md 4.2, 6, 7)."""

from cardos import filesystem as fs
from cardos.filesystem import Node
from cardos.memory import CARD_BLOCK_AT, SET, Change
from cardos.security import (
    Key,
    check_mac,
    control_key,
    current,
    decipher,
    find_key,
    keys_of,
    line_key,
    line_key_of,
    line_mac,
    lock_for_ever,
    take_challenge,
)
from cardos.spec import (
    ALGORITHM_DES,
    ALGORITHM_SM4,
    ALGORITHM_TDES,
    KEY_PROTECTED,
    KIND_MASK,
    MAC_LENGTH,
    SW,
    KeyType,
)
from cardos.state import Apdu, Chip, Sw
from core import crypto

WITH_ALGORITHM = frozenset(
    {
        KeyType.ENCRYPT,
        KeyType.DECRYPT,
        KeyType.MAC,
        KeyType.TAC,
        KeyType.OVERDRAFT,
        KeyType.UNLOAD,
        KeyType.PURCHASE,
        KeyType.LOAD,
    }
)
KEY_TYPES = frozenset(int(kind) for kind in KeyType)
PREFIX_LENGTH = 5  # type, use, change, third, fourth
PIN_LENGTHS = range(2, 9)  # stored
PIN_COMMAND_LENGTHS = range(2, 7)  # in CHANGE PIN and RELOAD PIN
FILLER = b"\xff"


def _key_file(chip: Chip) -> Node:
    node = current(chip).key_file()
    if node is None:
        raise Sw(SW.FILE_NOT_FOUND)
    return node


# -- WRITE KEY --------------------------------------------------------------------------------------


def guard_of(chip: Chip, command: Apdu) -> Key | None:
    """The control key that protects this WRITE KEY, None for the plain form; 6A88, 6983."""
    if not command.protected:
        return None
    key = control_key(chip)
    if key.tries == 0:
        raise Sw(SW.LOCKED)
    return key


def unwrap_key(chip: Chip, command: Apdu, key: Key | None) -> bytes:
    """Plain data of WRITE KEY: as sent, or after MAC and cipher under the guarding key."""
    if key is None:
        return command.data
    if len(command.data) <= MAC_LENGTH:
        raise Sw(SW.PROTECTION_MISSING)
    return decipher(key, check_mac(chip, command, key, SW.PURSE_MAC_WRONG))


def _check_record(plain: bytes) -> None:
    if len(plain) <= PREFIX_LENGTH:
        raise Sw(SW.BAD_DATA)
    kind, length = plain[0] & KIND_MASK, len(plain) - PREFIX_LENGTH
    if kind not in KEY_TYPES:
        raise Sw(SW.BAD_DATA)
    if kind == KeyType.PIN:
        if length not in PIN_LENGTHS:
            raise Sw(SW.BAD_DATA)
    elif length not in (8, 16):
        raise Sw(SW.BAD_DATA)
    if kind in WITH_ALGORITHM:
        if plain[4] not in (ALGORITHM_TDES, ALGORITHM_DES, ALGORITHM_SM4):
            raise Sw(SW.BAD_DATA)
        if plain[4] == ALGORITHM_SM4 and length != crypto.SM4_BLOCK:
            raise Sw(SW.BAD_DATA)


def write_key(chip: Chip, command: Apdu) -> bytes:
    """80/84 D4: P1 01 adds, P1 = type byte updates; P2 is the key's id."""
    file = _key_file(chip)
    if command.p1 == 0x01:
        guard = guard_of(chip, command)
        chip.demand(file.write_right)
        add_key(chip, file, command.p2, unwrap_key(chip, command, guard))
        return b""
    key = find_key(current(chip), command.p1 & KIND_MASK, command.p2)
    if key is None:
        raise Sw(SW.KEY_NOT_FOUND)
    counted = key.type not in WITH_ALGORITHM
    if counted and key.tries == 0:
        raise Sw(SW.LOCKED)
    guard = guard_of(chip, command)
    chip.demand(key.change)
    if key.stored_type & KEY_PROTECTED == KEY_PROTECTED and not command.protected:
        raise Sw(SW.PROTECTION_MISSING)
    plain = unwrap_key(chip, command, guard)
    _check_record(plain)
    if plain[0] & KIND_MASK != key.type:
        raise Sw(SW.BAD_DATA)
    if len(plain) - PREFIX_LENGTH != key.length:
        raise Sw(SW.WRONG_LENGTH)
    fourth = plain[4] & 0xF0 | plain[4] >> 4 if counted else plain[4]
    head = bytes((plain[0], key.id)) + plain[1:4] + bytes((fourth, key.length, 0))
    chip.memory.commit([(key.at, head + plain[5:])])
    return b""


def add_key(chip: Chip, file: Node, key_id: int, plain: bytes) -> None:
    """Add the key record `plain` under an id that is free: 6A80 when it is taken."""
    _check_record(plain)
    if find_key(current(chip), plain[0] & KIND_MASK, key_id) is not None:
        raise Sw(SW.BAD_DATA)
    record = bytes((plain[0], key_id)) + plain[1:PREFIX_LENGTH]
    chip.memory.commit(record_changes(file, record, plain[PREFIX_LENGTH:]))


def record_changes(file: Node, head: bytes, value: bytes, mark: int = 0) -> list[Change]:
    """Add a key record; `head` is type, id, use, change, third, fourth. 6A84 when the file is full."""
    record = head + bytes((len(value), mark)) + value
    used = file.memory.number(file.at + 9, 2)
    if used + len(record) > file.space:
        raise Sw(SW.NO_SPACE)
    return [(file.body + used, record), (file.at + 9, (used + len(record)).to_bytes(2, "big"))]


# -- authentication ---------------------------------------------------------------------------------


def get_challenge(chip: Chip, command: Apdu) -> bytes:
    """00 84: 4 or 8 random bytes for the next command."""
    if command.le not in (4, 8):
        raise Sw(SW.WRONG_LENGTH)
    challenge = chip.rng(command.le)
    chip.session.challenge = challenge
    return challenge


def _reach(chip: Chip, key: Key) -> None:
    """Set the security state a key leads to; in the MF both registers."""
    chip.session.state = key.third & 0x0F
    if len(chip.session.path) == 1:
        chip.session.mf_state = key.third & 0x0F


def _wrong(key: Key) -> Sw:
    return Sw(0x63C0 | key.tries)


def external_authenticate(chip: Chip, command: Apdu) -> bytes:
    """00 82 00 kid: the terminal proves that it knows a type 39 key."""
    _key_file(chip)
    key = find_key(current(chip), KeyType.CONTROL, command.p2)
    if key is None:
        raise Sw(SW.KEY_NOT_FOUND)
    if key.tries == 0:
        raise Sw(SW.LOCKED)
    chip.demand(key.use)
    block = take_challenge(chip).ljust(crypto.DES_BLOCK, b"\x00")
    expected = crypto.des_encrypt(key.value, block)
    key.spend_try()
    if not crypto.equal(command.data, expected):
        raise _wrong(key)
    chip.memory.commit([key.restore_change()])
    _reach(chip, key)
    return b""


def internal_authenticate(chip: Chip, command: Apdu) -> bytes:
    """00 88 P1 kid: encrypt (30), decrypt (31) or MAC (32) the data; no effect on the state."""
    _key_file(chip)
    key = find_key(current(chip), KeyType.ENCRYPT + command.p1, command.p2)
    if key is None:
        raise Sw(SW.KEY_NOT_FOUND)
    chip.demand(key.use)
    sm4 = key.fourth == ALGORITHM_SM4
    data = command.data
    if key.type == KeyType.MAC:
        if sm4:
            return crypto.sm4_mac(key.value, data)
        return crypto.sm_mac(key.value, bytes(crypto.DES_BLOCK), data)
    block = crypto.SM4_BLOCK if sm4 else crypto.DES_BLOCK
    if len(data) % block:
        data = crypto.pad80(data, block)
    if len(data) > MAX_CRYPT:
        raise Sw(SW.WRONG_LENGTH)
    if key.type == KeyType.ENCRYPT:
        return (crypto.sm4_encrypt if sm4 else crypto.des_encrypt)(key.value, data)
    return (crypto.sm4_decrypt if sm4 else crypto.des_decrypt)(key.value, data)


MAX_CRYPT = 232  # whole blocks of 8 in an answer of 239 bytes


# -- PINs -------------------------------------------------------------------------------------------


def _pin(chip: Chip, pin_id: int) -> Key:
    _key_file(chip)
    key = find_key(current(chip), KeyType.PIN, pin_id)
    if key is not None:
        return key
    other = any(key.id == pin_id for key in keys_of(current(chip)))
    raise Sw(SW.WRONG_KIND if other else SW.NO_SUCH_KEY_VERSION)


def _same_pin(stored: bytes, sent: bytes) -> bool:
    return crypto.equal(stored.rstrip(FILLER), sent.rstrip(FILLER))


def _pin_changes(chip: Chip, key: Key, pin: bytes) -> list[Change]:
    """Set a PIN's value and give back its tries; a longer or shorter one moves the records behind it."""
    file = _key_file(chip)
    counter = key.restore_change()[1]
    head = bytes((key.stored_type, key.id, key.use, key.change, key.third))
    record = head + counter + bytes((len(pin), 0)) + pin
    if len(pin) == key.length:
        return [(key.at, record)]
    used = file.memory.number(file.at + 9, 2)
    behind = key.at + key.size
    tail = file.memory.read(behind, file.body + used - behind)
    new_used = used + len(pin) - key.length
    if new_used > file.space:
        raise Sw(SW.NO_SPACE)
    chip.session.pending = chip.session.sam = None  # their key records may have moved
    return [(key.at, record + tail), (file.at + 9, new_used.to_bytes(2, "big"))]


def verify(chip: Chip, command: Apdu) -> bytes:
    """00 20 00 id PIN."""
    key = _pin(chip, command.p2)
    if key.tries == 0:
        raise Sw(SW.LOCKED)
    chip.demand(key.use)
    key.spend_try()
    if not _same_pin(key.value, command.data):
        raise _wrong(key)
    chip.memory.commit([key.restore_change()])
    _reach(chip, key)
    return b""


def change_pin(chip: Chip, command: Apdu) -> bytes:
    """80 5E 01 id old FF new, or 80 5E 00 id newPIN MAC4 (RELOAD PIN)."""
    if command.p1 == 0x00:
        return _reload_pin(chip, command)
    key = _pin(chip, command.p2)
    if key.tries == 0:
        raise Sw(SW.LOCKED)
    chip.demand(key.use)
    old, _, new = command.data.partition(FILLER)
    if len(old) not in PIN_COMMAND_LENGTHS or len(new) not in PIN_COMMAND_LENGTHS or FILLER in new:
        raise Sw(SW.BAD_DATA)
    key.spend_try()
    if not _same_pin(key.value, old):
        raise _wrong(key)
    chip.memory.commit([key.restore_change()])
    chip.memory.commit(_pin_changes(chip, key, new))
    return b""


def _pin_service_key(chip: Chip, kind: KeyType) -> Key:
    key = find_key(current(chip), kind)
    if key is None:
        raise Sw(SW.NO_SUCH_KEY_VERSION)
    if key.tries == 0:
        raise Sw(SW.LOCKED_FOR_EVER)
    chip.demand(key.use)
    return key


def _reload_pin(chip: Chip, command: Apdu) -> bytes:
    pin_key = _pin(chip, command.p2)
    key = _pin_service_key(chip, KeyType.PIN_RELOAD)
    pin, mac = command.data[:-MAC_LENGTH], command.data[-MAC_LENGTH:]
    key.spend_try()
    if not crypto.equal(mac, crypto.reload_pin_mac(key.value, pin)):
        raise Sw(SW.PURSE_MAC_WRONG)
    chip.memory.commit([key.restore_change()])
    chip.memory.commit(_pin_changes(chip, pin_key, pin))
    return b""


def pin_unblock(chip: Chip, command: Apdu) -> bytes:
    """84 24 id 00 (or 00 01): cipher and MAC under key 37 bring a new PIN and all its tries."""
    pin_key = _pin(chip, command.p1)
    key = _pin_service_key(chip, KeyType.PIN_UNBLOCK)
    pin = decipher(key, check_mac(chip, command, key, SW.MAC_WRONG))
    if len(pin) not in PIN_LENGTHS:
        raise Sw(SW.BAD_DATA)
    chip.memory.commit(_pin_changes(chip, pin_key, pin))
    return b""


# -- blocking ---------------------------------------------------------------------------------------


def application_block(chip: Chip, command: Apdu) -> bytes:
    """84 1E 00 P2: temporary (00) or permanent (01) lock of the current directory."""
    key = line_key(chip, 0)
    chip.demand(key.use)
    check_mac(chip, command, key, SW.MAC_WRONG)
    lock = fs.LOCKED_FOR_EVER if command.p2 else fs.LOCKED
    chip.memory.commit([current(chip).lock_change(lock, 0)])
    return b""


def application_unblock(chip: Chip, command: Apdu) -> bytes:
    """84 18 00 00: ends a temporary lock; three failures in a row lock for ever."""
    df = current(chip)
    if df.lock == fs.LOCKED_FOR_EVER:
        raise Sw(SW.LOCKED_FOR_EVER)
    key = line_key(chip, 0)
    chip.demand(key.use)
    if df.failed_unblocks >= fs.MAX_FAILED_UNBLOCKS:  # the power went before the lock was written
        lock_for_ever(df)
        raise Sw(SW.LOCKED_FOR_EVER)
    challenge = take_challenge(chip)
    chip.memory.commit([df.lock_change(df.lock, df.failed_unblocks + 1)])
    if not crypto.equal(command.data, line_mac(key, challenge, command.head)):
        if df.failed_unblocks >= fs.MAX_FAILED_UNBLOCKS:
            lock_for_ever(df)
            raise Sw(SW.LOCKED_FOR_EVER)
        raise Sw(SW.MAC_WRONG)
    chip.memory.commit([df.lock_change(fs.UNLOCKED, 0)])
    return b""


def card_block(chip: Chip, command: Apdu) -> bytes:
    """84 16 00 00: the end of the card; key 36/00 of the current directory, else of the MF."""
    owner = current(chip)
    if find_key(owner, KeyType.LINE, 0) is None:
        owner = Node(chip.memory, chip.session.path[0])
    key = line_key_of(owner, 0)
    chip.demand(key.use)
    check_mac(chip, command, key, SW.MAC_WRONG, owner)
    chip.memory.commit([(CARD_BLOCK_AT, bytes((SET,)))])
    return b""
