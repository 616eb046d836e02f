"""Rows of the pilot's own management: openings, duties, issues, opinions, changed values, workflows, summaries."""

from datetime import date, datetime

from sqlalchemy import CheckConstraint, Date, ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Instant, Table


class OpeningRow(Table):
    """The day on which all points opened. One row at most."""

    __tablename__ = "pilot_opening"
    __table_args__ = (CheckConstraint("id = 1", name="once"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    opened_at: Mapped[datetime] = mapped_column(Instant)
    opened_by: Mapped[str] = mapped_column(String(60))


class TaskRow(Table):
    """One duty of the order. `escalated_at` is the first time it was found overdue."""

    __tablename__ = "pilot_task"
    __table_args__ = (
        CheckConstraint("(done_at IS NULL) = (evidence = '')", name="done_with_evidence"),
    )

    id: Mapped[str] = mapped_column(String(5), primary_key=True)
    owner: Mapped[str] = mapped_column(String(20), index=True)
    deadline: Mapped[date] = mapped_column(Date)
    evidence: Mapped[str] = mapped_column(String(200), default="")
    done_at: Mapped[datetime | None] = mapped_column(Instant)
    done_by: Mapped[str | None] = mapped_column(String(60))
    escalated_at: Mapped[datetime | None] = mapped_column(Instant)


class IssueRow(Table):
    """A problem found in the trial run, until its re-test passed."""

    __tablename__ = "pilot_issue"
    __table_args__ = (
        CheckConstraint("severity BETWEEN 1 AND 4", name="severity"),
        CheckConstraint("(cause IS NULL) = (fix_version IS NULL)", name="fixed_with_cause"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    source: Mapped[str] = mapped_column(String(10))
    system: Mapped[str] = mapped_column(String(12))
    severity: Mapped[int] = mapped_column(Integer)
    title: Mapped[str] = mapped_column(String(200))
    raised_at: Mapped[datetime] = mapped_column(Instant)
    cause: Mapped[str | None] = mapped_column(String(10))
    fix_version: Mapped[str | None] = mapped_column(String(20))
    fixed_at: Mapped[datetime | None] = mapped_column(Instant)
    retests: Mapped[int] = mapped_column(Integer, default=0)
    closed_at: Mapped[datetime | None] = mapped_column(Instant)


class OpinionRow(Table):
    """A statement of a hearing, a form or the page: no name, no number, linked to a rule."""

    __tablename__ = "pilot_opinion"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    channel: Mapped[str] = mapped_column(String(8))
    rule: Mapped[str] = mapped_column(String(40), index=True)
    statement: Mapped[str] = mapped_column(Text)
    given_on: Mapped[date] = mapped_column(Date)
    disposition: Mapped[str] = mapped_column(String(200), default="")


class ParameterChangeRow(Table):
    """A new value of a rule's parameter. It counts from `valid_from`, and only when a second person approved."""

    __tablename__ = "pilot_parameter_change"
    __table_args__ = (
        CheckConstraint("approved_by IS NULL OR approved_by <> proposed_by", name="two_persons"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    name: Mapped[str] = mapped_column(String(40), index=True)
    value: Mapped[int] = mapped_column(Integer)
    valid_from: Mapped[date] = mapped_column(Date)
    document: Mapped[str] = mapped_column(String(200))
    proposed_by: Mapped[str] = mapped_column(String(60))
    approved_by: Mapped[str | None] = mapped_column(String(60))
    approved_at: Mapped[datetime | None] = mapped_column(Instant)


class WorkflowRow(Table):
    """A version of the workflow: from `valid_from` on new cases follow it; older ones stay on theirs."""

    __tablename__ = "pilot_workflow"
    __table_args__ = (CheckConstraint("first_by <> second_by", name="two_persons"),)

    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    valid_from: Mapped[date] = mapped_column(Date, unique=True)
    limits: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(String(200))
    first_by: Mapped[str] = mapped_column(String(60))
    second_by: Mapped[str] = mapped_column(String(60))


class LaunchCardRow(Table):
    """A card reserved for the launch event, inspected in full, then handed over once."""

    __tablename__ = "pilot_launch_card"

    card_serial: Mapped[str] = mapped_column(
        ForeignKey("residence_card.card_serial"), primary_key=True
    )
    event: Mapped[str] = mapped_column(String(40), index=True)
    number: Mapped[int] = mapped_column(Integer)
    inspected_by: Mapped[str | None] = mapped_column(String(60))
    handed_at: Mapped[datetime | None] = mapped_column(Instant)
    handed_by: Mapped[str | None] = mapped_column(String(60))


class SummaryRow(Table):
    """A summary report that was made: its digest stands in the event log too."""

    __tablename__ = "pilot_summary"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    as_of: Mapped[date] = mapped_column(Date)
    made_at: Mapped[datetime] = mapped_column(Instant)
    made_by: Mapped[str] = mapped_column(String(60))


class PublicityRow(Table):
    """Something told to the public through a channel."""

    __tablename__ = "pilot_publicity"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    channel: Mapped[str] = mapped_column(String(8), index=True)
    told_on: Mapped[date] = mapped_column(Date)
    title: Mapped[str] = mapped_column(String(200))
