"""What a card costs: the fee may not exceed it (residence.md 12.1). Exact, in fen.

`(blank with chip + consumables + labour + share of the equipment) / yield`; the values are assumptions of the
pilot's budget and stand here as one named set, to be replaced by invoices.
"""

from dataclasses import dataclass
from fractions import Fraction

from registry.points.burst import Line


@dataclass(frozen=True)
class CostModel:
    """Fen a card, except `equipment_fen`: all machines, spread over the cards of their life."""

    blank_fen: int = 1_100
    consumables_fen: int = 280
    labour_fen: int = 350
    equipment_fen: int = 90_000_000
    cards_of_a_life: int = 156_315
    spoilage: Fraction = Line().spoilage

    def of_a_card(self) -> Fraction:
        """Fen of one good card. ValueError without cards or when everything is waste."""
        if self.cards_of_a_life <= 0 or not 0 <= self.spoilage < 1:
            raise ValueError("no card would be good")
        share = Fraction(self.equipment_fen, self.cards_of_a_life)
        made = self.blank_fen + self.consumables_fen + self.labour_fen + share
        return made / (1 - self.spoilage)
