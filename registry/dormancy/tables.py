"""Rows of the dormancy engine: notices, spells, breaker trips, tickets and the status list."""

from datetime import date, datetime

from sqlalchemy import (
    CheckConstraint,
    Date,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Instant, Table


class NoticeRow(Table):
    """A notice for an open gap; gone when the gap is."""

    __tablename__ = "dormancy_notice"

    permit_no: Mapped[str] = mapped_column(
        ForeignKey("residence_permit.permit_no"), primary_key=True
    )
    cause: Mapped[str] = mapped_column(String(3), primary_key=True)
    gap_start: Mapped[date] = mapped_column(Date)
    due: Mapped[date] = mapped_column(Date)
    sent_on: Mapped[date] = mapped_column(Date)


class DelayRow(Table):
    """Why a cause may not sleep before `until` is over: objection, dispute or emergency (6.8).

    One objection per gap; a person decides it until `decide_by`: UPHELD or DISMISSED.
    """

    __tablename__ = "dormancy_delay"
    __table_args__ = (
        UniqueConstraint("permit_no", "cause", "kind", "gap_start"),
        CheckConstraint("evidence <> ''", name="evidence"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    permit_no: Mapped[str] = mapped_column(ForeignKey("residence_permit.permit_no"), index=True)
    cause: Mapped[str] = mapped_column(String(3))
    kind: Mapped[str] = mapped_column(String(13))
    gap_start: Mapped[date] = mapped_column(Date)
    filed_on: Mapped[date] = mapped_column(Date)
    until: Mapped[date] = mapped_column(Date)
    evidence: Mapped[str] = mapped_column(String(200))
    actor: Mapped[str] = mapped_column(String(60))
    decide_by: Mapped[date | None] = mapped_column(Date)
    decided_on: Mapped[date | None] = mapped_column(Date)
    decided_by: Mapped[str | None] = mapped_column(String(60))
    outcome: Mapped[str | None] = mapped_column(String(9))


class CancellationCaseRow(Table):
    """A case for people: a death was reported, or the permit slept 24 months without a break.

    `trigger` is the record that reports the death, or the first day of the sleep; one case for each.
    """

    __tablename__ = "dormancy_cancellation_case"

    permit_no: Mapped[str] = mapped_column(
        ForeignKey("residence_permit.permit_no"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    trigger: Mapped[str] = mapped_column(String(40), primary_key=True)
    opened_on: Mapped[date] = mapped_column(Date)
    closed_on: Mapped[date | None] = mapped_column(Date)
    closed_by: Mapped[str | None] = mapped_column(String(60))


class SpellRow(Table):
    """One sleep for one cause with its four dates; `outcome` ENDED or VOIDED once it is over."""

    __tablename__ = "dormancy_spell"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    permit_no: Mapped[str] = mapped_column(ForeignKey("residence_permit.permit_no"), index=True)
    cause: Mapped[str] = mapped_column(String(3))
    gap_start: Mapped[date] = mapped_column(Date)
    fact_from: Mapped[date] = mapped_column(Date)
    server_from: Mapped[date] = mapped_column(Date)
    fact_to: Mapped[date | None] = mapped_column(Date)
    server_to: Mapped[date | None] = mapped_column(Date)
    not_counted: Mapped[int | None] = mapped_column(Integer)
    outcome: Mapped[str | None] = mapped_column(String(6))


class BreakerRow(Table):
    """A day on which the breaker stopped the sweep; two different persons may release it."""

    __tablename__ = "dormancy_breaker"
    __table_args__ = (
        CheckConstraint("first_person IS NULL OR first_person <> second_person", name="two"),
    )

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    count: Mapped[int] = mapped_column(Integer)
    limit: Mapped[int] = mapped_column(Integer)
    employer: Mapped[str] = mapped_column(String(40))
    first_person: Mapped[str | None] = mapped_column(String(60))
    second_person: Mapped[str | None] = mapped_column(String(60))


class TicketRow(Table):
    """One status record for one card (6.6). `record` are the 24 bytes, `mac` the issuer's 8."""

    __tablename__ = "dormancy_ticket"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    card_serial: Mapped[str] = mapped_column(ForeignKey("residence_card.card_serial"), index=True)
    ssn: Mapped[int] = mapped_column(Integer)
    record: Mapped[bytes] = mapped_column(LargeBinary(24))
    mac: Mapped[bytes | None] = mapped_column(LargeBinary(8))
    state: Mapped[str] = mapped_column(String(10))
    not_before: Mapped[datetime] = mapped_column(Instant)
    not_after: Mapped[datetime] = mapped_column(Instant)


class ListVersionRow(Table):
    """A published version of the status list; its digest is an event under seal."""

    __tablename__ = "dormancy_list_version"

    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    published_at: Mapped[datetime] = mapped_column(Instant)
    entries: Mapped[int] = mapped_column(Integer)
    digest: Mapped[str] = mapped_column(String(64))


class ListEntryRow(Table):
    """A change the version made to one card's entry; the newest row of a card is the entry in force."""

    __tablename__ = "dormancy_list_entry"

    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    card_hash: Mapped[str] = mapped_column(String(16), primary_key=True)
    action: Mapped[str] = mapped_column(String(1))
    cause: Mapped[int] = mapped_column(Integer)
    ssn: Mapped[int] = mapped_column(Integer)
    since: Mapped[date] = mapped_column(Date)
    expires: Mapped[date] = mapped_column(Date)
