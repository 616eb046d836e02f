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
from hsm_sim.secret import SecretKey, ecb_cipher

FORBIDDEN_FACTORS = (bytes(8), b"\xff" * 8)
_INVERT = (1 << 64) - 1
ONLINE_TAIL = b"\x80\x00"
_WORD, _TWO_WORDS = Struct(">Q"), Struct(">2Q")


@dataclass(frozen=True)
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
    """A purse session key: single DES (8 bytes) or SM4. Makes its MACs with one block cipher.

    Chaining the blocks here costs half of what a CBC context for each message costs, and a load needs two.
    """

    __slots__ = ("_encrypt", "alg")

    def __init__(self, alg: str, material: bytes) -> None:
        self.alg = alg
        self._encrypt = ecb_cipher(alg, material).encryptor().update

    def __repr__(self) -> str:
        return f"SessionKey({self.alg})"

    def mac(self, message: bytes) -> bytes:
        """4-byte purse MAC: CBC from zero over the message padded with 80, first half of the last block."""
        if self.alg == "S4":
            return self._long_mac(crypto.pad80(message, crypto.SM4_BLOCK))
        padded, encrypt, chain = crypto.pad80(message), self._encrypt, 0
        for (word,) in _WORD.iter_unpack(padded):
            (chain,) = _WORD.unpack(encrypt(_WORD.pack(chain ^ word)))
        return _WORD.pack(chain)[: crypto.MAC_LENGTH]

    def _long_mac(self, padded: bytes) -> bytes:
        chain = bytes(crypto.SM4_BLOCK)
        for start in range(0, len(padded), crypto.SM4_BLOCK):
            block = padded[start : start + crypto.SM4_BLOCK]
            chain = self._encrypt(crypto.xor(chain, block))
        return chain[: crypto.MAC_LENGTH]


def require_factors(factors: Sequence[bytes], least: int = 1) -> None:
    """Refuse factors of all 00 or all FF (R-11) and too few levels (R-44): HSM-22."""
    if len(factors) < least or any(factor in FORBIDDEN_FACTORS for factor in factors):
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
