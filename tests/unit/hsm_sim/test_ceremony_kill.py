"""kill -9 and lost power at the syncs of two ceremonies: a step is done and logged, or not done."""

import pytest

from tests.ceremony_kill import Outcome, matrix, trial

SYNCS_AT_LEAST = 80


def require_whole(outcomes: list[Outcome]) -> None:
    """Every restart found keys as logged (else it raised), every use bounded, every bundle clean."""
    for outcome in outcomes:
        assert outcome.findings == (), outcome.row()
        assert outcome.uses_bounded, outcome.row()


@pytest.mark.slow
def test_killed_at_some_syncs():
    outcomes = matrix(40, lambda row: None, first=12)
    assert len({outcome.sync for outcome in outcomes}) >= 2
    require_whole(outcomes)


@pytest.mark.slow
def test_killed_at_every_sync():
    outcomes = matrix(1, lambda row: None)
    assert max(outcome.sync for outcome in outcomes) >= SYNCS_AT_LEAST
    require_whole(outcomes)
    assert any(outcome.answered > outcome.counted for outcome in outcomes)


def test_past_the_last_sync_there_is_no_trial(tmp_path):
    assert trial(tmp_path, 10_000, "before") is None
