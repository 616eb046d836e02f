"""The window of a point: somebody with papers and a portrait becomes an application (residence.md 5.2 a, 5.3).

Line 3 of the state table begins at SUBMITTED or at nothing: `accept_walk_in` takes an applicant who was never
heard of through lines 1 to 3 in one transaction, so that nothing half done is left when one of them refuses.
"""

from dataclasses import dataclass

from sqlalchemy import select

from core.clock import Clock
from core.db import Tx
from core.errors import NotAllowed, Rejected
from registry.parameters import PILOT, Policy
from registry.residence import applications, permits, persons, portraits
from registry.residence.applications import SAVERS, Draft
from registry.residence.domain import Basis, Channel, Kind, State
from registry.residence.persons import Newcomer, PersonData
from registry.residence.portraits import Portrait
from registry.residence.tables import ApplicationRow, PersonRow
from registry.roles import CLERKS, Actor, Role, require
from registry.vault import Vault

MAX_PAGE = 200
WORK_LISTS = (*CLERKS, Role.REVIEWER, Role.PILOT_OFFICE)


@dataclass(frozen=True)
class Wish:
    """What is applied for, beside the person and the point."""

    basis: Basis
    address_code: str
    kind: Kind = Kind.NEW
    urgent: bool = False
    channel: Channel = Channel.WINDOW
    guardian: str = ""

    def draft(self, person_id: str, point: str) -> Draft:
        """As `applications.save` takes it."""
        return Draft(
            person_id, self.basis, self.address_code, point, self.kind, self.urgent, self.channel,
            self.guardian,
        )  # fmt: skip


@dataclass(frozen=True, repr=False)
class Applicant:
    """Who came, held against the rules and under seal; `portrait` None: no picture was brought."""

    newcomer: Newcomer
    portrait: Portrait | None


def examine(
    keeper: Vault, clock: Clock, person: PersonData, portrait: bytes, actor: Actor
) -> Applicant:
    """What takes longest at a window, and needs no transaction: others write meanwhile.

    Raises NotAllowed E-ROLE, and what `persons.check` and `portraits.check` raise.
    """
    require(actor, *SAVERS)
    newcomer = persons.check(keeper, clock, person)
    picture = portraits.check(keeper, clock, portrait) if portrait else None
    return Applicant(newcomer, picture)


def take_down(
    tx: Tx, clock: Clock, applicant: Applicant, wish: Wish, point: str, actor: Actor,
    policy: Policy = PILOT,
) -> ApplicationRow:  # fmt: skip
    """Enter the person, keep the portrait, save the draft.

    Raises Rejected E-PHOTO-DUP, and what `applications.save` raises.
    """
    require(actor, *SAVERS)
    row, _ = _begin(tx, clock, applicant, wish, point, actor, policy)
    tx.add(row)
    tx.flush()
    return row


def accept_walk_in(
    tx: Tx, clock: Clock, applicant: Applicant, wish: Wish, point: str, actor: Actor,
    fee_receipt: str, policy: Policy = PILOT,
) -> ApplicationRow:  # fmt: skip
    """Lines 1 to 3 at once, written as one row. Raises as `take_down`, `submit` and `accept`."""
    require(actor, *CLERKS)
    with tx.no_autoflush:  # nothing that is looked for here was written here
        row, person = _begin(tx, clock, applicant, wish, point, actor, policy)
        applications.send_in(tx, clock, row, person, actor)
        applications.take_in(tx, clock, row, person, actor, fee_receipt, policy)
    tx.flush()  # the person before the application that names it
    tx.add(row)
    tx.flush()
    return row


def _begin(
    tx: Tx, clock: Clock, applicant: Applicant, wish: Wish, point: str, actor: Actor, policy: Policy
) -> tuple[ApplicationRow, PersonRow]:
    with tx.no_autoflush:  # a new person is written once, with the portrait
        person = persons.enter(tx, applicant.newcomer)
        if applicant.portrait is not None:
            portraits.keep(tx, person, applicant.portrait)
    draft = wish.draft(person.id, point)
    return applications.drafted(tx, clock, draft, actor, policy), person


def sits_at(actor: Actor, own_point: str, point: str) -> None:
    """A clerk works at the point of its grant. Raises NotAllowed E-ROLE, E-ELSEWHERE."""
    require(actor, *CLERKS)
    if own_point != point:
        raise NotAllowed("E-ELSEWHERE", "the clerk sits at another point", point=own_point)


def accept_here(
    tx: Tx, clock: Clock, tracking: str, point: str, actor: Actor, fee_receipt: str,
    policy: Policy = PILOT,
) -> str:  # fmt: skip
    """Line 3 of an application that was sent in. Raises Rejected E-ELSEWHERE, and as `accept`."""
    require(actor, *CLERKS)
    wanted = applications.get(tx, tracking).point
    if wanted != point:
        raise Rejected("E-ELSEWHERE", "the application belongs to another point", point=wanted)
    return applications.accept(tx, clock, tracking, actor, fee_receipt, policy)


def apply_again(
    tx: Tx, clock: Clock, permit_no: str, kind: Kind, point: str, actor: Actor,
    policy: Policy = PILOT,
) -> str:  # fmt: skip
    """A draft for a new card of a permit, with what the register knows; the tracking id.

    Raises NotFound E-PERMIT, and what `applications.save` raises.
    """
    require(actor, *CLERKS)
    permit = permits.get(tx, permit_no)
    wish = Wish(Basis(permit.basis), permit.address_code, kind)
    return applications.save(tx, clock, wish.draft(permit.person_id, point), actor, policy)


def work_list(
    tx: Tx, actor: Actor, own_point: str, state: State, after: str = "", limit: int = MAX_PAGE
) -> list[ApplicationRow]:
    """Applications in a state, oldest first, behind the id `after`: a clerk's own point, else all points.

    Raises NotAllowed E-ROLE.
    """
    require(actor, *WORK_LISTS)
    query = select(ApplicationRow).where(ApplicationRow.state == state, ApplicationRow.id > after)
    if not actor.roles & {Role.REVIEWER, Role.PILOT_OFFICE}:
        query = query.where(ApplicationRow.point == own_point)
    return list(tx.scalars(query.order_by(ApplicationRow.id).limit(min(limit, MAX_PAGE))))


def read(tx: Tx, number: str, actor: Actor, own_point: str) -> ApplicationRow:
    """One application by acceptance number, without personal data.

    Clerks read those of their point, operators what they saved, holders their own. Raises NotAllowed E-ROLE,
    E-OWN, E-ELSEWHERE; NotFound E-APPLICATION.
    """
    require(actor, *WORK_LISTS, Role.AUDITOR, Role.EMPLOYER_OP, Role.HOLDER)
    row = applications.by_number(tx, number)
    roles = actor.roles
    if roles & {Role.REVIEWER, Role.PILOT_OFFICE, Role.AUDITOR}:
        return row
    if roles & set(CLERKS):
        sits_at(actor, own_point, row.point)
    elif actor.name not in (row.saved_by, row.person_id):
        raise NotAllowed("E-OWN", "the application belongs to somebody else")
    return row
