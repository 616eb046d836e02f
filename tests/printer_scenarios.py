"""All 28 faults of printer.md 4.2: how each is injected, what the host does, and what must come of it.

`python -m tests.printer_scenarios` writes docs/printer-faults.md; a test compares the document with the code.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cardos.slot import Slot
from core.clock import FixedClock
from core.errors import CityError
from core.faults import explain
from printer.commands import EvolisPrinter
from printer.port import Destination, Panel, PrinterFault, Side
from printer.sim.faults import TITLES
from printer.timing import INSTANT
from tests.printer_bench import LAUNCH, Bench, bench, picture

DOCUMENT = Path(__file__).parents[1] / "docs" / "printer-faults.md"
SHOWN_LINES = 12
PANELS = tuple(Panel)


@dataclass(frozen=True)
class Scenario:
    """One fault. `run` returns what a person should know afterwards; faults it raises are part of the story.

    `steady` is False where the transcript depends on how fast the machine running it is.
    """

    number: int
    script: str
    run: Callable[[Bench], str]
    end: str
    options: dict[str, Any]
    prepared: str = ""
    steady: bool = True
    name: str = ""


def feed(b: Bench) -> str:
    state = b.printer.feed()
    return f"fed: {state.position.value}, {state.cards} cards taken, chip {_chip(b)}"


def feed_and_reseat(b: Bench) -> str:
    b.printer.feed()
    missing = _chip(b)
    b.printer.feed(reseat=True)
    return f"chip {missing} at first, {_chip(b)} after reseating"


def show(b: Bench) -> str:
    b.printer.print(PANELS)
    state = b.printer.state()
    return f"printed: {state.panels} panels, {state.position.value}"


def out(b: Bench) -> str:
    b.printer.eject(Destination.HOPPER)
    return f"ejected: {len(b.simulator.machine.hopper)} in the hopper"


def reject(b: Bench) -> str:
    b.printer.eject(Destination.REJECT)
    return f"rejected: {len(b.simulator.machine.reject_box)} in the reject box"


def load(b: Bench) -> str:
    b.printer.load(picture(), Side.FRONT)
    b.printer.print(PANELS)
    b.printer.eject(Destination.HOPPER)
    return f"made: {len(b.simulator.machine.hopper)} in the hopper"


def reattach(b: Bench) -> str:
    """A host that comes back after the line died."""
    try:
        b.printer.feed()
    except PrinterFault as fault:
        first = fault.code
    else:
        raise AssertionError("the line should have died")
    b.simulator.power_on()
    b.printer.identify()
    state = b.printer.state()
    return f"{first}, then attached: {state.position.value}, reset {state.just_reset}"


def other_speed(b: Bench) -> str:
    probing = EvolisPrinter(b.simulator.url, FixedClock(LAUNCH), timing=INSTANT)
    b.printer.close()
    try:
        identity = probing.identify()
        b.printer._link.transcript.extend(probing.transcript)
        return f"{identity.serial} found at {probing._session.wire.baud} baud"
    finally:
        probing.close()


def twins(b: Bench) -> str:
    """The second card carries the first one's chip."""
    b.make()
    b.printer.feed()
    first, second = b.simulator.machine.hopper[0], b.simulator.machine.inside
    assert second is not None
    return f"{first.card_id} and {second.card_id} both show chip {second.chip_serial}"


def swapped(b: Bench) -> str:
    return "hopper: " + " ".join(card.card_id for card in b.simulator.machine.hopper)


def neighbours(b: Bench) -> str:
    b.printer.feed()
    neighbour = b.simulator.machine.bench.neighbour
    assert isinstance(neighbour, Slot)
    seen = {True: "a card", False: "nothing"}
    return f"own reader sees {seen[b.slot.present()]}, {neighbour.name} sees {seen[neighbour.present()]}"


def warned(b: Bench) -> str:
    return f"warnings: {', '.join(b.printer.state().warnings) or 'none'}"


