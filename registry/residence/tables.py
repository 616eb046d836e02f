"""Rows of the residence register. Invariants I1, I2, I3 and I9 of residence.md 4.5 are constraints here."""

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


def _one(name: str, column: str, condition: str) -> Index:
    """At most one row per `column` among those that meet the condition."""
    where = text(condition)
    return Index(name, column, unique=True, sqlite_where=where, postgresql_where=where)


class PhotoRow(Table):
    """A portrait that passed the photo rule, by its receipt number; `sealed`: the JPEG, see `portraits`."""

    __tablename__ = "residence_photo"

    ref: Mapped[str] = mapped_column(String(36), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)


class PersonRow(Table):
    """A person who applied for a permit.

    `sealed`: number, name, household address and telephone, see `persons.Personal`; `citizen_index` finds them.
    None: the particulars are gone, see `retention`.
    """

    __tablename__ = "residence_person"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    citizen_index: Mapped[str] = mapped_column(String(32), unique=True)
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    sex: Mapped[int] = mapped_column(Integer)
    ethnic: Mapped[int] = mapped_column(Integer)
    birth: Mapped[date] = mapped_column(Date)
    photo_ref: Mapped[str | None] = mapped_column(ForeignKey("residence_photo.ref"))
    identity_level: Mapped[int] = mapped_column(Integer)
    purse_account: Mapped[str] = mapped_column(String(16), unique=True)


