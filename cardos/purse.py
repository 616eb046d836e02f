"""The purse: load, purchase, withdrawal, unload, overdraft limit, composite purchase, proof (purse-card.md 8).

Body of a purse file, 22 bytes: balance 4, overdraft limit 3, onSN 2, offSN 2, proof of the last off-line
transaction (MAC 4, TAC 4), 3 spare. The header holds the proof of the last on-line one (4 bytes, TAC or
MAC3) and both transaction types in one byte (on line in the high half). The serial of a proof is its
counter's value, so it needs no place of its own. Everything a transaction changes is one commit.
"""

from dataclasses import dataclass

from cardos import filesystem as fs
from cardos.filesystem import Node
from cardos.memory import Change
from cardos.security import Key, current, find_key
from cardos.spec import (
    ALGORITHM_SM4,
    EP_LIMIT_DEFAULT,
    FID_ED,
    FID_EP,
    FID_ISSUER_DATA,
    ISSUER_DATA_FIELDS,
    ISSUER_DATA_LENGTH,
    LOG_RECORD_LENGTH,
    MAC_LENGTH,
    MAX_BALANCE,
    MAX_CAPP_BYTES,
    MAX_CAPP_RECORDS,
    MAX_SERIAL,
    ONLINE,
    RECORD_BY_NUMBER,
    SERIAL_AFTER,
    SW,
    FileKind,
    KeyType,
    Transaction,
)
from cardos.state import Apdu, Chip, Pending, Sw
from core import crypto

ONLINE_TAIL = bytes.fromhex("8000")
NO_MAC = bytes(MAC_LENGTH)

# (P1, P2) of INITIALIZE: transaction, purse, type of the session's master
INITIALIZE = {
    (0x00, 0x01): (Transaction.LOAD_ED, FID_ED, KeyType.LOAD),
    (0x00, 0x02): (Transaction.LOAD_EP, FID_EP, KeyType.LOAD),
    (0x01, 0x01): (Transaction.PURCHASE_ED, FID_ED, KeyType.PURCHASE),
    (0x01, 0x02): (Transaction.PURCHASE_EP, FID_EP, KeyType.PURCHASE),
    (0x02, 0x01): (Transaction.WITHDRAWAL, FID_ED, KeyType.PURCHASE),
    (0x03, 0x02): (Transaction.COMPOSITE, FID_EP, KeyType.PURCHASE),
    (0x04, 0x01): (Transaction.LIMIT_CHANGE, FID_ED, KeyType.OVERDRAFT),
    (0x05, 0x01): (Transaction.UNLOAD, FID_ED, KeyType.UNLOAD),
}
LOADS = (Transaction.LOAD_ED, Transaction.LOAD_EP)
OFFLINE = frozenset(Transaction) - ONLINE
PURSE_OF = {transaction: purse for transaction, purse, _ in INITIALIZE.values()}


@dataclass(frozen=True)
class Purse:
    """A purse file in memory."""

    node: Node

    def _body(self, offset: int, length: int) -> int:
        return self.node.memory.number(self.node.body + offset, length)

    @property
    def balance(self) -> int:
        """Fen, the overdraft limit included."""
        return self._body(0, 4)

    @property
    def limit(self) -> bytes:
        """Overdraft limit, 3 bytes."""
        return self.node.memory.read(self.node.body + 4, 3)

    def serial(self, online: bool) -> int:
        """onSN or offSN: the value the next transaction uses."""
        return self._body(7, 2) if online else self._body(9, 2)

    @property
    def log_sfi(self) -> int:
        return self.node.memory.byte(self.node.at + 5)

    @property
    def tac_key_id(self) -> int:
        return self.node.memory.byte(self.node.at + 4)

    def proof(self, transaction: int) -> bytes | None:
        """MAC4 and TAC4 of the last transaction of that counter, if it was of this type."""
        types = self.node.memory.byte(self.node.at + 6)
        if transaction in ONLINE:
            value = self.node.memory.read(self.node.at + 7, 4)
            right = types >> 4 == transaction
            proof = value + NO_MAC if transaction == Transaction.UNLOAD else NO_MAC + value
        else:
            right = types & 0xF == transaction
            proof = self.node.memory.read(self.node.body + 11, 8)
        return proof if right else None

    def changes(
        self, transaction: int, balance: int, limit: bytes, mac: bytes, tac: bytes
    ) -> list[Change]:
        """Balance, limit, counter and proof after a transaction."""
        online = transaction in ONLINE
        types = self.node.memory.byte(self.node.at + 6)
        count = (self.serial(online) + 1).to_bytes(2, "big")
        on, off = self._body(7, 2).to_bytes(2, "big"), self._body(9, 2).to_bytes(2, "big")
        body = balance.to_bytes(4, "big") + limit
        if online:
            value = mac if transaction == Transaction.UNLOAD else tac
            types = transaction << 4 | types & 0xF
            return [
                (self.node.body, body + count + off),
                (self.node.at + 6, bytes((types,)) + value),
            ]
        types = types & 0xF0 | transaction
        return [
            (self.node.body, body + on + count + mac + tac),
            (self.node.at + 6, bytes((types,))),
        ]


