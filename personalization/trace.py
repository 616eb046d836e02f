"""The whole life of a card as a story: every place it has been and who touched it (production.md 12).

Found by anything: card serial, chip serial, acceptance number, work order, parcel or what a scanner reads.
"""

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select

from core.db import Tx
from core.errors import NotFound
from core.events import Event, EventRow
from personalization.tables import PlasticRow, SpoilRow, WorkOrderRow

MAX_FOUND = 50
MAX_EVENTS = 500


@dataclass(frozen=True)
class Found:
    """A plastic in a list; no name, no identity number."""

    card: str
    card_serial: str | None
    chip_serial: str | None
    acc_no: str
    attempt: int
    place: str
    station: str
    batch: str
    parcel: str | None
    spoil: str | None


@dataclass(frozen=True)
class Moment:
    """One line of the story."""

    at: datetime
    actor: str
    kind: str
    en: str
    zh: str


def find(tx: Tx, text: str) -> list[Found]:
    """Cards that fit what was typed or scanned, newest first; empty when none do."""
    wanted = text.strip()
    if wanted.startswith("R1") and len(wanted) == 16:
        wanted = wanted[2:]
    if wanted.startswith("K1|"):
        wanted = wanted.split("|")[1]
    rows = tx.execute(
        select(PlasticRow, WorkOrderRow.attempt)
        .join(WorkOrderRow, WorkOrderRow.id == PlasticRow.work_order)
        .outerjoin(SpoilRow, SpoilRow.card == PlasticRow.id)
        .where(
            or_(
                PlasticRow.card_serial == wanted,
                PlasticRow.chip_serial == wanted.upper(),
                PlasticRow.acc_no == wanted,
                PlasticRow.work_order == wanted,
                PlasticRow.parcel == wanted,
                PlasticRow.batch == wanted,
                PlasticRow.id == wanted,
                SpoilRow.body == wanted,
            )
        )
        .order_by(PlasticRow.fed_at.desc(), WorkOrderRow.attempt.desc(), PlasticRow.id)
        .limit(MAX_FOUND)
    )
    return [_found(tx, card, attempt) for card, attempt in rows]


def _found(tx: Tx, card: PlasticRow, attempt: int) -> Found:
    spoil = tx.get(SpoilRow, card.id)
    return Found(
        card.id, card.card_serial, card.chip_serial, card.acc_no, attempt, card.place,
        card.station, card.batch, card.parcel, None if spoil is None else spoil.code,
    )  # fmt: skip


def story(tx: Tx, text: str) -> tuple[Found, list[Moment]]:
    """The newest card that fits and everything that happened around it. Raises NotFound W-CARD."""
    cards = find(tx, text)
    if not cards:
        raise NotFound("W-CARD", "nothing fits", card=text)
    card = cards[0]
    siblings = tx.scalars(select(PlasticRow).where(PlasticRow.acc_no == card.acc_no)).all()
    names = {card.acc_no, card.batch, card.parcel}
    for row in siblings:  # what failed before belongs to the story
        names |= {row.id, row.card_serial, row.work_order}
    subjects = sorted(name for name in names if name)
    rows = tx.scalars(
        select(EventRow)
        .where(EventRow.subject.in_(subjects))
        .order_by(EventRow.seq)
        .limit(MAX_EVENTS)
    )
    moments = []
    for event in rows:
        told = _event(event)
        moments.append(
            Moment(event.at, event.actor, event.kind, told.sentence("en"), told.sentence("zh"))
        )
    return card, moments


def _event(row: EventRow) -> Event:
    return Event(row.seq, row.at, row.kind, row.subject, row.actor, json.loads(row.data))
