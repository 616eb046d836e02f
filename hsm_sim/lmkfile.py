"""The LMK file: what only the people with the unlock secrets can open (R-35).

``lmk.json``: ``{"header","nonce","sealed"}``. The header (format, HSM name, KDF and parameters, LMK check value,
newest signed size and root of the log) is in the clear and is the additional data of AES-256-GCM, so an
edited header does not open. Unlock key = HKDF-SHA-256 over the Argon2id results of all secrets, in order.
Sealed inside: the log's signing key from genesis on, and the LMK once its ceremony was held (`KeyRing.sealed`).
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import Rejected
from hsm_sim import canonical
from hsm_sim.durable import write_whole
from hsm_sim.errors import HsmForbidden, HsmMismatch
from hsm_sim.secret import SecretKey

LMK_FILE = "lmk.json"
FORMAT = 1
SALT_LENGTH, NONCE_LENGTH = 16, 12
UNLOCK_INFO = b"hsm-sim unlock v1"
MAX_SECRETS = 9
MAX_MEMORY_KIB, MAX_PASSES, MAX_LANES = 1 << 20, 64, 16
MAX_FILE = 65_536


class NotUnlocked(HsmForbidden):
    """The secrets given are not those this HSM was locked with."""


@dataclass(frozen=True)
class Argon2:
    """Cost of one guess: memory in KiB, passes, lanes."""

    memory_kib: int = 65_536
    passes: int = 3
    lanes: int = 4

    def key(self, secret: bytes, salt: bytes) -> bytes:
        """32 bytes of Argon2id (RFC 9106)."""
        return hash_secret_raw(secret, salt, self.passes, self.memory_kib, self.lanes, 32, Type.ID)


@dataclass(frozen=True)
class Header:
    """What the file says in the clear."""

    hsm: str
    kdf: Argon2
    salts: tuple[bytes, ...]
    lmk_kcv: str
    log_size: int
    log_root: bytes

    def value(self) -> dict[str, Any]:
        """As JSON value."""
        return {
            "format": FORMAT,
            "hsm": self.hsm,
            "kdf": {
                "lanes": self.kdf.lanes,
                "memory_kib": self.kdf.memory_kib,
                "name": "argon2id",
                "passes": self.kdf.passes,
                "salts": [salt.hex() for salt in self.salts],
            },
            "lmk_kcv": self.lmk_kcv,
            "log": {"root": self.log_root.hex(), "size": self.log_size},
        }

    @classmethod
    def of(cls, value: Any) -> "Header":
        """Read it; raises KeyError, TypeError or ValueError."""
        kdf, log = value["kdf"], value["log"]
        cost = Argon2(int(kdf["memory_kib"]), int(kdf["passes"]), int(kdf["lanes"]))
        salts = tuple(bytes.fromhex(salt) for salt in kdf["salts"])
        too_much = (
            cost.memory_kib > MAX_MEMORY_KIB or cost.passes > MAX_PASSES or cost.lanes > MAX_LANES
        )
        if value["format"] != FORMAT or kdf["name"] != "argon2id" or too_much:
            raise ValueError("another format")
        if not 0 < len(salts) <= MAX_SECRETS or any(len(salt) < SALT_LENGTH for salt in salts):
            raise ValueError("salts")
        root = bytes.fromhex(log["root"])
        return cls(str(value["hsm"]), cost, salts, str(value["lmk_kcv"]), int(log["size"]), root)


def new_header(hsm: str, secrets_given: int, kdf: Argon2) -> Header:
    """A header with fresh salts; the log's place is filled in at the first checkpoint."""
    salts = tuple(secrets.token_bytes(SALT_LENGTH) for _ in range(secrets_given))
    return Header(hsm, kdf, salts, "", 0, bytes(32))


def unlock_key(header: Header, unlock_secrets: Sequence[bytes]) -> SecretKey:
    """The key of the file from all secrets in order; raises NotUnlocked (HSM-UNLOCK) for another number."""
    if len(unlock_secrets) != len(header.salts):
        raise NotUnlocked("HSM-UNLOCK", f"{len(header.salts)} secrets are needed")
    parts = [
        header.kdf.key(secret, salt)
        for secret, salt in zip(unlock_secrets, header.salts, strict=True)
    ]
    return SecretKey("A3", HKDF(hashes.SHA256(), 32, None, UNLOCK_INFO).derive(b"".join(parts)))


def read_header(home: Path) -> tuple[Header, bytes, bytes]:
    """Header, nonce and sealed part; raises HsmMismatch (HSM-STORE) for a torn or foreign file."""
    try:
        data = (home / LMK_FILE).read_bytes()
        if len(data) > MAX_FILE:
            raise ValueError("too long")
        value = canonical.decode(data)
        nonce, sealed = bytes.fromhex(value["nonce"]), bytes.fromhex(value["sealed"])
        if len(nonce) != NONCE_LENGTH or set(value) != {"header", "nonce", "sealed"}:
            raise ValueError("form")
        return Header.of(value["header"]), nonce, sealed
    except (OSError, ValueError, KeyError, TypeError, Rejected):
        raise HsmMismatch("HSM-STORE", "the LMK file is torn or not one") from None


def write(home: Path, header: Header, key: SecretKey, inside: dict[str, str]) -> None:
    """Seal and replace the file atomically; raises LogUnavailable (HSM-F3) when the disk refuses."""
    nonce = secrets.token_bytes(NONCE_LENGTH)
    told = header.value()
    sealed = AESGCM(key.reveal()).encrypt(nonce, canonical.encode(inside), canonical.encode(told))
    value = {"header": told, "nonce": nonce.hex(), "sealed": sealed.hex()}
    write_whole(home / LMK_FILE, canonical.encode(value))


def read(home: Path, unlock_secrets: Sequence[bytes]) -> tuple[Header, SecretKey, dict[str, str]]:
    """Header, unlock key and what is inside; raises HSM-STORE, or HSM-UNLOCK for wrong secrets or an edit."""
    header, nonce, sealed = read_header(home)
    key = unlock_key(header, unlock_secrets)
    try:
        plain = AESGCM(key.reveal()).decrypt(nonce, sealed, canonical.encode(header.value()))
    except InvalidTag:
        raise NotUnlocked("HSM-UNLOCK", "wrong secrets, or the file was edited") from None
    inside: dict[str, str] = canonical.decode(plain)
    return header, key, inside
