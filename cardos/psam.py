"""The terminal's security module: 8070, 8072, generic crypto, keys in usage form (purse-card.md 9)."""

from binascii import crc_hqx

from cardos.filesystem import Node, add_child, binary_changes
from cardos.lifecycle import KEY_TYPES, add_key, guard_of, record_changes, unwrap_key
from cardos.memory import SET, Change
from cardos.purse import session_mac
from cardos.security import USAGE_MARK, USAGE_TRIES, Key, current, find_key, keys_of
from cardos.spec import (
    ALGORITHM_DES,
    ALGORITHM_SM4,
    ALGORITHM_TDES,
    ALWAYS,
    COUNTER_ISSUED,
    FID_PSAM_SERIAL,
    FID_PSAM_TERMINAL,
    KEY_HEADER,
    KEY_PROTECTED,
    KIND_MASK,
    NEVER,
    NEXT_STATE_PRODUCTION,
    OPTION_PLAIN,
    SW,
    FileKind,
    KeyType,
    PsamKey,
    Transaction,
)
from cardos.state import Apdu, Chip, SamPending, SamTemporary, Sw
from core import crypto

INIT_LENGTH = 0x14
FACTOR_LENGTH = 8
MAX_LEVELS = 7
ADD = 0x01  # P1 of WRITE KEY
USAGE_PREFIX = 3  # usage, version, algorithm
USAGE_KEY_LENGTH = 16
SERIAL_LENGTH = 4
MAX_SERIAL = 0xFFFF_FFFF
PAYMENTS = (
    Transaction.WITHDRAWAL,
    Transaction.PURCHASE_ED,
    Transaction.PURCHASE_EP,
    Transaction.COMPOSITE,
)
MAY_MAC = frozenset({0x03, 0x04, 0x05, 0x06, 0x08, 0x0C})
MAY_ENCRYPT = frozenset({0x03, 0x05, 0x07, 0x08, 0x0E})
ENCRYPT_LAST, MAC_LAST, ENCRYPT_MORE, MAC_NEXT, MAC_ONLY, MAC_FIRST = 0, 1, 2, 3, 5, 7


def _usage_key(chip: Chip, usage: int, version: int) -> Key | None:
    for key in keys_of(current(chip)):
        if key.usage_form and key.stored_type == usage and key.id == version:
            return key
    return None


def _purchase_key(chip: Chip, version: int, algorithm: int) -> Key:
    for key in keys_of(current(chip)):
        is_purchase = key.stored_type & 0x1F == PsamKey.PURCHASE
        if key.usage_form and is_purchase and key.id == version and key.fourth == algorithm:
            return key
    raise Sw(SW.NO_SUCH_KEY_VERSION)


# -- loading keys -----------------------------------------------------------------------------------


def write_usage_key(chip: Chip, command: Apdu) -> bytes:
    """80/84 D4 00 00: usage 1, version 1, algorithm 1, key 16. Adds the key or takes the place of its like.

    Usage 00 is the directory's control key (39/00). A key locked by failures opens again when loaded anew.
    The form of the card's own keys serves as well, with the usage as type byte: P1 01, P2 key id, data
    usage, use, change, version, algorithm, key (purse-card.md 9.2); rights do not apply to it.
    """
    file = current(chip).key_file()
    if file is None:
        raise Sw(SW.FILE_NOT_FOUND)
    guard = guard_of(chip, command)
    chip.demand(file.write_right)
    plain = unwrap_key(chip, command, guard)
    if command.p1 == ADD:
        if plain and plain[0] & KIND_MASK in KEY_TYPES:  # a key as cards have them, not a usage
            add_key(chip, file, command.p2, plain)
            return b""
        plain = plain[:1] + plain[3:]  # without the two rights
    usage, version, algorithm = _check_usage(plain)
    value = plain[USAGE_PREFIX:]
    if command.p1 == ADD and usage & 0x1F != PsamKey.PURCHASE:
        version = command.p2  # for other types the version byte acts as key id
    if usage == PsamKey.CONTROL:
        chip.memory.commit(_control_changes(chip, file, value))
        return b""
    mark = USAGE_MARK | USAGE_TRIES
    head = bytes((usage, version, ALWAYS, ALWAYS, version, algorithm))
    old = _usage_key(chip, usage, version)
    if old is None:
        chip.memory.commit(record_changes(file, head, value, mark))
        return b""
    if not command.protected:
        raise Sw(SW.PROTECTION_MISSING)
    chip.memory.commit([(old.at, head + bytes((len(value), mark)) + value)])
    return b""


