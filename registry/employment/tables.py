"""Rows of the employment register. No other register reads them; messages tell what happened."""

from datetime import date, datetime

from sqlalchemy import CheckConstraint, Date, ForeignKey, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Instant, Table


class EmployerRow(Table):
    """An employer with an open account."""

    __tablename__ = "employment_employer"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    code: Mapped[str] = mapped_column(String(9), unique=True)
    name: Mapped[str] = mapped_column(String(60))
    address_code: Mapped[str] = mapped_column(String(25))
    declared_headcount: Mapped[int] = mapped_column(Integer)
    opened_at: Mapped[datetime] = mapped_column(Instant)
    closed_on: Mapped[date | None] = mapped_column(Date)


class WorkerRow(Table):
    """A person as this register knows it; `id` is the key under which the others hear of it."""

    __tablename__ = "employment_worker"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    citizen_id: Mapped[str] = mapped_column(String(18), unique=True)
    name: Mapped[str] = mapped_column(String(50))


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
    reported_at: Mapped[datetime] = mapped_column(Instant)
    end_reported_at: Mapped[datetime | None] = mapped_column(Instant)
    withdrawn_at: Mapped[datetime | None] = mapped_column(Instant)
