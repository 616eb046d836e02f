"""Stations for the floor's model: physical truth (where every plastic really is) and a journal, no devices.

A station does what a real one does around each act: intent, act, result; a power cut may come before the
act, after it, or after the result, and what it knew is gone. `wake` then decides from the journal and from
where the card is, by the table of printer.md 6.3.
"""

from dataclasses import dataclass, field
from enum import Enum

from core.errors import Rejected
from personalization import serials, work
from personalization.plastic import Spoil
from personalization.states import SpoilCode
from personalization.station_journal import Entry, Phase, Step
from personalization.work import Claim, Made, Seen
from tests.floor_bench import OPERATOR, Centre

FEEDER, INSIDE, HOPPER, REJECT, FLOOR, BAG, GONE = (
    "feeder", "inside", "hopper", "reject", "floor", "bag", "gone",
)  # fmt: skip
ORDER = (Step.FEED, Step.BIND, Step.CHIP, Step.PRINT, Step.EJECT)


class Cut(Enum):
    """When the power fails."""

    NONE = "none"
    BEFORE = "before the act"
    AFTER = "after the act"
    LATE = "after the result"


@dataclass
class Body:
    """A plastic as it really is."""

    chip: str
    batch: str
    where: str = FEEDER
    station: str = ""
    printed: str = ""  # card serial in the QR code
    inked: bool = False
    whole: bool = False


@dataclass
class World:
    """All plastics."""

    bodies: list[Body] = field(default_factory=list)

    def load(self, centre: Centre, batch: str, station: str, quantity: int) -> None:
        """A tray goes into the feeder: blanks of one batch and lot are alike from then on."""
        for _ in range(quantity):
            self.bodies.append(Body(centre.next_chip(), batch, FEEDER, station))

    def at(self, where: str, **values: str) -> list[Body]:
        return [
            body
            for body in self.bodies
            if body.where == where
            and all(getattr(body, name) == value for name, value in values.items())
        ]


