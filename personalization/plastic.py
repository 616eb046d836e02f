"""One physical card from the feed to the end: where it is, whose it is, why it is waste (production.md 4.3).

A card never moves backwards; waste stays waste (I7). Card serial and chip serial are tied to it once.
"""

from dataclasses import dataclass

from sqlalchemy import bindparam, select

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import NotFound, Rejected
from core.ids import derived_id
from core.rows import Statement
from personalization import serials
from personalization.states import CHAIN, Place, SpoilCode, step_card
from personalization.tables import PlasticRow, SpoilRow
from registry.residence import cards

_SAME_CHIP = Statement(
    select(PlasticRow.id).where(
        PlasticRow.chip_serial == bindparam("chip"), PlasticRow.id != bindparam("own")
    )
)


@dataclass(frozen=True)
class Origin:
    """Under which claim a blank was fed."""

    work_order: str
    token: int
    acc_no: str
    lot: str
    tray: str
    batch: str
    station: str


@dataclass(frozen=True)
class Spoil:
    """Why a card is waste, at which step, and in which box it lies."""

    code: SpoilCode
    step: str
    reject_box: str
    witness: str | None = None
    body: str | None = None
    note: str = ""
    ribbon: str | None = None


def fed(tx: Tx, clock: Clock, origin: Origin, feed: int = 1) -> PlasticRow:
    """The card of this claim's feed; the same claim and feed is the same card."""
    card_id = derived_id("card", origin.work_order, origin.token, feed)
    card = tx.get(PlasticRow, card_id, with_for_update=True)
    if card is None:
        card = PlasticRow(
            id=card_id, feed=feed, place=Place.FED, fed_at=clock.now(), **vars(origin)
        )
        tx.add(card)
        tx.flush()
    return card


def walk(card: PlasticRow, to: Place) -> None:
    """Forward along the chain, step by step. Raises Rejected W-STATE."""
    here = Place(card.place)
    if here not in CHAIN or CHAIN.index(here) > CHAIN.index(to):
        step_card(card, to)  # refuses with the allowed steps named
        return
    for place in CHAIN[CHAIN.index(here) + 1 : CHAIN.index(to) + 1]:
        step_card(card, place)


def bind(tx: Tx, clock: Clock, card: PlasticRow, card_serial: str, chip_serial: str) -> None:
    """Tie both numbers to the card, here and in the register. The same call again changes nothing.

    Raises Rejected W-CHIP-KNOWN (I1), W-SERIAL (not leased to this station, or used), W-BOUND.
    """
    chip = chip_serial.upper()
    if card.card_serial is not None:
        if (card.card_serial, card.chip_serial) != (card_serial, chip):
            raise Rejected("W-BOUND", "the card has other numbers", card=card.card_serial)
        return
    if chip_known(tx, chip, card.id):
        raise Rejected("W-CHIP-KNOWN", "this chip was in a machine before", chip=chip)
    serials.use(tx, card_serial, card.station, card.lot)
    card.card_serial, card.chip_serial = card_serial, chip
    walk(card, Place.BOUND)
    cards.bind_card(tx, clock, card.acc_no, card_serial, chip, card.lot, card.station)


def chip_known(tx: Tx, chip_serial: str, own: str = "") -> bool:
    """Whether this chip was ever in a machine, on another plastic than `own`: look before writing (CH6)."""
    return _SAME_CHIP.first(tx, chip=chip_serial.upper(), own=own) is not None


def bind_if_possible(
    tx: Tx, clock: Clock, card: PlasticRow, card_serial: str | None, chip_serial: str | None
) -> str:
    """For a card that is waste anyway: what cannot be bound is noted instead; returns the note."""
    if card.card_serial is not None or chip_serial is None:
        return ""
    if card_serial is not None:
        try:
            bind(tx, clock, card, card_serial, chip_serial)
        except Rejected as refusal:
            serials.burn(tx, card_serial, refusal.code)
            return f"chip {chip_serial.upper()}, {refusal.code}"
        return ""
    if chip_known(tx, chip_serial):
        return f"chip {chip_serial.upper()}, W-CHIP-KNOWN"
    card.chip_serial = chip_serial.upper()
    return ""


def spoil(
    tx: Tx, clock: Clock, card: PlasticRow, why: Spoil, operator: str, note: str = ""
) -> None:
    """The card is waste and lies in the reject box named. A spoiled card stays so; the first reason counts."""
    if card.place in (Place.IN_REJECT, Place.COUNTED, Place.DESTROYED):
        return
    step_card(card, Place.SPOILED)
    step_card(card, Place.IN_REJECT)
    card.ended_at = clock.now()
    card.ribbon = card.ribbon or why.ribbon
    tx.add(
        SpoilRow(
            card=card.id, code=why.code, step=why.step, at=clock.now(), operator=operator,
            witness=why.witness, reject_box=why.reject_box, body=why.body,
            note=" ".join(part for part in (why.note, note) if part)[:200],
        )
    )  # fmt: skip
    tx.flush()
    if card.card_serial is not None:
        cards.void_card(tx, clock, card.card_serial, "SPOILED", operator)
    events.append(
        tx, clock, "card.spoiled", card.id, actor=operator, code=why.code, step=why.step,
        station=card.station, acc_no=card.acc_no, batch=card.batch, card_serial=card.card_serial,
    )  # fmt: skip


def missing(tx: Tx, clock: Clock, card: PlasticRow, actor: str) -> None:
    """Two people looked and did not find it: its serial is void for ever."""
    step_card(card, Place.MISSING)
    card.ended_at = clock.now()
    if card.card_serial is not None:
        cards.void_card(tx, clock, card.card_serial, "MISSING", actor)
    events.append(
        tx, clock, "card.missing", card.id, actor=actor, acc_no=card.acc_no, batch=card.batch,
        card_serial=card.card_serial,
    )  # fmt: skip


def by_serial(tx: Tx, card_serial: str, lock: bool = True) -> PlasticRow:
    """Raises NotFound W-CARD."""
    query = select(PlasticRow).where(PlasticRow.card_serial == card_serial)
    card = tx.scalar(query.with_for_update() if lock else query)
    if card is None:
        raise NotFound("W-CARD", "no such card", card=card_serial)
    return card


def of_work_order(tx: Tx, work_order: str) -> list[PlasticRow]:
    """All plastics of an attempt, in order of their feeding."""
    return list(
        tx.scalars(
            select(PlasticRow)
            .where(PlasticRow.work_order == work_order)
            .order_by(PlasticRow.token, PlasticRow.feed)
            .with_for_update()
        )
    )
