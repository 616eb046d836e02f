"""Rows of the production centre. Invariants I1, I2 and I12 of production.md 14 are constraints here.

Blanks are counted by moves between places until a machine feeds them; from the feed on each plastic is
a row of its own. An order has work orders (attempts), a work order has at most one plastic.
"""

from datetime import date, datetime

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Instant, Table
from personalization.states import DEAD_WORK, LIVE


def _one(name: str, column: str, condition: str) -> Index:
    """At most one row per `column` among those that meet the condition."""
    where = text(condition)
    return Index(name, column, unique=True, sqlite_where=where, postgresql_where=where)


def _among(states: frozenset[str]) -> str:
    return ", ".join(f"'{state}'" for state in sorted(states))


class CommandRow(Table):
    """An operator's command by the id the client gave it: a double click finds it here."""

    __tablename__ = "production_command"

    id: Mapped[str] = mapped_column(String(60), primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    digest: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(Instant)
    result: Mapped[str] = mapped_column(Text)


class LotRow(Table):
    """A delivery of blanks. `lot` has 5 digits: the head of its card serials (residence.md 3.5)."""

    __tablename__ = "production_lot"

    lot: Mapped[str] = mapped_column(String(5), primary_key=True)
    supplier: Mapped[str] = mapped_column(String(60))
    stock: Mapped[str] = mapped_column(String(40))
    chip_type: Mapped[str] = mapped_column(String(20))
    transport_key: Mapped[str] = mapped_column(String(60))
    announced: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(12))
    quarantine_reason: Mapped[str | None] = mapped_column(String(200))


class TrayRow(Table):
    """Blanks given to one station for one batch: at most 100, one feeder load (section 7)."""

    __tablename__ = "production_tray"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    batch: Mapped[str] = mapped_column(ForeignKey("production_batch.number"), index=True)
    station: Mapped[str] = mapped_column(ForeignKey("production_station.name"), index=True)
    lot: Mapped[str] = mapped_column(ForeignKey("production_lot.lot"))
    opened_at: Mapped[datetime] = mapped_column(Instant)


