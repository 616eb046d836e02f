"""Renewal, conversion and face change of a permit that exists (residence.md 5.4)."""

from datetime import timedelta

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import Rejected
from registry.parameters import PILOT, Policy
from registry.residence import domain, facts, permits, persons
from registry.residence.domain import ChipStatus, Hold, Kind, PermitType
from registry.residence.permits import Cause
from registry.residence.tables import ApplicationRow


def check(tx: Tx, clock: Clock, kind: Kind, permit_no: str, policy: Policy = PILOT) -> None:
    """Whether this kind may be asked for now.

    Raises Rejected E-RENEW-EARLY (more than 60 days before the end), E-TYPE (only a TRP converts).
    """
    permit = permits.get(tx, permit_no)
    first = permit.valid_until - timedelta(days=policy.renew_days_before)
    if kind is Kind.RENEW and business_date(clock.now()) < first:
        raise Rejected("E-RENEW-EARLY", "renewal opens later", first_day=str(first))
    if kind is Kind.CONVERT and permit.type != PermitType.TRP:
        raise Rejected("E-TYPE", "only a temporary permit converts", type=permit.type)


def carry_out(
    tx: Tx, clock: Clock, row: ApplicationRow, permit_no: str, actor: str, policy: Policy = PILOT
) -> None:
    """What approval changes on the permit itself: new end, new type; each is a status event of its own."""
    permit = permits.get(tx, permit_no, lock=True)
    today = business_date(clock.now())
    kind = Kind(row.kind)
    if kind is Kind.RENEW:
        begin = max(today, permit.valid_until + timedelta(days=1))
        permit.valid_until = domain.valid_until(
            begin, PermitType(permit.type), policy.valid_years_rp, policy.valid_months_trp
        )
    elif kind is Kind.CONVERT:
        permit.type, permit.basis = PermitType.RP, row.basis
        permit.valid_until = domain.valid_until(
            today, PermitType.RP, policy.valid_years_rp, policy.valid_months_trp
        )
    elif kind is Kind.CHANGE_FACE:
        permit.address_code = row.address_code
        return
    else:
        return
    tx.flush()
    cause = Cause(actor, f"{kind.lower()} {row.acc_no}")
    if not permits.clear_hold(tx, clock, permit_no, Hold.EXPIRED, cause, policy):
        permits.restate(tx, clock, permit, cause, policy, renew=True)


def offer_conversion(tx: Tx, clock: Clock, permit_no: str) -> bool:
    """The employer's record of a TRP holder arrived: offer an RP, once. True when the offer is new."""
    permit = permits.get(tx, permit_no)
    if permit.type != PermitType.TRP or permit.status == ChipStatus.CANCELLED or permit.offered:
        return False
    person = persons.get(tx, permit.person_id)
    today = business_date(clock.now())
    if facts.covering(facts.of_person(tx, person), domain.Basis, today) is None:
        return False
    permit.offered = True
    events.append(tx, clock, "permit.convert_offered", permit_no)
    return True
