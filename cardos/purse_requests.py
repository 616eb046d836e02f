"""Purse commands as typed requests (purse-card.md 8).

Amounts and balances are fen in 4 bytes, counters 2 bytes, `terminal` is the 6-byte terminal number,
dates and times are BCD (YYYYMMDD in 4 bytes, HHMMSS in 3), MACs and TACs 4 bytes. Key ids come from
the PSAM's file 0017 or from configuration, never from habit (purse-card.md 8.11).
"""

from dataclasses import dataclass
from enum import IntEnum

from cardos.client import Order, Request
from cardos.spec import CLA_BANK, Ins
from core.apdu import Command

TERMINAL_LENGTH = 6


class Purse(IntEnum):
    """P2 of the purse commands: which of the two purses."""

    ED = 1
    EP = 2


def fixed(value: bytes, length: int, name: str) -> bytes:
    """`value` when it has the length; else ValueError."""
    if len(value) != length:
        raise ValueError(f"{name} has {length} bytes")
    return value


def number_bytes(value: int, length: int = 4) -> bytes:
    """An amount or counter, big-endian; ValueError when it does not fit."""
    if not 0 <= value < 1 << 8 * length:
        raise ValueError(f"an amount fits in {length} bytes and is not negative")
    return value.to_bytes(length, "big")


def expect(data: bytes, length: int) -> None:
    """ValueError when an answer has another length."""
    if len(data) != length:
        raise ValueError(f"{length} answer bytes were expected, {len(data)} came")


def _initialize(kind: int, p2: int, key_id: int, amount: int, terminal: bytes, le: int) -> Command:
    body = (
        bytes((key_id,))
        + number_bytes(amount)
        + fixed(terminal, TERMINAL_LENGTH, "a terminal number")
    )
    return Command(CLA_BANK, Ins.INITIALIZE, kind, p2, body, le)


@dataclass(frozen=True)
class OnlineInit:
    """Answer of INITIALIZE for load and unload, 16 bytes.

    balance 4, counter (onSN) 2, key version 1, algorithm 1, random 4, MAC1 4.
    """

    balance: int
    counter: int
    key_version: int
    algorithm: int
    random: bytes
    mac1: bytes

    @classmethod
    def parse(cls, data: bytes) -> "OnlineInit":
        """Read the 16 bytes; ValueError for any other length."""
        expect(data, 16)
        balance, counter = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:6], "big")
        return cls(balance, counter, data[6], data[7], data[8:12], data[12:])


@dataclass(frozen=True)
class InitializeForLoad(Request[OnlineInit]):
    """``80 50 00 p2 0B``: begin a load (purse-card.md 8.1). 6982 PIN, 6985 over the maximum, 9402, 9403."""

    key_id: int
    amount: int
    terminal: bytes
    purse: Purse = Purse.EP

    def command(self) -> Command:
        return _initialize(0x00, self.purse, self.key_id, self.amount, self.terminal, 0x10)

    def parse(self, data: bytes) -> OnlineInit:
        return OnlineInit.parse(data)


@dataclass(frozen=True)
class CreditForLoad(Request[bytes]):
    """``80 52 00 00 0B``: commit the load; answers the TAC. 9302 wrong MAC2, 6901 not initialized."""

    date: bytes
    time: bytes
    mac2: bytes

    def command(self) -> Command:
        body = (
            fixed(self.date, 4, "a date")
            + fixed(self.time, 3, "a time")
            + fixed(self.mac2, 4, "MAC2")
        )
        return Command(CLA_BANK, Ins.CREDIT, 0x00, 0x00, body, 0x04)

    def parse(self, data: bytes) -> bytes:
        expect(data, 4)
        return data


