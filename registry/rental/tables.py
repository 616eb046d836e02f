"""Rows of the rental-house register: addresses and who lives where."""

from datetime import date, datetime

from sqlalchemy import CheckConstraint, Date, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Instant, Table


class AddressRow(Table):
    """A coded dwelling. A code is never used again after RETIRED (I4): the row stays."""

    __tablename__ = "rental_address"
    __table_args__ = (
        CheckConstraint("status IN ('PROPOSED', 'ACTIVE', 'RETIRED')", name="status"),
    )

    code: Mapped[str] = mapped_column(String(25), primary_key=True)
    text: Mapped[str] = mapped_column(String(70))
    status: Mapped[str] = mapped_column(String(8))
    successor: Mapped[str | None] = mapped_column(String(25))
    changed_at: Mapped[datetime] = mapped_column(Instant)


class OccupantRow(Table):
    """A person as this register knows it; `id` is the key under which the others hear of it."""

    __tablename__ = "rental_occupant"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    citizen_id: Mapped[str] = mapped_column(String(18), unique=True)
    name: Mapped[str] = mapped_column(String(50))


class OccupancyRow(Table):
    """One spell of living at an address; `move_out` is the last day there."""

    __tablename__ = "rental_occupancy"
    __table_args__ = (CheckConstraint("move_out IS NULL OR move_out >= move_in", name="interval"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    occupant_id: Mapped[str] = mapped_column(ForeignKey("rental_occupant.id"), index=True)
    address_code: Mapped[str] = mapped_column(ForeignKey("rental_address.code"), index=True)
    move_in: Mapped[date] = mapped_column(Date)
    move_out: Mapped[date | None] = mapped_column(Date)
    reported_at: Mapped[datetime] = mapped_column(Instant)
    withdrawn_at: Mapped[datetime | None] = mapped_column(Instant)
