"""Cards nobody can place, and stations declared lost: two people look (production.md 6)."""

from datetime import timedelta

import pytest

from core.errors import EvidenceMismatch, NotAllowed, Rejected
from personalization import (
    balance,
    batches,
    incidents,
    orders,
    plastic,
    quality,
    resolution,
    work,
)
from personalization.plastic import Spoil
from personalization.states import Place, SpoilCode, WorkState
from personalization.station_journal import Phase, Step
from personalization.tables import PlasticRow
from personalization.work import Made, Seen
from registry.residence import cards
from tests.floor_bench import (
    KEEPER,
    OPERATOR,
    SECOND,
    SUPERVISOR,
    Centre,
)
from tests.office_bench import inspect


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
