"""The recovery table of printer.md 6.3, row by row, and what no row may ever do."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personalization.station_journal import FIRST_HASH, Entry, Phase, Step
from personalization.station_recovery import Verdict, decide
from printer.port import Position, PrinterState

INTENT, RESULT = Phase.INTENT, Phase.RESULT
CARDS, PANELS, WANTED = 100, 500, 6
FEED = (Step.FEED, INTENT, {"cards": CARDS, "panels": PANELS})
FED = (Step.FEED, RESULT, {"fed": 1})
BIND = (Step.BIND, INTENT, {"chip": "00", "card": "00"})
CHIP, ENCODED = (Step.CHIP, INTENT, {}), (Step.CHIP, RESULT, {"files": 11})
PRINT = (Step.PRINT, INTENT, {"panels": PANELS, "wanted": WANTED})
PANEL = (Step.PRINT, RESULT, {"panel": "front/y"})
OUT, GONE = (Step.EJECT, INTENT, {"to": "hopper"}), (Step.EJECT, RESULT, {"to": "hopper"})
SPOIL = (Step.SPOIL, INTENT, {"reason": "PR1", "at": "print", "code": "P-R02"})
REJECT = (Step.EJECT, INTENT, {"to": "reject"})
CYCLE = (FEED, FED, BIND, CHIP, ENCODED, PRINT, *[PANEL] * WANTED, OUT, GONE)
NONE, CONTACT, AT_HEAD, LOST = Position.NONE, Position.CONTACT, Position.PRINT, Position.UNKNOWN


def lines(*steps: tuple) -> list[Entry]:
    claim = (Step.CLAIM, RESULT, {})
    return [
        Entry("S1", number, "", step, phase, "w", 1, facts, FIRST_HASH)
        for number, (step, phase, facts) in enumerate((claim, *steps), 1)
    ]


def machine(position: Position, cards: int = 0, panels: int = 0) -> PrinterState:
    return PrinterState(
        position, CARDS + cards, PANELS + panels, "ymckok", 9, (), (), "OK", just_reset=True
    )


TABLE = [
    ("claim", (), machine(NONE), Verdict.FEED),
    ("feed intent, blank never left", (FEED,), machine(NONE), Verdict.FEED),
    ("feed intent, blank left untouched", (FEED,), machine(NONE, 1), Verdict.UNCERTAIN),
    ("feed intent, at the contacts", (FEED,), machine(CONTACT, 1), Verdict.ENCODE),
    ("feed intent, elsewhere", (FEED,), machine(AT_HEAD, 1), Verdict.SEAT),
    ("feed intent, stuck", (FEED,), machine(LOST, 1), Verdict.JAMMED),
    ("bound, at the contacts", (FEED, FED, BIND), machine(CONTACT, 1), Verdict.ASK_CHIP),
    ("chip step, at the contacts", (FEED, FED, BIND, CHIP), machine(CONTACT, 1), Verdict.ASK_CHIP),
    ("chip step, elsewhere", (FEED, FED, BIND, CHIP), machine(AT_HEAD, 1), Verdict.REJECT),
    ("chip ok, at the contacts", CYCLE[:5], machine(CONTACT, 1), Verdict.PRINT),
    ("chip ok, at the head", CYCLE[:5], machine(AT_HEAD, 1), Verdict.PRINT),
    ("chip ok, ink nobody ordered", CYCLE[:5], machine(AT_HEAD, 1, 1), Verdict.REJECT),
    ("print intent, no ink", CYCLE[:6], machine(AT_HEAD, 1), Verdict.PRINT),
    ("one panel acknowledged", CYCLE[:7], machine(AT_HEAD, 1, 1), Verdict.REJECT),
    ("torn inside a panel", CYCLE[:7], machine(AT_HEAD, 1, 2), Verdict.REJECT),
    ("all panels acknowledged", CYCLE[:12], machine(AT_HEAD, 1, WANTED), Verdict.EJECT),
    ("all panels but the last line", CYCLE[:11], machine(AT_HEAD, 1, WANTED), Verdict.REJECT),
    ("eject intent, gone", CYCLE[:13], machine(NONE, 1, WANTED), Verdict.UNCERTAIN),
    ("eject intent, inside", CYCLE[:13], machine(AT_HEAD, 1, WANTED), Verdict.EJECT),
    ("ejected", CYCLE, machine(NONE, 1, WANTED), Verdict.REPORT),
    ("given up, inside", (*CYCLE[:7], SPOIL), machine(AT_HEAD, 1, 1), Verdict.REJECT),
    ("reject intent, gone", (*CYCLE[:7], SPOIL, REJECT), machine(NONE, 1, 1), Verdict.UNCERTAIN),
    ("counters went back", (FEED,), machine(NONE, -1), Verdict.UNCERTAIN),
    ("two cards taken", (FEED,), machine(CONTACT, 2), Verdict.UNCERTAIN),
    ("another machine's panels", CYCLE[:6], machine(AT_HEAD, 1, 40), Verdict.UNCERTAIN),
]


@pytest.mark.parametrize(
    ("name", "steps", "state", "verdict"), TABLE, ids=[row[0] for row in TABLE]
)
def test_row(name: str, steps: tuple, state: PrinterState, verdict: Verdict) -> None:
    assert decide(lines(*steps), state).verdict is verdict, name


def test_a_spoiled_card_keeps_its_first_reason() -> None:
    decision = decide(lines(*CYCLE[:7], SPOIL), machine(AT_HEAD, 1, 1))
    assert (decision.reason, decision.step) == ("PR1", Step.PRINT)


@settings(derandomize=True, max_examples=400, deadline=None)
@given(
    length=st.integers(0, len(CYCLE)),
    position=st.sampled_from(list(Position)),
    cards=st.integers(-1, 3),
    panels=st.integers(-1, 14),
)
def test_no_doubt_becomes_a_good_card(
    length: int, position: Position, cards: int, panels: int
) -> None:
    """Whatever the witnesses say, nothing is printed or ejected as good unless everything agrees."""
    verdict = decide(lines(*CYCLE[:length]), machine(position, cards, panels)).verdict
    if verdict is Verdict.EJECT:
        assert length >= 12
        assert position is not NONE
    if verdict is Verdict.PRINT:
        assert panels == 0
        assert length in (5, 6)
    if verdict in (Verdict.FEED, Verdict.ENCODE, Verdict.SEAT):
        assert length < 3
    if verdict is Verdict.FEED:
        assert position is NONE
        assert cards <= 0 or length == 0


def test_every_pair_of_crash_and_position_has_a_verdict() -> None:
    for length, position in product(range(len(CYCLE) + 1), Position):
        assert decide(lines(*CYCLE[:length]), machine(position, 1, 0)).why
