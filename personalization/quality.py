"""Quality control: every card is scanned, samples are looked at, failures are remade (production.md 8).

The association scan proves that the right chip is under the right picture: QR = card serial, chip serial
read on the bench = chip serial bound to it (I5). Nothing is ever printed from here (section 6, rule 7).
"""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import func, select

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import Rejected
from core.ids import uuid7
from personalization import floor, incidents, orders, plastic, work
from personalization.plastic import Spoil
from personalization.states import GOOD, WORK_ALLOWED, Place, SpoilCode, WorkState, step
from personalization.tables import (
    InspectionRow,
    OrderRow,
    PlasticRow,
    SpoilRow,
    StationRow,
    WorkOrderRow,
)
from registry.identifiers import validate_card_serial
from registry.residence.domain import State
from registry.roles import Actor, Role, require, two_persons

FIRST_OF_BATCH, EVERY, AFTER_CHANGE = 5, 20, 5
QR_HEAD = "R1"
ASSOCIATION, VISUAL = "ASSOCIATION", "VISUAL"
PASS, LOOK, FAIL = "PASS", "LOOK", "FAIL"
BOX = "qc-box"


class Check(StrEnum):
    """The questions of the visual check and the code of a no."""

    REGISTRATION = "registration"
    COLOUR = "colour"
    SURFACE = "surface"
    PLATE_FREE = "plate_free"
    PHOTO = "photo"
    QR = "qr"


CODES = {
    Check.REGISTRATION: SpoilCode.PR5,
    Check.COLOUR: SpoilCode.PR5,
    Check.SURFACE: SpoilCode.QC4,
    Check.PLATE_FREE: SpoilCode.PR6,
    Check.PHOTO: SpoilCode.QC2,
    Check.QR: SpoilCode.QC1,
}


@dataclass(frozen=True)
class Verdict:
    """PASS: on to packing; LOOK: a person compares it with its picture; FAIL with a code: waste."""

    card_serial: str
    verdict: str
    code: str | None = None
    remake: str | None = None


def read_qr(text: str) -> str:
    """The card serial in a symbol, or typed by hand. Raises Rejected W-QR."""
    checked = validate_card_serial(text.strip().removeprefix(QR_HEAD))
    if not checked.ok:
        raise Rejected("W-QR", "not the symbol of a card")
    return checked.normalized


def scan(
    tx: Tx, clock: Clock, qr: str, chip_serial: str, inspector: Actor, *, every_card: bool = True
) -> Verdict:
    """The association scan. With `every_card` (the pilot) each card is looked at, else a sample.

    Raises NotAllowed E-ROLE, W-RAN-IT; Rejected W-QR, W-STATE; NotFound W-CARD.
    """
    require(inspector, Role.CARD_QC)
    card = plastic.by_serial(tx, read_qr(qr))
    incidents.did_not_run(tx, card.batch, inspector)
    if card.place == Place.INSPECTED:
        return Verdict(card.card_serial or "", PASS)
    if card.place != Place.EJECTED:
        raise Rejected("W-STATE", "it is not here", state=card.place, allowed=Place.EJECTED)
    if card.chip_serial != chip_serial.upper():
        return _fail(tx, clock, card, ASSOCIATION, SpoilCode.QC3, inspector)
    if orders.get(tx, card.acc_no).state == orders.WITHDRAWN:
        return _fail(tx, clock, card, ASSOCIATION, SpoilCode.DT1, inspector)
    if _passed(tx, card, ASSOCIATION) is None:
        _record(tx, clock, card, ASSOCIATION, inspector, None)
    if every_card or is_sample(tx, card):
        return Verdict(card.card_serial or "", LOOK)
    return _accept(tx, clock, card, inspector)


def look(
    tx: Tx, clock: Clock, card_serial: str, answers: dict[Check, bool], inspector: Actor
) -> Verdict:
    """The visual check, after the scan; all questions answered. The first no decides the code.

    Raises NotAllowed E-ROLE, W-RAN-IT; Rejected W-STATE, W-NOT-SCANNED, W-QUESTIONS; NotFound W-CARD.
    """
    require(inspector, Role.CARD_QC)
    card = plastic.by_serial(tx, card_serial)
    incidents.did_not_run(tx, card.batch, inspector)
    if set(answers) != set(Check):
        raise Rejected("W-QUESTIONS", "every question needs an answer")
    if card.place == Place.INSPECTED:
        return Verdict(card_serial, PASS)
    if card.place != Place.EJECTED:
        raise Rejected("W-STATE", "it is not here", state=card.place, allowed=Place.EJECTED)
    if _passed(tx, card, ASSOCIATION) is None:
        raise Rejected("W-NOT-SCANNED", "scan chip and symbol first", card=card_serial)
    bad = [CODES[check] for check in Check if not answers[check]]
    if bad:
        return _fail(tx, clock, card, VISUAL, bad[0], inspector)
    _record(tx, clock, card, VISUAL, inspector, None)
    return _accept(tx, clock, card, inspector)


def spoil(tx: Tx, clock: Clock, card_serial: str, code: SpoilCode, actor: Actor) -> Verdict:
    """A card in the hopper that somebody damaged or sees is bad, before its inspection: waste, remade.

    Raises NotAllowed E-ROLE; Rejected W-STATE; NotFound W-CARD.
    """
    require(actor, Role.CARD_QC, Role.CARD_OPERATOR)
    card = plastic.by_serial(tx, card_serial)
    if card.place != Place.EJECTED:
        raise Rejected("W-STATE", "it is not here", state=card.place, allowed=Place.EJECTED)
    return _fail(tx, clock, card, VISUAL, code, actor)


