"""The station's work queue: mismatches, ghosts, conflicts, dwellings whose code was split (residence.md 9)."""

from datetime import timedelta

from sqlalchemy import select

from core.clock import Clock, business_date
from core.db import Tx
from core.ids import uuid7
from registry.rental.tables import RentalTaskRow

UNRESOLVED, MISMATCH, GHOST = "UNRESOLVED", "MISMATCH", "GHOST"
CONFLICT, CROWDED, MINOR_ALONE = "CONFLICT", "CROWDED", "MINOR_ALONE"
LIMIT = timedelta(days=5)  # the shared mismatch queue's limit
MAX_DETAIL = 400


def open_task(tx: Tx, clock: Clock, kind: str, subject: str, detail: str) -> str:
    """Put something before a person; the same open task again is the same one."""
    row = tx.scalar(
        select(RentalTaskRow).where(
            RentalTaskRow.kind == kind,
            RentalTaskRow.subject == subject,
            RentalTaskRow.closed_on.is_(None),
        )
    )
    if row is None:
        today = business_date(clock.now())
        row = RentalTaskRow(
            id=uuid7(clock.now()), kind=kind, subject=subject, detail=detail[:MAX_DETAIL],
            opened_on=today, due_on=today + LIMIT,
        )  # fmt: skip
        tx.add(row)
        tx.flush()
    return row.id


def close(tx: Tx, clock: Clock, kind: str, subject: str, by: str, outcome: str) -> None:
    """Settle what is open of a kind for a subject."""
    for row in tx.scalars(
        select(RentalTaskRow).where(
            RentalTaskRow.kind == kind,
            RentalTaskRow.subject == subject,
            RentalTaskRow.closed_on.is_(None),
        )
    ):
        row.closed_on, row.closed_by, row.outcome = business_date(clock.now()), by, outcome[:60]


def waiting(tx: Tx, kind: str = "") -> list[RentalTaskRow]:
    """Open tasks, the most urgent first."""
    query = select(RentalTaskRow).where(RentalTaskRow.closed_on.is_(None))
    if kind:
        query = query.where(RentalTaskRow.kind == kind)
    return list(tx.scalars(query.order_by(RentalTaskRow.due_on, RentalTaskRow.id)))


def overdue(tx: Tx, clock: Clock) -> list[RentalTaskRow]:
    """Open tasks past their five days: they climb to the pilot office."""
    today = business_date(clock.now())
    return [row for row in waiting(tx) if row.due_on < today]
