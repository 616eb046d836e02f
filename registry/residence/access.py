"""Looking at a holder's record: with role, purpose and case only, masked, and on record (residence.md 17).

There is no way to browse by name. Terminals get a status and a cause, no record. The holder sees who looked.
"""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select

from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotAllowed, NotFound, Rejected
from core.ids import uuid7
from registry.identifiers import validate_citizen_id, validate_permit_no
from registry.masking import mask_citizen_id, mask_name, mask_phone
from registry.residence import applications, cards, permits, persons
from registry.residence.domain import ChipStatus, shown_status
from registry.residence.tables import AccessRow, PermitRow, PersonRow
from registry.roles import Actor, Role, require_own

MAX_LISTED = 200


class Purpose(StrEnum):
    """Why somebody may look; `ALLOWED` says who."""

    ACCEPTANCE = "ACCEPTANCE"
    REVIEW = "REVIEW"
    HAND_OVER = "HAND_OVER"
    LOSS = "LOSS"
    OBJECTION = "OBJECTION"
    INSPECTION = "INSPECTION"
    AUDIT = "AUDIT"
    OWN_RECORD = "OWN_RECORD"


_CLERKS = frozenset({Role.POLICE_CLERK, Role.STATION_CLERK})
ALLOWED: dict[Purpose, frozenset[Role]] = {
    Purpose.ACCEPTANCE: _CLERKS,
    Purpose.REVIEW: frozenset({Role.REVIEWER}),
    Purpose.HAND_OVER: _CLERKS,
    Purpose.LOSS: _CLERKS,
    Purpose.OBJECTION: frozenset({Role.REVIEWER}),
    Purpose.INSPECTION: frozenset({Role.LABOUR_INSPECTOR}),
    Purpose.AUDIT: frozenset({Role.AUDITOR}),
    Purpose.OWN_RECORD: frozenset({Role.HOLDER}),
}
STEP_UP = frozenset({Role.POLICE_CLERK, Role.REVIEWER, Role.HOLDER})
"""Who may see full values, each time on record."""


@dataclass(frozen=True, repr=False)
class Particulars:
    """A person as it is shown: masked, or in full to those who may."""

    name: str
    citizen_id: str
    phone: str
    birth: date | None


@dataclass(frozen=True, repr=False)
class View(Particulars):
    """A holder's record as it is shown."""

    permit_no: str
    type: str
    status: str
    valid_until: date


@dataclass(frozen=True, repr=False)
class Applicant(Particulars):
    """Who applies, as the counter and the reviewer see it; the household address only in full."""

    sex: int
    ethnic: int
    household_address: str


@dataclass(frozen=True)
class Look:
    """One line of the holder's access log."""

    at: datetime
    role: str
    purpose: str
    case_no: str
    full: bool


def look_up(
    tx: Tx, clock: Clock, actor: Actor, purpose: Purpose, case_no: str, key: str,
    full: bool = False,
) -> View:  # fmt: skip
    """A record by permit number or citizen id, for a case. Masked unless `full` and the role may.

    Raises NotAllowed E-PURPOSE, E-OWN; Rejected E-CASE-NO (no case) and E-NUMBER (neither number: names are no
    key), NotFound E-PERSON. A refused attempt is on record by its exception only; a found one by a row.
    """
    role = _admitted(actor, purpose, case_no, full)
    person = _person(tx, clock, key)
    _note(tx, clock, actor, role, person, purpose, case_no, full)
    permit = tx.scalar(
        select(PermitRow)
        .where(PermitRow.person_id == person.id)
        .order_by(PermitRow.status == ChipStatus.CANCELLED, PermitRow.issued_on.desc())
        .limit(1)
    )
    if permit is None:
        raise NotFound("E-PERMIT", "no permit")
    return View(
        **_shown(persons.personal(tx, person), person, full),
        permit_no=permit.permit_no,
        type=permit.type,
        status=shown_status(permits.holds(tx, permit.permit_no)),
        valid_until=permit.valid_until,
    )