def void_after_pass(
    tx: Tx, clock: Clock, card_serial: str, code: SpoilCode, first: Actor, second: Actor
) -> Verdict:
    """A card that passed and turns out bad before packing: two people (section 5).

    Raises NotAllowed E-ROLE, E-SOD; Rejected W-STATE; NotFound W-CARD.
    """
    require(first, Role.CARD_QC)
    require(second, Role.CARD_SUPERVISOR, Role.STOCK_KEEPER)
    two_persons(first, second)
    card = plastic.by_serial(tx, card_serial)
    if card.place != Place.INSPECTED:
        raise Rejected("W-STATE", "not inspected", state=card.place, allowed=Place.INSPECTED)
    return _fail(tx, clock, card, VISUAL, code, first, witness=second.name)


def is_sample(tx: Tx, card: PlasticRow) -> bool:
    """First 5 of a batch, then every 20th, and 5 after a ribbon change or a stop of the station."""
    place = _good_before(tx, card, PlasticRow.batch == card.batch)
    if place <= FIRST_OF_BATCH or place % EVERY == 0:
        return True
    mine = PlasticRow.station == card.station
    if card.ribbon is not None:
        on_ribbon = _good_before(tx, card, mine, PlasticRow.ribbon == card.ribbon)
        if on_ribbon <= AFTER_CHANGE:
            return True
    station = tx.get(StationRow, card.station)
    if station is None or station.cleared_at is None or card.fed_at < station.cleared_at:
        return False
    return _good_before(tx, card, mine, PlasticRow.fed_at >= station.cleared_at) <= AFTER_CHANGE


def _good_before(tx: Tx, card: PlasticRow, *conditions: object) -> int:
    """The how-manieth good card it is among those that meet the conditions."""
    query = select(func.count()).select_from(PlasticRow)
    query = query.where(PlasticRow.place.in_(GOOD), PlasticRow.ended_at <= card.ended_at)
    return tx.scalar(query.where(*conditions)) or 0  # type: ignore[arg-type]


def _accept(tx: Tx, clock: Clock, card: PlasticRow, inspector: Actor) -> Verdict:
    row = work.by_id(tx, card.work_order)
    plastic.walk(card, Place.INSPECTED)
    step(row, WorkState.ACCEPTED, WORK_ALLOWED)
    tx.flush()
    events.append(
        tx, clock, "card.inspected", card.card_serial or card.id, actor=inspector.name,
        batch=card.batch,
    )  # fmt: skip
    return Verdict(card.card_serial or "", PASS)


def _fail(
    tx: Tx, clock: Clock, card: PlasticRow, kind: str, code: SpoilCode, inspector: Actor,
    witness: str | None = None,
) -> Verdict:  # fmt: skip
    """MADE (or ACCEPTED, by two) to FAILED: waste, and the remake is queued."""
    serial = card.card_serial or ""
    row = work.by_id(tx, card.work_order)
    _record(tx, clock, card, kind, inspector, code)
    plastic.spoil(tx, clock, card, Spoil(code, "qc", BOX, witness=witness), inspector.name)
    step(row, WorkState.FAILED, WORK_ALLOWED)
    tx.flush()
    orders.advance(tx, clock, row.acc_no, State.REWORK, inspector.name)
    again = work.queue_remake(tx, clock, row)
    if again is not None:
        orders.advance(tx, clock, row.acc_no, State.IN_PRODUCTION, inspector.name)
    floor.watch_spoilage(tx, clock, card.station)
    return Verdict(serial, FAIL, code, None if again is None else again.id)


def _record(
    tx: Tx, clock: Clock, card: PlasticRow, kind: str, inspector: Actor, code: SpoilCode | None
) -> None:
    tx.add(
        InspectionRow(
            id=uuid7(clock.now()), card=card.id, kind=kind, inspector=inspector.name,
            at=clock.now(), passed=code is None, code=code,
        )
    )  # fmt: skip
    tx.flush()


def _passed(tx: Tx, card: PlasticRow, kind: str) -> InspectionRow | None:
    return tx.scalar(
        select(InspectionRow).where(
            InspectionRow.card == card.id, InspectionRow.kind == kind, InspectionRow.passed
        )
    )


@dataclass(frozen=True)
class Quality:
    """What QC saw of a batch, or of everything."""

    inspected: int
    failed: int
    first_pass: int
    accepted: int
    by_code: dict[str, int]


def report(tx: Tx, batch: str | None = None) -> Quality:
    """Inspected and failed cards, first-pass yield in numbers, spoil codes of all steps."""
    cards = select(PlasticRow.id)
    works = select(WorkOrderRow.attempt).where(WorkOrderRow.state == WorkState.ACCEPTED)
    if batch is not None:
        cards = cards.where(PlasticRow.batch == batch)
        works = works.where(WorkOrderRow.batch == batch)
    seen = tx.scalars(
        select(InspectionRow.passed).where(
            InspectionRow.card.in_(cards), InspectionRow.kind == ASSOCIATION
        )
    ).all()
    failed = tx.scalar(
        select(func.count())
        .select_from(InspectionRow)
        .where(InspectionRow.card.in_(cards), InspectionRow.passed.is_(False))
    )
    attempts = tx.scalars(works).all()
    codes = Counter(tx.scalars(select(SpoilRow.code).where(SpoilRow.card.in_(cards))))
    return Quality(
        len(seen), failed or 0, sum(number == 1 for number in attempts), len(attempts),
        dict(sorted(codes.items())),
    )  # fmt: skip


def waiting(tx: Tx) -> list[PlasticRow]:
    """Cards that wait for QC, oldest first."""
    return list(
        tx.scalars(
            select(PlasticRow)
            .join(OrderRow, OrderRow.acc_no == PlasticRow.acc_no)
            .where(PlasticRow.place == Place.EJECTED)
            .order_by(PlasticRow.ended_at)
        )
    )
