"""Objections, disputes and emergencies: what keeps a permit in WATCH for a while (residence.md 6.8)."""

from datetime import date, timedelta

from sqlalchemy import select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotFound, Rejected
from core.ids import uuid7
from registry.dormancy import cases, engine
from registry.dormancy.tables import DelayRow
from registry.masking import refuse_personal
from registry.parameters import PILOT, Policy
from registry.residence import permits
from registry.residence.domain import Hold, add_working_days
from registry.roles import CLERKS, Actor, Role, require, require_own

OBJECTION, DISPUTE, EMERGENCY = "OBJECTION", "DISPUTE", "FORCE_MAJEURE"
UPHELD, DISMISSED = "UPHELD", "DISMISSED"
MAX_SHELTER = timedelta(days=180)


def file_objection(
    tx: Tx, clock: Clock, permit_no: str, cause: Hold, actor: Actor, text: str,
    policy: Policy = PILOT,
) -> str:  # fmt: skip
    """The holder objects to a notice; a start not reached yet is postponed once until a person has decided.

    Returns the objection's id; filing again for the same gap gives the same one. Raises NotAllowed E-ROLE,
    E-OWN, Rejected E-PERSONAL, E-NO-GAP (nothing to object to), E-OBJECTION-LATE (over 10 days after the notice).
    """
    require(actor, Role.HOLDER, *CLERKS)
    require_own(actor, permits.get(tx, permit_no).person_id, *CLERKS)
    refuse_personal(text)
    today = business_date(clock.now())
    case = cases.one(tx, today, permit_no, policy)
    gap = None if case is None else case.verdict.gaps.get(cause)
    notice = None if case is None else case.notices.get(cause)
    if case is None or gap is None or notice is None:
        raise Rejected("E-NO-GAP", "there is no notice to object to")
    same = tx.scalar(
        select(DelayRow.id).where(
            DelayRow.permit_no == permit_no,
            DelayRow.cause == cause,
            DelayRow.kind == OBJECTION,
            DelayRow.gap_start == gap.gap_start,
        )
    )
    if same is not None:
        return same
    last_day = notice.sent_on + timedelta(days=policy.objection_days)
    if today > last_day:
        raise Rejected("E-OBJECTION-LATE", "the time to object is over", last_day=str(last_day))
    decide_by = add_working_days(today, policy.objection_decision_days)
    until = today - timedelta(days=1) if cause in case.holds else decide_by
    row = _delay(tx, clock, permit_no, cause, OBJECTION, gap.gap_start, until, text, actor)
    row.decide_by = decide_by
    return row.id


def decide_objection(
    tx: Tx, clock: Clock, objection: str, actor: Actor, upheld: bool, policy: Policy = PILOT
) -> None:
    """A person decides: DISMISSED ends the delay at once; UPHELD keeps it while the fact is put right.

    An upheld objection does not change a fact: the owner of the fact does, or the reviewer adds a ground.
    Raises NotAllowed E-ROLE, NotFound E-OBJECTION, Rejected E-DECIDED.
    """
    require(actor, Role.REVIEWER)
    row = tx.get(DelayRow, objection, with_for_update=True)
    if row is None or row.kind != OBJECTION:
        raise NotFound("E-OBJECTION", "no such objection")
    outcome = UPHELD if upheld else DISMISSED
    if row.outcome is not None:
        if row.outcome == outcome and row.decided_by == actor.name:
            return
        raise Rejected("E-DECIDED", "the objection was decided", outcome=row.outcome)
    today = business_date(clock.now())
    row.decided_on, row.decided_by, row.outcome = today, actor.name, outcome
    if upheld:
        row.until = add_working_days(today, policy.objection_decision_days)
    else:
        row.until = min(row.until, today - timedelta(days=1))
    tx.flush()
    events.append(
        tx, clock, "permit.objection_decided", row.permit_no, actor=actor.name, outcome=outcome
    )
    engine.reconsider(tx, clock, row.permit_no, policy)


def shelter(
    tx: Tx, clock: Clock, permit_no: str, cause: Hold, kind: str, until: date, actor: Actor,
    evidence: str, policy: Policy = PILOT,
) -> str:  # fmt: skip
    """A labour dispute or an emergency keeps the permit in WATCH up to and including `until`.

    Raises NotAllowed E-ROLE, Rejected E-REASON (unknown kind), E-DATE-ORDER, E-DATE-FUTURE (over 180 days),
    E-PERSONAL, E-NO-GAP.
    """
    require(actor, Role.REVIEWER)
    refuse_personal(evidence)
    today = business_date(clock.now())
    if kind not in (DISPUTE, EMERGENCY):
        raise Rejected("E-REASON", "a shelter is a dispute or an emergency")
    if until < today:
        raise Rejected("E-DATE-ORDER", "the end lies in the past")
    if until - today > MAX_SHELTER:
        raise Rejected("E-DATE-FUTURE", "a shelter lasts at most 180 days")
    case = cases.one(tx, today, permit_no, policy)
    gap = None if case is None else case.verdict.gaps.get(cause)
    if gap is None:
        raise Rejected("E-NO-GAP", "nothing is missing")
    row = _delay(tx, clock, permit_no, cause, kind, gap.gap_start, until, evidence, actor)
    engine.reconsider(tx, clock, permit_no, policy)
    return row.id


def _delay(
    tx: Tx, clock: Clock, permit_no: str, cause: Hold, kind: str, gap_start: date, until: date,
    evidence: str, actor: Actor,
) -> DelayRow:  # fmt: skip
    row = tx.scalar(
        select(DelayRow).where(
            DelayRow.permit_no == permit_no,
            DelayRow.cause == cause,
            DelayRow.kind == kind,
            DelayRow.gap_start == gap_start,
        )
    )
    if row is None:
        row = DelayRow(
            id=uuid7(clock.now()), permit_no=permit_no, cause=cause, kind=kind,
            gap_start=gap_start, filed_on=business_date(clock.now()), actor=actor.name,
        )  # fmt: skip
        tx.add(row)
    row.until, row.evidence = until, evidence or "-"
    tx.flush()
    events.append(
        tx, clock, "permit.sleep_postponed", permit_no, actor=actor.name, delay_kind=kind,
        until=until.isoformat(),
    )  # fmt: skip
    return row


def overdue(tx: Tx, clock: Clock) -> list[DelayRow]:
    """Open objections whose five working days are over: a person has to look now."""
    return list(
        tx.scalars(
            select(DelayRow).where(
                DelayRow.kind == OBJECTION,
                DelayRow.outcome.is_(None),
                DelayRow.decide_by < business_date(clock.now()),
            )
        )
    )