def _chip(b: Bench) -> str:
    return "present" if b.slot.present() else "absent"


def scenarios() -> list[Scenario]:
    """In the order of printer.md 4.2; some faults at several moments."""
    lost = "P-L05, then attached: "
    return [
        _s(1, "F1 on(Sis)", feed, "P-F01 BLOCKED"),
        _s(2, "F2 on(Sis)", feed, "fed: contact station, 1 cards taken, chip present"),
        _s(2, "F2 on(Sis)\nF2 on(Sis, 2)", feed, "P-F02 BLOCKED", name="twice"),
        _s(3, "F3 on(Sis)", feed, "P-F03 UNCERTAIN"),
        _s(4, "F4 on(Sis)", feed, "P-M04 JAMMED"),
        _s(4, "F4 during(m, 100)", show, "P-M03 JAMMED", "loaded", name="under the head"),
        _s(5, "F5 on(Sis)", feed_and_reseat, "chip absent at first, present after reseating"),
        _s(6, "F6 on(Sis)", neighbours, "own reader sees nothing, station 2 sees a card"),
        _s(7, "F7 during(m, 300)", show, "P-R02 SPOILED", "loaded"),
        _s(8, "F8 during(c, 10)", show, "P-R03 SPOILED", "loaded"),
        _s(9, "F9", feed, "P-R04 BLOCKED"),
        _s(10, "F10", feed, "P-C01 BLOCKED"),
        _s(10, "F10 during(k, 500)", show, "P-C02 SPOILED", "loaded", name="while printing"),
        _s(11, "F11 on(Se)", out, "P-H01 FULL", "printed"),
        _s(12, "F12 on(Ser)", reject, "P-H02 FULL", "loaded"),
        _s(13, "F13", feed, "P-T01 BLOCKED"),
        _s(13, "F13 during(c, 200)", show, "P-T02 SPOILED", "loaded", name="mid card"),
        _s(14, "F14", reattach, lost + "no card, reset True"),
        _s(14, "F14 on(Sis)", reattach, lost + "no card, reset True", name="before feeding"),
        _s(14, "F14 done(Sis)", reattach, lost + "contact station, reset True", name="at the contacts"),
        _s(14, "F14 during(m, 500)", show, "P-L05 OFFLINE", "loaded", name="mid panel"),
        _s(14, "F14 done(Sp)", show, "P-L05 OFFLINE", "loaded", name="before the acknowledgement"),
        _s(14, "F14 done(Se)", out, "P-L05 OFFLINE", "printed", name="while ejecting"),
        _s(15, "F15", reattach, lost + "no card, reset False"),
        _s(16, "F16 on(Sp, 2)", show, "printed: 5 panels, print position", "loaded", steady=False),
        _s(17, "F17 after(30000)", load, "made: 1 in the hopper", "fed", steady=False),
        _s(18, "F18 on(Sis)", feed, "fed: contact station, 1 cards taken, chip present"),
        _s(18, "F18 on(Sp, 2)", show, "printed: 5 panels, print position", "loaded", name="of a panel"),
        _s(18, "F18 on(Se)", out, "ejected: 1 in the hopper", "printed", name="of the eject"),
        _s(18, "F18 on(Dbc, 2)", load, "made: 1 in the hopper", "fed", name="of a download", steady=False),
        _s(19, "F19 on(Sp, 3)", show, "printed: 5 panels, print position", "loaded"),
        _s(20, "F20 after(30000)", load, "made: 1 in the hopper", "fed", steady=False),
        _s(21, "F21 after(30000)", load, "made: 1 in the hopper", "fed", steady=False),
        _s(22, "F22 on(Sis)", feed, "P-U05 UNCERTAIN"),
        _s(23, "F23", feed, "fed: contact station, 1 cards taken, chip present"),
        _s(24, "F24", feed, "P-K02 BLOCKED"),
        _s(25, "F25", other_speed, "CCS300-0001 found at 38400 baud", steady=False),
        _s(26, "F26 on(Sp, 2)", show, "printed: 5 panels, print position", "loaded", steady=False),
        _s(27, "F27 on(Sis, 2)", twins, "B0001 and B0002 both show chip 0000000000000001"),
        _s(28, "F28", swapped, "hopper: B0002 B0001", "two made"),
    ]  # fmt: skip


