"""Keys of old systems: under a variant LMK (payShield schemes U and T), or bare under a ZMK (scheme X).

Only the console's import profile reads them (9.4); on the host port they are answered with 26. Scheme U and T: the
first byte of the LMK pair is XORed with the key type's variant, then each part of the key is encrypted in
TDES-ECB with byte 8 of the pair XORed with A6, 5A (two parts) or 6A, DE, 2B (three).
"""

from core import crypto
from hsm_sim import keyblock
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


def unwrap(form: str, protection: bytes, wrapped: str) -> bytes:
    """The key inside; `wrapped` is the text on the sender's form.

    Forms: ``block`` (any version of `keyblock`, A and C too), ``X`` (TDES-ECB of the bare key under a ZMK), ``V0``
    to ``V9`` (under a variant LMK pair, key type variant 0 to 9). Raises HSM-15, 26, 27, 28, 83, A4, 02.
    """
    if form == "block":
        return keyblock.unwrap(protection, wrapped).material
    try:
        data = bytes.fromhex(wrapped)
    except ValueError:
        raise refusal("15", "not hex") from None
    if not data or len(data) % PART:
        raise refusal("27", "not whole key parts")
    if form == "X":
        return crypto.des_decrypt(protection, data)
    if len(form) == 2 and form[0] == "V" and form[1].isdigit():
        parts = _parts(protection, int(form[1]), data)
        return b"".join(crypto.des_decrypt(key, part) for key, part in parts)
    raise refusal("26", "no such form")
