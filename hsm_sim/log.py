"""The HSM's log: lines that are chained, form a Merkle tree, and are on disk before anything goes on.

Line: ``{"body","boot","prev","seq","ts","type","v"}`` in canonical form and a line feed; `prev` is the
RFC 6962 leaf hash of the line before, 64 zeros in the first (hsm-and-ceremony.md 11.2). Checkpoints are
signed notes (11.5). The folder holds ``log.jsonl``, ``head.json`` (the newest signed size and root, R-28)
and ``checkpoints/NNN.txt``. What cannot be logged is not done: LogUnavailable is error F3 (R-29).
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from threading import RLock
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core import merkle
from core.clock import Clock
from core.errors import EvidenceMismatch
from hsm_sim import canonical, log_copy, note
from hsm_sim.durable import LogUnavailable, check_same_file, sync_folder, write_whole
from hsm_sim.notice import banner

FORMAT = 1
MAX_LINE_BYTES = 16_384
MAX_LINES_PER_READ = 256
CHECKPOINT_EVERY = timedelta(minutes=10)
NO_LINE = "0" * 64
LOG, HEAD, CHECKPOINTS = "log.jsonl", "head.json", "checkpoints"


class LogDamaged(EvidenceMismatch):
    """The log on disk is not the one this HSM wrote: stop."""


class AuditLog:
    """The log of one HSM. One process at a time; calls are serialized."""

    def __init__(
        self, home: Path, clock: Clock, lines: list[bytes], key: note.NoteKey | None
    ) -> None:
        self.home = home
        self._clock = clock
        self._lines = lines
        self._leaves = [merkle.leaf_hash(line) for line in lines]
        self._bytes = sum(len(line) + 1 for line in lines)
        self._key = key
        self._lock = RLock()
        self._unsynced = False
        self._signed = note.Checkpoint("", 0, merkle.EMPTY_ROOT)
        self._signed_at = clock.now()
        self.on_signed: Callable[[int, bytes], None] | None = None
        self._copy: log_copy.LogCopy | None = None
        self._alarmed = False
        self._file = os.open(home / LOG, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise LogUnavailable("HSM-F3", "another process holds the log") from None

    # -- making and opening -----------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        home: Path,
        name: str,
        signing_key: Ed25519PrivateKey,
        clock: Clock,
        roster: Sequence[Mapping[str, str]],
        policy: Mapping[str, Any],
        instance: str = "test",
        statement: str = "",
    ) -> Self:
        """A new log with its genesis line. `roster` is [{id, role, vkey}]; see section 14 for `instance`.

        Raises LogDamaged (LOG-EXISTS) when there is a log already.
        """
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / CHECKPOINTS).mkdir(mode=0o700, exist_ok=True)
        if (home / LOG).exists():
            raise LogDamaged(
                "LOG-EXISTS", "this folder holds a log; a second genesis is not possible"
            )
        key = note.NoteKey(name, signing_key)
        log = cls(home, clock, [], key)
        body: dict[str, Any] = {
            "format": FORMAT,
            "hsm": name,
            "instance": instance,
            "notice": banner(),
            "policy": dict(policy),
            "roster": [dict(person) for person in roster],
            "vkey": key.vkey,
        }
        log.append("log.genesis", {**body, "statement": statement} if statement else body)
        sync_folder(home)
        return log

    @classmethod
    def open(
        cls,
        home: Path,
        clock: Clock,
        signing_key: Ed25519PrivateKey | None = None,
        bound: tuple[int, bytes] | None = None,
    ) -> Self:
        """The log of a folder, read and checked in full; a locked HSM opens it without the key.

        `bound` is the (size, root) the LMK file remembers. A torn last line was never answered for
        and is cut off. Raises LogDamaged (LOG-DAMAGED, LOG-ROLLBACK) and LogUnavailable.
        """
        try:
            data = (home / LOG).read_bytes()
        except OSError:
            raise LogUnavailable("HSM-F3", "the log cannot be read") from None
        whole = data[: data.rfind(b"\n") + 1]
        lines = whole.removesuffix(b"\n").split(b"\n") if whole else []
        _check_chain(lines)
        log = cls(home, clock, lines, None)
        try:
            if len(whole) != len(data):
                os.ftruncate(log._file, len(whole))
                os.fsync(log._file)
            if signing_key is not None:
                log.unlock(signing_key)
            log._signed = log._read_head()
            for size, root in [(log._signed.size, log._signed.root), *([bound] if bound else [])]:
                if size > log.size or log.root(size) != root:
                    raise LogDamaged("LOG-ROLLBACK", "older than what was signed", size=size)
            log.keep_copy()
        except BaseException:
            log.close()
            raise
        return log

    def unlock(self, signing_key: Ed25519PrivateKey) -> None:
        """Give the log its key back after a start; raises LogDamaged when it is another one."""
        key = note.NoteKey(self.name, signing_key)
        if key.vkey != self.vkey:
            raise LogDamaged("LOG-KEY", "this is not the key the genesis names")
        self._key = key

    def close(self) -> None:
        """Let go of the file; nothing is written."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    # -- reading ----------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many lines there are."""
        return len(self._lines)

    @property
    def prev(self) -> str:
        """Hex of what `prev` will be in the next line: people sign it (11.4)."""
        return self._leaves[-1].hex() if self._leaves else NO_LINE

    @property
    def genesis(self) -> dict[str, Any]:
        """Body of the first line: name, key, policy, roster."""
        return dict(self.read(0)["body"])

    @property
    def name(self) -> str:
        """The HSM's name, origin of its checkpoints."""
        return str(self.genesis["hsm"])

    @property
    def vkey(self) -> str:
        """The HSM's verifier key."""
        return str(self.genesis["vkey"])

    @property
    def signed(self) -> tuple[int, bytes]:
        """The newest signed size and root, to be bound into the LMK file (R-28)."""
        return self._signed.size, self._signed.root

    def read(self, seq: int) -> dict[str, Any]:
        """One line as a value."""
        return dict(canonical.decode(self._lines[seq]))

    def events(self, *types: str, start: int = 0) -> Iterator[dict[str, Any]]:
        """Lines of these types (all when none is named) from `start` on, oldest first."""
        marks = [f'"type":"{kind}"'.encode() for kind in types]
        for line in self._lines[start:]:
            if not marks or any(mark in line for mark in marks):
                value = dict(canonical.decode(line))
                if not types or value["type"] in types:
                    yield value

    def lines(self, first: int, count: int) -> list[bytes]:
        """Up to `count` (at most 256) lines as they stand on disk, without line feed."""
        return self._lines[first : first + min(count, MAX_LINES_PER_READ)]

    def root(self, size: int | None = None) -> bytes:
        """Root over the first `size` lines, all when None."""
        return merkle.root(self._leaves if size is None else self._leaves[:size])

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Proof that line `index` is in the tree of `size` (command 64)."""
        return merkle.inclusion_proof(self._leaves[:size], index)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof that the tree of `new` extends the one of `old` (command 66)."""
        return merkle.consistency_proof(self._leaves[:new], old)

    # -- writing ----------------------------------------------------------------------------------

    def append(
        self, type: str, body: Mapping[str, Any], boot: int | None = None, sync: bool = True
    ) -> int:
        """Write one line and sync it; its number. Raises LogUnavailable (F3) when that fails.

        Without `sync` the line is on its way only: nothing may be answered for it before `sync`.
        """
        with self._lock:
            last: dict[str, Any] = (
                self.read(self.size - 1) if self._lines else {"boot": 1, "ts": ""}
            )
            stamp = self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
            line = canonical.encode(
                {
                    "body": dict(body),
                    "boot": last["boot"] if boot is None else boot,
                    "prev": self.prev,
                    "seq": self.size,
                    "ts": max(stamp, str(last["ts"])),  # the log's time never runs back
                    "type": type,
                    "v": 1,
                }
            )
            if len(line) > MAX_LINE_BYTES:
                raise LogUnavailable("HSM-F3", f"a line of {len(line)} bytes is too long")
            self._write(line + b"\n", sync)
            self._lines.append(line)
            self._leaves.append(merkle.leaf_hash(line))
            self._bytes += len(line) + 1
            number = self.size - 1
            self._keep_copy(line + b"\n")
            return number

    def keep_copy(self) -> None:
        """Take up the copy this folder names, if any; raises Rejected (LOG-COPY)."""
        self._copy = log_copy.configured(self.home, self.name)
        if self._copy is not None:
            self._copy.follow(b"".join(line + b"\n" for line in self._lines))

    def _keep_copy(self, data: bytes) -> None:
        if self._copy is not None:
            self._copy.write(data)
            if self._copy.broken and not self._alarmed:
                self._alarmed = True
                now = self._clock.now().isoformat()
                self.append("limit", {"until": now, "what": log_copy.ALARM})

    def record_start(self, firmware: str, unaccounted: int | None = None) -> int:
        """The `boot` line of this start; `unaccounted` comes from the usage meter after a crash."""
        starts = sum(1 for _ in self.events("boot"))
        clean = starts == 0 or self.read(self.size - 1)["type"] == "shutdown"
        body: dict[str, Any] = {"clean": clean, "firmware": firmware}
        if unaccounted is not None:
            body["unaccounted"] = unaccounted
        return self.append("boot", body, starts + 1)

    def shutdown(self, firmware: str) -> None:
        """The last line of a clean stop, and its checkpoint when the HSM is unlocked."""
        self.append("shutdown", {"clean": True, "firmware": firmware})
        if self._key is not None:
            self.checkpoint()

    def check(self) -> None:
        """Raise LogUnavailable unless the open file is still the file of that name (R-29)."""
        check_same_file(self._file, self.home / LOG)

    def sync(self) -> None:
        """Bring lines written without a sync to the disk; raises LogUnavailable (F3)."""
        with self._lock:
            if not self._unsynced:
                return
            try:
                os.fdatasync(self._file)
            except OSError as error:
                raise LogUnavailable("HSM-F3", f"no sync of the log: {error.strerror}") from None
            self._unsynced = False

    def _write(self, data: bytes, sync: bool) -> None:
        self.check()
        try:
            if os.fstat(self._file).st_size != self._bytes:  # half a line of an earlier failure
                os.ftruncate(self._file, self._bytes)
            written = os.write(self._file, data)
            self._unsynced = True
            if sync:
                os.fdatasync(self._file)
                self._unsynced = False
        except OSError as error:
            raise LogUnavailable("HSM-F3", f"writing the log failed: {error.strerror}") from None
        if written != len(data):
            raise LogUnavailable("HSM-F3", "the disk took only part of a line")

    # -- checkpoints ------------------------------------------------------------------------------

    def checkpoint(self) -> str:
        """A signed note over the present size and root; never two roots for a size (R-28)."""
        with self._lock:
            if self._key is None:
                raise LogUnavailable("HSM-F9", "the log's key is locked away")
            self.sync()
            fresh = note.Checkpoint(self.name, self.size, self.root())
            if fresh.size < self._signed.size or self.root(self._signed.size) != self._signed.root:
                raise LogDamaged("LOG-ROLLBACK", "a smaller or other tree was signed before")
            path = self._path(fresh.size)
            if fresh.size == self._signed.size and path.exists():
                return path.read_text("utf-8")
            # Remember before signing: a crash in between costs a signature, never allows a second root.
            head = {"hsm": fresh.origin, "root": fresh.root.hex(), "size": fresh.size}
            write_whole(self.home / HEAD, canonical.encode(head))
            if self.on_signed is not None:
                self.on_signed(fresh.size, fresh.root)
            self._signed, self._signed_at = fresh, self._clock.now()
            text = self._key.sign(fresh.text())
            write_whole(path, text.encode("utf-8"))
            return text

    def checkpoint_if_due(self) -> str | None:
        """A checkpoint when there are new lines and ten minutes have passed since the last one."""
        due = self._clock.now() - self._signed_at >= CHECKPOINT_EVERY
        return self.checkpoint() if due and self.size > self._signed.size else None

    def newest_checkpoint(self) -> str:
        """The newest signed note with all its cosignatures (command 60)."""
        path = self._path(self._signed.size)
        return path.read_text("utf-8") if path.exists() else self.checkpoint()

    def checkpoints(self) -> dict[int, str]:
        """All kept checkpoints by size."""
        found = sorted((self.home / CHECKPOINTS).glob("*.txt"))
        return {int(path.stem): path.read_text("utf-8") for path in found}

    def cosign(self, text: str, auditors: Sequence[str]) -> None:
        """Keep a checkpoint of ours that an auditor signed too (command 68).

        `auditors` are the verifier keys that may cosign. Raises BadNote for anything else.
        """
        signed, lines = note.split(text)
        names = {note.parse_vkey(vkey)[0]: vkey for vkey in auditors}
        others = [names.get(name, "") for name, _ in lines if name != self.name]
        if not others or "" in others:
            raise note.BadNote("NOTE-SIG", "a cosignature comes from an enrolled auditor")
        note.verify(text, [self.vkey, *others])
        point = note.parse_checkpoint(signed)
        if (
            point.origin != self.name
            or point.size > self.size
            or self.root(point.size) != point.root
        ):
            raise note.BadNote("NOTE-SIG", "this checkpoint is not one of this log")
        with self._lock:
            write_whole(self._path(point.size), text.encode("utf-8"))

    def _path(self, size: int) -> Path:
        return self.home / CHECKPOINTS / f"{size:06d}.txt"

    def _read_head(self) -> note.Checkpoint:
        path = self.home / HEAD
        if not path.exists():
            return note.Checkpoint(self.name, 0, merkle.EMPTY_ROOT)
        head = canonical.decode(path.read_bytes())
        return note.Checkpoint(str(head["hsm"]), int(head["size"]), bytes.fromhex(head["root"]))


def _check_chain(lines: Sequence[bytes]) -> None:
    prev = NO_LINE
    for seq, line in enumerate(lines):
        value = canonical.decode(line)
        if value.get("seq") != seq or value.get("prev") != prev:
            raise LogDamaged("LOG-DAMAGED", "a line does not follow the one before", line=seq)
        prev = merkle.leaf_hash(line).hex()
    if not lines:
        raise LogDamaged("LOG-DAMAGED", "the log is empty", line=0)
