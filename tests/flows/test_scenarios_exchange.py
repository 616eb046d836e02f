"""T16 and T17 of residence.md 19: a faulty exchange ends like a clean one; silence puts nobody to sleep."""

from datetime import UTC, date, datetime, timedelta

import pytest

from core.clock import SHANGHAI, FixedClock
from registry.dormancy import engine
from registry.employment import service as employment
from registry.exchange import dead_letters
from registry.rental import service as rental
from registry.residence.domain import Hold
from registry.residence.tables import HoldRow
from tests.registry_systems import Faults, Systems

START = datetime(2007, 5, 8, 1, tzinfo=UTC)
SINCE = date(2007, 4, 2)
PEOPLE = 6
NIGHTS = 9
SEEDS = 5
LEFT = date(2007, 6, 10)
PLANNED = Faults(lose=5, lose_answer=5, repeat=10, hold_back=10, corrupt=1)  # residence.md 18.7
ROUGH = Faults(lose=120, lose_answer=80, repeat=150, hold_back=150, corrupt=40)


def a_pilot(faults: Faults, seed: int = 1) -> dict[str, list[tuple[object, ...]]]:
    """Six people, three of whom lose their jobs, one of them by mistake; nine nights."""
    three = Systems(FixedClock(START), faults, seed)
    jobs = three.found(PEOPLE, SINCE)
    three.settle()
    three.reconcile()
    three.settle()
    three.issue_permits(PEOPLE)
    _to(three, date(2007, 6, 12))
    with three.dbs["employment"].write() as tx:
        for job in jobs[:3]:
            employment.end(tx, three.clock, job, LEFT, "02")
        employment.withdraw_end(tx, three.clock, jobs[2])
    for night in range(NIGHTS):
        _to(three, date(2007, 6, 13) + timedelta(days=night))
        _night(three)
    return three.state()


def _to(three: Systems, day: date) -> None:
    wanted = datetime(day.year, day.month, day.day, 2, tzinfo=SHANGHAI)
    three.clock.advance(max(timedelta(0), wanted - three.clock.now()))


def _night(three: Systems) -> None:
    for name, service in (("employment", employment), ("rental", rental)):
        with three.dbs[name].write() as tx:
            service.heartbeat(tx, three.clock)
    three.settle()
    three.reconcile()
    three.settle()
    engine.nightly(three.dbs["residence"], three.clock)


def test_t16_fault_injected_exchange_equals_clean_run() -> None:
    clean = a_pilot(Faults())
    assert [hold for _, hold in clean["holds"]] == ["EMP", "EMP"]
    assert a_pilot(ROUGH, seed=3) == clean


@pytest.mark.slow
def test_t16_with_planned_and_rough_faults_and_many_seeds() -> None:
    clean = a_pilot(Faults())
    for seed in range(SEEDS):
        assert a_pilot(PLANNED, seed) == clean
        assert a_pilot(ROUGH, seed) == clean


def test_t16_a_corrupted_message_is_refused_and_sent_again() -> None:
    three = Systems(FixedClock(START), Faults(corrupt=1_000))
    three.found(1, SINCE)
    run = three.carry()
    assert (run.sent, run.refused) == (0, 5)
    for link in three.links.values():
        link.faults = Faults()
    outcomes = three.reconcile()
    assert sum(len(outcome.differing) for outcome in outcomes.values()) == 3
    three.settle()
    assert {outcome.differing for outcome in three.reconcile().values()} == {()}
    with three.dbs["residence"].read() as tx:
        assert dead_letters.waiting(tx) == []  # what was broken never got in


def test_t17_a_feed_outage_of_30_hours_freezes_emp_dormancy() -> None:
    three = Systems(FixedClock(START))
    (job,) = three.found(1, SINCE)
    three.settle()
    three.issue_permits(1)
    _to(three, date(2007, 6, 12))
    with three.dbs["employment"].write() as tx:
        employment.end(tx, three.clock, job, LEFT, "01")
    _night(three)
    for day in (13, 14, 15, 16):
        _to(three, date(2007, 6, day))
        _night(three)
    three.links["employment"].down = True  # from 16 June 02:00; the sleep is due on the 18th
    _to(three, date(2007, 6, 17))
    three.clock.advance(timedelta(hours=6))  # 30 hours after the last heartbeat
    with three.dbs["rental"].write() as tx:
        rental.heartbeat(tx, three.clock)
    three.carry()
    frozen = engine.nightly(three.dbs["residence"], three.clock)
    assert frozen.silent_feeds == ["employment"]
    three.clock.advance(timedelta(days=1))
    with three.dbs["rental"].write() as tx:
        rental.heartbeat(tx, three.clock)
    three.carry()
    held_back = engine.nightly(three.dbs["residence"], three.clock)
    assert (held_back.slept, held_back.held_back) == (0, 1)
    three.links["employment"].down = False
    with three.dbs["employment"].write() as tx:
        employment.heartbeat(tx, three.clock)
    three.settle()
    assert engine.nightly(three.dbs["residence"], three.clock).slept == 1
    with three.dbs["residence"].read() as tx:
        assert [row.kind for row in tx.query(HoldRow)] == [Hold.EMP]
