"""The invariants of production.md 14 as checks on the rows and on the plastics as they really are."""

import json
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import func, select

from core.db import Tx
from core.events import Event, EventRow
from core.leases import LeaseRow
from personalization import balance, incidents, journal_import, orders, serials
from personalization.states import GOOD, IN_WORK, LIVE, WASTE, BatchState, WorkState
from personalization.station_journal import Step
from personalization.tables import (
    ActRow,
    BatchRow,
    IncidentRow,
    JournalRow,
    LotRow,
    MoveRow,
    OrderRow,
    ParcelRow,
    ParcelScanRow,
    PlasticRow,
    SerialRow,
    SpoilRow,
    StationRow,
    TrayRow,
    WorkOrderRow,
)
from tests.floor_stations import BAG, FEEDER, HOPPER, World


def check_all(
    tx: Tx, world: World, once_waste: set[str], secrets: list[str], sums: bool = True
) -> None:
    """Every invariant that can be seen in the database and in the world. AssertionError names it.

    `sums` False leaves out the balances, which ask most of the time; `physical` says at the end of a run
    whether the books are true, not only even.
    """
    cards = tx.scalars(select(PlasticRow)).all()
    _one_of_each(cards, world)
    if sums:
        _sums(tx)
    _journals(tx, cards)
    _accounted(tx, cards)
    _waste_stays(tx, cards, once_waste)
    _two_people(tx)
    _serials(tx)
    _closed(tx)
    _parcels(tx)
    _leases(tx)
    _silent(tx, secrets)


def _one_of_each(cards: Sequence[PlasticRow], world: World) -> None:
    chips = Counter(card.chip_serial for card in cards if card.chip_serial)
    numbers = Counter(card.card_serial for card in cards if card.card_serial)
    assert not [one for one, count in (chips + numbers).items() if count > 1], "I1"
    live = Counter(card.acc_no for card in cards if card.place in LIVE)
    assert max(live.values(), default=0) <= 1, "I2"
    bound = {card.card_serial: card.chip_serial for card in cards if card.card_serial}
    real = [body for body in world.bodies if body.printed]
    for body in real:  # I5: what is printed on a plastic belongs to the chip in it
        assert bound.get(body.printed, body.chip) == body.chip, "I5"
    by_chip = {card.chip_serial: card for card in cards if card.chip_serial}
    usable = Counter(
        by_chip[body.chip].acc_no
        for body in real
        if body.whole and body.where in (HOPPER, BAG) and body.chip in by_chip
    )
    assert max(usable.values(), default=0) <= 1, "I2: two usable plastics for one application"


def _sums(tx: Tx) -> None:
    """I3: for every lot, batch and station.

    Where a journal was gone, a feed was assumed (the worst case); if it never happened, and the two who
    searched took another stray for it, the books hold one plastic too many until the blind count.
    """
    assumed = tx.scalar(
        select(func.count()).select_from(EventRow).where(EventRow.kind == "work_order.lost")
    )
    for lot in tx.scalars(select(LotRow.lot)):
        sums = balance.lot_balance(tx, lot)
        assert sums.difference == 0, f"I3 lot {sums}"
        assert sums.vault >= 0, "I3"
    for number in tx.scalars(select(BatchRow.number)):
        sums = balance.batch_balance(tx, number)
        assert sums.difference == 0, f"I3 batch {sums}"
        assert sums.left >= -(assumed or 0), f"I3 batch {sums}"
    for name in tx.scalars(select(StationRow.name)):
        assert balance.station_balance(tx, name).difference == 0, "I3 station"


def physical(tx: Tx, world: World) -> None:
    """I3 against the world, when everything is counted: feeders hold what the books say."""
    for batch in tx.scalars(select(TrayRow.batch).distinct()):
        books = balance.batch_balance(tx, batch).left
        assert books == len(world.at(FEEDER, batch=batch)), "I3 feeder"


def told(tx: Tx) -> None:
    """Every event can be said in both languages."""
    for row in tx.scalars(select(EventRow)):
        event = Event(row.seq, row.at, row.kind, row.subject, row.actor, json.loads(row.data))
        assert event.sentence("en")
        assert event.sentence("zh")


def _journals(tx: Tx, cards: Sequence[PlasticRow]) -> None:
    """I4 good cards have every step under their token; I19 the chains hold."""
    steps: dict[tuple[str, int], set[str]] = {}
    previous: dict[str, str] = {}
    rows = tx.scalars(select(JournalRow).order_by(JournalRow.station, JournalRow.sequence))
    for row in rows:
        assert row.previous == previous.get(row.station, "0" * 64), "I19"
        previous[row.station] = row.digest
        steps.setdefault((row.work_order, row.token), set()).add(row.step)
    for card in cards:
        if card.place in GOOD:
            wanted = {Step.FEED, Step.BIND, Step.CHIP, Step.PRINT, Step.EJECT}
            assert wanted <= steps[card.work_order, card.token], "I4"