def _check_usage(plain: bytes) -> tuple[int, int, int]:
    if len(plain) != USAGE_PREFIX + USAGE_KEY_LENGTH:
        raise Sw(SW.BAD_DATA)
    usage, version, algorithm = plain[:USAGE_PREFIX]
    if algorithm not in (ALGORITHM_TDES, ALGORITHM_DES, ALGORITHM_SM4):
        raise Sw(SW.BAD_DATA)
    if usage & 0x1F == PsamKey.PURCHASE and usage >> 5 == 0:
        raise Sw(SW.BAD_DATA)
    return usage, version, algorithm


def _control_changes(chip: Chip, file: Node, value: bytes) -> list[Change]:
    head = bytes((KeyType.CONTROL | KEY_PROTECTED, 0, ALWAYS, ALWAYS)) + bytes(
        (NEXT_STATE_PRODUCTION, COUNTER_ISSUED)
    )
    old = find_key(current(chip), KeyType.CONTROL, 0)
    if old is None:
        return record_changes(file, head, value)
    if old.length != len(value):
        raise Sw(SW.WRONG_LENGTH)
    return [(old.at, head), (old.at + KEY_HEADER, value)]


# -- purchase ---------------------------------------------------------------------------------------


def init_sam(chip: Chip, command: Apdu) -> bytes:
    """80 70: the terminal's part of a purchase; the terminal serial goes up here, whatever follows."""
    chip.session.sam = None
    data = command.data
    terminal = _terminal(chip)
    file, serial = _serial(chip)
    key = _purchase_key(chip, data[18], data[19])
    factors = data[INIT_LENGTH:]
    _check_tries(key)
    if key.stored_type >> 5 != len(factors) // FACTOR_LENGTH:
        raise Sw(SW.WRONG_LENGTH)
    if data[10] not in PAYMENTS:
        raise Sw(SW.BAD_DATA)
    if serial == MAX_SERIAL:
        raise Sw(SW.COUNTER_EXHAUSTED)
    card_key = _derive(key, factors)
    shown = serial.to_bytes(SERIAL_LENGTH, "big")
    sm4 = key.fourth == ALGORITHM_SM4
    make = crypto.sm4_purse_session_key if sm4 else crypto.purse_session_key
    session = make(card_key, data[:4], data[4:6], shown[2:])
    mac1 = session_mac(key.fourth, session, data[6:11] + terminal + data[11:18])
    chip.memory.commit(_serial_changes(chip, file, (serial + 1).to_bytes(SERIAL_LENGTH, "big")))
    chip.session.sam = SamPending(key.at, session, key.fourth, data[6:10])
    return shown + mac1


def init_sam_length(_p1: int, data: bytes) -> bool:
    """14 hex plus 8 for every factor, at least one."""
    extra = len(data) - INIT_LENGTH
    return extra > 0 and extra % FACTOR_LENGTH == 0 and extra // FACTOR_LENGTH <= MAX_LEVELS


def _terminal(chip: Chip) -> bytes:
    node = Node(chip.memory, chip.session.path[0]).child(FID_PSAM_TERMINAL)
    if node is None or node.kind != FileKind.BINARY or node.space < 6:
        raise Sw(SW.FILE_NOT_FOUND)
    return node.content[:6]


def _serial_changes(chip: Chip, node: Node | None, value: bytes) -> list[Change]:
    """Write the terminal serial; where the personalizer made no file for it, the OS makes its own."""
    if node is not None:
        return binary_changes(node, 0, value)
    check = crc_hqx(value, 0).to_bytes(2, "big")
    head = bytes((FileKind.BINARY,)) + FID_PSAM_SERIAL.to_bytes(2, "big")
    head += SERIAL_LENGTH.to_bytes(2, "big") + bytes((ALWAYS, NEVER, OPTION_PLAIN, SET)) + check
    changes = add_child(current(chip), head, SERIAL_LENGTH)
    return [*changes, (changes[0][0] + len(head), value)]


