"""Stock, batches, counts, QC, parcels, destruction: what the office does with cards (production.md 5, 8, 9, 10)."""

from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from core import events
from core.db import Database
from core.errors import EvidenceMismatch, NotAllowed, NotFound, Rejected
from personalization import (
    balance,
    batches,
    commands,
    counts,
    destruction,
    dispatch,
    floor,
    incidents,
    journal_import,
    orders,
    plastic,
    quality,
    receipt,
    resolution,
    serials,
    stock,
    work,
)
from personalization.plastic import Spoil
from personalization.states import BatchState, LotState, Place, SpoilCode, WorkState
from personalization.station_journal import Phase, Step
from personalization.tables import IncidentRow, MoveRow, PlasticRow
from personalization.work import Made, Seen
from registry.points.places import by_code
from registry.residence import applications, cards
from registry.residence.domain import State
from registry.roles import Actor, Role
from registry.settlers import clerk_at
from tests.floor_bench import (
    KEEPER,
    LOT,
    OFFICER,
    OPERATOR,
    OTHER_KEEPER,
    QC,
    SECOND,
    SUPERVISOR,
    Centre,
    centre,
    copied_centre,
)

CLERK = clerk_at(by_code("001"))
GOOD_LOOK = dict.fromkeys(quality.Check, True)


@pytest.fixture
def town() -> Centre:
    made = copied_centre(ordered=3)
    made.attach("S1")
    return made


def run_batch(town: Centre, blanks: int = 10) -> tuple[str, str, list[Made]]:
    """A batch made at S1: its number, its tray, its cards."""
    number = town.release()
    tray = town.issue(number, "S1", blanks)
    return number, tray, town.run_all()


def count_all(town: Centre, batch: str) -> None:
    """Three blind counts that agree, and the finish before them."""
    with town.db.write() as tx:
        batches.finish(tx, town.clock, batch, OPERATOR)
        for what in counts.COUNTED_THINGS:
            answer = counts.count(
                tx, town.clock, batch, what, counts.expected_now(tx, batch, what), KEEPER
            )
            assert answer.verdict == counts.AGREES


def inspect(town: Centre, made: Made, every: bool = True) -> quality.Verdict:
    with town.db.write() as tx:
        seen = quality.scan(
            tx, town.clock, f"R1{made.card_serial}", made.chip_serial, QC, every_card=every
        )
        if seen.verdict != quality.LOOK:
            return seen
        return quality.look(tx, town.clock, made.card_serial, GOOD_LOOK, QC)


# -- stock ---------------------------------------------------------------------------------------------


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


# -- batches -------------------------------------------------------------------------------------------


def test_the_planner_does_not_release(town: Centre) -> None:
    both = Actor.of(OFFICER.name, Role.DATA_OFFICER, Role.CARD_SUPERVISOR)
    with town.db.write() as tx:
        number = batches.plan(tx, town.clock, both)
        assert number == "B20070618-001"
        with pytest.raises(NotAllowed, match="E-SOD"):
            batches.release(tx, town.clock, number, both)
        batches.release(tx, town.clock, number, SUPERVISOR)
        before = events.last_seq(tx)
        batches.release(tx, town.clock, number, SUPERVISOR)
        assert events.last_seq(tx) == before


def test_a_paused_batch_gives_no_work_and_a_cancelled_one_frees_its_orders(town: Centre) -> None:
    number = town.release()
    tray = town.issue(number, "S1", 10)
    town.claim()
    with town.db.write() as tx:
        work.unfed(tx, town.clock, work.held(tx, "S1") or pytest.fail("nothing is held"))
        batches.pause(tx, town.clock, number, SUPERVISOR)
        assert work.claim(tx, town.clock, "S1", OPERATOR) is None
        batches.resume(tx, town.clock, number, SUPERVISOR)
        with pytest.raises(Rejected, match="W-TRAY"):
            batches.cancel(tx, town.clock, number, SUPERVISOR)
        stock.give_back(tx, town.clock, tray, 10, KEEPER, OTHER_KEEPER)
        with pytest.raises(Rejected, match="W-STATE"):  # it ran
            batches.cancel(tx, town.clock, number, SUPERVISOR)


