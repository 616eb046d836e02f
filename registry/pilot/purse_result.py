"""Whether the purse may go on to other uses: a table computed from its figures, never typed (SD-53)."""

from dataclasses import dataclass
from fractions import Fraction

REFUSED_AT_MOST = Fraction(2, 100)
ENOUGH_PURCHASES = 1_000


@dataclass(frozen=True)
class PurseFigures:
    """What clearing counted over the trial run. Differences in fen.

    `refused`: purchases held back and requests the host refused; `refusals`: the latter by response code.
    """

    purchases: int
    refused: int
    unexplained: int
    difference_fen: int
    refusals: tuple[tuple[str, int], ...] = ()


def go_no_go(figures: PurseFigures | None) -> list[tuple[str, str, bool]]:
    """(criterion, figure, met); the answer is yes only when all are met, and no without figures."""
    if figures is None:
        return [("figures of clearing", "none handed in", False)]
    tried = figures.purchases + figures.refused
    few = bool(tried) and figures.refused <= REFUSED_AT_MOST * tried
    return [
        ("purchases", f"{figures.purchases} of {ENOUGH_PURCHASES}", figures.purchases >= ENOUGH_PURCHASES),
        ("refused at most 2 %", f"{figures.refused} of {tried}", few),
        ("unexplained transactions", str(figures.unexplained), figures.unexplained == 0),
        ("difference in clearing, fen", str(figures.difference_fen), figures.difference_fen == 0),
    ]  # fmt: skip
