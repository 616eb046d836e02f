"""Key blocks of X9.143 (TR-31): versions D and B to wrap and unwrap, A and C to unwrap in the import profile.

::

    D 0144 P0 A E 00 N 00 00 | optional blocks | encrypted(key length in bits (2) | key | random) | MAC(16)

Header: version, length of the whole text (4 digits), usage (2), algorithm (1), mode of use (1), key version
(2), exportability (1), number of optional blocks (2), reserved ``00``; all of it under the MAC. An optional
block is id (2), length (2 hex, or ``00`` ``02`` and 4 hex), text; ``PB`` pads to the cipher's block.
Order of unwrapping (R-21): header, length, MAC in constant time, and only then the key length inside.
Keys are padded so that a block's length does not tell the key's (R-22). Sources: ANSI X9.143-2021,
ASC X9 TR 31-2018 (A, C: key XOR 45../4D.., CBC-MAC; B, D: keys derived by CMAC over a counter block).
"""

import re
import secrets
from dataclasses import dataclass, field

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from core import crypto
from hsm_sim.errors import refusal

HEADER_LENGTH = 16
MAX_BLOCK = 9999
MAX_OPTIONAL = 99
PADDED_KEY = {"T": 24, "D": 24, "A": 32}  # a key's length cannot be read from its block
LETTERS = {  # by the first letter of our algorithm names; SM4 has a digit of the proprietary range
    "D": "D", "T": "T", "A": "A", "S": "4", "H": "H", "E": "E",
}  # fmt: skip
MAC_LENGTHS = {"A": 4, "B": 8, "C": 4, "D": 16}
_HEADER = re.compile(
    "([ABCD])([0-9]{4})([0-9A-Z]{2})([0-9A-Z])([0-9A-Z])([0-9A-Zc]{2})([0-9A-Z])([0-9]{2})([0-9]{2})"
)
_HEX = re.compile("[0-9A-F]*")
_LONG = re.compile("0[1-4]")


@dataclass(frozen=True)
class BlockHeader:
    """What a key block says of its key, in the clear but under the MAC."""

    usage: str
    algorithm: str
    mode: str
    key_version: str = "00"
    exportability: str = "N"
    optional: tuple[tuple[str, str], ...] = ()
    version: str = "D"


@dataclass(frozen=True)
class Unwrapped:
    """A block that was opened: header and key."""

    header: BlockHeader
    material: bytes = field(repr=False)


def is_aes(version: str) -> bool:
    """Whether a version protects with AES (D) rather than TDES (A, B, C)."""
    return version == "D"


def parse(text: str) -> tuple[BlockHeader, str, bytes, bytes]:
    """Header, the header's own text, cipher and MAC; raises HSM-83 for anything malformed."""
    found = _HEADER.match(text)
    if found is None or not text.isascii():
        raise refusal("83", "key block header")
    version, length, usage, algorithm, mode, key_version, exportability, count, reserved = (
        found.groups()
    )
    unit = 16 if is_aes(version) else 8
    if int(length) != len(text) or len(text) % unit or reserved != "00":
        raise refusal("83", "key block length")
    optional, start = _parse_optional(text, int(count))
    mac_hex = 2 * MAC_LENGTHS[version]
    body, mac = text[start:-mac_hex], text[-mac_hex:]
    if len(text) - start < mac_hex + 2 * unit or len(body) % (2 * unit):
        raise refusal("83", "key block too short")
    if not _HEX.fullmatch(body) or not _HEX.fullmatch(mac):
        raise refusal("83", "key block is not upper-case hex")
    if start % unit:
        raise refusal("83", "optional blocks are not padded")
    header = BlockHeader(usage, algorithm, mode, key_version, exportability, optional, version)
    return header, text[:start], bytes.fromhex(body), bytes.fromhex(mac)


def _parse_optional(text: str, count: int) -> tuple[tuple[tuple[str, str], ...], int]:
    at = HEADER_LENGTH
    found: list[tuple[str, str]] = []
    for _ in range(count):
        name, size = text[at : at + 2], text[at + 2 : at + 4]
        begin = at + 4
        if size == "00":  # extended length: how many bytes it has (in two digits), then the length
            digits = 2 * int(text[begin + 1 : begin + 2]) if _LONG.match(text, begin) else 0
            size, begin = text[begin + 2 : begin + 2 + digits], begin + 2 + digits
        if not name.isalnum() or not size or not _HEX.fullmatch(size):
            raise refusal("83", "optional block")
        end = at + int(size, 16)
        if end < begin or end > len(text):
            raise refusal("83", "optional block length")
        if any(one == name for one, _ in found):
            raise refusal("83", "optional block twice")
        if not all(" " <= character <= "~" for character in text[begin:end]):
            raise refusal("83", "optional block text")
        found.append((name, text[begin:end]))
        at = end
    return tuple(found), at


def _optional_text(optional: tuple[tuple[str, str], ...], unit: int) -> tuple[str, int]:
    blocks = [(name, value) for name, value in optional if name != "PB"]
    if len(blocks) >= MAX_OPTIONAL:
        raise refusal("83", "too many optional blocks")
    text = ""
    for name, value in blocks:
        size = 4 + len(value)
        text += f"{name}{size:02X}{value}" if size < 256 else f"{name}0002{size + 6:04X}{value}"
    if len(text) % unit == 0:
        return text, len(blocks)
    short = -(len(text) + 4) % unit
    return f"{text}PB{4 + short:02X}{'0' * short}", len(blocks) + 1


