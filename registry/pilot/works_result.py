"""What the card centre and the purse showed in the trial run, as the summary takes it (residence.md 16.6, 16.7).

Both are counted by their own systems and handed in; the registers do not know them.
"""

from dataclasses import dataclass
from fractions import Fraction

from registry.pilot.cost import CostModel
from registry.pilot.purse_result import PurseFigures
from registry.points.burst import Line

ENOUGH_CARDS = 100  # below, the plan keeps the assumed waste


@dataclass(frozen=True)
class ProductionFigures:
    """The material balance of all lots, in blanks and cards; `difference` must be 0."""

    opening: int
    good: int
    spoiled: int
    remaining: int
    difference: int
    first_pass: int

    @property
    def spoilage(self) -> Fraction | None:
        """Spoiled of made; None when too few were made to say."""
        made = self.good + self.spoiled
        return Fraction(self.spoiled, made) if made >= ENOUGH_CARDS else None


@dataclass(frozen=True)
class Works:
    """Figures of production and of the purse; None where a system handed nothing in."""

    production: ProductionFigures | None = None
    purse: PurseFigures | None = None

    @property
    def line(self) -> Line:
        """The machine the city's plan counts with: with the measured waste when there is one."""
        measured = self.production.spoilage if self.production else None
        return Line() if measured is None else Line(spoilage=measured)

    @property
    def cost_fen(self) -> Fraction:
        """What a card costs with that waste."""
        return CostModel(spoilage=self.line.spoilage).of_a_card()
