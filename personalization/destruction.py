"""Waste is counted out of its box and destroyed by two people, card by card (production.md 5).

A card is scanned before it is punched; one whose chip and symbol are gone is named by the number printed
on its body. An act lists its cards one by one, never a quantity.
"""

from dataclasses import dataclass

from sqlalchemy import or_, select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotFound, Rejected
from personalization import incidents
from personalization.states import SPOIL_WORDS, BatchState, Place, SpoilCode, step_card
from personalization.tables import ActRow, BatchRow, PlasticRow, SpoilRow
from registry import sequences
from registry.roles import Actor, Role, require, two_persons

MAX_ACT = 1_000
DESTROYABLE = (Place.COUNTED, Place.RECALLED, Place.SAMPLE)


@dataclass(frozen=True)
class Emptied:
    """What came out of a reject box: `counted` cards, those that should have been there, those unknown."""

    counted: int
    lacking: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Destroyed:
    """One line of an act; the reason by its code and in both languages."""

    name: str
    reason: str
    en: str
    zh: str


def empty_box(
    tx: Tx, clock: Clock, box: str, names: list[str], first: Actor, second: Actor
) -> Emptied:
    """Two people scan every card of a reject box: card serial, chip serial or body number each.

    A difference is an incident. Raises NotAllowed E-ROLE, E-SOD; Rejected W-QUANTITY.
    """
    _two(first, second)
    if len(names) > MAX_ACT:
        raise Rejected("W-QUANTITY", f"at most {MAX_ACT}", quantity=len(names))
    inside = tx.scalars(
        select(PlasticRow)
        .join(SpoilRow, SpoilRow.card == PlasticRow.id)
        .where(SpoilRow.reject_box == box, PlasticRow.place == Place.IN_REJECT)
        .with_for_update(of=PlasticRow)
    ).all()
    by_name = {name: card for card in inside for name in _names(tx, card)}
    seen = {by_name[name].id: by_name[name] for name in names if name in by_name}
    unknown = tuple(sorted(name for name in names if name not in by_name))
    lacking = tuple(sorted(card.id for card in inside if card.id not in seen))
    for card in seen.values():
        step_card(card, Place.COUNTED)
    if lacking or unknown:
        incidents.begin(
            tx, clock, incidents.DIFFERENCE, f"box {box}",
            f"{len(lacking)} cards lacking, {len(unknown)} unknown", first.name,
            amount=len(unknown) - len(lacking),
        )  # fmt: skip
    events.append(
        tx, clock, "box.emptied", box, actor=first.name, second=second.name, count=len(seen)
    )
    return Emptied(len(seen), lacking, unknown)


def _names(tx: Tx, card: PlasticRow) -> list[str]:
    row = tx.get(SpoilRow, card.id)
    body = None if row is None else row.body
    return [name for name in (card.id, card.card_serial, card.chip_serial, body) if name]


def destroy(
    tx: Tx,
    clock: Clock,
    names: list[str],
    method: str,
    first: Actor,
    second: Actor,
    photo_ref: str = "",
) -> str:
    """Punch the cards named, each scanned before; returns the act's number.

    Raises NotAllowed E-ROLE, E-SOD; NotFound W-CARD; Rejected W-STATE (not counted out of its box),
    W-BATCH-OPEN (its batch is not closed), W-EMPTY, W-REASON.
    """
    _two(first, second)
    if not names:
        raise Rejected("W-EMPTY", "no card was named", parcel="-")
    if not method.strip():
        raise Rejected("W-REASON", "say how")
    found = {card.id: card for card in (find(tx, name) for name in names)}
    day = business_date(clock.now())
    number = f"A{day:%Y}-{sequences.take(tx, f'act-{day:%Y}'):04d}"
    tx.add(
        ActRow(
            number=number, at=clock.now(), method=method[:60], first_person=first.name,
            second_person=second.name, photo_ref=photo_ref[:60],
        )
    )  # fmt: skip
    tx.flush()
    for card in found.values():
        _punch(tx, card, number)
    events.append(
        tx, clock, "cards.destroyed", number, actor=first.name, second=second.name,
        count=len(found), method=method[:60],
    )  # fmt: skip
    return number


def _punch(tx: Tx, card: PlasticRow, number: str) -> None:
    batch = tx.get(BatchRow, card.batch)
    if card.place not in DESTROYABLE:
        raise Rejected(
            "W-STATE", "count it first", state=card.place, allowed=", ".join(DESTROYABLE)
        )
    if batch is not None and batch.state != BatchState.CLOSED:
        raise Rejected("W-BATCH-OPEN", "close its batch first", batch=card.batch)
    step_card(card, Place.DESTROYED)
    card.act = number


def find(tx: Tx, name: str) -> PlasticRow:
    """A plastic by card serial, chip serial, body number or its own id. Raises NotFound W-CARD."""
    card = tx.scalar(
        select(PlasticRow)
        .outerjoin(SpoilRow, SpoilRow.card == PlasticRow.id)
        .where(
            or_(
                PlasticRow.card_serial == name,
                PlasticRow.chip_serial == name.upper(),
                PlasticRow.id == name,
                SpoilRow.body == name,
            )
        )
        .limit(1)
        .with_for_update(of=PlasticRow)
    )
    if card is None:
        raise NotFound("W-CARD", "no such card", card=name)
    return card


def act_lines(tx: Tx, number: str) -> tuple[ActRow, list[Destroyed]]:
    """An act and its cards, for the paper. Raises NotFound W-ACT."""
    act = tx.get(ActRow, number)
    if act is None:
        raise NotFound("W-ACT", "no such act", act=number)
    found = tx.scalars(
        select(PlasticRow)
        .where(PlasticRow.act == number)
        .order_by(PlasticRow.card_serial, PlasticRow.id)
    )
    return act, [_line(card, tx.get(SpoilRow, card.id)) for card in found]


def _line(card: PlasticRow, spoil: SpoilRow | None) -> Destroyed:
    body = None if spoil is None else spoil.body
    name = card.card_serial or body or card.id
    if spoil is None:
        return Destroyed(name, "RECALLED", "called back", "召回")
    en, zh = SPOIL_WORDS[SpoilCode(spoil.code)]
    return Destroyed(name, spoil.code, en, zh)


def _two(first: Actor, second: Actor) -> None:
    require(first, Role.STOCK_KEEPER)
    require(second, Role.STOCK_KEEPER, Role.CARD_QC, Role.CARD_SUPERVISOR)
    two_persons(first, second)
