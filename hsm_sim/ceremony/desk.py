"""The ceremony desk: make or open an HSM in its folder at a local terminal, with shares of the unlock secret.

The unlock secret is 32 random bytes, given out M of N as SLIP-0039 words so that one absent officer does
not stop the city (hsm-and-ceremony.md 10.3); it is never stored. The desk works on the folder, never through
the host port (R-1, R-27).
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.clock import Clock
from core.errors import EvidenceMismatch, NotFound, Rejected
from hsm_sim import canonical, shares
from hsm_sim.ceremony.bundle import export_bundle, trust_file
from hsm_sim.ceremony.console import Console
from hsm_sim.ceremony.people import Person
from hsm_sim.ceremony.room import Room
from hsm_sim.ceremony.run import CeremonyRun
from hsm_sim.ceremony.script import POLICY, Script
from hsm_sim.ceremony.words import groups, words
from hsm_sim.device import Hsm
from hsm_sim.durable import write_whole
from hsm_sim.lmkfile import Argon2
from hsm_sim.log import LOG
from hsm_sim.log_copy import COPY_FILE

SECRET_BYTES = 32
MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True)
class Quorum:
    """How many of the officers' shares open the HSM."""

    threshold: int = 2
    officers: int = 3


class Desk:
    """An HSM that its people have opened; use it as a context manager."""

    def __init__(self, hsm: Hsm, home: Path, clock: Clock, room: Room) -> None:
        self.hsm = hsm
        self._home = home
        self._room = room
        self.console = Console(hsm.log, hsm.actions, home, clock)

    def __enter__(self) -> "Desk":
        return self

    def __exit__(self, *_: object) -> None:
        self.hsm.close()

    @classmethod
    def make(
        cls, home: Path, name: str, clock: Clock, roster: Sequence[Mapping[str, str]], room: Room,
        quorum: Quorum, kdf: Argon2 | None = None,
    ) -> "Desk":  # fmt: skip
        """A new HSM; its officers get their shares first, so that nobody can lock himself out.

        Raises LogDamaged (LOG-EXISTS) and BadShares (SHARES).
        """
        if (home / LOG).exists():
            raise Rejected("LOG-EXISTS", "this folder holds an HSM")
        secret = secrets.token_bytes(SECRET_BYTES)
        for number, mnemonic in enumerate(
            shares.split(secret, quorum.threshold, quorum.officers), 1
        ):
            room.hand_share(number, mnemonic)
        hsm = Hsm.make(home, name, clock, roster, POLICY, [secret], kdf)
        return cls(hsm, home, clock, room)

    @classmethod
    def open(cls, home: Path, clock: Clock, room: Room, people: Sequence[str] = ()) -> "Desk":
        """An HSM that exists, unlocked with the shares of officers who are here.

        Raises BadShares (SHARES) and what opening an HSM raises; it is closed and locked again then.
        """
        if not (home / LOG).exists():
            raise NotFound("CER-NO-HSM", "there is no HSM in this folder")
        hsm = Hsm.open(home, clock)
        try:
            hsm.unlock([unlock_secret(room)], people)
            return cls(hsm, home, clock, room)
        except BaseException:
            hsm.log.close()
            raise

    def show_extends(self, trust: Mapping[str, Any]) -> None:
        """Show that the log extends what the auditor saw last; raises EvidenceMismatch (CER-NOT-SEEN)."""
        seen = trust.get("last_seen")
        log = self.hsm.log
        if trust.get("genesis") != self.console.genesis:
            raise EvidenceMismatch("CER-NOT-SEEN", "another genesis than the auditor's")
        if not seen:
            self._room.show("The auditor brings no earlier checkpoint.")
            return
        size = int(seen["size"])
        if size > log.size or log.root(size).hex() != seen["root"]:
            raise EvidenceMismatch("CER-NOT-SEEN", "the log does not extend what the auditor saw")
        self._room.show(f"The log extends the {size} lines the auditor saw; now {log.size} lines.")

    def hold(self, script: Script, attend: Sequence[str]) -> str:
        """Hold a ceremony, or go on with it after an interruption; the auditor's checkpoint.

        Raises Rejected (CER-ROSTER) for somebody who is not enrolled.
        """
        return CeremonyRun(self.console, script, self._roles(attend), self._room).run()

    def abort(self, reason: str) -> str:
        """End the open ceremony as aborted, with the reason as an exception."""
        standing = self.console.standing
        if standing is None:
            raise Rejected("CER-NONE-OPEN", "no ceremony is open")
        return CeremonyRun(self.console, standing.script, standing.attend, self._room).abort(reason)

    def _roles(self, attend: Sequence[str]) -> dict[str, str]:
        missing = [who for who in attend if who not in self.console.roster]
        if missing:
            raise Rejected("CER-ROSTER", f"not on the roster: {', '.join(missing)}")
        return {who: self.console.roster[who][0] for who in attend}

    def enrol(self, entry: Mapping[str, str], signers: Sequence[str]) -> None:
        """Add a person to the roster, signed by a roster quorum; raises NoQuorum (CER-ROSTER, HSM-F2)."""
        content = {name: entry[name] for name in ("id", "role", "vkey")}
        message = self.console.roster_message(content)
        self.console.enrol(content, [self._room.sign(who, message) for who in signers])
        self._room.show(f"{entry['id']} is on the roster as {entry['role']}.")

    def revoke(self, id: str, reason: str, signers: Sequence[str]) -> None:
        """Take a person off the roster for good; raises NoQuorum (CER-ROSTER, HSM-F2)."""
        message = self.console.roster_message({"id": id, "reason": reason})
        self.console.revoke(id, reason, [self._room.sign(who, message) for who in signers])
        self._room.show(f"{id} is off the roster.")

    def export(self, target: Path, nonce: str) -> dict[str, Any]:
        """Write the audit bundle for an auditor's nonce; what their trust file should say."""
        hsm = self.hsm
        export_bundle(hsm.log, hsm.usage, hsm.directory(), self._home, target, nonce)
        root = hsm.log.root()
        self._room.show(f"{hsm.log.size} lines, root {groups(root)}")
        self._room.show(f"Read aloud: {words(root)}")
        return trust_file(hsm.log, nonce)


