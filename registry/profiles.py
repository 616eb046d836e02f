"""Rule profiles: the same facts under the rules of 2007, 2008, 2014 and 2016 (residence.md 21).

A profile is data (``profiles.toml``): for each of the eight rules one strategy class below with its values. A
value that a strategy does not know, or a rule without a strategy, is a bug of the file and is told at reading.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any, Protocol

from core.errors import NotFound
from registry.residence.domain import Basis, PermitType, add_months, add_working_days

MONTHS = 12


@dataclass(frozen=True)
class Facts:
    """What is known of one applicant on one day. Months of insurance count in the last 12 and the last 24."""

    day: date
    resident_since: date
    grounds: frozenset[Basis] = frozenset()
    stable_home: bool = False
    stable_job: bool = False
    insured_12: int = 0
    insured_24: int = 0


class Lapse(StrEnum):
    """What becomes of a permit that nobody confirms or whose ground is gone."""

    DORMANT = "DORMANT"
    SUSPENDED = "SUSPENDED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True)
class StayDays:
    """So many days of residence."""

    days: int

    def met(self, facts: Facts) -> bool:
        return facts.day - facts.resident_since >= timedelta(days=self.days)


@dataclass(frozen=True)
class StayMonths:
    """So many months of registered residence."""

    months: int

    def met(self, facts: Facts) -> bool:
        return add_months(facts.resident_since, self.months) <= facts.day


@dataclass(frozen=True)
class AnyGround:
    """One ground of a list is enough."""

    grounds: list[str]

    def met(self, facts: Facts) -> bool:
        return bool({ground.name for ground in facts.grounds} & set(self.grounds))


@dataclass(frozen=True)
class StableHomeAndJob:
    """A stable home and a stable job (so many months insured, or so many of 24), or a ground that replaces both."""

    insured_months: int
    of_24_months: int
    instead: list[str]

    def met(self, facts: Facts) -> bool:
        if {ground.name for ground in facts.grounds} & set(self.instead):
            return True
        insured = facts.insured_12 >= self.insured_months or facts.insured_24 >= self.of_24_months
        return facts.stable_home and insured


@dataclass(frozen=True)
class StableHomeOrJobOrStudy:
    """A stable job, a stable home, or study."""

    def met(self, facts: Facts) -> bool:
        return facts.stable_home or facts.stable_job or Basis.STUDY in facts.grounds


@dataclass(frozen=True)
class TwoTypes:
    """A long permit for a ground, a temporary one for who lives here without one yet."""

    years: int
    months: int

    def kind(self, ground: bool) -> tuple[PermitType, int]:
        """Type and validity in months."""
        return (PermitType.RP, self.years * MONTHS) if ground else (PermitType.TRP, self.months)


@dataclass(frozen=True)
class OneType:
    """One type only: without the ground there is none."""

    years: int

    def kind(self, ground: bool) -> tuple[PermitType, int] | None:
        return (PermitType.RP, self.years * MONTHS) if ground else None


@dataclass(frozen=True)
class NoEndorsement:
    """Nothing to confirm: the registers do it."""

    def window(self, issued: date) -> tuple[date, date] | None:
        del issued
        return None


@dataclass(frozen=True)
class PeriodicUpdate:
    """Information is confirmed by the end of every so many months."""

    months: int

    def window(self, issued: date) -> tuple[date, date] | None:
        return issued, add_months(issued, self.months)


@dataclass(frozen=True)
class YearlyWindow:
    """An endorsement in the days before each full year."""

    days_before: int

    def window(self, issued: date) -> tuple[date, date] | None:
        due = add_months(issued, MONTHS)
        return due - timedelta(days=self.days_before), due


@dataclass(frozen=True)
class FactsLapse:
    """The dormancy engine decides by facts; years without endorsement mean nothing."""

    def state(self, years_missed: int, ground: bool) -> Lapse | None:
        del years_missed
        return None if ground else Lapse.DORMANT


@dataclass(frozen=True)
class SuspendedLapse:
    """A missed endorsement suspends; so many years in a row cancel (0: never, the years start again)."""

    cancelled_after_years: int

    def state(self, years_missed: int, ground: bool) -> Lapse | None:
        del ground
        if years_missed == 0:
            return None
        if 0 < self.cancelled_after_years <= years_missed:
            return Lapse.CANCELLED
        return Lapse.SUSPENDED


@dataclass(frozen=True)
class Fee:
    """The first card's price, fen."""

    fen: int


@dataclass(frozen=True)
class WorkingDays:
    """Issued within so many working days."""

    days: int

    def due(self, accepted: date, extended: bool) -> date:
        del extended
        return add_working_days(accepted, self.days)