class ApplicationRow(Table):
    """An application through all states of 5.3. I1: one open application per person.

    `sealed`: the guardian, when there is one.
    """

    __tablename__ = "residence_application"
    __table_args__ = (
        _one("uq_residence_application_open", "person_id", "open"),
        CheckConstraint("decided_by IS NULL OR decided_by <> accepted_by", name="two_persons"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    acc_no: Mapped[str | None] = mapped_column(String(18), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    person_id: Mapped[str] = mapped_column(ForeignKey("residence_person.id"), index=True)
    basis: Mapped[str] = mapped_column(String(12))
    address_code: Mapped[str] = mapped_column(String(25))
    point: Mapped[str] = mapped_column(String(3))
    channel: Mapped[str] = mapped_column(String(12), default="WINDOW")
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    state_since: Mapped[datetime] = mapped_column(Instant)
    reminders: Mapped[int] = mapped_column(Integer, default=0)
    state: Mapped[str] = mapped_column(String(16), index=True)
    open: Mapped[bool] = mapped_column(Boolean, default=True)
    urgent: Mapped[bool] = mapped_column(Boolean, default=False)
    saved_at: Mapped[datetime] = mapped_column(Instant)
    submitted_at: Mapped[datetime | None] = mapped_column(Instant)
    accepted_at: Mapped[datetime | None] = mapped_column(Instant)
    accepted_by: Mapped[str | None] = mapped_column(String(60))
    decided_at: Mapped[datetime | None] = mapped_column(Instant)
    decided_by: Mapped[str | None] = mapped_column(String(60))
    due_on: Mapped[date | None] = mapped_column(Date)
    fee_fen: Mapped[int] = mapped_column(Integer, default=0)
    fee_receipt: Mapped[str | None] = mapped_column(String(40))
    labour_answer: Mapped[str | None] = mapped_column(String(8))
    rental_answer: Mapped[str | None] = mapped_column(String(8))
    returns: Mapped[int] = mapped_column(Integer, default=0)
    reason: Mapped[str | None] = mapped_column(String(200))
    permit_no: Mapped[str | None] = mapped_column(String(18))
    saved_by: Mapped[str] = mapped_column(String(60))
    row_version: Mapped[int] = mapped_column(Integer)

    __mapper_args__ = {"version_id_col": row_version}  # noqa: RUF012 - counts up with every change


class FeeItemRow(Table):
    """A price from a day on, with the document that approved it; two different persons enter it."""

    __tablename__ = "residence_fee_item"
    __table_args__ = (
        CheckConstraint("entered_by <> approved_by", name="two_persons"),
        CheckConstraint("price_fen >= 0", name="price"),
    )

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    valid_from: Mapped[date] = mapped_column(Date, primary_key=True)
    price_fen: Mapped[int] = mapped_column(Integer)
    document: Mapped[str] = mapped_column(String(80))
    entered_by: Mapped[str] = mapped_column(String(60))
    approved_by: Mapped[str] = mapped_column(String(60))


class PaymentRow(Table):
    """A fee paid once per application; the receipt number is never used twice."""

    __tablename__ = "residence_payment"

    acc_no: Mapped[str] = mapped_column(String(18), primary_key=True)
    receipt: Mapped[str] = mapped_column(String(40), index=True)
    amount_fen: Mapped[int] = mapped_column(Integer)
    paid_at: Mapped[datetime] = mapped_column(Instant)
    refunded_at: Mapped[datetime | None] = mapped_column(Instant)
    refund_reason: Mapped[str | None] = mapped_column(String(80))


class WorkItemRow(Table):
    """A step that waits too long, with the exact missing answer; escalated once per waiting."""

    __tablename__ = "residence_work_item"

    acc_no: Mapped[str] = mapped_column(String(18), primary_key=True)
    state: Mapped[str] = mapped_column(String(16), primary_key=True)
    since: Mapped[datetime] = mapped_column(Instant, primary_key=True)
    missing: Mapped[str] = mapped_column(String(80))
    opened_at: Mapped[datetime] = mapped_column(Instant)
    closed_at: Mapped[datetime | None] = mapped_column(Instant)


class LossReportRow(Table):
    """A report of loss: oral at once, in writing within 15 days, or a person calls back."""

    __tablename__ = "residence_loss_report"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    permit_no: Mapped[str] = mapped_column(ForeignKey("residence_permit.permit_no"), index=True)
    channel: Mapped[str] = mapped_column(String(7))
    reported_at: Mapped[datetime] = mapped_column(Instant)
    effective_for_terminals_at: Mapped[datetime] = mapped_column(Instant)
    confirm_by: Mapped[date] = mapped_column(Date)
    confirmed_at: Mapped[datetime | None] = mapped_column(Instant)
    withdrawn_at: Mapped[datetime | None] = mapped_column(Instant)
    called_back_at: Mapped[datetime | None] = mapped_column(Instant)


class AccessRow(Table):
    """Who looked at whose record, for what purpose and case; the holder may read it."""

    __tablename__ = "residence_access"
    __table_args__ = (CheckConstraint("case_no <> ''", name="case"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("residence_person.id"), index=True)
    at: Mapped[datetime] = mapped_column(Instant)
    actor: Mapped[str] = mapped_column(String(60))
    role: Mapped[str] = mapped_column(String(20))
    purpose: Mapped[str] = mapped_column(String(12))
    case_no: Mapped[str] = mapped_column(String(40))
    full: Mapped[bool] = mapped_column(Boolean)


class LegalHoldRow(Table):
    """A person whose data are kept for a case, past their time if need be."""

    __tablename__ = "residence_legal_hold"
    __table_args__ = (CheckConstraint("case_no <> ''", name="case"),)

    person_id: Mapped[str] = mapped_column(ForeignKey("residence_person.id"), primary_key=True)
    since: Mapped[datetime] = mapped_column(Instant)
    case_no: Mapped[str] = mapped_column(String(40))
    placed_by: Mapped[str] = mapped_column(String(60))


class PermitRow(Table):
    """A permit with its present status; what it was before stands in `StatusEventRow`."""

    __tablename__ = "residence_permit"
    __table_args__ = (_one("uq_residence_permit_live", "person_id", "status <> 5"),)

    permit_no: Mapped[str] = mapped_column(String(18), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("residence_person.id"))
    type: Mapped[str] = mapped_column(String(3))
    basis: Mapped[str] = mapped_column(String(12))
    address_code: Mapped[str] = mapped_column(String(25))
    issued_on: Mapped[date] = mapped_column(Date)
    valid_until: Mapped[date] = mapped_column(Date)
    handed_over: Mapped[bool] = mapped_column(Boolean, default=False)
    offered: Mapped[bool] = mapped_column(Boolean, default=False)
    status: Mapped[int] = mapped_column(Integer)
    causes: Mapped[int] = mapped_column(Integer)
    ssn: Mapped[int] = mapped_column(Integer)
    effective_on: Mapped[date] = mapped_column(Date)
    lease_until: Mapped[date] = mapped_column(Date)


class HoldRow(Table):
    """One hold of a permit. Each kind comes and goes on its own (I10)."""

    __tablename__ = "residence_hold"
    __table_args__ = (CheckConstraint("evidence <> ''", name="evidence"),)

    permit_no: Mapped[str] = mapped_column(
        ForeignKey("residence_permit.permit_no"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    since: Mapped[datetime] = mapped_column(Instant)
    stolen: Mapped[bool] = mapped_column(Boolean, default=False)
    evidence: Mapped[str] = mapped_column(String(200))


class StatusEventRow(Table):
    """One status change. I3: `ssn` rises by one per permit; I9: never without evidence."""

    __tablename__ = "residence_status_event"
    __table_args__ = (CheckConstraint("evidence <> ''", name="evidence"),)

    permit_no: Mapped[str] = mapped_column(
        ForeignKey("residence_permit.permit_no"), primary_key=True
    )
    ssn: Mapped[int] = mapped_column(Integer, primary_key=True)
    before: Mapped[int] = mapped_column(Integer)
    after: Mapped[int] = mapped_column(Integer)
    causes: Mapped[int] = mapped_column(Integer)
    effective_at: Mapped[datetime] = mapped_column(Instant)
    fact_from: Mapped[date | None] = mapped_column(Date)
    lease_until: Mapped[date] = mapped_column(Date)
    policy: Mapped[int] = mapped_column(Integer)
    actor: Mapped[str] = mapped_column(String(60))
    evidence: Mapped[str] = mapped_column(String(200))


class CardRow(Table):
    """One physical card. I2: at most one ISSUED (and one BOUND) card per permit."""

    __tablename__ = "residence_card"
    __table_args__ = (
        _one("uq_residence_card_issued", "permit_no", "state = 'ISSUED'"),
        _one("uq_residence_card_bound", "permit_no", "state = 'BOUND'"),
    )

    card_serial: Mapped[str] = mapped_column(String(14), primary_key=True)
    chip_serial: Mapped[str] = mapped_column(String(16), unique=True)
    permit_no: Mapped[str] = mapped_column(ForeignKey("residence_permit.permit_no"), index=True)
    acc_no: Mapped[str] = mapped_column(String(18))
    issue_no: Mapped[int] = mapped_column(Integer)
    lot: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(6))
    bound_at: Mapped[datetime] = mapped_column(Instant)
    issued_at: Mapped[datetime | None] = mapped_column(Instant)
    void_at: Mapped[datetime | None] = mapped_column(Instant)
    void_reason: Mapped[str | None] = mapped_column(String(20))
    chip_ssn: Mapped[int] = mapped_column(Integer, default=0)
    chip_status: Mapped[int] = mapped_column(Integer, default=0)
    chip_seen_at: Mapped[datetime | None] = mapped_column(Instant)


class LinkRow(Table):
    """Another register's key of a person, told once; `citizen_index` is that of `PersonRow`."""

    __tablename__ = "residence_link"

    source: Mapped[str] = mapped_column(String(20), primary_key=True)
    subject: Mapped[str] = mapped_column(String(40), primary_key=True)
    citizen_index: Mapped[str] = mapped_column(String(32), index=True)


class FactRow(Table):
    """One version of an interval another register (or the reviewer) stated; `end` inclusive.

    Bitemporal: `start`/`end` say when it was true, `known_at`/`superseded_at` when it was believed. Of
    two versions of a record the one with the higher `seq` wins, in whatever order they came.
    """

    __tablename__ = "residence_fact"
    __table_args__ = (
        Index(
            "uq_residence_fact_in_force", "source", "record", unique=True,
            sqlite_where=text("superseded_at IS NULL"),
            postgresql_where=text("superseded_at IS NULL"),
        ),
        Index("ix_residence_fact_subject", "source", "subject"),
    )  # fmt: skip

    source: Mapped[str] = mapped_column(String(20), primary_key=True)
    record: Mapped[str] = mapped_column(String(40), primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True)
    subject: Mapped[str] = mapped_column(String(40))
    kind: Mapped[str] = mapped_column(String(12))
    start: Mapped[date] = mapped_column(Date)
    end: Mapped[date | None] = mapped_column(Date)
    origin: Mapped[str] = mapped_column(String(40), default="")
    reason: Mapped[str] = mapped_column(String(2), default="")
    withdrawn: Mapped[bool] = mapped_column(Boolean, default=False)
    known_at: Mapped[datetime] = mapped_column(Instant)
    superseded_at: Mapped[datetime | None] = mapped_column(Instant)


class KnownAddressRow(Table):
    """This register's copy of an address, as the rental register told it."""

    __tablename__ = "residence_known_address"

    code: Mapped[str] = mapped_column(String(25), primary_key=True)
    text: Mapped[str] = mapped_column(String(70))
    status: Mapped[str] = mapped_column(String(8))
    successor: Mapped[str | None] = mapped_column(String(25))
    seq: Mapped[int] = mapped_column(Integer)


class FeedRow(Table):
    """When a register was last heard to be up."""

    __tablename__ = "residence_feed"

    source: Mapped[str] = mapped_column(String(20), primary_key=True)
    heard_at: Mapped[datetime] = mapped_column(Instant)
