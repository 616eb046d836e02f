"""Production orders: one per application, from the register's approval to the counter (production.md 3, 4.1).

`take_in` reads the registers' events behind a cursor of its own: an approved application becomes an
order and its first work order, a withdrawn one is cancelled, a card handed over closes its order. What
can be known before a blank is spent is checked here (`preflight`); an order that fails goes to a person.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import date

from sqlalchemy import bindparam, select

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import CityError, EvidenceMismatch, NotFound, Rejected, Unavailable
from core.ids import uuid7
from core.leases import DONE, LeaseRow
from core.rows import Statement
from personalization import artwork, incidents
from personalization.states import CHAIN, DEAD_WORK, WORK_ALLOWED, Place, WorkState, step, step_card
from personalization.tables import OrderRow, PlasticRow, WorkOrderRow
from registry.residence import applications, cards, photo
from registry.residence.cards import CardData
from registry.residence.domain import State
from registry.roles import Actor, Role, require

READER = "production"
KINDS = ("production.ordered", "application.withdrawn", "card.handed_over")
MAX_TAKEN = 2_000  # events a call; the next call goes on
MAX_ATTEMPTS = 3
TEMPLATE = "residence-permit-1"
PROFILE = "permit-1"
PROFILES = {PROFILE: TEMPLATE}  # chip profile and the design that belongs to it
URGENT, NORMAL, BULK = 1, 2, 3  # class 0 is a remake (section 7)
NO_SERIAL = "00000000000097"  # stands for the serial a card gets at bind
BEFORE_HAND_OVER = frozenset(CHAIN[4:-1])  # good, and on its way to the holder
OPEN, FINISHED, HUMAN, WITHDRAWN = "OPEN", "DONE", "HUMAN", "WITHDRAWN"
_STATE = Statement(select(OrderRow.state).where(OrderRow.acc_no == bindparam("wanted")))


@dataclass(frozen=True)
class Taken:
    """What `take_in` found."""

    ordered: int
    to_a_person: int
    withdrawn: int
    handed_over: int


def take_in(tx: Tx, clock: Clock) -> Taken:
    """Read the registers' news; repeating it changes nothing (I11)."""
    tx.get(events.CursorRow, READER, with_for_update=True)  # one reader at a time
    seq = events.cursor(tx, READER)
    counts = dict.fromkeys(("ordered", "to_a_person", "withdrawn", "handed_over"), 0)
    found = events.after(tx, seq, kinds_wanted=KINDS, limit=MAX_TAKEN)
    for event in found:
        if event.kind == "production.ordered":
            ready = create(
                tx,
                clock,
                acc_no=event.data["acc_no"],
                permit_no=event.data["permit_no"],
                point=event.data["point"],
                kind=event.data["order_kind"],
                priority=URGENT if event.data["priority"] == 0 else NORMAL,
                due_on=_day(event.data["due_on"]),
            )
            counts["ordered" if ready else "to_a_person"] += 1
        elif event.kind == "application.withdrawn":
            counts["withdrawn"] += withdraw(tx, clock, event.subject)
        else:
            counts["handed_over"] += _handed_over(tx, clock, event.subject)
    if found:
        events.move_cursor(tx, READER, found[-1].seq)
    return Taken(**counts)


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def create(
    tx: Tx,
    clock: Clock,
    *,
    acc_no: str,
    permit_no: str,
    point: str,
    kind: str,
    priority: int = NORMAL,
    due_on: date | None = None,
    profile: str = PROFILE,
) -> bool:
    """An order and its first work order, DRAFT or READY; True when it is READY (or was there already).

    Raises Rejected W-PROFILE for an unknown profile.
    """
    if profile not in PROFILES:
        raise Rejected("W-PROFILE", f"no profile {profile}", profile=profile)
    if tx.get(OrderRow, acc_no) is not None:
        return True
    order = OrderRow(
        acc_no=acc_no, permit_no=permit_no, point=point, kind=kind, priority=priority,
        ordered_at=clock.now(), due_on=due_on, state=OPEN,
    )  # fmt: skip
    tx.add(order)
    tx.flush()
    state = applications.by_number(tx, acc_no).state
    if state not in (State.APPROVED, State.DATA_PREP):
        order.state = WITHDRAWN if state == State.WITHDRAWN else HUMAN
        order.trouble = "W-APPLICATION"
        return False
    applications.advance(tx, clock, acc_no, State.DATA_PREP, READER)
    return _ready(tx, clock, order, attempt(tx, clock, order, 1, profile=profile))


