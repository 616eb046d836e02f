"""Parcels, disputes, hand-over, cards nobody fetches, and waste (production.md 4.5, 9, 13)."""

from datetime import timedelta

import pytest

from core import events
from core.db import Database
from core.errors import NotFound, Rejected
from personalization import (
    balance,
    batches,
    counts,
    destruction,
    dispatch,
    incidents,
    orders,
    plastic,
    quality,
    receipt,
    stock,
)
from personalization.states import BatchState, Place
from personalization.tables import IncidentRow, PlasticRow
from personalization.work import Made
from registry.residence import applications
from registry.residence.domain import State
from tests.floor_bench import (
    KEEPER,
    OPERATOR,
    OTHER_KEEPER,
    QC,
    SUPERVISOR,
    Centre,
    centre,
)
from tests.office_bench import CLERK, inspect, parcel_sent, run_batch


def state_of(town: Centre, card: Made) -> str:
    with town.db.read() as tx:
        acc_no = plastic.by_serial(tx, card.card_serial, lock=False).acc_no
        return applications.by_number(tx, acc_no).state


def test_a_parcel_travels_and_is_settled(town: Centre) -> None:
    number, made = parcel_sent(town)
    with town.db.write() as tx:
        lines = dispatch.manifest(tx, number)
        assert [line.card_serial for line in lines] == [card.card_serial for card in made]
        assert all(line.holder.endswith("**") and len(line.holder) == 3 for line in lines)
        assert dispatch.label_code(tx, number).startswith(f"K1|{number}|001|")
        assert receipt.receive(tx, town.clock, number, ("S-2", "S-1"), 3, CLERK) == []
        for card in made:
            receipt.unpack(tx, town.clock, number, card.card_serial, CLERK)
        settled = receipt.settle(tx, town.clock, number, CLERK)
        assert settled == receipt.Settled("RECONCILED", (), ())
    assert {state_of(town, card) for card in made} == {State.AT_POINT}


def test_a_card_of_another_point_does_not_go_in(town: Centre) -> None:
    _, _, made = run_batch(town)
    inspect(town, made[0])
    with town.db.write() as tx:
        number = dispatch.open_parcel(tx, town.clock, "002", QC)
        with pytest.raises(Rejected, match="W-POINT"):
            dispatch.pack(tx, town.clock, number, made[0].card_serial, QC)
        with pytest.raises(Rejected, match="W-EMPTY"):
            dispatch.seal(tx, town.clock, number, ("S-1", "S-2"), QC, KEEPER)
        with pytest.raises(Rejected, match="W-SEALS"):
            dispatch.seal(tx, town.clock, number, ("S-1", "S-1"), QC, KEEPER)


def test_an_uninspected_card_is_not_packed(town: Centre) -> None:
    _, _, made = run_batch(town)
    with town.db.write() as tx:
        number = dispatch.open_parcel(tx, town.clock, "001", QC)
        with pytest.raises(Rejected, match="W-STATE"):
            dispatch.pack(tx, town.clock, number, made[0].card_serial, QC)


def test_a_card_lacking_at_the_point_is_a_dispute_that_two_people_end(town: Centre) -> None:
    number, made = parcel_sent(town)
    with town.db.write() as tx:
        opened = receipt.receive(tx, town.clock, number, ("S-1", "S-3"), 2, CLERK)
        assert len(opened) == 2  # the seal and the count
        for card in made[:2]:
            receipt.unpack(tx, town.clock, number, card.card_serial, CLERK)
        settled = receipt.settle(tx, town.clock, number, CLERK)
        assert (settled.state, settled.lacking) == ("DISPUTED", (made[2].card_serial,))
    assert [state_of(town, card) for card in made] == [
        State.AT_POINT, State.AT_POINT, State.IN_TRANSIT,
    ]  # fmt: skip
    with town.db.write() as tx:
        lost = receipt.end_dispute(tx, town.clock, number, "bag was torn", SUPERVISOR, KEEPER)
        assert lost == (made[2].card_serial,)
        card = plastic.by_serial(tx, made[2].card_serial)
        assert card.place == Place.MISSING
        assert orders.get(tx, card.acc_no).trouble == "W-LOST-IN-TRANSIT"
        assert tx.query(IncidentRow).filter(IncidentRow.closed_at.is_(None)).count() == 0


