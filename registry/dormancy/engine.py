"""Facts to permit status: what a message changes at once, and the nightly sweep (residence.md 6.3, 6.8).

A message can start a watch or wake a permit at once; only the sweep puts permits to sleep, after the
circuit breaker has looked at all of them together. Verdicts are recomputed from facts every time, so
order, repetition and corrections do not matter.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from sqlalchemy import select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotFound, Rejected
from core.ids import uuid7
from registry.dormancy import domain
from registry.dormancy.domain import Alarm, Sleeper, Verdict
from registry.dormancy.tables import BreakerRow, NoticeRow, SpellRow
from registry.exchange.delivery import Handler
from registry.exchange.messages import Envelope, Type
from registry.parameters import PILOT, Policy
from registry.residence import facts, permits
from registry.residence.domain import SLEEPING, Basis, ChipStatus, Hold, PermitType
from registry.residence.facts import Fact
from registry.residence.permits import Cause
from registry.residence.tables import FactRow, FeedRow, HoldRow, LinkRow, PermitRow, PersonRow
from registry.roles import Actor, Role, require, two_persons

FEED_OF = {Hold.EMP: "employment", Hold.RES: "rental"}
ENGINE = "dormancy"
DECEASED = "06"


@dataclass
class Swept:
    """What a sweep did; `alarm` says that it stopped before the first sleep."""

    looked_at: int = 0
    watched: int = 0
    slept: int = 0
    woken: int = 0
    expired: int = 0
    held_back: int = 0
    alarm: Alarm | None = None
    silent_feeds: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Case:
    """One permit with all that its verdict needs."""

    permit: PermitRow
    holds: frozenset[Hold]
    facts: list[Fact]
    notices: dict[Hold, NoticeRow]
    verdict: Verdict


def explain(tx: Tx, clock: Clock, permit_no: str, policy: Policy = PILOT) -> Verdict:
    """The present verdict with its reasons (the duty to explain, 6.8)."""
    permit = permits.get(tx, permit_no)
    return _cases(tx, business_date(clock.now()), [permit], policy)[0].verdict


def reconsider(tx: Tx, clock: Clock, permit_no: str, policy: Policy = PILOT) -> None:
    """Wake or watch one permit by the facts as they are now; never puts it to sleep."""
    permit = permits.get(tx, permit_no, lock=True)
    if permit.status == ChipStatus.CANCELLED:
        return
    case = _cases(tx, business_date(clock.now()), [permit], policy)[0]
    _watch_and_wake(tx, clock, case, policy)


def sweep(tx: Tx, clock: Clock, policy: Policy = PILOT) -> Swept:
    """Date-driven changes of all permits; running it twice on a day changes nothing."""
    day = business_date(clock.now())
    live = list(
        tx.scalars(
            select(PermitRow)
            .where(PermitRow.status != ChipStatus.CANCELLED)
            .order_by(PermitRow.permit_no)
            .with_for_update()
        )
    )
    cases = _cases(tx, day, live, policy)
    result = Swept(looked_at=len(cases), silent_feeds=_silent(tx, clock, policy))
    for case in cases:
        if day > case.permit.valid_until and Hold.EXPIRED not in case.holds:
            cause = Cause(ENGINE, f"valid until {case.permit.valid_until}")
            permits.add_hold(tx, clock, case.permit.permit_no, Hold.EXPIRED, cause, policy=policy)
            result.expired += 1
        watched, woken = _watch_and_wake(tx, clock, case, policy)
        result.watched += watched
        result.woken += woken
    _put_to_sleep(tx, clock, cases, policy, result)
    return result


def release(tx: Tx, clock: Clock, day: date, first: Actor, second: Actor) -> None:
    """Two persons let the sweep of `day` go on (6.8). Raises E-ROLE, E-SOD, NotFound E-BREAKER-NONE."""
    for actor in (first, second):
        require(actor, Role.PILOT_OFFICE, Role.REVIEWER)
    two_persons(first, second)
    row = tx.get(BreakerRow, day)
    if row is None:
        raise NotFound("E-BREAKER-NONE", "the breaker did not trip on that day")
    row.first_person, row.second_person = first.name, second.name
    events.append(
        tx, clock, "dormancy.released", day.isoformat(), actor=first.name, second=second.name
    )


def _put_to_sleep(tx: Tx, clock: Clock, cases: list[_Case], policy: Policy, result: Swept) -> None:
    day = business_date(clock.now())
    due: list[tuple[_Case, Hold]] = []
    for case in cases:
        for cause in sorted(case.verdict.sleeping - case.holds):
            if FEED_OF[cause] in result.silent_feeds:
                result.held_back += 1  # silence is not evidence
            else:
                due.append((case, cause))
    sleepers = [
        Sleeper(case.permit.permit_no, cause, _last_origins(case.facts)) for case, cause in due
    ]
    alarm = domain.breaker(sleepers, len(cases), _workers(cases), policy)
    if alarm is not None and not _released(tx, clock, day, alarm):
        result.alarm = alarm
        return
    for case, cause in due:
        _sleep(tx, clock, case, cause, policy)
        result.slept += 1


def _sleep(tx: Tx, clock: Clock, case: _Case, cause: Hold, policy: Policy) -> None:
    gap = case.verdict.gaps[cause]
    evidence = f"{cause}: no cover since {gap.gap_start}, notice sent"
    permits.add_hold(
        tx, clock, case.permit.permit_no, cause, Cause(ENGINE, evidence, gap.due), policy=policy
    )
    tx.add(
        SpellRow(
            id=uuid7(clock.now()),
            permit_no=case.permit.permit_no,
            cause=cause,
            gap_start=gap.gap_start,
            fact_from=gap.due,
            server_from=case.verdict.day,
        )
    )
    tx.flush()
    events.append(
        tx, clock, "permit.slept", case.permit.permit_no, cause=cause,
        fact_from=gap.due.isoformat(),
    )  # fmt: skip


def _watch_and_wake(tx: Tx, clock: Clock, case: _Case, policy: Policy) -> tuple[int, int]:
    permit_no, day = case.permit.permit_no, case.verdict.day
    watched = woken = 0
    for cause in sorted(SLEEPING):
        gap, notice = case.verdict.gaps.get(cause), case.notices.get(cause)
        if gap is None:
            if notice is not None:
                tx.delete(notice)
            if cause in case.holds and not case.verdict.gaps.get(cause):
                _wake(tx, clock, case, cause, policy)
                woken += 1
        elif notice is None:
            tx.add(
                NoticeRow(
                    permit_no=permit_no, cause=cause, gap_start=gap.gap_start, due=gap.due,
                    sent_on=day,
                )
            )  # fmt: skip
            events.append(
                tx, clock, "permit.notice_sent", permit_no, cause=cause, due=gap.due.isoformat()
            )
            watched += 1
        else:
            notice.gap_start, notice.due = gap.gap_start, gap.due
    tx.flush()
    return watched, woken


def _wake(tx: Tx, clock: Clock, case: _Case, cause: Hold, policy: Policy) -> None:
    permit_no, day = case.permit.permit_no, case.verdict.day
    spell = tx.scalar(
        select(SpellRow).where(
            SpellRow.permit_no == permit_no, SpellRow.cause == cause, SpellRow.outcome.is_(None)
        )
    )
    outcome = "ENDED"
    if spell is not None:
        spell.server_to = day
        spell.fact_to = domain.first_covered(case.facts, cause, spell.gap_start)
        spell.not_counted = domain.not_counted(spell.server_from, day, spell.fact_to)
        spell.outcome = outcome = "ENDED" if spell.not_counted else "VOIDED"
    evidence = f"{cause}: covered again"
    permits.clear_hold(tx, clock, permit_no, cause, Cause(ENGINE, evidence, day), policy)
    events.append(tx, clock, "permit.woken", permit_no, cause=cause, outcome=outcome)


# -- reading ------------------------------------------------------------------------------------------


def _cases(tx: Tx, day: date, rows: list[PermitRow], policy: Policy) -> list[_Case]:
    """All that the verdicts need, in four queries however many permits there are."""
    one = rows[0] if len(rows) == 1 else None
    known = _facts_by_person(tx, one)
    of_permit: dict[str, set[Hold]] = {}
    hold_query = select(HoldRow.permit_no, HoldRow.kind)
    notice_query = select(NoticeRow)
    if one is not None:
        hold_query = hold_query.where(HoldRow.permit_no == one.permit_no)
        notice_query = notice_query.where(NoticeRow.permit_no == one.permit_no)
    for permit_no, kind in tx.execute(hold_query):
        of_permit.setdefault(permit_no, set()).add(Hold(kind))
    notices: dict[str, dict[Hold, NoticeRow]] = {}
    for row in tx.scalars(notice_query):
        notices.setdefault(row.permit_no, {})[Hold(row.cause)] = row
    cases = []
    for permit in rows:
        mine = known.get(permit.person_id, [])
        sent = notices.get(permit.permit_no, {})
        found = domain.verdict(
            mine,
            PermitType(permit.type),
            permit.issued_on,
            day,
            {cause: row.sent_on for cause, row in sent.items()},
            policy,
        )
        present = frozenset(of_permit.get(permit.permit_no, ()))
        cases.append(_Case(permit, present, mine, sent, found))
    return cases


def _facts_by_person(tx: Tx, one: PermitRow | None) -> dict[str, list[Fact]]:
    query = (
        select(PersonRow.id, FactRow.kind, FactRow.start, FactRow.end, FactRow.origin)
        .join(LinkRow, LinkRow.citizen_id == PersonRow.citizen_id)
        .join(FactRow, (FactRow.source == LinkRow.source) & (FactRow.subject == LinkRow.subject))
        .where(FactRow.withdrawn.is_(False))
    )
    if one is not None:
        query = query.where(PersonRow.id == one.person_id)
    found: dict[str, list[Fact]] = {}
    for person, kind, start, end, origin in tx.execute(query):
        found.setdefault(person, []).append(Fact(kind, start, end, origin))
    return found


def _last_origins(known: Iterable[Fact]) -> frozenset[str]:
    """Employers of the most recently ended employment."""
    ended = [fact for fact in known if fact.kind == Basis.EMPLOYMENT and fact.end is not None]
    last = max((fact.end for fact in ended if fact.end), default=None)
    return frozenset(fact.origin for fact in ended if fact.end == last and fact.origin)


def _workers(cases: Iterable[_Case]) -> dict[str, int]:
    count: dict[str, int] = {}
    for case in cases:
        for origin in {f.origin for f in case.facts if f.kind == Basis.EMPLOYMENT and f.origin}:
            count[origin] = count.get(origin, 0) + 1
    return count


def _silent(tx: Tx, clock: Clock, policy: Policy) -> list[str]:
    heard = {row.source: row.heard_at for row in tx.scalars(select(FeedRow))}
    now = clock.now()
    return [
        source
        for source in FEED_OF.values()
        if source not in heard or now - heard[source] > policy.feed_silence
    ]


def _released(tx: Tx, clock: Clock, day: date, alarm: Alarm) -> bool:
    row = tx.get(BreakerRow, day)
    if row is None:
        tx.add(BreakerRow(day=day, count=alarm.count, limit=alarm.limit, employer=alarm.employer))
        tx.flush()
        events.append(
            tx, clock, "dormancy.stopped", day.isoformat(), count=alarm.count, limit=alarm.limit
        )
        return False
    return row.first_person is not None


# -- messages -----------------------------------------------------------------------------------------


def _then_reconsider(handler: Handler) -> Handler:
    def handle(tx: Tx, clock: Clock, message: Envelope) -> None:
        handler(tx, clock, message)
        permit_no = tx.scalar(
            select(PermitRow.permit_no)
            .join(PersonRow, PersonRow.id == PermitRow.person_id)
            .join(LinkRow, LinkRow.citizen_id == PersonRow.citizen_id)
            .where(
                LinkRow.source == message.source,
                LinkRow.subject == message.subject,
                PermitRow.status != ChipStatus.CANCELLED,
            )
        )
        if permit_no is None:
            return
        if message.type is Type.EMPLOYMENT_ENDED and message.payload["reason"] == DECEASED:
            cause = Cause(message.source, "reported deceased", message.occurred_on)
            permits.add_hold(tx, clock, permit_no, Hold.ADMIN, cause)
        reconsider(tx, clock, permit_no)

    return handle


_PLAIN = frozenset({Type.HEARTBEAT, Type.ADDRESS_ACTIVATED, Type.ADDRESS_RETIRED})
HANDLERS: dict[Type, Handler] = {
    kind: handler if kind in _PLAIN else _then_reconsider(handler)
    for kind, handler in facts.HANDLERS.items()
}
"""What `registry.exchange.delivery.deliver(tx, clock, "residence", HANDLERS)` calls."""


def refuse_when_stopped(result: Swept) -> None:
    """Raises Rejected E-BREAKER when a sweep stopped: for callers that must not go on unnoticed."""
    if result.alarm is not None:
        raise Rejected(
            "E-BREAKER", "a mass change was stopped", count=result.alarm.count,
            limit=result.alarm.limit,
        )  # fmt: skip
