"""Card keys and what they compute, in one place for all commands (hsm-and-ceremony.md 8.2, purse-card.md 5, 8, 10).

A `CardKey` exists inside one command only (R-19). TDES masters give two-key card keys, SM4 masters one-block
ones (purse-card.md 14, own profile). No parity adjustment anywhere: cards compute with what comes out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from struct import Struct

from core import crypto
from hsm_sim.errors import refusal
from hsm_sim.kcv import check_value
from hsm_sim.secret import SecretKey, cbc_cipher, ecb_cipher

FORBIDDEN_FACTORS = frozenset({bytes(8), b"\xff" * 8})
_INVERT = (1 << 64) - 1
ONLINE_TAIL = b"\x80\x00"
_WORD, _TWO_WORDS = Struct(">Q"), Struct(">2Q")


@dataclass(slots=True, eq=False)
class CardKey:
    """A derived key: `alg` T2 or S4."""

    alg: str
    material: bytes = field(repr=False)

    @property
    def kcv(self) -> str:
        """Check value, 6 hex characters."""
        return check_value(self.alg, self.material)

    def session(self, random: bytes, counter: int, tail: bytes = ONLINE_TAIL) -> "SessionKey":
        """Session key of a purse transaction: ``E(key, random || counter || tail)``."""
        counter2 = counter.to_bytes(2, "big")
        if self.alg == "S4":
            return SessionKey(
                self.alg, crypto.sm4_purse_session_key(self.material, random, counter2, tail)
            )
        block = ecb_cipher(self.alg, self.material).encryptor().update(random + counter2 + tail)
        return SessionKey("D1", block)

    def tac(self, message: bytes) -> bytes:
        """Transaction code: DES under left XOR right half, or SM4 under the key itself; 4 bytes."""
        if self.alg == "S4":
            return SessionKey("S4", self.material).mac(message)
        left, right = _TWO_WORDS.unpack(self.material)
        return SessionKey("D1", _WORD.pack(left ^ right)).mac(message)

    def encrypt_block(self, block: bytes) -> bytes:
        """One 8-byte block under a TDES key (external and internal authentication)."""
        if self.alg == "S4":
            raise refusal("A7", "authentication under SM4 is not defined")
        return crypto.des_encrypt(self.material, block)

    def line_mac(self, challenge: bytes, message: bytes) -> bytes:
        """4-byte MAC of line protection; `challenge` has 8 bytes."""
        if self.alg == "S4":
            raise refusal("A7", "line protection under SM4 is not defined")
        return crypto.sm_mac(self.material, challenge, message)

    def line_cipher(self, plain: bytes) -> bytes:
        """Cipher of line protection over LD || plain."""
        if self.alg == "S4":
            raise refusal("A7", "line protection under SM4 is not defined")
        return crypto.sm_encrypt(self.material, plain)


class SessionKey:
    """A purse session key: single DES (8 bytes) or SM4. All its MACs come from one CBC context.

    Making a context costs more than all blocks of a load. So that each message begins from zero, what the
    one before left in the chain is taken out of its first block again.
    """

    __slots__ = ("_block", "_chain", "_update", "alg")

    def __init__(self, alg: str, material: bytes) -> None:
        self.alg = alg
        self._block = crypto.SM4_BLOCK if alg == "S4" else crypto.DES_BLOCK
        self._update = cbc_cipher(alg, material).encryptor().update
        self._chain = b""

    def __repr__(self) -> str:
        return f"SessionKey({self.alg})"

    def mac(self, message: bytes) -> bytes:
        """4-byte purse MAC: CBC from zero over the message padded with 80, first half of the last block."""
        block = self._block
        padded = crypto.pad80(message, block)
        if self._chain:
            first = int.from_bytes(padded[:block], "big") ^ int.from_bytes(self._chain, "big")
            padded = first.to_bytes(block, "big") + padded[block:]
        self._chain = self._update(padded)[-block:]
        return self._chain[: crypto.MAC_LENGTH]


def require_factors(factors: Sequence[bytes], least: int = 1) -> None:
    """Refuse factors of all 00 or all FF (R-11) and too few levels (R-44): HSM-22."""
    if len(factors) < least or not FORBIDDEN_FACTORS.isdisjoint(factors):
        raise refusal("22", "diversification factor")


def card_key(master: SecretKey, factors: Sequence[bytes]) -> CardKey:
    """The key of these factors, level by level; the master itself for none."""
    if not factors:
        return CardKey(master.alg, master.reveal())
    first, *others = factors
    material = master.encrypt_blocks(spread(first))
    for factor in others:
        material = ecb_cipher(master.alg, material).encryptor().update(spread(factor))
    return CardKey(master.alg, material)


def spread(factor: bytes) -> bytes:
    """``F || NOT F``."""
    number = int.from_bytes(factor, "big")
    return factor + (number ^ _INVERT).to_bytes(8, "big")
