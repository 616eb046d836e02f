"""Bursts: how many windows, machines and days a wave needs, when to switch, whose turn it is (residence.md 12.3).

Pure and deterministic: the same backlog gives the same day plan. The floor's own queue is
`personalization.schedule`; here a day is planned for the whole city.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from fractions import Fraction

BURST_COVER, NORMAL_COVER = Fraction(3), Fraction(1)
BURST_DAYS, NORMAL_DAYS = 2, 5
QUIET_SHARE = Fraction(80, 100)
WALK_IN_SHARE = Fraction(15, 100)
MAX_BATCH = 500
MOBILE_TEAM_WORKERS = 200
MINUTES = 60
SHARES = {
    "employer": Fraction(70, 100),
    "individual": Fraction(20, 100),
    "urgent": Fraction(10, 100),
}


class Mode(StrEnum):
    """How the city works."""

    NORMAL = "NORMAL"
    BURST = "BURST"


@dataclass(frozen=True)
class Line:
    """Machines of one kind: seconds a card takes, hours and share of them they run, share of waste."""

    cycle_seconds: Fraction = Fraction(35)
    hours: Fraction = Fraction(12)
    uptime: Fraction = Fraction(80, 100)
    spoilage: Fraction = Fraction(2, 100)

    @property
    def cards_a_day(self) -> int:
        """Good cards of one machine, rounded down."""
        seconds = self.hours * MINUTES * MINUTES * self.uptime
        return math.floor(seconds / self.cycle_seconds * (1 - self.spoilage))


def cards_a_day(people: int, share: Fraction, days: int) -> int:
    """Cards a day for `share` of `people` within `days`.

    >>> cards_a_day(183_900, Fraction(85, 100), 60), cards_a_day(183_900, Fraction(85, 100), 98)
    (2605, 1595)
    """
    return math.floor(people * share / days)


def machines(cards: int, line: Line) -> int:
    """Machines that make so many good cards a day.

    >>> machines(2_605, Line())
    3
    """
    return -(-cards // line.cards_a_day)


def slots(windows: int, open_minutes: int, service_minutes: int) -> tuple[int, int]:
    """Bookable slots of a point's day, and those kept for people who just walk in."""
    whole = windows * open_minutes // service_minutes
    kept = math.floor(whole * WALK_IN_SHARE)
    return whole - kept, kept


@dataclass(frozen=True)
class Waiting:
    """One application in a queue."""

    acc_no: str
    kind: str
    point: str
    due: date
    accepted: date


def turn(today: date, waiting: Iterable[Waiting], capacity: int) -> list[Waiting]:
    """Whose turn it is today: overdue first, then by class share; what a class leaves over is lent.

    Within a class the earliest due date goes first, then the older application, then its number.
    """
    if capacity < 0:
        raise ValueError("a capacity is not negative")
    ordered = sorted(waiting, key=lambda one: (one.due, one.accepted, one.acc_no))
    taken = [one for one in ordered if one.due < today][:capacity]
    queues = {
        kind: [one for one in ordered if one.kind == kind and one.due >= today] for kind in SHARES
    }
    shares = {kind: math.floor(capacity * share) for kind, share in SHARES.items()}
    for one in taken:
        shares[one.kind] -= 1
    for kind, queue in queues.items():
        room = max(0, min(shares[kind], capacity - len(taken)))
        taken += queue[:room]
        del queue[:room]
        shares[kind] -= room
    while len(taken) < capacity:
        waiting_kinds = [kind for kind, queue in queues.items() if queue]
        if not waiting_kinds:
            break
        kind = max(waiting_kinds, key=lambda one: (shares[one], len(queues[one])))
        taken.append(queues[kind].pop(0))
        shares[kind] -= 1
    return taken


def batches(chosen: Sequence[Waiting]) -> list[tuple[str, list[Waiting]]]:
    """One point's applications together, at most 500 in a batch, in the order they were chosen."""
    by_point: dict[str, list[Waiting]] = {}
    for one in chosen:
        by_point.setdefault(one.point, []).append(one)
    return [
        (point, members[start : start + MAX_BATCH])
        for point, members in sorted(by_point.items())
        for start in range(0, len(members), MAX_BATCH)
    ]


@dataclass(frozen=True)
class Employer:
    """An employer whose workers have not applied yet."""

    code: str
    street: str
    workers: int
    promised: date


def waves(employers: Iterable[Employer], seats: Mapping[str, int]) -> dict[str, list[str]]:
    """Employers called today by street, within the street's seats; the large ones get a mobile team.

    Earliest promise first, then the larger. Key ``mobile`` holds those with 200 workers and more.
    """
    left = dict(seats)
    called: dict[str, list[str]] = {"mobile": []}
    for one in sorted(employers, key=lambda e: (e.promised, -e.workers, e.code)):
        if one.workers >= MOBILE_TEAM_WORKERS:
            called["mobile"].append(one.code)
        elif left.get(one.street, 0) >= one.workers:
            left[one.street] -= one.workers
            called.setdefault(one.street, []).append(one.code)
    return called


@dataclass(frozen=True)
class Switch:
    """The hysteresis between normal and burst. `asked` is what two people still have to confirm."""

    mode: Mode = Mode.NORMAL
    days: int = 0
    asked: Mode | None = None

    def observe(self, backlog: int, arrivals: int, capacity: int) -> "Switch":
        """One more day. Cover over 3 days, twice, asks for burst; under 1 day with few arrivals, five times,
        for normal. ValueError without capacity."""
        if capacity <= 0:
            raise ValueError("a city has some capacity")
        cover = Fraction(backlog, capacity)
        if self.mode is Mode.NORMAL:
            tells, needed, other = cover > BURST_COVER, BURST_DAYS, Mode.BURST
        else:
            quiet = arrivals < QUIET_SHARE * capacity
            tells, needed, other = cover < NORMAL_COVER and quiet, NORMAL_DAYS, Mode.NORMAL
        days = self.days + 1 if tells else 0
        return replace(self, days=days, asked=other if days >= needed else None)

    def confirm(self) -> "Switch":
        """Two people agreed (checked by the caller). ValueError when nothing was asked."""
        if self.asked is None:
            raise ValueError("nothing asks for a switch")
        return Switch(self.asked)
