"""Rows of the employment register. No other register reads them; messages tell what happened."""

from datetime import date, datetime

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Instant, Table


class EmployerRow(Table):
    """An employer with an open account 网上立户."""

    __tablename__ = "employment_employer"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    code: Mapped[str] = mapped_column(String(9), unique=True)
    reg_no: Mapped[str] = mapped_column(String(15), default="")
    name: Mapped[str] = mapped_column(String(60))
    kind: Mapped[str] = mapped_column(String(10), default="ENTERPRISE")
    industry: Mapped[str] = mapped_column(String(20), default="")
    address_code: Mapped[str] = mapped_column(String(25), index=True)
    declared_headcount: Mapped[int] = mapped_column(Integer)
    opened_at: Mapped[datetime] = mapped_column(Instant)
    opened_by: Mapped[str] = mapped_column(String(60), default="")
    closed_on: Mapped[date | None] = mapped_column(Date)
    list_confirmed_on: Mapped[date | None] = mapped_column(Date)
    zero_declared_on: Mapped[date | None] = mapped_column(Date)


class OperatorRow(Table):
    """Who may act for an employer."""

    __tablename__ = "employment_operator"

    employer_id: Mapped[str] = mapped_column(ForeignKey("employment_employer.id"), primary_key=True)
    actor: Mapped[str] = mapped_column(String(60), primary_key=True)


class WorkerRow(Table):
    """A person as this register knows it; `id` is the key under which the others hear of it.

    `sealed`: number and name, see `workers.Worker`; `citizen_index` finds them.
    """

    __tablename__ = "employment_worker"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    citizen_index: Mapped[str] = mapped_column(String(32), unique=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)


class EmploymentRow(Table):
    """One spell of work; `end` is the last day worked. A withdrawn one never was."""

    __tablename__ = "employment_record"
    __table_args__ = (CheckConstraint('"end" IS NULL OR "end" >= start', name="interval"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    worker_id: Mapped[str] = mapped_column(ForeignKey("employment_worker.id"), index=True)
    employer_id: Mapped[str] = mapped_column(ForeignKey("employment_employer.id"), index=True)
    start: Mapped[date] = mapped_column(Date)
    end: Mapped[date | None] = mapped_column(Date)
    end_reason: Mapped[str | None] = mapped_column(String(2))
    contract_kind: Mapped[str] = mapped_column(String(10), default="")
    occupation: Mapped[str] = mapped_column(String(20), default="")
    lodging: Mapped[str] = mapped_column(String(10), default="")
    reported_at: Mapped[datetime] = mapped_column(Instant)
    end_reported_at: Mapped[datetime | None] = mapped_column(Instant)
    withdrawn_at: Mapped[datetime | None] = mapped_column(Instant)
    by_inspection: Mapped[bool] = mapped_column(Boolean, default=False)


class DraftRow(Table):
    """A worker typed in and SAVED: not reported yet, so the clock runs on (saved is not submitted).

    `sealed`: what was typed, by the template's columns; `draft_index` finds the worker's draft at the employer.
    """

    __tablename__ = "employment_draft"
    __table_args__ = (
        Index(
            "uq_employment_draft_open", "employer_id", "draft_index", unique=True,
            sqlite_where=text("submitted_at IS NULL"),
            postgresql_where=text("submitted_at IS NULL"),
        ),
    )  # fmt: skip

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    employer_id: Mapped[str] = mapped_column(ForeignKey("employment_employer.id"), index=True)
    draft_index: Mapped[str] = mapped_column(String(32))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    occurred_on: Mapped[date] = mapped_column(Date)
    saved_at: Mapped[datetime] = mapped_column(Instant)
    saved_by: Mapped[str] = mapped_column(String(60))
    submitted_at: Mapped[datetime | None] = mapped_column(Instant)
    record: Mapped[str | None] = mapped_column(ForeignKey("employment_record.id"))


class BatchRow(Table):
    """A file an employer sent in."""

    __tablename__ = "employment_batch"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    employer_id: Mapped[str] = mapped_column(ForeignKey("employment_employer.id"), index=True)
    sha256: Mapped[str] = mapped_column(String(64))
    sent_at: Mapped[datetime] = mapped_column(Instant)
    sent_by: Mapped[str] = mapped_column(String(60))
    rows: Mapped[int] = mapped_column(Integer)
    accepted: Mapped[int] = mapped_column(Integer)
    repeated: Mapped[int] = mapped_column(Integer)
    refused: Mapped[int] = mapped_column(Integer)


class BatchLineRow(Table):
    """A line that was accepted once: the same line again creates nothing. `line_index` is a keyed index."""

    __tablename__ = "employment_batch_line"

    employer_id: Mapped[str] = mapped_column(ForeignKey("employment_employer.id"), primary_key=True)
    line_index: Mapped[str] = mapped_column(String(32), primary_key=True)
    batch_id: Mapped[str] = mapped_column(ForeignKey("employment_batch.id"))
    record: Mapped[str] = mapped_column(ForeignKey("employment_record.id"))


class FeedEmployerRow(Table):
    """An employer as another office lists it: 工商 (GSJ), 质监 (ZJJ), or found by inspection."""

    __tablename__ = "employment_feed_employer"

    source: Mapped[str] = mapped_column(String(10), primary_key=True)
    line: Mapped[str] = mapped_column(String(40), primary_key=True)
    code: Mapped[str] = mapped_column(String(9), index=True)
    reg_no: Mapped[str] = mapped_column(String(15), index=True)
    name: Mapped[str] = mapped_column(String(60))
    kind: Mapped[str] = mapped_column(String(10))
    building: Mapped[str] = mapped_column(String(19))
    active: Mapped[bool] = mapped_column(Boolean)
    heard_on: Mapped[date] = mapped_column(Date)


class InspectionRow(Table):
    """A labour inspection 检查: why, what was found, what was ordered, how it ended."""

    __tablename__ = "employment_inspection"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    employer_id: Mapped[str] = mapped_column(ForeignKey("employment_employer.id"), index=True)
    opened_on: Mapped[date] = mapped_column(Date)
    inspector: Mapped[str] = mapped_column(String(60))
    risk: Mapped[int] = mapped_column(Integer)
    headcount_seen: Mapped[int | None] = mapped_column(Integer)
    headcount_known: Mapped[int | None] = mapped_column(Integer)
    order_due: Mapped[date | None] = mapped_column(Date)
    closed_on: Mapped[date | None] = mapped_column(Date)
    outcome: Mapped[str | None] = mapped_column(String(12))


class DisputeRow(Table):
    """«I never worked here»: a worker's case against a record."""

    __tablename__ = "employment_dispute"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    record: Mapped[str] = mapped_column(ForeignKey("employment_record.id"), index=True)
    opened_at: Mapped[datetime] = mapped_column(Instant)
    words: Mapped[str] = mapped_column(String(200))
    closed_at: Mapped[datetime | None] = mapped_column(Instant)
    closed_by: Mapped[str | None] = mapped_column(String(60))
    outcome: Mapped[str | None] = mapped_column(String(9))


class PermitNoteRow(Table):
    """What the residence register last said of a worker's permit; the highest `ssn` counts."""

    __tablename__ = "employment_permit_note"

    worker_id: Mapped[str] = mapped_column(ForeignKey("employment_worker.id"), primary_key=True)
    status: Mapped[str] = mapped_column(String(10))
    ssn: Mapped[int] = mapped_column(Integer)
