"""Kill an HSM without warning at any sync to disk of a ceremony, start it again, and see what is left.

``python -m tests.ceremony_kill [STRIDE]`` prints the table: for each sync (before it, after it, and before it with
everything unsynced lost) the line that was last in the log, what the restart found, and the verdict in the end.
"""

import os
import signal
import stat
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from core.clock import FixedClock
from hsm_sim.ceremony import bundle, city, verifier
from hsm_sim.ceremony.console import Console, OffScript
from hsm_sim.ceremony.room import UnattendedRoom
from hsm_sim.ceremony.run import CeremonyRun
from hsm_sim.ceremony.script import POLICY, Script
from hsm_sim.device import Hsm
from hsm_sim.log import LOG
from tests.ceremony_bench import NONCE, START, make_hsm, reopen, scripts, state_of

USES = 4
BEFORE, AFTER, LOST = (
    "before",
    "after",
    "lost",
)  # lost: and what was not synced is gone, as without power


@dataclass(frozen=True)
class Outcome:
    """What a cut left behind, and what became of it."""

    sync: int
    side: str
    last_line: str
    restart: str
    answered: int
    counted: int
    unaccounted: int
    findings: tuple[str, ...]

    @property
    def uses_bounded(self) -> bool:
        """No use was answered that is neither counted nor within the bound the boot line states."""
        return self.answered - self.counted <= self.unaccounted

    def row(self) -> str:
        """One line of the table."""
        found = " ".join(self.findings) or "passes"
        return (
            f"{self.sync:4} {self.side:7} {self.last_line:34} {self.restart:40} "
            f"{self.answered:3} {self.counted:3} {self.unaccounted:6}  {found}"
        )


def work(home: Path, answered: Callable[[], None]) -> Hsm:
    """Make or open the HSM, hold what is left of both ceremonies, use a key a few times."""
    clock, people = FixedClock(START + timedelta(hours=1)), city.make_people(7)
    if (home / LOG).exists() and (home / LOG).read_bytes().endswith(b"\n"):
        hsm = reopen(home, clock)
    else:  # the very first line never reached the disk: there is no HSM yet
        (home / LOG).unlink(missing_ok=True)
        roster = [person.entry() for person in people.values()]
        hsm = make_hsm(home=home, name=city.HSM_NAME, clock=clock, roster=roster, policy=POLICY)
    console = Console(hsm.log, hsm.actions, home, clock)
    room = UnattendedRoom(people)
    attend = {who: city.STAFF[who] for who in city.ATTEND}
    for script, kid in zip(scripts(), ("lmk-1", "dlk-01"), strict=True):
        while state_of(hsm, kid) != "ACTIVE" or console.standing is not None:
            open_now = console.standing.script if console.standing else None
            run = CeremonyRun(
                console,
                open_now or Script(console.closed + 1, script.kind, script.plan),
                attend,
                room,
            )
            try:
                run.run()
            except OffScript as fault:
                if fault.code != "CER-COMPONENTS-LOST":
                    raise
                run.abort("the power failed and the components are gone")
    for _ in range(USES):
        hsm.usage.count("dlk-01", "40", 1, 0, {"client": "purse", "rc": "00"})
        answered()
    return hsm


def cut(home: Path, sync: int, side: str) -> tuple[bool, int]:
    """Work in a child that dies at the n-th sync. (Whether it died, how many uses it answered for.)"""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _die_at(sync, side)
            work(home, lambda: (os.write(tell, b"."), None)[1]).close()
            code = 0
        finally:
            os._exit(code)
    os.close(tell)
    answers = b""
    while part := os.read(told, 100):
        answers += part
    os.close(told)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed by itself"
    return os.WIFSIGNALED(status), len(answers)