def _s(
    number: int,
    script: str,
    run: Callable[[Bench], str],
    end: str,
    prepared: str = "",
    *,
    steady: bool = True,
    name: str = "",
) -> Scenario:
    options = {"neighbour": Slot("station 2")} if number == 6 else {}
    return Scenario(number, script, run, end, options, prepared, steady, name)


@cache
def play(place: int) -> tuple[str, list[str], str]:
    """Run the scenario in that place of the list: the outcome in words, the wire, the operator's sentence."""
    scenario = scenarios()[place]
    with bench(cards=4, **scenario.options) as b:
        _prepare(b, scenario.prepared)
        b.simulator.inject(scenario.script)
        b.printer._link.transcript.clear()
        sentence = ""
        try:
            outcome = scenario.run(b)
        except CityError as error:
            situation = error.situation.name if isinstance(error, PrinterFault) else ""
            outcome = f"{error.code} {situation}".strip()
            sentence = "".join(explain(error, "zh")).replace(b.simulator.url, "PORT")
        with b.simulator.machine.changed:
            b.simulator.machine.check()
        assert b.simulator.machine.incidents == []
        return outcome, b.wire(), sentence


def _prepare(b: Bench, stage: str) -> None:
    if stage == "two made":
        b.make()
        b.make()
    elif stage == "fed":
        b.printer.feed()
    elif stage in ("loaded", "printed"):
        face = b.fed_and_loaded()
        if stage == "printed":
            b.printer.print(face.panels())


def document() -> str:
    """The page, made from the runs."""
    parts = [_HEAD]
    for place, scenario in enumerate(scenarios()):
        outcome, wire, sentence = play(place)
        moment = f", {scenario.name}" if scenario.name else ""
        parts.append(f"\n## F{scenario.number} {TITLES[scenario.number]}{moment}\n")
        prepared = {"": "a machine without a card", "fed": "a card at the contacts"}.get(
            scenario.prepared, f"a card {scenario.prepared}"
        )
        parts.append(f"Start: {prepared}. Script: `{scenario.script.replace(chr(10), '`, `')}`\n")
        if scenario.steady:
            parts.append("```\n" + "\n".join(_decisive(wire)) + "\n```\n")
        parts.append(f"Outcome: **{outcome}**\n")
        if sentence:
            parts.append(f"Operator: {sentence}\n")
    return "\n".join(parts)


def _decisive(wire: list[str]) -> list[str]:
    """From the fault on: the lines around the first odd reply, else the last ones."""
    odd = next(
        (n for n, line in enumerate(wire) if re.match(r"< (NAK|silence|noise)|- line", line)), None
    )
    if odd is None:
        return wire[-SHOWN_LINES:] or ["(nothing went over the line)"]
    return wire[max(0, odd - 1) : odd + SHOWN_LINES - 1]


_HEAD = """# The printer's faults, one by one

Made by `python -m tests.printer_scenarios` from runs of the driver against the simulator; a test keeps the
page true. `>` goes to the printer, `<` comes from it. Where no transcript is shown it depends on how fast
the computer is. Every run ends with all cards accounted for.

Faults are armed by script (`PrinterSimulator.inject`): `F7` at once, `F7 on(Sp, 2)` at the second `Sp`,
`F14 done(Se)` after the next `Se` but before its reply, `F7 during(m, 300)` at line 300 of the magenta panel,
`F17 after(30000)` after so many bytes, `F13 at(12.5)` at a virtual second,
`F16 with_probability(0.01, 7)` at each command with that chance and seed.
"""


if __name__ == "__main__":
    DOCUMENT.write_text(document(), "utf-8")
    sys.stdout.write(f"{DOCUMENT}\n")