@dataclass(frozen=True)
class PurchaseInit:
    """Answer of INITIALIZE for purchase, cash withdrawal and CAPP purchase, 15 bytes.

    balance 4, counter (offSN) 2, overdraft limit 3, key version 1, algorithm 1, random 4.
    """

    balance: int
    counter: int
    overdraft: int
    key_version: int
    algorithm: int
    random: bytes

    @classmethod
    def parse(cls, data: bytes) -> "PurchaseInit":
        """Read the 15 bytes; ValueError for any other length."""
        expect(data, 15)
        return cls(
            int.from_bytes(data[:4], "big"),
            int.from_bytes(data[4:6], "big"),
            int.from_bytes(data[6:9], "big"),
            data[9],
            data[10],
            data[11:],
        )


@dataclass(frozen=True)
class InitializeForPurchase(Request[PurchaseInit]):
    """``80 50 01 p2 0B``: begin a purchase, type 05 (ED) or 06 (EP). 9401 not enough money, 9402, 9403."""

    key_id: int
    amount: int
    terminal: bytes
    purse: Purse = Purse.EP

    def command(self) -> Command:
        return _initialize(0x01, self.purse, self.key_id, self.amount, self.terminal, 0x0F)

    def parse(self, data: bytes) -> PurchaseInit:
        return PurchaseInit.parse(data)


@dataclass(frozen=True)
class InitializeForCapp(Request[PurchaseInit]):
    """``80 50 03 02 0B``: begin a composite purchase of EP, type 09 (purse-card.md 8.6)."""

    key_id: int
    amount: int
    terminal: bytes

    def command(self) -> Command:
        return _initialize(0x03, Purse.EP, self.key_id, self.amount, self.terminal, 0x0F)

    def parse(self, data: bytes) -> PurchaseInit:
        return PurchaseInit.parse(data)


@dataclass(frozen=True)
class InitializeForWithdrawal(Request[PurchaseInit]):
    """``80 50 02 01 0B``: begin a cash withdrawal from ED, type 04 (test profile "bank" only)."""

    key_id: int
    amount: int
    terminal: bytes

    def command(self) -> Command:
        return _initialize(0x02, Purse.ED, self.key_id, self.amount, self.terminal, 0x0F)

    def parse(self, data: bytes) -> PurchaseInit:
        return PurchaseInit.parse(data)


@dataclass(frozen=True)
class UpdateCappCache(Order):
    """``80 DC P1 P2 Lc``: put a new record in the cache of a CAPP purchase.

    `by_number` False: `record` is the application type id (tag) of the record. 6901, 6A82, 6A83, 6700, 6A84.
    """

    sfi: int
    record: int
    data: bytes
    by_number: bool = False

    def command(self) -> Command:
        if not 1 <= self.sfi <= 0x1E:
            raise ValueError("a short file id is 1 to 30")
        return Command(
            CLA_BANK,
            Ins.UPDATE_RECORD,
            self.record,
            self.sfi << 3 | (4 if self.by_number else 0),
            self.data,
        )


@dataclass(frozen=True)
class DebitAnswer:
    """Answer of DEBIT FOR PURCHASE, 8 bytes: TAC 4, MAC2 4 (in this order, unlike the proof)."""

    tac: bytes
    mac2: bytes


@dataclass(frozen=True)
class DebitForPurchase(Request[DebitAnswer]):
    """``80 54 01 00 0F``: commit a purchase, CAPP purchase or withdrawal. 9302 wrong MAC1, 6901."""

    terminal_counter: int
    date: bytes
    time: bytes
    mac1: bytes

    def command(self) -> Command:
        body = number_bytes(self.terminal_counter) + fixed(self.date, 4, "a date")
        body += fixed(self.time, 3, "a time") + fixed(self.mac1, 4, "MAC1")
        return Command(CLA_BANK, Ins.DEBIT, 0x01, 0x00, body, 0x08)

    def parse(self, data: bytes) -> DebitAnswer:
        expect(data, 8)
        return DebitAnswer(data[:4], data[4:])


