"""Rows of the indicators: every value ever computed, and the blind samples behind some of them."""

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, Date, Float, ForeignKey, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Instant, Table


class IndicatorRow(Table):
    """One value of one day; numerator and denominator are what was counted or estimated."""

    __tablename__ = "indicator_value"

    indicator: Mapped[str] = mapped_column(String(4), primary_key=True)
    as_of: Mapped[date] = mapped_column(Date, primary_key=True)
    scope: Mapped[str] = mapped_column(String(20), primary_key=True)
    numerator: Mapped[int] = mapped_column(BigInteger)
    denominator: Mapped[int] = mapped_column(BigInteger)
    source: Mapped[str] = mapped_column(String(120))
    method: Mapped[str] = mapped_column(String(8))
    low: Mapped[float | None] = mapped_column(Float)
    high: Mapped[float | None] = mapped_column(Float)
    target_percent: Mapped[int | None] = mapped_column(Integer)
    verdict: Mapped[str] = mapped_column(String(14))
    computed_at: Mapped[datetime] = mapped_column(Instant)


class SampleRow(Table):
    """A sample: its seed, who drew it (never the measured office) and for what."""

    __tablename__ = "indicator_sample"
    __table_args__ = (CheckConstraint("kind IN ('R1','R2')", name="kind"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    kind: Mapped[str] = mapped_column(String(2))
    seed: Mapped[int] = mapped_column(BigInteger)
    drawn_by: Mapped[str] = mapped_column(String(60))
    drawn_on: Mapped[date] = mapped_column(Date)


class SampleUnitRow(Table):
    """A unit or record of a sample and what the blind check found there.

    R1: a unit; `found` people live there, `right` of them are registered there. R2: a record; `found` is 1,
    `right` 0 or 1.
    """

    __tablename__ = "indicator_sample_unit"
    __table_args__ = (CheckConstraint('"right" <= found', name="right"),)

    sample: Mapped[str] = mapped_column(ForeignKey("indicator_sample.id"), primary_key=True)
    unit: Mapped[str] = mapped_column(String(36), primary_key=True)
    stratum: Mapped[str] = mapped_column(String(20))
    found: Mapped[int | None] = mapped_column(Integer)
    right: Mapped[int | None] = mapped_column(Integer)
