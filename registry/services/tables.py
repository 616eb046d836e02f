"""Rows of the services: where each stands, its open gate items, who is enrolled, which hook failed."""

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Instant, Table


class ServiceRow(Table):
    """One service; `version` of its manifest that was reviewed."""

    __tablename__ = "service"

    code: Mapped[str] = mapped_column(String(30), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, unique=True)
    version: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(16), index=True)
    limited_to: Mapped[str | None] = mapped_column(String(9))
    changed_at: Mapped[datetime] = mapped_column(Instant)


class GateItemRow(Table):
    """One item of the maturity gate, closed with evidence."""

    __tablename__ = "service_gate_item"

    code: Mapped[str] = mapped_column(ForeignKey("service.code"), primary_key=True)
    item: Mapped[str] = mapped_column(String(20), primary_key=True)
    evidence: Mapped[str] = mapped_column(String(200))
    closed_by: Mapped[str] = mapped_column(String(60))
    closed_at: Mapped[datetime] = mapped_column(Instant)


class ServiceSignatureRow(Table):
    """One organisation agrees to the next step of a service."""

    __tablename__ = "service_signature"

    code: Mapped[str] = mapped_column(ForeignKey("service.code"), primary_key=True)
    step: Mapped[str] = mapped_column(String(16), primary_key=True)
    organisation: Mapped[str] = mapped_column(String(60), primary_key=True)
    signed_by: Mapped[str] = mapped_column(String(60))
    signed_at: Mapped[datetime] = mapped_column(Instant)


class EnrolmentRow(Table):
    """A holder uses a service. `written` once the chip carries the entry."""

    __tablename__ = "service_enrolment"

    permit_no: Mapped[str] = mapped_column(String(18), primary_key=True)
    code: Mapped[str] = mapped_column(ForeignKey("service.code"), primary_key=True)
    consent: Mapped[str] = mapped_column(String(120))
    enrolled_at: Mapped[datetime] = mapped_column(Instant)
    active: Mapped[bool] = mapped_column(Boolean)


class HookErrorRow(Table):
    """A hook that failed or took too long: the permit went on, somebody looks at this."""

    __tablename__ = "service_hook_error"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    code: Mapped[str] = mapped_column(String(30), index=True)
    hook: Mapped[str] = mapped_column(String(12))
    permit_no: Mapped[str] = mapped_column(String(18))
    problem: Mapped[str] = mapped_column(String(120))
    at: Mapped[datetime] = mapped_column(Instant)
    repaired_at: Mapped[datetime | None] = mapped_column(Instant)
