"""The whole way of a permit that sleeps and wakes: registers, verdict, list, purse gate, chip, in one process."""

from datetime import UTC, date, datetime, timedelta

import pytest

from core import events
from core.clock import FixedClock
from core.db import Database
from core.errors import Rejected
from registry import settlers
from registry.dormancy import engine, status_list
from registry.employment import service as employment
from registry.residence import applications, permits
from registry.residence.domain import ChipStatus, State
from registry.residence.gate import purse_gate
from registry.roles import Actor, Role
from tests.registry_bench import CLERK, STATION, points_are_open
from tests.registry_desk import SERIAL, Desk23, pin_entry

REVIEWER = Actor.of("reviewer Lin", Role.REVIEWER)


def test_people_settle_apply_and_are_decided_upon() -> None:
    """Five apply at five points; four are approved, the one without an employer's record is refused."""
    db = Database("sqlite://")
    db.create_tables()
    clock = FixedClock(datetime(2007, 5, 8, 1, tzinfo=UTC))
    with db.write() as tx:
        people = settlers.settle(tx, clock, 5, jobless=frozenset({3}))
        points_are_open(tx, clock)
        accepted = [
            settlers.apply_for_permit(tx, clock, person, settlers.point_for(number))
            for number, person in enumerate(people)
        ]
        assert len({number[:3] for number in accepted}) == 5
        for acc_no in accepted:
            applications.verify(tx, clock, acc_no)
        with pytest.raises(Rejected, match="E-BASIS"):
            applications.approve(tx, clock, accepted[3], REVIEWER, note="asked the employer")
        applications.refuse(tx, clock, accepted[3], REVIEWER, "no employer's record")
        for number in (0, 1, 2, 4):
            applications.approve(tx, clock, accepted[number], REVIEWER)
        states = [applications.by_number(tx, acc_no).state for acc_no in accepted]
    assert states == [State.APPROVED] * 3 + [State.REJECTED, State.APPROVED]
    with db.read() as tx:
        assert len(events.after(tx, 0, kinds_wanted=["production.ordered"])) == 4
        (refusal,) = events.after(tx, 0, kinds_wanted=["application.refused"])
        assert refusal.data["reason"] == "no employer's record"


def test_a_job_ends_the_permit_sleeps_and_a_new_job_wakes_it() -> None:
    desk = Desk23()
    town = desk.town
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    assert desk.gate() == "00"

    town.go_to(date(2007, 6, 12))
    with town.db.write() as tx:
        employment.end(tx, town.clock, desk.job, date(2007, 6, 10), "02")
        town.deliver(tx)
        assert engine.explain(tx, town.clock, desk.permit_no).status == "WATCH"
    assert desk.gate() == "00"  # a notice is not a sleep

    town.go_to(date(2007, 6, 18))
    assert town.sweep().slept == 1
    with town.db.write() as tx:
        version = status_list.publish(tx, town.clock)
        (entry,) = status_list.delta(tx, 0).entries
        asleep = permits.get(tx, desk.permit_no).ssn
        gate = purse_gate(tx, SERIAL)
    assert (entry.card_hash, entry.cause, entry.ssn) == (
        status_list.card_hash(SERIAL), 1, asleep,
    )  # fmt: skip
    assert (gate.response_code, gate.may_debit) == ("62", True)
    assert desk.counter.update_status(SERIAL, STATION) == ChipStatus.DORMANT

    town.go_to(date(2007, 6, 20))
    person = town.people[0]
    with town.db.write() as tx:
        employment.hire(
            tx, town.clock, town.employers[1], person.citizen_id, person.name, date(2007, 6, 19)
        )
        town.deliver(tx)
    assert desk.gate() == "00"
    assert desk.counter.update_status(SERIAL, STATION) == ChipStatus.ACTIVE
    assert desk.record().ssn > entry.ssn  # a terminal with the old list ignores its entry
    with town.db.write() as tx:
        assert status_list.publish(tx, town.clock) == version + 1
        (gone,) = status_list.delta(tx, version).entries
        assert gone.action == status_list.DROP
        told = [e.kind for e in events.after(tx, 0, kinds_wanted=["permit.slept", "permit.woken"])]
    assert told == ["permit.slept", "permit.woken"]


def test_the_sweep_of_the_next_night_changes_nothing() -> None:
    desk = Desk23()
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    desk.town.sweep()
    with desk.town.db.read() as tx:
        before = permits.get(tx, desk.permit_no).ssn
    desk.town.clock.advance(timedelta(days=1))
    desk.town.sweep()
    with desk.town.db.read() as tx:
        assert permits.get(tx, desk.permit_no).ssn == before
