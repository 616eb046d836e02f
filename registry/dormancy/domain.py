"""The verdict: facts in, sleep or not out, as a pure function (residence.md 6.3)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from registry.parameters import PILOT, Policy
from registry.residence.domain import Basis, Hold, PermitType
from registry.residence.facts import DWELLING, Fact

GROUNDS = frozenset(Basis)
DWELLINGS = frozenset({DWELLING})
KINDS: Mapping[Hold, frozenset[str]] = {Hold.EMP: GROUNDS, Hold.RES: DWELLINGS}


@dataclass(frozen=True)
class Gap:
    """A cause without cover today. `start` None: no notice was sent, so nothing can happen yet."""

    cause: Hold
    gap_start: date
    due: date
    start: date | None

    def sleeps(self, day: date) -> bool:
        return self.start is not None and day >= self.start


@dataclass(frozen=True)
class Verdict:
    """ACTIVE without gaps, DORMANT when one of them sleeps, else WATCH."""

    day: date
    gaps: Mapping[Hold, Gap] = field(default_factory=dict)

    @property
    def sleeping(self) -> frozenset[Hold]:
        """The causes that put the permit to sleep."""
        return frozenset(cause for cause, gap in self.gaps.items() if gap.sleeps(self.day))

    @property
    def status(self) -> str:
        if self.sleeping:
            return "DORMANT"
        return "WATCH" if self.gaps else "ACTIVE"

    @property
    def explanation(self) -> list[str]:
        """One line per gap: what is missing, since when, and when it takes effect."""
        return [
            f"{gap.cause}: no cover since {gap.gap_start}, due {gap.due}, "
            f"effective {gap.start or 'after notice'}"
            for gap in self.gaps.values()
        ]


def relevant(kind: PermitType) -> tuple[Hold, ...]:
    """A TRP is issued without ground: it knows RES only."""
    return (Hold.EMP, Hold.RES) if kind is PermitType.RP else (Hold.RES,)


def verdict(
    facts: Iterable[Fact],
    kind: PermitType,
    since: date,
    day: date,
    notices: Mapping[Hold, date],
    policy: Policy = PILOT,
    not_before: Mapping[Hold, date] | None = None,
) -> Verdict:
    """The verdict on `day`.

    `since`: first day the permit needs cover (its issue); `notices`: when the notice of a cause was sent;
    `not_before`: first day an open objection, a dispute or a hospital stay lets a cause sleep (6.8).
    A cause sleeps from ``max(gap start + grace, notice + P-NOTICE, not before)`` on, never before a notice.
    """
    delays = not_before or {}
    known = list(facts)
    gaps: dict[Hold, Gap] = {}
    for cause in relevant(kind):
        gap_start = _gap_start([f for f in known if f.kind in KINDS[cause]], since, day)
        if gap_start is None:
            continue
        grace = policy.grace_employment if cause is Hold.EMP else policy.grace_residence
        due = gap_start + timedelta(days=grace)
        sent = notices.get(cause)
        start = None if sent is None else max(due, sent + timedelta(days=policy.notice))
        if start is not None and cause in delays:
            start = max(start, delays[cause])
        gaps[cause] = Gap(cause, gap_start, due, start)
    return Verdict(day, gaps)


def _gap_start(facts: list[Fact], since: date, day: date) -> date | None:
    """Day after the last covered day, None when `day` is covered."""
    last: date | None = None
    for fact in facts:
        if fact.covers(day):
            return None
        if fact.start <= day and fact.end is not None and (last is None or fact.end > last):
            last = fact.end
    return since if last is None else last + timedelta(days=1)


def ground_again(
    facts: Iterable[Fact], cause: Hold, gap_start: date, server_from: date
) -> date | None:
    """`fact_to` of a spell: first day with cover again, as the facts stand now (6.3).

    When they show cover on `server_from` itself, that is where the covering interval begins, at most
    `gap_start`; then the sleep was wrong. None while no day at or after `server_from` is covered.
    """
    mine = [fact for fact in facts if fact.kind in KINDS[cause]]
    there = [max(fact.start, gap_start) for fact in mine if fact.covers(server_from)]
    later = [fact.start for fact in mine if fact.start > server_from]
    return min(there or later, default=None)


def not_counted(server_from: date, server_to: date, fact_to: date | None) -> int:
    """Days that do not count toward continuous residence; 0 means the spell is VOIDED (6.3)."""
    until = server_to if fact_to is None else min(server_to, fact_to)
    return max(0, (until - server_from).days)


@dataclass(frozen=True)
class Sleeper:
    """A permit that a sweep would put to sleep; `origins` are the employers it last worked for."""

    permit_no: str
    cause: Hold
    origins: frozenset[str]


@dataclass(frozen=True)
class Alarm:
    """Why the breaker tripped: over all permits (`employer` empty), or for one employer."""

    count: int
    limit: int
    employer: str = ""


def breaker(
    sleepers: list[Sleeper], permits: int, workers: Mapping[str, int], policy: Policy = PILOT
) -> Alarm | None:
    """The circuit breaker (6.8): too many sleepers at once are more likely an error than the truth.

    Trips above P-BREAKER's count or share of all permits, whichever is lower, or its share of one
    employer's workers (`workers`: permits per employer). Shares say nothing below `breaker_floor`.
    """
    limit = min(
        policy.breaker_count,
        max(policy.breaker_floor, permits * policy.breaker_share_percent // 100),
    )
    total = len({sleeper.permit_no for sleeper in sleepers})
    if total > limit:
        return Alarm(total, limit)
    of_employer: dict[str, int] = {}
    for sleeper in sleepers:
        for origin in sleeper.origins if sleeper.cause is Hold.EMP else ():
            of_employer[origin] = of_employer.get(origin, 0) + 1
    for employer, count in sorted(of_employer.items()):
        bound = workers.get(employer, 0) * policy.breaker_employer_percent // 100
        if count > max(bound, policy.breaker_floor):
            return Alarm(count, max(bound, policy.breaker_floor), employer)
    return None
