"""The nightly comparison of a sender and a receiver, and its repair by replay (residence.md 10.5).

Both sides sum up what they hold per subject: last sequence number and a digest over all (sequence,
payload digest). Subjects fall into 256 groups by the first byte of their hash; only groups whose digests
differ are compared one by one. What the receiver lacks is posted again by its sender: nobody edits.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import func, select

from core import events
from core.clock import Clock
from core.db import Tx
from core.ids import uuid7
from registry.exchange import catalogue, transport
from registry.exchange.messages import Type
from registry.exchange.tables import InboxRow, MessageRow, ReconciliationRow

GROUPS = 256
DRIFT_ALARM_PER_MILLE = 1  # 0.1 %


@dataclass(frozen=True)
class Holding:
    """What one side holds of one subject."""

    last_seq: int
    digest: str


Summary = Mapping[str, Holding]


@dataclass(frozen=True)
class Outcome:
    """One comparison. `drift_per_mille` is rounded up, so that 0 means none at all."""

    subjects: int
    differing: tuple[str, ...]
    replayed: int

    @property
    def drift_per_mille(self) -> int:
        return -(-len(self.differing) * 1_000 // max(1, self.subjects))

    @property
    def alarm(self) -> bool:
        return len(self.differing) * 1_000 > self.subjects * DRIFT_ALARM_PER_MILLE


def sent(tx: Tx, source: str, consumer: str) -> Summary:
    """What `source` has sent that concerns `consumer`."""
    wanted = [kind for kind in Type if consumer in catalogue.of(kind).to]
    rows = tx.execute(
        select(MessageRow.subject, MessageRow.subject_seq, MessageRow.payload_sha256)
        .where(
            MessageRow.source == source,
            MessageRow.type.in_(wanted),
            MessageRow.addressee.in_(("", consumer)),
        )
        .order_by(MessageRow.subject, MessageRow.subject_seq)
    )
    return _summary((subject, seq, digest) for subject, seq, digest in rows)


def taken(tx: Tx, consumer: str, source: str) -> Summary:
    """What `consumer` has taken in from `source`."""
    rows = tx.execute(
        select(InboxRow.subject, InboxRow.subject_seq, InboxRow.payload_sha256)
        .where(InboxRow.consumer == consumer, InboxRow.source == source)
        .order_by(InboxRow.subject, InboxRow.subject_seq)
    )
    return _summary((subject, seq, digest) for subject, seq, digest in rows)


def _summary(rows: Iterable[tuple[str, int, str]]) -> Summary:
    running: dict[str, tuple[int, str]] = {}
    for subject, seq, digest in rows:
        _, before = running.get(subject, (0, ""))
        chained = hashlib.sha256(f"{before}:{seq}:{digest}".encode()).hexdigest()
        running[subject] = (seq, chained)
    return {subject: Holding(seq, digest) for subject, (seq, digest) in running.items()}


def _groups(summary: Summary) -> dict[int, str]:
    """One digest per group of subjects: what crosses the line first."""
    running: dict[int, list[str]] = {}
    for subject in sorted(summary):
        group = hashlib.sha256(subject.encode()).digest()[0]
        holding = summary[subject]
        running.setdefault(group, []).append(f"{subject}:{holding.last_seq}:{holding.digest}")
    return {
        group: hashlib.sha256("\n".join(lines).encode()).hexdigest()
        for group, lines in running.items()
    }


def differences(ours: Summary, theirs: Summary) -> tuple[str, ...]:
    """Subjects that differ, in order; only groups with different digests are looked into."""
    our_groups, their_groups = _groups(ours), _groups(theirs)
    suspect = {group for group in range(GROUPS) if our_groups.get(group) != their_groups.get(group)}
    return tuple(
        subject
        for subject in sorted(ours.keys() | theirs.keys())
        if hashlib.sha256(subject.encode()).digest()[0] in suspect
        and ours.get(subject) != theirs.get(subject)
    )


def repair(
    tx: Tx, clock: Clock, source: str, consumer: str, ours: Summary, theirs: Summary
) -> Outcome:
    """The sender's side: post every message of the differing subjects again, and keep the result.

    A message the receiver has already is a repeat there and changes nothing.
    """
    differing = differences(ours, theirs)
    replayed = 0
    for subject in differing:
        wanted = [kind for kind in Type if consumer in catalogue.of(kind).to]
        for msg_id in tx.scalars(
            select(MessageRow.msg_id)
            .where(
                MessageRow.source == source,
                MessageRow.subject == subject,
                MessageRow.type.in_(wanted),
                MessageRow.addressee.in_(("", consumer)),
            )
            .order_by(MessageRow.subject_seq)
        ):
            transport.post(tx, clock, consumer, msg_id)
            replayed += 1
    outcome = Outcome(len(ours.keys() | theirs.keys()), differing, replayed)
    tx.add(
        ReconciliationRow(
            id=uuid7(clock.now()), source=source, consumer=consumer, at=clock.now(),
            subjects=outcome.subjects, differing=len(differing), replayed=replayed,
        )
    )  # fmt: skip
    tx.flush()
    events.append(
        tx, clock, "exchange.reconciled", f"{source}-{consumer}", differing=len(differing),
        subjects=outcome.subjects, alarm=outcome.alarm,
    )  # fmt: skip
    return outcome


def last_drift(tx: Tx, source: str, consumer: str) -> ReconciliationRow | None:
    """The newest comparison of a pair (indicator X1)."""
    newest = select(func.max(ReconciliationRow.at)).where(
        ReconciliationRow.source == source, ReconciliationRow.consumer == consumer
    )
    return tx.scalar(
        select(ReconciliationRow).where(
            ReconciliationRow.source == source,
            ReconciliationRow.consumer == consumer,
            ReconciliationRow.at == newest.scalar_subquery(),
        )
    )