def _serial(chip: Chip) -> tuple[Node | None, int]:
    """The file that holds the terminal serial, and its value; 0 before its first use."""
    node = current(chip).child(FID_PSAM_SERIAL)
    if node is None:
        return None, 0
    if node.kind != FileKind.BINARY or node.space < SERIAL_LENGTH:
        raise Sw(SW.FILE_NOT_FOUND)
    value = int.from_bytes(node.content[:SERIAL_LENGTH], "big") if node.written else 0
    return node, value


def _derive(key: Key, factors: bytes) -> bytes:
    """Card key of a master: the last listed factor first, the card's (listed first) last."""
    value = key.value
    for at in range(len(factors) - FACTOR_LENGTH, -1, -FACTOR_LENGTH):
        factor = factors[at : at + FACTOR_LENGTH]
        if key.fourth == ALGORITHM_SM4:
            value = crypto.sm4_diversify(value, factor)
        else:
            value = crypto.diversify(value, factor)
    return value


def _tries(key: Key) -> int:
    return key.mark & 0x0F


def _check_tries(key: Key) -> None:
    if _tries(key) == 0:
        raise Sw(SW.LOCKED_FOR_EVER)


def _set_tries(key: Key, tries: int) -> None:
    key.memory.commit([(key.at + 7, bytes((USAGE_MARK | tries,)))])


def credit_sam(chip: Chip, command: Apdu) -> bytes:
    """80 72: check the card's MAC2 over the amount; three failures in a row lock the purchase key."""
    pending = chip.session.sam
    if pending is None:
        raise Sw(SW.WRONG_STATE)
    key = Key(chip.memory, pending.key)
    _check_tries(key)
    _set_tries(key, _tries(key) - 1)
    expected = session_mac(pending.algorithm, pending.session_key, pending.amount)
    if not crypto.equal(command.data, expected):
        raise Sw(SW.PURSE_MAC_WRONG)
    _set_tries(key, USAGE_TRIES)
    return b""


# -- generic derivation and crypto ------------------------------------------------------------------


def derive_key(chip: Chip, command: Apdu) -> bytes:
    """80 1A usage kid: a temporary key, as many levels as the usage says."""
    chip.session.temporary = None
    usage = command.p1
    key = _usage_key(chip, usage, command.p2)
    if key is None:
        raise Sw(SW.NO_SUCH_KEY_VERSION)
    kind = usage & 0x1F
    if kind not in MAY_MAC | MAY_ENCRYPT or key.fourth == ALGORITHM_SM4:  # 80FA computes in DES
        raise Sw(SW.WRONG_KIND)
    if len(command.data) != (usage >> 5) * FACTOR_LENGTH:
        raise Sw(SW.WRONG_LENGTH)
    value = _derive(key, command.data)
    if kind == PsamKey.PIN_RELOAD:
        value = crypto.tac_key(value)
    chip.session.temporary = SamTemporary(kind, value)
    return b""


def crypt(chip: Chip, command: Apdu) -> bytes:
    """80 FA P1: encryption or MAC under the temporary key; data are whole blocks."""
    temporary = chip.session.temporary
    if temporary is None:
        raise Sw(SW.WRONG_STATE)
    if len(command.data) % crypto.DES_BLOCK:
        raise Sw(SW.WRONG_LENGTH)
    encrypts = command.p1 in (ENCRYPT_LAST, ENCRYPT_MORE)
    if temporary.kind not in (MAY_ENCRYPT if encrypts else MAY_MAC):
        raise Sw(SW.WRONG_KIND)
    if encrypts:
        return crypto.des_encrypt(temporary.key, command.data)
    chain, data = temporary.chain, command.data
    if command.p1 in (MAC_ONLY, MAC_FIRST):
        chain, data = data[: crypto.DES_BLOCK], data[crypto.DES_BLOCK :]
        if not data:
            raise Sw(SW.WRONG_LENGTH)
    if chain is None:
        raise Sw(SW.WRONG_STATE)
    temporary.chain = None
    chain = crypto.des_cbc(temporary.key[:8], data, chain)[-crypto.DES_BLOCK :]
    if command.p1 in (MAC_FIRST, MAC_NEXT):
        temporary.chain = chain
        return b""
    if len(temporary.key) == 16:
        last = crypto.des_decrypt(temporary.key[8:], chain)
        chain = crypto.des_encrypt(temporary.key[:8], last)
    return chain[:4]


CRYPT_MODES = (ENCRYPT_LAST, MAC_LAST, ENCRYPT_MORE, MAC_NEXT, MAC_ONLY, MAC_FIRST)
