"""Batches from the plan to the close, blind counts, and one effect of a double click (production.md 4.4, 6)."""

import pytest

from core import events
from core.errors import NotAllowed, Rejected
from personalization import (
    balance,
    batches,
    commands,
    counts,
    floor,
    journal_import,
    stock,
    work,
)
from personalization.states import BatchState
from personalization.station_journal import Phase, Step
from registry.roles import Actor, Role
from tests.floor_bench import (
    KEEPER,
    LOT,
    OFFICER,
    OPERATOR,
    OTHER_KEEPER,
    SUPERVISOR,
    Centre,
)
from tests.office_bench import count_all, run_batch


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
        floor.announce(tx, town.clock, "S1", last + 1)
        with pytest.raises(Rejected, match="W-JOURNAL-UNREAD"):
            batches.close(tx, town.clock, number, SUPERVISOR)
        town.diaries["S1"].write(Step.DONE, Phase.RESULT, None)
        town.import_journal(tx, "S1")
        batches.close(tx, town.clock, number, SUPERVISOR)


def test_large_points_get_batches_of_their_own(town: Centre) -> None:
    with town.db.write() as tx:
        assert len(batches.plan_all(tx, town.clock, OFFICER)) == 1
        assert batches.plan_all(tx, town.clock, OFFICER) == []


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
