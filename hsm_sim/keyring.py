"""The keys of an unlocked HSM in hand: looked up by key field, judged by the policy's rule, gone when it locks."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from core.clock import Clock, business_date
from hsm_sim import kcv, tokens
from hsm_sim.errors import refusal
from hsm_sim.keystore import KeyEntry, Keystore, State
from hsm_sim.log import AuditLog
from hsm_sim.policy import KeyRule
from hsm_sim.seals import SEALS_INFO, SealKey, Seals
from hsm_sim.secret import SecretKey
from hsm_sim.work import Key

CARD_INFO = b"hsm-sim card v1"
PSEUDONYM_BYTES = 8
HASH_BLOCK = 64
READING = (State.ACTIVE, State.DEACTIVATED)


@dataclass(frozen=True)
class Roots:
    """Keys of the HSM's own that stay when the LMK changes: fingerprints and names of cards must not."""

    fingerprint: bytes = field(repr=False)
    card: bytes = field(repr=False)

    @classmethod
    def of(cls, lmk: SecretKey) -> Self:
        """From the first LMK."""
        material = lmk.reveal()
        return cls(
            kcv.derived_key(material, kcv.FINGERPRINT_INFO), kcv.derived_key(material, CARD_INFO)
        )


def open_ring(home: Path, log: AuditLog, clock: Clock, inside: Mapping[str, str]) -> "KeyRing":
    """The keys of what the LMK file keeps (`KeyRing.sealed`); the key file is not read yet."""
    lmk, *old = (
        SecretKey("A3", bytes.fromhex(inside[name])) for name in ("lmk", "old") if name in inside
    )
    roots = None
    if "fp" in inside:
        roots = Roots(bytes.fromhex(inside["fp"]), bytes.fromhex(inside["card"]))
    return KeyRing(home, log, lmk, clock, old[0] if old else None, roots)


