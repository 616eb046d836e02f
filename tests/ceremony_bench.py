"""An HSM inside for ceremony tests, an honest bundle, and a tool that tampers with it.

`BenchHsm` keeps keys in a JSON file and computes real check values: enough for the ceremony's own tests.
`Tamper` plays the attackers of hsm-and-ceremony.md 12.3: T edits files; R also re-chains and signs with
the HSM's key; people sign again only where an attack says they do.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core import crypto, merkle
from core.clock import FixedClock
from core.errors import Rejected
from hsm_sim import canonical, note
from hsm_sim.ceremony import bundle as bundles
from hsm_sim.ceremony import city
from hsm_sim.ceremony.console import Console
from hsm_sim.ceremony.people import Person
from hsm_sim.ceremony.room import UnattendedRoom
from hsm_sim.ceremony.run import CeremonyRun
from hsm_sim.ceremony.script import POLICY, Script, Step, component_steps
from hsm_sim.log import NO_LINE, AuditLog
from hsm_sim.usage import UsageMeter

START = datetime(2026, 3, 1, 8, tzinfo=UTC)
FIRMWARE = "0001-SIM0"
NONCE = "6e6f6e63652d30303031"
KEY_BYTES = {"T2": 16, "A3": 32, "H2": 32, "ED": 32}
ATTRIBUTES = ("alg", "export", "mode", "usage", "version")


def kcv(alg: str, key: bytes) -> str:
    """Check value as 9.3 says; for HMAC and Ed25519 keys the first bytes of a digest."""
    if alg == "T2":
        return crypto.des_kcv(key).hex().upper()
    if alg == "A3":
        return crypto.aes_kcv(key).hex().upper()
    return hashlib.sha256(b"kcv" + key).hexdigest()[:6].upper()


class BenchKeys:
    """Ceremony actions over a JSON file; a change is held back until the log has its line."""

    def __init__(self, path: Path, log_size: int) -> None:
        self._path = path
        saved = json.loads(path.read_text()) if path.exists() else {"keys": {}, "held": None}
        if saved["held"] and saved["held"]["seq"] < log_size:
            saved["keys"] = saved["held"]["keys"]
        self.keys: dict[str, dict[str, Any]] = saved["keys"]
        self._before = json.dumps(self.keys)
        self._seq = -1
        self._parts: dict[str, list[bytes]] = {}

    def _save(self, held: bool) -> None:
        now = {"seq": self._seq, "keys": self.keys} if held else None
        keys = json.loads(self._before) if held else self.keys
        self._path.write_text(json.dumps({"keys": keys, "held": now}))

    def begin(self, seq: int) -> None:
        self._seq, self._before = seq, json.dumps(self.keys)

    def commit(self) -> None:
        self._save(held=False)

    def rollback(self) -> None:
        self.keys = json.loads(self._before)
        self._save(held=False)

    def forget(self, kid: str) -> None:
        self._parts.pop(kid, None)

    def component(self, kid: str, n: int, value: bytearray) -> dict[str, Any]:
        if not any(value):
            raise Rejected("HSM-75", "an all-zero component")
        self._parts.setdefault(kid, []).append(bytes(value))
        return {"kcv": kcv("T2" if len(value) == 16 else "A3", bytes(value))}

    def combine(self, kid: str, components: int, **attributes: Any) -> dict[str, Any]:
        parts = self._parts.pop(kid, [])
        if len(parts) != components:
            raise Rejected("HSM-17", "components are missing")
        key = bytes(len(parts[0]))
        for part in parts:
            key = crypto.xor(key, part)
        return self._put(kid, key, **attributes)

    def generate(self, kid: str, **attributes: Any) -> dict[str, Any]:
        return self._put(kid, secrets.token_bytes(KEY_BYTES[attributes["alg"]]), **attributes)

    def _put(self, kid: str, key: bytes, **attributes: Any) -> dict[str, Any]:
        fp = hmac.new(b"bench", attributes["alg"].encode() + key, "sha256").hexdigest()[:32]
        result = {"fp": fp, "kcv": kcv(attributes["alg"], key)}
        self.keys[kid] = {**attributes, **result, "kid": kid, "state": "PRE_ACTIVE"}
        self._save(held=True)
        return result

    def _change(self, kid: str, state: str) -> dict[str, Any]:
        self.keys[kid]["state"] = state
        self._save(held=True)
        return {"state": state}

    def activate(self, kid: str) -> dict[str, Any]:
        return self._change(kid, "ACTIVE")

    def deactivate(self, kid: str) -> dict[str, Any]:
        return self._change(kid, "DEACTIVATED")

    def resume(self, kid: str) -> dict[str, Any]:
        return self._change(kid, "ACTIVE")

    def compromise(self, kid: str) -> dict[str, Any]:
        return self._change(kid, "COMPROMISED")

    def destroy(self, kid: str) -> dict[str, Any]:
        return self._change(kid, "DESTROYED")

    def open_batch(
        self, batch: str, masters: Sequence[str], methods: Sequence[str], cards: int, expires: str
    ) -> dict[str, Any]:
        return {"batch": batch}


class BenchHsm:
    """Log, counters and keys of an HSM in a folder."""

    def __init__(self, home: Path, clock: FixedClock, log: AuditLog) -> None:
        self.home, self.log = home, log
        self.actions = BenchKeys(home / "keys.bench", log.size)
        self.usage = UsageMeter(log, home, clock)
        log.record_start(FIRMWARE, self.usage.unaccounted)

    def directory(self) -> list[dict[str, Any]]:
        return list(self.actions.keys.values())

    def close(self) -> None:
        self.usage.close()
        self.log.close()


def signing_key() -> Ed25519PrivateKey:
    """The HSM's log key of the tests."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"bench log key").digest())


