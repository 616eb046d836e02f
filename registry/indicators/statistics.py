"""Shares, intervals, estimates and verdicts (residence.md 15). Pure, and exact where a verdict depends on it.

A share is two whole numbers; whether it reaches a target is decided by multiplication, so that 79.99 % is
never 80 %. Intervals are floats and shown as such.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

Z95 = 1.959963984540054
DRAWS = 1_000
LOWER, UPPER = 0.025, 0.975
MAX_CLUSTERS = 1_000_000


class Verdict(StrEnum):
    """What a figure says against its target."""

    MET = "MET"
    LIKELY = "LIKELY"
    NOT_MET = "NOT_MET"
    NO_DENOMINATOR = "NO_DENOMINATOR"
    REPORT = "REPORT"  # no target: the figure is reported


class Method(StrEnum):
    """How a figure was found."""

    CENSUS = "census"
    SAMPLE = "sample"
    ESTIMATE = "estimate"


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval of a share, 0 to 1."""

    low: float
    high: float


def reaches(numerator: Fraction | int, denominator: Fraction | int, target: Fraction) -> bool:
    """Whether a share is at least `target`, exactly.

    >>> reaches(7999, 10000, Fraction(80, 100)), reaches(8000, 10000, Fraction(80, 100))
    (False, True)
    """
    return Fraction(numerator) >= target * Fraction(denominator)


def wilson(successes: int, trials: int) -> Interval:
    """Wilson's 95 % score interval. ValueError without trials or with more successes than trials.

    >>> found = wilson(485, 500)
    >>> f"{found.low:.4f} {found.high:.4f}"
    '0.9511 0.9817'
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError("successes lie between 0 and the trials")
    share = successes / trials
    spread = Z95 * Z95 / trials
    middle = share + spread / 2
    half = Z95 * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return Interval((middle - half) / (1 + spread), (middle + half) / (1 + spread))


def smallest_sample(observed: Fraction, target: Fraction, most: int = 100_000) -> int:
    """The smallest simple random sample for which `observed` earns MET against `target`.

    The number of successes is the observed share of it, rounded half up. ValueError when no sample of
    `most` does.

    >>> [smallest_sample(Fraction(share, 100), Fraction(95, 100)) for share in (96, 97, 98, 99)]
    [1736, 414, 173, 110]
    """
    for trials in range(1, most + 1):
        successes = min(trials, math.floor(observed * trials + Fraction(1, 2)))
        if wilson(successes, trials).low >= target:
            return trials
    raise ValueError("no sample is large enough")


@dataclass(frozen=True)
class Cluster:
    """One visited unit of a stratum: people found, and those of them who are registered there."""

    stratum: str
    found: int
    registered: int


def stratified_totals(
    units: dict[str, int], visited: Sequence[Cluster]
) -> tuple[Fraction, Fraction]:
    """Estimated persons registered and living there: ``sum(N/n * y)``, ``sum(N/n * x)`` over strata.

    `units` has N by stratum. Exact, so that a verdict is.
    """
    if len(visited) > MAX_CLUSTERS:
        raise ValueError(f"at most {MAX_CLUSTERS} clusters")
    counts: dict[str, list[int]] = {}
    for cluster in visited:
        sums = counts.setdefault(cluster.stratum, [0, 0, 0])
        sums[0] += 1
        sums[1] += cluster.registered
        sums[2] += cluster.found
    numerator = denominator = Fraction(0)
    for stratum, (seen, registered, found) in counts.items():
        weight = Fraction(units[stratum], seen)
        numerator += weight * registered
        denominator += weight * found
    return numerator, denominator


def stratified_share(units: dict[str, int], visited: Sequence[Cluster]) -> Fraction | None:
    """The quotient of `stratified_totals`; None when nobody was found."""
    registered, living = stratified_totals(units, visited)
    return registered / living if living else None


def bootstrap(
    units: dict[str, int], visited: Sequence[Cluster], seed: int, draws: int = DRAWS
) -> Interval:
    """Interval of `stratified_share` by drawing whole units anew within each stratum, `draws` times.

    The seed is stored with the figure, so that anybody gets the same interval. ValueError without visits.
    """
    strata: dict[str, list[Cluster]] = {}
    for cluster in visited:
        strata.setdefault(cluster.stratum, []).append(cluster)
    if not strata:
        raise ValueError("nothing was visited")
    dice = random.Random(seed)  # noqa: S311 - resampling, reproducible from the stored seed
    # whole weights in place of N/n: the quotient is the same, and a thousand draws are quick
    common = math.lcm(*(len(members) for members in strata.values()))
    weighed = [(units[name] * common // len(members), members) for name, members in strata.items()]
    shares = []
    for _ in range(draws):
        registered = living = 0
        for weight, members in weighed:
            drawn = [dice.choice(members) for _ in members]
            registered += weight * sum(one.registered for one in drawn)
            living += weight * sum(one.found for one in drawn)
        if living:
            shares.append(registered / living)
    shares.sort()
    if not shares:
        raise ValueError("nobody was found in any visited unit")
    return Interval(
        shares[int(LOWER * len(shares))], shares[min(int(UPPER * len(shares)), len(shares) - 1)]
    )


@dataclass(frozen=True)
class DualSystem:
    """Chapman's estimate of a population from two registers. It assumes that the registers are independent."""

    estimate: Fraction
    standard_error: float


def dual_system(first: int, second: int, matched: int) -> DualSystem:
    """``(a+1)(b+1)/(m+1) - 1`` and its standard error. ValueError when more match than either has.

    >>> found = dual_system(98_000, 105_000, 84_000)
    >>> round(float(found.estimate)), round(found.standard_error, 1)
    (122500, 71.4)
    """
    if not 0 <= matched <= min(first, second):
        raise ValueError("matched records are in both registers")
    estimate = Fraction((first + 1) * (second + 1), matched + 1) - 1
    variance = Fraction(
        (first + 1) * (second + 1) * (first - matched) * (second - matched),
        (matched + 1) ** 2 * (matched + 2),
    )
    return DualSystem(estimate, math.sqrt(variance))


def judge(
    numerator: Fraction | int,
    denominator: Fraction | int,
    target: Fraction | None,
    method: Method,
    interval: Interval | None = None,
) -> Verdict:
    """The verdict of a share. A sample is MET by its interval's lower end, LIKELY by the share alone."""
    if not denominator:
        return Verdict.NO_DENOMINATOR
    if target is None:
        return Verdict.REPORT
    if not reaches(numerator, denominator, target):
        return Verdict.NOT_MET
    if method is Method.CENSUS:
        return Verdict.MET
    if method is Method.SAMPLE and interval is not None and interval.low >= target:
        return Verdict.MET
    return Verdict.LIKELY
