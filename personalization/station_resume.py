"""What a station does first when it attaches: account for the card a crash left open (printer.md 6.3).

The journal, the machine and, where the verdict says so, the chip are compared; the result is the state the
station goes on from, with the card's job as far as it had come.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.clock import Clock
from core.errors import DeviceFault
from core.leases import Lease
from personalization.states import SpoilCode
from personalization.station_cycle import CardSpoiled, Cycle, Job
from personalization.station_desk import Desk, Task
from personalization.station_journal import Entry, Phase, StationJournal, Step, Value
from personalization.station_recovery import Decision, Trace, Verdict, decide, read_trace
from personalization.station_states import State
from personalization.work import Claim
from printer.port import Position, PrinterFault, PrinterState, Situation

_STATES = {
    Verdict.FEED: State.READY,
    Verdict.ENCODE: State.AT_CONTACT,
    Verdict.SEAT: State.AT_CONTACT,
    Verdict.ASK_CHIP: State.AT_CONTACT,
    Verdict.PRINT: State.POSITIONING,
    Verdict.REJECT: State.EJECTING,
    Verdict.EJECT: State.EJECTING,
    Verdict.REPORT: State.READY,
    Verdict.JAMMED: State.JAMMED,
    Verdict.UNCERTAIN: State.UNCERTAIN,
}
_MAKES = frozenset({Verdict.ENCODE, Verdict.SEAT, Verdict.ASK_CHIP})
_GIVEN_UP = frozenset({Verdict.REJECT, Verdict.JAMMED})
_NOTHING_TO_MAKE = frozenset({Verdict.REPORT, Verdict.UNCERTAIN})


@dataclass(frozen=True)
class Resumed:
    """Where the station goes on. `why` is the deciding observation."""

    state: State
    job: Job | None
    why: str


class Resume:
    """One station's return after a stop. `prepare` makes a job of a task and a card serial."""

    def __init__(
        self,
        journal: StationJournal,
        desk: Desk,
        cycle: Cycle,
        prepare: Callable[[Task, str], Job],
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._desk = desk
        self._cycle = cycle
        self._prepare = prepare
        self._clock = clock

    def run(self, machine: PrinterState) -> Resumed:
        """Decide and bring the card into the state named. Moves a card only where the table says so."""
        lines = self._journal.open_card()
        if not lines:
            if machine.position is Position.NONE:
                return Resumed(State.READY, None, "nothing was open")
            self._desk.foreign_card(machine.position.value)
            self._cycle.expel()
            return Resumed(State.READY, None, "a foreign card was rejected")
        decision, trace = decide(lines, machine), read_trace(lines)
        claim = claim_of(lines[0])
        task = self._desk.resume(claim)
        job = self._job(task, claim, lines, trace, machine)
        if task is None and decision.verdict not in _NOTHING_TO_MAKE:
            return self._not_ours(job, decision)
        return self._apply(job, decision, machine)

    def _job(
        self, task: Task | None, claim: Claim, lines: tuple[Entry, ...], trace: Trace,
        machine: PrinterState,
    ) -> Job:  # fmt: skip
        bound = _facts(lines, Step.BIND)
        serial = str(bound.get("card", ""))
        job = Job(claim, serial, {}) if task is None else self._prepare(task, serial)
        job.chip = bytes.fromhex(str(bound.get("chip", "")))
        job.is_bound = bool(bound)
        job.panels = machine.panels if trace.panels_before < 0 else trace.panels_before
        if trace.cards_before >= 0:
            job.fed = max(int(trace.fed), machine.cards - trace.cards_before)
        fed_at = _when(lines, Step.FEED)
        job.began = (
            self._clock.monotonic() - max(timedelta(0), self._clock.now() - fed_at).total_seconds()
        )
        job.out = trace.ejected
        job.seconds = int(_facts(lines, Step.EJECT).get("ms", 0)) / 1000
        if trace.spoil is not None:
            code = str(_facts(lines, Step.SPOIL)["code"])
            job.spoil = CardSpoiled(code, trace.spoil, trace.spoil_step)
        return job

    def _not_ours(self, job: Job, decision: Decision) -> Resumed:
        """The work order went to another station, or ended: an old token makes no card (I12)."""
        if decision.verdict is Verdict.FEED:
            job.fed = 0
            return Resumed(State.READY, job, "an old token, and nothing fed")
        lost = CardSpoiled("LEASE-LOST", SpoilCode.UN1, decision.step, "an old token")
        self._cycle.give_up(job, lost)
        jammed = decision.verdict is Verdict.JAMMED
        return Resumed(State.JAMMED if jammed else State.EJECTING, job, "an old token")

    def _apply(self, job: Job, decision: Decision, machine: PrinterState) -> Resumed:
        state = _STATES[decision.verdict]
        if decision.verdict in _MAKES:
            self._note_seen(job)
        if decision.verdict in _GIVEN_UP:
            self._cycle.give_up(
                job, CardSpoiled("P-U04", decision.reason, decision.step, decision.why)
            )
        elif decision.verdict is Verdict.SEAT:
            state = self._seat_once(job, decision)
        elif decision.verdict is Verdict.UNCERTAIN:
            self._desk.uncertain(job.claim, decision.why, job.seen)
        elif decision.verdict is Verdict.PRINT:
            job.reload = True
        try:
            if decision.verdict is Verdict.ASK_CHIP:
                self._ask_chip(job)
            elif decision.verdict is Verdict.PRINT and machine.position is Position.CONTACT:
                self._cycle.confirm(job)
        except CardSpoiled as spoil:
            self._cycle.give_up(job, spoil)
            state = State.EJECTING
        return Resumed(state, job, decision.why)

    def _seat_once(self, job: Job, decision: Decision) -> State:
        """Move the blank to the contacts. One that gets stuck is not moved again: a person takes it out."""
        try:
            self._cycle.reseat()
        except PrinterFault as fault:
            if fault.situation is not Situation.JAMMED:
                raise
            self._cycle.give_up(
                job, CardSpoiled(fault.code, SpoilCode.PR4, decision.step, str(fault))
            )
            return State.JAMMED
        return State.AT_CONTACT

    def _note_seen(self, job: Job) -> None:
        """Outcomes that the crash kept from the journal and that the machine has told by now."""
        noted = {line.step for line in self._journal.open_card() if line.phase is Phase.RESULT}
        if Step.FEED not in noted:
            self._journal.result(Step.FEED, *job.key, fed=1, resumed=1)
        if job.is_bound and Step.BIND not in noted:
            self._journal.result(
                Step.BIND, *job.key, chip=job.chip.hex().upper(), card=job.serial, resumed=1
            )

    def _ask_chip(self, job: Job) -> None:
        """A chip that still takes its transport key is written from the start, for the same person only."""
        try:
            blank = self._cycle.is_blank(job)
        except DeviceFault as fault:
            raise CardSpoiled(fault.code, SpoilCode.CH1, Step.CHIP, str(fault)) from fault
        if not blank:
            raise CardSpoiled("P-U04", SpoilCode.PR4, Step.CHIP, "the chip is half written")


def _facts(lines: tuple[Entry, ...], step: Step) -> Mapping[str, Value]:
    """The newest facts noted at a step; empty when there are none."""
    return next((line.facts for line in reversed(lines) if line.step is step), {})


def _when(lines: tuple[Entry, ...], step: Step) -> datetime:
    first = next((line for line in lines if line.step is step), lines[-1])
    return datetime.fromisoformat(first.at)


def claim_of(line: Entry) -> Claim:
    """The claim a journal's CLAIM line was written under; its lease is as old as the line."""
    facts = line.facts
    lease = Lease(
        str(facts["batch"]), line.order, line.station, line.token, datetime.fromisoformat(line.at)
    )
    return Claim(
        work_order=line.order,
        acc_no=str(facts["acc_no"]),
        attempt=int(facts["attempt"]),
        batch=str(facts["batch"]),
        station=line.station,
        operator=str(facts["operator"]),
        tray=str(facts["tray"]),
        lot=str(facts["lot"]),
        template=str(facts["template"]),
        profile=str(facts["profile"]),
        data_sha256=str(facts["data"]),
        lease=lease,
    )
