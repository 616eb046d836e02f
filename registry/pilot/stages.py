"""Stages are data: preparation, pilot, summary, and what each of them allows (residence.md 16)."""

import tomllib
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from importlib import resources
from itertools import pairwise

from core.clock import Clock, business_date
from core.errors import Rejected


class Activity(StrEnum):
    """What may be bound to a stage."""

    TRAIN = "TRAIN"
    SECOND = "SECOND"
    READY = "READY"
    LOAD_FEEDS = "LOAD_FEEDS"
    CENSUS = "CENSUS"
    OPEN = "OPEN"
    ACCEPT = "ACCEPT"
    LAUNCH = "LAUNCH"
    HEARING = "HEARING"
    SUMMARISE = "SUMMARISE"
    END_SECONDMENTS = "END_SECONDMENTS"


@dataclass(frozen=True)
class Stage:
    """One stage, both days included."""

    name: str
    name_zh: str
    first: date
    last: date
    allows: frozenset[Activity]


def parse(text: str) -> tuple[Stage, ...]:
    """Stages of a file in order of time. ValueError when two overlap or one ends before it begins."""
    found = tuple(
        Stage(
            name, table["zh"], table["first"], table["last"],
            frozenset(Activity(one) for one in table["allows"]),
        )
        for name, table in tomllib.loads(text).items()
    )  # fmt: skip
    if any(one.last < one.first for one in found):
        raise ValueError("a stage ends before it begins")
    if any(before.last >= after.first for before, after in pairwise(found)):
        raise ValueError("stages overlap or are out of order")
    return found


@cache
def stages() -> tuple[Stage, ...]:
    """The pilot's stages."""
    return parse(resources.files("registry.pilot").joinpath("stages.toml").read_text("utf-8"))


def stage_on(day: date, all_stages: tuple[Stage, ...] | None = None) -> Stage | None:
    """The stage of a day; None before, between and after."""
    for stage in all_stages or stages():
        if stage.first <= day <= stage.last:
            return stage
    return None


def require_allowed(
    clock: Clock, activity: Activity, all_stages: tuple[Stage, ...] | None = None
) -> Stage:
    """Today's stage, if it allows `activity`. Raises Rejected E-STAGE."""
    stage = stage_on(business_date(clock.now()), all_stages)
    if stage is None or activity not in stage.allows:
        raise Rejected(
            "E-STAGE", f"{activity} is not for this stage", stage=stage.name if stage else "NONE"
        )
    return stage