def test_production_follows_the_counters_hand_over(town: Centre) -> None:
    number, made = parcel_sent(town)
    with town.db.write() as tx:
        receipt.receive(tx, town.clock, number, ("S-1", "S-2"), 3, CLERK)
        for card in made:
            receipt.unpack(tx, town.clock, number, card.card_serial, CLERK)
        receipt.settle(tx, town.clock, number, CLERK)
        events.append(
            tx, town.clock, "card.handed_over", made[0].card_serial, actor=CLERK.name,
            permit_no="1", acc_no="2", point="001",
        )  # fmt: skip
    with town.db.write() as tx:
        assert orders.take_in(tx, town.clock).handed_over == 1
        card = plastic.by_serial(tx, made[0].card_serial)
        assert card.place == Place.HANDED_OVER
        assert orders.get(tx, card.acc_no).state == orders.FINISHED


def test_a_card_nobody_fetches_comes_back_and_is_destroyed(town: Centre) -> None:
    number, made = parcel_sent(town)
    with town.db.write() as tx:
        receipt.receive(tx, town.clock, number, ("S-1", "S-2"), 3, CLERK)
        for card in made:
            receipt.unpack(tx, town.clock, number, card.card_serial, CLERK)
        receipt.settle(tx, town.clock, number, CLERK)
        with pytest.raises(Rejected, match="W-TOO-EARLY"):
            receipt.return_card(tx, town.clock, made[0].card_serial, CLERK)
    town.clock.advance(timedelta(days=31))
    with town.db.write() as tx:
        assert [item.action for item in receipt.uncollected(tx, town.clock)] == ["REMIND"] * 3
    town.clock.advance(timedelta(days=60))
    with town.db.write() as tx:
        assert {item.action for item in receipt.uncollected(tx, town.clock, "001")} == {"RETURN"}
        receipt.return_card(tx, town.clock, made[0].card_serial, CLERK)
        receipt.take_back(tx, town.clock, made[0].card_serial, KEEPER)
        batch = plastic.by_serial(tx, made[0].card_serial).batch
        with pytest.raises(Rejected, match="W-BATCH-OPEN"):
            destruction.destroy(
                tx, town.clock, [made[0].card_serial], "punched", KEEPER, OTHER_KEEPER
            )
        batches.get(tx, batch).state = BatchState.CLOSED
        tx.flush()
        act = destruction.destroy(
            tx, town.clock, [made[0].card_serial], "punched", KEEPER, OTHER_KEEPER
        )
        assert destruction.act_lines(tx, act)[1] == [
            destruction.Destroyed(made[0].card_serial, "RECALLED", "called back", "召回")
        ]
        assert balance.batch_balance(tx, batch).difference == 0
        assert balance.lot_balance(tx).difference == 0


def test_waste_is_scanned_out_of_its_box_and_destroyed_card_by_card(town: Centre) -> None:
    number = town.release()
    town.issue(number, "S1", 10)
    claim = town.claim()
    town.spoil(claim)
    with town.db.write() as tx:
        (card,) = plastic.of_work_order(tx, claim.work_order)
        emptied = destruction.empty_box(tx, town.clock, "box-S1", ["nothing"], KEEPER, QC)
        assert emptied == destruction.Emptied(0, (card.id,), ("nothing",))
        assert incidents.open_ones(tx)[0].subject == "box box-S1"
        with pytest.raises(Rejected, match="W-STATE"):
            destruction.destroy(tx, town.clock, [card.id], "punched", KEEPER, QC)
        serial = card.card_serial or ""
        assert destruction.empty_box(tx, town.clock, "box-S1", [serial], KEEPER, QC).counted == 1
        with pytest.raises(NotFound, match="W-CARD"):
            destruction.destroy(tx, town.clock, ["unknown"], "punched", KEEPER, QC)


def test_the_office_runs_on_both_databases(db: Database) -> None:
    town = centre(db)
    town.order(0, 1)
    town.attach("S1")
    number, made = parcel_sent(town)
    with town.db.write() as tx:
        receipt.receive(tx, town.clock, number, ("S-1", "S-2"), 2, CLERK)
        for card in made:
            receipt.unpack(tx, town.clock, number, card.card_serial, CLERK)
        assert receipt.settle(tx, town.clock, number, CLERK).state == "RECONCILED"
        batch = plastic.by_serial(tx, made[0].card_serial).batch
        tray = tx.query(PlasticRow).filter_by(batch=batch).first()
        assert tray is not None
        batches.finish(tx, town.clock, batch, OPERATOR)
        for what in counts.COUNTED_THINGS:
            counts.count(tx, town.clock, batch, what, counts.expected_now(tx, batch, what), KEEPER)
        stock.give_back(tx, town.clock, tray.tray, 8, KEEPER, OTHER_KEEPER)
        assert batches.close(tx, town.clock, batch, SUPERVISOR).difference == 0
        assert quality.report(tx, batch).accepted == 2
        destruction.empty_box(tx, town.clock, "box-S1", [], KEEPER, QC)
