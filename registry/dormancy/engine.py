"""Facts to permit status: what a message changes at once, and the nightly sweep (residence.md 6.3, 6.8).

A message can start a watch or wake a permit at once; only the sweep puts permits to sleep, after the
circuit breaker has looked at all of them together. Verdicts are recomputed from facts every time, so
order, repetition and corrections do not matter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from threading import Event

from sqlalchemy import select

from core import events
from core.clock import Clock, business_date
from core.db import Database, Tx
from core.errors import NotFound, Rejected
from registry.dormancy import cases, domain, spells
from registry.dormancy.cases import FEED_OF
from registry.dormancy.domain import Alarm, Sleeper, Verdict
from registry.dormancy.tables import BreakerRow
from registry.exchange.delivery import Handler
from registry.exchange.messages import Envelope, Type
from registry.parameters import PILOT, Policy
from registry.residence import facts, permits, renewal
from registry.residence.domain import ChipStatus, Hold
from registry.residence.tables import LinkRow, PermitRow, PersonRow
from registry.roles import Actor, Role, require, two_persons

BATCH = 50  # permits per transaction of a night: others write in between
PAUSE_SECONDS = (
    0.02  # after each: SQLite has no queue between processes, whoever waits tries again by then
)


@dataclass
class Swept:
    """What a sweep did; `alarm` says that it stopped before the first sleep."""

    looked_at: int = 0
    watched: int = 0
    slept: int = 0
    woken: int = 0
    expired: int = 0
    proposed: int = 0
    held_back: int = 0
    alarm: Alarm | None = None
    silent_feeds: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Survey:
    """What a sweep would do: nothing was changed yet."""

    day: date
    looked_at: int
    to_change: list[str]
    sleepers: list[Sleeper]
    held_back: int
    silent_feeds: list[str]
    alarm: Alarm | None


def explain(tx: Tx, clock: Clock, permit_no: str, policy: Policy = PILOT) -> Verdict:
    """The present verdict with its reasons (the duty to explain, 6.8). Raises NotFound E-PERMIT."""
    permits.get(tx, permit_no)
    day = business_date(clock.now())
    case = cases.one(tx, day, permit_no, policy)
    return Verdict(day) if case is None else case.verdict


def reconsider(tx: Tx, clock: Clock, permit_no: str, policy: Policy = PILOT) -> None:
    """Wake or watch one permit by the facts as they are now; never puts it to sleep.

    Spells that are over are judged again. Raises NotFound E-PERMIT.
    """
    permits.get(tx, permit_no, lock=True)
    day = business_date(clock.now())
    case = cases.one(tx, day, permit_no, policy)
    if case is None:
        return
    if case.deceased:
        spells.report_death(tx, clock, case)
    spells.watch_and_wake(tx, clock, case, policy)
    spells.judge_again(tx, clock, case)


def survey(tx: Tx, clock: Clock, policy: Policy = PILOT) -> Survey:
    """Look at all permits and ask the breaker; changes nothing."""
    day = business_date(clock.now())
    found = cases.every(tx, day, policy)
    silent = cases.silent_feeds(tx, clock, policy)
    sleepers, held_back = [], 0
    for case in found:
        for cause in sorted(case.due):
            if FEED_OF[cause] in silent:
                held_back += 1  # silence is not evidence
            else:
                origins = cases.last_origins(case.facts)
                sleepers.append(Sleeper(case.permit_no, cause, origins))
    overdue = spells.sleeping_too_long(tx, day, policy)
    change = sorted({case.permit_no for case in found if case.changes(day)} | overdue)
    alarm = domain.breaker(sleepers, len(found), cases.workers(found), policy)
    return Survey(day, len(found), change, sleepers, held_back, silent, alarm)


def sweep(tx: Tx, clock: Clock, policy: Policy = PILOT) -> Swept:
    """Date-driven changes of all permits in one transaction; twice on a day changes nothing.

    For a whole city use `nightly`, which lets others write in between.
    """
    seen = survey(tx, clock, policy)
    result = _begin(seen)
    for batch in _batches(seen.to_change):
        _change(tx, clock, batch, policy, result)
    if _stopped(tx, clock, seen):
        result.alarm = seen.alarm
        return result
    for batch in _batches(_permits(seen)):
        _sleep(tx, clock, batch, seen, policy, result)
    return result


def nightly(
    db: Database,
    clock: Clock,
    policy: Policy = PILOT,
    progress: Callable[[int, int], None] | None = None,
) -> Swept:
    """The sweep of 02:00 over a whole city: one look, then short transactions of `BATCH` permits.

    Each batch is looked at again before it changes, so a message that came in between counts. Killed
    in the middle, the next run does the rest. `progress` is told (done, all) permits.
    """
    with db.read() as tx:
        seen = survey(tx, clock, policy)
    result = _begin(seen)
    total, done = len(seen.to_change) + len(_permits(seen)), 0
    for batch in _batches(seen.to_change):
        with db.write() as tx:
            _change(tx, clock, batch, policy, result)
        done += len(batch)
        _let_others_write(db, batch)
        if progress is not None:
            progress(done, total)
    with db.write() as tx:
        if _stopped(tx, clock, seen):
            result.alarm = seen.alarm
            return result
    for batch in _batches(_permits(seen)):
        with db.write() as tx:
            _sleep(tx, clock, batch, seen, policy, result)
        done += len(batch)
        _let_others_write(db, batch)
        if progress is not None:
            progress(done, total)
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


def refuse_when_stopped(result: Swept) -> None:
    """Raises Rejected E-BREAKER when a sweep stopped: for callers that must not go on unnoticed."""
    if result.alarm is not None:
        raise Rejected(
            "E-BREAKER", "a mass change was stopped", count=result.alarm.count,
            limit=result.alarm.limit,
        )  # fmt: skip


def _let_others_write(db: Database, done: Sequence[str]) -> None:
    if db.sqlite and len(done) == BATCH:  # more is to come
        Event().wait(PAUSE_SECONDS)


def _begin(seen: Survey) -> Swept:
    return Swept(looked_at=seen.looked_at, held_back=seen.held_back, silent_feeds=seen.silent_feeds)


def _permits(seen: Survey) -> list[str]:
    return sorted({sleeper.permit_no for sleeper in seen.sleepers})


def _batches(permit_nos: Sequence[str]) -> list[Sequence[str]]:
    return [permit_nos[at : at + BATCH] for at in range(0, len(permit_nos), BATCH)]


def _change(tx: Tx, clock: Clock, permit_nos: Sequence[str], policy: Policy, result: Swept) -> None:
    day = business_date(clock.now())
    permits.lock_all(tx, permit_nos)  # a message about one of them waits, or was first and counts
    overdue = spells.sleeping_too_long(tx, day, policy)
    for case in cases.some(tx, day, permit_nos, policy):
        if day > case.valid_until and Hold.EXPIRED not in case.holds:
            cause = permits.Cause(spells.ENGINE, f"valid until {case.valid_until}")
            permits.add_hold(tx, clock, case.permit_no, Hold.EXPIRED, cause, policy=policy)
            result.expired += 1
        watched, woken = spells.watch_and_wake(tx, clock, case, policy)
        result.watched += watched
        result.woken += woken
        if case.permit_no in overdue and not woken:
            result.proposed += spells.propose_cancellation(tx, clock, case.permit_no)


def _stopped(tx: Tx, clock: Clock, seen: Survey) -> bool:
    """Whether the breaker holds this day's sleeps back; the first trip is recorded for two persons."""
    if seen.alarm is None:
        return False
    row = tx.get(BreakerRow, seen.day)
    if row is not None:
        return row.first_person is None
    alarm = seen.alarm
    tx.add(BreakerRow(day=seen.day, count=alarm.count, limit=alarm.limit, employer=alarm.employer))
    tx.flush()
    events.append(
        tx, clock, "dormancy.stopped", seen.day.isoformat(), count=alarm.count, limit=alarm.limit
    )
    return True


