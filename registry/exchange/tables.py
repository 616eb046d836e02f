"""Rows of the exchange: messages sent and on their way, taken in, waiting, refused; nightly comparisons."""

from datetime import date, datetime

from sqlalchemy import CheckConstraint, Date, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Instant, Table


class MessageRow(Table):
    """A sent message; the event that announces it carries the `msg_id`."""

    __tablename__ = "exchange_message"
    __table_args__ = (UniqueConstraint("source", "subject", "subject_seq"),)

    msg_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    type: Mapped[str] = mapped_column(String(40))
    schema: Mapped[str] = mapped_column(String(8))
    source: Mapped[str] = mapped_column(String(20))
    subject: Mapped[str] = mapped_column(String(40))
    subject_seq: Mapped[int] = mapped_column(Integer)
    occurred_on: Mapped[date] = mapped_column(Date)
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    supersedes: Mapped[str | None] = mapped_column(String(36))
    addressee: Mapped[str] = mapped_column(String(20), default="")
    payload: Mapped[str] = mapped_column(Text)
    payload_sha256: Mapped[str] = mapped_column(String(64))


class PostingRow(Table):
    """A message on its way to a consumer in another system; every attempt carries the same `msg_id`."""

    __tablename__ = "exchange_posting"
    __table_args__ = (Index("ix_exchange_posting_due", "consumer", "state", "next_try_at"),)

    consumer: Mapped[str] = mapped_column(String(20), primary_key=True)
    msg_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    state: Mapped[str] = mapped_column(String(8))
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    first_try_at: Mapped[datetime] = mapped_column(Instant)
    next_try_at: Mapped[datetime] = mapped_column(Instant)
    last_code: Mapped[str] = mapped_column(String(20), default="")


class InboxRow(Table):
    """A message whose effect is in the same commit as this row."""

    __tablename__ = "exchange_inbox"
    __table_args__ = (Index("ix_exchange_inbox_subject", "consumer", "source", "subject"),)

    consumer: Mapped[str] = mapped_column(String(20), primary_key=True)
    source: Mapped[str] = mapped_column(String(20), primary_key=True)
    msg_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    subject: Mapped[str] = mapped_column(String(40))
    subject_seq: Mapped[int] = mapped_column(Integer)
    payload_sha256: Mapped[str] = mapped_column(String(64))
    taken_at: Mapped[datetime] = mapped_column(Instant)


class WaitingRow(Table):
    """A message that came before an earlier one of its subject; it waits 15 minutes for the hole to close."""

    __tablename__ = "exchange_waiting"

    consumer: Mapped[str] = mapped_column(String(20), primary_key=True)
    source: Mapped[str] = mapped_column(String(20), primary_key=True)
    msg_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    subject: Mapped[str] = mapped_column(String(40))
    subject_seq: Mapped[int] = mapped_column(Integer)
    envelope: Mapped[str] = mapped_column(Text)
    arrived_at: Mapped[datetime] = mapped_column(Instant)


class DeadLetterRow(Table):
    """A message that found no taker: why, and what a person did about it (10.4).

    `category` business_reject, bad_request, provider_down or internal; `state` OPEN, REPLAYED, REPAIRED
    (a later message supersedes it) or DISCARDED (two persons, with a reason).
    """

    __tablename__ = "exchange_dead_letter"
    __table_args__ = (
        CheckConstraint("second_person IS NULL OR first_person <> second_person", name="two"),
    )

    consumer: Mapped[str] = mapped_column(String(20), primary_key=True)
    source: Mapped[str] = mapped_column(String(20), primary_key=True)
    msg_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    category: Mapped[str] = mapped_column(String(16))
    code: Mapped[str] = mapped_column(String(20))
    envelope: Mapped[str] = mapped_column(Text)
    refused_at: Mapped[datetime] = mapped_column(Instant)
    attempts: Mapped[int] = mapped_column(Integer, default=1)
    state: Mapped[str] = mapped_column(String(9), index=True)
    closed_at: Mapped[datetime | None] = mapped_column(Instant)
    first_person: Mapped[str | None] = mapped_column(String(60))
    second_person: Mapped[str | None] = mapped_column(String(60))
    reason: Mapped[str | None] = mapped_column(String(200))


class ReconciliationRow(Table):
    """One nightly comparison of a pair: subjects looked at, those that differed, messages sent again."""

    __tablename__ = "exchange_reconciliation"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    source: Mapped[str] = mapped_column(String(20))
    consumer: Mapped[str] = mapped_column(String(20))
    at: Mapped[datetime] = mapped_column(Instant)
    subjects: Mapped[int] = mapped_column(Integer)
    differing: Mapped[int] = mapped_column(Integer)
    replayed: Mapped[int] = mapped_column(Integer)