def _die_at(sync: int, side: str) -> None:
    """From now on this process dies at its n-th sync."""
    count, synced = 0, dict[int, int]()

    def watched(real: Callable[[int], None]) -> Callable[[int], None]:
        def call(descriptor: int) -> None:
            nonlocal count
            count += 1
            status = os.fstat(descriptor)
            if count == sync and side == LOST and stat.S_ISREG(status.st_mode):
                os.ftruncate(descriptor, synced.get(status.st_ino, 0))
            if count == sync and side != AFTER:
                os.kill(os.getpid(), signal.SIGKILL)
            real(descriptor)
            synced[status.st_ino] = status.st_size
            if count == sync:
                os.kill(os.getpid(), signal.SIGKILL)

        return call

    os.fsync, os.fdatasync = watched(os.fsync), watched(os.fdatasync)  # type: ignore[assignment]


def last_line(home: Path) -> str:
    """What the log ends with after the cut."""
    if not (home / LOG).exists():
        return "(no log)"
    whole = (home / LOG).read_bytes().split(b"\n")[:-1]
    if not whole:
        return "(empty log)"
    line = verifier.parse(whole[-1])
    body = line["body"]
    more = f" {body['cid']}/{body['step']} {body['action']}" if "action" in body else ""
    return f"{line['type']}{more}"


def restart(home: Path) -> str:
    """Start again and compare keys and log; AssertionError when a step is half done."""
    if not last_line(home).startswith("("):
        hsm = reopen(home, FixedClock(START + timedelta(hours=1)))
        try:
            made = [
                (event["body"]["args"]["kid"], event["body"]["result"]["kcv"])
                for event in hsm.log.events("ceremony.step")
                if event["body"]["action"] in ("combine", "generate")
            ]
            moved = {
                event["body"]["args"]["kid"]
                for event in hsm.log.events("ceremony.step")
                if event["body"]["action"] == "activate"
            }
            kept = {entry["kid"]: entry for entry in hsm.directory()}
            assert [(kid, kept[kid]["kcv"]) for kid in kept] == [
                (kid, value) for kid, value in made if kid in kept
            ]
            assert {kid for kid, _ in made} == set(kept)
            assert {kid for kid, entry in kept.items() if entry["state"] == "ACTIVE"} == moved
            return f"{len(kept)} keys, {len(moved)} active, as logged"
        finally:
            hsm.log.close()
    return "begins anew"


def trial(folder: Path, sync: int, side: str) -> Outcome | None:
    """One cut, one restart, the rest of the work, one audit; None when there are fewer syncs than that."""
    home = folder / "hsm"
    died, answered = cut(home, sync, side)
    if not died:
        return None
    line, found = last_line(home), restart(home)
    more = 0

    def again() -> None:
        nonlocal more
        more += 1

    hsm = work(home, again)
    bundle.export_bundle(hsm.log, hsm.usage, hsm.directory(), home, folder / "bundle", NONCE)
    trust = bundle.trust_file(hsm.log, NONCE)
    counted = hsm.usage.uses("dlk-01") - more
    lost = sum(event["body"].get("unaccounted", 0) for event in hsm.log.events("boot"))
    hsm.close()
    verdict = verifier.verify(folder / "bundle", trust)
    codes = tuple(sorted({entry["code"] for entry in verdict.findings}))
    return Outcome(sync, side, line, found, answered, counted, lost, codes)


def matrix(stride: int, show: Callable[[str], None], first: int = 1) -> list[Outcome]:
    """Every `stride`-th sync from `first` on, each way, until there are no more."""
    outcomes: list[Outcome] = []
    title = f"{'sync':4} {'side':7} {'last line in the log':34} {'restart':40}"
    show(f"{title} answered, counted, bound  verdict")
    for sync in range(first, 10_000, stride):
        for side in (BEFORE, AFTER, LOST):
            with tempfile.TemporaryDirectory() as folder:
                outcome = trial(Path(folder), sync, side)
            if outcome is None:
                return outcomes
            show(outcome.row())
            outcomes.append(outcome)
    return outcomes


def say(row: str) -> None:
    """A row as soon as it is known."""
    sys.stdout.write(row + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    matrix(int(sys.argv[1]) if len(sys.argv) > 1 else 1, say)
