"""Sending and taking in messages: transactional outbox, inbox, dead letters (residence.md 10.3, 10.4).

The event log is the outbox: `send` writes the message and its event in the sender's commit. `deliver`
reads behind the consumer's cursor and calls the handlers that runtime wired; effect, inbox row and
cursor are one commit, so a message works exactly once however often it arrives. Between systems with
databases of their own `registry.exchange.transport` carries the same messages.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import func, select

from core import events
from core.clock import Clock
from core.db import Tx, queue_for
from core.errors import CityError, EvidenceMismatch, Rejected, Unavailable
from core.ids import uuid7
from registry.exchange import catalogue, dead_letters
from registry.exchange.messages import MAX_PAYLOAD_CHARS, Envelope, Type
from registry.exchange.tables import InboxRow, MessageRow

DELIVERY_BATCH = 500

Handler = Callable[[Tx, Clock, Envelope], None]


@dataclass(frozen=True)
class Delivered:
    """What one delivery run did."""

    taken: int = 0
    repeated: int = 0
    refused: int = 0


def send(
    tx: Tx,
    clock: Clock,
    source: str,
    kind: Type,
    subject: str,
    occurred_on: date,
    payload: Mapping[str, Any],
    supersedes: str | None = None,
    addressee: str = "",
) -> Envelope:
    """Write a message and the event that announces it; nothing leaves before the caller commits."""
    queue_for(tx, f"message {source} {subject}")  # two senders must not take the same number
    taken = tx.scalar(
        select(func.max(MessageRow.subject_seq)).where(
            MessageRow.source == source, MessageRow.subject == subject
        )
    )
    message = compose(
        clock, source, kind, subject, (taken or 0) + 1, occurred_on, payload, supersedes, addressee
    )
    tx.add(MessageRow(**columns(message)))
    tx.flush()
    events.append(
        tx, clock, catalogue.of(kind).event, subject, actor=source, msg_id=message.msg_id,
        occurred_on=occurred_on.isoformat(),
    )  # fmt: skip
    return message


def compose(
    clock: Clock,
    source: str,
    kind: Type,
    subject: str,
    subject_seq: int,
    occurred_on: date,
    payload: Mapping[str, Any],
    supersedes: str | None = None,
    addressee: str = "",
) -> Envelope:
    """A new message; one that breaks the catalogue is a bug of the sender."""
    now = clock.now()
    message = Envelope(
        uuid7(now), kind, source, subject, subject_seq, occurred_on, now, payload, supersedes,
        catalogue.of(kind).version, "", addressee,
    )  # fmt: skip
    try:
        catalogue.check(message)
    except Rejected as broken:
        raise AssertionError(f"{broken} breaks the interface catalogue") from broken
    if len(message.payload_json) > MAX_PAYLOAD_CHARS:
        raise AssertionError(f"message {kind} carries more than {MAX_PAYLOAD_CHARS} characters")
    return message


def columns(message: Envelope) -> dict[str, Any]:
    """A message as a row of `MessageRow`."""
    return {
        "msg_id": message.msg_id, "type": message.type, "schema": message.schema,
        "source": message.source, "subject": message.subject, "subject_seq": message.subject_seq,
        "occurred_on": message.occurred_on, "recorded_at": message.recorded_at,
        "supersedes": message.supersedes, "addressee": message.addressee,
        "payload": message.payload_json, "payload_sha256": message.payload_sha256,
    }  # fmt: skip


def receive(
    tx: Tx, clock: Clock, consumer: str, message: Envelope, handlers: Mapping[Type, Handler]
) -> bool:
    """Take one message in; False when it was here before.

    Raises Rejected E-MSG-FORM (it breaks the catalogue), EvidenceMismatch E-MSG-HASH when a known
    `msg_id` comes with other content, and whatever the handler raises; nothing of the message remains then.
    """
    catalogue.check(message)
    queue_for(tx, f"inbox {consumer} {message.source} {message.subject}")
    known = tx.get(InboxRow, (consumer, message.source, message.msg_id))
    if known is not None:
        if known.payload_sha256 != message.payload_sha256:
            raise EvidenceMismatch("E-MSG-HASH", f"{message.msg_id} came with other content")
        return False
    with tx.begin_nested():
        handler = handlers.get(message.type)
        if handler is not None:
            handler(tx, clock, message)
        tx.add(InboxRow(**receipt(clock, consumer, message)))
        dead_letters.repaired_by(tx, clock, consumer, message)
    return True


def receipt(clock: Clock, consumer: str, message: Envelope) -> dict[str, Any]:
    """A message that was taken in, as a row of `InboxRow`."""
    return {
        "consumer": consumer, "source": message.source, "msg_id": message.msg_id,
        "subject": message.subject, "subject_seq": message.subject_seq,
        "payload_sha256": message.payload_sha256, "taken_at": clock.now(),
    }  # fmt: skip


def deliver(
    tx: Tx,
    clock: Clock,
    consumer: str,
    handlers: Mapping[Type, Handler],
    limit: int = DELIVERY_BATCH,
) -> Delivered:
    """Take in what the others announced since the last run, at most `limit` messages.

    A message the rules refuse goes to the dead letters with its code, one that trips over a bug of ours
    is parked there; the others go on. `Unavailable` stops the run: the next one begins where it stopped.
    """
    reader = f"exchange.{consumer}"
    queue_for(tx, reader)
    found = events.after(
        tx, events.cursor(tx, reader), kinds_wanted=catalogue.event_kinds(), limit=limit
    )
    taken = repeated = refused = 0
    for event in found:
        message = load(tx, event.data["msg_id"])
        if message.source == consumer or not catalogue.concerns(message, consumer):
            continue
        outcome = take_or_bury(tx, clock, consumer, message, handlers)
        taken += outcome is True
        repeated += outcome is False
        refused += outcome is None
    if found:
        events.move_cursor(tx, reader, found[-1].seq)
    return Delivered(taken, repeated, refused)


def take_or_bury(
    tx: Tx, clock: Clock, consumer: str, message: Envelope, handlers: Mapping[Type, Handler]
) -> bool | None:
    """`receive`, but a message that finds no taker becomes a dead letter: None.

    Raises Unavailable: that is no fault of the message.
    """
    try:
        return receive(tx, clock, consumer, message, handlers)
    except Unavailable:
        raise
    except CityError as refusal:
        dead_letters.bury(
            tx, clock, consumer, message, dead_letters.category(refusal), refusal.code
        )
    except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as bug:
        dead_letters.bury(tx, clock, consumer, message, dead_letters.INTERNAL, type(bug).__name__)
    return None


def load(tx: Tx, msg_id: str) -> Envelope:
    """A sent message; EvidenceMismatch E-MSG-HASH when the stored payload was altered."""
    return opened(tx.get_one(MessageRow, msg_id))


def opened(row: MessageRow) -> Envelope:
    """The message of a row; EvidenceMismatch E-MSG-HASH when the stored payload was altered."""
    message = Envelope(
        row.msg_id,
        Type(row.type),
        row.source,
        row.subject,
        row.subject_seq,
        row.occurred_on,
        row.recorded_at,
        json.loads(row.payload),
        row.supersedes,
        row.schema,
        "",
        row.addressee,
    )
    if message.payload_sha256 != row.payload_sha256:
        raise EvidenceMismatch("E-MSG-HASH", f"the stored message {row.msg_id} was altered")
    return message
