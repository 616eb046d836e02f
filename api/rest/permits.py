"""Permits: status and why, loss, replacement, cancellation, objections, who looked (residence.md 5.4, 5.5, 6.8)."""

from datetime import date, datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from api.deps import City, Who
from api.problems import REFUSALS
from api.rest.applications import ApplicationOut
from api.writing import Body, Sending
from core.clock import business_date
from core.db import Tx
from registry.dormancy import explanation, objections, status_list
from registry.residence import access, applications, losses, permits, window
from registry.residence.access import Purpose
from registry.residence.domain import ChipStatus, Hold, Kind, PermitType
from registry.roles import Role, require

router = APIRouter(prefix="/api", tags=["permits"], responses=REFUSALS)
PermitNo = Annotated[str, Path(pattern=r"^\d{18}$", description="Permit number, 18 digits.")]
CaseNo = Annotated[str, Query(max_length=40, description="The case the look is for.")]
Evidence = Annotated[str, Field(min_length=1, max_length=200, description="Document or call.")]
MAX_SHOWN = 1_000


class StatusOut(BaseModel):
    """A permit's status. `ssn` rises with every change; `explanation` when it was asked for."""

    permit_no: str
    type: PermitType
    status: str
    causes: int
    ssn: int
    since: date
    valid_until: date
    lease_until: date
    explanation: dict[str, Any] | None = None

    @classmethod
    def of(cls, tx: Tx, permit_no: str) -> Self:
        """As it stands now."""
        row = permits.get(tx, permit_no)
        return cls(
            permit_no=permit_no, type=PermitType(row.type), status=ChipStatus(row.status).name,
            causes=row.causes, ssn=row.ssn, since=row.effective_on, valid_until=row.valid_until,
            lease_until=row.lease_until,
        )  # fmt: skip


class HolderOut(BaseModel):
    """The holder's record, masked unless asked for in full by who may."""

    permit_no: str
    name: str
    citizen_id: str
    phone: str
    birth: date | None
    type: PermitType
    status: str
    valid_until: date


class LossIn(Body):
    """How a loss was told: ORAL (by telephone or at a window) or WRITTEN."""

    channel: str = Field(default=losses.ORAL, pattern="^(ORAL|WRITTEN)$")
    stolen: bool = False


class LossOut(BaseModel):
    """A loss report: from when terminals know, and by when the written confirmation is due."""

    permit_no: str
    ssn: int
    reported_at: datetime
    effective_for_terminals_at: datetime
    confirm_by: date
    confirmed_at: datetime | None


class AgainIn(Body):
    """A new card for a permit that exists; the point where the papers are handed in."""

    kind: Kind = Kind.REPLACE_LOST
    point: str = Field(pattern=r"^\d{3}$")


class EvidenceIn(Body):
    """What a change of status rests on."""

    evidence: Evidence


class ObjectionIn(Body):
    """The holder objects to a notice."""

    permit_no: str = Field(pattern=r"^\d{18}$")
    cause: Hold = Field(description="EMP or RES, as the notice says.")
    text: str = Field(min_length=1, max_length=200)


class ObjectionOut(BaseModel):
    """An objection and the permit's status with it."""

    objection: str
    status: StatusOut


class ObjectionDecisionIn(Body):
    """A person decides within five working days."""

    permit_no: str = Field(pattern=r"^\d{18}$")
    upheld: bool


class LookOut(BaseModel):
    """One look at one's own record: in which role, why, for which case, in full or masked."""

    at: datetime
    role: str
    purpose: str
    case_no: str
    full: bool


class ListOut(BaseModel):
    """What leads a terminal from `base` (0: nothing) to `version`: entries of 22 bytes in hex.

    Of a long change the first entries only; `more` says that the same request with `skip` brings the rest.
    """

    base: int
    version: int
    entries: list[str]
    more: bool


@router.get("/permits/{permit_no}")
def read_holder(
    city: City, who: Who, permit_no: PermitNo, purpose: Purpose, case_no: CaseNo,
    full: bool = False,
) -> HolderOut:  # fmt: skip
    """The holder's record, for a purpose and a case; the look is on record."""
    with city.db.write() as tx:
        seen = access.look_up(tx, city.clock, who.actor, purpose, case_no, permit_no, full)
    return HolderOut(**vars(seen))


@router.get("/permits/{permit_no}/status")
def read_status(
    city: City, who: Who, permit_no: PermitNo, purpose: Purpose, case_no: CaseNo,
    explain: bool = False,
) -> StatusOut:  # fmt: skip
    """The status and, with `explain`, facts, dates, rule and what to do. No name is in it."""
    with city.db.write() as tx:
        access.look_at_status(tx, city.clock, who.actor, purpose, case_no, permit_no)
        told = StatusOut.of(tx, permit_no)
        if explain:
            today = business_date(city.clock.now())
            told.explanation = explanation.explain(tx, permit_no, today).as_json()
    return told


