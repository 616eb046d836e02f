"""Check values, parity, weak keys and fingerprints (hsm-and-ceremony.md 9.3).

A check value is for people: it finds typing errors and does not identify a key. A fingerprint does, and
nobody outside can compute it: HMAC-SHA-256 under a key derived from the LMK.
"""

import hashlib
import hmac
import secrets
from itertools import pairwise

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core import crypto
from hsm_sim.errors import refusal
from hsm_sim.secret import AES_ALGORITHMS, DES_ALGORITHMS, KEY_BYTES

FINGERPRINT_INFO = b"hsm-sim fp v1"
FINGERPRINT_BYTES = 16
WEAK_HALVES = frozenset(
    bytes.fromhex(half)
    for half in (
        "0101010101010101", "FEFEFEFEFEFEFEFE", "E0E0E0E0F1F1F1F1", "1F1F1F1F0E0E0E0E",
        "011F011F010E010E", "1F011F010E010E01", "01E001E001F101F1", "E001E001F101F101",
        "01FE01FE01FE01FE", "FE01FE01FE01FE01", "1FE01FE00EF10EF1", "E01FE01FF10EF10E",
        "1FFE1FFE0EFE0EFE", "FE1FFE1FFE0EFE0E", "E0FEE0FEF1FEF1FE", "FEE0FEE0FEF1FEF1",
    )
)  # fmt: skip
MAX_ATTEMPTS = 100


def check_value(alg: str, material: bytes, length: int = 3) -> str:
    """Upper-case hex of the check value: zero block for DES and SM4, CMAC for AES.

    HMAC keys: HMAC-SHA-256 over 16 zero bytes; Ed25519: SHA-256 of the public key (choices of ours).
    """
    if alg in DES_ALGORITHMS:
        value = crypto.des_kcv(material, length)
    elif alg in AES_ALGORITHMS:
        value = crypto.aes_kcv(material, length)
    elif alg == "S4":
        value = crypto.sm4_kcv(material, length)
    elif alg == "H2":
        value = hmac.digest(material, bytes(16), "sha256")[:length]
    else:
        public = Ed25519PrivateKey.from_private_bytes(material).public_key().public_bytes_raw()
        value = hashlib.sha256(public).digest()[:length]
    return value.hex().upper()


def block_check(alg: str, material: bytes) -> tuple[tuple[str, str], ...]:
    """Optional block KC of a key's own block: method 00 (zero block) or 01 (CMAC, 5 bytes), check value.

    Empty for HMAC and Ed25519 keys: X9.143 knows no method for them.
    """
    if alg in AES_ALGORITHMS:
        return (("KC", "01" + check_value(alg, material, 5)),)
    if alg in DES_ALGORITHMS or alg == "S4":
        return (("KC", "00" + check_value(alg, material)),)
    return ()


def odd_parity(material: bytes) -> bytes:
    """Each byte with odd parity through its lowest bit (DES keys)."""
    return bytes((byte & 0xFE) | (1 - (byte >> 1).bit_count() % 2) for byte in material)


def weakness(alg: str, material: bytes) -> str:
    """Why a key is refused (R-24), or "": all zero, weak or semi-weak DES half, equal halves."""
    if not any(material):
        return "an all-zero key"
    if alg in DES_ALGORITHMS:
        halves = [odd_parity(material[n : n + 8]) for n in range(0, len(material), 8)]
        if any(half in WEAK_HALVES for half in halves):
            return "a weak or semi-weak DES half"
        if any(one == other for one, other in pairwise(halves)):
            return "equal halves"
    return ""


def require_strong(alg: str, material: bytes) -> None:
    """Raise HSM-75 for a key that `weakness` finds."""
    reason = weakness(alg, material)
    if reason:
        raise refusal("75", reason)


def generate(alg: str) -> bytearray:
    """A fresh key from the operating system's random source; DES keys with odd parity, never weak (R-39)."""
    for _ in range(MAX_ATTEMPTS):  # one draw in 2^51 is weak
        material = secrets.token_bytes(KEY_BYTES[alg])
        if alg in DES_ALGORITHMS:
            material = odd_parity(material)
        if not weakness(alg, material):
            return bytearray(material)
    raise refusal("41", "the random source repeats itself")


def derived_key(lmk: bytes, info: bytes) -> bytes:
    """A 32-byte key of the HSM's own from the LMK (HKDF-SHA-256, no salt)."""
    return HKDF(hashes.SHA256(), 32, None, info).derive(lmk)


def fingerprint(fingerprint_key: bytes, alg: str, material: bytes) -> str:
    """32 lower-case hex characters; DES keys are parity-adjusted first."""
    told = odd_parity(material) if alg in DES_ALGORITHMS else material
    return hmac.digest(fingerprint_key, alg.encode("ascii") + told, "sha256")[
        :FINGERPRINT_BYTES
    ].hex()
