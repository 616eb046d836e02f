"""The purge: what the registers may no longer keep goes, in short transactions (residence.md 17).

Each rule says what is due (`registry.residence.retention`, `registry.rental.patrols`). A batch and the event that
counts it are one transaction: killed in the middle, the next run does the rest; a run ends at `MAX_ROWS` a rule.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import func, select

from core import events
from core.clock import Clock
from core.db import Database, Tx
from registry.rental import patrols
from registry.residence import retention
from registry.residence.retention import Rule

BATCH = 50  # rows of one transaction: others write in between
MAX_ROWS = 20_000  # of one rule in one run
RULES = (*retention.RULES, Rule("visits", patrols.old_visits, patrols.drop_visits))
Progress = Callable[[str, int], None]  # the rule, rows done since the last call


@dataclass(frozen=True)
class Due:
    """How many rows a rule would end now."""

    rule: str
    rows: int


def due(tx: Tx, clock: Clock) -> list[Due]:
    """The dry run: what a purge would do, rule by rule."""
    return [
        Due(
            rule.name,
            tx.scalar(select(func.count()).select_from(rule.query(clock.now()).subquery())) or 0,
        )
        for rule in RULES
    ]


def purge(db: Database, clock: Clock, actor: str, progress: Progress | None = None) -> list[Due]:
    """End what is due, rule by rule, at most `MAX_ROWS` each; what was done."""
    done = []
    for rule in RULES:
        rows = 0
        while rows < MAX_ROWS and (count := _batch(db, clock, rule, actor)):
            rows += count
            if progress is not None:
                progress(rule.name, count)
        done.append(Due(rule.name, rows))
    return done


def _batch(db: Database, clock: Clock, rule: Rule, actor: str) -> int:
    with db.write() as tx:
        keys = tx.scalars(rule.query(clock.now()).limit(BATCH)).all()
        if keys:
            rule.drop(tx, keys)
            tx.flush()
            events.append(tx, clock, "retention.purged", rule.name, actor=actor, rows=len(keys))
    return len(keys)
