"""The key file: every key as a key block under the LMK, the whole under an HMAC (R-34).

``keystore.json``, canonical JSON: ``{"format","held"?,"hsm","keys","log","mac"}``. `mac` is HMAC-SHA-256 under a
key derived from the LMK over all the rest, which holds the log's size and root as they were, so neither
an edited file nor one beside another log is taken (R-28). A change made in a ceremony step is `held` for the
log line that will record it: on restart it counts exactly when the log has that line. Written whole and
atomically; anything torn or edited raises HSM-STORE and nothing is loaded.
"""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from core.errors import CityError, Rejected
from hsm_sim import canonical, keyblock
from hsm_sim.client import SLOTS_FILE, KeySlot, KeySlots
from hsm_sim.durable import write_whole
from hsm_sim.errors import HsmMismatch
from hsm_sim.kcv import block_check, derived_key
from hsm_sim.log import AuditLog
from hsm_sim.secret import SecretKey

STORE_FILE = "keystore.json"
STORE_INFO = b"hsm-sim keystore v1"
LMK_SCOPE = "lmk"  # of an AES-256 key, usage K1, mode N: the LMK from its activation on
FORMAT = 1
MAX_SLOTS = 4096
NO_SLOT = -1  # the LMK has none: nobody may name it


class State(StrEnum):
    """Where a key is in its life (8.4)."""

    PRE_ACTIVE = "PRE_ACTIVE"
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    DEACTIVATED = "DEACTIVATED"
    COMPROMISED = "COMPROMISED"
    DESTROYED = "DESTROYED"


@dataclass(frozen=True)
class KeyEntry:
    """One key of the directory: attributes of 8.1, state, check value, fingerprint, and its block."""

    kid: str
    alg: str
    usage: str
    mode: str
    version: str
    export: str
    scope: str
    cid: int
    kcv: str
    fp: str
    slot: int
    state: State = State.PRE_ACTIVE
    block: str = ""
    starts: str = ""  # first and last day (YYYY-MM-DD, Shanghai); "" for no bound
    until: str = ""

    def public(self) -> dict[str, Any]:
        """The entry of command 70 and of keys.json, without `uses`: never material."""
        hidden = ("block", "starts", "until")
        row = {name: value for name, value in vars(self).items() if name not in hidden}
        days = {name: day for name, day in (("from", self.starts), ("until", self.until)) if day}
        return {**row, **days, "state": self.state.value}

    @property
    def becomes_lmk(self) -> bool:
        """Whether its activation changes the LMK (8.5)."""
        is_one = (self.alg, self.usage, self.mode, self.scope) == ("A3", "K1", "N", LMK_SCOPE)
        return is_one and bool(self.block)


