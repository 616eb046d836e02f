"""Blanks: lots, the vault, trays at stations, and the sums that must hold (production.md 4.6, 5).

Blanks are counted by moves between places; from the feed on a plastic is a row of its own. So for every
lot, batch and station::

    issued + carried in = good + spoiled + samples + missing + in work + returned + carried out + left

where `left` is what the books say still lies in the feeder, and a blind count says whether it does.
Two different people stand behind every move.
"""

from sqlalchemy import func, select

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import NotFound, Rejected
from core.ids import uuid7
from personalization import balance, floor, incidents
from personalization.balance import SUPPLIER, VAULT
from personalization.states import (
    LOT_ALLOWED,
    BatchState,
    LotState,
    SpoilCode,
    step,
)
from personalization.tables import (
    BatchRow,
    LotRow,
    MoveRow,
    PlasticRow,
    SpoilRow,
    TrayRow,
)
from registry.roles import Actor, Role, require, two_persons

TRAY = 100  # one feeder load
MAX_LOT = 100_000
LOT_SAMPLE = 100  # cards before a lot's chips are judged
MAX_CHIP_SPOIL_PERCENT = 3
CHIP_CODES = (SpoilCode.CH1, SpoilCode.CH2, SpoilCode.CH3, SpoilCode.CH4, SpoilCode.CH5)


# -- lots and the vault --------------------------------------------------------------------------------


