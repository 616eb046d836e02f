"""How long the residence register keeps personal data, and what is left then (residence.md 17).

Portraits of refused applicants go at once, drafts after 30 days, refused and withdrawn applications after a year,
the particulars behind a permit two years after its last day, looks at records after ten years. What is left of a
person is a row without particulars, which the numbers of its permits and cards still point to: status history,
cards, fees and the sealed event log hold numbers only, and stay as they are. A legal hold stops all of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import uuid4

from sqlalchemy import ColumnElement, Select, and_, delete, exists, func, or_, select, update

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import Rejected
from registry.residence import applications, portraits
from registry.residence.domain import State, add_months
from registry.residence.tables import (
    AccessRow,
    ApplicationRow,
    FactRow,
    LegalHoldRow,
    LinkRow,
    PermitRow,
    PersonRow,
    WorkItemRow,
)
from registry.residence.watchdog import DRAFT_LIFE
from registry.roles import Actor, Role, require, two_persons

REFUSED_LIFE = timedelta(days=365)
PERMIT_MONTHS = 24  # after the last day of validity
LOOK_LIFE = timedelta(days=3_652)
NO_BIRTH = date(1900, 1, 1)
NOT_TOLD = 0  # sex and ethnic group of somebody whose particulars are gone
_HELD = exists().where(LegalHoldRow.person_id == PersonRow.id)
_HAS_PERMIT = exists().where(PermitRow.person_id == PersonRow.id)
_OPEN = exists().where(ApplicationRow.person_id == PersonRow.id, ApplicationRow.open.is_(True))

Keys = Sequence[str]


@dataclass(frozen=True)
class Rule:
    """What is due: `query` selects keys at an instant, `drop` ends what they stand for."""

    name: str
    query: Callable[[datetime], Select[str]]
    drop: Callable[[Tx, Keys], None]


def place_hold(tx: Tx, clock: Clock, number: str, case_no: str, actor: Actor) -> None:
    """Keep a person's data for a case, by acceptance or permit number; again changes nothing.

    Raises NotAllowed E-ROLE; Rejected E-CASE-NO; NotFound E-APPLICATION, E-PERMIT.
    """
    require(actor, Role.REVIEWER)
    if not case_no.strip():
        raise Rejected("E-CASE-NO", "a legal hold needs a case")
    person = _person_of(tx, number)
    if tx.get(LegalHoldRow, person) is None:
        tx.add(
            LegalHoldRow(
                person_id=person, since=clock.now(), case_no=case_no[:40], placed_by=actor.name
            )
        )
        tx.flush()
        events.append(tx, clock, "retention.held", number, actor=actor.name)


def lift_hold(tx: Tx, clock: Clock, number: str, first: Actor, second: Actor) -> None:
    """The case is over: two persons. Raises NotAllowed E-ROLE, E-SOD; NotFound E-APPLICATION, E-PERMIT."""
    for actor in (first, second):
        require(actor, Role.REVIEWER)
    two_persons(first, second)
    row = tx.get(LegalHoldRow, _person_of(tx, number))
    if row is not None:
        tx.delete(row)
        tx.flush()
        events.append(tx, clock, "retention.released", number, actor=first.name, second=second.name)


def held(tx: Tx) -> int:
    """People whose data a legal hold keeps."""
    return tx.scalar(select(func.count()).select_from(LegalHoldRow)) or 0


def _person_of(tx: Tx, number: str) -> str:
    permit = tx.get(PermitRow, number)
    return permit.person_id if permit else applications.by_number(tx, number).person_id


# -- what is due --------------------------------------------------------------------------------------


def _applications(due: ColumnElement[bool]) -> Select[str]:
    return (
        select(ApplicationRow.id)
        .join(PersonRow, PersonRow.id == ApplicationRow.person_id)
        .where(due, ~_HELD)
        .order_by(ApplicationRow.id)
    )


def _drafts(now: datetime) -> Select[str]:
    never_sent = and_(
        ApplicationRow.submitted_at.is_(None), ApplicationRow.state == State.WITHDRAWN
    )
    return _applications(and_(never_sent, ApplicationRow.saved_at < now - DRAFT_LIFE))


def _refused(now: datetime) -> Select[str]:
    given_up = and_(ApplicationRow.state == State.WITHDRAWN, ApplicationRow.permit_no.is_(None))
    return _applications(
        and_(
            or_(ApplicationRow.state == State.REJECTED, given_up),
            ApplicationRow.submitted_at.is_not(None),
            ApplicationRow.state_since < now - REFUSED_LIFE,
        )
    )


def _permits(now: datetime) -> Select[str]:
    """People all of whose permits ended so long ago, and who have nothing under way."""
    last = add_months(business_date(now), -PERMIT_MONTHS)
    valid = exists().where(PermitRow.person_id == PersonRow.id, PermitRow.valid_until >= last)
    return (
        select(PersonRow.id)
        .where(PersonRow.sealed.is_not(None), _HAS_PERMIT, ~valid, ~_OPEN, ~_HELD)
        .order_by(PersonRow.id)
    )


def _portraits(_now: datetime) -> Select[str]:
    """People with a portrait, a refusal, and neither a permit nor an application under way."""
    refused = exists().where(
        ApplicationRow.person_id == PersonRow.id, ApplicationRow.state == State.REJECTED
    )
    return (
        select(PersonRow.id)
        .where(PersonRow.photo_ref.is_not(None), refused, ~_HAS_PERMIT, ~_OPEN, ~_HELD)
        .order_by(PersonRow.id)
    )


def _looks(now: datetime) -> Select[str]:
    return (
        select(AccessRow.id)
        .join(PersonRow, PersonRow.id == AccessRow.person_id)
        .where(AccessRow.at < now - LOOK_LIFE, ~_HELD)
        .order_by(AccessRow.id)
    )


# -- how it ends --------------------------------------------------------------------------------------


def _drop_applications(tx: Tx, keys: Keys) -> None:
    rows = tx.scalars(select(ApplicationRow).where(ApplicationRow.id.in_(keys))).all()
    numbers = [number for row in rows for number in (row.id, row.acc_no) if number]
    people = sorted({row.person_id for row in rows})
    tx.execute(delete(WorkItemRow).where(WorkItemRow.acc_no.in_(numbers)))
    tx.execute(delete(ApplicationRow).where(ApplicationRow.id.in_(keys)))
    other = exists().where(ApplicationRow.person_id == PersonRow.id)
    _erase(
        tx,
        tx.scalars(
            select(PersonRow.id).where(PersonRow.id.in_(people), ~other, ~_HAS_PERMIT)
        ).all(),
    )


def _drop_permits(tx: Tx, people: Keys) -> None:
    applied = tx.execute(
        select(ApplicationRow.id, ApplicationRow.acc_no).where(ApplicationRow.person_id.in_(people))
    )
    numbers = [number for row in applied for number in row if number]
    tx.execute(delete(WorkItemRow).where(WorkItemRow.acc_no.in_(numbers)))
    tx.execute(delete(ApplicationRow).where(ApplicationRow.person_id.in_(people)))
    tx.execute(update(PermitRow).where(PermitRow.person_id.in_(people)).values(address_code=""))
    _erase(tx, people)


def _drop_looks(tx: Tx, keys: Keys) -> None:
    tx.execute(delete(AccessRow).where(AccessRow.id.in_(keys)))


def _drop_portraits(tx: Tx, people: Keys) -> None:
    for person in tx.scalars(select(PersonRow).where(PersonRow.id.in_(people))):
        portraits.drop(tx, person)


def _erase(tx: Tx, people: Keys) -> None:
    """Particulars, portrait, links to the other registers and what those told; the row's id and account stay."""
    for person in tx.scalars(select(PersonRow).where(PersonRow.id.in_(people))).all():
        links = tx.scalars(select(LinkRow).where(LinkRow.citizen_index == person.citizen_index))
        for link in links.all():
            told = and_(FactRow.source == link.source, FactRow.subject == link.subject)
            tx.execute(delete(FactRow).where(told))
            tx.delete(link)
        portraits.drop(tx, person)
        person.sealed, person.citizen_index = None, uuid4().hex  # nobody's number leads here now
        person.sex, person.ethnic, person.birth = NOT_TOLD, NOT_TOLD, NO_BIRTH
    tx.flush()


RULES = (
    Rule("refused_portraits", _portraits, _drop_portraits),
    Rule("drafts", _drafts, _drop_applications),
    Rule("refused_applications", _refused, _drop_applications),
    Rule("permit_records", _permits, _drop_permits),
    Rule("looks_at_records", _looks, _drop_looks),
)
