"""What `benchmarks.hsm` is held against: the cryptography of loads and TACs by direct calls, without an HSM."""

import os
from collections.abc import Sequence

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from core import crypto

AMOUNT, BALANCE, TERMINAL = 500, 100, bytes(6)
DATE, TIME = bytes.fromhex("20261127"), bytes.fromhex("101500")
Raw = list[tuple[bytes, int, bytes]]  # card factor, counter, random


def cards(count: int) -> Raw:
    """New cards with new randoms."""
    return [(b"\x00" + os.urandom(7), n % 65_536, os.urandom(4)) for n in range(count)]


class Alone:
    """The cryptography of a load and a TAC by a careful user of the library."""

    def __init__(self, master: bytes) -> None:
        self._master = Cipher(TripleDES(master + master[:8]), modes.ECB()).encryptor()

    def load(self, card: bytes, counter: int, random: bytes) -> tuple[bytes, bytes]:
        """MAC1 and MAC2."""
        key = self._master.update(card + bytes(b ^ 0xFF for b in card))
        cipher = Cipher(TripleDES(key + key[:8]), modes.ECB()).encryptor()
        session = cipher.update(random + counter.to_bytes(2, "big") + b"\x80\x00")
        kept = TripleDES(session * 3)
        place = b"\x02" + TERMINAL
        told = BALANCE.to_bytes(4, "big") + AMOUNT.to_bytes(4, "big") + place
        mac1 = Cipher(kept, modes.CBC(bytes(8))).encryptor().update(crypto.pad80(told))[-8:-4]
        told = AMOUNT.to_bytes(4, "big") + place + DATE + TIME
        return mac1, Cipher(kept, modes.CBC(bytes(8))).encryptor().update(crypto.pad80(told))[-8:-4]

    def tac(self, card: bytes, counter: int, random: bytes) -> bytes:
        """The TAC of a purchase."""
        return self.record(card, counter, random)[1]

    def record(self, card: bytes, counter: int, random: bytes) -> tuple[bytes, bytes]:  # noqa: ARG002
        """TAC input and TAC of a purchase."""
        key = self._master.update(card + bytes(b ^ 0xFF for b in card))
        half = TripleDES(crypto.xor(key[:8], key[8:]) * 3)
        told = (
            AMOUNT.to_bytes(4, "big")
            + b"\x06"
            + TERMINAL
            + counter.to_bytes(4, "big")
            + DATE
            + TIME
        )
        made = Cipher(half, modes.CBC(bytes(8))).encryptor().update(crypto.pad80(told))
        return told, made[-8:-4]


def naive_load(master: bytes, card: bytes, counter: int, random: bytes) -> tuple[bytes, bytes]:
    """The same with a fresh cipher for every step."""
    key = crypto.diversify(master, card)
    session = crypto.purse_session_key(key, random, counter.to_bytes(2, "big"), b"\x80\x00")
    place = b"\x02" + TERMINAL
    first = BALANCE.to_bytes(4, "big") + AMOUNT.to_bytes(4, "big") + place
    second = AMOUNT.to_bytes(4, "big") + place + DATE + TIME
    return crypto.purse_mac(session, first), crypto.purse_mac(session, second)


def good_loop(master: bytes, made: Sequence[tuple[bytes, bytes, bytes]]) -> int:
    """What a careful user writes: all keys in one call, one cipher a record; how many are right."""
    spreads = b"".join(card + bytes(b ^ 0xFF for b in card) for card, _, _ in made)
    keys = Cipher(TripleDES(master + master[:8]), modes.ECB()).encryptor().update(spreads)
    zero, right = modes.CBC(bytes(8)), 0
    for number, (_, told, tac) in enumerate(made):
        left, other = keys[16 * number : 16 * number + 8], keys[16 * number + 8 : 16 * number + 16]
        half = (int.from_bytes(left, "big") ^ int.from_bytes(other, "big")).to_bytes(8, "big")
        mac = Cipher(TripleDES(half * 3), zero).encryptor().update(told + b"\x80\x00")
        right += mac[-8:-4] == tac
    return right
