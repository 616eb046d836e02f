"""The 23 acceptance points as data (residence.md 11)."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from core.errors import NotFound
from registry.identifiers import valid_point

COUNT = 23


OPENS, CLOSES = 9, 17  # o'clock, on working days (18.2: eight hours)
WINDOWS = {"police": 3, "rental": 2}
STREETS = {  # by the 9-digit code, in both languages
    "440308003": ("沙头角街道", "Shatoujiao"), "440308004": ("海山街道", "Haishan"),
    "440308002": ("盐田街道", "Yantian"), "440308001": ("梅沙街道", "Meisha"),
}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """One acceptance point. `kind` police or rental; `street` the 9-digit street code."""

    code: str
    kind: str
    name_zh: str
    name_en: str
    street: str

    @property
    def windows(self) -> int:
        """How many windows accept applications."""
        return WINDOWS[self.kind]


@cache
def all_points() -> tuple[Point, ...]:
    """All points in order of their codes; a wrong file is a bug."""
    text = resources.files("registry.points").joinpath("points.toml").read_text("utf-8")
    found = tuple(Point(**entry) for entry in tomllib.loads(text)["point"])
    if len(found) != COUNT or len({point.code for point in found}) != COUNT:
        raise AssertionError("there are 23 different points")
    if any(not valid_point(point.code) for point in found):
        raise AssertionError("a point's code is outside the ranges")
    return found


def by_code(code: str) -> Point:
    """Raises NotFound E-POINT."""
    for point in all_points():
        if point.code == code:
            return point
    raise NotFound("E-POINT", "no such acceptance point")
