"""Signed notes and verifier keys of C2SP (signed-note, tlog-checkpoint): how the HSM and people sign.

A verifier key is ``name+id+base64(01 || public key)`` with id = first 4 bytes of SHA-256 over
``name, 0A, 01, public key``; a note is a text, an empty line, and lines ``U+2014 name base64(id || signature)``.
Ed25519 only (hsm-and-ceremony.md 11.5; vectors `signed-note`).
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.errors import EvidenceMismatch

ED25519 = b"\x01"
DASH = "\u2014"
MAX_SIGNATURES = 16
ROOT_LENGTH = 32


class BadNote(EvidenceMismatch):
    """A note or verifier key is malformed or not signed by whom it should be."""


@dataclass(frozen=True)
class Checkpoint:
    """What a log says of itself: origin (name), size in lines, root (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


class NoteKey:
    """A signing key with its name. The private half never leaves this object."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        if not name or any(c.isspace() or c == "+" for c in name):
            raise BadNote("NOTE-FORM", "a key name has no spaces and no plus sign")
        self.name = name
        self._key = key
        self.public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def __repr__(self) -> str:
        return f"NoteKey({self.vkey})"

    @property
    def vkey(self) -> str:
        """The verifier key others keep."""
        code = base64.b64encode(ED25519 + self.public).decode()
        return f"{self.name}+{key_id(self.name, self.public).hex()}+{code}"

    def signature(self, message: bytes) -> str:
        """Base64 Ed25519 signature over bytes (approvals and closes, 11.4)."""
        return base64.b64encode(self._key.sign(message)).decode()

    def sign(self, text: str) -> str:
        """The note: `text`, which ends with a line feed, an empty line and our signature line."""
        return f"{text}\n{self.line(text)}"

    def line(self, text: str) -> str:
        """Our signature line over a text; an auditor adds it to a note that exists (cosigning)."""
        if not text.endswith("\n"):
            raise BadNote("NOTE-FORM", "a note's text ends with a line feed")
        data = key_id(self.name, self.public) + self._key.sign(text.encode("utf-8"))
        return f"{DASH} {self.name} {base64.b64encode(data).decode()}\n"


def key_id(name: str, public: bytes) -> bytes:
    """First 4 bytes of SHA-256 over name, line feed, algorithm byte and public key."""
    return hashlib.sha256(name.encode("utf-8") + b"\n" + ED25519 + public).digest()[:4]


def parse_vkey(vkey: str) -> tuple[str, bytes]:
    """Name and 32-byte public key of a verifier key; raises BadNote (NOTE-FORM)."""
    parts = vkey.split("+", 2)
    if len(parts) != 3:
        raise BadNote("NOTE-FORM", "a verifier key has three parts")
    name, identifier, code = parts
    data = _base64(code)
    if len(data) != 33 or data[:1] != ED25519 or key_id(name, data[1:]).hex() != identifier:
        raise BadNote("NOTE-FORM", "a verifier key's parts do not belong together")
    return name, data[1:]


def holds(vkey: str, message: bytes, signature: str) -> bool:
    """Whether a base64 signature over `message` is good under a verifier key."""
    try:
        Ed25519PublicKey.from_public_bytes(parse_vkey(vkey)[1]).verify(_base64(signature), message)
    except (BadNote, InvalidSignature):
        return False
    return True


def split(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Text and (name, id || signature) of each signature line; raises BadNote (NOTE-FORM)."""
    text, gap, block = note.rpartition("\n\n")
    if not gap or not block.endswith("\n"):
        raise BadNote("NOTE-FORM", "a note has a text, an empty line and signature lines")
    signatures = []
    for line in block.removesuffix("\n").split("\n"):
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != DASH or not parts[1]:
            raise BadNote("NOTE-FORM", "a signature line is a dash, a name and base64")
        signatures.append((parts[1], _base64(parts[2])))
    if len(signatures) > MAX_SIGNATURES:
        raise BadNote("NOTE-FORM", f"more than {MAX_SIGNATURES} signatures")
    return text + "\n", signatures


def verify(note: str, vkeys: Sequence[str]) -> str:
    """The text of a note that each of these keys signed, once; raises BadNote (NOTE-FORM, NOTE-SIG)."""
    text, signatures = split(note)
    for vkey in vkeys:
        name, public = parse_vkey(vkey)
        mark = key_id(name, public)
        mine = [data[4:] for signer, data in signatures if (signer, data[:4]) == (name, mark)]
        good = len(mine) == 1 and holds(
            vkey, text.encode("utf-8"), base64.b64encode(mine[0]).decode()
        )
        if not good:
            raise BadNote("NOTE-SIG", f"no single good signature of {name}")
    return text


def parse_checkpoint(text: str) -> Checkpoint:
    """Origin, size and root of a checkpoint's text; raises BadNote (NOTE-FORM)."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[1].isascii() or not lines[1].isdigit():
        raise BadNote("NOTE-FORM", "a checkpoint has the three lines name, size, root")
    root = _base64(lines[2])
    if len(root) != ROOT_LENGTH or (len(lines[1]) > 1 and lines[1].startswith("0")):
        raise BadNote("NOTE-FORM", "a checkpoint's size or root has another form")
    return Checkpoint(lines[0], int(lines[1]), root)


def _base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise BadNote("NOTE-FORM", "not base64") from None
    if base64.b64encode(data).decode() != text:
        raise BadNote("NOTE-FORM", "base64 in another spelling than the canonical one")
    return data