# -- formulas by algorithm --------------------------------------------------------------------------


def session_key(key: Key, random: bytes, serial: int, tail: bytes) -> bytes:
    """One block of the card key over random, serial, tail."""
    derive = (
        crypto.sm4_purse_session_key if key.fourth == ALGORITHM_SM4 else crypto.purse_session_key
    )
    return derive(key.value, random, serial.to_bytes(2, "big"), tail)


def session_mac(algorithm: int, key: bytes, message: bytes) -> bytes:
    """4-byte MAC under a session key."""
    return (crypto.sm4_mac if algorithm == ALGORITHM_SM4 else crypto.purse_mac)(key, message)


def _tac(chip: Chip, purse: Purse, message: bytes) -> bytes:
    key = find_key(current(chip), KeyType.TAC, purse.tac_key_id)
    if key is None:
        raise Sw(SW.NO_SUCH_KEY_VERSION)
    return (crypto.sm4_mac if key.fourth == ALGORITHM_SM4 else crypto.tac)(key.value, message)


# -- INITIALIZE -------------------------------------------------------------------------------------


def _purse(chip: Chip, fid: int) -> Purse:
    node = current(chip).child(fid)
    if node is None or node.is_directory:
        raise Sw(SW.FILE_NOT_FOUND)
    if node.kind != FileKind.PURSE:
        raise Sw(SW.WRONG_KIND)
    return Purse(node)


def initialize_length(p1: int, data: bytes) -> bool:
    """Lc of 80 50: 07 for the overdraft limit, else 0B."""
    return len(data) == (0x07 if p1 == 0x04 else 0x0B)


def initialize_answer(p1: int) -> int:
    """Length of the answer to 80 50."""
    return {0x00: 16, 0x05: 16, 0x04: 19}.get(p1, 15)


def highest_balance(chip: Chip, fid: int) -> int:
    """The issuer's maximum of a purse: file 0017 of our layout for the EP, 32 bits for the ED."""
    if fid == FID_ED:
        return MAX_BALANCE
    node = current(chip).child(FID_ISSUER_DATA)
    if node is None or node.kind != FileKind.BINARY or node.space != ISSUER_DATA_LENGTH:
        return EP_LIMIT_DEFAULT
    limit = int.from_bytes(ISSUER_DATA_FIELDS["limit"].of(node.content), "big")
    return limit if limit and node.written else EP_LIMIT_DEFAULT


