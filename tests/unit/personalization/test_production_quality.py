"""Quality control: scan, look, void, samples (production.md 8)."""

import pytest

from core.errors import NotAllowed, Rejected
from personalization import (
    balance,
    orders,
    plastic,
    quality,
    work,
)
from personalization.states import Place, SpoilCode, WorkState
from personalization.tables import PlasticRow
from registry.residence import applications
from registry.residence.domain import State
from registry.roles import Actor, Role
from tests.floor_bench import (
    LOT,
    OPERATOR,
    QC,
    SUPERVISOR,
    Centre,
)
from tests.office_bench import GOOD_LOOK, inspect, run_batch


def test_qc_passes_a_card_whose_chip_fits_its_symbol(town: Centre) -> None:
    _, _, made = run_batch(town)
    assert inspect(town, made[0]).verdict == quality.PASS
    assert inspect(town, made[0]).verdict == quality.PASS
    with town.db.read() as tx:
        assert work.by_id(tx, plastic.by_serial(tx, made[0].card_serial).work_order).state == (
            WorkState.ACCEPTED
        )
        assert quality.report(tx).first_pass == 1


def test_a_chip_under_another_picture_is_waste_and_remade(town: Centre) -> None:
    number, _, made = run_batch(town)
    with town.db.write() as tx:
        seen = quality.scan(tx, town.clock, f"R1{made[0].card_serial}", made[1].chip_serial, QC)
        assert (seen.verdict, seen.code) == (quality.FAIL, SpoilCode.QC3)
        acc_no = plastic.by_serial(tx, made[0].card_serial).acc_no
        assert applications.by_number(tx, acc_no).state == State.IN_PRODUCTION
    assert len(town.run_all()) == 1
    with town.db.read() as tx:
        assert balance.batch_balance(tx, number).difference == 0
        assert quality.report(tx, number).by_code == {"QC3": 1}


def test_who_made_a_card_does_not_inspect_it(town: Centre) -> None:
    _, _, made = run_batch(town)
    both = Actor.of(OPERATOR.name, Role.CARD_QC)
    with town.db.write() as tx, pytest.raises(NotAllowed, match="W-RAN-IT"):
        quality.scan(tx, town.clock, made[0].card_serial, made[0].chip_serial, both)


def test_the_visual_check_needs_the_scan_and_all_answers(town: Centre) -> None:
    _, _, made = run_batch(town)
    serial = made[0].card_serial
    with town.db.write() as tx:
        with pytest.raises(Rejected, match="W-QR"):
            quality.scan(tx, town.clock, "R1" + "1" * 14, made[0].chip_serial, QC)
        with pytest.raises(Rejected, match="W-NOT-SCANNED"):
            quality.look(tx, town.clock, serial, GOOD_LOOK, QC)
        quality.scan(tx, town.clock, serial, made[0].chip_serial, QC)
        with pytest.raises(Rejected, match="W-QUESTIONS"):
            quality.look(tx, town.clock, serial, {quality.Check.QR: True}, QC)
        bad = {**GOOD_LOOK, quality.Check.SURFACE: False}
        assert quality.look(tx, town.clock, serial, bad, QC).code == SpoilCode.QC4


def test_two_people_void_a_card_that_passed(town: Centre) -> None:
    _, _, made = run_batch(town)
    inspect(town, made[0])
    with town.db.write() as tx:
        with pytest.raises(NotAllowed, match="E-SOD"):
            twice = Actor.of(QC.name, Role.CARD_QC, Role.CARD_SUPERVISOR)
            quality.void_after_pass(
                tx, town.clock, made[0].card_serial, SpoilCode.OP1, twice, twice
            )
        verdict = quality.void_after_pass(
            tx, town.clock, made[0].card_serial, SpoilCode.OP1, QC, SUPERVISOR
        )
        assert verdict.remake is not None


def test_samples_are_the_first_five_and_every_twentieth(town: Centre) -> None:
    _, _, made = run_batch(town)
    with town.db.write() as tx:
        card = plastic.by_serial(tx, made[2].card_serial)
        assert quality.is_sample(tx, card)
        for number in range(1, 19):  # eighteen more good cards before it
            tx.add(
                PlasticRow(
                    id=f"c{number}", work_order=card.work_order, token=100 + number, feed=1,
                    acc_no=f"x{number}", lot=LOT, tray=card.tray, batch=card.batch, station="S1",
                    ribbon="R-1", place=Place.EJECTED, fed_at=card.fed_at, ended_at=card.fed_at,
                )
            )  # fmt: skip
        tx.flush()
        assert not quality.is_sample(tx, card)  # the 21st
        card.ribbon = "R-2"
        tx.flush()
        assert quality.is_sample(tx, card)  # the first after a ribbon change


def test_a_withdrawn_holder_gets_no_card(town: Centre) -> None:
    _, _, made = run_batch(town)
    with town.db.write() as tx:
        card = plastic.by_serial(tx, made[0].card_serial)
        orders.get(tx, card.acc_no).state = orders.WITHDRAWN
        verdict = quality.scan(tx, town.clock, made[0].card_serial, made[0].chip_serial, QC)
        assert (verdict.code, verdict.remake) == (SpoilCode.DT1, None)