@router.post("/permits/{permit_no}/loss", status_code=201)
def report_loss(sending: Sending, permit_no: PermitNo, body: LossIn) -> LossOut:
    """LOSS at once; written confirmation within 15 days. Clerks, and the holder for its own permit."""

    def act(tx: Tx) -> LossOut:
        losses.report(tx, sending.clock, permit_no, sending.actor, body.channel, stolen=body.stolen)
        return _loss(tx, permit_no)

    return sending.once(LossOut, body, act)


@router.post("/permits/{permit_no}/loss/confirmation")
def confirm_loss(sending: Sending, permit_no: PermitNo) -> LossOut:
    """The written confirmation came."""

    def act(tx: Tx) -> LossOut:
        losses.confirm(tx, sending.clock, permit_no, sending.actor)
        return _loss(tx, permit_no)

    return sending.once(LossOut, None, act)


@router.delete("/permits/{permit_no}/loss")
def withdraw_loss(
    sending: Sending, permit_no: PermitNo,
    evidence: Annotated[str, Query(min_length=1, max_length=200, description="Document seen.")],
) -> StatusOut:  # fmt: skip
    """In person at a police station, while no replacement was ordered (409 E-REPLACED)."""

    def act(tx: Tx) -> StatusOut:
        losses.withdraw(tx, sending.clock, permit_no, sending.actor, evidence)
        return StatusOut.of(tx, permit_no)

    return sending.once(StatusOut, None, act)


@router.post("/permits/{permit_no}/replace", status_code=201)
def apply_again(sending: Sending, permit_no: PermitNo, body: AgainIn) -> ApplicationOut:
    """A draft for a new card with what the register knows; the old one dies when it is approved."""

    def act(tx: Tx) -> ApplicationOut:
        window.sits_at(sending.actor, sending.point, body.point)
        tracking = window.apply_again(
            tx, sending.clock, permit_no, body.kind, body.point, sending.actor
        )
        return ApplicationOut.of(applications.get(tx, tracking))

    return sending.once(ApplicationOut, body, act)


@router.post("/permits/{permit_no}/cancel")
def cancel_permit(sending: Sending, permit_no: PermitNo, body: EvidenceIn) -> StatusOut:
    """CANCELLED: on the list for ever. Reviewers."""

    def act(tx: Tx) -> StatusOut:
        permits.cancel(tx, sending.clock, permit_no, sending.actor, body.evidence)
        return StatusOut.of(tx, permit_no)

    return sending.once(StatusOut, body, act)


@router.post("/objections", status_code=201)
def file_objection(sending: Sending, body: ObjectionIn) -> ObjectionOut:
    """Within ten days of the notice; the start of a sleep is postponed once."""

    def act(tx: Tx) -> ObjectionOut:
        filed = objections.file_objection(
            tx, sending.clock, body.permit_no, body.cause, sending.actor, body.text
        )
        return ObjectionOut(objection=filed, status=StatusOut.of(tx, body.permit_no))

    return sending.once(ObjectionOut, body, act)


@router.post("/objections/{objection}/decision")
def decide_objection(
    sending: Sending,
    objection: Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")],
    body: ObjectionDecisionIn,
) -> ObjectionOut:
    """A reviewer decides: dismissed ends the delay at once, upheld keeps it while the fact is put right."""

    def act(tx: Tx) -> ObjectionOut:
        objections.decide_objection(tx, sending.clock, objection, sending.actor, body.upheld)
        return ObjectionOut(objection=objection, status=StatusOut.of(tx, body.permit_no))

    return sending.once(ObjectionOut, body, act)


@router.get("/me/access-log")
def read_access_log(city: City, who: Who) -> list[LookOut]:
    """Who looked at one's own record, newest first; roles, not names."""
    with city.db.read() as tx:
        looks = access.my_access_log(tx, who.actor, who.actor.name)
    return [LookOut(**vars(look)) for look in looks]


@router.get("/lists/status")
def read_list(
    city: City,
    who: Who,
    since: Annotated[int, Query(ge=0, description="The version in hand, 0: none.")] = 0,
    skip: Annotated[int, Query(ge=0, description="Entries of this change already had.")] = 0,
) -> ListOut:
    """The status list for terminals, whole or what changed since a version."""
    require(who.actor, Role.TERMINAL)
    with city.db.read() as tx:
        delta = status_list.delta(tx, since)
    shown = delta.entries[skip : skip + MAX_SHOWN]
    return ListOut(
        base=delta.base, version=delta.version, entries=[bytes(one).hex() for one in shown],
        more=skip + len(shown) < len(delta.entries),
    )  # fmt: skip


def _loss(tx: Tx, permit_no: str) -> LossOut:
    tx.flush()
    row = losses.open_report(tx, permit_no)
    if row is None:
        raise AssertionError("it was reported a moment ago")
    return LossOut(
        permit_no=permit_no, ssn=permits.get(tx, permit_no).ssn, reported_at=row.reported_at,
        effective_for_terminals_at=row.effective_for_terminals_at, confirm_by=row.confirm_by,
        confirmed_at=row.confirmed_at,
    )  # fmt: skip
