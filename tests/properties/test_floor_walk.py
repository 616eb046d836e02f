"""Thousands of random steps on the floor, I1 to I25 after each; the seed of a failure replays it.

``FLOOR_STEPS`` in the environment makes the long run longer; ``python -m tests.floor_walk`` runs any seed.
"""

import os
from collections import Counter

import pytest

from core.db import Database
from tests.floor_bench import centre
from tests.floor_walk import EPOCH, ORDERS, Walk


@pytest.mark.slow
def test_the_same_seed_walks_the_same_way_and_breaks_no_rule() -> None:
    first = Walk(1)
    seen, trace = first.run(40), first.trace
    second = Walk(1)  # only now: all walks use one database in memory, one after another
    assert second.run(40) == seen
    assert second.trace == trace


@pytest.mark.slow
def test_long_walks_break_no_rule_and_together_meet_everything() -> None:
    steps = int(os.environ.get("FLOOR_STEPS", "600"))
    seen = sum((Walk(seed).run(steps) for seed in (11, 12, 13)), Counter[str]())
    for wanted in ("EJECTED", "COUNTED", "UNCERTAIN", "DIFFERENCE", "AT_POINT", "refused E-SOD"):
        assert seen[wanted], f"{wanted} never happened: {seen}"


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("seed", [21, 22])
def test_a_walk_on_postgresql_breaks_no_rule(postgres: Database, seed: int) -> None:
    """One floor, as long as one lives; there rows are locked, and statements wait for each other."""
    seen = Walk(seed, fresh=lambda: centre(postgres, ORDERS, ordered=ORDERS)).run(EPOCH)
    assert seen["EJECTED"], seen
