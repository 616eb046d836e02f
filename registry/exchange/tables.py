"""Rows of the exchange: messages sent, messages taken in, messages that found no taker."""

from datetime import date, datetime

from sqlalchemy import Date, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Instant, Table


class MessageRow(Table):
    """A sent message; the event that announces it carries the `msg_id`."""

    __tablename__ = "exchange_message"
    __table_args__ = (UniqueConstraint("source", "subject", "subject_seq"),)

    msg_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    type: Mapped[str] = mapped_column(String(40))
    source: Mapped[str] = mapped_column(String(20))
    subject: Mapped[str] = mapped_column(String(40))
    subject_seq: Mapped[int] = mapped_column(Integer)
    occurred_on: Mapped[date] = mapped_column(Date)
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    supersedes: Mapped[str | None] = mapped_column(String(36))
    payload: Mapped[str] = mapped_column(Text)
    payload_sha256: Mapped[str] = mapped_column(String(64))


class InboxRow(Table):
    """A message whose effect is in the same commit as this row."""

    __tablename__ = "exchange_inbox"

    consumer: Mapped[str] = mapped_column(String(20), primary_key=True)
    source: Mapped[str] = mapped_column(String(20), primary_key=True)
    msg_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    payload_sha256: Mapped[str] = mapped_column(String(64))
    taken_at: Mapped[datetime] = mapped_column(Instant)


class DeadLetterRow(Table):
    """A message the consumer's rules refused; its owner corrects with a new one that supersedes it."""

    __tablename__ = "exchange_dead_letter"

    consumer: Mapped[str] = mapped_column(String(20), primary_key=True)
    source: Mapped[str] = mapped_column(String(20), primary_key=True)
    msg_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    code: Mapped[str] = mapped_column(String(20))
    refused_at: Mapped[datetime] = mapped_column(Instant)