def keep_copy(home: Path, folder: Path) -> None:
    """From the next start on, copy every line of the log into another folder (R-41)."""
    if not (home / LOG).exists():
        raise NotFound("CER-NO-HSM", "there is no HSM in this folder")
    write_whole(home / COPY_FILE, canonical.encode({"folder": str(folder.resolve())}))


def unlock_secret(room: Room) -> bytes:
    """Join the shares of the officers present: as many as the first one says are needed."""
    given = [room.share(1)]
    needed = shares.Share.parse(given[0]).threshold
    given += [room.share(number) for number in range(2, needed + 1)]
    return shares.join(given)


def load_script(path: Path) -> Script:
    """A script file; raises NotFound (CER-FILE), BadScript and NotCanonical."""
    return Script.parse(read_small(path).removesuffix(b"\n"))


def load_roster(path: Path) -> list[dict[str, str]]:
    """A roster file, ``[{"id", "role", "vkey"}]``; raises Rejected (CER-ROSTER)."""
    try:
        entries = json.loads(read_small(path))
    except ValueError:
        raise Rejected("CER-ROSTER", "the roster file is not JSON") from None
    good = isinstance(entries, list) and all(
        isinstance(entry, dict) and set(entry) == {"id", "role", "vkey"} for entry in entries
    )
    if not good or len({entry["id"] for entry in entries}) != len(entries):
        raise Rejected("CER-ROSTER", "a roster is a list of id, role and vkey, each id once")
    return [dict(entry) for entry in entries]


def load_entry(path: Path) -> dict[str, str]:
    """One entry as ``citycard ceremony person`` prints it; raises Rejected (CER-ROSTER)."""
    try:
        entry = json.loads(read_small(path))
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or set(entry) != {"id", "role", "vkey"}:
        raise Rejected("CER-ROSTER", "an entry has id, role and vkey")
    return {name: str(value) for name, value in entry.items()}


def load_person(folder: Path, entry: Mapping[str, str], passphrase: bytes) -> Person:
    """Open ``<id>.pem`` of a folder as the person the roster names; raises NotAllowed (CER-KEYFILE)."""
    domain = entry["vkey"].split("+", 1)[0].rpartition("/")[0]
    return Person.load(
        folder / f"{entry['id']}.pem", passphrase, entry["id"], entry["role"], domain
    )


def read_small(path: Path) -> bytes:
    """A file of at most 1 MiB; raises NotFound (CER-FILE)."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise NotFound("CER-FILE", "too large", file=path.name)
        return path.read_bytes()
    except OSError:
        raise NotFound("CER-FILE", "not readable", file=path.name) from None