@dataclass
class ModelStation:
    """One station; `claim` and `seen` are what it remembers, the journal is what it can prove."""

    centre: Centre
    world: World
    name: str
    powered: bool = True
    online: bool = True
    claim: Claim | None = None
    seen: Seen = field(default_factory=Seen)
    body: Body | None = None
    spoil: Spoil | None = None
    doubt: str = ""
    block: list[str] = field(default_factory=list)
    spent: set[str] = field(default_factory=set)  # numbers of its own binds, reported or not
    done: tuple[Step, ...] = ()
    claims: dict[tuple[str, int], Claim] = field(
        default_factory=dict
    )  # what claim lines say in full

    # -- work --------------------------------------------------------------------------------------------

    def take(self) -> str:
        """Claim, when idle and on line."""
        if not (self.powered and self.online) or self.claim is not None:
            return "busy"
        with self.centre.db.write() as tx:
            try:
                claim = work.held(tx, self.name) or work.claim(
                    tx, self.centre.clock, self.name, OPERATOR
                )
            except Rejected as refusal:
                return refusal.code
            if claim is None:
                return "nothing"
            self.block = serials.lease_block(tx, self.centre.clock, self.name, claim.lot)
        self._begin(claim)
        self._write(Step.CLAIM, Phase.RESULT)
        return "claimed"

    def _begin(self, claim: Claim) -> None:
        self.claim, self.seen, self.body, self.spoil = claim, Seen(), None, None
        self.doubt, self.done = "", ()

    @property
    def next_step(self) -> Step | None:
        """The act that comes next; None when only the report is left."""
        if self.claim is None or self.doubt or Step.EJECT in self.done:
            return None
        if self.spoil is not None:
            return Step.EJECT if self.body is not None else None
        return ORDER[len(self.done)]

    def act(self, cut: Cut, fails: SpoilCode | None = None) -> None:
        """One device act with its two lines; `fails` spoils the card in it."""
        step = self.next_step
        if not self.powered or step is None or self.claim is None:
            return
        if step is Step.FEED and not self._feeder():
            return  # the feeder is empty: BLOCKED, no card is consumed
        if step is Step.FEED and self.online and not self._still_ours():
            return
        facts = self._facts(step)
        self._write(step, Phase.INTENT, **facts)
        if cut is Cut.BEFORE:
            self.cut_power()
            return
        self._move(step)
        if cut is Cut.AFTER:
            self.cut_power()
            return
        if fails is not None and step not in (Step.FEED, Step.EJECT):
            self.spoil = Spoil(fails, step.value, f"box-{self.name}")
            self._write(Step.SPOIL, Phase.RESULT, reason=fails.value)
        else:
            self._write(step, Phase.RESULT, **({"fed": 1} if step is Step.FEED else facts))
            self.done = (*self.done, step)
        if cut is Cut.LATE:
            self.cut_power()

    def _still_ours(self) -> bool:
        """The last look before the feed; a lost claim is forgotten with nothing fed."""
        assert self.claim is not None
        try:
            with self.centre.db.write() as tx:
                self.claim = work.renew(tx, self.centre.clock, self.claim)
        except Rejected:
            self.claim = None
            return False
        return True

    def _feeder(self) -> list[Body]:
        assert self.claim is not None
        return self.world.at(FEEDER, batch=self.claim.batch, station=self.name)

    def _facts(self, step: Step) -> dict[str, str | int]:
        if step is Step.BIND:
            assert self.body is not None
            serial = next(number for number in self.block if number not in self.spent)
            self.spent.add(serial)
            self.seen = Seen(self.body.chip, serial)
            return {"chip": self.body.chip, "card": serial}
        if step is Step.EJECT:
            return {"to": "hopper" if self.spoil is None else "reject"}
        return {}

    def _move(self, step: Step) -> None:
        """What really happens to the plastic."""
        if step is Step.FEED:
            self.body = self._feeder()[0]
            self.body.where, self.body.station = INSIDE, self.name
            return
        assert self.body is not None
        if step is Step.PRINT:
            self.body.inked = True
            self.body.printed = self.seen.card_serial or ""
            self.body.whole = True
        if step is Step.EJECT:
            self.body.where = HOPPER if self.spoil is None else REJECT

    # -- power -------------------------------------------------------------------------------------------

    def cut_power(self) -> None:
        """Everything it knew is gone; the plastic stays where it is."""
        self.powered = False
        self.claim, self.seen, self.body, self.spoil, self.doubt, self.done = (
            None, Seen(), None, None, "", (),
        )  # fmt: skip

    def wake(self) -> None:
        """Power is back: what was in flight is read from the journal and from the machine."""
        self.powered = True
        lines = self._open_lines()
        if not lines:
            return
        with self.centre.db.read() as tx:
            held = work.held(tx, self.name)
        claim = held if held is not None and held.token == lines[0].token else None
        if claim is None:
            claim = self.claims[lines[0].order, lines[0].token]
        self._begin(claim)
        self._conclude(lines)

    def _open_lines(self) -> list[Entry]:
        entries = self.centre.diaries[self.name].entries
        for place in range(len(entries) - 1, -1, -1):
            if entries[place].step is Step.DONE:
                return []
            if entries[place].step is Step.CLAIM:
                return entries[place:]
        return []

    def _conclude(self, lines: list[Entry]) -> None:
        """printer.md 6.3: go on, reject, or say that nobody knows."""
        inside = self.world.at(INSIDE, station=self.name)
        self.body = inside[0] if inside else None
        done = {line.step for line in lines if line.phase is Phase.RESULT}
        begun = {line.step for line in lines if line.phase is Phase.INTENT}
        for line in lines:
            if line.step is Step.BIND:
                self.seen = Seen(str(line.facts["chip"]), str(line.facts["card"]))
        waste = Spoil(SpoilCode.PR4, "power", f"box-{self.name}")
        ways = [line.facts["to"] for line in lines if line.step is Step.EJECT]
        if Step.SPOIL in done or "reject" in ways:
            self.spoil = waste
        if Step.FEED not in begun or (Step.FEED not in done and self.body is None):
            if Step.FEED in begun:
                self._write(Step.FEED, Phase.RESULT, fed=0)
            return
        if Step.FEED not in done:
            self._write(Step.FEED, Phase.RESULT, fed=1)
            done.add(Step.FEED)
        if Step.EJECT in done:
            self.done = ORDER
        elif self.body is None:
            self.doubt = "the card is not inside and no answer came"
        elif (begun - done) & {Step.BIND, Step.CHIP, Step.PRINT}:
            self.spoil = waste
        else:
            self.done = tuple(step for step in ORDER if step in done)

    # -- reports -----------------------------------------------------------------------------------------

    def report(self, answer_lost: bool = False) -> str:
        """Say what became of the card; with `answer_lost` the commit stands and the station does not know."""
        if not (self.powered and self.online) or self.claim is None or self.next_step is not None:
            return "not now"
        claim, clock = self.claim, self.centre.clock
        said = "made"
        try:
            with self.centre.db.write() as tx:
                self.centre.import_journal(tx, self.name)
                if self.doubt:
                    said = "uncertain"
                    work.uncertain(tx, clock, claim, self.doubt, self.seen)
                elif self.spoil is not None:
                    said = "failed"
                    work.failed(tx, clock, claim, self.spoil, self.seen)
                else:
                    chip, card = self.seen.chip_serial or "", self.seen.card_serial or ""
                    work.made(tx, clock, claim, Made(chip, card, 38.0, "R-1"))
        except Rejected as refusal:
            if refusal.code != "LEASE-LOST":
                raise
            said = "late"
            self._late(claim)
        if not answer_lost:
            self._write(Step.DONE, Phase.RESULT)
            self.claim = None
        return said

    def _late(self, claim: Claim) -> None:
        """Not ours any more: the good card is taken out of the hopper and is waste."""
        body = next(one for one in self.world.bodies if one.chip == self.seen.chip_serial)
        body.where, body.whole = REJECT, False
        with self.centre.db.write() as tx:
            self.centre.import_journal(tx, self.name)
            late = Spoil(SpoilCode.UN1, "late", f"box-{self.name}")
            work.failed(tx, self.centre.clock, claim, late, self.seen)

    def give_up(self) -> None:
        """A claim without a feed goes back."""
        if not (self.powered and self.online) or self.claim is None or self.done or self.doubt:
            return
        if self.body is not None:
            return
        with self.centre.db.write() as tx:
            self.centre.import_journal(tx, self.name)
            try:
                work.unfed(tx, self.centre.clock, self.claim)
            except Rejected as refusal:
                if refusal.code not in ("LEASE-LOST", "W-STATE"):  # another's by now, or ended
                    raise
        self._write(Step.DONE, Phase.RESULT)
        self.claim = None

    def _write(self, step: Step, phase: Phase, **facts: str | int) -> None:
        assert self.claim is not None
        self.claims[self.claim.work_order, self.claim.token] = self.claim
        self.centre.diaries[self.name].write(step, phase, self.claim, **facts)
