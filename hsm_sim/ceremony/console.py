"""The HSM's side of a ceremony: only the next step of the script, only with its quorum (R-25).

The console learns where it stands from the log, so a ceremony goes on after a crash; each approval is
made for one position in the log (hsm-and-ceremony.md 11.4). `run.py` is the administrator's side.
"""

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from threading import Timer
from typing import Any

from core import merkle
from core.clock import Clock
from core.errors import NotAllowed, Rejected
from hsm_sim import canonical, note
from hsm_sim.ceremony.actions import BLOCK, KeyActions, perform
from hsm_sim.ceremony.script import KEY_MAKING, ON_THE_DAY, Script, Step
from hsm_sim.durable import write_whole
from hsm_sim.log import NO_LINE, AuditLog

COMPONENT_LIFE = timedelta(minutes=15)
SCRIPTS = "scripts"
Signed = Mapping[str, str]  # {"id", "role", "sig"}


class NoQuorum(NotAllowed):
    """People are missing, unknown, absent, revoked or signed something else (error F2)."""


class OffScript(Rejected):
    """Not the next step of an open ceremony (error 17)."""


@dataclass
class Standing:
    """Where an open ceremony stands."""

    script: Script
    attend: dict[str, str]
    steps: int = 0
    at: int = 0
    keys: list[dict[str, str]] = field(default_factory=list)
    custodians: dict[str, set[str]] = field(default_factory=dict)
    entered: dict[str, list[datetime]] = field(default_factory=dict)  # of this run of the program