class MoveRow(Table):
    """Blanks that went from one place to another: `supplier`, `vault`, `tray:<id>`, `destroyed`,
    `sample`, `lost`, `found`. Two people stand behind every move."""

    __tablename__ = "production_move"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint("source <> target", name="somewhere_else"),
        CheckConstraint("first_person <> second_person", name="two_persons"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    at: Mapped[datetime] = mapped_column(Instant)
    lot: Mapped[str] = mapped_column(ForeignKey("production_lot.lot"), index=True)
    source: Mapped[str] = mapped_column(String(60), index=True)
    target: Mapped[str] = mapped_column(String(60), index=True)
    quantity: Mapped[int] = mapped_column(Integer)
    first_person: Mapped[str] = mapped_column(String(60))
    second_person: Mapped[str] = mapped_column(String(60))
    note: Mapped[str] = mapped_column(String(200), default="")


class SerialRow(Table):
    """One card serial leased to a station. FREE in its block, USED by a card or VOID; never used twice."""

    __tablename__ = "production_serial"

    card_serial: Mapped[str] = mapped_column(String(14), primary_key=True)
    lot: Mapped[str] = mapped_column(ForeignKey("production_lot.lot"))
    station: Mapped[str] = mapped_column(String(30), index=True)
    leased_at: Mapped[datetime] = mapped_column(Instant)
    state: Mapped[str] = mapped_column(String(4))
    void_reason: Mapped[str | None] = mapped_column(String(60))


class StationRow(Table):
    """A printer with its reader. `state` is the station's own word, `stop_reason` set holds it back."""

    __tablename__ = "production_station"

    name: Mapped[str] = mapped_column(String(30), primary_key=True)
    printer_serial: Mapped[str | None] = mapped_column(String(40))
    reader: Mapped[str | None] = mapped_column(String(120))
    paired_at: Mapped[datetime | None] = mapped_column(Instant)
    operator: Mapped[str | None] = mapped_column(String(60))
    state: Mapped[str] = mapped_column(String(20))
    sentence: Mapped[str] = mapped_column(String(300), default="")
    seen_at: Mapped[datetime] = mapped_column(Instant)
    draining: Mapped[bool] = mapped_column(Boolean, default=False)
    stop_reason: Mapped[str | None] = mapped_column(String(60))
    stopped_at: Mapped[datetime | None] = mapped_column(Instant)
    cleared_at: Mapped[datetime | None] = mapped_column(Instant)
    ribbon: Mapped[str | None] = mapped_column(String(40))
    ribbon_left: Mapped[int | None] = mapped_column(Integer)
    journal_seq: Mapped[int] = mapped_column(Integer, default=0)


class BatchRow(Table):
    """Work released together, for one point or (`point` None) for several small ones."""

    __tablename__ = "production_batch"
    __table_args__ = (
        CheckConstraint("released_by IS NULL OR released_by <> created_by", name="two_persons"),
    )

    number: Mapped[str] = mapped_column(String(14), primary_key=True)
    point: Mapped[str | None] = mapped_column(String(3))
    template: Mapped[str] = mapped_column(String(40))
    template_sha256: Mapped[str] = mapped_column(String(64))
    profile: Mapped[str] = mapped_column(String(40))
    state: Mapped[str] = mapped_column(String(12), index=True)
    created_at: Mapped[datetime] = mapped_column(Instant)
    created_by: Mapped[str] = mapped_column(String(60))
    released_by: Mapped[str | None] = mapped_column(String(60))
    released_at: Mapped[datetime | None] = mapped_column(Instant)
    finished_at: Mapped[datetime | None] = mapped_column(Instant)
    closed_by: Mapped[str | None] = mapped_column(String(60))
    closed_at: Mapped[datetime | None] = mapped_column(Instant)


class BatchHandRow(Table):
    """Who had a hand in a batch, and how: what they may no longer do follows from it (I10)."""

    __tablename__ = "production_batch_hand"

    batch: Mapped[str] = mapped_column(ForeignKey("production_batch.number"), primary_key=True)
    person: Mapped[str] = mapped_column(String(60), primary_key=True)
    part: Mapped[str] = mapped_column(String(12), primary_key=True)


class OrderRow(Table):
    """A ProductionOrder: one application's card, from approval to the counter."""

    __tablename__ = "production_order"

    acc_no: Mapped[str] = mapped_column(String(18), primary_key=True)
    permit_no: Mapped[str] = mapped_column(String(18))
    point: Mapped[str] = mapped_column(String(3), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    priority: Mapped[int] = mapped_column(Integer)  # 1 urgent, 2 normal, 3 bulk (section 7)
    bump_reason: Mapped[str | None] = mapped_column(String(200))
    ordered_at: Mapped[datetime] = mapped_column(Instant)
    due_on: Mapped[date | None] = mapped_column(Date)
    state: Mapped[str] = mapped_column(String(10), index=True)  # OPEN, DONE, HUMAN, WITHDRAWN
    trouble: Mapped[str | None] = mapped_column(String(60))


class WorkOrderRow(Table):
    """One attempt. At most one per application that is neither failed nor cancelled (4.2)."""

    __tablename__ = "production_work_order"
    __table_args__ = (
        CheckConstraint("attempt BETWEEN 1 AND 3", name="attempts"),
        Index(
            "uq_production_work_order_attempt", "acc_no", "attempt", unique=True,
            sqlite_where=text("state <> 'CANCELLED'"),
            postgresql_where=text("state <> 'CANCELLED'"),
        ),
        _one(
            "uq_production_work_order_live", "acc_no", f"state NOT IN ({_among(DEAD_WORK)})"
        ),
    )  # fmt: skip

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    acc_no: Mapped[str] = mapped_column(ForeignKey("production_order.acc_no"), index=True)
    attempt: Mapped[int] = mapped_column(Integer)
    remake_of: Mapped[str | None] = mapped_column(String(36))
    state: Mapped[str] = mapped_column(String(10), index=True)
    created_at: Mapped[datetime] = mapped_column(Instant)
    template: Mapped[str] = mapped_column(String(40))
    profile: Mapped[str] = mapped_column(String(40))
    data_sha256: Mapped[str | None] = mapped_column(String(64))
    batch: Mapped[str | None] = mapped_column(ForeignKey("production_batch.number"), index=True)
    station: Mapped[str | None] = mapped_column(String(30))
    operator: Mapped[str | None] = mapped_column(String(60))
    tray: Mapped[str | None] = mapped_column(ForeignKey("production_tray.id"))
    token: Mapped[int | None] = mapped_column(Integer)
    claimed_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)


class PlasticRow(Table):
    """One physical card from the feed on. I1: chip serial and card serial once for ever; I2: one live
    card per application."""

    __tablename__ = "production_card"
    __table_args__ = (
        UniqueConstraint("work_order", "token", "feed"),
        _one("uq_production_card_live", "acc_no", f"place IN ({_among(LIVE)})"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    work_order: Mapped[str] = mapped_column(ForeignKey("production_work_order.id"), index=True)
    token: Mapped[int] = mapped_column(Integer)
    feed: Mapped[int] = mapped_column(Integer)  # 1, or 2 when a double feed took two blanks
    acc_no: Mapped[str] = mapped_column(String(18), index=True)
    chip_serial: Mapped[str | None] = mapped_column(String(16), unique=True)
    card_serial: Mapped[str | None] = mapped_column(
        ForeignKey("production_serial.card_serial"), unique=True
    )
    lot: Mapped[str] = mapped_column(ForeignKey("production_lot.lot"), index=True)
    tray: Mapped[str] = mapped_column(ForeignKey("production_tray.id"), index=True)
    batch: Mapped[str] = mapped_column(ForeignKey("production_batch.number"), index=True)
    station: Mapped[str] = mapped_column(String(30), index=True)
    ribbon: Mapped[str | None] = mapped_column(String(40))
    place: Mapped[str] = mapped_column(String(12), index=True)
    fed_at: Mapped[datetime] = mapped_column(Instant)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    cycle_seconds: Mapped[float | None] = mapped_column(Float)
    arrived_at: Mapped[datetime | None] = mapped_column(Instant)  # at its point
    parcel: Mapped[str | None] = mapped_column(String(20), index=True)
    act: Mapped[str | None] = mapped_column(String(20))


class SpoilRow(Table):
    """Why one plastic is waste. `body` identifies a card whose chip says nothing."""

    __tablename__ = "production_spoil"

    card: Mapped[str] = mapped_column(ForeignKey("production_card.id"), primary_key=True)
    code: Mapped[str] = mapped_column(String(3), index=True)
    step: Mapped[str] = mapped_column(String(20))
    at: Mapped[datetime] = mapped_column(Instant)
    operator: Mapped[str] = mapped_column(String(60))
    witness: Mapped[str | None] = mapped_column(String(60))
    reject_box: Mapped[str] = mapped_column(String(40))
    body: Mapped[str | None] = mapped_column(String(40))
    note: Mapped[str] = mapped_column(String(200), default="")


class CountRow(Table):
    """A blind count: the person said a number without seeing the expected one."""

    __tablename__ = "production_count"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    what: Mapped[str] = mapped_column(String(60), index=True)
    batch: Mapped[str | None] = mapped_column(String(14), index=True)
    turn: Mapped[int] = mapped_column(Integer)
    counted: Mapped[int] = mapped_column(Integer)
    expected: Mapped[int] = mapped_column(Integer)
    person: Mapped[str] = mapped_column(String(60))
    at: Mapped[datetime] = mapped_column(Instant)


class IncidentRow(Table):
    """Something that two people have to explain."""

    __tablename__ = "production_incident"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), index=True)
    subject: Mapped[str] = mapped_column(String(60), index=True)
    batch: Mapped[str | None] = mapped_column(String(14), index=True)
    amount: Mapped[int] = mapped_column(Integer, default=0)
    what: Mapped[str] = mapped_column(String(300))
    opened_at: Mapped[datetime] = mapped_column(Instant)
    opened_by: Mapped[str] = mapped_column(String(60))
    decision: Mapped[str | None] = mapped_column(String(300))
    first_person: Mapped[str | None] = mapped_column(String(60))
    second_person: Mapped[str | None] = mapped_column(String(60))
    closed_at: Mapped[datetime | None] = mapped_column(Instant)


class JournalRow(Table):
    """A line of a station's own journal (`station_journal.Entry`), taken in once by (station, sequence)."""

    __tablename__ = "production_journal"

    station: Mapped[str] = mapped_column(String(30), primary_key=True)
    sequence: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[str] = mapped_column(String(40))
    step: Mapped[str] = mapped_column(String(20))
    phase: Mapped[str] = mapped_column(String(8))
    work_order: Mapped[str] = mapped_column(String(36), index=True)
    token: Mapped[int] = mapped_column(Integer)
    facts: Mapped[str] = mapped_column(Text)
    previous: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))