def look_at_applicant(
    tx: Tx, clock: Clock, actor: Actor, purpose: Purpose, acc_no: str, full: bool = False
) -> Applicant:
    """Who stands behind an acceptance number, which is the case. Raises as `look_up`, NotFound E-APPLICATION."""
    role = _admitted(actor, purpose, acc_no, full)
    person = applications.applicant(tx, acc_no)
    _note(tx, clock, actor, role, person, purpose, acc_no, full)
    known = persons.personal(tx, person)
    return Applicant(
        **_shown(known, person, full),
        sex=person.sex,
        ethnic=person.ethnic,
        household_address=known.household_address if full else "",
    )


def look_at_status(
    tx: Tx, clock: Clock, actor: Actor, purpose: Purpose, case_no: str, permit_no: str
) -> PermitRow:
    """A permit whose status or reasons are about to be told, on record like every look. Raises as `look_up`."""
    role = _admitted(actor, purpose, case_no, full=False)
    permit = permits.get(tx, permit_no)
    person = persons.get(tx, permit.person_id)
    _note(tx, clock, actor, role, person, purpose, case_no, full=False)
    return permit


def _admitted(actor: Actor, purpose: Purpose, case_no: str, full: bool) -> Role:
    """The role in which the actor may look for this purpose."""
    roles = actor.roles & ALLOWED[purpose]
    if not roles or (full and not actor.roles & STEP_UP):
        raise NotAllowed("E-PURPOSE", f"{actor.name} may not look for {purpose}")
    if not case_no.strip():
        raise Rejected("E-CASE-NO", "a look needs a case")
    return min(roles)


def _note(
    tx: Tx, clock: Clock, actor: Actor, role: Role, person: PersonRow, purpose: Purpose,
    case_no: str, full: bool,
) -> None:  # fmt: skip
    """Put a look on record; a holder looks at its own record only."""
    if purpose is Purpose.OWN_RECORD:
        require_own(actor, person.id)
    tx.add(
        AccessRow(
            id=uuid7(clock.now()), person_id=person.id, at=clock.now(), actor=actor.name,
            role=role, purpose=purpose, case_no=case_no[:40], full=full,
        )
    )  # fmt: skip
    tx.flush()


def _shown(known: persons.Personal, person: PersonRow, full: bool) -> dict[str, Any]:
    """The fields of `Particulars`."""
    return {
        "name": known.name if full else mask_name(known.name),
        "citizen_id": known.citizen_id if full else mask_citizen_id(known.citizen_id),
        "phone": known.phone if full else mask_phone(known.phone),
        "birth": person.birth if full else None,
    }


def terminal_answer(tx: Tx, card_serial: str) -> tuple[str, int]:
    """What a terminal may know: shown status and cause bits. Raises NotFound E-CARD."""
    permit = cards.permit_of(tx, card_serial)
    return shown_status(permits.holds(tx, permit.permit_no)), permit.causes


def my_access_log(tx: Tx, holder: Actor, person_id: str) -> list[Look]:
    """Who looked at one's own record, newest first; roles, not names. Raises NotAllowed E-PURPOSE.

    A holder's `Actor.name` is the person's id.
    """
    if Role.HOLDER not in holder.roles or holder.name != person_id:
        raise NotAllowed("E-PURPOSE", "holders see their own record only")
    rows = tx.scalars(
        select(AccessRow)
        .where(AccessRow.person_id == person_id)
        .order_by(AccessRow.at.desc(), AccessRow.id.desc())
        .limit(MAX_LISTED)
    )
    return [Look(row.at, row.role, row.purpose, row.case_no, row.full) for row in rows]


def _person(tx: Tx, clock: Clock, key: str) -> PersonRow:
    if validate_permit_no(key).ok:
        row = tx.get(PermitRow, validate_permit_no(key).normalized)
        if row is not None:
            return persons.get(tx, row.person_id)
    checked = validate_citizen_id(key, business_date(clock.now()))
    if not checked.ok and not validate_permit_no(key).ok:
        raise Rejected("E-NUMBER", "a permit number or a citizen number is wanted")
    person = persons.by_citizen_id(tx, checked.normalized)
    if person is None:
        raise NotFound("E-PERSON", "nobody of this number")
    return person
