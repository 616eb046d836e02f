"""Notices, sleeps and wakes of one permit, and the cases for people that follow (residence.md 6.3)."""

from datetime import date

from sqlalchemy import select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.ids import uuid7
from registry.dormancy import domain
from registry.dormancy.cases import Case
from registry.dormancy.tables import CancellationCaseRow, NoticeRow, SpellRow
from registry.parameters import Policy
from registry.residence import permits
from registry.residence.domain import SLEEPING, Hold, add_months
from registry.residence.permits import Cause

ENGINE = "dormancy"
DEATH, LONG_SLEEP = "DECEASED", "DORMANT"
ENDED, VOIDED = "ENDED", "VOIDED"


def sleep(tx: Tx, clock: Clock, case: Case, cause: Hold, policy: Policy) -> None:
    """Begin a spell: hold, spell row, event."""
    gap = case.verdict.gaps[cause]
    evidence = f"{cause}: no cover since {gap.gap_start}, notice sent"
    permits.add_hold(
        tx, clock, case.permit_no, cause, Cause(ENGINE, evidence, gap.due), policy=policy
    )
    tx.add(
        SpellRow(
            id=uuid7(clock.now()),
            permit_no=case.permit_no,
            cause=cause,
            gap_start=gap.gap_start,
            fact_from=gap.due,
            server_from=case.verdict.day,
        )
    )
    tx.flush()
    events.append(
        tx, clock, "permit.slept", case.permit_no, cause=cause, fact_from=gap.due.isoformat()
    )


def watch_and_wake(tx: Tx, clock: Clock, case: Case, policy: Policy) -> tuple[int, int]:
    """Send notices for new gaps, wake from closed ones; returns how many of each.

    The permit is locked and `case` was read after that, so its notices are those in the table.
    """
    watched = woken = 0
    for cause in sorted(SLEEPING):
        gap, sent = case.verdict.gaps.get(cause), case.notices.get(cause)
        if gap is not None and sent is None:
            _give_notice(tx, clock, case, cause, gap)
            watched += 1
        elif sent is not None:
            row = tx.get_one(NoticeRow, (case.permit_no, cause))
            if gap is None:
                tx.delete(row)
            else:
                row.gap_start, row.due = gap.gap_start, gap.due
        if cause in case.holds and cause not in case.verdict.sleeping:
            _wake(tx, clock, case, cause, policy)
            woken += 1
    return watched, woken


def _give_notice(tx: Tx, clock: Clock, case: Case, cause: Hold, gap: domain.Gap) -> None:
    tx.add(
        NoticeRow(
            permit_no=case.permit_no, cause=cause, gap_start=gap.gap_start, due=gap.due,
            sent_on=case.verdict.day,
        )
    )  # fmt: skip
    events.append(
        tx, clock, "permit.notice_sent", case.permit_no, cause=cause, due=gap.due.isoformat()
    )


def _wake(tx: Tx, clock: Clock, case: Case, cause: Hold, policy: Policy) -> None:
    day = case.verdict.day
    spell = tx.scalar(
        select(SpellRow).where(
            SpellRow.permit_no == case.permit_no,
            SpellRow.cause == cause,
            SpellRow.outcome.is_(None),
        )
    )
    outcome = ENDED
    if spell is not None:
        spell.server_to = day
        outcome = _judge(spell, day, case)
    evidence = f"{cause}: " + ("no longer due" if cause in case.verdict.gaps else "covered again")
    permits.clear_hold(tx, clock, case.permit_no, cause, Cause(ENGINE, evidence, day), policy)
    events.append(tx, clock, "permit.woken", case.permit_no, cause=cause, outcome=outcome)


def _judge(spell: SpellRow, server_to: date, case: Case) -> str:
    """ENDED or VOIDED by the facts as they stand now; written to the row."""
    fact_to = domain.ground_again(case.facts, Hold(spell.cause), spell.gap_start, spell.server_from)
    spell.fact_to = fact_to
    spell.not_counted = domain.not_counted(spell.server_from, server_to, fact_to)
    spell.outcome = ENDED if spell.not_counted else VOIDED
    return spell.outcome


def judge_again(tx: Tx, clock: Clock, case: Case) -> None:
    """Recompute the spells that are over after facts were corrected; each change is one event."""
    over = tx.scalars(
        select(SpellRow).where(SpellRow.permit_no == case.permit_no, SpellRow.outcome.is_not(None))
    ).all()
    for spell in over:
        before = (spell.fact_to, spell.not_counted, spell.outcome)
        if spell.server_to is None:
            raise AssertionError(f"spell {spell.id} is over without an end")
        _judge(spell, spell.server_to, case)
        if (spell.fact_to, spell.not_counted, spell.outcome) != before:
            events.append(
                tx, clock, "permit.spell_rejudged", case.permit_no, cause=spell.cause,
                outcome=spell.outcome, not_counted=spell.not_counted,
            )  # fmt: skip


def report_death(tx: Tx, clock: Clock, case: Case) -> None:
    """A reported death is a case for people and an ADMIN hold, never plain dormancy; once per report."""
    if not _open_case(tx, clock, case.permit_no, DEATH, case.deceased):
        return
    cause = Cause(ENGINE, f"reported deceased, record {case.deceased}")
    permits.add_hold(tx, clock, case.permit_no, Hold.ADMIN, cause)


def sleeping_too_long(tx: Tx, day: date, policy: Policy) -> set[str]:
    """Permits asleep for P-CANCEL-DORMANT months without a break and without a case yet."""
    asleep = tx.execute(
        select(SpellRow.permit_no, SpellRow.server_from).where(
            SpellRow.outcome.is_(None),
            SpellRow.server_from <= add_months(day, -policy.cancel_dormant_months),
            SpellRow.permit_no.not_in(
                select(CancellationCaseRow.permit_no).where(
                    CancellationCaseRow.kind == LONG_SLEEP,
                    CancellationCaseRow.opened_on >= SpellRow.server_from,
                )
            ),
        )
    )
    return {permit_no for permit_no, _ in asleep}


def propose_cancellation(tx: Tx, clock: Clock, permit_no: str) -> int:
    """Open the case of a permit that slept too long; the holder is told. 1 when it was new."""
    since = tx.scalar(
        select(SpellRow.server_from)
        .where(SpellRow.permit_no == permit_no, SpellRow.outcome.is_(None))
        .order_by(SpellRow.server_from)
    )
    if since is None:
        return 0
    return int(_open_case(tx, clock, permit_no, LONG_SLEEP, since.isoformat()))


def _open_case(tx: Tx, clock: Clock, permit_no: str, kind: str, trigger: str) -> bool:
    if tx.get(CancellationCaseRow, (permit_no, kind, trigger)) is not None:
        return False
    tx.add(
        CancellationCaseRow(
            permit_no=permit_no, kind=kind, trigger=trigger, opened_on=business_date(clock.now())
        )
    )
    tx.flush()
    events.append(tx, clock, "permit.cancellation_proposed", permit_no, case_kind=kind)
    return True