def test_a_released_batch_can_be_cancelled_and_planned_again(town: Centre) -> None:
    number = town.release()
    with town.db.write() as tx:
        batches.cancel(tx, town.clock, number, SUPERVISOR)
    again = town.release()
    with town.db.read() as tx:
        assert batches.show(tx, again).waiting == 3
        assert batches.show(tx, number).waiting == 0


def test_a_batch_closes_with_no_difference_by_somebody_who_did_not_run_it(town: Centre) -> None:
    number, tray, made = run_batch(town)
    count_all(town, number)
    runner = Actor.of(OPERATOR.name, Role.CARD_SUPERVISOR)
    with town.db.write() as tx:
        with pytest.raises(Rejected, match="W-BLANKS"):
            batches.close(tx, town.clock, number, SUPERVISOR)
        stock.give_back(tx, town.clock, tray, 7, KEEPER, OTHER_KEEPER)
        with pytest.raises(NotAllowed, match="W-RAN-IT"):
            batches.close(tx, town.clock, number, runner)
        sums = batches.close(tx, town.clock, number, SUPERVISOR)
        assert (sums.opening, sums.good, sums.returned, sums.difference) == (10, 3, 7, 0)
        assert batches.close(tx, town.clock, number, SUPERVISOR) == sums
    assert len(made) == 3


def test_a_wrong_count_is_counted_again_by_another_and_then_explained(town: Centre) -> None:
    number, tray, _ = run_batch(town)
    with town.db.write() as tx:
        with pytest.raises(Rejected, match="W-STATE"):
            counts.count(tx, town.clock, number, counts.BLANKS, 6, KEEPER)
        batches.finish(tx, town.clock, number, OPERATOR)
        first = counts.count(tx, town.clock, number, counts.BLANKS, 6, KEEPER)
        assert (first.verdict, first.incident) == (counts.AGAIN, None)
        with pytest.raises(NotAllowed, match="W-SAME-COUNTER"):
            counts.count(tx, town.clock, number, counts.BLANKS, 7, KEEPER)
        second = counts.count(tx, town.clock, number, counts.BLANKS, 6, OTHER_KEEPER)
        assert second.verdict == counts.INCIDENT
        for what, count in ((counts.GOOD, 3), (counts.SPOILED, 0)):
            counts.count(tx, town.clock, number, what, count, KEEPER)
        assert batches.get(tx, number).state == BatchState.COUNTED
        stock.give_back(tx, town.clock, tray, 6, KEEPER, OTHER_KEEPER)
        with pytest.raises(Rejected, match="W-INCIDENTS"):
            batches.close(tx, town.clock, number, SUPERVISOR)
        runner = Actor.of(OPERATOR.name, Role.CARD_SUPERVISOR)
        with pytest.raises(NotAllowed, match="W-RAN-IT"):
            counts.explain_blanks(
                tx, town.clock, second.incident or "", "fell down", runner, KEEPER
            )
        counts.explain_blanks(
            tx, town.clock, second.incident or "", "one fell behind", SUPERVISOR, KEEPER
        )
        sums = batches.close(tx, town.clock, number, SUPERVISOR)
        assert (sums.missing, sums.returned, sums.difference) == (1, 6, 0)
        assert balance.lot_balance(tx).difference == 0


def test_a_batch_with_unread_journal_lines_stays_open(town: Centre) -> None:
    number, tray, _ = run_batch(town)
    count_all(town, number)
    with town.db.write() as tx:
        stock.give_back(tx, town.clock, tray, 7, KEEPER, OTHER_KEEPER)
        last = journal_import.mark(tx, "S1").seq
        floor.say(tx, town.clock, "S1", "READY", journal_seq=last + 1)
        with pytest.raises(Rejected, match="W-JOURNAL-UNREAD"):
            batches.close(tx, town.clock, number, SUPERVISOR)
        town.diaries["S1"].write(Step.DONE, Phase.RESULT, None)
        town.import_journal(tx, "S1")
        batches.close(tx, town.clock, number, SUPERVISOR)


