"""Applications from the draft to the closed file (residence.md 5.3): functions over a transaction.

Every step checks the table of allowed transitions, the actor's role and the guard of its line, and
appends one event. Repeating a step that was taken changes nothing.
"""

from dataclasses import dataclass

from sqlalchemy import select

from core import events
from core.clock import Clock, business_date
from core.db import Tx, queue_for
from core.errors import NotFound, Rejected
from core.ids import uuid7
from registry import sequences, vault
from registry.identifiers import make_acceptance_no, valid_point, validate_address_code
from registry.masking import refuse_personal
from registry.parameters import PILOT, Policy
from registry.points import launch
from registry.residence import (
    cards,
    domain,
    facts,
    fees,
    papers,
    permits,
    persons,
    portraits,
    renewal,
    steps,
)
from registry.residence.domain import Basis, Channel, Kind, PermitType, State
from registry.residence.tables import ApplicationRow, PermitRow, PersonRow
from registry.roles import CLERKS, SYSTEM, Actor, Role, require, require_own

PASS, FAIL, UNKNOWN = "PASS", "FAIL", "UNKNOWN"
SAVERS = (*CLERKS, Role.EMPLOYER_OP)
DESIGN_VERSION = "PILOT-1"


@dataclass(frozen=True)
class Draft:
    """What an application says. `address_code` may be the printed form."""

    person_id: str
    basis: Basis
    address_code: str
    point: str
    kind: Kind = Kind.NEW
    urgent: bool = False
    channel: Channel = Channel.WINDOW
    guardian: str = ""


def save(tx: Tx, clock: Clock, draft: Draft, actor: Actor, policy: Policy = PILOT) -> str:
    """Line 1: a DRAFT; returns the tracking id.

    Raises E-ROLE, E-AC-CHECK, E-POINT, E-DUP-APP (I1), E-HAS, E-HAS-NOT, E-RENEW-EARLY, E-TYPE, NotFound E-PERSON.
    """
    require(actor, *SAVERS)
    persons.get(tx, draft.person_id)
    row = drafted(tx, clock, draft, actor, policy)
    tx.add(row)
    tx.flush()
    return row.id


def drafted(
    tx: Tx, clock: Clock, draft: Draft, actor: Actor, policy: Policy = PILOT
) -> ApplicationRow:
    """Line 1 of a person the caller knows: a row the session does not hold yet. Raises as `save`."""
    require(actor, *SAVERS)
    code = validate_address_code(draft.address_code)
    if not code.ok:
        raise Rejected(code.code)
    if not valid_point(draft.point):
        raise Rejected("E-POINT", "no such acceptance point")
    queue_for(tx, f"applicant {draft.person_id}")
    _one_at_a_time(tx, clock, draft, policy)
    key = uuid7(clock.now())
    row = ApplicationRow(
        id=key,
        kind=draft.kind,
        person_id=draft.person_id,
        basis=draft.basis,
        address_code=code.normalized,
        point=draft.point,
        urgent=draft.urgent,
        channel=draft.channel,
        sealed=_sealed(tx, key, draft),
        state=State.DRAFT,
        state_since=clock.now(),
        open=True,
        saved_at=clock.now(),
        saved_by=actor.name,
    )
    events.append(
        tx, clock, "application.saved", row.id, actor=actor.name, point=draft.point,
        application_kind=draft.kind,
    )  # fmt: skip
    return row


def _sealed(tx: Tx, key: str, draft: Draft) -> bytes | None:
    """The guardian's name and document, which are personal data too."""
    if not draft.guardian:
        return None
    return vault.seal(tx, ApplicationRow.__tablename__, key, {"guardian": draft.guardian})


def _one_at_a_time(tx: Tx, clock: Clock, draft: Draft, policy: Policy) -> None:
    other = steps.open_application(tx, draft.person_id)
    if other is not None:
        raise Rejected(
            "E-DUP-APP", "the person has an open application", other=other.acc_no or other.id
        )
    live = steps.live_permit(tx, draft.person_id)
    if draft.kind is Kind.NEW:
        if live is not None:
            raise Rejected("E-HAS", "the person holds a permit", permit=live)
    elif live is None:
        raise Rejected("E-HAS-NOT", "there is no permit to replace")
    else:
        renewal.check(tx, clock, draft.kind, live, policy)