def _accounted(tx: Tx, cards: Sequence[PlasticRow]) -> None:
    """I6: nothing of an application is queued while a card under its newest token is in work."""
    works = {row.id: row for row in tx.scalars(select(WorkOrderRow))}
    queued = {
        row.acc_no
        for row in works.values()
        if row.state in (WorkState.READY, WorkState.RELEASED, WorkState.DRAFT)
    }
    for card in cards:
        row = works[card.work_order]
        if card.place in IN_WORK and row.token == card.token and card.feed == 1:
            assert row.state in (WorkState.MAKING, WorkState.UNCERTAIN), "I6"
            assert card.acc_no not in queued, "I6"
        if card.place in GOOD and row.token == card.token:
            assert row.state in (WorkState.MADE, WorkState.ACCEPTED), "I6"
    live = Counter(
        row.acc_no
        for row in works.values()
        if row.state not in (WorkState.FAILED, WorkState.CANCELLED)
    )
    assert max(live.values(), default=0) <= 1, "one live work order"
    assert max((row.attempt for row in works.values()), default=0) <= orders.MAX_ATTEMPTS


def _waste_stays(tx: Tx, cards: Sequence[PlasticRow], once_waste: set[str]) -> None:
    """I7: spoiled is absorbing."""
    for card in cards:
        if card.place in WASTE:
            once_waste.add(card.id)
        assert not (card.id in once_waste and card.place in GOOD), "I7"
        if card.place in WASTE:
            assert tx.get(SpoilRow, card.id) is not None, "a spoiled card has a reason"


def _two_people(tx: Tx) -> None:
    """I10: two different people, and the excluded one is neither."""
    for move in tx.scalars(select(MoveRow)):
        assert move.first_person != move.second_person, "I10"
    for act in tx.scalars(select(ActRow)):
        assert act.first_person != act.second_person, "I10"
    for batch in tx.scalars(select(BatchRow)):
        assert batch.released_by is None or batch.released_by != batch.created_by, "I10"
    for row in tx.scalars(select(IncidentRow).where(IncidentRow.closed_at.is_not(None))):
        assert row.first_person != row.second_person, "I10"
        assert row.decision, "I9"


def _serials(tx: Tx) -> None:
    """I20: every number leased is with a card, void, or still free at its station."""
    tally = serials.tally(tx)
    total = tx.scalar(select(func.count()).select_from(SerialRow))
    with_card = tx.scalar(
        select(func.count()).select_from(PlasticRow).where(PlasticRow.card_serial.is_not(None))
    )
    assert sum(tally.values()) == total, "I20"
    assert tally["USED"] == with_card, "I20"


def _closed(tx: Tx) -> None:
    """I9 and I13: a closed batch has nothing open."""
    for batch in tx.scalars(select(BatchRow).where(BatchRow.state == BatchState.CLOSED)):
        assert not incidents.open_ones(tx, batch.number), "I9"
        works = tx.scalars(select(WorkOrderRow.state).where(WorkOrderRow.batch == batch.number))
        assert not {WorkState.UNCERTAIN, WorkState.MAKING, WorkState.CLAIMED} & set(works), "I9"
        sums = balance.batch_balance(tx, batch.number)
        assert (sums.left, sums.in_work, sums.difference) == (0, 0, 0), "I9"
    for name in tx.scalars(select(StationRow.name)):
        assert journal_import.mark(tx, name).seq >= 0


def _parcels(tx: Tx) -> None:
    """I22: what is settled without a dispute was scanned in and out alike."""
    for parcel in tx.scalars(select(ParcelRow)):
        scans = tx.scalars(select(ParcelScanRow).where(ParcelScanRow.parcel == parcel.number)).all()
        packed = {scan.card_serial for scan in scans if scan.way == "PACK"}
        there = {scan.card_serial for scan in scans if scan.way == "RECEIPT"}
        if parcel.state == "RECONCILED" and packed != there:
            disputed = tx.scalar(
                select(func.count())
                .select_from(IncidentRow)
                .where(IncidentRow.subject == parcel.number)
            )
            assert disputed, "I22"


def _leases(tx: Tx) -> None:
    """One holder a work order, and only of work that is claimed or making."""
    works = {row.id: row for row in tx.scalars(select(WorkOrderRow))}
    for lease in tx.scalars(select(LeaseRow).where(LeaseRow.state == "HELD")):
        row = works[lease.item]
        assert row.state in (WorkState.CLAIMED, WorkState.MAKING), f"{row.state} with a lease"
        assert (row.token, row.station) == (lease.token, lease.holder), "I12"
    dead = {WorkState.FAILED, WorkState.CANCELLED}
    alive = {row.acc_no for row in works.values() if row.state not in dead}
    opened = set(tx.scalars(select(OrderRow.acc_no).where(OrderRow.state == orders.OPEN)))
    assert opened <= alive, "an open order has an attempt that lives"


def _silent(tx: Tx, secrets: list[str]) -> None:
    """I18: no name, no citizen id in events and journals."""
    told = [*tx.scalars(select(EventRow.data)), *tx.scalars(select(JournalRow.facts))]
    spoken = "\n".join(told)
    assert "\\u" not in spoken  # both are written with their characters as they are
    for secret in secrets:
        assert secret not in spoken, "I18"
