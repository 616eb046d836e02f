"""The whole purse network at once: random steps with faults at every arrow, and the off-line day.

Bigger runs are one command each: ``python -m tests.purse_model --steps 1000000 --seeds 50`` and ``python -m
tests.purse_day --terminals 200 --purchases 10000``.
"""

import sys
from pathlib import Path

import pytest

from tests.purse_day import Day
from tests.purse_model import run, summarize, table
from tests.purse_works import PATIENT, PurseWorks

CI_SEEDS, CI_STEPS = 10, 2_000  # 20,000 steps in all


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> PurseWorks:
    return PurseWorks(tmp_path_factory.mktemp("works"), limits=PATIENT)


def test_a_short_run_of_the_network_comes_to_rest(works: PurseWorks) -> None:
    report = run(works, seed=900, steps=120)
    assert report.problems == []
    assert report.loads.get("CONFIRMED", 0) > 0
    assert report.purchases.get("POSTED", 0) > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(CI_SEEDS))
def test_twenty_thousand_steps_with_faults_at_every_arrow(works: PurseWorks, seed: int) -> None:
    report = run(works, seed, CI_STEPS)
    sys.stdout.write("\n" + table(summarize([report])))
    assert report.problems == []
    happened = report.told
    for fault in ("pulled", "terminal stops", "host restarts", "host stops at a commit"):
        assert happened[fault] > 0
    for fate in ("request", "answer", "twice", "late", "garbled", "broken", "old"):
        assert happened[f"line: {fate}"] > 0


def test_a_small_day_off_line_comes_out_to_the_fen(works: PurseWorks) -> None:
    figures = Day(works, terminals=4, purchases=60, seed=2).run()
    assert figures.problems == []
    assert figures.duplicates > 0


@pytest.mark.slow
def test_a_day_off_line_with_everybody_uploading_at_once(works: PurseWorks, tmp_path: Path) -> None:
    figures = Day(works, terminals=50, purchases=2_000, seed=3).run()
    sys.stdout.write(f"\n{figures}\n")
    assert figures.problems == []
    assert figures.torn > 0
