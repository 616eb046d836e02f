"""What the first screen shows: the equations, the stations, the cards, the latest events. Reads only.

A run that has ended leaves ``summary.json``, whose chip balances and ceremony verdict come from the chips and
from the off-line verifier; while it runs, what only they can tell is not shown yet.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from core import events
from core.clock import SHANGHAI
from core.db import Tx
from core.money import format_yuan
from payments import ledger
from payments.tables import LoadRow, PurchaseRow
from personalization import balance
from personalization.states import GOOD, WASTE, Place
from personalization.tables import PlasticRow, StationRow
from registry.residence.domain import ChipStatus
from registry.residence.tables import CardRow, PermitRow
from runtime.services import Services

SUMMARY = "summary.json"
PICTURES = "pictures"
FEED_LINES = 60
MAX_CARDS = 120
GOOD_MARK, BAD_MARK, OPEN_MARK = "good", "bad", "open"
CARD_FACTOR_PREFIX = "000000"


@dataclass(frozen=True)
class Line:
    """One number of an equation; `name` is a key of the console's words."""

    name: str
    value: str


@dataclass(frozen=True)
class Proof:
    """An equation or a verdict, and whether it holds: `mark` good, bad or open."""

    name: str
    mark: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class StationTile:
    """One station: its word, its counts, its sentence."""

    name: str
    state: str
    mark: str
    good: int
    spoiled: int
    last: str


@dataclass(frozen=True)
class CardTile:
    """One card that came out good. `balance` is what the ledger owes its holder."""

    card_serial: str
    permit_no: str
    status: str
    balance: str
    pictures: bool


@dataclass(frozen=True)
class FeedLine:
    """One event in words."""

    at: datetime
    clock: str
    text: str


@dataclass(frozen=True)
class Board:
    """The whole screen."""

    proofs: tuple[Proof, ...]
    stations: tuple[StationTile, ...]
    cards: tuple[CardTile, ...]
    feed: tuple[FeedLine, ...]


def gather(city: Services, lang: str = "en") -> Board:
    """The board as it is now."""
    summary = read_summary(city.settings.data)
    with city.db.read() as tx:
        return Board(
            (_stock(tx), _money(tx, summary), _ceremony(summary)),
            tuple(_stations(tx)),
            tuple(_cards(tx, city.settings.data)),
            tuple(_feed(tx, lang)),
        )


def read_summary(data: Path) -> dict[str, Any] | None:
    """The run's ``summary.json``; None while there is none."""
    try:
        found: dict[str, Any] = json.loads((data / SUMMARY).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found


def picture_of(tx: Tx, data: Path, card_serial: str, side: str) -> Path | None:
    """The picture of one face ("front" or "back") as it left the printer, None when there is none."""
    card = tx.get(CardRow, card_serial)
    if card is None:
        return None
    path = data / PICTURES / card.chip_serial / f"{side}.png"
    return path if path.is_file() else None


def _stock(tx: Tx) -> Proof:
    now = balance.lot_balance(tx)
    if now.opening == 0:
        return Proof("stock", OPEN_MARK, ())
    lines = [
        Line(name, str(getattr(now, name)))
        for name in ("opening", "good", "spoiled", "remaining", "difference")
    ]
    held = GOOD_MARK if now.difference == 0 else BAD_MARK
    return Proof("stock", OPEN_MARK if now.in_work else held, tuple(lines))


def _money(tx: Tx, summary: dict[str, Any] | None) -> Proof:
    owed = sum(ledger.balances(tx, "purse").values())
    loaded = tx.scalar(select(func.sum(LoadRow.amount)).where(LoadRow.state == "CONFIRMED")) or 0
    spent = (
        tx.scalar(select(func.sum(PurchaseRow.amount)).where(PurchaseRow.state == "POSTED")) or 0
    )
    lines = [
        Line("loaded", format_yuan(loaded)),
        Line("spent", format_yuan(spent)),
        Line("float", format_yuan(owed)),
    ]
    if summary is None:
        return Proof("money", OPEN_MARK, tuple(lines) if loaded else ())
    purse = summary["purse"]
    lines.append(Line("chips", format_yuan(purse["chip_total_fen"])))
    difference = purse["chip_total_fen"] - owed
    lines.append(Line("difference", format_yuan(difference)))
    return Proof("money", GOOD_MARK if difference == 0 else BAD_MARK, tuple(lines))


def _ceremony(summary: dict[str, Any] | None) -> Proof:
    if summary is None:
        return Proof("ceremony", OPEN_MARK, ())
    ceremony = summary["ceremony"]
    lines = [
        Line("verdict", "VALID" if ceremony["verdict"] == "pass" else "INVALID"),
        Line("checks", str(ceremony["checks"])),
        Line("findings", str(len(ceremony["findings"]))),
    ]
    return Proof("ceremony", GOOD_MARK if ceremony["verdict"] == "pass" else BAD_MARK, tuple(lines))


def _stations(tx: Tx) -> list[StationTile]:
    counts: dict[tuple[str, str], int] = {
        (station, place): number
        for station, place, number in tx.execute(
            select(PlasticRow.station, PlasticRow.place, func.count()).group_by(
                PlasticRow.station, PlasticRow.place
            )
        )
    }

    def of(station: str, places: frozenset[Place]) -> int:
        return sum(counts.get((station, place), 0) for place in places)

    return [
        StationTile(
            row.name,
            row.state,
            BAD_MARK if row.stop_reason else OPEN_MARK if row.sentence else GOOD_MARK,
            of(row.name, GOOD),
            of(row.name, WASTE),
            row.sentence,
        )
        for row in tx.scalars(select(StationRow).order_by(StationRow.name))
    ]


def _cards(tx: Tx, data: Path) -> list[CardTile]:
    owed = ledger.balances(tx, "purse")
    rows = tx.execute(
        select(CardRow, PermitRow.status)
        .join(PermitRow, PermitRow.permit_no == CardRow.permit_no)
        .where(CardRow.void_at.is_(None))
        .order_by(CardRow.card_serial)
        .limit(MAX_CARDS)
    )
    return [
        CardTile(
            card.card_serial,
            card.permit_no,
            ChipStatus(status).name,
            format_yuan(owed.get(ledger.purse(CARD_FACTOR_PREFIX + card.card_serial), 0)),
            (data / PICTURES / card.chip_serial / "front.png").is_file(),
        )
        for card, status in rows
    ]


def _feed(tx: Tx, lang: str) -> list[FeedLine]:
    return [
        FeedLine(event.at, event.at.astimezone(SHANGHAI).strftime("%H:%M:%S"), event.sentence(lang))
        for event in events.newest(tx, FEED_LINES)
    ]
