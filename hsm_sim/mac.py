"""Message MACs of commands M6 and M8: ISO 9797-1 algorithms 1 and 3, CMAC, and UnionPay's "ECB" MAC.

Keys are 8, 16 or 24 bytes of DES, or AES for CMAC. Padding methods of ISO 9797-1: 1 zeros, 2 ``80`` and
zeros, 3 a block with the length in bits in front and zeros behind; 0 none. Sources: ISO/IEC 9797-1,
NIST SP 800-38B, iso8583-host.md 9.2.
"""

from collections.abc import Callable
from functools import partial, reduce
from operator import xor
from struct import unpack

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC

from core import crypto
from hsm_sim.errors import refusal

BLOCK = 8
Encrypt = Callable[[bytes], bytes]


def pad(data: bytes, method: str) -> bytes:
    """Padded data; HSM-80 when method 0 meets data that are not whole blocks."""
    if method == "0":
        if len(data) % BLOCK or not data:
            raise refusal("80", "data are not whole blocks")
        return data
    if method == "2":
        return crypto.pad80(data)
    zeros = data + bytes(-len(data) % BLOCK) if data else bytes(BLOCK)
    return zeros if method == "1" else (8 * len(data)).to_bytes(BLOCK, "big") + zeros


def algorithm_1(key: bytes, data: bytes, method: str) -> bytes:
    """CBC-MAC, 8 bytes; with a double or triple key every block is TDES."""
    return crypto.des_cbc(key, pad(data, method))[-BLOCK:]


def algorithm_3(key: bytes, data: bytes, method: str, encrypt: Encrypt | None = None) -> bytes:
    """Retail MAC (X9.19), 8 bytes: DES-CBC with the left half, the last block under the whole key.

    `encrypt` is two-key TDES of single blocks under `key`, where an encryptor is kept; so is it in `unionpay`.
    """
    if len(key) != 16:
        raise refusal("02", "the retail MAC takes a double-length key")
    padded = pad(data, method)
    before, last = padded[:-BLOCK], padded[-BLOCK:]
    if before:
        last = crypto.xor(crypto.des_cbc(key[:8], before)[-BLOCK:], last)
    return (encrypt or partial(crypto.des_encrypt, key))(last)


def cmac(alg: str, key: bytes, data: bytes) -> bytes:
    """CMAC, 16 bytes with AES, 8 with TDES."""
    if alg.startswith("A"):
        return crypto.aes_cmac(key, data)
    if alg == "S4":
        mac = CMAC(algorithms.SM4(key))
    else:
        mac = CMAC(TripleDES({8: key * 3, 16: key + key[:8]}.get(len(key), key)))
    mac.update(data)
    return mac.finalize()


def unionpay(key: bytes, data: bytes, encrypt: Encrypt | None = None) -> bytes:
    """Field 64: XOR of all zero-padded blocks, as hex; E(A), XOR B, E; first 8 hex characters as ASCII."""
    encrypt = encrypt or partial(crypto.des_encrypt, key)
    padded = pad(data, "1")
    total: int = reduce(xor, unpack(f">{len(padded) // BLOCK}Q", padded))
    shown = f"{total:016X}".encode("ascii")
    last = encrypt(crypto.xor(encrypt(shown[:BLOCK]), shown[BLOCK:]))
    return last.hex().upper().encode("ascii")[:BLOCK]
