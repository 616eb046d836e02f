"""The task board: every duty of the order with owner, deadline and evidence; what is overdue climbs once.

The duties are data (``duties.toml``, one entry per sentence of the order, SD-01 to SD-60).
"""

import tomllib
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources

from sqlalchemy import select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import Rejected
from registry.pilot.tables import TaskRow
from registry.roles import Actor, Role, require


@dataclass(frozen=True)
class Duty:
    """One sentence of the order. `owner` is an organisation, never a person."""

    id: str
    owner: str
    deadline: date
    text_zh: str
    text_en: str


@cache
def duties() -> tuple[Duty, ...]:
    """All duties in the order's own order."""
    text = resources.files("registry.pilot").joinpath("duties.toml").read_text("utf-8")
    return tuple(Duty(id=name, **entry) for name, entry in tomllib.loads(text).items())


def load(tx: Tx) -> int:
    """Put every duty on the board; those that stand there already stay as they are. How many were new."""
    known = set(tx.scalars(select(TaskRow.id)))
    fresh = [duty for duty in duties() if duty.id not in known]
    tx.add_all(
        TaskRow(id=duty.id, owner=duty.owner, deadline=duty.deadline, evidence="") for duty in fresh
    )
    tx.flush()
    return len(fresh)


def finish(tx: Tx, clock: Clock, task: str, evidence: str, actor: Actor) -> None:
    """A duty is done, shown by `evidence`. Repeating it changes nothing.

    Raises NotAllowed E-ROLE; Rejected E-EVIDENCE, E-TASK (no such duty).
    """
    require(actor, Role.PILOT_OFFICE)
    if not evidence.strip():
        raise Rejected("E-EVIDENCE", "say what shows it", item=task)
    row = tx.get(TaskRow, task, with_for_update=True)
    if row is None:
        raise Rejected("E-TASK", "no such duty", task=task)
    if row.done_at is not None:
        return
    row.evidence, row.done_at, row.done_by = evidence.strip()[:200], clock.now(), actor.name
    tx.flush()
    events.append(tx, clock, "pilot.task_done", task, actor=actor.name)


def overdue(tx: Tx, day: date) -> list[TaskRow]:
    """Open duties whose deadline has passed, the oldest first."""
    return list(
        tx.scalars(
            select(TaskRow)
            .where(TaskRow.done_at.is_(None), TaskRow.deadline < day)
            .order_by(TaskRow.deadline, TaskRow.id)
        )
    )


def escalate(tx: Tx, clock: Clock) -> list[str]:
    """Tell the pilot office of every duty that is overdue, once; the duties told now."""
    told = []
    for row in overdue(tx, business_date(clock.now())):
        if row.escalated_at is None:
            row.escalated_at = clock.now()
            events.append(
                tx, clock, "pilot.task_escalated", row.id, owner=row.owner,
                deadline=row.deadline.isoformat(),
            )  # fmt: skip
            told.append(row.id)
    tx.flush()
    return told
