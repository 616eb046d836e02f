"""Work orders and stations on the floor (production.md 4, 6, 7, 14)."""

from datetime import timedelta

import pytest

from core import events
from core.db import Database
from core.errors import EvidenceMismatch, NotAllowed, Rejected
from personalization import (
    balance,
    floor,
    journal_import,
    orders,
    plastic,
    schedule,
    serials,
    stock,
    work,
)
from personalization.plastic import Spoil
from personalization.states import Place, SpoilCode, WorkState
from personalization.station_journal import Phase, Step
from personalization.tables import IncidentRow, PlasticRow
from personalization.work import Made, Seen
from registry.residence import applications, cards
from registry.residence.domain import State
from registry.roles import Actor, Role
from tests.floor_bench import (
    LOT,
    OPERATOR,
    SUPERVISOR,
    Centre,
    Diary,
    centre,
    copied_centre,
    loaded_centre,
)

REVIEWER = Actor.of("reviewer Lin", Role.REVIEWER)
WASTE = Spoil(SpoilCode.PR1, "print", "box-S1")


@pytest.fixture
def town() -> Centre:
    return copied_centre()


def state_of(town: Centre, acc_no: str) -> str:
    with town.db.read() as tx:
        return applications.by_number(tx, acc_no).state


def test_a_good_card_walks_from_claim_to_qc(busy: Centre) -> None:
    claim = busy.claim()
    made = busy.make(claim)
    assert state_of(busy, claim.acc_no) == State.QC
    with busy.db.read() as tx:
        card = plastic.by_serial(tx, made.card_serial, lock=False)
        assert (card.place, card.chip_serial) == (Place.EJECTED, made.chip_serial)
        register = cards.by_serial(tx, made.card_serial)
        assert (register.state, register.lot) == ("BOUND", LOT)
        assert schedule.cards_per_hour(tx, "S1") == pytest.approx(3600 / 38)


def test_a_report_may_be_repeated(busy: Centre) -> None:
    claim = busy.claim()
    made = busy.make(claim)
    with busy.db.write() as tx:
        before = events.last_seq(tx)
        work.made(tx, busy.clock, claim, made)
        assert events.last_seq(tx) == before


def test_a_ribbon_fault_spoils_one_card_which_is_remade_first(busy: Centre) -> None:
    claim = busy.claim()
    again = busy.spoil(claim)
    assert again is not None
    second = busy.claim()
    assert (second.acc_no, second.attempt) == (claim.acc_no, 2)
    assert second.work_order == again.id
    busy.make(second)
    busy.run_all()
    with busy.db.read() as tx:
        sums = balance.batch_balance(tx, claim.batch)
        assert (sums.opening, sums.good, sums.spoiled, sums.left, sums.difference) == (
            10,
            3,
            1,
            6,
            0,
        )
        lot = balance.lot_balance(tx, LOT)
        assert (lot.opening, lot.vault, lot.difference) == (200, 190, 0)
        tally = serials.tally(tx)
        assert (tally["USED"], tally["VOID"]) == (4, 0)


def test_a_spoiled_card_stays_spoiled(busy: Centre) -> None:
    claim = busy.claim()
    busy.spoil(claim)
    with busy.db.write() as tx:
        (card,) = plastic.of_work_order(tx, claim.work_order)
        with pytest.raises(Rejected, match="W-STATE"):
            plastic.walk(card, Place.EJECTED)
        register = cards.by_serial(tx, card.card_serial or "")
        assert (register.state, register.void_reason) == ("VOID", "SPOILED")


def test_the_third_failure_goes_to_a_person(busy: Centre) -> None:
    first = busy.claim()
    busy.spoil(first)
    assert busy.spoil(busy.claim()) is not None
    busy_claim = busy.claim()
    assert (busy_claim.acc_no, busy_claim.attempt) == (first.acc_no, 3)
    assert busy.spoil(busy_claim) is None
    with busy.db.read() as tx:
        row = orders.get(tx, first.acc_no)
        assert (row.state, row.trouble) == (orders.HUMAN, "W-ATTEMPTS")
        assert floor.station(tx, "S1").stop_reason == "W-THREE-SPOILED"
        assert floor.station(tx, "S2").stop_reason is None


def test_a_stopped_station_waits_for_a_supervisor(busy: Centre) -> None:
    for _ in range(3):
        busy.spoil(busy.claim())
    with busy.db.write() as tx:
        with pytest.raises(Rejected, match="W-STOPPED"):
            work.claim(tx, busy.clock, "S1", OPERATOR)
        with pytest.raises(NotAllowed, match="E-ROLE"):
            floor.clear(tx, busy.clock, "S1", OPERATOR)
        floor.clear(tx, busy.clock, "S1", SUPERVISOR)
        assert work.claim(tx, busy.clock, "S1", OPERATOR) is not None