def test_large_points_get_batches_of_their_own(town: Centre) -> None:
    with town.db.write() as tx:
        assert len(batches.plan_all(tx, town.clock, OFFICER)) == 1
        assert batches.plan_all(tx, town.clock, OFFICER) == []


# -- uncertain cards -----------------------------------------------------------------------------------


def doubtful(town: Centre) -> tuple[work.Claim, Seen]:
    """Everything done, the answer to the eject lost."""
    town.issue(town.release(), "S1", 10)
    claim = town.claim()
    seen = town.numbers(claim)
    diary = town.diaries["S1"]
    diary.cycle(claim, seen, Step.PRINT)
    diary.write(Step.EJECT, Phase.INTENT, claim, to="hopper")
    with town.db.write() as tx:
        town.import_journal(tx, "S1")
        work.uncertain(tx, town.clock, claim, "no answer to the eject", seen)
    return claim, seen


def test_an_uncertain_card_found_good_goes_to_qc(town: Centre) -> None:
    claim, seen = doubtful(town)
    chip, card = seen.chip_serial or "", seen.card_serial or ""
    with town.db.write() as tx:
        with pytest.raises(Rejected, match="W-UNFINISHED"):
            batches.finish(tx, town.clock, claim.batch, OPERATOR)
        with pytest.raises(NotAllowed, match="E-SOD"):
            resolution.found_good(
                tx, town.clock, claim.work_order, chip, card, SUPERVISOR, SUPERVISOR
            )
        with pytest.raises(Rejected, match="W-BOUND"):
            plastic.bind(tx, town.clock, plastic.by_serial(tx, card), card, "0" * 16)
        resolution.found_good(tx, town.clock, claim.work_order, chip, card, SUPERVISOR, KEEPER)
        resolution.found_good(tx, town.clock, claim.work_order, chip, card, SUPERVISOR, KEEPER)
        assert work.by_id(tx, claim.work_order).state == WorkState.MADE
        assert incidents.open_ones(tx) == []
    assert inspect(town, Made(chip, card, 1)).verdict == quality.PASS


def test_another_card_on_the_bench_is_not_the_one_looked_for(town: Centre) -> None:
    claim, seen = doubtful(town)
    with town.db.write() as tx, pytest.raises(EvidenceMismatch, match="W-JOURNAL"):
        resolution.found_good(
            tx, town.clock, claim.work_order, "0" * 16, seen.card_serial or "", SUPERVISOR, KEEPER
        )


def test_an_uncertain_card_that_is_not_found_is_missing_and_remade(town: Centre) -> None:
    claim, seen = doubtful(town)
    with town.db.write() as tx:
        again = resolution.not_found(tx, town.clock, claim.work_order, SUPERVISOR, KEEPER)
        assert again is not None
        assert (again.attempt, again.state) == (2, WorkState.RELEASED)
        assert cards.by_serial(tx, seen.card_serial or "").void_reason == "MISSING"
        (open_one,) = incidents.open_ones(tx)
        assert open_one.kind == incidents.LOST
        card = plastic.by_serial(tx, seen.card_serial or "")
        waste = Spoil(SpoilCode.UN1, "eject", "box-S1")
        resolution.stray_found(tx, town.clock, card.id, waste, SUPERVISOR, KEEPER)
        assert (card.place, incidents.open_ones(tx)) == (Place.IN_REJECT, [])
    assert len(town.run_all()) == 3
    with town.db.read() as tx:
        assert balance.batch_balance(tx, claim.batch).difference == 0


