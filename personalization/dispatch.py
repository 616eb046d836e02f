"""Parcels leave the centre: cards scanned in, two seals, a manifest, a courier (production.md 4.5, 9, I22).

A parcel belongs to one point and one day; what becomes of it at the point is in `receipt`.
"""

import hashlib
import json
from dataclasses import dataclass

from sqlalchemy import func, select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotFound, Rejected
from personalization import orders, plastic
from personalization.states import PARCEL_ALLOWED, ParcelState, Place, step, step_card
from personalization.tables import ParcelRow, ParcelScanRow
from registry import sequences
from registry.identifiers import valid_point
from registry.residence import applications, persons
from registry.residence.domain import State
from registry.roles import Actor, Role, require, two_persons

MAX_PARCEL = 500
SEALS = 2
PACK, RECEIPT = "PACK", "RECEIPT"
PACKERS = (Role.CARD_QC, Role.STOCK_KEEPER)


@dataclass(frozen=True)
class Line:
    """One line of a manifest. The holder's name is masked, the application number cut."""

    position: int
    card_serial: str
    holder: str
    application_tail: str


def open_parcel(tx: Tx, clock: Clock, point: str, packer: Actor) -> str:
    """Today's bag for a point; the one that is open already, if any. Raises NotAllowed E-ROLE, Rejected E-POINT."""
    require(packer, *PACKERS)
    if not valid_point(point):
        raise Rejected("E-POINT", "no such acceptance point")
    known = tx.scalar(
        select(ParcelRow.number).where(
            ParcelRow.point == point, ParcelRow.state == ParcelState.OPEN
        )
    )
    if known is not None:
        return known
    day = business_date(clock.now())
    number = f"K{day:%Y%m%d}-{sequences.take(tx, f'parcel-{day:%Y%m%d}'):03d}"
    tx.add(
        ParcelRow(
            number=number, point=point, state=ParcelState.OPEN, opened_at=clock.now(),
            packed_by=packer.name,
        )
    )  # fmt: skip
    tx.flush()
    events.append(tx, clock, "parcel.opened", number, actor=packer.name, point=point)
    return number


def pack(tx: Tx, clock: Clock, number: str, card_serial: str, packer: Actor) -> int:
    """Scan one inspected card of this point into the bag; returns its position.

    Raises NotAllowed E-ROLE; NotFound W-PARCEL, W-CARD; Rejected W-STATE, W-POINT, W-QUANTITY.
    """
    require(packer, *PACKERS)
    parcel = get(tx, number)
    card = plastic.by_serial(tx, card_serial)
    if card.parcel == number and card.place == Place.PACKED:
        return _position(tx, number, PACK, card_serial)
    if parcel.state != ParcelState.OPEN:
        raise Rejected("W-STATE", "it is closed", state=parcel.state, allowed=ParcelState.OPEN)
    order = orders.get(tx, card.acc_no)
    if order.point != parcel.point:
        raise Rejected("W-POINT", "for another point", card=card_serial, point=order.point)
    if card.place != Place.INSPECTED:
        raise Rejected("W-STATE", "not inspected", state=card.place, allowed=Place.INSPECTED)
    position = next_position(tx, number, PACK)
    if position > MAX_PARCEL:
        raise Rejected("W-QUANTITY", f"at most {MAX_PARCEL}", quantity=position)
    step_card(card, Place.PACKED)
    card.parcel = number
    tx.add(
        ParcelScanRow(
            parcel=number, way=PACK, card_serial=card_serial, position=position,
            person=packer.name, at=clock.now(),
        )
    )  # fmt: skip
    tx.flush()
    orders.advance(tx, clock, card.acc_no, State.PACKED, packer.name)
    events.append(tx, clock, "card.packed", card_serial, actor=packer.name, parcel=number)
    return position