def submit(tx: Tx, clock: Clock, tracking: str, actor: Actor) -> None:
    """Line 2. Raises E-ROLE, E-OWN (an employer's operator sends in its own), E-STATE, E-MISSING (all items)."""
    require(actor, *SAVERS)
    row = get(tx, tracking)
    steps.own_case(row, actor)
    send_in(tx, clock, row, persons.get(tx, row.person_id), actor)


def send_in(tx: Tx, clock: Clock, row: ApplicationRow, person: PersonRow, actor: Actor) -> None:
    """Line 2 of a row and its person as loaded. Raises E-ROLE, E-STATE, E-MISSING."""
    require(actor, *SAVERS)
    missing = [] if person.photo_ref else [papers.PHOTO]
    if papers.under_age(person.birth, business_date(clock.now())) and not row.sealed:
        missing.append(papers.GUARDIAN)
    if missing:
        raise Rejected("E-MISSING", "items are missing", items=", ".join(missing))
    if steps.move(clock, row, State.SUBMITTED):
        row.submitted_at = clock.now()
        events.append(tx, clock, "application.submitted", row.id, actor=actor.name)


def accept(
    tx: Tx,
    clock: Clock,
    tracking: str,
    actor: Actor,
    fee_receipt: str,
    policy: Policy = PILOT,
) -> str:
    """Line 3: papers seen, fee paid; returns the acceptance number on the receipt.

    Raises E-ROLE, E-STAGE, E-POINTS-SHUT, E-STATE, E-IDENTITY, E-MISSING, E-AC-*, E-FEE.
    """
    require(actor, *CLERKS)
    row = get(tx, tracking)
    take_in(tx, clock, row, persons.get(tx, row.person_id), actor, fee_receipt, policy)
    tx.flush()
    return row.acc_no or ""


def take_in(
    tx: Tx, clock: Clock, row: ApplicationRow, person: PersonRow, actor: Actor, fee_receipt: str,
    policy: Policy = PILOT,
) -> None:  # fmt: skip
    """Line 3 of a row and its person as loaded. Raises as `accept`."""
    require(actor, *CLERKS)
    launch.require_accepting(tx, clock)
    if person.identity_level < 1:
        raise Rejected("E-IDENTITY", "no identity document was seen")
    if person.photo_ref is None:
        raise Rejected("E-MISSING", "no portrait", items="photo")
    facts.address(tx, row.address_code)
    if not fee_receipt:
        raise Rejected("E-FEE", "the fee is not paid")
    if not steps.move(clock, row, State.ACCEPTED):
        return
    today = business_date(clock.now())
    sequence = sequences.take(tx, f"acceptance-{row.point}-{today:%y%m%d}")
    row.acc_no = make_acceptance_no(row.point, today, sequence)
    row.accepted_at, row.accepted_by = clock.now(), actor.name
    row.due_on = domain.add_working_days(today, policy.working_days)
    row.fee_fen = fees.price(tx, Kind(row.kind), today, policy)
    row.fee_receipt = fee_receipt
    fees.pay(tx, clock, row.acc_no, fee_receipt, row.fee_fen)
    events.append(
        tx, clock, "application.accepted", row.acc_no, actor=actor.name, point=row.point,
        due_on=row.due_on.isoformat(), fee_fen=row.fee_fen,
    )  # fmt: skip


def verify(tx: Tx, clock: Clock, acc_no: str, actor: Actor = SYSTEM) -> ApplicationRow:
    """Lines 4 and 5: ask the registers and put the file before a reviewer. Raises E-ROLE, E-STATE.

    Answers: PASS the register shows it today, FAIL it shows something else, UNKNOWN it shows nothing.
    """
    require(actor, Role.SYSTEM, *CLERKS, Role.REVIEWER)
    row = by_number(tx, acc_no)
    steps.move(clock, row, State.VERIFYING)
    person = persons.get(tx, row.person_id)
    today = business_date(clock.now())
    known = facts.of_person(tx, person)
    ground = facts.covering(known, [row.basis], today)
    row.labour_answer = PASS if ground else UNKNOWN
    dwellings = [fact for fact in known if fact.kind == facts.DWELLING and fact.covers(today)]
    if any(fact.origin == row.address_code for fact in dwellings):
        row.rental_answer = PASS
    else:
        row.rental_answer = FAIL if dwellings else UNKNOWN
    steps.move(clock, row, State.IN_REVIEW)
    events.append(
        tx, clock, "application.checked", acc_no, actor=actor.name, ground=row.labour_answer,
        dwelling=row.rental_answer,
    )  # fmt: skip
    return row