def initialize(chip: Chip, command: Apdu) -> bytes:
    """80 50: checks, a random, and the state of the transaction; whatever was pending is forgotten."""
    chip.session.pending = None
    transaction, fid, kind = INITIALIZE[command.p1, command.p2]
    purse = _purse(chip, fid)
    key = find_key(current(chip), kind, command.data[0])
    if key is None:
        raise Sw(SW.NO_SUCH_KEY_VERSION)
    chip.demand(purse.node.use_right)
    chip.demand(key.use)
    online = transaction in ONLINE
    amount = 0 if kind == KeyType.OVERDRAFT else int.from_bytes(command.data[1:5], "big")
    serial = purse.serial(online)
    if serial == MAX_SERIAL:
        raise Sw(SW.COUNTER_EXHAUSTED)
    if transaction in LOADS:
        if amount and purse.balance + amount > highest_balance(chip, fid):
            raise Sw(SW.NOT_SATISFIED)
    elif amount > purse.balance:
        raise Sw(SW.NOT_ENOUGH_MONEY)
    random = chip.rng(4)
    terminal = command.data[-6:]
    balance = purse.balance.to_bytes(4, "big")
    pending = Pending(
        transaction, purse.node.at, b"", key.fourth, amount, terminal, key_at=key.at, random=random
    )
    tail = bytes((key.third, key.fourth)) + random
    head = balance + serial.to_bytes(2, "big")
    if not online:
        chip.session.pending = pending
        return head + purse.limit + tail
    pending.session_key = session_key(key, random, serial, ONLINE_TAIL)
    middle = purse.limit if kind == KeyType.OVERDRAFT else amount.to_bytes(4, "big")
    mac1 = session_mac(
        key.fourth, pending.session_key, balance + middle + bytes((transaction,)) + terminal
    )
    chip.session.pending = pending
    return head + (purse.limit if kind == KeyType.OVERDRAFT else b"") + tail + mac1


# -- the second commands ----------------------------------------------------------------------------


def _take(chip: Chip, *kinds: int) -> tuple[Pending, Purse]:
    """The pending transaction, which is over with this command however it ends; 6901 in a wrong state."""
    pending, chip.session.pending = chip.session.pending, None
    if pending is None or pending.type not in kinds:
        raise Sw(SW.WRONG_STATE)
    return pending, Purse(Node(chip.memory, pending.purse))


def _check(pending: Pending, message: bytes, mac: bytes) -> None:
    if not crypto.equal(session_mac(pending.algorithm, pending.session_key, message), mac):
        raise Sw(SW.PURSE_MAC_WRONG)


def _log(
    chip: Chip, purse: Purse, pending: Pending, limit: bytes, amount: bytes, when: bytes
) -> list[Change]:
    """The log record; a purse whose log file is missing keeps none."""
    node = current(chip).child(purse.log_sfi) if purse.log_sfi else None
    if node is None or node.kind != FileKind.CYCLIC or node.record_length != LOG_RECORD_LENGTH:
        return []
    serial = purse.serial(pending.type in ONLINE) + SERIAL_AFTER
    record = serial.to_bytes(2, "big") + limit + amount + bytes((pending.type,))
    return fs.append_changes(node, record + pending.terminal + when)


def credit(chip: Chip, command: Apdu) -> bytes:
    """80 52: load. MAC2 of the host in, TAC out."""
    pending, purse = _take(chip, *LOADS)
    when, mac2 = command.data[:7], command.data[7:]
    amount = pending.amount.to_bytes(4, "big")
    text = amount + bytes((pending.type,)) + pending.terminal + when
    _check(pending, text, mac2)
    balance = purse.balance + pending.amount
    serial = purse.serial(online=True).to_bytes(2, "big")
    tac = _tac(chip, purse, balance.to_bytes(4, "big") + serial + text)
    chip.memory.commit(
        purse.changes(pending.type, balance, purse.limit, NO_MAC, tac)
        + _log(chip, purse, pending, purse.limit, amount, when)
    )
    return tac


def debit_length(p1: int, data: bytes) -> bool:
    """Lc of 80 54: 0F off line, 0B for unload."""
    return len(data) == (0x0B if p1 == 0x03 else 0x0F)


def debit(chip: Chip, command: Apdu) -> bytes:
    """80 54: 01 purchase, withdrawal, composite; 03 unload."""
    if command.p1 == 0x03:
        return _unload(chip, command)
    pending, purse = _take(chip, *OFFLINE)
    terminal_serial, when, mac1 = command.data[:4], command.data[4:11], command.data[11:]
    serial = purse.serial(online=False)
    key = Key(chip.memory, pending.key_at)
    pending.session_key = session_key(key, pending.random, serial, terminal_serial[2:])
    amount = pending.amount.to_bytes(4, "big")
    head = amount + bytes((pending.type,)) + pending.terminal
    _check(pending, head + when, mac1)
    mac2 = session_mac(pending.algorithm, pending.session_key, amount)
    tac = _tac(chip, purse, head + terminal_serial + when)
    chip.memory.commit(
        purse.changes(pending.type, purse.balance - pending.amount, purse.limit, mac2, tac)
        + _log(chip, purse, pending, purse.limit, amount, when)
        + _capp_changes(chip, pending)
    )
    return tac + mac2