def seal(
    tx: Tx, clock: Clock, number: str, seals: tuple[str, ...], first: Actor, second: Actor
) -> str:
    """Close the bag with two numbered seals; returns the manifest's SHA-256.

    Raises NotAllowed E-ROLE, E-SOD; NotFound W-PARCEL; Rejected W-STATE, W-SEALS, W-EMPTY.
    """
    require(first, *PACKERS)
    require(second, *PACKERS, Role.CARD_SUPERVISOR)
    two_persons(first, second)
    parcel = get(tx, number)
    given = tuple(sorted({text.strip() for text in seals} - {""}))
    if len(given) != SEALS or any("," in text for text in given):
        raise Rejected("W-SEALS", f"{SEALS} different seal numbers are wanted", parcel=number)
    if parcel.state == ParcelState.SEALED and parcel.seals == ",".join(given):
        return parcel.manifest_sha256 or ""
    if not scans(tx, number, PACK):
        raise Rejected("W-EMPTY", "nothing is in it", parcel=number)
    step(parcel, ParcelState.SEALED, PARCEL_ALLOWED)
    parcel.seals, parcel.sealed_by = ",".join(given), f"{first.name}, {second.name}"
    parcel.manifest_sha256 = manifest_digest(tx, number)
    events.append(
        tx, clock, "parcel.sealed", number, actor=first.name, second=second.name,
        manifest=parcel.manifest_sha256,
    )  # fmt: skip
    return parcel.manifest_sha256


def manifest(tx: Tx, number: str) -> list[Line]:
    """What lies in the bag, in scan order."""
    found = []
    for scan in scans(tx, number, PACK):
        card = plastic.by_serial(tx, scan.card_serial, lock=False)
        holder = masked_holder(tx, card.acc_no)
        found.append(Line(scan.position, scan.card_serial, holder, card.acc_no[-6:]))
    return found


def masked_holder(tx: Tx, acc_no: str) -> str:
    """The applicant's name as papers show it: its first character (production.md 13)."""
    return f"{persons.personal(tx, applications.applicant(tx, acc_no)).name[:1]}**"


def manifest_digest(tx: Tx, number: str) -> str:
    """SHA-256 over the manifest's card serials in scan order."""
    serials = [scan.card_serial for scan in scans(tx, number, PACK)]
    packed = json.dumps({"parcel": number, "cards": serials}, separators=(",", ":"))
    return hashlib.sha256(packed.encode()).hexdigest()


def label_code(tx: Tx, number: str) -> str:
    """The label's symbol: `K1|bag|point|first 8 digits of the manifest's digest`; no count (I25)."""
    parcel = get(tx, number)
    return f"K1|{number}|{parcel.point}|{(parcel.manifest_sha256 or '')[:8]}"


def send(tx: Tx, clock: Clock, number: str, courier: str, actor: Actor) -> None:
    """Given to a courier. Raises NotAllowed E-ROLE; NotFound W-PARCEL; Rejected W-STATE, W-REASON."""
    require(actor, *PACKERS, Role.CARD_SUPERVISOR)
    parcel = get(tx, number)
    if not courier.strip():
        raise Rejected("W-REASON", "a courier's name is wanted")
    if not step(parcel, ParcelState.WITH_COURIER, PARCEL_ALLOWED):
        return
    parcel.courier, parcel.sent_at = courier[:60], clock.now()
    for scan in scans(tx, number, PACK):
        card = plastic.by_serial(tx, scan.card_serial)
        step_card(card, Place.IN_TRANSIT)
        orders.advance(tx, clock, card.acc_no, State.IN_TRANSIT, actor.name)
    events.append(tx, clock, "parcel.sent", number, actor=actor.name, point=parcel.point)


def get(tx: Tx, number: str) -> ParcelRow:
    """Locked. Raises NotFound W-PARCEL."""
    row = tx.get(ParcelRow, number, with_for_update=True)
    if row is None:
        raise NotFound("W-PARCEL", "no such parcel", parcel=number)
    return row


def scans(tx: Tx, number: str, way: str) -> list[ParcelScanRow]:
    """In scan order."""
    return list(
        tx.scalars(
            select(ParcelScanRow)
            .where(ParcelScanRow.parcel == number, ParcelScanRow.way == way)
            .order_by(ParcelScanRow.position)
        )
    )


def next_position(tx: Tx, number: str, way: str) -> int:
    """Position of the next scan, from 1."""
    return 1 + (
        tx.scalar(
            select(func.count())
            .select_from(ParcelScanRow)
            .where(ParcelScanRow.parcel == number, ParcelScanRow.way == way)
        )
        or 0
    )


def _position(tx: Tx, number: str, way: str, card_serial: str) -> int:
    row = tx.get(ParcelScanRow, (number, way, card_serial))
    return 0 if row is None else row.position