def _sleep(
    tx: Tx,
    clock: Clock,
    permit_nos: Sequence[str],
    seen: Survey,
    policy: Policy,
    result: Swept,
) -> None:
    """Put to sleep what the survey named and the facts still say."""
    named = {(sleeper.permit_no, sleeper.cause) for sleeper in seen.sleepers}
    permits.lock_all(tx, permit_nos)
    for case in cases.some(tx, seen.day, permit_nos, policy):
        for cause in sorted(case.due):
            if (case.permit_no, cause) in named:
                spells.sleep(tx, clock, case, cause, policy)
                result.slept += 1


# -- messages -----------------------------------------------------------------------------------------


def _permit_of(tx: Tx, message: Envelope) -> str | None:
    return tx.scalar(
        select(PermitRow.permit_no)
        .join(PersonRow, PersonRow.id == PermitRow.person_id)
        .join(LinkRow, LinkRow.citizen_index == PersonRow.citizen_index)
        .where(
            LinkRow.source == message.source,
            LinkRow.subject == message.subject,
            PermitRow.status != ChipStatus.CANCELLED,
        )
    )


def _then_reconsider(handler: Handler) -> Handler:
    def handle(tx: Tx, clock: Clock, message: Envelope) -> None:
        handler(tx, clock, message)
        if message.type is Type.PERSON_LINKED and not facts.told(
            tx, message.source, message.subject
        ):
            return  # a link alone moves nothing; what it leads to may have come before it
        permit_no = _permit_of(tx, message)
        if permit_no is not None:
            reconsider(tx, clock, permit_no)
            renewal.offer_conversion(tx, clock, permit_no)

    return handle


_PLAIN = frozenset(
    {Type.HEARTBEAT, Type.ADDRESS_ACTIVATED, Type.ADDRESS_RENAMED, Type.ADDRESS_RETIRED}
)
HANDLERS: dict[Type, Handler] = {
    kind: handler if kind in _PLAIN else _then_reconsider(handler)
    for kind, handler in facts.HANDLERS.items()
}
"""What `registry.exchange.delivery.deliver(tx, clock, "residence", HANDLERS)` calls."""
