"""Rows of the rental-house register: addresses, plates, cards, units, owners, contracts, who lives where."""

from datetime import date, datetime

from sqlalchemy import (
    Boolean,
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


class AddressRow(Table):
    """A coded dwelling. A code is never used again after RETIRED (I4): the row stays.

    `scheme` names the reading of the 25 digits; `key` is the normalised text, by which texts are matched.
    """

    __tablename__ = "rental_address"
    __table_args__ = (
        CheckConstraint(
            "status IN ('PROPOSED', 'NUMBERED', 'PLATED', 'CODED', 'CARDED', 'ACTIVE', 'RETIRED')",
            name="status",
        ),
    )

    code: Mapped[str] = mapped_column(String(25), primary_key=True)
    building: Mapped[str] = mapped_column(String(19), index=True)
    text: Mapped[str] = mapped_column(String(70))
    key: Mapped[str] = mapped_column(String(120), index=True)
    scheme: Mapped[str] = mapped_column(String(10), default="SZ25v1")
    status: Mapped[str] = mapped_column(String(8))
    changed_at: Mapped[datetime] = mapped_column(Instant)


class SuccessorRow(Table):
    """A retired code and one that took its place; several when it was split."""

    __tablename__ = "rental_successor"

    code: Mapped[str] = mapped_column(ForeignKey("rental_address.code"), primary_key=True)
    successor: Mapped[str] = mapped_column(ForeignKey("rental_address.code"), primary_key=True)


class PlateRow(Table):
    """A door plate 门楼牌 (N1 to N8 of residence.md 7.2). `code` is a room's 25 or a building's 19 digits."""

    __tablename__ = "rental_plate"
    __table_args__ = (
        CheckConstraint("kind IN ('DOOR', 'BUILDING', 'UNIT', 'ROOM')", name="kind"),
        CheckConstraint("state IN ('MADE', 'HUNG', 'REMOVED')", name="state"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    text: Mapped[str] = mapped_column(String(70))
    key: Mapped[str] = mapped_column(String(120), index=True)
    road: Mapped[str] = mapped_column(String(40), index=True)
    number: Mapped[int] = mapped_column(Integer)
    sub_no: Mapped[int] = mapped_column(Integer, default=0)
    temporary: Mapped[bool] = mapped_column(Boolean, default=False)
    code: Mapped[str] = mapped_column(String(25), index=True)
    made_on: Mapped[date] = mapped_column(Date)
    hung_on: Mapped[date | None] = mapped_column(Date)
    hung_by: Mapped[str | None] = mapped_column(String(60))
    state: Mapped[str] = mapped_column(String(7))


class ReservedNumberRow(Table):
    """A number kept for an empty plot, or a historic gap that is on record (N1)."""

    __tablename__ = "rental_reserved_number"

    road: Mapped[str] = mapped_column(String(40), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    why: Mapped[str] = mapped_column(String(60))


class CodeCardRow(Table):
    """An address-code card 地址编码卡: the label at the unit with text, 27 digits and barcode."""

    __tablename__ = "rental_code_card"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    code: Mapped[str] = mapped_column(ForeignKey("rental_address.code"), index=True)
    symbol: Mapped[str] = mapped_column(String(27))
    printed_on: Mapped[date] = mapped_column(Date)
    posted_on: Mapped[date | None] = mapped_column(Date)
    posted_by: Mapped[str | None] = mapped_column(String(60))
    replaced_on: Mapped[date | None] = mapped_column(Date)


class CensusRow(Table):
    """The field census: what counters found, independent of the register (the denominator of A1 to A4)."""

    __tablename__ = "rental_census"

    code: Mapped[str] = mapped_column(String(25), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    text: Mapped[str] = mapped_column(String(70))
    rented: Mapped[bool] = mapped_column(Boolean)
    counted_on: Mapped[date] = mapped_column(Date)


class ResponsibleRow(Table):
    """An owner or other person obliged to report 申报义务人.

    `sealed`: key (a citizen number or organisation code), name and telephone; `key_index` finds them.
    """

    __tablename__ = "rental_responsible"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    key_index: Mapped[str] = mapped_column(String(32), unique=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    proxy_of: Mapped[str | None] = mapped_column(ForeignKey("rental_responsible.id"))


class UnitRow(Table):
    """A rented unit 出租屋; each belongs to one of the 18 stations."""

    __tablename__ = "rental_unit"
    __table_args__ = (CheckConstraint("capacity > 0", name="capacity"),)

    code: Mapped[str] = mapped_column(ForeignKey("rental_address.code"), primary_key=True)
    responsible_id: Mapped[str] = mapped_column(ForeignKey("rental_responsible.id"), index=True)
    use: Mapped[str] = mapped_column(String(9))
    capacity: Mapped[int] = mapped_column(Integer)
    station: Mapped[str] = mapped_column(String(3), index=True)
    risk: Mapped[int] = mapped_column(Integer, default=0)
    open: Mapped[bool] = mapped_column(Boolean, default=True)


class ContractRow(Table):
    """A rental contract 租赁合同."""

    __tablename__ = "rental_contract"
    __table_args__ = (CheckConstraint("last_day >= first_day", name="interval"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    code: Mapped[str] = mapped_column(ForeignKey("rental_unit.code"), index=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("rental_occupant.id"), index=True)
    first_day: Mapped[date] = mapped_column(Date)
    last_day: Mapped[date] = mapped_column(Date)
    registered_on: Mapped[date] = mapped_column(Date)
    terminated_on: Mapped[date | None] = mapped_column(Date)


class OccupantRow(Table):
    """A person as this register knows it; `id` is the key under which the others hear of it.

    `sealed`: number and name, see `occupants.Occupant`; `citizen_index` finds them.
    """

    __tablename__ = "rental_occupant"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    citizen_index: Mapped[str] = mapped_column(String(32), unique=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)


class OccupancyRow(Table):
    """One spell of living at an address; `move_out` is the last day there.

    VERIFIED needs both offices: station and police (5.5 of the order). Two clocks: `reported_at` is when the
    landlord or person told it, `updated_at` when the station's entry was complete.
    """

    __tablename__ = "rental_occupancy"
    __table_args__ = (CheckConstraint("move_out IS NULL OR move_out >= move_in", name="interval"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    occupant_id: Mapped[str] = mapped_column(ForeignKey("rental_occupant.id"), index=True)
    address_code: Mapped[str] = mapped_column(ForeignKey("rental_address.code"), index=True)
    bed: Mapped[str] = mapped_column(String(10), default="")
    relation: Mapped[str] = mapped_column(String(10), default="TENANT")
    origin: Mapped[str] = mapped_column(String(9), default="STATION")
    move_in: Mapped[date] = mapped_column(Date)
    move_out: Mapped[date | None] = mapped_column(Date)
    reported_at: Mapped[datetime] = mapped_column(Instant)
    updated_at: Mapped[datetime] = mapped_column(Instant)
    out_reported_at: Mapped[datetime | None] = mapped_column(Instant)
    out_updated_at: Mapped[datetime | None] = mapped_column(Instant)
    station_saw_at: Mapped[datetime | None] = mapped_column(Instant)
    police_saw_at: Mapped[datetime | None] = mapped_column(Instant)
    unresolved: Mapped[bool] = mapped_column(Boolean, default=False)
    withdrawn_at: Mapped[datetime | None] = mapped_column(Instant)


class VisitRow(Table):
    """A patrol visit 巡查; the form's number makes a second upload harmless. `form_index` is a keyed index."""

    __tablename__ = "rental_visit"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    code: Mapped[str] = mapped_column(ForeignKey("rental_unit.code"), index=True)
    at: Mapped[datetime] = mapped_column(Instant)
    officer: Mapped[str] = mapped_column(String(60))
    confirmed: Mapped[int] = mapped_column(Integer)
    added: Mapped[int] = mapped_column(Integer)
    missing: Mapped[int] = mapped_column(Integer)
    form_index: Mapped[str] = mapped_column(String(32))


class AbsenceRow(Table):
    """A registered person whom a visit did not find; two in a row propose a move-out (ghosts)."""

    __tablename__ = "rental_absence"
    __table_args__ = (UniqueConstraint("occupancy_id", "visit_id"),)

    occupancy_id: Mapped[str] = mapped_column(ForeignKey("rental_occupancy.id"), primary_key=True)
    visit_id: Mapped[str] = mapped_column(ForeignKey("rental_visit.id"), primary_key=True)


class RentalTaskRow(Table):
    """Something for a person: mismatch, ghost, conflict of two hand-held entries, dwelling without a code."""

    __tablename__ = "rental_task"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    kind: Mapped[str] = mapped_column(String(12), index=True)
    subject: Mapped[str] = mapped_column(String(40), index=True)
    detail: Mapped[str] = mapped_column(String(400))
    opened_on: Mapped[date] = mapped_column(Date)
    due_on: Mapped[date] = mapped_column(Date)
    closed_on: Mapped[date | None] = mapped_column(Date)
    closed_by: Mapped[str | None] = mapped_column(String(60))
    outcome: Mapped[str | None] = mapped_column(String(60))


class PermitNoteRow(Table):
    """What the residence register last said of an occupant's permit; the highest `ssn` counts."""

    __tablename__ = "rental_permit_note"

    occupant_id: Mapped[str] = mapped_column(ForeignKey("rental_occupant.id"), primary_key=True)
    status: Mapped[str] = mapped_column(String(10))
    ssn: Mapped[int] = mapped_column(Integer)