def derive_keys(version: str, protection: bytes) -> tuple[bytes, bytes]:
    """Encryption and MAC key of a block from its protection key; HSM-27 when its length is not possible."""
    if version in "AC":
        if len(protection) not in (8, 16, 24):
            raise refusal("27", "protection key")
        return (
            bytes(byte ^ 0x45 for byte in protection),
            bytes(byte ^ 0x4D for byte in protection),
        )
    if version == "B":
        if len(protection) not in (16, 24):
            raise refusal("27", "protection key")
        kind, bits = (0, 0x80) if len(protection) == 16 else (1, 0xC0)
        blocks = range(1, len(protection) // 8 + 1)
        return tuple(  # type: ignore[return-value]  # two keys
            b"".join(
                _tdes_cmac(protection, bytes((n, 0, use, 0, 0, kind, 0, bits))) for n in blocks
            )
            for use in (0, 1)
        )
    if len(protection) not in (16, 24, 32):
        raise refusal("27", "protection key")
    kind, bits = {16: (2, 0x0080), 24: (3, 0x00C0), 32: (4, 0x0100)}[len(protection)]
    keys = []
    for use in (0, 1):
        tail = bytes((0, use, 0, 0, kind)) + bits.to_bytes(2, "big")
        blocks = range(1, 2 if len(protection) == 16 else 3)
        long = b"".join(crypto.aes_cmac(protection, bytes((n,)) + tail) for n in blocks)
        keys.append(long[: len(protection)])
    return keys[0], keys[1]


def _tdes(key: bytes) -> TripleDES:
    return TripleDES({8: key * 3, 16: key + key[:8]}.get(len(key), key))


def _tdes_cmac(key: bytes, message: bytes) -> bytes:
    mac = CMAC(_tdes(key))
    mac.update(message)
    return mac.finalize()


def _crypt(version: str, key: bytes, iv: bytes, data: bytes, decrypt: bool) -> bytes:
    algorithm = algorithms.AES(key) if is_aes(version) else _tdes(key)
    cipher = Cipher(algorithm, modes.CBC(iv))
    context = cipher.decryptor() if decrypt else cipher.encryptor()
    return context.update(data) + context.finalize()


def _mac(version: str, key: bytes, header: str, plain: bytes, cipher: bytes) -> bytes:
    """A and C: CBC-MAC over header and cipher, 4 bytes. B and D: CMAC over header and clear key field."""
    if version in "AC":
        message = header.encode("ascii") + cipher
        encryptor = Cipher(_tdes(key), modes.CBC(bytes(8))).encryptor()
        return (encryptor.update(message) + encryptor.finalize())[-8:][:4]
    message = header.encode("ascii") + plain
    return crypto.aes_cmac(key, message) if is_aes(version) else _tdes_cmac(key, message)


def unwrap(protection: bytes, text: str) -> Unwrapped:
    """Open a key block. Raises HSM-83 (form), 27 (protection key), A4 (MAC), 02 (key length)."""
    header, told, cipher, mac = parse(text)
    version = header.version
    encryption_key, mac_key = derive_keys(version, protection)
    if version in "AC":
        good = crypto.equal(_mac(version, mac_key, told, b"", cipher), mac)
        plain = _crypt(version, encryption_key, told.encode("ascii")[:8], cipher, decrypt=True)
    else:
        plain = _crypt(version, encryption_key, mac, cipher, decrypt=True)
        good = crypto.equal(_mac(version, mac_key, told, plain, b""), mac)
    if not good:
        raise refusal("A4")
    bits = int.from_bytes(plain[:2], "big")
    if bits % 8 or not 0 < bits // 8 <= len(plain) - 2:
        raise refusal("02", "key length inside the block")
    return Unwrapped(header, plain[2 : 2 + bits // 8])


def wrap(protection: bytes, header: BlockHeader, material: bytes) -> str:
    """Make a version D or B block. Raises HSM-27 (protection key), 26 (version), 83 (too long)."""
    version = header.version
    if version not in "BD":
        raise refusal("26", "versions A and C are for import only")
    encryption_key, mac_key = derive_keys(version, protection)
    unit = 16 if is_aes(version) else 8
    optional, count = _optional_text(header.optional, unit)
    body = (8 * len(material)).to_bytes(2, "big") + material
    hidden = max(PADDED_KEY.get(header.algorithm, len(material)) - len(material), 0)
    body += secrets.token_bytes(hidden + -(len(body) + hidden) % unit)
    length = HEADER_LENGTH + len(optional) + 2 * (len(body) + MAC_LENGTHS[version])
    if length > MAX_BLOCK:
        raise refusal("83", "key block too long")
    told = (
        f"{version}{length:04d}{header.usage}{header.algorithm}{header.mode}{header.key_version}"
        f"{header.exportability}{count:02d}00{optional}"
    )
    mac = _mac(version, mac_key, told, body, b"")
    cipher = _crypt(version, encryption_key, mac, body, decrypt=False)
    return told + (cipher + mac).hex().upper()