@dataclass(frozen=True)
class CalendarDays:
    """Issued within so many days, or the longer span where the office extended it."""

    days: int
    extended: int

    def due(self, accepted: date, extended: bool) -> date:
        return accepted + timedelta(days=self.extended if extended else self.days)


@dataclass(frozen=True)
class ReportWithin:
    """Employers report within so many days."""

    days: int

    def due(self, happened: date) -> date | None:
        return happened + timedelta(days=self.days)


@dataclass(frozen=True)
class MustAssist:
    """Employers help when asked; there is no deadline of their own."""

    def due(self, happened: date) -> date | None:
        del happened
        return None


class _Condition(Protocol):
    def met(self, facts: Facts) -> bool: ...


class _Types(Protocol):
    def kind(self, ground: bool) -> tuple[PermitType, int] | None: ...


class _Endorsement(Protocol):
    def window(self, issued: date) -> tuple[date, date] | None: ...


class _LapseRule(Protocol):
    def state(self, years_missed: int, ground: bool) -> Lapse | None: ...


class _Issue(Protocol):
    def due(self, accepted: date, extended: bool) -> date: ...


class _Report(Protocol):
    def due(self, happened: date) -> date | None: ...


@dataclass(frozen=True)
class Profile:
    """One set of rules, in force from `effective`."""

    name: str
    effective: date
    stay: _Condition
    ground: _Condition
    types: _Types
    endorsement: _Endorsement
    lapse: _LapseRule
    fee: Fee
    issue: _Issue
    report: _Report

    def decide(self, facts: Facts) -> "Decision":
        """Type, validity and fee for an applicant, or what is missing."""
        stays, ground = self.stay.met(facts), self.ground.met(facts)
        found = self.types.kind(ground) if stays else None
        missing = tuple(name for name, met in (("stay", stays), ("ground", ground)) if not met)
        if found is None:
            return Decision(None, None, 0, missing)
        kind, months = found
        last = add_months(facts.day, months) - timedelta(days=1)
        return Decision(kind, last, self.fee.fen, missing)


@dataclass(frozen=True)
class Decision:
    """What an applicant gets. `missing` names unmet rules, also where a temporary permit is given without one."""

    type: PermitType | None
    valid_until: date | None
    fee_fen: int
    missing: tuple[str, ...]


_STRATEGIES: dict[str, dict[str, Callable[..., Any]]] = {
    "stay": {"StayDays": StayDays, "StayMonths": StayMonths},
    "ground": {
        "AnyGround": AnyGround,
        "StableHomeAndJob": StableHomeAndJob,
        "StableHomeOrJobOrStudy": StableHomeOrJobOrStudy,
    },
    "types": {"TwoTypes": TwoTypes, "OneType": OneType},
    "endorsement": {
        "NoEndorsement": NoEndorsement,
        "PeriodicUpdate": PeriodicUpdate,
        "YearlyWindow": YearlyWindow,
    },
    "lapse": {"FactsLapse": FactsLapse, "SuspendedLapse": SuspendedLapse},
    "fee": {"Fee": Fee},
    "issue": {"WorkingDays": WorkingDays, "CalendarDays": CalendarDays},
    "report": {"ReportWithin": ReportWithin, "MustAssist": MustAssist},
}
RULES = tuple(_STRATEGIES)


def parse(text: str) -> dict[str, Profile]:
    """Profiles of a file. ValueError when a rule is missing, unknown or has other values than its strategy."""
    found = {}
    for name, table in tomllib.loads(text).items():
        if set(table) != {*RULES, "effective"}:
            raise ValueError(f"profile {name} needs exactly {', '.join(RULES)} and effective")
        chosen = {rule: _strategy(name, rule, dict(table[rule])) for rule in RULES}
        found[name] = Profile(name=name, effective=table["effective"], **chosen)
    return found


def _strategy(profile: str, rule: str, values: dict[str, Any]) -> Any:
    kind = _STRATEGIES[rule].get(values.pop("rule", ""))
    if kind is None:
        raise ValueError(f"profile {profile}: no such strategy for {rule}")
    try:
        return kind(**values)
    except TypeError as problem:
        raise ValueError(f"profile {profile}, {rule}: {problem}") from None


@cache
def profiles() -> dict[str, Profile]:
    """The four profiles of this city."""
    return parse(resources.files("registry").joinpath("profiles.toml").read_text("utf-8"))


def by_name(name: str) -> Profile:
    """Raises NotFound E-PROFILE."""
    if name not in profiles():
        raise NotFound("E-PROFILE", "no such rule profile", profile=name)
    return profiles()[name]
