"""Shares, intervals and verdicts against the numbers of residence.md 15."""

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.indicators.statistics import (
    Cluster,
    Interval,
    Method,
    Verdict,
    bootstrap,
    dual_system,
    judge,
    reaches,
    smallest_sample,
    stratified_share,
    wilson,
)

P95 = Fraction(95, 100)


def verdict(successes: int, trials: int, target: Fraction = P95) -> Verdict:
    return judge(successes, trials, target, Method.SAMPLE, wilson(successes, trials))


@pytest.mark.parametrize(
    ("successes", "low", "high", "said"),
    [
        (485, 0.9511, 0.9817, Verdict.MET),
        (481, 0.9414, 0.9755, Verdict.LIKELY),
        (475, 0.9272, 0.9659, Verdict.LIKELY),
    ],
)
def test_the_pages_wilson_intervals(successes: int, low: float, high: float, said: Verdict) -> None:
    found = wilson(successes, 500)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert verdict(successes, 500) is said


def test_one_less_is_not_met() -> None:
    assert verdict(474, 500) is Verdict.NOT_MET


@pytest.mark.parametrize(("percent", "size"), [(96, 1_736), (97, 414), (98, 173), (99, 110)])
def test_the_smallest_sample_that_earns_met(percent: int, size: int) -> None:
    assert smallest_sample(Fraction(percent, 100), P95) == size


@pytest.mark.parametrize(
    ("numerator", "target", "said"),
    [
        (7_999, 80, Verdict.NOT_MET), (8_000, 80, Verdict.MET),
        (8_499, 85, Verdict.NOT_MET), (8_500, 85, Verdict.MET),
        (9_499, 95, Verdict.NOT_MET), (9_500, 95, Verdict.MET),
    ],
)  # fmt: skip
def test_a_census_is_never_rounded_up(numerator: int, target: int, said: Verdict) -> None:
    assert judge(numerator, 10_000, Fraction(target, 100), Method.CENSUS) is said


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.integers(1, 100))
def test_reaching_is_exact(numerator: int, denominator: int, percent: int) -> None:
    assert reaches(numerator, denominator, Fraction(percent, 100)) == (
        numerator * 100 >= percent * denominator
    )


def test_nothing_is_said_without_a_denominator() -> None:
    assert judge(0, 0, P95, Method.CENSUS) is Verdict.NO_DENOMINATOR
    assert judge(1, 2, None, Method.CENSUS) is Verdict.REPORT


def test_an_estimate_alone_is_at_most_likely() -> None:
    assert judge(99, 100, P95, Method.ESTIMATE) is Verdict.LIKELY


def test_the_dual_system_vector() -> None:
    found = dual_system(98_000, 105_000, 84_000)
    assert round(found.estimate) == 122_500
    assert round(found.standard_error, 1) == 71.4
    assert not reaches(98_000, found.estimate, Fraction(85, 100))
    with pytest.raises(ValueError, match="both registers"):
        dual_system(5, 5, 6)


def test_strata_count_by_their_size() -> None:
    visits = [Cluster("large", 10, 10), Cluster("small", 10, 0)]
    assert stratified_share({"large": 900, "small": 100}, visits) == Fraction(9, 10)
    assert stratified_share({"large": 1}, [Cluster("large", 0, 0)]) is None


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(200):
        dice = random.Random(seed)
        visits = []
        for _ in range(60):
            found = dice.randint(1, 6)
            visits.append(Cluster("s", found, sum(dice.random() < 0.96 for _ in range(found))))
        interval = bootstrap({"s": 1_000}, visits, seed, draws=100)
        covered += interval.low <= 0.96 <= interval.high
    assert 170 <= covered <= 200


def test_the_same_seed_gives_the_same_interval() -> None:
    visits = [Cluster("s", 5, n % 6) for n in range(30)]
    assert bootstrap({"s": 90}, visits, 7) == bootstrap({"s": 90}, visits, 7)
    assert isinstance(bootstrap({"s": 90}, visits, 7), Interval)
