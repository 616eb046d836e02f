"""After a power loss or a crash: is the card printed, is the chip touched (printer.md 6.3)?

A pure decision from three witnesses: the journal's lines about the open card, where the machine says its
card is, and its counters. The fourth, the chip, is asked afterwards where the verdict says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from personalization.states import SpoilCode
from personalization.station_journal import Entry, Phase, Step
from printer.port import Position, PrinterState

HOPPER, REJECT = "hopper", "reject"
MAX_PANELS = 12  # of one card, both faces; a counter further ahead is another machine's


class Verdict(Enum):
    """What is done next."""

    FEED = "no blank has left the feeder: feed, or give the work back"
    ENCODE = "the blank is untouched at the contacts: go on from the bind"
    SEAT = "the blank is inside and untouched: move it to the contacts once"
    ASK_CHIP = "the chip may be half written: ask it"
    PRINT = "the chip is done and no ink is on the card: confirm it where possible, then print"
    REJECT = "the card is given up and is inside: reject box"
    EJECT = "the card is finished and inside: eject, and let quality control look at it"
    REPORT = "the card's end is known: report it"
    JAMMED = "a card is inside and cannot be moved safely: a person takes it out"
    UNCERTAIN = "nobody can say where the card is: two people look for it"


@dataclass(frozen=True)
class Decision:
    """The verdict, and why. `reason` is the spoilage code where the card is given up."""

    verdict: Verdict
    why: str
    reason: SpoilCode = SpoilCode.PR4
    step: Step = Step.FEED


@dataclass(frozen=True)
class Trace:
    """The open card as its journal lines tell it. -1 stands for "not noted"."""

    last: Step
    phase: Phase
    cards_before: int
    panels_before: int
    fed: bool
    bound: bool
    chip_begun: bool
    chip_done: bool
    print_begun: bool
    panels_done: int
    panels_wanted: int
    ejecting: str
    ejected: str
    spoil: SpoilCode | None
    spoil_step: Step


def read_trace(lines: Sequence[Entry]) -> Trace:
    """What the lines since the claim say."""
    facts: dict[str, int | str] = {"cards": -1, "panels": -1, "wanted": 0, "to": "", "out": ""}
    fed = bound = begun = done = printing = False
    inked = 0
    spoil, spoil_step = None, Step.FEED
    for line in lines:
        intent = line.phase is Phase.INTENT
        if line.step is Step.FEED and intent:
            facts |= {"cards": line.facts["cards"], "panels": line.facts["panels"]}
            fed = False
        elif line.step is Step.FEED:
            fed = line.facts.get("fed") != 0
        elif line.step is Step.BIND:
            bound = True
        elif line.step is Step.CHIP:
            begun, done = True, done or not intent
        elif line.step is Step.PRINT and intent:
            printing, inked = True, 0
            facts |= {"panels": line.facts["panels"], "wanted": line.facts["wanted"]}
        elif line.step is Step.PRINT:
            inked += 1
        elif line.step is Step.EJECT:
            facts["to" if intent else "out"] = line.facts["to"]
        elif line.step is Step.SPOIL:
            spoil, spoil_step = SpoilCode(str(line.facts["reason"])), Step(str(line.facts["at"]))
    last = lines[-1]
    return Trace(
        last.step, last.phase, int(facts["cards"]), int(facts["panels"]), fed, bound, begun, done,
        printing, inked, int(facts["wanted"]), str(facts["to"]), str(facts["out"]), spoil, spoil_step,
    )  # fmt: skip


def decide(lines: Sequence[Entry], machine: PrinterState) -> Decision:
    """One row of the table of printer.md 6.3. `lines` are the open card's, oldest first, not empty."""
    trace = read_trace(lines)
    if trace.ejected:
        return Decision(Verdict.REPORT, f"ejected to {trace.ejected}", *_spoil(trace))
    odd = _odd_counters(trace, machine)
    if odd:
        return Decision(Verdict.UNCERTAIN, odd, *_spoil(trace))
    inside = machine.position is not Position.NONE
    if trace.ejecting or trace.spoil:
        return _ending(trace, machine, inside)
    if trace.cards_before < 0 or (trace.last is Step.FEED and not trace.fed):
        return _feeding(trace, machine, inside)
    if not inside:
        return Decision(
            Verdict.UNCERTAIN, "the card has left the machine", SpoilCode.UN1, trace.last
        )
    if machine.position is Position.UNKNOWN:
        return Decision(
            Verdict.JAMMED, "a card is between two positions", SpoilCode.PR4, trace.last
        )
    if trace.print_begun:
        return _printing(trace, machine)
    if trace.chip_done:
        if machine.panels != trace.panels_before:
            return Decision(Verdict.REJECT, "ink nobody ordered", SpoilCode.PR5, Step.PRINT)
        return Decision(Verdict.PRINT, "encoded, unprinted", step=Step.PRINT)
    if machine.position is not Position.CONTACT:
        if trace.bound:
            return Decision(Verdict.REJECT, "the chip may be half written", step=Step.CHIP)
        return Decision(Verdict.SEAT, "the blank is away from the contacts")
    if trace.bound:
        return Decision(Verdict.ASK_CHIP, "writing may have begun", step=Step.CHIP)
    return Decision(Verdict.ENCODE, "the blank is untouched")


