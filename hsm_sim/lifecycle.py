"""Keys are born, change state and die in ceremony steps only (8.4): what a step does inside the HSM.

`KeyLife` is the `KeyActions` of the ceremony console. Components live in one buffer until they are
combined or forgotten (R-26); the first AES-256 key of usage K1 and mode N becomes the LMK, later ones of scope
``lmk`` when they are activated (8.5). Errors: HSM-17
(order, missing components, no LMK yet), HSM-75 (weak, or a component that gives itself away), HSM-29 (the
value or the name is there already), HSM-F1 (a move 8.4 does not have).
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Protocol

from core import crypto
from core.errors import NotFound
from hsm_sim import keyblock, oldkeys, tokens
from hsm_sim.ceremony.actions import Birth
from hsm_sim.ceremony.script import KEY_MAKING
from hsm_sim.commands.generic import wrap_block
from hsm_sim.errors import refusal
from hsm_sim.kcv import block_check, check_value, fingerprint, generate, require_strong
from hsm_sim.keyring import KeyRing
from hsm_sim.keystore import NO_SLOT, KeyEntry, Keystore, State
from hsm_sim.log import AuditLog
from hsm_sim.secret import KEY_BYTES, SecretKey
from hsm_sim.work import Key

MOVES = {
    "activate": State.ACTIVE, "resume": State.ACTIVE, "deactivate": State.DEACTIVATED,
    "compromise": State.COMPROMISED, "destroy": State.DESTROYED,
}  # fmt: skip
ALLOWED: dict[State, frozenset[State]] = {
    State.PRE_ACTIVE: frozenset({State.ACTIVE, State.COMPROMISED, State.DESTROYED}),
    State.ACTIVE: frozenset(
        {State.SUSPENDED, State.DEACTIVATED, State.COMPROMISED, State.DESTROYED}
    ),
    State.SUSPENDED: frozenset(
        {State.ACTIVE, State.DEACTIVATED, State.COMPROMISED, State.DESTROYED}
    ),
    State.DEACTIVATED: frozenset({State.COMPROMISED, State.DESTROYED}),
    State.COMPROMISED: frozenset({State.DESTROYED}),
    State.DESTROYED: frozenset(),
}
COMPONENT_ALGORITHMS = {8: "D1", 16: "T2", 24: "T3", 32: "A3"}  # for the check value shown
MAX_COMPONENTS = 9
EXPORTS = ("N", "E", "S")
LMK_BIRTH = ("A3", "K1", "N")  # algorithm, usage, mode


class Inside(Protocol):
    """What `KeyLife` needs of the HSM around it."""

    @property
    def keystore(self) -> Keystore | None:
        """The keys; None before there is an LMK."""
        ...

    @property
    def keys(self) -> KeyRing:
        """The keys in hand; HSM-F9 before there is an LMK."""
        ...

    def adopt_lmk(self, material: bytes) -> None:
        """Take the LMK and make an empty key file's keeper."""
        ...

    def drop_lmk(self) -> None:
        """Undo `adopt_lmk` of a step that was not recorded."""
        ...

    def change_lmk(self, lmk: SecretKey) -> None:
        """The step that activated another LMK was recorded: everything moves under it (8.5)."""
        ...

    def forget_old_lmk(self) -> None:
        """The step that destroyed the LMK before was recorded."""
        ...

    def require_batch(
        self, batch: str, masters: Sequence[str], methods: Sequence[str], cards: int, expires: str
    ) -> None:
        """Refuse an issuance batch with impossible terms."""
        ...

    def batch_opened(self) -> None:
        """A batch step was recorded: read the batches from the log again."""
        ...


