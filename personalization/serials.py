"""Card serials: 14 digits, one per plastic, leased to stations in blocks of at most 20 (production.md 3, 5).

A station allocates from its block without the database. Every number ever leased is explained: USED by
a card, VOID, or still FREE in a station's block (I20).
"""

from sqlalchemy import bindparam, func, select, update

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import Rejected
from core.rows import Statement
from personalization.tables import LotRow, SerialRow
from registry import sequences
from registry.identifiers import make_card_serial

BLOCK = 20
FREE, USED, VOID = "FREE", "USED", "VOID"

_MINE = Statement(
    select(SerialRow.card_serial)
    .where(
        SerialRow.station == bindparam("called"),
        SerialRow.lot == bindparam("of_lot"),
        SerialRow.state == FREE,
    )
    .order_by(SerialRow.card_serial)
)
_USE = Statement(
    update(SerialRow)
    .where(
        SerialRow.card_serial == bindparam("number"),
        SerialRow.station == bindparam("called"),
        SerialRow.lot == bindparam("of_lot"),
        SerialRow.state == FREE,
    )
    .values(state=USED)
)


def lease_block(tx: Tx, clock: Clock, station: str, lot: str, count: int = BLOCK) -> list[str]:
    """The station's free numbers of a lot, in order: at most `count` and 20, at least half of that.

    Raises Rejected W-LOT when the lot is unknown.
    """
    mine = [row.card_serial for row in _MINE.rows(tx, called=station, of_lot=lot)]
    if 2 * len(mine) >= min(count, BLOCK):  # the block is filled up when half of it is spent
        return mine
    if tx.get(LotRow, lot) is None:
        raise Rejected("W-LOT", "no such lot", lot=lot)
    numbers = sequences.take_some(tx, f"card-{lot}", min(count, BLOCK) - len(mine))
    fresh = [make_card_serial(lot, number) for number in numbers]
    now = clock.now()
    tx.add_all(
        SerialRow(card_serial=serial, lot=lot, station=station, leased_at=now, state=FREE)
        for serial in fresh
    )
    tx.flush()
    events.append(tx, clock, "serials.leased", station, actor=station, lot=lot, count=len(fresh))
    return mine + fresh


def use(tx: Tx, card_serial: str, station: str, lot: str) -> None:
    """FREE to USED. Raises Rejected W-SERIAL when it is not this station's, not this lot's or not free."""
    if not _USE.run(tx, number=card_serial, called=station, of_lot=lot):
        raise Rejected("W-SERIAL", "the number is not free in the block", card=card_serial)


def burn(tx: Tx, card_serial: str, reason: str) -> None:
    """A number printed or written on a card that could not be bound: VOID, never used again."""
    row = tx.get(SerialRow, card_serial, with_for_update=True)
    if row is not None and row.state == FREE:
        row.state, row.void_reason = VOID, reason


def give_back(tx: Tx, clock: Clock, station: str, actor: str) -> int:
    """Void what is left of a station's blocks; returns how many."""
    rows = tx.scalars(
        select(SerialRow)
        .where(SerialRow.station == station, SerialRow.state == FREE)
        .with_for_update()
    ).all()
    for row in rows:
        row.state, row.void_reason = VOID, "returned"
    if rows:
        events.append(tx, clock, "serials.voided", station, actor=actor, count=len(rows))
    return len(rows)


def tally(tx: Tx, lot: str | None = None) -> dict[str, int]:
    """How many numbers are FREE, USED and VOID."""
    query = select(SerialRow.state, func.count()).group_by(SerialRow.state)
    if lot is not None:
        query = query.where(SerialRow.lot == lot)
    found = dict(iter(tx.execute(query)))
    return {state: found.get(state, 0) for state in (FREE, USED, VOID)}