def _spoil(trace: Trace) -> tuple[SpoilCode, Step]:
    return (trace.spoil or SpoilCode.UN1, trace.spoil_step if trace.spoil else trace.last)


def _odd_counters(trace: Trace, machine: PrinterState) -> str:
    """Counters that went back, or ran ahead: a changed board, or another machine."""
    if trace.cards_before >= 0 and not 0 <= machine.cards - trace.cards_before <= 1:
        return f"{machine.cards - trace.cards_before} cards were taken in"
    if trace.panels_before >= 0 and not 0 <= machine.panels - trace.panels_before <= MAX_PANELS:
        return f"{machine.panels - trace.panels_before} panels were printed"
    return ""


def _feeding(trace: Trace, machine: PrinterState, inside: bool) -> Decision:
    taken = 0 if trace.cards_before < 0 else machine.cards - trace.cards_before
    if not inside and taken == 0:
        return Decision(Verdict.FEED, "no blank has moved")
    if not inside:
        return Decision(Verdict.UNCERTAIN, "a blank left the machine", SpoilCode.UN1)
    if taken == 0:
        return Decision(Verdict.UNCERTAIN, "a card is inside that no feed brought", SpoilCode.UN1)
    if machine.position is Position.CONTACT:
        return Decision(Verdict.ENCODE, "the blank arrived")
    if machine.position is Position.UNKNOWN:
        return Decision(Verdict.JAMMED, "the blank is stuck", SpoilCode.PR4)
    return Decision(Verdict.SEAT, "the blank is away from the contacts")


def _printing(trace: Trace, machine: PrinterState) -> Decision:
    done = machine.panels - trace.panels_before
    if done == 0 and trace.panels_done == 0:
        return Decision(Verdict.PRINT, "no ink yet", step=Step.PRINT)
    if done == trace.panels_done == trace.panels_wanted and machine.position is Position.PRINT:
        return Decision(Verdict.EJECT, "every panel was acknowledged", step=Step.EJECT)
    return Decision(Verdict.REJECT, f"{done} panels of {trace.panels_wanted}", step=Step.PRINT)


def _ending(trace: Trace, machine: PrinterState, inside: bool) -> Decision:
    """The card was on its way out, or given up."""
    code, step = _spoil(trace)
    if not inside:
        return Decision(
            Verdict.UNCERTAIN, f"on its way to the {trace.ejecting or REJECT}", code, step
        )
    if machine.position is Position.UNKNOWN:
        return Decision(Verdict.JAMMED, "stuck on its way out", trace.spoil or SpoilCode.PR2, step)
    if trace.spoil:
        return Decision(Verdict.REJECT, "it was given up", code, step)
    return Decision(Verdict.EJECT, "it was on its way to the hopper", step=Step.EJECT)