class Console:
    """The HSM's ceremony console. Runs on a local terminal, never on the host port (R-27)."""

    def __init__(self, log: AuditLog, actions: KeyActions, home: Path, clock: Clock) -> None:
        self._log = log
        self._actions = actions
        self._scripts = home / SCRIPTS
        self._scripts.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clock = clock
        self._policy: dict[str, Any] = log.genesis["policy"]
        self.genesis = merkle.leaf_hash(log.lines(0, 1)[0]).hex()
        self.roster: dict[str, tuple[str, str]] = {}
        self.revoked: set[str] = set()
        self.closed = 0
        self.prev_close = NO_LINE
        self.standing: Standing | None = None
        self._challenge = ""
        self._here: dict[str, str] = {}
        self._lives: dict[str, Timer] = {}
        for event in log.events():
            self._learn(event)

    def _learn(self, event: Mapping[str, Any]) -> None:
        """Take one line of the log in: at the start all of them, then each as it is written."""
        kind, body = event["type"], event["body"]
        if kind == "log.genesis":
            self.roster = {p["id"]: (p["role"], p["vkey"]) for p in body["roster"]}
        elif kind == "roster.add":
            self.roster[body["id"]] = (body["role"], body["vkey"])
        elif kind == "roster.revoke":
            self.revoked.add(body["id"])
        elif kind == "ceremony.open":
            script = Script.parse((self._scripts / f"{body['script']}.json").read_bytes())
            self.standing = Standing(script, {p["id"]: p["role"] for p in body["attend"]})
        elif kind == "ceremony.step" and self.standing is not None:
            self._learn_step(self.standing, body)
        elif kind == "ceremony.close":
            self.standing, self.closed = None, body["cid"]
            line = self._log.lines(event["seq"], 1)[0]
            self.prev_close = merkle.leaf_hash(line).hex()

    def _learn_step(self, standing: Standing, body: Mapping[str, Any]) -> None:
        standing.steps, standing.at = body["step"], standing.at + 1
        args, result = body["args"], body["result"]
        if body["action"] == "component":
            standing.custodians.setdefault(args["kid"], set()).add(args["custodian"])
        elif body["action"] in KEY_MAKING:
            standing.keys.append({"fp": result["fp"], "kcv": result["kcv"], "kid": args["kid"]})

    def _write(self, kind: str, body: Mapping[str, Any]) -> None:
        seq = self._log.append(kind, body)
        self._learn(self._log.read(seq))

    # -- who is here --------------------------------------------------------------------------------

    def challenge(self) -> bytes:
        """What each attendee signs to prove their key."""
        if not self._challenge:
            self._challenge = secrets.token_hex(16)
        return f"hsm-sim sign-in v1\n{self._challenge}".encode()

    def sign_in(self, signed: Signed) -> None:
        """Let a person in; raises NoQuorum (HSM-F2)."""
        self._require_signer(signed, self.challenge())
        self._here[signed["id"]] = signed["role"]

    def _require_signer(self, signed: Signed, message: bytes) -> None:
        role, vkey = self.roster.get(signed["id"], ("", ""))
        if not role or role != signed["role"] or signed["id"] in self.revoked:
            raise NoQuorum("HSM-F2", f"{signed['id']} is not on the roster in this role")
        if not note.holds(vkey, message, signed["sig"]):
            raise NoQuorum("HSM-F2", f"{signed['id']} signed something else")

    def _require(self, action: str, message: bytes, given: Sequence[Signed]) -> None:
        """Enough different people who attend have signed exactly this, at this place in the log."""
        attend = self.standing.attend if self.standing else None
        counted: Counter[str] = Counter()
        for number, signed in enumerate(given):
            self._require_signer(signed, message)
            if attend is not None and signed["id"] not in attend:
                raise NoQuorum("HSM-F2", f"{signed['id']} does not attend")
            if any(other["id"] == signed["id"] for other in given[:number]):
                raise NoQuorum("HSM-F2", f"{signed['id']} signed twice")
            counted[signed["role"]] += 1
        need = self.quorum(action)
        if any(counted[role] < n for role, n in need.items()):
            raise NoQuorum("HSM-F2", f"{action} needs {need}")

    def quorum(self, action: str) -> dict[str, int]:
        """How many of each role an action needs, by the genesis policy; raises NoQuorum if it names none."""
        need = self._policy["quorum"].get(action)
        if need is None:
            raise NoQuorum("HSM-F2", f"the policy knows no {action}")
        return dict(need)

    def _message(self, content: Mapping[str, Any], kind: str = "approval") -> bytes:
        head = f"hsm-sim {kind} v1\n{self._log.prev}\n".encode()
        return head + canonical.encode(content)

    # -- a ceremony -----------------------------------------------------------------------------------

    def open(self, script: Script) -> None:
        """Begin: the next number, nobody else's ceremony open, the people who signed in."""
        if self.standing is not None:
            raise OffScript("CER-OPEN-ALREADY", "close the open ceremony first")
        if script.cid != self.closed + 1:
            raise OffScript(
                "CER-NUMBER", "ceremonies are numbered without gap", expected=self.closed + 1
            )
        write_whole(self._scripts / f"{script.digest}.json", script.text)
        body = {
            "attend": [{"id": who, "role": role} for who, role in self._here.items()],
            "cid": script.cid,
            "kind": script.kind,
            "prev_close": self.prev_close,
            "script": script.digest,
        }
        self._write("ceremony.open", body)
        self._here, self._challenge = {}, ""

    def _open(self) -> Standing:
        if self.standing is None:
            raise OffScript("CER-NONE-OPEN", "no ceremony is open")
        return self.standing

    def next_step(self) -> Step | None:
        """The only step that may happen now; None when the script is done."""
        here = self._open()
        return here.script.plan[here.at] if here.at < len(here.script.plan) else None

    def _content(self, extra: Mapping[str, Any]) -> dict[str, Any]:
        here, step = self._open(), self.next_step()
        if step is None or set(extra) != ON_THE_DAY.get(step.action, set()):
            raise OffScript("CER-NOT-NEXT", "the script has no such step now")
        args = {**step.args, **extra}
        return {"action": step.action, "args": args, "cid": here.script.cid, "step": here.steps + 1}

    def approval(self, extra: Mapping[str, Any]) -> bytes:
        """What people sign for the next step; `extra` is what the day adds (``custodian``)."""
        return self._message(self._content(extra))

    def step(
        self, extra: Mapping[str, Any], approvals: Sequence[Signed], value: bytearray | None = None
    ) -> dict[str, Any]:
        """Do the next step; `value` is what comes in with it and is overwritten here: a component, or the
        text of a wrapped key. The result: as logged, and for an export the key block, which no log holds.

        Raises OffScript (CER-NOT-NEXT, CER-CUSTODIAN, CER-COMPONENTS-LOST, CER-LATE) and NoQuorum
        (HSM-F2); then nothing happened.
        """
        here, content = self._open(), self._content(extra)
        action, args = content["action"], content["args"]
        self._require(action, self._message(content), approvals)
        self._check_components(here, action, args, approvals, value)
        self._actions.begin(self._log.size)
        try:
            result = perform(self._actions, action, args, here.script.cid, value)
            logged = {name: said for name, said in result.items() if name != BLOCK}
            self._write(
                "ceremony.step", {**content, "approvals": _plain(approvals), "result": logged}
            )
        except BaseException:
            self._actions.rollback()
            raise
        finally:
            _overwrite(value)
        self._actions.commit()
        if action == "component":
            here.entered.setdefault(args["kid"], []).append(self._clock.now())
            self._limit_life(args["kid"])
        elif action == "combine":
            self._forget(args["kid"])
        return result

    def _limit_life(self, kid: str) -> None:
        """Overwrite components after 15 minutes also when nobody touches the console any more (R-26)."""
        if kid not in self._lives:
            life = Timer(COMPONENT_LIFE.total_seconds(), self._actions.forget, [kid])
            life.daemon = True
            life.start()
            self._lives[kid] = life

    def _forget(self, kid: str) -> None:
        life = self._lives.pop(kid, None)
        if life is not None:
            life.cancel()
        self._actions.forget(kid)

    def _check_components(
        self, here: Standing, action: str, args: Mapping[str, Any], approvals: Sequence[Signed],
        value: bytearray | None,
    ) -> None:  # fmt: skip
        if (action in ("component", "import")) != (value is not None):
            raise OffScript("CER-NOT-NEXT", "a component or a wrapped key comes with its step only")
        kid = args.get("kid", "")
        if action == "component":
            custodian = args.get("custodian")
            roles = {signed["id"]: signed["role"] for signed in approvals}
            if roles.get(str(custodian)) != "KC" or custodian in here.custodians.get(kid, set()):
                raise OffScript(
                    "CER-CUSTODIAN", "each component has a custodian of its own who approves"
                )
        if action in ("component", "combine"):
            entered = here.entered.get(kid, [])
            if len(entered) != len(here.custodians.get(kid, set())):
                raise OffScript(
                    "CER-COMPONENTS-LOST", "components entered before a restart are gone"
                )
            if entered and self._clock.now() - entered[0] > COMPONENT_LIFE:
                self._forget(kid)
                raise OffScript("CER-LATE", "components are kept for 15 minutes at most")

    def exception_message(self, text: str) -> bytes:
        """What the witness signs for something off the script."""
        here = self._open()
        return self._message({"cid": here.script.cid, "step": here.steps + 1, "text": text})

    def exception(self, text: str, approvals: Sequence[Signed]) -> None:
        """Record something off the script, in the witness's words."""
        here = self._open()
        self._require("exception", self.exception_message(text), approvals)
        body = {"cid": here.script.cid, "step": here.steps + 1, "text": text}
        self._write("ceremony.exception", {**body, "approvals": _plain(approvals)})

    def _closing(self, status: str) -> dict[str, Any]:
        here = self._open()
        if status not in ("complete", "aborted"):
            raise OffScript("CER-NOT-NEXT", "a ceremony ends complete or aborted")
        if status == "complete" and self.next_step() is not None:
            raise OffScript("CER-NOT-NEXT", "the script is not done")
        return {"cid": here.script.cid, "keys": here.keys, "status": status, "steps": here.steps}

    def close_message(self, status: str) -> bytes:
        """What people sign at the end: status, steps and the keys made, over all that went before."""
        return self._message(self._closing(status), "close")

    def close(self, status: str, signatures: Sequence[Signed]) -> str:
        """End the ceremony and return the checkpoint the auditor takes away."""
        here, content = self._open(), self._closing(status)
        self._require("close", self._message(content, "close"), signatures)
        self._write("ceremony.close", {**content, "signatures": _plain(signatures)})
        for kid in here.entered:
            self._forget(kid)
        return self._log.checkpoint()

    # -- the roster -------------------------------------------------------------------------------------

    def roster_message(self, content: Mapping[str, str]) -> bytes:
        """What people sign to enrol ({id, role, vkey}) or revoke ({id, reason}) somebody."""
        return self._message(content)

    def enrol(self, person: Mapping[str, str], approvals: Sequence[Signed]) -> None:
        """Add a person to the roster; a name or a signing key that is there already is refused."""
        keys = {vkey.split("+", 2)[2] for _, vkey in self.roster.values()}
        note.parse_vkey(person["vkey"])
        if person["id"] in self.roster or person["vkey"].split("+", 2)[2] in keys:
            raise NoQuorum("CER-ROSTER", "this name or key is enrolled")
        content = {name: person[name] for name in ("id", "role", "vkey")}
        self._require("roster", self._message(content), approvals)
        self._write("roster.add", {**content, "approvals": _plain(approvals)})

    def revoke(self, id: str, reason: str, approvals: Sequence[Signed]) -> None:
        """Take a person off the roster for good."""
        if id not in self.roster or id in self.revoked:
            raise NoQuorum("CER-ROSTER", "nobody of that name to revoke")
        content = {"id": id, "reason": reason}
        self._require("roster", self._message(content), approvals)
        self._write("roster.revoke", {**content, "approvals": _plain(approvals)})


def _plain(signed: Sequence[Signed]) -> list[dict[str, str]]:
    return [{name: entry[name] for name in ("id", "role", "sig")} for entry in signed]


def _overwrite(value: bytearray | None) -> None:
    if value is not None:
        value[:] = bytes(len(value))
