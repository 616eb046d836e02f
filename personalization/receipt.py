"""Parcels at the point: seals typed, cards counted blind and scanned out, disputes, cards nobody fetches
(production.md 4.5, 9, I22).

What was scanned in must be what is scanned out, or there is a dispute that freezes the cards concerned.
The hand-over itself is the counter's; production follows its event.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import Rejected
from personalization import dispatch, incidents, orders, plastic
from personalization.dispatch import PACK, RECEIPT
from personalization.states import PARCEL_ALLOWED, ParcelState, Place, SpoilCode, step, step_card
from personalization.tables import OrderRow, ParcelRow, ParcelScanRow, PlasticRow
from registry.residence import cards
from registry.residence.domain import State
from registry.roles import CLERKS, Actor, Role, require

REMIND_AFTER, RETURN_AFTER = timedelta(days=30), timedelta(days=90)


@dataclass(frozen=True)
class Settled:
    """The outcome of a receipt: `lacking` were packed and not found, `extra` found and not packed."""

    state: str
    lacking: tuple[str, ...]
    extra: tuple[str, ...]


@dataclass(frozen=True)
class Uncollected:
    """A card that waits at its point."""

    card_serial: str
    acc_no: str
    point: str
    days: int
    action: str  # REMIND or RETURN


def receive(
    tx: Tx, clock: Clock, number: str, seals: tuple[str, ...], counted: int, clerk: Actor
) -> list[str]:
    """The bag is here: seals typed from the bag, cards counted blind. Returns incidents opened.

    Raises NotAllowed E-ROLE; NotFound W-PARCEL; Rejected W-STATE, W-QUANTITY.
    """
    require(clerk, *CLERKS)
    parcel = dispatch.get(tx, number)
    if not 0 <= counted <= dispatch.MAX_PARCEL:
        raise Rejected("W-QUANTITY", f"0 to {dispatch.MAX_PARCEL}", quantity=counted)
    if not step(parcel, ParcelState.RECEIVED, PARCEL_ALLOWED):
        return []
    parcel.received_by, parcel.received_at = clerk.name, clock.now()
    opened = []
    typed = ",".join(sorted(text.strip() for text in seals))
    if typed != parcel.seals:
        opened.append(incidents.begin(tx, clock, incidents.SEAL, number, "other seals", clerk.name))
    packed = len(dispatch.scans(tx, number, PACK))
    if counted != packed:
        opened.append(
            incidents.begin(
                tx, clock, incidents.CONTENTS, number, "the blind count differs", clerk.name,
                amount=counted - packed,
            )
        )  # fmt: skip
    events.append(
        tx, clock, "parcel.received", number, actor=clerk.name, point=parcel.point,
        incidents=len(opened),
    )  # fmt: skip
    return opened


def unpack(tx: Tx, clock: Clock, number: str, card_serial: str, clerk: Actor) -> int:
    """Scan one card out of the bag; returns how many were scanned. Raises E-ROLE, W-PARCEL, W-STATE."""
    require(clerk, *CLERKS)
    parcel = dispatch.get(tx, number)
    if parcel.state not in (ParcelState.RECEIVED, ParcelState.DISPUTED):
        raise Rejected(
            "W-STATE", "receive it first", state=parcel.state, allowed=ParcelState.RECEIVED
        )
    if tx.get(ParcelScanRow, (number, RECEIPT, card_serial)) is None:
        tx.add(
            ParcelScanRow(
                parcel=number, way=RECEIPT, card_serial=card_serial,
                position=dispatch.next_position(tx, number, RECEIPT), person=clerk.name, at=clock.now(),
            )
        )  # fmt: skip
        tx.flush()
    return len(dispatch.scans(tx, number, RECEIPT))


def settle(tx: Tx, clock: Clock, number: str, clerk: Actor) -> Settled:
    """All cards are scanned: RECONCILED when both lists agree and the seals were whole, else DISPUTED.

    Cards that are there are at the point from now on; the others stay frozen in transit. Raises
    NotAllowed E-ROLE; NotFound W-PARCEL; Rejected W-STATE.
    """
    require(clerk, *CLERKS)
    parcel = dispatch.get(tx, number)
    packed = {scan.card_serial for scan in dispatch.scans(tx, number, PACK)}
    there = {scan.card_serial for scan in dispatch.scans(tx, number, RECEIPT)}
    lacking, extra = tuple(sorted(packed - there)), tuple(sorted(there - packed))
    if parcel.state == ParcelState.RECONCILED:
        return Settled(parcel.state, lacking, extra)
    if parcel.state not in (ParcelState.RECEIVED, ParcelState.DISPUTED):
        raise Rejected(
            "W-STATE", "receive it first", state=parcel.state, allowed=ParcelState.RECEIVED
        )
    for serial in sorted(packed & there):
        _at_point(tx, clock, serial, clerk)
    if lacking or extra or _open_incidents(tx, number):
        step(parcel, ParcelState.DISPUTED, PARCEL_ALLOWED)
        if lacking or extra:
            incidents.begin(
                tx, clock, incidents.CONTENTS, number,
                f"{len(lacking)} lacking, {len(extra)} extra", clerk.name,
                amount=len(extra) - len(lacking),
            )  # fmt: skip
        events.append(
            tx, clock, "parcel.disputed", number, actor=clerk.name, lacking=len(lacking),
            extra=len(extra),
        )  # fmt: skip
    else:
        _reconciled(tx, clock, parcel, clerk.name)
    return Settled(parcel.state, lacking, extra)


def end_dispute(
    tx: Tx, clock: Clock, number: str, decision: str, first: Actor, second: Actor
) -> tuple[str, ...]:
    """Two people end a dispute: cards still lacking are missing, and their orders go to a person.

    Returns them. Raises NotAllowed E-ROLE, E-SOD; NotFound W-PARCEL; Rejected W-STATE, W-REASON.
    """
    parcel = dispatch.get(tx, number)
    if parcel.state == ParcelState.RECONCILED:
        return ()
    if parcel.state != ParcelState.DISPUTED:
        raise Rejected("W-STATE", "no dispute", state=parcel.state, allowed=ParcelState.DISPUTED)
    packed = {scan.card_serial for scan in dispatch.scans(tx, number, PACK)}
    there = {scan.card_serial for scan in dispatch.scans(tx, number, RECEIPT)}
    for row in _open_incidents(tx, number):
        incidents.sign(tx, clock, row, decision, first, second)
    lacking = tuple(sorted(packed - there))
    for serial in lacking:
        card = plastic.by_serial(tx, serial)
        plastic.missing(tx, clock, card, first.name)
        order = orders.get(tx, card.acc_no, lock=True)
        order.state, order.trouble = orders.HUMAN, "W-LOST-IN-TRANSIT"
        events.append(
            tx, clock, "order.needs_person", card.acc_no, actor=first.name,
            code="W-LOST-IN-TRANSIT",
        )  # fmt: skip
    for serial in sorted(packed & there):
        _at_point(tx, clock, serial, first)
    _reconciled(tx, clock, parcel, f"{first.name}, {second.name}")
    return lacking


def _reconciled(tx: Tx, clock: Clock, parcel: ParcelRow, by: str) -> None:
    step(parcel, ParcelState.RECONCILED, PARCEL_ALLOWED)
    parcel.reconciled_by = by[:60]
    events.append(tx, clock, "parcel.reconciled", parcel.number, actor=by, point=parcel.point)


def _at_point(tx: Tx, clock: Clock, card_serial: str, clerk: Actor) -> None:
    card = plastic.by_serial(tx, card_serial)
    if card.place != Place.IN_TRANSIT:
        return
    step_card(card, Place.AT_POINT)
    card.arrived_at = clock.now()
    orders.advance(tx, clock, card.acc_no, State.AT_POINT, clerk.name)
    events.append(tx, clock, "card.at_point", card_serial, actor=clerk.name, acc_no=card.acc_no)


def uncollected(tx: Tx, clock: Clock, point: str | None = None) -> list[Uncollected]:
    """Cards at their points for 30 days (REMIND) or 90 (RETURN), oldest first."""
    now = clock.now()
    query = (
        select(PlasticRow, OrderRow)
        .join(OrderRow, OrderRow.acc_no == PlasticRow.acc_no)
        .where(PlasticRow.place == Place.AT_POINT, PlasticRow.arrived_at <= now - REMIND_AFTER)
        .order_by(PlasticRow.arrived_at)
    )
    if point is not None:
        query = query.where(OrderRow.point == point)
    return [
        Uncollected(
            card.card_serial or "", card.acc_no, order.point, (now - card.arrived_at).days,
            "RETURN" if now - card.arrived_at >= RETURN_AFTER else "REMIND",
        )
        for card, order in tx.execute(query)
        if card.arrived_at is not None
    ]  # fmt: skip


def defect(
    tx: Tx, clock: Clock, card_serial: str, code: SpoilCode, clerk: Actor, note: str = ""
) -> None:
    """A defect found at the point, an escape of QC: the card is waste, its order goes to a person.

    Raises NotAllowed E-ROLE; NotFound W-CARD; Rejected W-STATE.
    """
    require(clerk, *CLERKS)
    card = plastic.by_serial(tx, card_serial)
    if card.place != Place.AT_POINT:
        raise Rejected("W-STATE", "not at the point", state=card.place, allowed=Place.AT_POINT)
    why = plastic.Spoil(code, "point", f"point-{card.parcel}", note=note)
    plastic.spoil(tx, clock, card, why, clerk.name)
    order = orders.get(tx, card.acc_no, lock=True)
    order.state, order.trouble = orders.HUMAN, "W-DEFECT"
    events.append(tx, clock, "order.needs_person", card.acc_no, actor=clerk.name, code="W-DEFECT")


def return_card(tx: Tx, clock: Clock, card_serial: str, clerk: Actor) -> None:
    """After 90 days the point sends a card back: UNCOLLECTED, the application is UNCLAIMED.

    Raises NotAllowed E-ROLE; NotFound W-CARD; Rejected W-STATE, W-TOO-EARLY.
    """
    require(clerk, *CLERKS)
    card = plastic.by_serial(tx, card_serial)
    if card.place == Place.UNCOLLECTED:
        return
    if card.arrived_at is not None and clock.now() - card.arrived_at < RETURN_AFTER:
        raise Rejected("W-TOO-EARLY", "it waits 90 days", card=card_serial)
    step_card(card, Place.UNCOLLECTED)
    orders.advance(tx, clock, card.acc_no, State.UNCLAIMED, clerk.name)
    orders.get(tx, card.acc_no, lock=True).state = orders.FINISHED
    events.append(tx, clock, "card.uncollected", card_serial, actor=clerk.name, acc_no=card.acc_no)


def take_back(tx: Tx, clock: Clock, card_serial: str, keeper: Actor) -> None:
    """A card came back to the centre, to be destroyed: RECALLED, dead in the register.

    Raises NotAllowed E-ROLE; NotFound W-CARD; Rejected W-STATE.
    """
    require(keeper, Role.STOCK_KEEPER)
    card = plastic.by_serial(tx, card_serial)
    if step_card(card, Place.RECALLED):
        cards.void_card(tx, clock, card_serial, "RECALLED", keeper.name)
        events.append(tx, clock, "card.recalled", card_serial, actor=keeper.name)


def _open_incidents(tx: Tx, number: str) -> list[str]:
    return [row.id for row in incidents.open_ones(tx) if row.subject == number]