def test_a_station_reports_before_it_takes_more(busy: Centre) -> None:
    claim = busy.claim()
    with busy.db.write() as tx:
        with pytest.raises(Rejected, match="W-HOLDING"):
            work.claim(tx, busy.clock, "S1", OPERATOR)
        assert work.held(tx, "S1") == claim


def test_a_claim_without_a_feed_goes_back(busy: Centre) -> None:
    claim = busy.claim()
    with busy.db.write() as tx:
        work.unfed(tx, busy.clock, claim)
        work.unfed(tx, busy.clock, claim)
    again = busy.claim()
    assert (again.work_order, again.token) == (claim.work_order, claim.token + 1)
    with busy.db.write() as tx:
        with pytest.raises(Rejected, match="LEASE-LOST"):
            work.renew(tx, busy.clock, claim)
        with pytest.raises(Rejected, match="LEASE-LOST"):
            work.made(tx, busy.clock, claim, Made("0" * 16, "0" * 14, 1.0))


def test_a_fed_card_cannot_be_given_back(busy: Centre) -> None:
    claim = busy.claim()
    busy.diaries["S1"].write(Step.FEED, Phase.INTENT, claim)
    with busy.db.write() as tx:
        busy.import_journal(tx, "S1")
        with pytest.raises(Rejected, match="W-FED"):
            work.unfed(tx, busy.clock, claim)


def test_a_late_station_may_only_say_that_its_card_is_waste(busy: Centre) -> None:
    late = busy.claim()
    with busy.db.write() as tx:
        work.unfed(tx, busy.clock, late)
    newer = busy.claim()
    seen = busy.numbers(late)
    with busy.db.write() as tx:
        work.failed(tx, busy.clock, late, WASTE, seen)
        row = work.by_id(tx, newer.work_order)
        assert (row.state, row.token) == (WorkState.CLAIMED, newer.token)
    busy.make(newer)
    with busy.db.read() as tx:
        places = [card.place for card in plastic.of_work_order(tx, newer.work_order)]
        assert places == [Place.IN_REJECT, Place.EJECTED]
        assert balance.batch_balance(tx, newer.batch).difference == 0


def test_a_late_station_that_lost_its_card_stops_the_queue_or_leaves_an_incident(
    busy: Centre,
) -> None:
    late = busy.claim()
    with busy.db.write() as tx:
        work.unfed(tx, busy.clock, late)
    newer = busy.claim()
    with busy.db.write() as tx:  # another claim runs: the stray card is looked for on its own
        work.uncertain(tx, busy.clock, late, "power loss during eject")
        assert tx.query(IncidentRow).one().kind == "LOST"
        assert work.by_id(tx, newer.work_order).state == WorkState.CLAIMED
        assert balance.batch_balance(tx, late.batch).in_work == 1
        work.unfed(tx, busy.clock, newer)
    with (
        busy.db.write() as tx
    ):  # nobody has it: nothing is made again before the card is found (I6)
        work.uncertain(tx, busy.clock, newer, "power loss during eject")
        assert work.by_id(tx, newer.work_order).state == WorkState.UNCERTAIN
        other = work.claim(tx, busy.clock, "S1", OPERATOR)
        assert other is not None
        assert other.work_order != newer.work_order


def test_no_card_is_good_without_its_journal(busy: Centre) -> None:
    claim = busy.claim()
    seen = busy.numbers(claim)
    busy.diaries["S1"].cycle(claim, seen, Step.CHIP)
    with busy.db.write() as tx:
        busy.import_journal(tx, "S1")
    assert seen.chip_serial
    assert seen.card_serial
    with pytest.raises(EvidenceMismatch) as refusal, busy.db.write() as tx:
        work.made(tx, busy.clock, claim, Made(seen.chip_serial, seen.card_serial, 30.0))
    assert (refusal.value.code, refusal.value.facts["step"]) == ("W-JOURNAL", "print")
    busy.diaries["S1"].cycle(claim, seen)
    with pytest.raises(EvidenceMismatch, match="other numbers"), busy.db.write() as tx:
        busy.import_journal(tx, "S1")
        work.made(tx, busy.clock, claim, Made(busy.next_chip(), seen.card_serial, 30.0))