@dataclass(frozen=True)
class GetBalance(Request[int]):
    """``80 5C 00 p2 04``: the balance in fen. 6A82 no such purse."""

    purse: Purse = Purse.EP

    def command(self) -> Command:
        return Command(CLA_BANK, Ins.GET_BALANCE, 0x00, self.purse, le=0x04)

    def parse(self, data: bytes) -> int:
        expect(data, 4)
        return int.from_bytes(data, "big")


@dataclass(frozen=True)
class Proof:
    """Answer of GET TRANSACTION PROVE, 8 bytes: MAC 4, TAC 4 (purse-card.md 8.8)."""

    mac: bytes
    tac: bytes


@dataclass(frozen=True)
class GetTransactionProof(Request[Proof]):
    """``80 5A 00 type 02 SN 08``: proof of the last transaction of its counter; 9406 there is none.

    `serial` is the counter *after* the transaction, what a new INITIALIZE answers now.
    """

    kind: int
    serial: int

    def command(self) -> Command:
        return Command(CLA_BANK, Ins.GET_PROOF, 0x00, self.kind, number_bytes(self.serial, 2), 0x08)

    def parse(self, data: bytes) -> Proof:
        expect(data, 8)
        return Proof(data[:4], data[4:])


@dataclass(frozen=True)
class InitializeForUnload(Request[OnlineInit]):
    """``80 50 05 01 0B``: begin an unload of ED, type 03 (test profile "bank" only). 9401."""

    key_id: int
    amount: int
    terminal: bytes
    purse: Purse = Purse.ED

    def command(self) -> Command:
        return _initialize(0x05, self.purse, self.key_id, self.amount, self.terminal, 0x10)

    def parse(self, data: bytes) -> OnlineInit:
        return OnlineInit.parse(data)


@dataclass(frozen=True)
class DebitForUnload(Request[bytes]):
    """``80 54 03 00 0B``: commit the unload; answers MAC3. 9302, 6901."""

    date: bytes
    time: bytes
    mac2: bytes

    def command(self) -> Command:
        body = fixed(self.date, 4, "a date") + fixed(self.time, 3, "a time")
        return Command(CLA_BANK, Ins.DEBIT, 0x03, 0x00, body + fixed(self.mac2, 4, "MAC2"), 0x04)

    def parse(self, data: bytes) -> bytes:
        expect(data, 4)
        return data


@dataclass(frozen=True)
class LimitInit:
    """Answer of INITIALIZE FOR UPDATE, 19 bytes: as `OnlineInit` with the old limit 3 after the counter."""

    balance: int
    counter: int
    old_limit: int
    key_version: int
    algorithm: int
    random: bytes
    mac1: bytes


@dataclass(frozen=True)
class InitializeForLimit(Request[LimitInit]):
    """``80 50 04 01 07``: begin a change of the overdraft limit of ED, type code 07."""

    key_id: int
    terminal: bytes

    def command(self) -> Command:
        body = bytes((self.key_id,)) + fixed(self.terminal, TERMINAL_LENGTH, "a terminal number")
        return Command(CLA_BANK, Ins.INITIALIZE, 0x04, Purse.ED, body, 0x13)

    def parse(self, data: bytes) -> LimitInit:
        expect(data, 19)
        balance, counter = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:6], "big")
        limit = int.from_bytes(data[6:9], "big")
        return LimitInit(balance, counter, limit, data[9], data[10], data[11:15], data[15:])


@dataclass(frozen=True)
class UpdateLimit(Request[bytes]):
    """``80 58 00 00 0E``: commit the new overdraft limit; answers the TAC. 9302, 9401, 6901."""

    limit: int
    date: bytes
    time: bytes
    mac2: bytes

    def command(self) -> Command:
        body = number_bytes(self.limit, 3) + fixed(self.date, 4, "a date")
        body += fixed(self.time, 3, "a time") + fixed(self.mac2, 4, "MAC2")
        return Command(CLA_BANK, Ins.UPDATE_LIMIT, 0x00, 0x00, body, 0x04)

    def parse(self, data: bytes) -> bytes:
        expect(data, 4)
        return data
