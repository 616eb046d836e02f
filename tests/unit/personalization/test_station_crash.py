"""Killed anywhere and started again, a station accounts for every blank (printer.md 6.3; I13)."""

import pytest

from tests.station_crashes import play

LAST = 75  # beyond the last point of any cycle


def points(every: int, first: int = 1) -> range:
    """Numbers of points spread over one cycle of about seventy."""
    return range(first, LAST, every)


def survives(point: int, apdus: int = 0) -> None:
    case, reaper = play(point, apdus)
    assert case.wrong == (), case
    assert ("killed" in case.ends) == (0 < point <= reaper.cycle)


def test_an_undisturbed_cycle_has_all_points() -> None:
    case, reaper = play(0)
    assert case.wrong == ()
    assert case.ends == ("made", "idle")
    assert 60 < reaper.cycle < LAST
    for name in ("bind intent", "panel m", "printer.eject", "commit", "claim result"):
        assert any(name in point for point in reaper.names), name


@pytest.mark.parametrize("point", points(every=18, first=10))
def test_killed_here_and_there(point: int) -> None:
    survives(point)


@pytest.mark.slow
@pytest.mark.parametrize("point", points(every=1))
def test_killed_at_every_point(point: int) -> None:
    survives(point)


@pytest.mark.slow
@pytest.mark.parametrize("point", range(15, LAST, 2))
def test_killed_between_apdus(point: int) -> None:
    """Every twentieth APDU is a point too: a half-written chip never becomes somebody's card."""
    survives(point, apdus=20)
