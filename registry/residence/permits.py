"""Permits: birth, holds, status changes with their sequence number (residence.md 5.4, 6.2, 6.6).

Every visible change goes through `restate`, which gives the next `ssn`, one status event and one entry
in the event log. Holds come and go independently.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotFound, Rejected
from registry import sequences
from registry.identifiers import DIVISION_DIGITS, make_permit_no
from registry.masking import refuse_personal
from registry.parameters import PILOT, Policy
from registry.residence import domain, outgoing
from registry.residence.domain import CardState, ChipStatus, Hold, PermitType
from registry.residence.tables import (
    ApplicationRow,
    CardRow,
    HoldRow,
    PermitRow,
    StatusEventRow,
)
from registry.roles import CLERKS, Actor, Role, require, require_own


@dataclass(frozen=True)
class Cause:
    """Why a status changes: who acts, on what evidence, and since when the fact holds."""

    actor: str
    evidence: str
    fact_from: date | None = None


def get(tx: Tx, permit_no: str, lock: bool = False) -> PermitRow:
    """Raises NotFound E-PERMIT."""
    row = tx.get(PermitRow, permit_no, with_for_update=True if lock else None)
    if row is None:
        raise NotFound("E-PERMIT", "no such permit")
    return row


def lock_all(tx: Tx, permit_nos: Sequence[str]) -> None:
    """Lock many permits in the order of their numbers, as `get` with `lock` does one."""
    tx.scalars(
        select(PermitRow.permit_no)
        .where(PermitRow.permit_no.in_(permit_nos))
        .order_by(PermitRow.permit_no)
        .with_for_update()
    ).all()


def issue(
    tx: Tx,
    clock: Clock,
    application: ApplicationRow,
    kind: PermitType,
    actor: str,
    policy: Policy = PILOT,
) -> PermitRow:
    """A new permit in status PENDING with ssn 1, numbered in the division of its address."""
    today, division = business_date(clock.now()), application.address_code[:DIVISION_DIGITS]
    serial = sequences.take(tx, f"permit-{division}-{today.year}")
    permit = PermitRow(
        permit_no=make_permit_no(today.year, serial, division),
        person_id=application.person_id,
        type=kind,
        basis=application.basis,
        address_code=application.address_code,
        issued_on=today,
        valid_until=domain.valid_until(today, kind, policy.valid_years_rp, policy.valid_months_trp),
        handed_over=False,
        status=0,
        causes=0,
        ssn=0,
        effective_on=today,
        lease_until=today,
    )
    tx.add(permit)
    tx.flush()
    cause = Cause(actor, f"application {application.acc_no}")
    restate(tx, clock, permit, cause, policy)
    return permit


def holds(tx: Tx, permit_no: str) -> frozenset[Hold]:
    """The holds of a permit."""
    found = tx.scalars(select(HoldRow.kind).where(HoldRow.permit_no == permit_no))
    return frozenset(Hold(kind) for kind in found)


def add_hold(
    tx: Tx,
    clock: Clock,
    permit_no: str,
    hold: Hold,
    cause: Cause,
    *,
    stolen: bool = False,
    policy: Policy = PILOT,
) -> bool:
    """Set a hold; False when it was set already."""
    permit = get(tx, permit_no, lock=True)
    if tx.get(HoldRow, (permit_no, hold)) is not None:
        return False
    tx.add(
        HoldRow(
            permit_no=permit_no, kind=hold, since=clock.now(), stolen=stolen,
            evidence=cause.evidence,
        )
    )  # fmt: skip
    tx.flush()
    restate(tx, clock, permit, cause, policy)
    return True


def clear_hold(
    tx: Tx, clock: Clock, permit_no: str, hold: Hold, cause: Cause, policy: Policy = PILOT
) -> bool:
    """Remove a hold; False when there was none. CANCELLED never goes (Rejected E-STATE)."""
    if hold is Hold.CANCELLED:
        raise Rejected(
            "E-STATE", "a cancelled permit stays cancelled", state="CANCELLED", allowed="-"
        )
    permit = get(tx, permit_no, lock=True)
    row = tx.get(HoldRow, (permit_no, hold))
    if row is None:
        return False
    tx.delete(row)
    tx.flush()
    restate(tx, clock, permit, cause, policy)
    return True


def restate(
    tx: Tx,
    clock: Clock,
    permit: PermitRow,
    cause: Cause,
    policy: Policy = PILOT,
    renew: bool = False,
) -> bool:
    """Bring the permit's status in line with its holds; True when a status event was written.

    `renew` writes one even for the same status: a new lease needs the next `ssn` (README decision 17).
    """
    present = holds(tx, permit.permit_no)
    after, bits = domain.chip_status(present, permit.handed_over), domain.causes(present)
    if (after, bits) == (permit.status, permit.causes) and not renew:
        return False
    today = business_date(clock.now())
    before = permit.status
    permit.ssn += 1
    permit.status, permit.causes, permit.effective_on = after, bits, today
    permit.lease_until = min(today + timedelta(days=policy.lease), permit.valid_until)
    tx.add(
        StatusEventRow(
            permit_no=permit.permit_no,
            ssn=permit.ssn,
            before=before,
            after=after,
            causes=bits,
            effective_at=clock.now(),
            fact_from=cause.fact_from,
            lease_until=permit.lease_until,
            policy=policy.version,
            actor=cause.actor,
            evidence=cause.evidence,
        )
    )
    tx.flush()
    events.append(
        tx, clock, "permit.status_changed", permit.permit_no, actor=cause.actor, ssn=permit.ssn,
        status=after.name, causes=bits, evidence=cause.evidence,
    )  # fmt: skip
    outgoing.tell_status(tx, clock, permit)
    return True


def renew_lease(
    tx: Tx, clock: Clock, permit_no: str, terminal: str, policy: Policy = PILOT
) -> bool:
    """An online contact renews the lease when less than half of it is left; True when it did (6.7)."""
    permit = get(tx, permit_no, lock=True)
    left = (permit.lease_until - business_date(clock.now())).days
    if permit.status != ChipStatus.ACTIVE or 2 * left >= policy.lease:
        return False
    if permit.lease_until == permit.valid_until:
        return False
    return restate(tx, clock, permit, Cause(terminal, "online contact"), policy, renew=True)


def report_loss(
    tx: Tx, clock: Clock, permit_no: str, actor: Actor, *, stolen: bool = False, evidence: str
) -> None:
    """LOSS at once, by telephone or at any point (5.4). Raises E-ROLE, E-OWN, Rejected E-HOT (set already)."""
    require(actor, *CLERKS, Role.HOLDER)
    require_own(actor, get(tx, permit_no).person_id, *CLERKS)
    cause = Cause(actor.name, evidence)
    if not add_hold(tx, clock, permit_no, Hold.LOSS, cause, stolen=stolen):
        raise Rejected("E-HOT", "the loss is on the list already")
    events.append(tx, clock, "permit.loss_reported", permit_no, actor=actor.name, stolen=stolen)


def withdraw_loss(tx: Tx, clock: Clock, permit_no: str, actor: Actor, evidence: str) -> None:
    """In person, at a police-station point, while no replacement has been ordered (5.4).

    Raises NotAllowed E-ROLE, Rejected E-REPLACED, E-PERSONAL.
    """
    require(actor, Role.POLICE_CLERK)
    refuse_personal(evidence)
    live = tx.scalar(
        select(CardRow.card_serial).where(
            CardRow.permit_no == permit_no, CardRow.state == CardState.ISSUED
        )
    )
    if live is None:
        raise Rejected("E-REPLACED", "a replacement was ordered: the old card is dead for ever")
    clear_hold(tx, clock, permit_no, Hold.LOSS, Cause(actor.name, evidence))
    events.append(tx, clock, "permit.loss_withdrawn", permit_no, actor=actor.name)


def cancel(tx: Tx, clock: Clock, permit_no: str, actor: Actor, evidence: str) -> None:
    """CANCELLED: hot for ever (5.4). Raises NotAllowed E-ROLE, Rejected E-PERSONAL."""
    require(actor, Role.REVIEWER)
    refuse_personal(evidence)
    add_hold(tx, clock, permit_no, Hold.CANCELLED, Cause(actor.name, evidence))


def give_up(tx: Tx, clock: Clock, permit_no: str, actor: str) -> None:
    """CANCELLED: the application was withdrawn before there was a card, and the person may apply again."""
    add_hold(tx, clock, permit_no, Hold.CANCELLED, Cause(actor, "application withdrawn"))