def _unload(chip: Chip, command: Apdu) -> bytes:
    pending, purse = _take(chip, Transaction.UNLOAD)
    when, mac2 = command.data[:7], command.data[7:]
    amount = pending.amount.to_bytes(4, "big")
    text = amount + bytes((pending.type,)) + pending.terminal + when
    _check(pending, text, mac2)
    balance = purse.balance - pending.amount
    serial = purse.serial(online=True).to_bytes(2, "big")
    message = balance.to_bytes(4, "big") + serial + text
    mac3 = session_mac(pending.algorithm, pending.session_key, message)
    chip.memory.commit(
        purse.changes(pending.type, balance, purse.limit, mac3, NO_MAC)
        + _log(chip, purse, pending, purse.limit, amount, when)
    )
    return mac3


def update_limit(chip: Chip, command: Apdu) -> bytes:
    """80 58: new overdraft limit; the balance moves with it."""
    pending, purse = _take(chip, Transaction.LIMIT_CHANGE)
    limit, when, mac2 = command.data[:3], command.data[3:10], command.data[10:]
    text = limit + bytes((pending.type,)) + pending.terminal + when
    _check(pending, text, mac2)
    balance = purse.balance - int.from_bytes(purse.limit, "big") + int.from_bytes(limit, "big")
    if balance < 0:
        raise Sw(SW.NOT_ENOUGH_MONEY)
    if balance > MAX_BALANCE:
        raise Sw(SW.NOT_SATISFIED)
    serial = purse.serial(online=True).to_bytes(2, "big")
    tac = _tac(chip, purse, balance.to_bytes(4, "big") + serial + text)
    chip.memory.commit(
        purse.changes(pending.type, balance, limit, NO_MAC, tac)
        + _log(chip, purse, pending, limit, b"\x00" + limit, when)
    )
    return tac


# -- composite purchase -----------------------------------------------------------------------------


def update_capp(chip: Chip, command: Apdu) -> bytes:
    """80 DC: keep a record in RAM until 8054; up to 3 records, 256 bytes."""
    pending = chip.session.pending
    if pending is None or pending.type != Transaction.COMPOSITE:
        chip.session.pending = None
        raise Sw(SW.WRONG_STATE)
    node = current(chip).child(command.p2 >> 3)
    if node is None or node.is_directory:
        raise Sw(SW.FILE_NOT_FOUND)
    if node.kind not in (FileKind.FIXED, FileKind.VARIABLE):
        raise Sw(SW.WRONG_KIND)
    by_number = command.p2 & 7 == RECORD_BY_NUMBER
    number = command.p1 if by_number else fs.find_record(node, command.p1)
    fs.replace_changes(node, number, command.data)  # checks number and length
    cache = {**pending.capp, (node.at, number): command.data}
    if len(cache) > MAX_CAPP_RECORDS or sum(map(len, cache.values())) > MAX_CAPP_BYTES:
        raise Sw(SW.NO_SPACE)
    pending.capp = cache
    return b""


def _capp_changes(chip: Chip, pending: Pending) -> list[Change]:
    changes: list[Change] = []
    for (at, number), record in pending.capp.items():
        changes += fs.replace_changes(Node(chip.memory, at), number, record)
    return changes


# -- questions --------------------------------------------------------------------------------------


def get_balance(chip: Chip, command: Apdu) -> bytes:
    """80 5C 00 01/02."""
    purse = _purse(chip, command.p2)
    chip.demand(purse.node.use_right)
    return purse.balance.to_bytes(4, "big")


def get_proof(chip: Chip, command: Apdu) -> bytes:
    """80 5A 00 type SN: MAC4 and TAC4 of the last transaction of that counter, else 9406."""
    purse = _purse(chip, PURSE_OF[Transaction(command.p2)])
    serial = purse.serial(command.p2 in ONLINE) - (not SERIAL_AFTER)
    proof = purse.proof(command.p2)
    if proof is None or int.from_bytes(command.data, "big") != serial:
        raise Sw(SW.NO_PROOF)
    return proof