def announce_lot(
    tx: Tx,
    clock: Clock,
    lot: str,
    *,
    supplier: str,
    stock: str,
    chip_type: str,
    transport_key: str,
    quantity: int,
    actor: Actor,
) -> LotRow:
    """A delivery is on its way. `lot` 5 digits; `transport_key` names the lot master in the HSM.

    Raises NotAllowed E-ROLE; Rejected W-LOT for a number of another form, or known with other values,
    W-QUANTITY.
    """
    require(actor, Role.STOCK_KEEPER)
    if len(lot) != 5 or not (lot.isascii() and lot.isdigit()):
        raise Rejected("W-LOT", "a lot has 5 digits", lot=lot)
    if not 1 <= quantity <= MAX_LOT:
        raise Rejected("W-QUANTITY", f"1 to {MAX_LOT}", quantity=quantity)
    known = tx.get(LotRow, lot)
    if known is not None:
        told = (supplier, stock, chip_type, transport_key, quantity)
        if told != (
            known.supplier, known.stock, known.chip_type, known.transport_key, known.announced,
        ):  # fmt: skip
            raise Rejected("W-LOT", "the lot is known otherwise", lot=lot)
        return known
    row = LotRow(
        lot=lot, supplier=supplier, stock=stock, chip_type=chip_type, transport_key=transport_key,
        announced=quantity, state=LotState.ANNOUNCED,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    events.append(tx, clock, "lot.announced", lot, actor=actor.name, quantity=quantity)
    return row


def receive_lot(
    tx: Tx, clock: Clock, lot: str, counted: int, first: Actor, second: Actor
) -> str | None:
    """Counted by two into the vault; a count that differs from the papers opens an incident (its id).

    The same count said twice has one effect; another one is refused, for it would change what was signed.
    Raises NotAllowed E-ROLE, E-SOD; NotFound W-LOT; Rejected W-STATE, W-QUANTITY.
    """
    _keepers(first, second)
    row = get_lot(tx, lot)
    if row.state != LotState.ANNOUNCED:
        if balance.delivered(tx, lot) == counted:
            return None
        raise Rejected(
            "W-STATE", "it was counted before", state=row.state, allowed=LotState.ANNOUNCED
        )
    step(row, LotState.RECEIVED, LOT_ALLOWED)
    if counted:
        move(tx, clock, lot, SUPPLIER, VAULT, counted, first, second)
    events.append(
        tx, clock, "lot.received", lot, actor=first.name, second=second.name, quantity=counted
    )
    if counted == row.announced:
        return None
    return incidents.begin(
        tx, clock, incidents.DIFFERENCE, f"lot {lot}",
        f"delivery note {row.announced}, counted {counted}", first.name,
        amount=counted - row.announced,
    )  # fmt: skip


def quarantine(tx: Tx, clock: Clock, lot: str, reason: str, actor: str) -> None:
    """No blank of this lot leaves the vault any more."""
    row = get_lot(tx, lot)
    if step(row, LotState.QUARANTINED, LOT_ALLOWED):
        row.quarantine_reason = reason[:200]
        events.append(tx, clock, "lot.quarantined", lot, actor=actor, reason=reason[:200])
        incidents.begin(tx, clock, incidents.QUARANTINE, f"lot {lot}", reason, actor)


def watch_lot(tx: Tx, clock: Clock, lot: str) -> bool:
    """Quarantine a lot with more than 3 % bad chips among at least 100 cards (section 11)."""
    row = get_lot(tx, lot)
    total = tx.scalar(select(func.count()).where(PlasticRow.lot == lot)) or 0
    if total < LOT_SAMPLE or row.state != LotState.IN_USE:
        return False
    bad = (
        tx.scalar(
            select(func.count())
            .select_from(SpoilRow)
            .join(PlasticRow, PlasticRow.id == SpoilRow.card)
            .where(PlasticRow.lot == lot, SpoilRow.code.in_(CHIP_CODES))
        )
        or 0
    )
    if bad * 100 <= total * MAX_CHIP_SPOIL_PERCENT:
        return False
    quarantine(tx, clock, lot, f"{bad} bad chips of {total}", "system")
    return True


# -- trays ---------------------------------------------------------------------------------------------


def issue(
    tx: Tx,
    clock: Clock,
    batch: str,
    station: str,
    lot: str,
    quantity: int,
    first: Actor,
    second: Actor,
) -> str:
    """Blanks from the vault into a tray of one batch at one station; returns the tray.

    Raises NotAllowed E-ROLE, E-SOD, W-RAN-IT; NotFound W-BATCH, W-LOT, W-STATION; Rejected W-QUANTITY
    (more than 100), W-STATE, W-VAULT (not enough there), W-DESIGN (blanks of another design).
    """
    _keepers(first, second)
    incidents.did_not_run(tx, batch, first, second)
    batch_row = tx.get(BatchRow, batch, with_for_update=True)
    if batch_row is None:
        raise NotFound("W-BATCH", "no such batch", batch=batch)
    if batch_row.state not in (BatchState.RELEASED, BatchState.RUNNING, BatchState.PAUSED):
        raise Rejected(
            "W-STATE", "blanks go to a released batch", state=batch_row.state, allowed="RELEASED"
        )
    floor.station(tx, station)
    row = get_lot(tx, lot)
    if row.state in (LotState.RECEIVED, LotState.EXHAUSTED):
        step(row, LotState.IN_USE, LOT_ALLOWED)
    if row.state != LotState.IN_USE:
        raise Rejected("W-STATE", "the lot is not in use", state=row.state, allowed="IN_USE")
    if not 1 <= quantity <= TRAY:
        raise Rejected("W-QUANTITY", f"1 to {TRAY}", quantity=quantity)
    tray = TrayRow(
        id=uuid7(clock.now()), batch=batch, station=station, lot=lot, opened_at=clock.now()
    )
    tx.add(tray)
    tx.flush()
    move(tx, clock, lot, VAULT, balance.tray_place(tray.id), quantity, first, second)
    if balance.vault(tx, lot) == 0:
        step(row, LotState.EXHAUSTED, LOT_ALLOWED)
    events.append(
        tx, clock, "blanks.issued", tray.id, actor=first.name, second=second.name, batch=batch,
        station=station, lot=lot, quantity=quantity,
    )  # fmt: skip
    return tray.id


def give_back(tx: Tx, clock: Clock, tray: str, quantity: int, first: Actor, second: Actor) -> None:
    """Blanks from a tray back into the vault. Raises NotAllowed E-ROLE, E-SOD; Rejected W-TRAY."""
    _keepers(first, second)
    row = get_tray(tx, tray)
    move(tx, clock, row.lot, balance.tray_place(tray), VAULT, quantity, first, second)
    lot = get_lot(tx, row.lot)
    if lot.state == LotState.EXHAUSTED:
        step(lot, LotState.IN_USE, LOT_ALLOWED)
    events.append(
        tx, clock, "blanks.returned", tray, actor=first.name, second=second.name,
        batch=row.batch, station=row.station, quantity=quantity,
    )  # fmt: skip


def give_back_rest(
    tx: Tx, clock: Clock, batch: str, quantity: int, first: Actor, second: Actor
) -> None:
    """All blanks that are left of a batch, from whichever feeder they were taken, into the vault.

    Blanks of one batch are alike: a count may agree in sum while one was carried from station to station.
    Raises NotAllowed E-ROLE, E-SOD; Rejected W-QUANTITY, W-TRAY (the books hold fewer).
    """
    _keepers(first, second)
    rest = quantity
    trays = tx.scalars(
        select(TrayRow.id).where(TrayRow.batch == batch).order_by(TrayRow.opened_at, TrayRow.id)
    ).all()
    for tray in trays:
        part = min(rest, balance.left(tx, tray))
        if part > 0:
            give_back(tx, clock, tray, part, first, second)
            rest -= part
    if rest or quantity < 1:
        raise Rejected("W-TRAY", "the books hold fewer", tray=batch, quantity=quantity)


def carry(
    tx: Tx, clock: Clock, tray: str, batch: str, quantity: int, first: Actor, second: Actor
) -> str:
    """Blanks left at a station go on with its next batch, without a walk to the vault; returns the new tray."""
    _keepers(first, second)
    row = get_tray(tx, tray)
    target = tx.get(BatchRow, batch)
    if target is None:
        raise NotFound("W-BATCH", "no such batch", batch=batch)
    fresh = TrayRow(
        id=uuid7(clock.now()), batch=batch, station=row.station, lot=row.lot, opened_at=clock.now()
    )
    tx.add(fresh)
    tx.flush()
    move(
        tx,
        clock,
        row.lot,
        balance.tray_place(tray),
        balance.tray_place(fresh.id),
        quantity,
        first,
        second,
    )
    events.append(
        tx, clock, "blanks.carried", fresh.id, actor=first.name, second=second.name, batch=batch,
        station=row.station, quantity=quantity,
    )  # fmt: skip
    return fresh.id


def move(
    tx: Tx,
    clock: Clock,
    lot: str,
    source: str,
    target: str,
    quantity: int,
    first: Actor,
    second: Actor,
    note: str = "",
) -> None:
    """One move of blanks. Raises NotAllowed E-SOD; Rejected W-QUANTITY, W-VAULT, W-TRAY (not enough there)."""
    two_persons(first, second)
    if quantity < 1:
        raise Rejected("W-QUANTITY", "at least one", quantity=quantity)
    if source == VAULT:
        get_lot(tx, lot)  # locks the lot: two issues cannot both see the last blanks
        if balance.vault(tx, lot) < quantity:
            raise Rejected("W-VAULT", "not enough in the vault", lot=lot, quantity=quantity)
    elif source.startswith("tray:") and balance.left(tx, source.removeprefix("tray:")) < quantity:
        raise Rejected("W-TRAY", "not enough in the tray", tray=source, quantity=quantity)
    tx.add(
        MoveRow(
            id=uuid7(clock.now()), at=clock.now(), lot=lot, source=source, target=target,
            quantity=quantity, first_person=first.name, second_person=second.name, note=note[:200],
        )
    )  # fmt: skip
    tx.flush()


def _keepers(first: Actor, second: Actor) -> None:
    """Both are stock keepers or one of them a supervisor; never the same person."""
    require(first, Role.STOCK_KEEPER)
    require(second, Role.STOCK_KEEPER, Role.CARD_SUPERVISOR)
    two_persons(first, second)


def get_lot(tx: Tx, lot: str) -> LotRow:
    """Locked. Raises NotFound W-LOT."""
    row = tx.get(LotRow, lot, with_for_update=True)
    if row is None:
        raise NotFound("W-LOT", "no such lot", lot=lot)
    return row


def get_tray(tx: Tx, tray: str) -> TrayRow:
    """Locked. Raises NotFound W-TRAY."""
    row = tx.get(TrayRow, tray, with_for_update=True)
    if row is None:
        raise NotFound("W-TRAY", "no such tray", tray=tray, quantity=0)
    return row
