"""Keys of old systems: under a variant LMK (payShield schemes U and T), or bare under a ZMK (scheme X).

Only the console's import profile reads them (9.4); on the host port they are answered with 26. Scheme U and T: the
first byte of the LMK pair is XORed with the key type's variant, then each part of the key is encrypted in
TDES-ECB with byte 8 of the pair XORed with A6, 5A (two parts) or 6A, DE, 2B (three).
"""

from core import crypto
from hsm_sim.errors import refusal

PART = 8
SCHEME_VARIANTS = {2: (0xA6, 0x5A), 3: (0x6A, 0xDE, 0x2B)}
# first byte of the pair: variant 0 leaves it, 1 to 9 as payShield numbers them
KEY_TYPE_VARIANTS = (0x00, 0xA6, 0x5A, 0x6A, 0xDE, 0x2B, 0x50, 0x74, 0x9C, 0xFA)


def _parts(pair: bytes, variant: int, key: bytes) -> list[tuple[bytes, bytes]]:
    """Each part of the key with the form of the LMK pair that protects it."""
    count = len(key) // PART
    if len(pair) != 2 * PART or len(key) % PART or count not in SCHEME_VARIANTS:
        raise refusal("27", "a variant LMK pair has 16 bytes, a key two or three parts")
    if not 0 <= variant < len(KEY_TYPE_VARIANTS):
        raise refusal("28", "no such key type variant")
    typed = bytes((pair[0] ^ KEY_TYPE_VARIANTS[variant],)) + pair[1:]
    forms = [
        typed[:PART] + bytes((typed[PART] ^ mask,)) + typed[PART + 1 :]
        for mask in SCHEME_VARIANTS[count]
    ]
    return [(forms[n], key[PART * n : PART * n + PART]) for n in range(count)]


def variant_wrap(pair: bytes, variant: int, key: bytes) -> bytes:
    """A key under a variant LMK pair (scheme U or T by its length)."""
    return b"".join(crypto.des_encrypt(form, part) for form, part in _parts(pair, variant, key))


def variant_unwrap(pair: bytes, variant: int, wrapped: bytes) -> bytes:
    """Inverse of `variant_wrap`; parity and check value are for the caller to judge."""
    return b"".join(crypto.des_decrypt(form, part) for form, part in _parts(pair, variant, wrapped))


def bare_under(zone: bytes, key: bytes) -> bytes:
    """Scheme X: TDES-ECB of the key under a ZMK."""
    return crypto.des_encrypt(zone, key)


def bare_from(zone: bytes, wrapped: bytes) -> bytes:
    """Inverse of `bare_under`."""
    return crypto.des_decrypt(zone, wrapped)
