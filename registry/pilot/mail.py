"""The messages of a rehearsal on a bad line: lost, doubled, late, damaged, and one outage (residence.md 18.7).

Carries what the registers announce to the residence register. What the line does to a message is drawn from
the seed; what it lost or damaged is found by the nightly comparison of both sides and posted again by its
sender (residence.md 10.5). `noticed` counts what the registers made of it, to be held against `made`.
"""

import random
from collections import Counter
from enum import StrEnum

from sqlalchemy import select

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import EvidenceMismatch
from registry.dormancy import day_post
from registry.exchange import catalogue, reconcile, transport
from registry.exchange.messages import Envelope, Type
from registry.exchange.tables import PostingRow

SOURCES = ("employment", "rental")
READER = "pilot.mail"
PAGE = 1_000


class Fault(StrEnum):
    """What a line does to a message."""

    LOST = "LOST"
    DOUBLED = "DOUBLED"
    LATE = "LATE"  # it comes after messages that were sent later
    DAMAGED = "DAMAGED"


PER_THOUSAND = {Fault.LOST: 5, Fault.DOUBLED: 10, Fault.LATE: 10, Fault.DAMAGED: 1}


class Mail:
    """One line from the two registers to the residence register. Call `carry` again and again."""

    def __init__(self, seed: int) -> None:
        self.made: Counter[Fault] = Counter()
        self.noticed: Counter[Fault] = Counter()
        self._dice = random.Random(f"mail:{seed}")  # noqa: S311 - faults of a line, not secrets
        self._late: list[Envelope] = []
        self._waiting: list[Envelope] = []
        self._lost: set[str] = set()

    def carry(self, tx: Tx, clock: Clock, silent: str = "") -> None:
        """Hand over everything announced; messages of the register `silent` wait for another day."""
        late, self._late = self._late, []
        waiting, self._waiting = self._waiting, []
        while (page := self._announced(tx)) is not None:
            self._waiting += [message for message in page if message.source == silent]
            now = [
                one for message in page if message.source != silent for one in self._line(message)
            ]
            self.noticed[Fault.DOUBLED] += day_post.take_in(tx, clock, now).repeated
        day_post.take_in(tx, clock, waiting)
        after_all = day_post.take_in(tx, clock, late)
        self.noticed[Fault.LATE] += after_all.taken + after_all.repeated

    def compare(self, tx: Tx, clock: Clock) -> None:
        """The nightly comparison: what one side lacks is posted again by the other."""
        for source in SOURCES:
            ours = reconcile.sent(tx, source, day_post.CONSUMER)
            theirs = reconcile.taken(tx, day_post.CONSUMER, source)
            reconcile.repair(tx, clock, source, day_post.CONSUMER, ours, theirs)
        due = tx.scalars(
            select(PostingRow).where(
                PostingRow.consumer == day_post.CONSUMER, PostingRow.state == transport.WAITING
            )
        ).all()
        again = [row.msg_id for row in due]
        for first in range(0, len(again), PAGE):
            day_post.take_in(tx, clock, day_post.messages(tx, again[first : first + PAGE]))
        for row in due:
            row.state = transport.SENT
        self.noticed[Fault.LOST] += len(self._lost & set(again))
        self._lost -= set(again)

    def balance(self) -> dict[Fault, tuple[int, int]]:
        """Of each kind of fault, how many were noticed and how many were made."""
        return {fault: (self.noticed[fault], self.made[fault]) for fault in Fault}

    def _announced(self, tx: Tx) -> list[Envelope] | None:
        found = events.after(
            tx, events.cursor(tx, READER), kinds_wanted=catalogue.event_kinds(), limit=PAGE
        )
        if not found:
            return None
        events.move_cursor(tx, READER, found[-1].seq)
        return day_post.messages(tx, [event.data["msg_id"] for event in found])

    def _line(self, message: Envelope) -> list[Envelope]:
        """What arrives now of a message; heartbeats are left alone, their silence is the outage's business."""
        if message.type is Type.HEARTBEAT:
            return [message]
        drawn, fault = self._dice.randrange(1_000), None
        for kind, share in PER_THOUSAND.items():
            if 0 <= drawn < share:
                fault = kind
            drawn -= share
        if fault is None:
            return [message]
        self.made[fault] += 1
        if fault is Fault.DOUBLED:
            return [message, message]
        if fault is Fault.LATE:
            self._late.append(message)
        else:
            self._lost.add(message.msg_id)
        if fault is Fault.DAMAGED:
            self._damage(message)
        return []

    def _damage(self, message: Envelope) -> None:
        """One character of the envelope changes on the way: the door must refuse it."""
        text = message.to_json()
        at = text.index(message.subject)
        changed = text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]
        try:
            Envelope.from_json(changed)
        except EvidenceMismatch:
            self.noticed[Fault.DAMAGED] += 1
            self.made[Fault.LOST] += 1  # it must be found and sent again like a lost one
