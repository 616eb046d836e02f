"""A clear key inside the HSM: shows algorithm and check value, never its bytes (R-33).

Python cannot reliably erase memory: `cryptography` and OpenSSL copy what they are given, and `bytes`
may stay behind. What can be done is done: one buffer that is overwritten, no pickling, no copying, no
comparison by content. ECB encryptors of resident keys are kept, because making one costs more than using
it; they go with the key.
"""

from typing import NoReturn, Self

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

KEY_BYTES = {
    "D1": 8,
    "T2": 16,
    "T3": 24,
    "A1": 16,
    "A2": 24,
    "A3": 32,
    "S4": 16,
    "H2": 32,
    "ED": 32,
}
DES_ALGORITHMS = ("D1", "T2", "T3")
AES_ALGORITHMS = ("A1", "A2", "A3")
_ECB = modes.ECB()
_ZERO_DES, _ZERO_SM4 = modes.CBC(bytes(8)), modes.CBC(bytes(16))


class SecretKey:
    """One key. `alg` is D1, T2, T3 (DES), A1 to A3 (AES), S4 (SM4), H2 (HMAC) or ED (Ed25519 seed)."""

    __slots__ = ("_buffer", "_ecb", "alg", "check_value")

    def __init__(self, alg: str, material: bytes | bytearray, check_value: str = "") -> None:
        if len(material) != KEY_BYTES[alg]:
            raise ValueError("the key has another length than its algorithm")
        self.alg = alg
        self.check_value = check_value
        self._buffer = bytearray(material)
        self._ecb: CipherContext | None = None

    def __repr__(self) -> str:
        return f"SecretKey({self.alg}, {self.check_value or 'no check value'})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not written anywhere")

    def __copy__(self) -> NoReturn:
        raise TypeError("a key is not copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("a key is not copied")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def reveal(self) -> bytes:
        """The bytes, for one computation; ValueError after `clear`."""
        if not self._buffer:
            raise ValueError("this key was cleared")
        return bytes(self._buffer)

    def clear(self) -> None:
        """Overwrite the buffer; the key is of no use afterwards."""
        self._buffer[:] = bytes(len(self._buffer))
        del self._buffer[:]
        self._ecb = None

    def encrypt_blocks(self, data: bytes) -> bytes:
        """ECB over whole blocks with the kept encryptor. Not for two threads at once."""
        if self._ecb is None:
            self._ecb = ecb_cipher(self.alg, self.reveal()).encryptor()
        return self._ecb.update(data)


def ecb_cipher(alg: str, material: bytes) -> Cipher[modes.ECB]:
    """The block cipher of an algorithm."""
    return Cipher(_algorithm(alg, material), _ECB)


def cbc_cipher(alg: str, material: bytes) -> Cipher[modes.CBC]:
    """Its CBC mode from an initial value of zeros; not AES, which no purse uses."""
    return Cipher(_algorithm(alg, material), _ZERO_SM4 if alg == "S4" else _ZERO_DES)


def _algorithm(alg: str, material: bytes) -> TripleDES | algorithms.SM4 | algorithms.AES:
    """Two-key and single DES are expanded to three keys."""
    if alg in DES_ALGORITHMS:
        length = len(material)
        if length != 24:
            material = material + material[:8] if length == 16 else material * 3
        return TripleDES(material)
    return algorithms.SM4(material) if alg == "S4" else algorithms.AES(material)
