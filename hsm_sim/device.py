"""One HSM in a folder: genesis, unlocking, keys in hand, and a clean end. Commands come through `engine`.

The folder (0700) holds ``log.jsonl`` and its company, ``lmk.json``, ``keystore.json``, ``slots.json``,
``seals.json``, ``policy.json``, ``batches/``, ``ops/`` and ``scripts/``; back them up together (R-42). After a
start the HSM is locked (F9) until all unlock secrets were given; every attempt is a log line (R-35).
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.clock import Clock, business_date
from hsm_sim import clients, kcv, lmkfile
from hsm_sim.batches import Batches
from hsm_sim.ceremony.bundle import directory_bytes
from hsm_sim.clients import Policy
from hsm_sim.commands.channel import Channels
from hsm_sim.errors import HsmMismatch, HsmRejected, refusal
from hsm_sim.frame import MAX_FRAME
from hsm_sim.hardening import require_private
from hsm_sim.keyring import KeyRing, open_ring
from hsm_sim.keystore import STORE_FILE, Keystore, State
from hsm_sim.lifecycle import KeyLife, states_in_log
from hsm_sim.limits import RateLimiter
from hsm_sim.lmkfile import Argon2
from hsm_sim.log import AuditLog
from hsm_sim.seals import Seals
from hsm_sim.secret import SecretKey
from hsm_sim.usage import UsageMeter
from hsm_sim.work import Client

FIRMWARE, DEV_FIRMWARE = "0001-SIM0", "0001-DEV0"
MAX_REFUSED_NOTED = 1000


class Hsm:
    """The HSM. Ceremonies reach it through `actions`, hosts through `engine.Engine`."""

    def __init__(self, home: Path, clock: Clock, log: AuditLog, header: lmkfile.Header) -> None:
        self.home = home
        self.log = log
        self.usage = UsageMeter(log, home, clock)
        self.policy: Policy = clients.load(home)
        self.actions = KeyLife(self)
        self.batches = Batches(home, log, clock)
        self.channels = Channels()
        self.frame_limit = MAX_FRAME
        self._clock = clock
        self._header = header
        self._unlock_key: SecretKey | None = None
        self._signing_seed: SecretKey | None = None
        self._inside: KeyRing | None = None
        self._refused: dict[tuple[str, str], None] = {}
        self._looked_on = ""  # the day on which end dates were last looked at
        self.limiter = RateLimiter(self.policy.limits, clock, log, off=self.policy.dev)
        log.on_signed = self._bind

    # -- making, opening, ending ------------------------------------------------------------------

    @classmethod
    def make(
        cls, home: Path, name: str, clock: Clock, roster: Sequence[Mapping[str, str]],
        policy: Mapping[str, Any], unlock_secrets: Sequence[bytes], kdf: Argon2 | None = None,
        instance: str = "test", statement: str = "",
    ) -> Self:  # fmt: skip
        """A new HSM, unlocked, with genesis and boot line and no LMK yet.

        Raises LogDamaged (LOG-EXISTS) when the folder holds one already.
        """
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        require_private(home)
        seed = SecretKey("ED", os.urandom(32))
        header = lmkfile.new_header(name, len(unlock_secrets), kdf or Argon2())
        key = lmkfile.unlock_key(header, unlock_secrets)
        private = Ed25519PrivateKey.from_private_bytes(seed.reveal())
        # Before the log: a crash in between leaves a file that the next attempt simply replaces.
        if not (home / "log.jsonl").exists():
            lmkfile.write(home, header, key, {"lmk": "", "log": seed.reveal().hex()})
        log = AuditLog.create(home, name, private, clock, roster, policy, instance, statement)
        made = cls(home, clock, log, header)
        log.record_start(made.firmware, made.usage.unaccounted)
        made._unlock_key, made._signing_seed = key, seed
        made.log.append("config", made._config())
        return made

    @classmethod
    def open(cls, home: Path, clock: Clock) -> Self:
        """The HSM of a folder, locked. Raises HSM-HOME, HSM-STORE, LOG-DAMAGED, LOG-ROLLBACK."""
        require_private(home)
        header, _, _ = lmkfile.read_header(home)
        bound = (header.log_size, header.log_root) if header.log_size else None
        log = AuditLog.open(home, clock, None, bound)
        try:
            if log.name != header.hsm:
                raise HsmMismatch("HSM-STORE", "the LMK file is another HSM's")
            made = cls(home, clock, log, header)
            log.record_start(made.firmware, made.usage.unaccounted)
        except BaseException:
            log.close()
            raise
        return made

    def unlock(self, unlock_secrets: Sequence[bytes], people: Sequence[str] = ()) -> None:
        """Open the LMK file and load the keys; raises HSM-UNLOCK and HSM-STORE, and then stays locked."""
        if self._unlock_key is not None:
            raise HsmRejected("HSM-29", "the HSM is unlocked")
        try:
            header, key, inside = lmkfile.read(self.home, unlock_secrets)
        except lmkfile.NotUnlocked:
            self.log.append("auth.fail", {"client": "console", "reason": "unlock"})
            raise
        seed = SecretKey("ED", bytes.fromhex(inside["log"]))
        self._header, self._unlock_key, self._signing_seed = header, key, seed
        try:
            self._load(inside)
            self.log.unlock(Ed25519PrivateKey.from_private_bytes(seed.reveal()))
        except BaseException:
            self._forget()
            raise
        self.log.append("unlock", {"people": list(people)})
        self.log.append("config", self._config())

    def _load(self, inside: Mapping[str, str]) -> None:
        states = states_in_log(self.log)
        if not inside["lmk"] and states:
            raise HsmMismatch("HSM-STORE", "the LMK is not in its file")
        if not inside["lmk"]:
            return
        ring = open_ring(self.home, self.log, self._clock, inside)
        if not states:  # the step that made the LMK was never recorded: it was not made
            self._inside = ring
            self.drop_lmk()
            return
        next_lmk = ring.keystore.load()
        found = {kid: entry.state for kid, entry in ring.keystore.entries.items()}
        if found != states:
            ring.clear()
            raise HsmMismatch("HSM-STORE", "the key file and the log tell different keys")
        self._inside = ring
        if next_lmk is not None:
            self.change_lmk(next_lmk)
        elif ring.old is not None:
            ring.write()
            self.forget_old_lmk()

    def close(self) -> None:
        """A clean stop: counts summed up, shutdown line, checkpoint, keys overwritten."""
        try:
            self.usage.close()
            self.log.shutdown(self.firmware)
        finally:
            self._forget()
            self.batches.close()
            self.log.close()

    def _forget(self) -> None:
        self.channels.clear()
        if self._inside is not None:
            self._inside.clear()
            self._inside = None
        for secret in (self._unlock_key, self._signing_seed):
            if secret is not None:
                secret.clear()
        self._unlock_key = self._signing_seed = None

    def tick(self) -> None:
        """Close the interval of counts and write a checkpoint when they are due; about once a second."""
        self.log.check()
        self.usage.tick()
        if self._unlock_key is not None:
            self._expire()
            self.log.checkpoint_if_due()

    def _bind(self, size: int, root: bytes) -> None:
        """Bind the newest signed size and root into the LMK file before the signature exists (R-28)."""
        self._header = replace(self._header, log_size=size, log_root=root)
        self._seal()

    def _seal(self) -> None:
        assert self._unlock_key is not None
        assert self._signing_seed is not None
        keys = self._inside.sealed() if self._inside else {"lmk": ""}
        inside = {**keys, "log": self._signing_seed.reveal().hex()}
        lmkfile.write(self.home, self._header, self._unlock_key, inside)

    # -- what it says of itself -------------------------------------------------------------------

    @property
    def firmware(self) -> str:
        """``0001-SIM0``, or ``0001-DEV0`` with `--dev`."""
        return DEV_FIRMWARE if self.policy.dev else FIRMWARE

    @property
    def unlocked(self) -> bool:
        """Whether commands are taken: unlocked, and the LMK is there."""
        return self._inside is not None

    @property
    def lmk_check_value(self) -> str:
        """Six characters, or "" before the first ceremony."""
        return self._header.lmk_kcv

    def _config(self) -> dict[str, Any]:
        body: dict[str, Any] = {"sha256": self.policy.digest}
        return {**body, "dev": True} if self.policy.dev else body

    def set_policy(self, policy: Policy) -> None:
        """Put another policy in force, on this machine only (R-1); the log gets its digest."""
        clients.save(self.home, policy)
        self.policy = policy
        self.limiter = RateLimiter(policy.limits, self._clock, self.log, off=policy.dev)
        self.log.append("config", self._config())

    def directory(self) -> list[dict[str, Any]]:
        """Entries of command 70 and of keys.json, by slot: never material. Seal keys show their `vkey`."""
        return self._inside.directory() if self._inside else []

    def auditors(self) -> list[str]:
        """Verifier keys of the external auditors on the roster, without those revoked."""
        known = {one["id"]: one for one in self.log.genesis["roster"]}
        for event in self.log.events("roster.add", "roster.revoke"):
            body = event["body"]
            known.pop(body["id"], None)
            if event["type"] == "roster.add":
                known[body["id"]] = body
        return [one["vkey"] for one in known.values() if one["role"] == "EA"]

    def export_audit(self, nonce: str) -> int:
        """The `audit.export` line for an auditor's nonce, with its checkpoint (`6A`)."""
        self.usage.close_interval()
        digest = hashlib.sha256(directory_bytes(self.directory(), self.usage)).hexdigest()
        seq = self.log.append("audit.export", {"keys": digest, "nonce": nonce})
        self.log.checkpoint()
        return seq

    # -- for commands -----------------------------------------------------------------------------

    @property
    def keys(self) -> KeyRing:
        """The keys in hand; raises HSM-F9 while locked."""
        if self._inside is None:
            raise refusal("F9")
        return self._inside

    @property
    def lmk(self) -> SecretKey:
        """The LMK; raises HSM-F9."""
        return self.keys.lmk

    @property
    def seals(self) -> Seals:
        """What was sealed last for each log."""
        return self.keys.seals

    def log_export(
        self, client: Client, kid: str, under: str, kcv: str, method: str, batch: str = ""
    ) -> None:
        """Write the `export` line; `settle` syncs it before the answer leaves (R-30).

        A token has no name of its own: it stands under the LMK that wraps it.
        """
        body = {
            "client": client.name,
            "kcv": kcv,
            "kid": kid or self.keys.lmk_kid,
            "method": method,
            "under": under,
        }
        self.log.append("export", {**body, "batch": batch} if batch else body, sync=False)

    def settle(self) -> None:
        """Bring everything commands have counted and logged to where it must be before their answers leave.

        Raises LogUnavailable (HSM-F3): then none of those answers may leave.
        """
        self.usage.flush()
        self.batches.sync()
        self.log.sync()

    def note_refused(self, client: Client, code: str) -> None:
        """A client tried what its role does not have; the log gets it once for each command."""
        self._note(client.name, f"command {code}")

    def note_compromised(self, client: Client, kid: str) -> None:
        """Somebody asked for a compromised key: an alarm on every attempt (8.4)."""
        self.log.append(
            "auth.fail", {"client": client.name, "reason": f"compromised key {kid}"}, sync=False
        )

    def note_stranger(self, key: str) -> None:
        """A certificate the policy does not know; its key's hash stands in the log."""
        self._note(key, "unknown certificate")

    def connection_ended(self, connection: int) -> None:
        """Forget what belonged to a connection: its secure channels."""
        self.channels.end_connection(connection)

    def seconds(self) -> float:
        """Seconds for deadlines; never goes back."""
        return self._clock.monotonic()

    def _note(self, client: str, reason: str) -> None:
        if (client, reason) not in self._refused and len(self._refused) < MAX_REFUSED_NOTED:
            self._refused[client, reason] = None
            self.log.append("auth.fail", {"client": client, "reason": reason})

    def suspend(self, kid: str, reason: str) -> None:
        """Take a key out of use at once; one security officer may, since it only removes ability (8.4)."""
        self._change_alone(self.actions.suspend, "key.suspend", kid, reason)

    def _expire(self) -> None:
        """Keys whose last day is over only verify and unwrap from then on; each change is a log line (8.4)."""
        today = business_date(self._clock.now()).isoformat()
        if self._inside is None or today == self._looked_on:
            return
        for kid, entry in list(self._inside.keystore.entries.items()):
            if entry.state is State.ACTIVE and entry.until and entry.until < today:
                self._change_alone(self.actions.deactivate, "key.expire", kid, entry.until)
        self._looked_on = today

    def _change_alone(self, change: Callable[[str], Any], event: str, kid: str, why: str) -> None:
        """A change of state without a ceremony: it only removes ability."""
        self.actions.begin(self.log.size)
        try:
            change(kid)
            self.log.append(event, {"kid": kid, "reason": why})
        except BaseException:
            self.actions.rollback()
            raise
        self.actions.commit()

    # -- what ceremony steps need (`lifecycle.Inside`) --------------------------------------------

    @property
    def keystore(self) -> Keystore | None:
        """The keys; None before there is an LMK."""
        return self._inside.keystore if self._inside else None

    def change_lmk(self, lmk: SecretKey) -> None:
        """Put another LMK in force: its file first, which then knows both, so a crash finds every key (8.5)."""
        self.keys.change_lmk(lmk)
        self._header = replace(self._header, lmk_kcv=kcv.check_value("A3", lmk.reveal()))
        self._seal()
        self.keys.write()

    def forget_old_lmk(self) -> None:
        """Overwrite the LMK before when a ceremony has destroyed it."""
        if self.keys.old_is_destroyed:
            self.keys.forget_old()
            self._seal()

    def adopt_lmk(self, material: bytes) -> None:
        """Take the LMK: into its file first, so that no key is ever wrapped under one that is lost."""
        if self._unlock_key is None:
            raise refusal("F9")
        self._inside = KeyRing(self.home, self.log, SecretKey("A3", material), self._clock)
        self._header = replace(self._header, lmk_kcv=kcv.check_value("A3", material))
        self._seal()

    def drop_lmk(self) -> None:
        """Undo `adopt_lmk`."""
        if self._inside is not None:
            self._inside.clear()
        self._inside = None
        self._header = replace(self._header, lmk_kcv="")
        self._seal()
        (self.home / STORE_FILE).unlink(missing_ok=True)

    def require_batch(
        self, batch: str, masters: Sequence[str], methods: Sequence[str], cards: int, expires: str
    ) -> None:
        """Refuse impossible terms of an issuance batch."""
        kids = [kid for kid, entry in self.keys.keystore.entries.items() if entry.mode == "X"]
        self.batches.require_terms(batch, masters, methods, cards, expires, kids)

    def batch_opened(self) -> None:
        """Read the batches from the log again."""
        self.batches.reload()


def make_hsm(
    *, home: Path, name: str, clock: Clock, roster: Sequence[dict[str, str]], policy: dict[str, Any],
    unlock_secrets: Sequence[bytes],
) -> Hsm:  # fmt: skip
    """The HSM as `hold_city_ceremonies` wants it made (`ceremony.city.MakeHsm`)."""
    return Hsm.make(home, name, clock, roster, policy, unlock_secrets)
