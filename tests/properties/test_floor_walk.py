"""Thousands of random steps on the floor, I1 to I25 after each; the seed of a failure replays it.

``FLOOR_STEPS`` in the environment makes the long run longer; ``python -m tests.floor_walk`` runs any seed.
"""

import os

import pytest

from tests.floor_walk import Walk


@pytest.mark.slow
def test_the_same_seed_walks_the_same_way_and_breaks_no_rule() -> None:
    first = Walk(1)
    seen, trace = first.run(40), first.trace
    second = Walk(1)  # only now: all walks use one database in memory, one after another
    assert second.run(40) == seen
    assert second.trace == trace


@pytest.mark.slow
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_a_long_walk_meets_everything_and_breaks_no_rule(seed: int) -> None:
    seen = Walk(seed).run(int(os.environ.get("FLOOR_STEPS", "600")))
    for wanted in ("EJECTED", "COUNTED", "UNCERTAIN", "DIFFERENCE", "AT_POINT", "refused E-SOD"):
        assert seen[wanted], f"{wanted} never happened: {seen}"