def approve(
    tx: Tx,
    clock: Clock,
    acc_no: str,
    actor: Actor,
    permit_type: PermitType = PermitType.RP,
    note: str = "",
    policy: Policy = PILOT,
) -> str:
    """Line 9: the reviewer says yes; returns the permit number and orders production.

    Raises E-ROLE, E-SOD (reviewer = acceptor), E-STATE, E-NOTE (an UNKNOWN needs a note), E-PERSONAL, E-BASIS
    (no ground covers today: a TRP may be offered), E-AC-*.
    """
    require(actor, Role.REVIEWER)
    row = by_number(tx, acc_no)
    steps.second_person(row, actor)
    if row.state == State.APPROVED and row.permit_no is not None:
        return row.permit_no
    steps.may(row, State.APPROVED)
    if UNKNOWN in (row.labour_answer, row.rental_answer) and not note:
        raise Rejected("E-NOTE", "an unanswered question needs the reviewer's note")
    refuse_personal(note)
    if permit_type is PermitType.RP and row.kind in (Kind.NEW, Kind.CONVERT):
        person = persons.get(tx, row.person_id)
        today = business_date(clock.now())
        if facts.covering(facts.of_person(tx, person), [row.basis], today) is None:
            raise Rejected("E-BASIS", "no ground covers today; a TRP may be offered")
    facts.address(tx, row.address_code)
    permit_no = _permit(tx, clock, row, permit_type, actor, policy)
    steps.move(clock, row, State.APPROVED)
    row.permit_no, row.reason = permit_no, note or None
    row.decided_at, row.decided_by = clock.now(), actor.name
    tx.flush()
    events.append(tx, clock, "application.approved", acc_no, actor=actor.name, permit_no=permit_no)
    events.append(
        tx, clock, "production.ordered", acc_no, actor=actor.name, acc_no=acc_no,
        permit_no=permit_no, point=row.point, order_kind=row.kind,
        priority=0 if row.urgent or row.kind != Kind.NEW else 1,
        due_on=row.due_on.isoformat() if row.due_on else None, design_version=DESIGN_VERSION,
    )  # fmt: skip
    return permit_no


def _permit(
    tx: Tx, clock: Clock, row: ApplicationRow, kind: PermitType, actor: Actor, policy: Policy
) -> str:
    if row.kind == Kind.NEW:
        return permits.issue(tx, clock, row, kind, actor.name, policy).permit_no
    permit_no = tx.scalars(
        select(PermitRow.permit_no).where(
            PermitRow.person_id == row.person_id,
            PermitRow.status != domain.ChipStatus.CANCELLED,
        )
    ).one()
    if papers.replaces(Kind(row.kind)):
        cards.retire_issued(tx, clock, permit_no, actor.name)
    renewal.carry_out(tx, clock, row, permit_no, actor.name, policy)
    return permit_no


def refuse(tx: Tx, clock: Clock, acc_no: str, actor: Actor, reason: str) -> None:
    """Line 8: final, with a reason, open to objection; the portrait goes at once (residence.md 17).

    Raises E-ROLE, E-SOD, E-STATE, E-REASON, E-PERSONAL.
    """
    require(actor, Role.REVIEWER)
    row = by_number(tx, acc_no)
    steps.second_person(row, actor)
    if not reason.strip():
        raise Rejected("E-REASON", "a refusal needs a reason")
    refuse_personal(reason)
    if steps.move(clock, row, State.REJECTED):
        row.reason, row.decided_at, row.decided_by = reason, clock.now(), actor.name
        fees.refund(tx, clock, acc_no, "refused", actor.name)
        if steps.live_permit(tx, row.person_id) is None:
            portraits.drop(tx, persons.get(tx, row.person_id))
        events.append(tx, clock, "application.refused", acc_no, actor=actor.name, reason=reason)