class Keystore:
    """The keys of one HSM. Material is unwrapped at first use and kept until `clear`."""

    def __init__(
        self, home: Path, hsm: str, lmk: SecretKey, log: AuditLog, old: SecretKey | None = None
    ) -> None:
        """`old` is the LMK before: a file it protected is still taken, and written again under `lmk`."""
        self._path = home / STORE_FILE
        self._slots = home / SLOTS_FILE
        self._hsm = hsm
        self._lmk = lmk
        self._log = log
        self._store_key = store_key(lmk)
        self._old_store_key = store_key(old) if old is not None else None
        self._entries: dict[str, KeyEntry] = {}
        self._by_slot: dict[int, KeyEntry] = {}
        self._secrets: dict[str, SecretKey] = {}

    # -- reading ----------------------------------------------------------------------------------

    @property
    def entries(self) -> Mapping[str, KeyEntry]:
        """All keys by identifier, destroyed ones too."""
        return self._entries

    def at(self, slot: int) -> KeyEntry | None:
        """The key in a slot."""
        return self._by_slot.get(slot)

    def secret(self, entry: KeyEntry) -> SecretKey:
        """The key of an entry; raises HsmMismatch (HSM-STORE) when its block says something else."""
        found = self._secrets.get(entry.kid)
        if found is None:
            found = self._unwrap(entry)
            self._secrets[entry.kid] = found
        return found

    def _unwrap(self, entry: KeyEntry) -> SecretKey:
        try:
            opened = keyblock.unwrap(self._lmk.reveal(), entry.block)
        except CityError:
            raise HsmMismatch("HSM-STORE", "a stored key block does not open") from None
        if opened.header != replace(_header(entry), optional=opened.header.optional):
            raise HsmMismatch("HSM-STORE", "a stored key block has other attributes")
        return SecretKey(entry.alg, opened.material, entry.kcv)

    def load(self) -> SecretKey | None:
        """Read the file, settle what was held, and open every block once; raises HSM-STORE.

        The answer is the LMK to change to, when a crash came between the step that activated it and the change:
        then its keys lie under it already.
        """
        value = self._read()
        kept, held, lmk = _entries(value["keys"]), value.get("held"), None
        if held is not None and _has_happened(self._log, held):
            before, kept = kept, _entries(held["keys"])
            changed = [e for e in before if e.becomes_lmk and e.kid == held["subject"]]
            moved = changed and not any(e.block for e in kept if e.kid == held["subject"])
            if moved and self._old_store_key is None:  # else the LMK file knows already
                lmk = SecretKey("A3", self.secret(changed[0]).reveal())
                self._forget(changed[0].kid)
                self.change_lmk(lmk)
        self._put(kept)
        for entry in self._entries.values():
            if entry.block:
                self.secret(entry)
        if held is not None and lmk is None:
            self.save()
        elif not self._slots.exists() or self._slots.read_bytes() != self._slots_text():
            write_whole(
                self._slots, self._slots_text()
            )  # a crash may have come between the two files
        return lmk

    def _read(self) -> dict[str, Any]:
        try:
            value = canonical.decode(self._path.read_bytes())
            mac = bytes.fromhex(value.pop("mac"))
            good = hmac.compare_digest(mac, self._mac(value, self._store_key))
            if not good and self._old_store_key is not None:
                good = hmac.compare_digest(mac, self._mac(value, self._old_store_key))
            seen, root = int(value["log"]["size"]), bytes.fromhex(value["log"]["root"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, Rejected):
            raise HsmMismatch("HSM-STORE", "the key file is torn or not one") from None
        if not good or value["hsm"] != self._hsm:
            raise HsmMismatch("HSM-STORE", "the key file was edited or is another HSM's")
        if seen > self._log.size or self._log.root(seen) != root:
            raise HsmMismatch("HSM-STORE", "the key file belongs to another log")
        return dict(value)

    # -- changing ---------------------------------------------------------------------------------

    def free_slot(self) -> int:
        """The next slot; slots are never used twice, so a stale reference never meets another key."""
        slot = 1 + max((entry.slot for entry in self._entries.values()), default=NO_SLOT)
        if slot >= MAX_SLOTS:
            raise HsmMismatch("HSM-STORE", "all slots are in use")
        return slot

    def wrap(self, entry: KeyEntry, material: bytes) -> KeyEntry:
        """The entry with its key block under the LMK."""
        return replace(entry, block=self._wrapped(entry, material, self._lmk.reveal()))

    def _wrapped(self, entry: KeyEntry, material: bytes, protection: bytes) -> str:
        optional = (*block_check(entry.alg, material), ("LB", entry.kid))
        return keyblock.wrap(protection, replace(_header(entry), optional=optional), material)

    def under(self, lmk: KeyEntry) -> list[KeyEntry]:
        """All keys wrapped again under the key of this entry, which from then on has no block itself (8.5)."""
        protection, found = self.secret(lmk).reveal(), []
        for entry in self._entries.values():
            block = ""
            if entry.block and entry.kid != lmk.kid:
                block = self._wrapped(entry, self.secret(entry).reveal(), protection)
            found.append(replace(entry, block=block))
        return found

    def change_lmk(self, lmk: SecretKey) -> None:
        """Work under another LMK from now on; the keys in memory are wrapped under it already."""
        self._old_store_key = self._store_key
        self._lmk, self._store_key = lmk, store_key(lmk)

    def put_all(self, entries: Iterable[KeyEntry]) -> None:
        """Replace all entries in memory; `save` or `hold` writes them."""
        self._put(entries)

    def put(self, entry: KeyEntry) -> None:
        """Add or replace an entry in memory; `save` or `hold` writes it."""
        self._put([*(one for one in self._entries.values() if one.kid != entry.kid), entry])
        if not entry.block:
            self._forget(entry.kid)

    def restore(self, entries: Iterable[KeyEntry]) -> None:
        """Back to an earlier state in memory; keys that are no longer there are overwritten."""
        self._put(entries)
        for kid in set(self._secrets) - set(self._entries):
            self._forget(kid)

    def _put(self, entries: Iterable[KeyEntry]) -> None:
        self._entries = {entry.kid: entry for entry in entries}
        self._by_slot = {e.slot: e for e in self._entries.values() if e.slot != NO_SLOT}

    def _forget(self, kid: str) -> None:
        secret = self._secrets.pop(kid, None)
        if secret is not None:
            secret.clear()

    def hold(self, before: Iterable[KeyEntry], seq: int, subject: str) -> None:
        """Write the file with `before` in force and the present keys held for log line `seq`."""
        held = {"keys": _rows(self._entries.values()), "seq": seq, "subject": subject}
        self._write(before, held)

    def save(self) -> None:
        """Write the file with the present keys, and the slots beside it."""
        self._write(self._entries.values(), None)
        write_whole(self._slots, self._slots_text())

    def _slots_text(self) -> bytes:
        slots = [
            KeySlot(e.kid, e.slot, e.usage, e.scope, e.version, e.alg, e.state.value, e.kcv)
            for e in sorted(self._by_slot.values(), key=lambda entry: entry.slot)
        ]
        return KeySlots(tuple(slots)).text()

    def _write(self, entries: Iterable[KeyEntry], held: dict[str, Any] | None) -> None:
        size = self._log.size
        value: dict[str, Any] = {
            "format": FORMAT,
            "hsm": self._hsm,
            "keys": _rows(entries),
            "log": {"root": self._log.root(size).hex(), "size": size},
        }
        if held is not None:
            value["held"] = held
        value["mac"] = self._mac(value, self._store_key).hex()
        write_whole(self._path, canonical.encode(value))

    def _mac(self, value: Mapping[str, Any], key: SecretKey) -> bytes:
        return hmac.digest(key.reveal(), canonical.encode(dict(value)), "sha256")

    def clear(self) -> None:
        """Overwrite every key in memory."""
        for kid in list(self._secrets):
            self._forget(kid)
        self._store_key.clear()


def store_key(lmk: SecretKey) -> SecretKey:
    """The key of the file's HMAC."""
    return SecretKey("A3", derived_key(lmk.reveal(), STORE_INFO))


def _entries(rows: Iterable[Mapping[str, Any]]) -> list[KeyEntry]:
    return [KeyEntry(**{**row, "state": State(row["state"])}) for row in rows]


def _rows(entries: Iterable[KeyEntry]) -> list[dict[str, Any]]:
    return [{**vars(entry), "state": entry.state.value} for entry in entries]


def _header(entry: KeyEntry) -> keyblock.BlockHeader:
    letter = keyblock.LETTERS[entry.alg[0]]
    return keyblock.BlockHeader(entry.usage, letter, entry.mode, entry.version, entry.export)


def _has_happened(log: AuditLog, held: Mapping[str, Any]) -> bool:
    """Whether the log has the ceremony step a held change was waiting for."""
    if held["seq"] >= log.size:
        return False
    line = log.read(held["seq"])
    alone = line["type"] in ("key.suspend", "key.expire")
    body = line["body"] if alone else line["body"].get("args", {})
    known = alone or line["type"] == "ceremony.step"
    return known and bool(body.get("kid") == held["subject"])
