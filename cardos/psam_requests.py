"""PSAM commands as typed requests (purse-card.md 9). Fields as in `cardos.purse_requests`."""

from dataclasses import dataclass
from enum import IntEnum

from cardos.client import Order, Request
from cardos.purse_requests import expect, fixed, number_bytes
from cardos.spec import CLA_BANK, Ins
from core.apdu import Command

FACTOR_LENGTH = 8


@dataclass(frozen=True)
class SamInit:
    """Answer of INIT SAM FOR PURCHASE, 8 bytes: terminal counter (termSN) 4, MAC1 4."""

    terminal_counter: int
    mac1: bytes


@dataclass(frozen=True)
class InitSamForPurchase(Request[SamInit]):
    """``80 70 00 00 Lc``: the PSAM makes MAC1 with its own number and counter (purse-card.md 9.3).

    `factors`: 8 bytes each, the card's first; as many as the purchase key has levels. 9403 no key of that
    version or algorithm, 6A80 type, 9303 or 6A81 locked.
    """

    random: bytes
    counter: int
    amount: int
    kind: int
    date: bytes
    time: bytes
    key_version: int
    algorithm: int
    factors: tuple[bytes, ...]

    def command(self) -> Command:
        body = fixed(self.random, 4, "a card random") + number_bytes(self.counter, 2)
        body += number_bytes(self.amount) + bytes((self.kind,)) + fixed(self.date, 4, "a date")
        body += fixed(self.time, 3, "a time") + bytes((self.key_version, self.algorithm))
        for factor in self.factors:
            body += fixed(factor, FACTOR_LENGTH, "a factor")
        return Command(CLA_BANK, Ins.INIT_SAM, 0x00, 0x00, body, 0x08)

    def parse(self, data: bytes) -> SamInit:
        expect(data, 8)
        return SamInit(int.from_bytes(data[:4], "big"), data[4:])


@dataclass(frozen=True)
class CreditSamForPurchase(Order):
    """``80 72 00 00 04``: the PSAM checks MAC2 of the pending purchase. 9302 false card, 9303, 6901."""

    mac2: bytes

    def command(self) -> Command:
        return Command(CLA_BANK, Ins.CREDIT_SAM, 0x00, 0x00, fixed(self.mac2, 4, "MAC2"))


@dataclass(frozen=True)
class DeriveSamKey(Order):
    """``80 1A usage kid Lc factors``: a temporary key of as many levels as the usage says (purse-card.md 9.5).

    The card's factor first. It dies with reset, SELECT and the next 801A. 9403 no such key, 6981 a usage
    that neither encrypts nor makes MACs, 6700 another number of factors.
    """

    usage: int
    key_id: int
    factors: tuple[bytes, ...] = ()

    def command(self) -> Command:
        body = b"".join(fixed(factor, FACTOR_LENGTH, "a factor") for factor in self.factors)
        return Command(CLA_BANK, Ins.DERIVE_KEY, self.usage, self.key_id, body)


class SamCryptMode(IntEnum):
    """P1 of DES CRYPT (purse-card.md 9.5)."""

    ENCRYPT = 0x00
    MAC_LAST = 0x01
    ENCRYPT_MORE = 0x02
    MAC_NEXT = 0x03
    MAC_ONLY = 0x05
    MAC_FIRST = 0x07


@dataclass(frozen=True)
class SamCrypt(Request[bytes]):
    """``80 FA P1 00 Lc data``: encrypt, or make a MAC of 4 bytes, under the temporary key.

    `data` are whole blocks of 8, padding is the caller's; MAC_ONLY and MAC_FIRST begin with the IV.
    MAC_NEXT and MAC_FIRST answer nothing. 6901 no temporary key, 6981 the usage does not allow it.
    """

    mode: SamCryptMode
    data: bytes

    def command(self) -> Command:
        silent = self.mode in (SamCryptMode.MAC_NEXT, SamCryptMode.MAC_FIRST)
        return Command(CLA_BANK, Ins.CRYPT, self.mode, 0x00, self.data, None if silent else 0x00)

    def parse(self, data: bytes) -> bytes:
        return data
