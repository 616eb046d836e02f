"""An HSM for ceremony tests, an honest bundle, and a tool that tampers with it.

`City` is a real HSM in a folder with two ceremonies to hold. `Tamper` plays the attackers of
hsm-and-ceremony.md 12.3: T edits files; R also re-chains and signs with the HSM's key; people sign again only
where an attack says they do.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core import merkle
from core.clock import Clock, FixedClock
from hsm_sim import canonical, lmkfile, note
from hsm_sim.ceremony import bundle as bundles
from hsm_sim.ceremony import city, verifier
from hsm_sim.ceremony.console import Console
from hsm_sim.ceremony.people import Person
from hsm_sim.ceremony.room import UnattendedRoom
from hsm_sim.ceremony.run import CeremonyRun
from hsm_sim.ceremony.script import POLICY, Script, Step, component_steps
from hsm_sim.device import Hsm
from hsm_sim.lmkfile import Argon2
from hsm_sim.log import NO_LINE

START = datetime(2026, 3, 1, 8, tzinfo=UTC)
NONCE = "6e6f6e63652d30303031"
UNLOCK = (b"first officer's secret", b"second officer's secret")
QUICK = Argon2(memory_kib=64, passes=1, lanes=1)


def make_hsm(
    *,
    home: Path,
    name: str,
    clock: Clock,
    roster: Sequence[Mapping[str, str]],
    policy: Mapping[str, Any],
    unlock_secrets: Sequence[bytes] = UNLOCK,
) -> Hsm:
    """A real HSM whose unlock secrets are cheap to try, as `hold_city_ceremonies` wants it."""
    return Hsm.make(home, name, clock, roster, policy, unlock_secrets, QUICK)


def reopen(home: Path, clock: Clock) -> Hsm:
    """The same HSM after a restart, unlocked."""
    hsm = Hsm.open(home, clock)
    hsm.unlock(UNLOCK)
    return hsm


def signing_key(home: Path) -> Ed25519PrivateKey:
    """The HSM's log key, as somebody has it who owns the machine and its unlock secrets (attacker R)."""
    _, _, inside = lmkfile.read(home, UNLOCK)
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(inside["log"]))


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


def state_of(hsm: Hsm, kid: str) -> str | None:
    """The state of a key inside an HSM; None when there is no such key."""
    entry = hsm.keystore.entries.get(kid) if hsm.keystore else None
    return entry.state.value if entry else None


class City:
    """A small honest HSM with two ceremonies to hold, on a clock of its own."""

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
        """The machine lost its power."""
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

    def __init__(self, folder: Path, people: Mapping[str, Person], home: Path) -> None:
        self.folder = folder
        self.people = people
        self.lines = [
            json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()
        ]
        self.key = note.NoteKey(self.lines[0]["body"]["hsm"], signing_key(home))

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

    def chain(self, raw: Sequence[bytes]) -> None:
        """Chain and sign lines as they are, whatever they say; `prev` is set where a line has one."""
        prev, leaves, lines = NO_LINE, [], []
        for text in raw:
            line = re.sub(rb'"prev":"[0-9a-f]{64}"', b'"prev":"' + prev.encode() + b'"', text)
            leaves.append(merkle.leaf_hash(line))
            lines.append(line)
            prev = leaves[-1].hex()
        self.write(lines)
        text = note.Checkpoint(self.key.name, len(leaves), merkle.root(leaves)).text()
        (self.folder / "checkpoints" / "999.txt").write_text(self.key.sign(text), "utf-8")

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


@dataclass(frozen=True)
class Honest:
    """An honest bundle with its auditor's trust file, and the people and machine behind it."""

    folder: Path
    trust: dict[str, Any]
    people: Mapping[str, Person]
    home: Path

    @classmethod
    def make(cls, place: Path) -> "Honest":
        """Hold both ceremonies, work three intervals, and export in between and at the end."""
        city = City(place / "hsm")
        city.hold_all()
        city.work()
        city.export(place / "early", "aa" * 10)
        city.clock.advance(timedelta(minutes=1))
        city.hsm.usage.count("dlk-01", "40", 1, 0, {"client": "purse", "rc": "00"})
        trust = city.export(place / "bundle")
        city.hsm.close()
        return cls(place / "bundle", trust, city.people, city.home)


class Attack(Tamper):
    """A copy of an honest bundle, opened for attack; `trust` is what the auditor brings."""

    def __init__(self, honest: Honest, target: Path) -> None:
        shutil.copytree(honest.folder, target)
        super().__init__(target, honest.people, honest.home)
        self.trust = dict(honest.trust)

    def codes(self) -> set[str]:
        """What the verifier finds."""
        verdict = verifier.verify(self.folder, self.trust)
        return {entry["code"] for entry in verdict.findings}
