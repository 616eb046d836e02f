"""Applications from the draft to the decision (residence.md 5.3, 5.5). Answers hold no personal data.

Who the applicant is stands in one answer only, `read_applicant`, which needs a purpose and is on record.
"""

from base64 import b64decode
from collections.abc import Callable
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Self

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, BeforeValidator, Field, model_validator

from api.deps import City, Who
from api.problems import REFUSALS
from api.writing import Body, Sending, Write
from core.clock import Clock
from core.db import Tx
from registry.residence import access, applications, window
from registry.residence.access import Purpose
from registry.residence.domain import Basis, Channel, Kind, PermitType, State
from registry.residence.persons import PersonData
from registry.residence.tables import ApplicationRow
from registry.residence.window import Wish
from registry.roles import Actor

router = APIRouter(prefix="/api", tags=["applications"], responses=REFUSALS)
Tracking = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$", description="Tracking id of a draft.")]
AccNo = Annotated[str, Path(pattern=r"^\d{18}$", description="Acceptance number, 18 digits.")]
PointCode = Annotated[str, Path(pattern=r"^\d{3}$", description="Acceptance point, 3 digits.")]
Reason = Annotated[str, Field(max_length=200, description="What the applicant is told.")]


def _from_base64(value: object) -> bytes:
    """The bytes of a text; ValueError when it is none, or not base64."""
    if not isinstance(value, str):
        raise ValueError("a base64 text is wanted")
    return b64decode(value, validate=True)


class ApplicantIn(Body):
    """Who applies; what the register checks of it stands there."""

    citizen_id: str = Field(max_length=40, repr=False)
    name: str = Field(max_length=60, repr=False)
    sex: int = Field(description="GB/T 2261.1: 1 male, 2 female.")
    ethnic: int = Field(description="GB/T 3304, 1 to 56.")
    household_address: str = Field(max_length=100, repr=False)
    phone: str = Field(default="", max_length=20, repr=False)
    identity_level: int = Field(
        default=1, ge=0, le=3, description="0 typed, 1 document seen, 2 chip read, 3 verified."
    )


class WalkIn(Body):
    """An applicant with a wish: what a window or an employer's operator types."""

    applicant: ApplicantIn
    portrait: Annotated[bytes, BeforeValidator(_from_base64)] = Field(
        default=b"",
        repr=False,
        description="JPEG of the photo rule, 8 to 40 KB, in base64.",
        json_schema_extra={"format": "base64"},
    )
    basis: Basis
    address_code: str = Field(max_length=40, description="25 digits, or the printed form.")
    kind: Kind = Kind.NEW
    urgent: bool = False
    channel: Channel = Channel.WINDOW
    guardian: str = Field(default="", max_length=80, repr=False)

    def person(self) -> PersonData:
        """As the register takes it."""
        return PersonData(**self.applicant.model_dump())

    def wish(self) -> Wish:
        """As the register takes it."""
        return Wish(
            self.basis, self.address_code, self.kind, self.urgent, self.channel, self.guardian
        )


class DraftIn(WalkIn):
    """A draft names the point where the papers will be handed in."""

    point: str = Field(pattern=r"^\d{3}$")


class AcceptIn(Body):
    """What a clerk accepts: an application that was sent in, or somebody who just came. One of the two."""

    tracking: str = Field(default="", max_length=36)
    walk_in: WalkIn | None = None
    fee_receipt: str = Field(max_length=40)

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if bool(self.tracking) == (self.walk_in is not None):
            raise ValueError("either tracking or walk_in")
        return self


class Verdict(StrEnum):
    """What a reviewer may decide."""

    APPROVE = "APPROVE"
    REFUSE = "REFUSE"
    RETURN = "RETURN"


class DecisionIn(Body):
    """A reviewer's decision; `row_version` is what it was taken on."""

    verdict: Verdict
    permit_type: PermitType = PermitType.RP
    reason: Reason = ""
    row_version: int = Field(ge=1)


class ApplicationOut(BaseModel):
    """Where an application stands. `reason`: of a return or refusal, or the reviewer's note."""

    tracking: str
    acc_no: str | None
    kind: Kind
    basis: Basis
    point: str
    channel: Channel
    state: State
    saved_at: datetime
    submitted_at: datetime | None
    accepted_at: datetime | None
    due_on: date | None
    fee_fen: int
    returns: int
    reason: str | None
    permit_no: str | None
    row_version: int

    @classmethod
    def of(cls, row: ApplicationRow) -> Self:
        """As it stands now."""
        return cls.model_validate(
            {
                name: row.id if name == "tracking" else getattr(row, name)
                for name in cls.model_fields
            }
        )


class Page(BaseModel):
    """A work list; `after` goes into the next request, empty at the end."""

    applications: list[ApplicationOut]
    after: str


class ApplicantOut(BaseModel):
    """The person behind an application, masked unless asked for in full by who may."""

    name: str
    citizen_id: str
    phone: str
    birth: date | None
    sex: int
    ethnic: int
    household_address: str


@router.post("/applications", status_code=201)
def save_application(sending: Sending, body: DraftIn) -> ApplicationOut:
    """Line 1: a DRAFT, kept 30 days. Clerks and employers' operators."""

    clock, actor = sending.clock, sending.actor
    applicant = window.examine(sending.vault, clock, body.person(), body.portrait, actor)

    def act(tx: Tx) -> ApplicationOut:
        return ApplicationOut.of(
            window.take_down(tx, clock, applicant, body.wish(), body.point, actor)
        )

    return sending.once(ApplicationOut, body, act)


