"""Lead people through a ceremony, step by step, at a terminal or unattended (hsm-and-ceremony.md 10.5).

Running the same script again after a crash goes on where the log ends: every step is either in the log
or was not done.
"""

from collections.abc import Mapping, Sequence

from core.errors import Rejected
from hsm_sim.ceremony.actions import BLOCK
from hsm_sim.ceremony.console import Console, NoQuorum
from hsm_sim.ceremony.envelope import KEY_BYTES
from hsm_sim.ceremony.room import Room
from hsm_sim.ceremony.script import Script, Step
from hsm_sim.ceremony.words import groups, words
from hsm_sim.notice import banner

ABORT = "abort"


class CeremonyRun:
    """One script, held by the people of `attend` ({id: role}) in a room."""

    def __init__(
        self, console: Console, script: Script, attend: Mapping[str, str], room: Room
    ) -> None:
        self._console = console
        self._script = script
        self._attend = dict(attend)
        self._room = room
        self._custodians = [who for who, role in self._attend.items() if role == "KC"]
        self._lengths = {
            step.args["kid"]: KEY_BYTES[step.args["alg"]]
            for step in script.plan
            if step.action == "combine"
        }

    def run(self) -> str:
        """Sign in, confirm the script, do every step, close; the checkpoint for the auditor.

        Before each step the witness may record exceptions, or abort. Raises what the console raises;
        the ceremony then stays open, to be gone on with or aborted.
        """
        if self._console.standing is None:
            self._begin()
        elif self._console.standing.script.digest != self._script.digest:
            raise Rejected("CER-OPEN-ALREADY", "another ceremony is open")
        else:
            self._room.show(f"Going on with ceremony {self._script.cid} after an interruption.")
            self._attend = dict(self._console.standing.attend)
            self._custodians = [who for who, role in self._attend.items() if role == "KC"]
        while (step := self._console.next_step()) is not None:
            while remark := self._room.remark(self._number):
                if remark.lower().startswith(ABORT):
                    return self.abort(remark)
                self.exception(remark)
            self._step(step)
        return self._close("complete")

    @property
    def _number(self) -> int:
        """The number of the step that comes now."""
        return self._console.standing.steps + 1 if self._console.standing else 0

    def _begin(self) -> None:
        room, digest = self._room, bytes.fromhex(self._script.digest)
        room.show(banner())
        if self._console.closed == 0:
            genesis = bytes.fromhex(self._console.genesis)
            room.show(f"Genesis of this log, for the auditor's trust file: {groups(genesis)}")
            room.show(f"Read aloud: {words(genesis)}")
        for who in self._attend:
            self._console.sign_in(room.sign(who, self._console.challenge()))
        room.show(
            f"Ceremony {self._script.cid}, {self._script.kind}, {len(self._script.plan)} steps"
        )
        room.show(f"Script SHA-256: {groups(digest)}")
        room.show(f"Read aloud: {words(digest)}")
        room.confirm("The witness has read the same words from paper.")
        self._console.open(self._script)

    def _signers(self, need: Mapping[str, int], first: Sequence[str] = ()) -> list[str]:
        """People who attend for each role of a quorum, those named first before others."""
        chosen: list[str] = []
        for role, count in need.items():
            able = [who for who, own in self._attend.items() if own == role]
            able.sort(key=lambda who: who not in first)
            if len(able) < count:
                raise NoQuorum("HSM-F2", f"{count} of role {role} are needed, {len(able)} are here")
            chosen += able[:count]
        return chosen

    def _step(self, step: Step) -> None:
        room, console = self._room, self._console
        shown = ", ".join(f"{name} {value}" for name, value in sorted(step.args.items()))
        room.show(f"Step {self._number}: {step.action}: {shown}")
        extra: dict[str, str] = {}
        value: bytearray | None = None
        if step.action == "component":
            if step.args["n"] > len(self._custodians):
                raise NoQuorum("HSM-F2", "each component needs a custodian of its own")
            extra = {"custodian": self._custodians[step.args["n"] - 1]}
        elif step.action == "import":
            text, extra["kcv"] = room.wrapped_key(step.args["kid"], step.args["under"])
            value = bytearray(text.encode("ascii", "replace"))
        message = console.approval(extra)
        signers = self._signers(console.quorum(step.action), list(extra.values()))
        approvals = [room.sign(who, message) for who in signers]
        if step.action == "component":
            kid, n = step.args["kid"], step.args["n"]
            value = room.component(extra["custodian"], kid, n, self._lengths[kid])
        result = console.step(extra, approvals, value)
        if "kcv" in result:
            room.show(f"Check value {result['kcv']}: compare it with the form and say it aloud.")
        if BLOCK in result:
            room.show(f"For the partner, under {step.args['under']}: {result[BLOCK]}")

    def exception(self, text: str) -> None:
        """The witness records something off the script before going on."""
        message = self._console.exception_message(text)
        signers = self._signers(self._console.quorum("exception"))
        self._console.exception(text, [self._room.sign(who, message) for who in signers])
        self._room.show(f"Exception recorded: {text}")

    def abort(self, reason: str) -> str:
        """Stop: a normal outcome, with the reason as an exception. The checkpoint."""
        self.exception(reason)
        return self._close("aborted")

    def _close(self, status: str) -> str:
        console, room = self._console, self._room
        for key in console.standing.keys if console.standing else []:
            room.show(f"Key {key['kid']}, check value {key['kcv']}")
        message = console.close_message(status)
        checkpoint = console.close(
            status, [room.sign(who, message) for who in self._signers(console.quorum("close"))]
        )
        closing = bytes.fromhex(console.prev_close)
        room.show(f"Closed, {status}. Last line: {groups(closing)}")
        room.show(f"Read aloud: {words(closing)}")
        room.show("The auditor takes this checkpoint away.")
        return checkpoint
