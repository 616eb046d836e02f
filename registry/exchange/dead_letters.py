"""Messages that found no taker: classes, the screen's list, replay, discard by two (residence.md 10.4)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import CityError, EvidenceMismatch, NotFound, Rejected, Unavailable
from registry.exchange.messages import Envelope
from registry.exchange.tables import DeadLetterRow
from registry.roles import Actor, Role, require, two_persons

BUSINESS, BAD_REQUEST = "business_reject", "bad_request"
PROVIDER_DOWN, INTERNAL = "provider_down", "internal"
OPEN, REPLAYED, REPAIRED, DISCARDED = "OPEN", "REPLAYED", "REPAIRED", "DISCARDED"
MAX_AGE = timedelta(days=3)  # the objective: none older than this
MAX_LISTED = 500
SHOWN_PAYLOAD_KEYS = frozenset({"start", "end", "reason", "status", "ssn", "code", "workers"})


@dataclass(frozen=True)
class DeadLetter:
    """One line of the dead-letter screen; the payload is masked to dates, codes and numbers."""

    consumer: str
    source: str
    msg_id: str
    type: str
    category: str
    code: str
    refused_at: datetime
    attempts: int
    payload: Mapping[str, object]


def category(refusal: CityError) -> str:
    """The class of a refusal."""
    if isinstance(refusal, Unavailable):
        return PROVIDER_DOWN
    if isinstance(refusal, EvidenceMismatch) or refusal.code == "E-MSG-FORM":
        return BAD_REQUEST
    return BUSINESS


def bury(tx: Tx, clock: Clock, consumer: str, message: Envelope, kind: str, code: str) -> None:
    """Put a message aside; the same message again only counts up."""
    row = tx.get(DeadLetterRow, (consumer, message.source, message.msg_id))
    if row is None:
        row = DeadLetterRow(
            consumer=consumer, source=message.source, msg_id=message.msg_id, attempts=0,
            envelope=message.to_json(),
        )  # fmt: skip
        tx.add(row)
    row.category, row.code, row.refused_at, row.state = kind, code[:20], clock.now(), OPEN
    row.attempts += 1
    tx.flush()
    events.append(
        tx, clock, "exchange.refused", message.subject, actor=consumer, msg_id=message.msg_id,
        code=code,
    )  # fmt: skip


def waiting(tx: Tx, consumer: str = "", kind: str = "") -> list[DeadLetter]:
    """Open dead letters, oldest first."""
    query = select(DeadLetterRow).where(DeadLetterRow.state == OPEN)
    if consumer:
        query = query.where(DeadLetterRow.consumer == consumer)
    if kind:
        query = query.where(DeadLetterRow.category == kind)
    found = []
    for row in tx.scalars(query.order_by(DeadLetterRow.refused_at).limit(MAX_LISTED)):
        message = Envelope.from_json(row.envelope)
        shown = {k: v for k, v in message.payload.items() if k in SHOWN_PAYLOAD_KEYS}
        found.append(
            DeadLetter(
                row.consumer, row.source, row.msg_id, str(message.type), row.category, row.code,
                row.refused_at, row.attempts, shown,
            )
        )  # fmt: skip
    return found


def too_old(tx: Tx, clock: Clock) -> int:
    """How many open ones are older than three days (the objective is none: X1)."""
    limit = clock.now() - MAX_AGE
    query = select(func.count()).where(
        DeadLetterRow.state == OPEN, DeadLetterRow.refused_at < limit
    )
    return tx.scalar(query) or 0


def repaired_by(tx: Tx, clock: Clock, consumer: str, message: Envelope) -> None:
    """A taken message that supersedes a dead one closes it: the owner's correction arrived."""
    if message.supersedes is None:
        return
    row = tx.get(DeadLetterRow, (consumer, message.source, message.supersedes))
    if row is not None and row.state == OPEN:
        row.state, row.closed_at, row.reason = REPAIRED, clock.now(), f"by {message.msg_id}"


def discard(
    tx: Tx, clock: Clock, consumer: str, msg_id: str, first: Actor, second: Actor, reason: str
) -> None:
    """Two persons give a message up. Raises E-ROLE, E-SOD, NotFound E-DEAD-LETTER, Rejected E-REASON."""
    for actor in (first, second):
        require(actor, Role.DATA_OFFICER, Role.SYSADMIN)
    two_persons(first, second)
    if not reason.strip():
        raise Rejected("E-REASON", "a discard needs a reason")
    row = opened(tx, consumer, msg_id)
    row.second_person, row.reason = second.name, reason
    close(tx, clock, row, DISCARDED, first)


def opened(tx: Tx, consumer: str, msg_id: str) -> DeadLetterRow:
    """One that waits for a person. Raises NotFound E-DEAD-LETTER."""
    row = tx.scalar(
        select(DeadLetterRow)
        .where(
            DeadLetterRow.consumer == consumer,
            DeadLetterRow.msg_id == msg_id,
            DeadLetterRow.state == OPEN,
        )
        .with_for_update()
    )
    if row is None:
        raise NotFound("E-DEAD-LETTER", "no such open dead letter")
    return row


def close(tx: Tx, clock: Clock, row: DeadLetterRow, state: str, actor: Actor) -> None:
    """Note what became of it."""
    row.state, row.closed_at, row.first_person = state, clock.now(), actor.name
    tx.flush()
    subject = json.loads(row.envelope)["subject"]
    events.append(
        tx, clock, "exchange.dead_letter_closed", subject, actor=actor.name, msg_id=row.msg_id,
        outcome=state,
    )  # fmt: skip