def make_hsm(
    *,
    home: Path,
    name: str,
    clock: FixedClock,
    roster: Sequence[Mapping[str, str]],
    policy: Mapping[str, Any],
    unlock_secrets: Sequence[bytes] = (),
) -> BenchHsm:
    """A new one, as `hold_city_ceremonies` wants it."""
    return BenchHsm(home, clock, AuditLog.create(home, name, signing_key(), clock, roster, policy))


def reopen(home: Path, clock: FixedClock) -> BenchHsm:
    """The same HSM after a restart."""
    return BenchHsm(home, clock, AuditLog.open(home, clock, signing_key()))


MASTER = {"alg": "T2", "export": "N", "mode": "X", "version": "01"}


def scripts() -> tuple[Script, Script]:
    """The two ceremonies of the honest bundle."""
    lmk = {"alg": "A3", "export": "N", "mode": "N", "usage": "K1", "version": "01"}
    return (
        Script(1, "init", (*component_steps("lmk-1", 3, lmk), Step("activate", {"kid": "lmk-1"}))),
        Script(
            2,
            "key-load",
            (
                *component_steps("dpk-01", 3, {**MASTER, "usage": "10"}),
                Step("generate", {"kid": "dlk-01", **MASTER, "usage": "11"}),
                Step("activate", {"kid": "dpk-01"}),
                Step("activate", {"kid": "dlk-01"}),
            ),
        ),
    )


class City:
    """A small honest HSM with two ceremonies behind it, on a clock of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = FixedClock(START)
        self.people = city.make_people(7)
        roster = [person.entry() for person in self.people.values()]
        self.hsm = make_hsm(
            home=home, name=city.HSM_NAME, clock=self.clock, roster=roster, policy=POLICY
        )
        self.room = UnattendedRoom(self.people)
        self.console = self.new_console()

    def new_console(self) -> Console:
        return Console(self.hsm.log, self.hsm.actions, self.home, self.clock)

    def restart(self) -> None:
        self.hsm.log.close()
        self.hsm = reopen(self.home, self.clock)
        self.console = self.new_console()

    def run(self, script: Script, attend: Sequence[str] = city.ATTEND) -> CeremonyRun:
        return CeremonyRun(
            self.console, script, {who: city.STAFF[who] for who in attend}, self.room
        )

    def signed(self, message: bytes, *who: str) -> list[dict[str, str]]:
        return [self.people[name].sign(message) for name in who]

    def hold_all(self) -> None:
        for script in scripts():
            self.clock.advance(timedelta(minutes=1))
            self.run(script).run()

    def work(self) -> None:
        """Two intervals of commands."""
        for kid, command, code in (
            ("dpk-01", "42", "00"), ("dlk-01", "40", "00"), ("dpk-01", "42", "01"), ("dpk-01", "42", "00"),
        ):  # fmt: skip
            good = int(code == "00")
            self.hsm.usage.count(kid, command, good, 1 - good, {"client": "purse", "rc": code})
        self.clock.advance(timedelta(minutes=2))
        for _ in range(3):
            self.hsm.usage.count("dlk-01", "40", 1, 0, {"client": "purse", "rc": "00"})
        self.hsm.usage.count("dpk-01", "90", 60, 4, {"client": "clearing", "rc": "00"})

    def export(self, target: Path, nonce: str = NONCE) -> dict[str, Any]:
        """Write a bundle; the auditor's trust file as a value."""
        self.clock.advance(timedelta(minutes=1))
        bundles.export_bundle(
            self.hsm.log, self.hsm.usage, self.hsm.directory(), self.home, target, nonce
        )
        return bundles.trust_file(self.hsm.log, nonce)


