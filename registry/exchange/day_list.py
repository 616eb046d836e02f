"""Many messages sent in one piece: what a day's list says, in whole statements instead of one by one.

The same messages and events as `delivery.send` would write, in the same order.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import func, insert, select

from core import events
from core.clock import Clock
from core.db import Tx
from registry.exchange import catalogue, delivery
from registry.exchange.messages import Type
from registry.exchange.tables import MessageRow

PIECE = 1_000  # lines of a list that are looked up and written together


@dataclass(frozen=True)
class News:
    """One message of a list."""

    kind: Type
    subject: str
    occurred_on: date
    payload: Mapping[str, Any]


def send_all(tx: Tx, clock: Clock, source: str, news: Sequence[News]) -> None:
    """Write the messages of a list and their events; nothing leaves before the caller commits."""
    if not news:
        return
    taken = Counter(_last_numbers(tx, source, {one.subject for one in news}))
    messages = []
    for one in news:
        taken[one.subject] += 1
        messages.append(
            delivery.compose(
                clock, source, one.kind, one.subject, taken[one.subject], one.occurred_on, one.payload
            )
        )  # fmt: skip
    tx.execute(insert(MessageRow), [delivery.columns(message) for message in messages])
    events.append_all(
        tx, clock, source,
        [
            (
                catalogue.of(message.type).event, message.subject,
                {"msg_id": message.msg_id, "occurred_on": message.occurred_on.isoformat()},
            )
            for message in messages
        ],
    )  # fmt: skip


def _last_numbers(tx: Tx, source: str, subjects: set[str]) -> dict[str, int]:
    """The last `subject_seq` of subjects that were spoken of before."""
    found: dict[str, int] = {}
    names = sorted(subjects)
    for first in range(0, len(names), PIECE):
        rows = tx.execute(
            select(MessageRow.subject, func.max(MessageRow.subject_seq))
            .where(
                MessageRow.source == source, MessageRow.subject.in_(names[first : first + PIECE])
            )
            .group_by(MessageRow.subject)
        )
        found |= dict(rows.all())
    return found
