"""One shift on one page: blanks, batches, stops with their cause, ribbons, cleaning, people (production.md 13)."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from core.clock import SHANGHAI
from core.db import Tx
from core.events import EventRow
from personalization import balance
from personalization.states import GOOD
from personalization.tables import BatchRow, LotRow, MoveRow, PlasticRow, WorkOrderRow

MAX_ROWS = 10_000
STOP_KINDS = ("station.stopped", "station.state_changed")
STOP_WORDS = ("BLOCKED", "JAMMED", "UNCERTAIN")
SHOWN = ("COUNTED", "CLOSED")  # before that nobody is told how many cards there are (I25)
MINUTE = "%Y-%m-%d %H:%M"
NOT_PEOPLE = frozenset({"system", "production"})


@dataclass(frozen=True)
class ShiftReport:
    """A shift [since, until): rows of small values, ready for paper, screen and JSON."""

    since: datetime
    until: datetime
    blanks: list[dict[str, Any]]
    batches: list[dict[str, Any]]
    stops: list[dict[str, str]]
    ribbons: list[dict[str, Any]]
    cleanings: int
    people: list[str]

    def as_facts(self) -> dict[str, Any]:
        """With times as texts of Shenzhen."""
        return {
            **vars(self),
            "since": self.since.astimezone(SHANGHAI).strftime(MINUTE),
            "until": self.until.astimezone(SHANGHAI).strftime(MINUTE),
        }


def report(tx: Tx, since: datetime, until: datetime) -> ShiftReport:
    """What happened in the shift."""
    found = tx.scalars(
        select(EventRow)
        .where(EventRow.at >= since, EventRow.at < until)
        .order_by(EventRow.seq)
        .limit(MAX_ROWS)
    ).all()
    stations = {row.subject for row in found if row.kind.startswith("station.")}
    people = {row.actor for row in found if _ours(row.kind)} - stations - NOT_PEOPLE
    return ShiftReport(
        since=since,
        until=until,
        blanks=[_blanks(tx, lot, since, until) for lot in tx.scalars(_lots())],
        batches=[_batch(tx, row) for row in _batches(tx, since, until)],
        stops=[
            {
                "at": row.at.astimezone(SHANGHAI).strftime(MINUTE),
                "station": row.subject,
                "cause": _cause(row.data),
            }
            for row in found
            if row.kind in STOP_KINDS and _is_stop(row)
        ],
        ribbons=_ribbons(tx, since, until),
        cleanings=sum(
            row.kind == "station.state_changed" and '"state": "CLEANING"' in row.data
            for row in found
        ),
        people=sorted(people),
    )


def _ours(kind: str) -> bool:
    head = kind.partition(".")[0]
    return head in {"batch", "blanks", "lot", "card", "box", "parcel", "station", "work_order"}


def _is_stop(row: EventRow) -> bool:
    return row.kind == "station.stopped" or any(
        f'"state": "{word}"' in row.data for word in STOP_WORDS
    )


def _cause(data: str) -> str:
    said = json.loads(data)
    return str(said.get("sentence") or said.get("reason") or said.get("state") or "-")


def _lots() -> Any:
    return select(LotRow.lot).order_by(LotRow.lot)


def _moved(tx: Tx, lot: str, since: datetime, until: datetime, *conditions: Any) -> int:
    return (
        tx.scalar(
            select(func.coalesce(func.sum(MoveRow.quantity), 0)).where(
                MoveRow.lot == lot, MoveRow.at >= since, MoveRow.at < until, *conditions
            )
        )
        or 0
    )


def _blanks(tx: Tx, lot: str, since: datetime, until: datetime) -> dict[str, Any]:
    """The vault's equation for one lot: opening + received + returned = issued + destroyed + closing."""
    vault_in, vault_out = MoveRow.target == balance.VAULT, MoveRow.source == balance.VAULT
    before = tx.scalar(
        select(func.coalesce(func.sum(MoveRow.quantity), 0)).where(
            MoveRow.lot == lot, MoveRow.at < since, vault_in
        )
    )
    gone = tx.scalar(
        select(func.coalesce(func.sum(MoveRow.quantity), 0)).where(
            MoveRow.lot == lot, MoveRow.at < since, vault_out
        )
    )
    opening = (before or 0) - (gone or 0)
    supplier = MoveRow.source.in_((balance.SUPPLIER, balance.FOUND))
    numbers = {
        "received": _moved(tx, lot, since, until, vault_in, supplier),
        "returned": _moved(tx, lot, since, until, vault_in, MoveRow.source.startswith("tray:")),
        "issued": _moved(tx, lot, since, until, vault_out, MoveRow.target.startswith("tray:")),
        "destroyed": _moved(tx, lot, since, until, vault_out, MoveRow.target == balance.DESTROYED),
    }
    closing = opening + _moved(tx, lot, since, until, vault_in)
    closing -= _moved(tx, lot, since, until, vault_out)
    gained = opening + numbers["received"] + numbers["returned"]
    difference = gained - numbers["issued"] - numbers["destroyed"] - closing
    return {"lot": lot, "opening": opening, **numbers, "closing": closing, "difference": difference}


def _batches(tx: Tx, since: datetime, until: datetime) -> list[BatchRow]:
    """Batches that lived in the shift."""
    return list(
        tx.scalars(
            select(BatchRow)
            .where(
                BatchRow.created_at < until,
                BatchRow.closed_at.is_(None) | (BatchRow.closed_at >= since),
            )
            .order_by(BatchRow.number)
            .limit(MAX_ROWS)
        )
    )


def _batch(tx: Tx, row: BatchRow) -> dict[str, Any]:
    """The page is read after the blind counts; until then a batch shows no count of cards (I25)."""
    sums = balance.batch_balance(tx, row.number)
    shown = row.state in SHOWN
    planned = tx.scalar(
        select(func.count(func.distinct(WorkOrderRow.acc_no))).where(
            WorkOrderRow.batch == row.number
        )
    )
    numbers = {
        "orders": planned or 0, "good": sums.good, "spoiled": sums.spoiled,
        "samples": sums.samples, "missing": sums.missing, "difference": sums.difference,
    }  # fmt: skip
    values = {name: number if shown else "…" for name, number in numbers.items()}
    return {"number": row.number, "state": row.state, **values}


def _ribbons(tx: Tx, since: datetime, until: datetime) -> list[dict[str, Any]]:
    found = tx.execute(
        select(PlasticRow.station, PlasticRow.ribbon, func.count())
        .join(BatchRow, BatchRow.number == PlasticRow.batch)
        .where(
            BatchRow.state.in_(SHOWN),
            PlasticRow.ended_at >= since,
            PlasticRow.ended_at < until,
            PlasticRow.place.in_(GOOD),
            PlasticRow.ribbon.is_not(None),
        )
        .group_by(PlasticRow.station, PlasticRow.ribbon)
        .order_by(PlasticRow.station, PlasticRow.ribbon)
    )
    return [
        {"station": station, "ribbon": ribbon, "good": count} for station, ribbon, count in found
    ]