def test_a_journal_is_taken_in_once_and_only_in_one_piece(busy: Centre) -> None:
    claim = busy.claim()
    busy.make(claim)
    lines = busy.diaries["S1"].entries
    with busy.db.write() as tx:
        known = journal_import.mark(tx, "S1")
        assert journal_import.take_in(tx, busy.clock, lines) == known
        assert len(journal_import.lines(tx, claim.work_order, claim.token)) == known.seq
        gap = busy.diaries["S1"]
        gap.write(Step.CLAIM, Phase.RESULT, None)
        gap.write(Step.DONE, Phase.RESULT, None)
        with pytest.raises(EvidenceMismatch, match="J-CHAIN"):
            journal_import.take_in(tx, busy.clock, lines[-1:])
    other = Diary("S1")
    other.write(Step.CLAIM, Phase.RESULT, None, note="another past")
    with pytest.raises(EvidenceMismatch, match="J-CHAIN"), busy.db.write() as tx:
        journal_import.take_in(tx, busy.clock, other.entries)


def test_a_chip_serves_once(busy: Centre) -> None:
    made = busy.make(busy.claim())
    claim = busy.claim()
    with busy.db.read() as tx:
        assert plastic.chip_known(tx, made.chip_serial.lower())
    seen = Seen(made.chip_serial, busy.numbers(claim).card_serial)
    busy.diaries["S1"].cycle(claim, seen)
    with pytest.raises(Rejected, match="W-CHIP-KNOWN"), busy.db.write() as tx:
        busy.import_journal(tx, "S1")
        work.made(tx, busy.clock, claim, Made(made.chip_serial, seen.card_serial or "", 1.0))
    with busy.db.write() as tx:
        busy.import_journal(tx, "S1")
        work.failed(tx, busy.clock, claim, Spoil(SpoilCode.CH6, "feed", "box"), seen)
    with busy.db.read() as tx:
        assert serials.tally(tx)["VOID"] == 1
        assert tx.query(PlasticRow).filter_by(chip_serial=made.chip_serial).count() == 1


def test_two_stations_never_hold_the_same_work(busy: Centre) -> None:
    busy.issue(busy.claim("S1").batch, "S2", 5)
    first = busy.claim("S2")
    with busy.db.read() as tx:
        held = work.held(tx, "S1")
    assert held is not None
    assert first.work_order != held.work_order


def test_urgent_goes_first_and_bulk_ages(town: Centre) -> None:
    normal, bulk, late = town.order(0, 1, 2)
    town.attach("S1")
    with town.db.write() as tx:
        orders.get(tx, bulk).priority = orders.BULK
        with pytest.raises(Rejected, match="W-REASON"):
            schedule.bump(tx, town.clock, late, SUPERVISOR, " ")
        schedule.bump(tx, town.clock, late, SUPERVISOR, "flight tomorrow")
    town.issue(town.release(), "S1", 10)
    with town.db.read() as tx:
        assert [item.acc_no for item in schedule.queue(tx, town.clock)] == [late, normal, bulk]
    assert town.claim().acc_no == late
    town.clock.advance(timedelta(hours=49))
    with town.db.write() as tx:
        assert schedule.age(tx, town.clock) == 1
        work.unfed(tx, town.clock, work.held(tx, "S1") or pytest.fail("nothing held"))
    with town.db.read() as tx:
        ranks = {item.acc_no: item.rank for item in schedule.queue(tx, town.clock)}
    assert ranks == {late: 1, bulk: 1, normal: 2}


def test_a_station_without_blanks_gets_nothing(busy: Centre) -> None:
    with busy.db.write() as tx:
        assert work.claim(tx, busy.clock, "S2", OPERATOR) is None


def test_the_floor_runs_on_both_databases(db: Database) -> None:
    town = centre(db)
    town.order(0, 1, 2)
    loaded_centre(town)
    claim = town.claim()
    town.spoil(claim)
    with town.db.write() as tx:
        again = work.claim(tx, town.clock, "S1", OPERATOR)
        assert again is not None
        work.unfed(tx, town.clock, again)
        with pytest.raises(Rejected, match="LEASE-LOST"):
            work.made(tx, town.clock, again, Made("0" * 16, "0" * 14, 1.0))
    made = town.run_all()
    assert len(made) == 3
    with town.db.write() as tx:
        sums = balance.batch_balance(tx, claim.batch)
        assert (sums.good, sums.spoiled, sums.left, sums.difference) == (3, 1, 6, 0)
        assert balance.lot_balance(tx).difference == 0
        assert balance.station_balance(tx, "S1").difference == 0


def test_blanks_of_a_quarantined_lot_are_not_fed(busy: Centre) -> None:
    with busy.db.write() as tx:
        stock.quarantine(tx, busy.clock, LOT, "bad chips", "system")
        assert work.claim(tx, busy.clock, "S1", OPERATOR) is None
