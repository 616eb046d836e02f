"""The city-wide plan 全市推行工作方案: the pilot's sizing per district (residence.md 12.3, 16.12).

Districts are data; a second one needs no code. Cards a day and machines come from `points.burst`.
"""

import tomllib
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib import resources

from registry.parameters import PILOT, Policy
from registry.points import burst
from registry.points.burst import Line

WINDOW_CARDS_A_DAY = 60  # 8 hours, 8 minutes each


@dataclass(frozen=True)
class District:
    """A district by its six digits. `sourced` tells published people from assumed ones."""

    code: str
    name_zh: str
    name_en: str
    people: int
    share_percent: int
    days: int
    sourced: bool


@dataclass(frozen=True)
class Phase:
    """What one district's wave needs. Money in fen."""

    district: str
    cards: int
    cards_a_day: int
    machines: int
    windows: int
    fees_fen: int
    sourced: bool


def parse(text: str) -> tuple[District, ...]:
    """Districts of a file. ValueError for a wrong code, share or span."""
    found = tuple(District(code=code, **entry) for code, entry in tomllib.loads(text).items())
    for one in found:
        good = len(one.code) == 6 and one.code.isdigit() and one.people > 0 and one.days > 0
        if not good or not 0 < one.share_percent <= 100:
            raise ValueError(f"district {one.code} has a wrong value")
    return found


@cache
def districts() -> tuple[District, ...]:
    """The districts of the plan."""
    return parse(resources.files("registry.pilot").joinpath("districts.toml").read_text("utf-8"))


def plan(
    areas: tuple[District, ...], line: Line | None = None, policy: Policy = PILOT
) -> list[Phase]:
    """One phase per district, in the order given; `line` carries the measured waste and speed."""
    machine = line or Line()
    found = []
    for area in areas:
        share = Fraction(area.share_percent, 100)
        daily = burst.cards_a_day(area.people, share, area.days)
        cards = int(area.people * share)
        found.append(
            Phase(
                area.code, cards, daily, burst.machines(daily, machine),
                -(-daily // WINDOW_CARDS_A_DAY), cards * policy.fee_new_fen, area.sourced,
            )
        )  # fmt: skip
    return found