def attempt(
    tx: Tx,
    clock: Clock,
    order: OrderRow,
    number: int,
    *,
    profile: str = PROFILE,
    remake_of: str | None = None,
) -> WorkOrderRow:
    """A new work order in DRAFT."""
    row = WorkOrderRow(
        id=uuid7(clock.now()), acc_no=order.acc_no, attempt=number, remake_of=remake_of,
        state=WorkState.DRAFT, created_at=clock.now(), template=PROFILES[profile], profile=profile,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    return row


def _ready(tx: Tx, clock: Clock, order: OrderRow, work: WorkOrderRow) -> bool:
    """DRAFT to READY, or the order goes to a person with the code of what is wrong."""
    try:
        work.data_sha256 = preflight(tx, work)
    except Unavailable:  # the HSM is away: that is nothing about this person
        raise
    except CityError as trouble:
        order.state, order.trouble = HUMAN, trouble.code
        events.append(
            tx, clock, "order.needs_person", order.acc_no, actor=READER, code=trouble.code
        )
        return False
    order.state, order.trouble = OPEN, None
    step(work, WorkState.READY, WORK_ALLOWED)
    events.append(
        tx, clock, "work_order.ready", work.id, actor=READER, acc_no=order.acc_no,
        attempt=work.attempt, point=order.point,
    )  # fmt: skip
    return True


def preflight(tx: Tx, work: WorkOrderRow) -> str:
    """Photo, glyphs, lengths; returns the digest of what will be printed and written (I8).

    Raises Rejected A-GLYPH, A-FIT, A-FIELD, A-PHOTO, E-PHOTO-*, E-MISSING, W-PERMIT (cancelled), NotFound
    E-APPLICATION.
    """
    data = cards.card_data(tx, work.acc_no)
    if data.cancelled:
        raise Rejected("W-PERMIT", "the permit is cancelled", permit=data.permit_no)
    photo.check(data.photo)
    artwork.preflight(artwork.released(work.template), face(data, NO_SERIAL))
    photo.for_chip(data.photo)
    return data_digest(data)


def unchanged(tx: Tx, work: WorkOrderRow, opened: CardData | None = None) -> CardData | None:
    """The card's data, while the register still says what was released and wants the card; else None.

    `opened`: as `cards.card_data` has it.
    """
    try:
        data = cards.card_data(tx, work.acc_no, opened=opened)
    except (Rejected, NotFound, EvidenceMismatch):  # the new work order tells a person the reason
        return None
    return None if data.cancelled or data_digest(data) != work.data_sha256 else data


def face(data: CardData, card_serial: str) -> artwork.Record:
    """What the card will show."""
    return artwork.record(
        name=data.name,
        sex=data.sex,
        ethnic=data.ethnic,
        birth=(data.birth.year, data.birth.month, data.birth.day),
        citizen_id=data.citizen_id,
        household_address=data.household_address,
        residence_address=data.address_text,
        permit_no=data.permit_no,
        issuer=data.issuer,
        valid=(f"{data.issued_on:%Y.%m.%d}", f"{data.valid_until:%Y.%m.%d}"),
        card_serial=card_serial,
        photo=data.photo,
    )


def data_digest(data: CardData) -> str:
    """SHA-256 over what is printed and written for good; status and lease may move until the bind."""
    fixed = {
        "name": data.name, "sex": data.sex, "ethnic": data.ethnic, "birth": data.birth.isoformat(),
        "citizen_id": data.citizen_id, "household": data.household_address,
        "address_code": data.address_code, "address": data.address_text,
        "permit_no": data.permit_no, "type": data.permit_type, "basis": data.basis,
        "issuer": data.issuer, "issued": data.issued_on.isoformat(),
        "until": data.valid_until.isoformat(), "purse": data.purse_account,
        "photo": hashlib.sha256(data.photo).hexdigest(),
    }  # fmt: skip
    packed = json.dumps(fixed, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(packed.encode()).hexdigest()


def recheck(tx: Tx, clock: Clock, acc_no: str, officer: Actor) -> bool:
    """The data were corrected: look again. Raises NotAllowed E-ROLE, NotFound W-ORDER, Rejected W-ATTEMPTS."""
    require(officer, Role.DATA_OFFICER, Role.CARD_SUPERVISOR)
    order = get(tx, acc_no, lock=True)
    work = live_work(tx, acc_no)
    if work is None:
        raise Rejected("W-ATTEMPTS", "no attempt is left", acc_no=acc_no)
    return True if work.state != WorkState.DRAFT else _ready(tx, clock, order, work)


def withdraw(tx: Tx, clock: Clock, subject: str) -> int:
    """The holder gave up: what is not begun is cancelled, a card in the making ends as waste at QC."""
    order = tx.get(OrderRow, subject, with_for_update=True)
    if order is None or order.state in (WITHDRAWN, FINISHED):
        return 0
    order.state = WITHDRAWN
    work = live_work(tx, order.acc_no)
    if work is not None and WorkState.CANCELLED in WORK_ALLOWED[WorkState(work.state)]:
        cancel(tx, clock, work, "withdrawn")
    return 1


def cancel(tx: Tx, clock: Clock, work: WorkOrderRow, reason: str, actor: str = READER) -> None:
    """DRAFT, READY or RELEASED to CANCELLED; it leaves its batch's queue. Raises Rejected W-STATE."""
    step(work, WorkState.CANCELLED, WORK_ALLOWED)
    if work.batch is not None:
        lease = tx.get(LeaseRow, (work.batch, work.id), with_for_update=True)
        if lease is not None:
            lease.state = DONE
    events.append(tx, clock, "work_order.cancelled", work.id, actor=actor, reason=reason)


def renew_data(tx: Tx, clock: Clock, work: WorkOrderRow) -> WorkOrderRow:
    """A record changed after its release: this work order is cancelled, a new one waits for release (I8)."""
    cancel(tx, clock, work, "data changed")
    tx.flush()
    return replan(tx, clock, work)


def replan(tx: Tx, clock: Clock, cancelled: WorkOrderRow) -> WorkOrderRow:
    """The same attempt again, for another batch: no plastic was spent on the cancelled one."""
    order = get(tx, cancelled.acc_no)
    fresh = attempt(
        tx, clock, order, cancelled.attempt, profile=cancelled.profile,
        remake_of=cancelled.remake_of,
    )  # fmt: skip
    _ready(tx, clock, order, fresh)
    return fresh


def remake(tx: Tx, clock: Clock, failed: WorkOrderRow) -> WorkOrderRow | None:
    """The next attempt after a failed one, READY, linked to it; None when it was the third."""
    order = get(tx, failed.acc_no, lock=True)
    if order.state == WITHDRAWN:
        return None
    if failed.attempt >= MAX_ATTEMPTS:
        order.state, order.trouble = HUMAN, "W-ATTEMPTS"
        events.append(
            tx, clock, "order.needs_person", order.acc_no, actor=READER, code="W-ATTEMPTS"
        )
        return None
    fresh = attempt(
        tx, clock, order, failed.attempt + 1, profile=failed.profile, remake_of=failed.id
    )
    return fresh if _ready(tx, clock, order, fresh) else None


def _handed_over(tx: Tx, clock: Clock, card_serial: str) -> int:
    """Production follows the counter: the card left the point (section 9).

    A point that worked off line may hand over before its parcel is settled here; a card that production
    holds for waste or missing in a holder's hand is an incident, never an error that stops the reader.
    """
    card = tx.scalar(select(PlasticRow).where(PlasticRow.card_serial == card_serial))
    if card is None or card.place == Place.HANDED_OVER:
        return 0
    if card.place not in BEFORE_HAND_OVER:
        incidents.begin(
            tx, clock, incidents.FOREIGN, card.id, f"handed over, but known as {card.place}",
            READER, batch=card.batch,
        )  # fmt: skip
        return 0
    for place in CHAIN[CHAIN.index(Place(card.place)) + 1 :]:
        step_card(card, place)
    get(tx, card.acc_no, lock=True).state = FINISHED
    return 1


def advance(tx: Tx, clock: Clock, acc_no: str, to: State, actor: str) -> None:
    """Tell the register where the application's card is, unless the holder withdrew meanwhile."""
    found = _STATE.first(tx, wanted=acc_no)
    if found is None:
        raise _unknown(acc_no)
    if found.state != WITHDRAWN:
        applications.advance(tx, clock, acc_no, to, actor)


def get(tx: Tx, acc_no: str, lock: bool = False) -> OrderRow:
    """Raises NotFound W-ORDER."""
    row = tx.get(OrderRow, acc_no, with_for_update=True if lock else None)
    if row is None:
        raise _unknown(acc_no)
    return row


def _unknown(acc_no: str) -> NotFound:
    return NotFound("W-ORDER", "no production order", acc_no=acc_no)


def live_work(tx: Tx, acc_no: str) -> WorkOrderRow | None:
    """The one attempt that is neither failed nor cancelled."""
    return tx.scalar(
        select(WorkOrderRow).where(
            WorkOrderRow.acc_no == acc_no, WorkOrderRow.state.not_in(DEAD_WORK)
        )
    )
