"""Nothing waits for ever: overdue steps, reminders, unclaimed cards, old drafts (residence.md 5.3).

`scan` runs every 15 minutes. It changes states only where the table says so (17 and the drafts); everything
else it puts before a person, with the exact answer that is missing, once per waiting.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from registry.parameters import PILOT, Policy
from registry.residence import applications, cards
from registry.residence.domain import CardState, State, add_working_days
from registry.residence.tables import ApplicationRow, CardRow, WorkItemRow

DRAFT_LIFE = timedelta(days=30)
REMINDERS = (30, 60)  # days at the point before the two reminders
WATCHDOG = "watchdog"


@dataclass
class Scanned:
    """What a scan did."""

    escalated: int = 0
    reminded: int = 0
    unclaimed: int = 0
    dropped: int = 0


def limits(policy: Policy = PILOT) -> dict[State, int]:
    """Working days a step may take (P-SLA-*)."""
    return {
        State.ACCEPTED: policy.sla_verify,
        State.VERIFYING: policy.sla_verify,
        State.IN_REVIEW: policy.sla_review,
        State.APPROVED: policy.sla_prepare,
        State.DATA_PREP: policy.sla_prepare,
        State.IN_PRODUCTION: policy.sla_produce,
        State.QC: policy.sla_produce,
        State.REWORK: policy.sla_produce,
        State.PACKED: policy.sla_produce,
        State.IN_TRANSIT: policy.sla_deliver,
    }


def scan(tx: Tx, clock: Clock, policy: Policy = PILOT) -> Scanned:
    """Look at every open application once."""
    result, today = Scanned(), business_date(clock.now())
    allowed = limits(policy)
    for row in tx.scalars(
        select(ApplicationRow)
        .where(ApplicationRow.open.is_(True))
        .order_by(ApplicationRow.id)
        .with_for_update()
    ).all():
        state, since = State(row.state), business_date(row.state_since)
        if state in allowed:
            result.escalated += _escalate(tx, clock, row, today, allowed[state])
        elif state is State.AT_POINT:
            _at_point(tx, clock, row, (today - since).days, policy, result)
        elif state is State.DRAFT and clock.now() - row.saved_at > DRAFT_LIFE:
            applications.drop_draft(tx, clock, row)
            result.dropped += 1
    return result


def _escalate(tx: Tx, clock: Clock, row: ApplicationRow, today: date, limit: int) -> int:
    if today <= add_working_days(business_date(row.state_since), limit):
        return 0
    key = (row.acc_no or row.id, row.state, row.state_since)
    if tx.get(WorkItemRow, key) is not None:
        return 0
    missing = _missing(row)
    tx.add(
        WorkItemRow(
            acc_no=key[0], state=row.state, since=row.state_since, missing=missing,
            opened_at=clock.now(),
        )
    )  # fmt: skip
    events.append(
        tx, clock, "application.overdue", key[0], actor=WATCHDOG, state=row.state, missing=missing
    )
    tx.flush()
    return 1


def _missing(row: ApplicationRow) -> str:
    """The exact answer a person must get."""
    if row.state in (State.ACCEPTED, State.VERIFYING):
        asked = {"labour": row.labour_answer, "rental": row.rental_answer}
        silent = [name for name, answer in asked.items() if answer in (None, "UNKNOWN")]
        return "answer of " + ", ".join(silent or ["the registers"])
    if row.state == State.IN_REVIEW:
        return "decision of a reviewer"
    if row.state in (State.APPROVED, State.DATA_PREP):
        return "data preparation"
    if row.state == State.IN_TRANSIT:
        return "receipt of the bag at the point"
    return "finished card from the centre"


def _at_point(
    tx: Tx, clock: Clock, row: ApplicationRow, days: int, policy: Policy, result: Scanned
) -> None:
    if row.reminders < len(REMINDERS) and days >= REMINDERS[row.reminders]:
        row.reminders += 1
        events.append(
            tx, clock, "application.reminded", row.acc_no or row.id, actor=WATCHDOG,
            number=row.reminders,
        )  # fmt: skip
        result.reminded += 1
    if days < policy.unclaimed_days or row.reminders < len(REMINDERS) or row.acc_no is None:
        return
    applications.advance(tx, clock, row.acc_no, State.UNCLAIMED, WATCHDOG)
    for serial in tx.scalars(
        select(CardRow.card_serial).where(
            CardRow.acc_no == row.acc_no, CardRow.state == CardState.BOUND
        )
    ).all():
        cards.void_card(tx, clock, serial, "RECALLED", WATCHDOG)
    result.unclaimed += 1


def work_queue(tx: Tx) -> list[WorkItemRow]:
    """Escalated steps that still wait, the oldest first; a step that went on is closed here."""
    found = []
    for item in tx.scalars(
        select(WorkItemRow).where(WorkItemRow.closed_at.is_(None)).order_by(WorkItemRow.since)
    ):
        row = tx.scalar(
            select(ApplicationRow).where(
                (ApplicationRow.acc_no == item.acc_no) | (ApplicationRow.id == item.acc_no)
            )
        )
        if row is not None and (row.state, row.state_since) == (item.state, item.since):
            found.append(item)
    return found
