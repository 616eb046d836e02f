"""Rows of the acceptance points: what stands there, who signed, who is trained, who is lent."""

from datetime import date, datetime

from sqlalchemy import Boolean, CheckConstraint, Date, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Instant, Table


class ReadyItemRow(Table):
    """One mandatory item of a point, green or not, with what shows it."""

    __tablename__ = "point_ready_item"

    point: Mapped[str] = mapped_column(String(3), primary_key=True)
    item: Mapped[str] = mapped_column(String(20), primary_key=True)
    green: Mapped[bool] = mapped_column(Boolean)
    evidence: Mapped[str] = mapped_column(String(200))
    noted_by: Mapped[str] = mapped_column(String(60))
    noted_at: Mapped[datetime] = mapped_column(Instant)


class ReadySignatureRow(Table):
    """Police or district office signs a point whose items are all green."""

    __tablename__ = "point_ready_signature"
    __table_args__ = (CheckConstraint("office IN ('POLICE','DISTRICT')", name="office"),)

    point: Mapped[str] = mapped_column(String(3), primary_key=True)
    office: Mapped[str] = mapped_column(String(8), primary_key=True)
    signed_by: Mapped[str] = mapped_column(String(60))
    signed_at: Mapped[datetime] = mapped_column(Instant)


class ExamRow(Table):
    """One exam of one person in one module."""

    __tablename__ = "point_exam"
    __table_args__ = (CheckConstraint("score BETWEEN 0 AND 100", name="score"),)

    person: Mapped[str] = mapped_column(String(60), primary_key=True)
    module: Mapped[str] = mapped_column(String(12), primary_key=True)
    held_on: Mapped[date] = mapped_column(Date, primary_key=True)
    score: Mapped[int] = mapped_column(Integer)
    examiner: Mapped[str] = mapped_column(String(60))


class SecondmentRow(Table):
    """A person lent to a point until the end date, on which every session ends."""

    __tablename__ = "point_secondment"
    __table_args__ = (CheckConstraint("ends_on >= starts_on", name="span"),)

    person: Mapped[str] = mapped_column(String(60), primary_key=True)
    starts_on: Mapped[date] = mapped_column(Date, primary_key=True)
    ends_on: Mapped[date] = mapped_column(Date)
    from_unit: Mapped[str] = mapped_column(String(60))
    point: Mapped[str] = mapped_column(String(3), index=True)
    returned_at: Mapped[datetime | None] = mapped_column(Instant)


class StaffRow(Table):
    """Somebody who works at a point, and for which audience the training was written."""

    __tablename__ = "point_staff"
    __table_args__ = (
        CheckConstraint("audience IN ('POINT_STAFF','TECHNICIAN','OTHER')", name="audience"),
    )

    person: Mapped[str] = mapped_column(String(60), primary_key=True)
    point: Mapped[str] = mapped_column(String(3), index=True)
    audience: Mapped[str] = mapped_column(String(12))
    lent: Mapped[bool] = mapped_column(Boolean)


class GrantRow(Table):
    """Who may sign in, as what, until when. The token itself is nowhere: `token_hash` is its SHA-256."""

    __tablename__ = "point_grant"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    person: Mapped[str] = mapped_column(String(60), index=True)
    roles: Mapped[str] = mapped_column(String(200))
    point: Mapped[str] = mapped_column(String(3), default="")
    last_day: Mapped[date] = mapped_column(Date)
    granted_by: Mapped[str] = mapped_column(String(60))
    granted_at: Mapped[datetime] = mapped_column(Instant)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant)
