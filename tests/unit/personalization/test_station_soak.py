"""Floors under a mix of faults; the books, the piles, the pictures and the chips agree afterwards."""

from pathlib import Path

import pytest

from tests.station_soak import soak


def test_a_small_floor(tmp_path: Path) -> None:
    done = soak(tmp_path, cards=4, stations=2, pause=1)
    assert done.wrong == ()
    assert done.faults >= 2


@pytest.mark.slow
def test_a_floor_of_four(tmp_path: Path) -> None:
    """Sixty cards here; `python -m tests.station_soak --cards 200 --pcsc` is the long form."""
    done = soak(tmp_path, cards=60, stations=4, pause=1)
    assert done.wrong == ()
    assert done.faults >= 20
