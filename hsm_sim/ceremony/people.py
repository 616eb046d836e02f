"""The people of a ceremony and their keys: every signature in the log is one of theirs.

Each person holds an Ed25519 key of their own, here in memory or in an encrypted PKCS#8 file
(hsm-and-ceremony.md 10.2). The HSM keeps verifier keys only.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from core.errors import NotAllowed
from hsm_sim.note import NoteKey

ROLES = {
    "CA": "ceremony administrator",
    "IW": "internal witness",
    "EA": "external auditor",
    "KC": "key custodian",
    "SO": "security officer",
}


@dataclass(frozen=True)
class Person:
    """Somebody who signs: `id` as in the roster (``kc1``), `role` one of ROLES."""

    id: str
    role: str
    key: NoteKey = field(repr=False)
    secret: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def of(cls, id: str, role: str, domain: str, secret: Ed25519PrivateKey) -> "Person":
        """A person with a key; `domain` (``city.example``) makes the key's name."""
        if role not in ROLES:
            raise NotAllowed("CER-ROLE", f"{role} is no role of a ceremony")
        return cls(id, role, NoteKey(f"{domain}/{id}", secret), secret)

    @property
    def vkey(self) -> str:
        """The verifier key, for the roster."""
        return self.key.vkey

    def entry(self) -> dict[str, str]:
        """The roster's entry."""
        return {"id": self.id, "role": self.role, "vkey": self.vkey}

    def sign(self, message: bytes) -> dict[str, str]:
        """An entry for an approval list: who, in which role, base64 signature."""
        return {"id": self.id, "role": self.role, "sig": self.key.signature(message)}

    def save(self, path: Path, passphrase: bytes) -> None:
        """Write the key to a new private file, encrypted."""
        pem = self.secret.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase)
        )
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)

    @classmethod
    def load(cls, path: Path, passphrase: bytes, id: str, role: str, domain: str) -> "Person":
        """Open a key file; raises NotAllowed (CER-KEYFILE) for a wrong passphrase or another file."""
        try:
            secret = load_pem_private_key(path.read_bytes(), passphrase)
        except (OSError, ValueError, TypeError):
            raise NotAllowed("CER-KEYFILE", "the key file does not open") from None
        if not isinstance(secret, Ed25519PrivateKey):
            raise NotAllowed("CER-KEYFILE", "not an Ed25519 key")
        return cls.of(id, role, domain, secret)
