"""Training and secondment: three modules, an exam, a certificate of a year; lent people go home (residence.md 11).

`admit` is the gate at every sign-in: who is not certified, or whose secondment is over, does not come in (T21).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import BindParameter, bindparam, select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotAllowed, Rejected
from core.rows import KEYS, Lookup, Statement
from registry.points.places import by_code
from registry.points.tables import ExamRow, SecondmentRow, StaffRow
from registry.roles import Actor, Role, require

PASS_SCORE = 80
VALID = timedelta(days=365)
_PEOPLE: BindParameter[list[str]] = bindparam(KEYS, expanding=True)
_EXAMS = Lookup(
    select(ExamRow.person, ExamRow.module, ExamRow.score, ExamRow.held_on).where(
        ExamRow.person.in_(_PEOPLE)
    )
)
_STAFF = Statement(
    select(StaffRow.audience, StaffRow.lent).where(StaffRow.person == bindparam("person"))
)


class Module(StrEnum):
    """What is taught."""

    REGULATIONS = "REGULATIONS"
    BUSINESS = "BUSINESS"
    TECHNIQUE = "TECHNIQUE"


class Audience(StrEnum):
    """Whom a course is for; each needs its own modules."""

    POINT_STAFF = "POINT_STAFF"
    TECHNICIAN = "TECHNICIAN"
    OTHER = "OTHER"


NEEDED = {
    Audience.POINT_STAFF: frozenset(Module),
    Audience.TECHNICIAN: frozenset({Module.REGULATIONS, Module.TECHNIQUE}),
    Audience.OTHER: frozenset({Module.REGULATIONS, Module.BUSINESS}),
}


@dataclass(frozen=True)
class Coverage:
    """P2: certified of required."""

    certified: int
    required: int


def assign(tx: Tx, clock: Clock, person: str, point: str, audience: Audience, actor: Actor) -> None:
    """Somebody works at a point. Raises NotAllowed E-ROLE, NotFound E-POINT."""
    require(actor, Role.PILOT_OFFICE)
    by_code(point)
    row = tx.get(StaffRow, person)
    if row is None:
        tx.add(StaffRow(person=person, point=point, audience=audience, lent=False))
        events.append(tx, clock, "staff.assigned", point, actor=actor.name, audience=audience)
    else:
        row.point, row.audience = point, audience
    tx.flush()


def lend(
    tx: Tx, clock: Clock, person: str, unit: str, point: str, first: date, last: date, actor: Actor
) -> None:
    """Second a person to a point for these days. Raises NotAllowed E-ROLE, NotFound E-POINT, Rejected E-DATE."""
    require(actor, Role.PILOT_OFFICE)
    if last < first:
        raise Rejected("E-DATE", "it ends before it begins")
    assign(tx, clock, person, point, Audience.POINT_STAFF, actor)
    staff = tx.get(StaffRow, person)
    assert staff is not None
    staff.lent = True
    tx.add(SecondmentRow(person=person, starts_on=first, ends_on=last, from_unit=unit, point=point))
    tx.flush()


def examine(tx: Tx, clock: Clock, person: str, module: Module, score: int, examiner: Actor) -> bool:
    """Enter today's exam; whether it was passed. Raises NotAllowed E-ROLE, E-SOD (one's own); Rejected E-SCORE."""
    require(examiner, Role.PILOT_OFFICE)
    if examiner.name == person:
        raise NotAllowed("E-SOD", "nobody examines themselves")
    if not 0 <= score <= 100:
        raise Rejected("E-SCORE", "0 to 100", score=score)
    today = business_date(clock.now())
    row = tx.get(ExamRow, (person, module, today))
    if row is None:
        row = ExamRow(person=person, module=module, held_on=today)
        tx.add(row)
    row.score, row.examiner = score, examiner.name
    tx.flush()
    return score >= PASS_SCORE


def lacking(tx: Tx, clock: Clock, person: str) -> tuple[Module, ...]:
    """Modules a person still needs today; all of them for a stranger."""
    return _lacking(tx, clock, person, _STAFF.first(tx, person=person))


def _lacking(tx: Tx, clock: Clock, person: str, staff: Any) -> tuple[Module, ...]:
    needed = NEEDED[Audience(staff.audience)] if staff else frozenset(Module)
    passed = _passed(tx, clock, [person])
    return tuple(module for module in Module if module in needed and module not in passed[person])


def _passed(tx: Tx, clock: Clock, people: Sequence[str]) -> dict[str, set[str]]:
    """Modules in which each of these people holds a certificate today."""
    oldest = business_date(clock.now()) - VALID
    found: dict[str, set[str]] = {person: set() for person in people}
    for person, module, score, held_on in _EXAMS.rows(tx, found):
        if score >= PASS_SCORE and held_on > oldest:
            found[person].add(module)
    return found


def admit(tx: Tx, clock: Clock, person: str) -> None:
    """The gate at sign-in. Raises NotAllowed E-UNTRAINED (modules named), E-SECONDMENT-OVER."""
    today = business_date(clock.now())
    staff = _STAFF.first(tx, person=person)
    missing = _lacking(tx, clock, person, staff)
    if missing:
        raise NotAllowed("E-UNTRAINED", "not certified", modules=", ".join(missing))
    if staff is not None and staff.lent and person not in _here_today(tx, today, [person]):
        raise NotAllowed("E-SECONDMENT-OVER", "the secondment is over")


def _here_today(tx: Tx, today: date, people: Sequence[str]) -> set[str]:
    """Those of lent people whose secondment runs."""
    return set(
        tx.scalars(
            select(SecondmentRow.person).where(
                SecondmentRow.person.in_(people), SecondmentRow.starts_on <= today,
                SecondmentRow.ends_on >= today, SecondmentRow.returned_at.is_(None),
            )
        )
    )  # fmt: skip


def end_secondments(tx: Tx, clock: Clock, everybody: bool = False) -> list[str]:
    """Send home whoever's time is over (or `everybody`, in the summary stage); the return list."""
    today = business_date(clock.now())
    query = select(SecondmentRow).where(SecondmentRow.returned_at.is_(None))
    if not everybody:
        query = query.where(SecondmentRow.ends_on < today)
    gone = list(tx.scalars(query.order_by(SecondmentRow.person)))
    for row in gone:
        row.returned_at = clock.now()
        events.append(
            tx,
            clock,
            "secondment.ended",
            row.point,
            unit=row.from_unit,
            ends_on=row.ends_on.isoformat(),
        )
    tx.flush()
    return [row.person for row in gone]


def certified_at(tx: Tx, clock: Clock, point: str) -> list[str]:
    """People of a point who may sign in today: those whom `admit` lets in."""
    staff = tx.scalars(select(StaffRow).where(StaffRow.point == point)).all()
    certified = _certified(tx, clock, staff)
    lent = [row.person for row in staff if row.lent]
    here = _here_today(tx, business_date(clock.now()), lent) if lent else set()
    return [row.person for row in certified if not row.lent or row.person in here]


def coverage(tx: Tx, clock: Clock) -> Coverage:
    """P2 over everybody who is assigned somewhere."""
    staff = tx.scalars(select(StaffRow)).all()
    return Coverage(len(_certified(tx, clock, staff)), len(staff))


def _certified(tx: Tx, clock: Clock, staff: Sequence[StaffRow]) -> list[StaffRow]:
    passed = _passed(tx, clock, [row.person for row in staff])
    return [row for row in staff if NEEDED[Audience(row.audience)] <= passed[row.person]]
