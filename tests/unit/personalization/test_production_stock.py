"""Blanks: lots, the vault under two keepers, trays, blocks of serials (production.md 5)."""

import pytest
from sqlalchemy.exc import IntegrityError

from core.errors import NotAllowed, Rejected
from personalization import (
    balance,
    incidents,
    serials,
    stock,
)
from personalization.states import LotState, SpoilCode
from personalization.station_journal import Step
from personalization.tables import MoveRow
from registry.roles import Actor
from tests.floor_bench import (
    KEEPER,
    LOT,
    OPERATOR,
    OTHER_KEEPER,
    Centre,
)


def test_a_lot_that_differs_from_its_papers_opens_an_incident(town: Centre) -> None:
    with town.db.write() as tx:
        stock.announce_lot(
            tx, town.clock, "07002", supplier="Card works", stock="residence-1", chip_type="P",
            transport_key="lot-07002", quantity=500, actor=KEEPER,
        )  # fmt: skip
        incident = stock.receive_lot(tx, town.clock, "07002", 498, KEEPER, OTHER_KEEPER)
        assert incident is not None
        assert incidents.get(tx, incident).amount == -2
        assert balance.vault(tx, "07002") == 498


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [(KEEPER, KEEPER, "E-SOD"), (OPERATOR, KEEPER, "E-ROLE"), (KEEPER, OPERATOR, "E-ROLE")],
)
def test_blanks_move_only_under_two_keepers(
    town: Centre, first: Actor, second: Actor, code: str
) -> None:
    number = town.release()
    with town.db.write() as tx, pytest.raises(NotAllowed, match=code):
        stock.issue(tx, town.clock, number, "S1", LOT, 10, first, second)


def test_a_tray_holds_at_most_a_hundred_and_the_vault_what_it_holds(town: Centre) -> None:
    number = town.release()
    with town.db.write() as tx:
        with pytest.raises(Rejected, match="W-QUANTITY"):
            stock.issue(tx, town.clock, number, "S1", LOT, 101, KEEPER, OTHER_KEEPER)
        stock.issue(tx, town.clock, number, "S1", LOT, 100, KEEPER, OTHER_KEEPER)
        tray = stock.issue(tx, town.clock, number, "S1", LOT, 100, KEEPER, OTHER_KEEPER)
        assert stock.get_lot(tx, LOT).state == LotState.EXHAUSTED
        with pytest.raises(Rejected, match="W-VAULT"):
            stock.issue(tx, town.clock, number, "S1", LOT, 1, KEEPER, OTHER_KEEPER)
    with town.db.write() as tx:
        with pytest.raises(Rejected, match="W-TRAY"):
            stock.give_back(tx, town.clock, tray, 101, KEEPER, OTHER_KEEPER)
        stock.give_back(tx, town.clock, tray, 60, KEEPER, OTHER_KEEPER)
        assert (balance.vault(tx, LOT), balance.left(tx, tray)) == (60, 40)
        assert stock.get_lot(tx, LOT).state == LotState.IN_USE
        assert balance.lot_balance(tx).difference == 0


def test_a_move_names_two_people_in_the_database_too(town: Centre) -> None:
    with pytest.raises(IntegrityError), town.db.write() as tx:
        tx.add(
            MoveRow(
                id="m", at=town.clock.now(), lot=LOT, source="vault", target="lost", quantity=1,
                first_person="a", second_person="a",
            )
        )  # fmt: skip


def test_a_lot_with_many_bad_chips_is_quarantined(
    town: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock, "LOT_SAMPLE", 4)
    number = town.release()
    town.issue(number, "S1", 10)
    town.spoil(town.claim(), SpoilCode.CH1, Step.FEED)
    town.run_all()
    with town.db.write() as tx:
        assert stock.watch_lot(tx, town.clock, LOT)
        assert stock.get_lot(tx, LOT).state == LotState.QUARANTINED
        with pytest.raises(Rejected, match="W-STATE"):
            stock.issue(tx, town.clock, number, "S1", LOT, 10, KEEPER, OTHER_KEEPER)


def test_a_serial_block_has_twenty_numbers_and_survives_a_restart(town: Centre) -> None:
    with town.db.write() as tx:
        block = serials.lease_block(tx, town.clock, "S1", LOT)
        assert len(set(block)) == serials.BLOCK
        assert serials.lease_block(tx, town.clock, "S1", LOT) == block
        assert not set(block) & set(serials.lease_block(tx, town.clock, "S2", LOT))
        assert serials.give_back(tx, town.clock, "S1", "S1") == 20
        assert serials.tally(tx, LOT) == {"FREE": 20, "USED": 0, "VOID": 20}
