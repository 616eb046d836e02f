"""Chapter 3, continued: every card is scanned, counted, packed for its point, sealed, received and counted again.

QC reads the chip at a bench reader: the serial in the ATR and the card serial in the purse's file must belong
together as production recorded them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cardos.card import Card
from cardos.client import CardSession
from cardos.spec import chip_serial
from core.apdu import CardChannel
from payments.purse import open_purse
from personalization import artwork, balance, batches, counts, dispatch, quality, receipt, stock
from personalization.quality import Check
from personalization.tables import TrayRow
from registry.points.places import by_code
from registry.residence.tables import CardRow
from registry.settlers import clerk_at
from runtime.demo.city import (
    INSPECTOR,
    KEEPER,
    OTHER_KEEPER,
    SECOND_SUPERVISOR,
    City,
)  # fmt: skip
from runtime.demo.floor import Produced
from runtime.demo.lanes import Lane, share

COURIER = "courier Pan"


@dataclass(frozen=True)
class MadeCard:
    """A good card: its plastic's chip and the row of the register."""

    chip: Card
    card_serial: str
    chip_serial: str
    permit_no: str
    acc_no: str
    point: str


def inspect_all(city: City, lanes: Sequence[Lane], made: Sequence[MadeCard]) -> None:
    """Association scan and visual check of every card, at as many benches as there are lanes."""

    def inspect(lane: Lane, card: MadeCard) -> None:
        with lane.holding(card.chip), lane.connected() as channel:
            chip, serial = _read(channel)
        with city.db.write() as tx:
            quality.scan(tx, city.clock, artwork.qr_text(serial), chip, INSPECTOR)
            answers = dict.fromkeys(Check, True)
            quality.look(tx, city.clock, serial, answers, INSPECTOR)
        city.progress("cards inspected", 1)

    share(lanes, made, inspect)


def _read(channel: CardChannel) -> tuple[str, str]:
    """Chip serial (16 hex) and card serial (14 digits), both from the chip."""
    purse = open_purse(CardSession(channel))
    return chip_serial(channel.atr).hex().upper(), purse.asn.hex()[-14:]


def close_batch(city: City, produced: Produced, blanks: int, spoiled: int, good: int) -> int:
    """Blind counts of what lies in feeder, reject box and hopper; then another person closes the batch.

    Returns the difference, which must be zero or the batch would not close.
    """
    counted = {counts.BLANKS: blanks, counts.GOOD: good, counts.SPOILED: spoiled}
    for what, number in counted.items():
        with city.db.write() as tx:
            counts.count(tx, city.clock, produced.batch, what, number, KEEPER)
    with city.db.write() as tx:
        for tray in tx.query(TrayRow).filter_by(batch=produced.batch):
            left = balance.left(tx, tray.id)
            if left:
                stock.give_back(tx, city.clock, tray.id, left, KEEPER, OTHER_KEEPER)
    with city.db.write() as tx:
        return batches.close(tx, city.clock, produced.batch, SECOND_SUPERVISOR).difference


def deliver(city: City, made: Sequence[MadeCard]) -> None:
    """A sealed parcel for each point, opened and compared there."""
    for number, point in enumerate(sorted({card.point for card in made}), 1):
        seals = (f"S{2 * number - 1:05d}", f"S{2 * number:05d}")
        cards = [card.card_serial for card in made if card.point == point]
        with city.db.write() as tx:
            parcel = dispatch.open_parcel(tx, city.clock, point, KEEPER)
            for serial in cards:
                dispatch.pack(tx, city.clock, parcel, serial, KEEPER)
            dispatch.seal(tx, city.clock, parcel, seals, KEEPER, OTHER_KEEPER)
            dispatch.send(tx, city.clock, parcel, COURIER, KEEPER)
        clerk = clerk_at(by_code(point))
        with city.db.write() as tx:
            receipt.receive(tx, city.clock, parcel, seals, len(cards), clerk)
            for serial in cards:
                receipt.unpack(tx, city.clock, parcel, serial, clerk)
            receipt.settle(tx, city.clock, parcel, clerk)


def made_cards(city: City, produced: Produced, acceptance: Sequence[str]) -> list[MadeCard]:
    """The good cards in the order of their applications."""
    with city.db.read() as tx:
        rows = {row.acc_no: row for row in tx.query(CardRow).filter(CardRow.void_at.is_(None))}
        return [
            MadeCard(
                produced.chips[rows[acc_no].chip_serial], rows[acc_no].card_serial,
                rows[acc_no].chip_serial, rows[acc_no].permit_no, acc_no, acc_no[:3],
            )
            for acc_no in acceptance
        ]  # fmt: skip