class Tamper:
    """A bundle opened for attack."""

    def __init__(self, folder: Path, people: Mapping[str, Person]) -> None:
        self.folder = folder
        self.people = people
        self.lines = [
            json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()
        ]
        self.key = note.NoteKey(self.lines[0]["body"]["hsm"], signing_key())

    # what T can do

    def write(self, lines: Sequence[bytes] | None = None) -> None:
        raw = [canonical.encode(line) for line in self.lines] if lines is None else lines
        (self.folder / "log.jsonl").write_bytes(b"".join(line + b"\n" for line in raw))

    def raw(self) -> list[bytes]:
        return (self.folder / "log.jsonl").read_bytes().splitlines()

    def index(self, kind: str, nth: int = 0, **members: Any) -> int:
        found = [
            n
            for n, line in enumerate(self.lines)
            if line["type"] == kind and members.items() <= line["body"].items()
        ]
        return found[nth]

    def body(self, kind: str, nth: int = 0, **members: Any) -> Any:
        return self.lines[self.index(kind, nth, **members)]["body"]

    def directory(self) -> list[dict[str, Any]]:
        return json.loads((self.folder / "keys.json").read_text("utf-8"))

    def write_directory(self, entries: Sequence[Mapping[str, Any]]) -> None:
        rows = sorted(entries, key=lambda entry: entry["kid"])
        (self.folder / "keys.json").write_bytes(canonical.encode(rows))

    def newest(self) -> Path:
        return sorted((self.folder / "checkpoints").iterdir())[-1]

    # what R can do

    def rebuild(self, again: Sequence[str] = ()) -> None:
        """Number, chain and sign everything anew with the HSM's key.

        `again` names types of lines whose people sign once more, in collusion with R.
        """
        keys = (self.folder / "keys.json").read_bytes()
        prev, close, leaves = NO_LINE, NO_LINE, []
        for seq, line in enumerate(self.lines):
            body = line["body"]
            line["seq"], line["prev"] = seq, prev
            if line["type"] == "ceremony.open" and "open" in again:
                body["prev_close"] = close
            if line["type"] == "audit.export":
                body["keys"] = hashlib.sha256(keys).hexdigest()
            if line["type"] in again:
                self._sign(line)
            leaves.append(merkle.leaf_hash(canonical.encode(line)))
            prev = leaves[-1].hex()
            if line["type"] == "ceremony.close":
                close = prev
        self.write()
        ends = [
            n + 1
            for n, line in enumerate(self.lines)
            if line["type"] in ("ceremony.close", "audit.export")
        ]
        for path in (self.folder / "checkpoints").iterdir():
            path.unlink()
        for number, size in enumerate(sorted({*ends, len(leaves)}), 1):
            text = note.Checkpoint(self.key.name, size, merkle.root(leaves[:size])).text()
            (self.folder / "checkpoints" / f"{number:03d}.txt").write_text(
                self.key.sign(text), "utf-8"
            )

    def _sign(self, line: dict[str, Any]) -> None:
        body, closing = line["body"], line["type"] == "ceremony.close"
        names = {
            "ceremony.close": ("cid", "keys", "status", "steps"),
            "ceremony.step": ("cid", "step", "action", "args"),
            "ceremony.exception": ("cid", "step", "text"),
            "roster.add": ("id", "role", "vkey"),
            "roster.revoke": ("id", "reason"),
        }[line["type"]]
        kind = "close" if closing else "approval"
        content = canonical.encode({name: body[name] for name in names})
        message = f"hsm-sim {kind} v1\n{line['prev']}\n".encode() + content
        for entry in body["signatures" if closing else "approvals"]:
            if entry["id"] in self.people:
                entry["sig"] = self.people[entry["id"]].sign(message)["sig"]

    def insert(self, place: int, kind: str, body: Mapping[str, Any]) -> None:
        line = {**self.lines[place - 1], "body": dict(body), "type": kind}
        self.lines.insert(place, json.loads(json.dumps(line)))