class InspectionRow(Table):
    """What QC saw of one card."""

    __tablename__ = "production_inspection"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    card: Mapped[str] = mapped_column(ForeignKey("production_card.id"), index=True)
    kind: Mapped[str] = mapped_column(String(12))  # ASSOCIATION, VISUAL
    inspector: Mapped[str] = mapped_column(String(60))
    at: Mapped[datetime] = mapped_column(Instant)
    passed: Mapped[bool] = mapped_column(Boolean)
    code: Mapped[str | None] = mapped_column(String(3))
    note: Mapped[str] = mapped_column(String(200), default="")


class ParcelRow(Table):
    """A sealed bag of cards for one point."""

    __tablename__ = "production_parcel"

    number: Mapped[str] = mapped_column(String(20), primary_key=True)
    point: Mapped[str] = mapped_column(String(3), index=True)
    state: Mapped[str] = mapped_column(String(12), index=True)
    opened_at: Mapped[datetime] = mapped_column(Instant)
    packed_by: Mapped[str] = mapped_column(String(60))
    seals: Mapped[str | None] = mapped_column(String(60))
    manifest_sha256: Mapped[str | None] = mapped_column(String(64))
    sealed_by: Mapped[str | None] = mapped_column(String(60))
    courier: Mapped[str | None] = mapped_column(String(60))
    sent_at: Mapped[datetime | None] = mapped_column(Instant)
    received_by: Mapped[str | None] = mapped_column(String(60))
    received_at: Mapped[datetime | None] = mapped_column(Instant)
    reconciled_by: Mapped[str | None] = mapped_column(String(60))


class ParcelScanRow(Table):
    """One card scanned into a parcel (PACK) or out of it (RECEIPT), in scan order."""

    __tablename__ = "production_parcel_scan"
    __table_args__ = (UniqueConstraint("parcel", "way", "position"),)

    parcel: Mapped[str] = mapped_column(ForeignKey("production_parcel.number"), primary_key=True)
    way: Mapped[str] = mapped_column(String(8), primary_key=True)
    card_serial: Mapped[str] = mapped_column(String(14), primary_key=True)
    position: Mapped[int] = mapped_column(Integer)
    person: Mapped[str] = mapped_column(String(60))
    at: Mapped[datetime] = mapped_column(Instant)


class ActRow(Table):
    """A destruction act: its cards point to it, two people signed it."""

    __tablename__ = "production_act"
    __table_args__ = (CheckConstraint("first_person <> second_person", name="two_persons"),)

    number: Mapped[str] = mapped_column(String(20), primary_key=True)
    at: Mapped[datetime] = mapped_column(Instant)
    method: Mapped[str] = mapped_column(String(60))
    first_person: Mapped[str] = mapped_column(String(60))
    second_person: Mapped[str] = mapped_column(String(60))
    photo_ref: Mapped[str] = mapped_column(String(60), default="")
