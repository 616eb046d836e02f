"""A station: one printer, one reader, one journal; it takes work and turns blanks into cards (printer.md 3.3).

`run_once` brings one card to its end, or says what keeps the station from it and what a person does next.
Whatever happens, the station knows or says that it does not know: a doubt becomes a spoiled or an uncertain
card, never an optimistic "probably fine" (production.md 6). For one thread.
"""

from core.errors import CityError, DeviceFault, Rejected, Unavailable
from core.faults import explain
from personalization import artwork
from personalization.plastic import Spoil
from personalization.states import SpoilCode
from personalization.station_cycle import CardSpoiled, Cycle, Equipment, Job, WrongReader
from personalization.station_desk import Desk, Task, Told
from personalization.station_journal import Step
from personalization.station_outcome import End, Outcome, outcome_of
from personalization.station_preparation import Preparation
from personalization.station_recovery import HOPPER, REJECT
from personalization.station_resume import Resume
from personalization.station_states import ALLOWED, HOLDS_CARD, State, reason_of
from personalization.studio import Studio
from personalization.work import Made
from printer.port import Position, PrinterFault, PrinterState, Situation

HELD_BACK = frozenset({"W-STOPPED", "W-DRAINING"})


class Station:
    """See the module. `lang` is the language of the sentences on the board.

    `studio` draws cards ahead; stations of one process and one `template` may share it.
    """

    def __init__(
        self, equipment: Equipment, desk: Desk, template: artwork.Template | None = None,
        lang: str = "en", studio: Studio | None = None,
    ) -> None:  # fmt: skip
        self._with = equipment
        self._desk = desk
        self._journal = equipment.journal
        self._cycle = Cycle(equipment)
        drawings = studio or Studio(template or artwork.released())
        self._preparation = Preparation(equipment, desk, drawings)
        self._lang = lang
        self._state = State.OFFLINE
        self._job: Job | None = None
        self.last: PrinterState | None = None

    @property
    def name(self) -> str:
        """The station's name."""
        return self._journal.station

    @property
    def state(self) -> State:
        """What it is doing."""
        return self._state

    @property
    def job(self) -> Job | None:
        """The card in the making."""
        return self._job

    # -- one turn ---------------------------------------------------------------------------------------

    def run_once(self) -> Outcome:
        """One card to its end, or what is in the way. May be called again and again, whatever came before."""
        try:
            return self._turn()
        except PrinterFault as fault:
            return self._machine_fault(fault)
        except WrongReader as fault:
            self._desk.stop("S-READER", reader=str(fault.facts["reader"]))
            return self._lost(fault)
        except DeviceFault as fault:  # no reader: where the card is, the next turn finds out
            return self._lost(fault)
        except Unavailable as fault:
            return self._outcome(End.WAITING, fault)
        except Rejected as refusal:
            if refusal.code not in HELD_BACK:
                raise
            return self._outcome(End.STOPPED, refusal)

    def _turn(self) -> Outcome:
        if self._state is State.OFFLINE:
            self._attach()
        if self._job is not None and self._job.out:
            return self._report(self._job)
        if self._state is State.UNCERTAIN:
            return self._look_for_verdict()
        if self._state is State.JAMMED:
            return self._outcome(End.NEEDS_PERSON, None, "P-M03")
        if self._state is State.BLOCKED:
            self._look_again()
        if self._state is State.BLOCKED:
            return self._outcome(End.NEEDS_PERSON, None, self._warning())
        if self._job is None and not self._take():
            return Outcome(End.IDLE)
        return self._make()

    def _take(self) -> bool:
        """Claim and prepare; False when there is nothing to do. Rejected W-STOPPED, W-DRAINING."""
        task = self._desk.take()
        if task is None:
            return False
        self._accept(task)
        return True

    def _accept(self, task: Task) -> None:
        claim = task.claim
        self._journal.result(
            Step.CLAIM, claim.work_order, claim.token, acc_no=claim.acc_no, attempt=claim.attempt,
            batch=claim.batch, tray=claim.tray, lot=claim.lot, template=claim.template,
            profile=claim.profile, data=claim.data_sha256, operator=claim.operator,
        )  # fmt: skip
        self._job = self._preparation.job(task)

    def _make(self) -> Outcome:
        """Drive the card from state to state until it is out, or somebody is needed."""
        job = self._job
        assert job is not None
        while not job.out:
            try:
                if self._state is State.READY:
                    if not self._feed(job):
                        return self._dropped(job)
                elif self._state is State.AT_CONTACT:
                    self._encode(job)
                elif self._state is State.POSITIONING:
                    self._print(job)
                else:
                    self._eject(job)
            except CardSpoiled as spoil:
                self._cycle.give_up(job, spoil)
                self._go(State.EJECTING)
        return self._report(job)

    # -- steps of a card --------------------------------------------------------------------------------

    def _feed(self, job: Job) -> bool:
        """False when the work order is no longer ours: then nothing is fed."""
        claim = self._desk.may_feed(job.claim)
        if claim is None:
            return False
        job.claim = claim
        self._go(State.FEEDING)
        self._cycle.feed(job)
        self._go(State.AT_CONTACT)
        return True

    def _encode(self, job: Job) -> None:
        channel = self._cycle.seat(job)
        try:
            if not job.is_bound:
                if not self._chip_is_new(job):
                    raise CardSpoiled("CHIP-KNOWN", SpoilCode.CH6, Step.FEED, "known chip")
                self._preparation.spend(job.serial)
                self._cycle.bind(job)
            self._go(State.ENCODING)
            self._cycle.encode(job, channel)
        finally:
            channel.close()
        self._go(State.POSITIONING)

    def _chip_is_new(self, job: Job) -> bool:
        """Asks the database; while it is away the journal's own chips are compared (the report asks again)."""
        try:
            return self._desk.fed(job.claim, job.chip.hex().upper())
        except Rejected as refusal:
            if refusal.code != "LEASE-LOST":
                raise
            raise CardSpoiled("LEASE-LOST", SpoilCode.UN1, Step.FEED, "an old token") from refusal
        except Unavailable:
            return job.chip.hex().upper() not in self._journal.facts(Step.BIND, "chip")

    def _print(self, job: Job) -> None:
        self._go(State.PRINTING)
        self._preparation.look_ahead()
        self._cycle.print(job, job.reload, lambda _panel: None)
        self._go(State.PRINTED)
        if not self._token_holds(job):
            raise CardSpoiled("LEASE-LOST", SpoilCode.UN1, Step.EJECT, "an old token")
        self._go(State.EJECTING)

    def _token_holds(self, job: Job) -> bool:
        """Whether the card may go to the good hopper. A database that is away is asked at the report."""
        try:
            claim = self._desk.still_ours(job.claim)
        except Unavailable:
            return True
        if claim is not None:
            job.claim = claim
        return claim is not None

    def _eject(self, job: Job) -> None:
        self._cycle.eject(job)
        self._go(State.READY)

    # -- ends ----------------------------------------------------------------------------------------------

    def _report(self, job: Job) -> Outcome:
        """Tell the database, then close the card in the journal. Repeated until it succeeds."""
        if job.out == HOPPER and job.spoil is None:
            try:
                self._desk.made(
                    job.claim,
                    Made(job.chip.hex().upper(), job.serial, job.seconds, self._ribbon()),
                    self._told(""),
                )
                return self._done(job, End.MADE)
            except Rejected as refusal:
                late = CardSpoiled(refusal.code, SpoilCode.UN1, Step.EJECT, str(refusal))
                self._cycle.give_up(job, late)
        spoil = job.spoil
        assert spoil is not None
        self._desk.failed(
            job.claim,
            Spoil(
                spoil.reason, spoil.step.value, f"{self.name}-{job.out}", note=spoil.code,
                ribbon=self._ribbon(),
            ),
            job.seen,
            self._told(" ".join(explain(spoil, self._lang))),
        )  # fmt: skip
        return self._done(job, End.SPOILED, spoil)

    def _done(self, job: Job, end: End, fault: CityError | None = None) -> Outcome:
        self._journal.result(Step.DONE, *job.key, end=end.value)
        self._job = None
        return self._outcome(end, fault, job=job)

    def _dropped(self, job: Job) -> Outcome:
        """The lease went to somebody else before anything was fed."""
        self._desk.unfed(job.claim)
        return self._done(job, End.IDLE, Rejected("LEASE-LOST", "an old token"))

    def release(self) -> None:
        """Give unfed work back, for example when the station drains while it is blocked."""
        job = self._job
        if job is not None and job.fed == 0:
            self._desk.unfed(job.claim)
            self._done(job, End.IDLE)

    def _machine_fault(self, fault: PrinterFault) -> Outcome:
        """What a fault means for the card inside (printer.md 3.3); the machine is never asked twice to move."""
        job, situation = self._job, fault.situation
        if situation is Situation.OFFLINE or job is None:
            return self._lost(fault)
        if situation is Situation.UNCERTAIN:
            return self._uncertain(job, fault)
        if situation is Situation.JAMMED:
            self._cycle.give_up(job, self._strike(fault))
            self._go(State.JAMMED)
        elif self._state is State.EJECTING or situation is Situation.FULL:
            pass  # it stays inside; the eject is repeated when the cause is gone
        elif situation is Situation.BLOCKED:
            self._go(State.BLOCKED)
        else:
            self._cycle.give_up(job, self._strike(fault))
            self._go(State.EJECTING)
            return self.run_once()
        outcome = self._outcome(End.NEEDS_PERSON, fault, job=job)
        self._say(outcome.sentence)
        return outcome

    def _strike(self, fault: PrinterFault) -> CardSpoiled:
        step = {
            State.FEEDING: Step.FEED, State.AT_CONTACT: Step.FEED, State.ENCODING: Step.CHIP,
            State.EJECTING: Step.EJECT,
        }.get(self._state, Step.PRINT)  # fmt: skip
        return CardSpoiled(fault.code, reason_of(fault), step, str(fault))

    def _uncertain(self, job: Job, fault: CityError) -> Outcome:
        self._go(State.UNCERTAIN)
        self._desk.uncertain(job.claim, fault.code, job.seen)
        outcome = self._outcome(End.UNCERTAIN, fault, job=job)
        self._say(outcome.sentence)
        return outcome

    def _look_for_verdict(self) -> Outcome:
        """UNCERTAIN ends only when two people have said what became of the card."""
        job = self._job
        assert job is not None
        if not self._desk.is_resolved(job.claim):
            return self._outcome(End.NEEDS_PERSON, None, "P-U04", job)
        self._journal.result(Step.RESOLVE, *job.key)
        self._go(State.RESYNC)
        self._settle(self._with.printer.state())
        return self._done(job, End.UNCERTAIN)

    def card_removed(self) -> Outcome:
        """An operator took a stuck card out through the cover: it is waste, wherever it lies now.

        Raises Rejected S-NOT-JAMMED when no card was stuck or one is still inside.
        """
        job = self._job
        self.last = self._with.printer.state()
        if (
            self._state is not State.JAMMED
            or job is None
            or self.last.position is not Position.NONE
        ):
            raise Rejected("S-NOT-JAMMED", self._state.value, station=self.name)
        self._journal.result(Step.EJECT, *job.key, to=REJECT, by="operator")
        job.out = REJECT
        self._go(State.RESYNC)
        self._settle(self.last)
        return self._report(job)

    def clean(self) -> Outcome:
        """A cleaning cycle between two cards. Rejected S-BUSY with a card inside, or without a cleaner."""
        if self._with.clean is None or self._state not in (State.READY, State.BLOCKED):
            raise Rejected("S-BUSY", self._state.value, station=self.name)
        if self._state is State.BLOCKED:
            self._go(State.READY)
        self._go(State.CLEANING)
        try:
            self._with.clean()
        except PrinterFault as fault:
            if fault.situation is Situation.OFFLINE:
                return self._lost(fault)
            self._go(State.BLOCKED)
            return self._outcome(End.NEEDS_PERSON, fault)
        self._settle(self._with.printer.state())
        return Outcome(End.IDLE)

    # -- attach and look -------------------------------------------------------------------------------------

    def _attach(self) -> None:
        """Open the machine, enter the floor, and account for a card a crash left open (printer.md 6)."""
        identity = self._with.printer.identify()
        self._go(State.RESYNC)
        try:
            self._desk.attach(identity.serial, self._with.reader.name)
            self.last = self._with.printer.state()
            found = Resume(
                self._journal, self._desk, self._cycle, self._preparation.job, self._with.clock
            ).run(self.last)
        except BaseException:
            self._state = State.OFFLINE
            raise
        self._job = found.job
        if found.state is State.READY:
            self._settle(self._with.printer.state())
        else:
            self._go(found.state)

    def _settle(self, machine: PrinterState) -> None:
        """READY, or BLOCKED by what the machine warns of."""
        self.last = machine
        self._go(State.BLOCKED if machine.warnings else State.READY)

    def _look_again(self) -> None:
        self.last = self._with.printer.state()
        if self.last.position is not Position.NONE:
            raise PrinterFault("P-U05", Situation.OFFLINE, "a card is inside a blocked machine")
        if not self.last.warnings:
            self._go(State.READY)
            self._say("")

    def _warning(self) -> str:
        return self.last.warnings[0] if self.last is not None and self.last.warnings else "P-F01"

    def _lost(self, fault: CityError) -> Outcome:
        """The machine does not answer: the journal keeps the open step, the next turn attaches anew."""
        self._state = State.OFFLINE
        job, self._job = self._job, None
        return self._outcome(End.NEEDS_PERSON, fault, job=job)

    # -- words -----------------------------------------------------------------------------------------------

    def _go(self, to: State) -> None:
        """An unlisted step is a bug and stops the station."""
        if to is not self._state and to not in ALLOWED[self._state]:
            raise AssertionError(f"{self._state.value} does not lead to {to.value}")
        self._state = to
        self._with.neighbourhood.note(self._with.reader.name, to in HOLDS_CARD)

    def _ribbon(self) -> str | None:
        return None if self.last is None else self.last.ribbon

    def _told(self, sentence: str) -> Told:
        return Told(self._state.value, sentence, self.last)

    def _say(self, sentence: str) -> None:
        """For the board; a database that is away hears it next time."""
        try:
            self._desk.say(self._told(sentence))
        except Unavailable:
            return

    def _outcome(
        self, end: End, fault: CityError | None, code: str = "", job: Job | None = None
    ) -> Outcome:
        shown = fault or (Rejected(code) if code else None)
        return outcome_of(end, shown, job or self._job, self._lang)