class KeyRing:
    """LMK, key file, opened tokens, seals, and the HSM's own derived keys."""

    def __init__(
        self, home: Path, log: AuditLog, lmk: SecretKey, clock: Clock, old: SecretKey | None = None,
        roots: Roots | None = None,
    ) -> None:  # fmt: skip
        """`old` is the LMK before, until it is destroyed; `roots` those of the first LMK, when this is another."""
        self.lmk = lmk
        self.old = old
        self._clock = clock
        self.keystore = Keystore(home, log.name, lmk, log, old)
        old_seals = kcv.derived_key(old.reveal(), SEALS_INFO) if old is not None else None
        self.seals = Seals(home, kcv.derived_key(lmk.reveal(), SEALS_INFO), old_seals)
        self.roots = roots if roots is not None else Roots.of(lmk)
        self._hsm = log.name
        self._tokens = tokens.TokenCache(lmk, old)
        # HMAC-SHA-256 with both key blocks hashed beforehand: each command with a card needs one.
        card_key = self.roots.card.ljust(HASH_BLOCK, b"\x00")
        self._card_inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in card_key))
        self._card_outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in card_key))
        self._resident: dict[int, tuple[KeyEntry, Key]] = {}

    def clear(self) -> None:
        """Overwrite everything."""
        self._tokens.clear()
        self.seals.clear()
        self.keystore.clear()
        self._resident.clear()
        self.lmk.clear()
        if self.old is not None:
            self.old.clear()

    def change_lmk(self, lmk: SecretKey) -> None:
        """Work under another LMK from now on (8.5); `write` comes after the LMK file was sealed."""
        self.old, self.lmk = self.lmk, lmk
        self._tokens.clear()
        self._tokens = tokens.TokenCache(lmk, self.old)
        self.keystore.change_lmk(lmk)

    def write(self) -> None:
        """Bring key file and seals under the LMK in force; raises LogUnavailable (HSM-F3)."""
        self.keystore.save()
        self.seals.change_key(kcv.derived_key(self.lmk.reveal(), SEALS_INFO))

    @property
    def old_is_destroyed(self) -> bool:
        """Whether the LMK before is kept here although a ceremony destroyed it."""
        if self.old is None:
            return False
        fp = kcv.fingerprint(self.roots.fingerprint, "A3", self.old.reveal())
        states = {entry.fp: entry.state for entry in self.keystore.entries.values()}
        return states[fp] is State.DESTROYED

    def sealed(self) -> dict[str, str]:
        """What the LMK file keeps of the keys: the LMK, and after a change of it the old one and the roots."""
        inside = {"lmk": self.lmk.reveal().hex()}
        if self.old is not None:
            inside["old"] = self.old.reveal().hex()
        if self.roots != Roots.of(self.lmk):
            inside |= {"card": self.roots.card.hex(), "fp": self.roots.fingerprint.hex()}
        return inside

    def forget_old(self) -> None:
        """The LMK before was destroyed: what lies under it does not open any more."""
        if self.old is not None:
            self.old.clear()
        self.old = None
        self._tokens.clear()
        self._tokens = tokens.TokenCache(self.lmk)

    def key(self, field: str, rule: KeyRule) -> Key:
        """The key of a key field, if the rule allows it: HSM-28, 10 or 11, A6, A8, F1, F7 in this order."""
        entry = None
        if field[0] != "K":
            if rule.resident:
                raise refusal("28", "a token where a resident key belongs")
            key, state = self._tokens.key(field), State.ACTIVE
        else:
            entry = self.keystore.at(int(field[1:], 16))
            if entry is None:
                raise refusal("28" if rule.resident else rule.absent, "an empty slot")
            key, state = self._known(entry), entry.state
        if rule.usages and key.usage not in rule.usages:
            raise refusal("A6")
        if rule.modes and key.mode not in rule.modes:
            raise refusal("A8")
        if state not in rule.states:
            raise refusal("F1", state.value, kid=key.kid, state=state.value)
        if entry is not None and (entry.starts or entry.until):
            self._require_day(entry, rule)
        return key

    def _require_day(self, entry: KeyEntry, rule: KeyRule) -> None:
        """HSM-F7 outside the key's dates; after the last one it still verifies and unwraps (8.4)."""
        today = business_date(self._clock.now()).isoformat()
        over = bool(entry.until) and today > entry.until
        if today < entry.starts or (over and State.DEACTIVATED not in rule.states):
            raise refusal("F7")

    def _known(self, entry: KeyEntry) -> Key:
        known = self._resident.get(entry.slot)
        if known is not None and known[0] is entry:
            return known[1]
        if not entry.block:
            raise refusal("F1", "a destroyed key")
        bare = tokens.may_go_bare(entry.usage, entry.alg, "", entry.scope)
        key = Key(
            entry.kid, entry.alg, entry.usage, entry.mode, entry.version, entry.export, entry.scope,
            bare, self.keystore.secret(entry),
        )  # fmt: skip
        self._resident[entry.slot] = (entry, key)
        return key

    @property
    def lmk_kid(self) -> str:
        """The LMK's own name in the directory."""
        return self.lmk_entry.kid

    @property
    def lmk_entry(self) -> KeyEntry:
        """The LMK in the directory: known by its fingerprint, since there may be an old one."""
        fp = kcv.fingerprint(self.roots.fingerprint, "A3", self.lmk.reveal())
        return next(entry for entry in self.keystore.entries.values() if entry.fp == fp)

    def _lineage(self, key: Key) -> list[KeyEntry]:
        same = (key.usage, key.scope, key.alg)
        return [
            entry
            for entry in self.keystore.entries.values()
            if (entry.usage, entry.scope, entry.alg) == same
        ]

    def sibling(self, key: Key, version: str) -> Key:
        """Another version of the same key that may still read; HSM-01 when there is none (R-17)."""
        for entry in self._lineage(key):
            if entry.version == version and entry.state in READING:
                return self._known(entry)
        raise refusal("01")

    def newest(self, key: Key) -> Key:
        """The newest active version of the same key; HSM-F1 when none is active."""
        active = [entry for entry in self._lineage(key) if entry.state is State.ACTIVE]
        if not active:
            raise refusal("F1", "no active version")
        return self._known(max(active, key=lambda entry: entry.version))

    def seal_key(self, number: int) -> SealKey:
        """The key of a log number: the n-th seal key by slot, from 1. HSM-28, F1."""
        entries = sorted(
            (e for e in self.keystore.entries.values() if e.usage == "S0"),
            key=lambda entry: entry.slot,
        )
        if not 1 <= number <= len(entries):
            raise refusal("28", "no such log")
        entry = entries[number - 1]
        if entry.state is not State.ACTIVE:
            raise refusal("F1", entry.state.value)
        return self._seal_key(entry)

    def _seal_key(self, entry: KeyEntry) -> SealKey:
        return SealKey.of(self._hsm, entry.scope, self.keystore.secret(entry))

    def pseudonym(self, factors: Sequence[bytes]) -> str:
        """A card's name in the log and in limits: HMAC under a key of the HSM's own, 16 hex characters."""
        inner, outer = self._card_inner.copy(), self._card_outer.copy()
        inner.update(factors[0] if len(factors) == 1 else b"".join(factors))
        outer.update(inner.digest())
        return outer.hexdigest()[: 2 * PSEUDONYM_BYTES]

    def directory(self) -> list[dict[str, Any]]:
        """Entries of command 70 by slot: never material. Seal keys show their verifier key."""
        rows = []
        for entry in sorted(self.keystore.entries.values(), key=lambda e: e.slot):
            row = entry.public()
            if entry.usage == "S0" and entry.block:
                row["vkey"] = self._seal_key(entry).vkey
            rows.append(row)
        return rows
