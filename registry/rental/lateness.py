"""Moves that were registered late, by two clocks (residence.md 9): the duty's and the station's.

Official: from the move to the complete entry. Processing: from the landlord's report to the entry.
"""

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import select

from core.clock import business_date
from core.db import Tx
from registry.deadlines import Timeliness, days_late, timeliness
from registry.parameters import PILOT, Policy
from registry.rental.tables import OccupancyRow, UnitRow

MOVED_IN, MOVED_OUT = "MOVED_IN", "MOVED_OUT"


@dataclass(frozen=True)
class Change:
    """One move with its two lags in days past the deadline."""

    record: str
    code: str
    what: str
    occurred_on: date
    updated_at: datetime
    late: int
    processing_late: int


def changes(tx: Tx, first: date, last: date, policy: Policy = PILOT) -> list[Change]:
    """All moves that happened from `first` to `last`, in order of the records."""
    found = []
    for row in tx.scalars(
        select(OccupancyRow).where(OccupancyRow.withdrawn_at.is_(None)).order_by(OccupancyRow.id)
    ):
        if first <= row.move_in <= last:
            found.append(
                _change(row, MOVED_IN, row.move_in, row.reported_at, row.updated_at, policy)
            )
        out, told, done = row.move_out, row.out_reported_at, row.out_updated_at
        if out is not None and told is not None and done is not None and first <= out <= last:
            found.append(_change(row, MOVED_OUT, out, told, done, policy))
    return found


def _change(
    row: OccupancyRow, what: str, on: date, told: datetime, done: datetime, policy: Policy
) -> Change:
    return Change(
        row.id, row.address_code, what, on, done, days_late(on, done, policy),
        days_late(business_date(told), done, policy),
    )  # fmt: skip


def late_list(tx: Tx, first: date, last: date, policy: Policy = PILOT) -> list[Change]:
    """Only the late ones, the latest first."""
    late = [change for change in changes(tx, first, last, policy) if change.late]
    return sorted(late, key=lambda change: (-change.late, change.record))


def by_station(tx: Tx, first: date, last: date, policy: Policy = PILOT) -> dict[str, Timeliness]:
    """Timeliness per rental station; units without a station count under ``-``."""
    station = {row.code: row.station for row in tx.scalars(select(UnitRow))}
    late: dict[str, list[int]] = {}
    for change in changes(tx, first, last, policy):
        late.setdefault(station.get(change.code, "-"), []).append(change.late)
    return {name: timeliness(days) for name, days in sorted(late.items())}