@router.post("/applications/{tracking}/submit")
def submit_application(sending: Sending, tracking: Tracking) -> ApplicationOut:
    """Line 2: sent in. 409 E-MISSING names everything that is missing at once."""
    return _moved(sending, applications.submit, tracking, _by_tracking)


@router.post("/applications/{tracking}/withdraw")
def withdraw_application(sending: Sending, tracking: Tracking) -> ApplicationOut:
    """Line 18: the holder gives up before the card is made."""
    return _moved(sending, applications.withdraw, tracking, _by_tracking)


@router.post("/points/{point}/accept", status_code=201)
def accept_application(sending: Sending, point: PointCode, body: AcceptIn) -> ApplicationOut:
    """Line 3: papers seen, fee paid, receipt given. The clock of 15 working days starts."""

    clock, actor, receipt = sending.clock, sending.actor, body.fee_receipt
    window.sits_at(actor, sending.point, point)
    walk_in = body.walk_in
    if walk_in is None:

        def act(tx: Tx) -> ApplicationOut:
            return _by_number(
                tx, window.accept_here(tx, clock, body.tracking, point, actor, receipt)
            )
    else:
        wish = walk_in.wish()
        applicant = window.examine(sending.vault, clock, walk_in.person(), walk_in.portrait, actor)

        def act(tx: Tx) -> ApplicationOut:
            return ApplicationOut.of(
                window.accept_walk_in(tx, clock, applicant, wish, point, actor, receipt)
            )

    return sending.once(ApplicationOut, body, act)


@router.post("/applications/{acc_no}/check")
def check_application(sending: Sending, acc_no: AccNo) -> ApplicationOut:
    """Lines 4 and 5: the registers are asked, and the file goes before a reviewer."""
    return _moved(sending, applications.verify, acc_no, _by_number)


@router.post("/applications/{acc_no}/decision")
def decide_application(sending: Sending, acc_no: AccNo, body: DecisionIn) -> ApplicationOut:
    """Lines 6, 8 and 9. 409 E-VERSION when the application changed since the reviewer read it."""

    def act(tx: Tx) -> ApplicationOut:
        clock, actor, reason = sending.clock, sending.actor, body.reason
        applications.unchanged(tx, acc_no, body.row_version, actor)
        if body.verdict is Verdict.APPROVE:
            applications.approve(tx, clock, acc_no, actor, body.permit_type, reason)
        elif body.verdict is Verdict.REFUSE:
            applications.refuse(tx, clock, acc_no, actor, reason)
        else:
            applications.send_back(tx, clock, acc_no, actor, reason)
        return _by_number(tx, acc_no)

    return sending.once(ApplicationOut, body, act)


@router.post("/applications/{acc_no}/resubmit")
def resubmit_application(sending: Sending, acc_no: AccNo) -> ApplicationOut:
    """Line 7: the papers are complete now; the clock that stood still goes on."""
    return _moved(sending, applications.resubmit, acc_no, _by_number)


@router.get("/applications")
def read_work_list(
    city: City,
    who: Who,
    state: State,
    after: Annotated[str, Query(max_length=36, description="`after` of the last page.")] = "",
    limit: Annotated[int, Query(ge=1, le=window.MAX_PAGE)] = 50,
) -> Page:
    """What waits in a state, oldest first: a clerk's own point, a reviewer's all points."""
    with city.db.read() as tx:
        rows = window.work_list(tx, who.actor, who.point, state, after, limit)
        found = [ApplicationOut.of(row) for row in rows]
    return Page(applications=found, after=found[-1].tracking if len(found) == limit else "")


@router.get("/applications/{acc_no}")
def read_application(city: City, who: Who, acc_no: AccNo) -> ApplicationOut:
    """Where one stands. Clerks of its point, reviewers, auditors, the holder, who saved it."""
    with city.db.read() as tx:
        return ApplicationOut.of(window.read(tx, acc_no, who.actor, who.point))


@router.get("/applications/{acc_no}/applicant")
def read_applicant(
    city: City, who: Who, acc_no: AccNo, purpose: Purpose, full: bool = False
) -> ApplicantOut:
    """Who applies. The look is on record; the acceptance number is its case."""
    with city.db.write() as tx:
        seen = access.look_at_applicant(tx, city.clock, who.actor, purpose, acc_no, full)
    return ApplicantOut(**vars(seen))


def _moved(
    sending: Write,
    step: Callable[[Tx, Clock, str, Actor], object],
    name: str,
    look: Callable[[Tx, str], ApplicationOut],
) -> ApplicationOut:
    """A step of the workflow that takes nothing but the application's name, and where it stands then."""

    def act(tx: Tx) -> ApplicationOut:
        step(tx, sending.clock, name, sending.actor)
        return look(tx, name)

    return sending.once(ApplicationOut, None, act)


def _by_tracking(tx: Tx, tracking: str) -> ApplicationOut:
    tx.flush()
    return ApplicationOut.of(applications.get(tx, tracking))


def _by_number(tx: Tx, acc_no: str) -> ApplicationOut:
    tx.flush()
    return ApplicationOut.of(applications.by_number(tx, acc_no))
