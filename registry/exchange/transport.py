"""Carrying messages between systems that share no database: at least once, one id, in order (residence.md 10.3).

`Courier` is the sender's side, `Doorman` the receiver's. Between them is a `Link`: a function call in one
process, TLS between installations, or a test's fault injector. The sender keeps a posting per message
and consumer until the receiver's answer; every attempt carries the bytes of the first.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import func, select

from core import events
from core.clock import Clock
from core.db import Database, Tx
from core.errors import CityError, Unavailable
from registry.exchange import catalogue, dead_letters, delivery
from registry.exchange.delivery import Handler
from registry.exchange.messages import Envelope, Type
from registry.exchange.tables import InboxRow, PostingRow, WaitingRow

BATCH = 200
MAX_DOUBLINGS = 20
FIRST_WAIT = timedelta(seconds=1)
LONGEST_WAIT = timedelta(minutes=15)
GIVE_UP_AFTER = timedelta(hours=24)
HOLE_WAIT = timedelta(minutes=15)
MAX_WAITING = 10_000  # messages that wait for an earlier one; beyond, the sender tries later
WAITING, SENT, DEAD = "WAITING", "SENT", "DEAD"


@dataclass(frozen=True)
class Answer:
    """What the receiver says of one message: taken (also a repeat), or refused with class and code."""

    taken: bool
    category: str = ""
    code: str = ""


class Link(Protocol):
    """The way to one receiver. Raises Unavailable (or any OSError) when it does not answer."""

    def hand_over(self, envelope: str) -> Answer:
        """Hand one envelope over as JSON text."""
        ...


@dataclass(frozen=True)
class Carried:
    """One run of a courier."""

    sent: int = 0
    postponed: int = 0
    refused: int = 0


def back_off(msg_id: str, attempts: int) -> timedelta:
    """1 s times two to the power of the attempts, at most 15 min, with jitter down to half.

    The jitter comes from the message's id, so that a run repeats exactly.
    """
    full = min(FIRST_WAIT * (1 << min(attempts, MAX_DOUBLINGS)), LONGEST_WAIT)
    jitter = hashlib.sha256(f"{msg_id}:{attempts}".encode()).digest()[0]
    return full // 2 + full // 2 * jitter // 255


class Courier:
    """Carries what one register sends to one consumer. Call `run_once` again and again."""

    def __init__(self, db: Database, clock: Clock, source: str, consumer: str, link: Link) -> None:
        self._db = db
        self._clock = clock
        self._source = source
        self._consumer = consumer
        self._link = link

    def run_once(self) -> Carried:
        """Post what is new, hand over what is due, note the answers."""
        with self._db.write() as tx:
            self._post_new(tx)
            due = self._due(tx)
        sent = postponed = refused = 0
        for message in due:
            answer = self._try(message)
            with self._db.write() as tx:
                state = self._note(tx, message, answer)
            sent += state == SENT
            postponed += state == WAITING
            refused += state == DEAD
        return Carried(sent, postponed, refused)

    def _post_new(self, tx: Tx) -> None:
        reader = f"courier.{self._source}.{self._consumer}"
        found = events.after(tx, events.cursor(tx, reader), kinds_wanted=catalogue.event_kinds())
        for event in found:
            message = delivery.load(tx, event.data["msg_id"])
            if message.source == self._source and catalogue.concerns(message, self._consumer):
                post(tx, self._clock, self._consumer, message.msg_id)
        if found:
            events.move_cursor(tx, reader, found[-1].seq)

    def _due(self, tx: Tx) -> list[Envelope]:
        rows = tx.scalars(
            select(PostingRow.msg_id)
            .where(
                PostingRow.consumer == self._consumer,
                PostingRow.state == WAITING,
                PostingRow.next_try_at <= self._clock.now(),
            )
            .order_by(PostingRow.msg_id)
            .limit(BATCH)
        )
        return [delivery.load(tx, msg_id) for msg_id in rows]

    def _try(self, message: Envelope) -> Answer:
        try:
            return self._link.hand_over(message.to_json())
        except (Unavailable, OSError) as silence:
            return Answer(False, dead_letters.PROVIDER_DOWN, type(silence).__name__[:20])

    def _note(self, tx: Tx, message: Envelope, answer: Answer) -> str:
        row = tx.get_one(PostingRow, (self._consumer, message.msg_id), with_for_update=True)
        row.attempts += 1
        row.last_code = answer.code
        now = self._clock.now()
        if answer.taken:
            row.state = SENT
        elif answer.category == dead_letters.PROVIDER_DOWN:
            row.next_try_at = now + back_off(message.msg_id, row.attempts - 1)
            if now - row.first_try_at >= GIVE_UP_AFTER:
                row.state = DEAD
                self._give_up(tx, message, answer)
        else:
            row.state = DEAD  # it lies in the receiver's dead letters; the owner hears of it
            events.append(
                tx, self._clock, "exchange.returned", message.subject, actor=self._consumer,
                msg_id=message.msg_id, code=answer.code,
            )  # fmt: skip
        return row.state

    def _give_up(self, tx: Tx, message: Envelope, answer: Answer) -> None:
        dead_letters.bury(
            tx, self._clock, self._consumer, message, dead_letters.PROVIDER_DOWN, answer.code
        )


def post(tx: Tx, clock: Clock, consumer: str, msg_id: str) -> None:
    """Put a message on its way, or on its way again; the id stays."""
    row = tx.get(PostingRow, (consumer, msg_id))
    now: datetime = clock.now()
    if row is None:
        row = PostingRow(consumer=consumer, msg_id=msg_id, attempts=0, last_code="")
        tx.add(row)
    row.state, row.first_try_at, row.next_try_at = WAITING, now, now
    tx.flush()


class Doorman:
    """Takes messages in for one register: form, hash, order, effect. It is a `Link` itself."""

    def __init__(
        self, db: Database, clock: Clock, consumer: str, handlers: Mapping[Type, Handler]
    ) -> None:
        self._db = db
        self._clock = clock
        self._consumer = consumer
        self._handlers = handlers

    def hand_over(self, envelope: str) -> Answer:
        """Take one message in, or let it wait for an earlier one; raises Unavailable only."""
        try:
            message = Envelope.from_json(envelope)
            catalogue.check(message)
        except CityError as refusal:
            return Answer(False, dead_letters.category(refusal), refusal.code)
        with self._db.write() as tx:
            if self._must_wait(tx, message):
                if self._full(tx):
                    return Answer(False, dead_letters.PROVIDER_DOWN, "FULL")
                self._keep(tx, message, envelope)
                return Answer(True)
            answer = self._take(tx, message)
            if answer.taken:
                self._followers(tx, message.source, message.subject)
        return answer

    def release_overdue(self) -> int:
        """Take in what waited 15 minutes for a hole to close; the hole is reported. Returns how many."""
        limit, released = self._clock.now() - HOLE_WAIT, 0
        with self._db.write() as tx:
            rows = tx.scalars(
                select(WaitingRow)
                .where(WaitingRow.consumer == self._consumer, WaitingRow.arrived_at <= limit)
                .order_by(WaitingRow.source, WaitingRow.subject, WaitingRow.subject_seq)
            ).all()
            for row in rows:
                message = Envelope.from_json(row.envelope)
                events.append(
                    tx, self._clock, "exchange.hole", row.subject, actor=row.source,
                    before=row.subject_seq,
                )  # fmt: skip
                tx.delete(row)
                self._take(tx, message)
                released += 1
        return released

    def _must_wait(self, tx: Tx, message: Envelope) -> bool:
        """A hole before the message, and the message is not a repeat."""
        key = (self._consumer, message.source, message.msg_id)
        if message.subject_seq == 1 or tx.get(InboxRow, key) is not None:
            return False
        have = tx.scalar(
            select(func.count()).where(
                InboxRow.consumer == self._consumer,
                InboxRow.source == message.source,
                InboxRow.subject == message.subject,
                InboxRow.subject_seq < message.subject_seq,
            )
        )
        return (have or 0) < message.subject_seq - 1

    def _full(self, tx: Tx) -> bool:
        waiting = select(func.count()).where(WaitingRow.consumer == self._consumer)
        return (tx.scalar(waiting) or 0) >= MAX_WAITING

    def _keep(self, tx: Tx, message: Envelope, envelope: str) -> None:
        key = (self._consumer, message.source, message.msg_id)
        if tx.get(WaitingRow, key) is None:
            tx.add(
                WaitingRow(
                    consumer=self._consumer, source=message.source, msg_id=message.msg_id,
                    subject=message.subject, subject_seq=message.subject_seq, envelope=envelope,
                    arrived_at=self._clock.now(),
                )
            )  # fmt: skip

    def _take(self, tx: Tx, message: Envelope) -> Answer:
        try:
            delivery.receive(tx, self._clock, self._consumer, message, self._handlers)
        except Unavailable:
            raise
        except CityError as refusal:
            kind, code = dead_letters.category(refusal), refusal.code
        except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as bug:
            kind, code = dead_letters.INTERNAL, type(bug).__name__
        else:
            return Answer(True)
        dead_letters.bury(tx, self._clock, self._consumer, message, kind, code)
        return Answer(False, kind, code)

    def _followers(self, tx: Tx, source: str, subject: str) -> None:
        """Those that waited for this one."""
        rows = tx.scalars(
            select(WaitingRow)
            .where(
                WaitingRow.consumer == self._consumer,
                WaitingRow.source == source,
                WaitingRow.subject == subject,
            )
            .order_by(WaitingRow.subject_seq)
        ).all()
        for row in rows:
            message = Envelope.from_json(row.envelope)
            if self._must_wait(tx, message):
                return
            tx.delete(row)
            tx.flush()
            self._take(tx, message)