def test_a_double_feed_looks_for_both_blanks(town: Centre) -> None:
    town.issue(town.release(), "S1", 10)
    claim = town.claim()
    with town.db.write() as tx:
        work.uncertain(tx, town.clock, claim, "two blanks left the feeder", Seen(fed=2))
        assert balance.batch_balance(tx, claim.batch).in_work == 2
        waste = Spoil(SpoilCode.UN1, "feed", "box-S1", body="0007")
        resolution.found_bad(tx, town.clock, claim.work_order, waste, SUPERVISOR, KEEPER)
        (stray,) = incidents.open_ones(tx)
        resolution.stray_found(tx, town.clock, stray.subject, waste, SUPERVISOR, KEEPER)
        sums = balance.batch_balance(tx, claim.batch)
        assert (sums.in_work, sums.spoiled, sums.left, sums.difference) == (0, 2, 8, 0)


def test_a_silent_station_is_declared_lost_by_two(town: Centre) -> None:
    town.issue(town.release(), "S1", 10)
    claim = town.claim()
    town.diaries["S1"].write(Step.CLAIM, Phase.RESULT, claim)
    with town.db.write() as tx:
        with pytest.raises(Rejected, match="W-CLAIM-LIVE"):
            resolution.declare_lost(tx, town.clock, claim.work_order, SUPERVISOR, SECOND)
        town.clock.advance(work.TERM + timedelta(seconds=1))
        with pytest.raises(Rejected, match="W-JOURNAL-UNREAD"):
            resolution.declare_lost(tx, town.clock, claim.work_order, SUPERVISOR, SECOND)
        town.import_journal(tx, "S1")
        state = resolution.declare_lost(tx, town.clock, claim.work_order, SUPERVISOR, SECOND)
        assert state == WorkState.RELEASED
        with pytest.raises(Rejected, match="LEASE-LOST"):
            work.renew(tx, town.clock, claim)


def test_a_lost_journal_means_the_worst(town: Centre) -> None:
    town.issue(town.release(), "S1", 10)
    claim = town.claim()
    town.clock.advance(work.TERM + timedelta(seconds=1))
    with town.db.write() as tx:
        state = resolution.declare_lost(
            tx, town.clock, claim.work_order, SUPERVISOR, SECOND, journal_gone=True
        )
        assert state == WorkState.UNCERTAIN
        assert (
            orders.live_work(tx, claim.acc_no) is not None
        )  # nothing queued before it is found (I6)
        assert tx.query(PlasticRow).one().place == Place.FED


# -- quality -------------------------------------------------------------------------------------------


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


# -- parcels -------------------------------------------------------------------------------------------


def parcel_sent(town: Centre) -> tuple[str, list[Made]]:
    _, _, made = run_batch(town)
    for card in made:
        inspect(town, card)
    with town.db.write() as tx:
        number = dispatch.open_parcel(tx, town.clock, "001", QC)
        for card in made:
            dispatch.pack(tx, town.clock, number, card.card_serial, QC)
        dispatch.seal(tx, town.clock, number, ("S-1", "S-2"), QC, KEEPER)
        dispatch.send(tx, town.clock, number, "courier Ma", KEEPER)
    return number, made


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
            destruction.Destroyed(made[0].card_serial, "RECALLED")
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


# -- commands ------------------------------------------------------------------------------------------


def test_a_double_click_has_one_effect(town: Centre) -> None:
    number = town.release()

    def issue(quantity: int, command: str | None) -> commands.Answer:
        with town.db.write() as tx:
            return commands.once(
                tx, town.clock, command, "stock.issue", {"batch": number, "quantity": quantity},
                lambda: {
                    "tray": stock.issue(
                        tx, town.clock, number, "S1", LOT, quantity, KEEPER, OTHER_KEEPER
                    )
                },
            )  # fmt: skip

    first = issue(10, "click-1")
    assert issue(10, "click-1") == first
    with pytest.raises(Rejected, match="W-COMMAND"):
        issue(11, "click-1")
    with pytest.raises(Rejected, match="W-QUANTITY"):
        issue(1000, "click-2")
    assert issue(10, "click-2") != first  # the refused click left nothing behind
    with town.db.read() as tx:
        assert balance.vault(tx, LOT) == 180


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