class KeyLife:
    """The HSM's inside as a ceremony step sees it. One step at a time, between `begin` and `commit`."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._parts: dict[str, dict[int, bytearray]] = {}
        self._seq = -1
        self._before: tuple[KeyEntry, ...] = ()
        self._changed = False
        self._new_lmk = False
        self._next_lmk: SecretKey | None = None  # becomes the LMK with this step

    # -- one step ---------------------------------------------------------------------------------

    def begin(self, seq: int) -> None:
        """Changes from here on wait for log line `seq`."""
        store = self._inside.keystore
        self._seq = seq
        self._before = tuple(store.entries.values()) if store else ()
        self._changed = self._new_lmk = False
        self._next_lmk = None

    def commit(self) -> None:
        """The log has the line: the changes stand."""
        store = self._inside.keystore
        if self._next_lmk is not None:
            self._inside.change_lmk(self._next_lmk)
        elif store is not None and self._changed:
            store.save()
            self._inside.forget_old_lmk()
        self._inside.batch_opened()

    def rollback(self) -> None:
        """The log has no such line: nothing happened."""
        store = self._inside.keystore
        if self._next_lmk is not None:
            self._next_lmk.clear()
        if self._new_lmk:
            self._inside.drop_lmk()
        elif store is not None and self._changed:
            store.restore(self._before)
            store.save()

    def _hold(self, entry: KeyEntry) -> None:
        store = self._store()
        store.put(entry)
        self._changed = True
        store.hold(self._before, self._seq, entry.kid)

    def _store(self) -> Keystore:
        store = self._inside.keystore
        if store is None:
            raise refusal("17", "there is no LMK yet")
        return store

    # -- birth ------------------------------------------------------------------------------------

    def component(self, kid: str, n: int, value: bytearray) -> dict[str, Any]:
        """Keep one component; its check value. The caller overwrites `value`."""
        alg = COMPONENT_ALGORITHMS.get(len(value))
        parts = self._parts.setdefault(kid, {})
        if alg is None or len(parts) >= MAX_COMPONENTS:
            raise refusal("27", "a component has another length, or there are too many")
        if not any(value):
            raise refusal("75", "an all-zero component")
        for other in parts.values():
            if len(other) != len(value) or crypto.equal(bytes(other), bytes(value)):
                raise refusal("75", "two components are equal or differ in length")
        parts[n] = bytearray(value)
        return {"kcv": check_value(alg, bytes(value))}

    def forget(self, kid: str) -> None:
        """Overwrite the components of a key that will not be combined."""
        for part in self._parts.pop(kid, {}).values():
            part[:] = bytes(len(part))

    def combine(self, birth: Birth, components: int) -> dict[str, Any]:
        """XOR the components into a key; check value and fingerprint."""
        parts = list(self._parts.get(birth.kid, {}).values())
        if len(parts) != components or not parts:
            raise refusal("17", "components are missing")
        key = bytearray(len(parts[0]))
        for part in parts:
            key[:] = crypto.xor(bytes(key), bytes(part))
        if any(crypto.equal(bytes(part), bytes(key)) for part in parts):
            raise refusal("75", "a component equals the key")
        result = self._bear(key, birth)
        self.forget(birth.kid)
        return result

    def generate(self, birth: Birth) -> dict[str, Any]:
        """Make a random key; check value and fingerprint."""
        if birth.alg not in KEY_BYTES:
            raise refusal("A7", "no such algorithm")
        return self._bear(generate(birth.alg), birth)

    def import_key(
        self, birth: Birth, form: str, wrapped: str, under: str, kcv: str
    ) -> dict[str, Any]:
        """Take a key of an old system, wrapped under a resident key; check value and fingerprint (9.4).

        `form` as in `oldkeys.unwrap`, `under` the wrapping key's identifier, `kcv` what a person typed from the
        sender's form: HSM-84 when the key has another one.
        """
        key = bytearray(oldkeys.unwrap(form, self._wrapping(under).secret.reveal(), wrapped))
        fits = len(key) == KEY_BYTES.get(birth.alg)
        shown = check_value(birth.alg, bytes(key)).encode("ascii") if fits else b""
        if not shown or not crypto.equal(shown, kcv.encode("utf-8")):
            key[:] = bytes(len(key))
            raise refusal("84", "not the key on the sender's form")
        return self._bear(key, birth)

    def export_key(self, kid: str, under: str) -> dict[str, Any]:
        """A key block for a partner under a resident key, and the key's check value (section 10.2).

        Refused as `A8` refuses: HSM-10, F1, AA (not exportable), 27 (the wrapping key is weaker).
        """
        store = self._store()
        entry = store.entries.get(kid)
        if entry is None or entry.state is not State.ACTIVE:
            raise refusal("10" if entry is None else "F1", "no active key of this name")
        if entry.export not in ("E", "S"):
            raise refusal("AA", "the ceremony that made it says N")
        material = store.secret(entry).reveal()
        header = keyblock.BlockHeader(
            entry.usage, tokens.letter_of(entry.alg), entry.mode, entry.version, entry.export,
            block_check(entry.alg, material),
        )  # fmt: skip
        block = wrap_block(self._wrapping(under), header, entry.alg, material)
        return {"block": f"R{block}", "kcv": entry.kcv}

    def _wrapping(self, kid: str) -> Key:
        """The active key that wraps others for or from a partner: HSM-10, F1."""
        store = self._store()
        entry = store.entries.get(kid)
        if entry is None or entry.usage not in ("K0", "K1") or entry.slot == NO_SLOT:
            raise refusal("10", "no such wrapping key")
        if entry.state is not State.ACTIVE:
            raise refusal("F1", entry.state.value)
        return Key(
            entry.kid, entry.alg, entry.usage, entry.mode, entry.version, entry.export, entry.scope,
            False, store.secret(entry),
        )  # fmt: skip

    def _bear(self, key: bytearray, birth: Birth) -> dict[str, Any]:
        """Judge a new key and put it into the store; `key` is overwritten."""
        try:
            material = bytes(key)
            if len(material) != KEY_BYTES.get(birth.alg):
                raise refusal("27", "the key has another length than its algorithm")
            _require_attributes(birth)
            require_strong(birth.alg, material)
            slot = NO_SLOT
            if self._inside.keystore is None:
                if (birth.alg, birth.usage, birth.mode) != LMK_BIRTH:
                    raise refusal("17", "the LMK comes first")
                self._inside.adopt_lmk(material)
                self._new_lmk = True
            else:
                slot = self._require_new(birth.kid)
            store = self._store()
            fp = fingerprint(self._inside.keys.roots.fingerprint, birth.alg, material)
            if any(entry.fp == fp for entry in store.entries.values()):
                raise refusal("29", "this value exists under another name")
            kcv = check_value(birth.alg, material)
            entry = KeyEntry(**vars(birth), kcv=kcv, fp=fp, slot=slot)
            self._hold(store.wrap(entry, material) if slot != NO_SLOT else entry)
            return {"fp": fp, "kcv": kcv}
        finally:
            key[:] = bytes(len(key))

    def _require_new(self, kid: str) -> int:
        store = self._store()
        if kid in store.entries:
            raise refusal("29", "a key of this name exists")
        if self._inside.keys.lmk_entry.state is not State.ACTIVE:
            raise refusal("17", "the LMK is not active")
        return store.free_slot()

    # -- moves ------------------------------------------------------------------------------------

    def _move(self, kid: str, to: State) -> dict[str, Any]:
        store = self._store()
        entry = store.entries.get(kid)
        if entry is None:
            raise NotFound("HSM-NO-KEY", "no such key", usage="?", scope=kid, version="?")
        if to not in ALLOWED[entry.state]:
            raise refusal("F1", f"{entry.state} does not become {to}")
        self._hold(replace(entry, state=to, block="" if to is State.DESTROYED else entry.block))
        return {"state": to.value}

    def activate(self, kid: str) -> dict[str, Any]:
        """PRE_ACTIVE to ACTIVE; a suspended key is resumed instead."""
        store = self._store()
        entry = store.entries.get(kid)
        if entry is not None and entry.state is not State.PRE_ACTIVE:
            raise refusal("F1", f"{entry.state} is not activated")
        if entry is not None and entry.becomes_lmk:
            if self._inside.keys.old is not None:
                raise refusal("17", "the LMK before is not destroyed yet")
            self._next_lmk = SecretKey("A3", store.secret(entry).reveal())
            store.put_all(store.under(entry))
        return self._move(kid, State.ACTIVE)

    def deactivate(self, kid: str) -> dict[str, Any]:
        """From then on it verifies and unwraps only."""
        return self._move(kid, State.DEACTIVATED)

    def suspend(self, kid: str) -> dict[str, Any]:
        """It does nothing until a ceremony resumes it."""
        return self._move(kid, State.SUSPENDED)

    def resume(self, kid: str) -> dict[str, Any]:
        """SUSPENDED to ACTIVE."""
        entry = self._store().entries.get(kid)
        if entry is not None and entry.state is not State.SUSPENDED:
            raise refusal("F1", f"{entry.state} is not resumed")
        return self._move(kid, State.ACTIVE)

    def compromise(self, kid: str) -> dict[str, Any]:
        """It does nothing any more, and each attempt raises an alarm."""
        return self._move(kid, State.COMPROMISED)

    def destroy(self, kid: str) -> dict[str, Any]:
        """The entry stays, the material is gone."""
        return self._move(kid, State.DESTROYED)

    def open_batch(
        self, batch: str, masters: Sequence[str], methods: Sequence[str], cards: int, expires: str
    ) -> dict[str, Any]:
        """An issuance batch (R-10): its terms stand in the log line itself."""
        self._inside.require_batch(batch, masters, methods, cards, expires)
        return {"batch": batch}


def _require_attributes(birth: Birth) -> None:
    """HSM-15 for attributes that are none, days that are no dates, or an end before the beginning."""
    plain = (
        birth.export in EXPORTS
        and len(birth.usage) == 2
        and len(birth.mode) == 1
        and len(birth.version) == 2
    )
    days = [day for day in (birth.starts, birth.until) if day]
    try:
        dates = [date.fromisoformat(day) for day in days]
    except ValueError:
        raise refusal("15", "a day is not a date") from None
    if not plain or dates != sorted(dates) or [day.isoformat() for day in dates] != days:
        raise refusal("15", "attributes")


def states_in_log(log: AuditLog) -> dict[str, State]:
    """The keys and their states as the log tells them: the key file must agree."""
    states: dict[str, State] = {}
    alone = {"key.suspend": State.SUSPENDED, "key.expire": State.DEACTIVATED}
    for event in log.events("ceremony.step", *alone):
        body = event["body"]
        if event["type"] in alone:
            states[body["kid"]] = alone[event["type"]]
        elif body["action"] in KEY_MAKING:
            states[body["args"]["kid"]] = State.PRE_ACTIVE
        elif body["action"] in MOVES:
            states[body["args"]["kid"]] = MOVES[body["action"]]
    return states
