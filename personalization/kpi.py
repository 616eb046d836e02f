"""The floor's key figures, computed from rows and events; stops and changeovers are in them (production.md 11).

Times are seconds; a figure that nothing was measured for is None, never a friendly zero.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from statistics import median

from sqlalchemy import func, select

from core.clock import business_date
from core.db import Tx
from core.events import EventRow
from personalization import incidents
from personalization.states import GOOD, BatchState, Place, WorkState
from personalization.station_journal import Phase, Step
from personalization.tables import (
    BatchRow,
    IncidentRow,
    JournalRow,
    OrderRow,
    PlasticRow,
    SpoilRow,
    WorkOrderRow,
)

DOWN = frozenset({"BLOCKED", "JAMMED", "UNCERTAIN", "OFFLINE"})
UP = frozenset({"READY", "FEEDING", "ENCODING", "AT_CONTACT", "POSITIONING", "PRINTING"})
PER = 10_000
AT_THE_POINT = "point"
MAX_ROWS = 100_000
_PARTS = ((Step.FEED, "feed"), (Step.CHIP, "chip"), (Step.PRINT, "print"), (Step.EJECT, "eject"))


@dataclass(frozen=True)
class StationFigures:
    """One station in the period. `running` is the sum of its cycles, `scheduled` the whole period."""

    name: str
    good: int
    spoiled: int
    per_running_hour: float | None
    per_scheduled_hour: float | None
    cycle_median: float | None
    cycle_p95: float | None
    stops: int
    hours_between_stops: float | None
    minutes_to_resume: float | None
    availability: float | None
    performance: float | None
    quality: float | None
    oee: float | None


@dataclass(frozen=True)
class Figures:
    """The whole floor in the period."""

    since: datetime
    until: datetime
    good: int
    spoiled: int
    first_pass: int
    accepted: int
    spoil_by_code: dict[str, int]
    spoil_by_lot: dict[str, int]
    spoil_by_station: dict[str, int]
    spoil_by_ribbon: dict[str, int]
    good_by_ribbon: dict[str, int]
    cycle_parts: dict[str, float]
    order_days_median: float | None
    order_days_p95: float | None
    in_time: int
    late: int
    batches_closed: int
    batches_without_incident: int
    open_incidents: int
    uncertain_now: int
    escapes_per_10000: float | None
    stations: list[StationFigures]

    @property
    def yield_percent(self) -> float | None:
        """Good of good and spoiled."""
        return _percent(self.good, self.good + self.spoiled)

    @property
    def first_pass_percent(self) -> float | None:
        """Accepted at the first attempt of all accepted."""
        return _percent(self.first_pass, self.accepted)


def figures(tx: Tx, since: datetime, until: datetime) -> Figures:
    """All figures of the period [since, until)."""
    cards = list(
        tx.scalars(
            select(PlasticRow)
            .where(PlasticRow.ended_at >= since, PlasticRow.ended_at < until)
            .limit(MAX_ROWS)
        )
    )
    good = [card for card in cards if card.place in GOOD]
    spoils = _spoils(tx, since, until)
    attempts = tx.scalars(
        select(WorkOrderRow.attempt).where(
            WorkOrderRow.state == WorkState.ACCEPTED,
            WorkOrderRow.ended_at >= since,
            WorkOrderRow.ended_at < until,
        )
    ).all()
    days, in_time, late = _ages(tx, since, until)
    closed, clean = _batches(tx, since, until)
    escapes = sum(row.step == AT_THE_POINT for row, _ in spoils)
    names = sorted({card.station for card in cards})
    return Figures(
        since=since,
        until=until,
        good=len(good),
        spoiled=len(spoils),
        first_pass=sum(number == 1 for number in attempts),
        accepted=len(attempts),
        spoil_by_code=_counted(row.code for row, _ in spoils),
        spoil_by_lot=_counted(card.lot for _, card in spoils),
        spoil_by_station=_counted(card.station for _, card in spoils),
        spoil_by_ribbon=_counted(card.ribbon or "-" for _, card in spoils),
        good_by_ribbon=_counted(card.ribbon or "-" for card in good),
        cycle_parts=_parts(tx, since, until),
        order_days_median=median(days) if days else None,
        order_days_p95=_p95(days),
        in_time=in_time,
        late=late,
        batches_closed=closed,
        batches_without_incident=clean,
        open_incidents=len(incidents.open_ones(tx)),
        uncertain_now=_uncertain(tx),
        escapes_per_10000=escapes * PER / len(good) if good else None,
        stations=[_station(tx, name, cards, since, until) for name in names],
    )


def _spoils(tx: Tx, since: datetime, until: datetime) -> list[tuple[SpoilRow, PlasticRow]]:
    found: list[tuple[SpoilRow, PlasticRow]] = list(
        tx.execute(
            select(SpoilRow, PlasticRow)
            .join(PlasticRow, PlasticRow.id == SpoilRow.card)
            .where(SpoilRow.at >= since, SpoilRow.at < until)
            .limit(MAX_ROWS)
        )
    )
    return found


def _station(
    tx: Tx, name: str, cards: list[PlasticRow], since: datetime, until: datetime
) -> StationFigures:
    mine = [card for card in cards if card.station == name]
    good = sum(card.place in GOOD for card in mine)
    cycles = [card.cycle_seconds for card in mine if card.cycle_seconds]
    busy = sum(
        (card.ended_at - card.fed_at).total_seconds() for card in mine if card.ended_at is not None
    )
    running = max(busy, sum(cycles))
    scheduled = (until - since).total_seconds()
    stops, down = _stops(tx, name, since, until)
    up = max(0.0, scheduled - down)
    availability = up / scheduled if scheduled else None
    performance = min(1.0, min(cycles) * len(mine) / up) if cycles and up else None
    quality = good / len(mine) if mine else None
    oee = None
    if availability is not None and performance is not None and quality is not None:
        oee = availability * performance * quality
    return StationFigures(
        name=name,
        good=good,
        spoiled=len(mine) - good,
        per_running_hour=good * 3600 / running if running else None,
        per_scheduled_hour=good * 3600 / scheduled if scheduled else None,
        cycle_median=median(cycles) if cycles else None,
        cycle_p95=_p95(cycles),
        stops=stops,
        hours_between_stops=up / 3600 / stops if stops else None,
        minutes_to_resume=down / 60 / stops if stops else None,
        availability=availability,
        performance=performance,
        quality=quality,
        oee=oee,
    )


def _stops(tx: Tx, name: str, since: datetime, until: datetime) -> tuple[int, float]:
    """How often a station needed a person, and for how many seconds it stood still."""
    rows = tx.execute(
        select(EventRow.at, EventRow.data, EventRow.kind)
        .where(
            EventRow.kind.in_(("station.state_changed", "station.stopped", "station.cleared")),
            EventRow.subject == name,
            EventRow.at >= since,
            EventRow.at < until,
        )
        .order_by(EventRow.seq)
    )
    stops, total, began = 0, 0.0, None
    for at, data, kind in rows:
        fell = kind == "station.stopped" or any(f'"state": "{word}"' in data for word in DOWN)
        rose = kind == "station.cleared" or any(f'"state": "{word}"' in data for word in UP)
        if fell and began is None:
            stops, began = stops + 1, at
        elif rose and began is not None:
            total, began = total + (at - began).total_seconds(), None
    if began is not None:
        total += (until - began).total_seconds()
    return stops, total


def _parts(tx: Tx, since: datetime, until: datetime) -> dict[str, float]:
    """Median seconds of the parts of a cycle, from intent to last result in the journals."""
    rows = tx.scalars(
        select(JournalRow)
        .where(
            JournalRow.step.in_([step for step, _ in _PARTS]),
            JournalRow.at >= since.isoformat(),
            JournalRow.at < until.isoformat(),
        )
        .order_by(JournalRow.station, JournalRow.sequence)
        .limit(MAX_ROWS)
    )
    begun: dict[tuple[str, int, str], datetime] = {}
    ended: dict[tuple[str, int, str], datetime] = {}
    for row in rows:
        key = (row.work_order, row.token, row.step)
        at = datetime.fromisoformat(row.at)
        if row.phase == Phase.INTENT:
            begun[key] = at
        elif key in begun:
            ended[key] = at
    found: dict[str, list[float]] = {}
    for key, at in ended.items():
        found.setdefault(key[2], []).append((at - begun[key]).total_seconds())
    return {name: median(found[step]) for step, name in _PARTS if step in found}


def _ages(tx: Tx, since: datetime, until: datetime) -> tuple[list[float], int, int]:
    """Days from order to the point, and how many kept the promised date."""
    rows = tx.execute(
        select(OrderRow, PlasticRow.arrived_at)
        .join(PlasticRow, PlasticRow.acc_no == OrderRow.acc_no)
        .where(
            PlasticRow.place.in_((Place.AT_POINT, Place.HANDED_OVER)),
            PlasticRow.arrived_at >= since,
            PlasticRow.arrived_at < until,
        )
    )
    days, in_time, late = [], 0, 0
    for order, arrived_at in rows:
        if arrived_at is None:
            continue
        days.append((arrived_at - order.ordered_at).total_seconds() / 86_400)
        if order.due_on is not None:
            kept = business_date(arrived_at) <= order.due_on
            in_time, late = in_time + kept, late + (not kept)
    return days, in_time, late


def _batches(tx: Tx, since: datetime, until: datetime) -> tuple[int, int]:
    numbers = tx.scalars(
        select(BatchRow.number).where(
            BatchRow.state == BatchState.CLOSED,
            BatchRow.closed_at >= since,
            BatchRow.closed_at < until,
        )
    ).all()
    troubled = set(
        tx.scalars(
            select(IncidentRow.batch).where(
                IncidentRow.batch.in_(numbers), IncidentRow.kind == incidents.DIFFERENCE
            )
        )
    )
    return len(numbers), len(set(numbers) - troubled)


def _uncertain(tx: Tx) -> int:
    return (
        tx.scalar(
            select(func.count())
            .select_from(WorkOrderRow)
            .where(WorkOrderRow.state == WorkState.UNCERTAIN)
        )
        or 0
    )


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _p95(values: list[float]) -> float | None:
    """The smallest value that 95 % do not exceed."""
    return sorted(values)[ceil(len(values) * 0.95) - 1] if values else None


def _percent(part: int, whole: int) -> float | None:
    return round(part * 100 / whole, 2) if whole else None
