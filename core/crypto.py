"""What the cards compute, on top of `cryptography`: DES and SM4 purse functions, MACs, derivation, check values.

Only `hsm_sim` and `cardos` may import this file (the "no key material" contract). Every function takes
keys as bytes of 8 (single DES), 16 (two-key 3DES, or SM4 where said) and returns bytes. Nothing here
checks for weak keys or adjusts parity: session keys and TAC keys may be weak and must still work
(purse-card.md 10 and 18). Sources: purse-card.md 5, 8, 10, 14; hsm-and-ceremony.md 8.2, 9.3.
The published vectors are the judge, since chip and HSM share this code.
"""

import hmac

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

DES_BLOCK = 8
SM4_BLOCK = 16
MAC_LENGTH = 4


def xor(left: bytes, right: bytes) -> bytes:
    """Byte-wise XOR of equally long values."""
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def equal(left: bytes, right: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(left, right)


def pad80(data: bytes, block: int = DES_BLOCK) -> bytes:
    """Append ``80 00..`` up to a multiple of `block`; a full block when it is one already."""
    return data + b"\x80" + bytes(-(len(data) + 1) % block)


def _triple(key: bytes) -> TripleDES:
    if len(key) == 8:
        return TripleDES(key * 3)
    if len(key) == 16:
        return TripleDES(key + key[:8])
    if len(key) == 24:
        return TripleDES(key)
    raise ValueError("a DES key has 8, 16 or 24 bytes")


def des_encrypt(key: bytes, data: bytes) -> bytes:
    """DES (8-byte key) or two-key 3DES (16) in ECB mode; `data` is a multiple of 8 bytes."""
    encryptor = Cipher(_triple(key), modes.ECB()).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def des_decrypt(key: bytes, data: bytes) -> bytes:
    """Inverse of `des_encrypt`."""
    decryptor = Cipher(_triple(key), modes.ECB()).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def des_cbc(key: bytes, data: bytes, iv: bytes = bytes(8)) -> bytes:
    """DES or 3DES in CBC mode."""
    encryptor = Cipher(_triple(key), modes.CBC(iv)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def sm4_encrypt(key: bytes, data: bytes) -> bytes:
    """SM4 in ECB mode; `data` is a multiple of 16 bytes."""
    encryptor = Cipher(algorithms.SM4(key), modes.ECB()).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def sm4_decrypt(key: bytes, data: bytes) -> bytes:
    """Inverse of `sm4_encrypt`."""
    decryptor = Cipher(algorithms.SM4(key), modes.ECB()).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def sm4_cbc(key: bytes, data: bytes, iv: bytes = bytes(16)) -> bytes:
    """SM4 in CBC mode."""
    encryptor = Cipher(algorithms.SM4(key), modes.CBC(iv)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


# -- secure messaging ("line protection"), purse-card.md 5 ------------------------------------------


def sm_iv(challenge: bytes) -> bytes:
    """Initial value from a 4-byte challenge (zeros behind) or an 8-byte one (used whole)."""
    if len(challenge) not in (4, 8):
        raise ValueError("a challenge has 4 or 8 bytes")
    return challenge.ljust(8, b"\x00")


def sm_mac(key: bytes, iv: bytes, message: bytes) -> bytes:
    """4-byte MAC of secure messaging: pads always; CBC-DES with the left half, 3DES for the last block.

    `message` is CLA INS P1 P2 Lc data, Lc counting the MAC. An 8-byte key is DES throughout.
    """
    padded = pad80(message)
    head, last = padded[:-DES_BLOCK], padded[-DES_BLOCK:]
    if head:
        iv = des_cbc(key[:8], head, iv)[-DES_BLOCK:]
    return des_cbc(key, last, iv)[:MAC_LENGTH]  # one block: CBC is the whole of E-D-E


def sm_encrypt(key: bytes, plain: bytes) -> bytes:
    """Cipher of secure messaging: ECB over LD || plain, padded only when needed."""
    block = bytes((len(plain),)) + plain
    return des_encrypt(key, block if len(block) % DES_BLOCK == 0 else pad80(block))


def sm_decrypt(key: bytes, cipher: bytes) -> bytes:
    """Plain text of `sm_encrypt`; LD governs, what follows is ignored. ValueError if LD does not fit."""
    if not cipher or len(cipher) % DES_BLOCK:
        raise ValueError("the cipher is a multiple of 8 bytes")
    block = des_decrypt(key, cipher)
    if block[0] > len(block) - 1:
        raise ValueError("LD exceeds the data")
    return block[1 : 1 + block[0]]


# -- purse, purse-card.md 8 -------------------------------------------------------------------------


def purse_session_key(key: bytes, random4: bytes, counter2: bytes, tail2: bytes) -> bytes:
    """8-byte session key ``E(key, random || counter || tail)``; tail is 8000 on line, else termSN's right half."""
    return des_encrypt(key, random4 + counter2 + tail2)


def purse_mac(session_key: bytes, message: bytes) -> bytes:
    """4-byte purse MAC: single-DES CBC under the 8-byte session key, IV zero, 80-padding always."""
    return des_cbc(session_key, pad80(message))[-DES_BLOCK:][:MAC_LENGTH]


def tac_key(dtk: bytes) -> bytes:
    """Left XOR right half of a 16-byte DTK; an 8-byte one is used as it is. May be all zero."""
    return xor(dtk[:8], dtk[8:]) if len(dtk) == 16 else dtk


def tac(dtk: bytes, message: bytes) -> bytes:
    """4-byte transaction code over `message`."""
    return purse_mac(tac_key(dtk), message)


def reload_pin_mac(drpk: bytes, pin: bytes) -> bytes:
    """MAC of RELOAD PIN: over the PIN only, IV zero, key = DRPK halves XORed (purse-card.md 7.5)."""
    return purse_mac(tac_key(drpk), pin)


# -- SM4 profile, purse-card.md 14 (own profile, not interoperable beyond cipher and derivation) ----


def sm4_purse_session_key(key: bytes, random4: bytes, counter2: bytes, tail2: bytes) -> bytes:
    """16-byte session key: one SM4 block over the 8-byte input padded to 16."""
    return sm4_encrypt(key, pad80(random4 + counter2 + tail2, SM4_BLOCK))


def sm4_mac(key: bytes, message: bytes, iv: bytes = bytes(16)) -> bytes:
    """4-byte SM4-CBC MAC with 80-padding to 16."""
    return sm4_cbc(key, pad80(message, SM4_BLOCK), iv)[-SM4_BLOCK:][:MAC_LENGTH]


# -- derivation and check values --------------------------------------------------------------------


def diversify(master: bytes, *factors: bytes) -> bytes:
    """Card key: ``E(MK, F) || E(MK, NOT F)`` once per factor, in the order given; no parity adjustment."""
    key = master
    for factor in factors:
        if len(factor) != DES_BLOCK:
            raise ValueError("a diversification factor has 8 bytes")
        key = des_encrypt(key, factor + bytes(b ^ 0xFF for b in factor))
    return key


def sm4_diversify(master: bytes, factor: bytes) -> bytes:
    """SM4 card key: ``SM4(MK, F || NOT F)``, one block."""
    if len(factor) != DES_BLOCK:
        raise ValueError("a diversification factor has 8 bytes")
    return sm4_encrypt(master, factor + bytes(b ^ 0xFF for b in factor))


def des_kcv(key: bytes, length: int = 3) -> bytes:
    """Check value of a DES key: first bytes of the encrypted zero block."""
    return des_encrypt(key, bytes(8))[:length]


def sm4_kcv(key: bytes, length: int = 3) -> bytes:
    """Check value of an SM4 key: first bytes of the encrypted zero block."""
    return sm4_encrypt(key, bytes(16))[:length]


def aes_cmac(key: bytes, message: bytes) -> bytes:
    """AES-CMAC (RFC 4493), 16 bytes."""
    mac = CMAC(algorithms.AES(key))
    mac.update(message)
    return mac.finalize()


def aes_kcv(key: bytes, length: int = 3) -> bytes:
    """Check value of an AES key: first bytes of the CMAC over a zero block."""
    return aes_cmac(key, bytes(16))[:length]
