"""What a station with an old token may still say of its card (production.md 6, I12).

Its work order belongs to somebody else by now, so nothing but the card itself is entered.
"""

from core import events
from core.clock import Clock
from core.db import Tx
from personalization import incidents, plastic
from personalization.plastic import Origin, Spoil
from personalization.states import IN_WORK, WASTE, Place


def spoiled(
    tx: Tx, clock: Clock, origin: Origin, operator: str, spoil: Spoil,
    card_serial: str | None, chip_serial: str | None,
) -> None:  # fmt: skip
    """Its card is waste, whatever the order came to."""
    card = plastic.fed(tx, clock, origin)
    if card.place in WASTE or card.place == Place.DESTROYED:
        return
    note = plastic.bind_if_possible(tx, clock, card, card_serial, chip_serial)
    plastic.spoil(tx, clock, card, spoil, operator, note)
    events.append(
        tx, clock, "card.late", origin.work_order, actor=origin.station, token=origin.token
    )


def strayed(
    tx: Tx, clock: Clock, origin: Origin, reason: str,
    card_serial: str | None, chip_serial: str | None,
) -> None:  # fmt: skip
    """It does not know where its card is: the card stays in the count until two people say."""
    card = plastic.fed(tx, clock, origin)
    if card.place not in IN_WORK:
        return
    plastic.bind_if_possible(tx, clock, card, card_serial, chip_serial)
    incidents.begin(tx, clock, incidents.LOST, card.id, reason, origin.station, batch=origin.batch)