def send_back(
    tx: Tx, clock: Clock, acc_no: str, actor: Actor, reason: str, policy: Policy = PILOT
) -> None:
    """Line 6: back to the applicant, at most twice.

    Raises E-ROLE, E-SOD, E-STATE, E-REASON, E-PERSONAL, E-RETURNS.
    """
    require(actor, Role.REVIEWER)
    row = by_number(tx, acc_no)
    steps.second_person(row, actor)
    if not reason.strip():
        raise Rejected("E-REASON", "a return needs a reason")
    refuse_personal(reason)
    if row.returns >= policy.max_returns:
        raise Rejected("E-RETURNS", "returned twice already: call the applicant")
    if steps.move(clock, row, State.RETURNED):
        row.returns += 1
        row.reason = reason
        events.append(tx, clock, "application.returned", acc_no, actor=actor.name, reason=reason)


def withdraw(tx: Tx, clock: Clock, tracking: str, actor: Actor) -> None:
    """Line 18: given up before the card is made; a new permit ends with it. Raises E-ROLE, E-OWN, E-STATE."""
    require(actor, *SAVERS, Role.HOLDER)
    row = get(tx, tracking)
    if Role.HOLDER in actor.roles:
        require_own(actor, row.person_id, *SAVERS)
    steps.own_case(row, actor)
    made = row.state == State.IN_PRODUCTION
    if steps.move(clock, row, State.WITHDRAWN):
        if row.acc_no is not None and not made:
            fees.refund(tx, clock, row.acc_no, "withdrawn", actor.name)
        if row.permit_no is not None and row.kind == Kind.NEW:
            permits.give_up(tx, clock, row.permit_no, actor.name)
        events.append(tx, clock, "application.withdrawn", row.acc_no or row.id, actor=actor.name)


def advance(tx: Tx, clock: Clock, acc_no: str, to: State, actor: str) -> None:
    """Lines 10 to 17: production and the points report where the card is. Raises E-STATE."""
    row = by_number(tx, acc_no)
    if steps.move(clock, row, to):
        events.append(tx, clock, "application.advanced", acc_no, actor=actor, state=to)


def resubmit(tx: Tx, clock: Clock, acc_no: str, actor: Actor) -> ApplicationRow:
    """Line 7: the applicant completed the papers; the clock that stood still goes on.

    Raises E-ROLE, E-OWN, E-STATE.
    """
    require(actor, *SAVERS)
    row = by_number(tx, acc_no)
    steps.own_case(row, actor)
    if row.state != State.RETURNED:
        raise Rejected("E-STATE", "it was not returned", state=row.state, allowed=State.RETURNED)
    stood = domain.working_days(business_date(row.state_since), business_date(clock.now()))
    if row.due_on is not None:
        row.due_on = domain.add_working_days(row.due_on, stood)
    events.append(tx, clock, "application.resubmitted", acc_no, actor=actor.name)
    return verify(tx, clock, acc_no)


def drop_draft(tx: Tx, clock: Clock, row: ApplicationRow) -> None:
    """A draft older than 30 days leaves the queue."""
    steps.move(clock, row, State.WITHDRAWN)
    events.append(tx, clock, "application.withdrawn", row.id, actor="watchdog")


def get(tx: Tx, tracking: str) -> ApplicationRow:
    """By tracking id. Raises NotFound E-APPLICATION."""
    row = tx.get(ApplicationRow, tracking, with_for_update=True)
    if row is None:
        raise NotFound("E-APPLICATION", "no such application")
    return row


def by_number(tx: Tx, acc_no: str) -> ApplicationRow:
    """By acceptance number. Raises NotFound E-APPLICATION."""
    row = tx.scalar(select(ApplicationRow).where(ApplicationRow.acc_no == acc_no).with_for_update())
    if row is None:
        raise NotFound("E-APPLICATION", "no such application")
    return row


def unchanged(tx: Tx, acc_no: str, row_version: int, actor: Actor) -> None:
    """Before a decision. Raises E-ROLE, NotFound E-APPLICATION, Rejected E-VERSION (not what the reviewer read)."""
    require(actor, Role.REVIEWER)
    row = by_number(tx, acc_no)
    if row.row_version != row_version:
        raise Rejected("E-VERSION", "it changed since", row_version=row.row_version)


def applicant(tx: Tx, acc_no: str) -> PersonRow:
    """The person behind an acceptance number."""
    return persons.get(tx, by_number(tx, acc_no).person_id)
