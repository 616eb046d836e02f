"""Where the demo's readers come from: real PC/SC where it can be had, in process where it cannot."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from core.errors import Unavailable
from runtime import pcscd
from runtime.demo import slots


def test_in_process_slots_are_given_out_once(tmp_path: Path) -> None:
    with ExitStack() as closing:
        found = slots.open_slots("direct", 2, closing, tmp_path)
        hands = [found.take("a"), found.take("b")]
        assert found.kind == "direct"
        assert len({id(hand) for hand, _ in hands}) == 2
        with pytest.raises(Unavailable, match="CARD-NO-SLOT"):
            found.take("c")


@pytest.mark.parametrize("absent", ["not installed", "no state directory"])
def test_auto_falls_back_and_pcsc_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    nowhere = tmp_path / "not" / "there"
    if absent == "not installed":
        monkeypatch.setattr(pcscd, "PCSCD", nowhere)
    else:
        monkeypatch.setattr(pcscd, "STATE_DIRECTORY", nowhere)
    with ExitStack() as closing:
        assert slots.open_slots("auto", 2, closing, tmp_path).kind == "direct"
        with pytest.raises(Unavailable, match="CARD-PCSCD-MISSING"):
            slots.open_slots("pcsc", 2, closing, tmp_path)
