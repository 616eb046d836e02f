"""A newcomer clears a ribbon fault with nothing but what the command line says, in either language."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli import main as command_line
from personalization.station_outcome import End, Outcome
from tests.station_floor import RIBBON, Bay, floor

# What a person's hands can do, by the words that ask for it. Nothing else is known to them.
HANDS: dict[str, Callable[[Bay], None]] = {
    "fit a new ribbon": lambda bay: bay.simulator.replace_ribbon(RIBBON),
    "更换色带": lambda bay: bay.simulator.replace_ribbon(RIBBON),
}


class Prompt:
    """A shell in the installation's folder."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._folder, self._patch, self._capsys = folder, monkeypatch, capsys

    def read(self, *words: str) -> str:
        """What the command prints."""
        argv = ["citycard", *words, "--data", str(self._folder)]
        self._patch.setattr(sys, "argv", argv)
        with pytest.raises(SystemExit) as end:
            command_line.main()
        assert end.value.code == 0
        return self._capsys.readouterr().out


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_newcomer_clears_a_ribbon_fault(
    lang: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = Prompt(tmp_path, monkeypatch, capsys)
    done: list[str] = []

    def newcomer(bay: Bay, outcome: Outcome) -> None:
        """Reads the board and does what it says; the outcome's code means nothing to them."""
        assert outcome.end is End.NEEDS_PERSON
        (seen,) = json.loads(prompt.read("station", "status", "S1", "--json"))["stations"]
        asked = [words for words in HANDS if words in seen["sentence"].lower()]
        assert asked, f"the board does not say what to do: {seen['sentence']!r}"
        assert seen["state"] != "READY"
        for words in asked:
            HANDS[words](bay)
            done.append(words)

    with floor(tmp_path) as (bay,):
        station = bay.start()
        station._lang = lang
        bay.simulator.inject("F7 during(m, 300)")
        outcomes = bay.turns(newcomer)
        assert [o.end for o in outcomes].count(End.MADE) == 2
        assert [o.end for o in outcomes].count(End.SPOILED) == 1
    assert len(done) == 1
    # What became of it can be read at the prompt too: one card lost to the ribbon, its remake made.
    (remake,) = json.loads(prompt.read("remake", "list", "--json"))["remakes"]
    assert (remake["because"], remake["attempt"], remake["state"]) == ("PR1", 2, "MADE")
    story = prompt.read("card", "trace", remake["acc_no"])
    assert "PR1" in story
    (seen,) = json.loads(prompt.read("station", "status", "S1", "--json"))["stations"]
    assert (seen["good"], seen["spoiled"], seen["stopped"]) == (2, 1, None)
