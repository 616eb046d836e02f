"""The HSM as a witness for other logs: what was signed last for each, and the keys that sign (command 72).

``seals.json``: ``{"logs": {"<number>": {"root","size"}}, "mac"}``, HMAC-SHA-256 under a key derived from the LMK.
A database restored from an old copy then asks for a smaller tree, or for another one, and is refused.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core import merkle
from core.errors import Rejected
from hsm_sim import canonical, note
from hsm_sim.durable import write_whole
from hsm_sim.errors import HsmMismatch
from hsm_sim.secret import SecretKey

SEALS_FILE = "seals.json"
SEALS_INFO = b"hsm-sim seals v1"


@dataclass(frozen=True)
class SealKey:
    """The signing key of one log, with the name its notes carry."""

    note_key: note.NoteKey

    @classmethod
    def of(cls, hsm: str, scope: str, secret: SecretKey) -> "SealKey":
        """Name ``<hsm>/<scope>``; the log's own name is the origin of its checkpoints."""
        private = Ed25519PrivateKey.from_private_bytes(secret.reveal())
        return cls(note.NoteKey(f"{hsm}/{scope}", private))

    @property
    def vkey(self) -> str:
        """What a verifier keeps."""
        return self.note_key.vkey

    def sign_checkpoint(self, size: int, root: bytes) -> str:
        """A signed note over exactly this text form and nothing else."""
        return self.note_key.sign(note.Checkpoint(self.note_key.name, size, root).text())


class Seals:
    """The newest (size, root) of each log number."""

    def __init__(self, home: Path, key: bytes, old: bytes | None = None) -> None:
        """`old` is the key before the LMK was changed: its file is still taken."""
        self._path = home / SEALS_FILE
        self._key = SecretKey("A3", key)
        self._logs: dict[str, dict[str, Any]] = {}
        if self._path.exists():
            self._logs = self._read([key, *([old] if old is not None else [])])

    def _read(self, keys: Sequence[bytes]) -> dict[str, dict[str, Any]]:
        try:
            value = canonical.decode(self._path.read_bytes())
            mac = bytes.fromhex(value.pop("mac"))
            logs: dict[str, dict[str, Any]] = value["logs"]
            good = any(hmac.compare_digest(mac, _mac(value, key)) for key in keys)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, Rejected):
            raise HsmMismatch("HSM-STORE", "the file of seals is torn or not one") from None
        if not good:
            raise HsmMismatch("HSM-STORE", "the file of seals was edited")
        return logs

    def change_key(self, key: bytes) -> None:
        """Keep the file under another key; raises LogUnavailable (HSM-F3)."""
        self._key.clear()
        self._key = SecretKey("A3", key)
        if self._logs:
            self._write(self._logs)

    def seen(self, log: int) -> tuple[int, bytes]:
        """Size and root signed last; the empty tree for none."""
        known = self._logs.get(str(log))
        if known is None:
            return 0, merkle.EMPTY_ROOT
        return int(known["size"]), bytes.fromhex(known["root"])

    def remember(self, log: int, size: int, root: bytes) -> None:
        """Keep it before the signature leaves; raises LogUnavailable (HSM-F3)."""
        logs = {**self._logs, str(log): {"root": root.hex(), "size": size}}
        self._write(logs)
        self._logs = logs

    def _write(self, logs: dict[str, dict[str, Any]]) -> None:
        value: dict[str, Any] = {"logs": logs}
        value["mac"] = _mac({"logs": logs}, self._key.reveal()).hex()
        write_whole(self._path, canonical.encode(value))

    def clear(self) -> None:
        """Overwrite the key."""
        self._key.clear()


def _mac(value: dict[str, Any], key: bytes) -> bytes:
    return hmac.digest(key, canonical.encode(value), "sha256")
