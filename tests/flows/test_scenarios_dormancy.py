"""T05, T06, T07, T15 and T18 of residence.md 19: sleeping and waking, on the server, the chip and the terminal."""

from datetime import date, datetime, timedelta

import pytest

from core import events
from core.errors import DeviceFault, Rejected
from payments.terminal_lists import CardLists, Listed
from payments.terminal_verdict import Question, decide_debit, decide_service
from registry.deadlines import days_late
from registry.dormancy import domain, engine, status_list
from registry.employment import service as employment
from registry.exchange import delivery
from registry.parameters import PILOT
from registry.rental import service as rental
from registry.residence import permits
from registry.residence.domain import ChipStatus, Hold
from registry.roles import Actor, Role
from tests.registry_bench import CLERK, OFFICE, STATION, city
from tests.registry_desk import SERIAL, Desk23, Tearing, pin_entry
from tests.registry_story import LAST_DAY, Story, june

HOUR = timedelta(hours=1)


def test_t05_case_a_a_new_job_in_time() -> None:
    story = Story()
    assert story.on(june(12), story.end) == "WATCH"
    with story.town.db.read() as tx:
        gap = engine.explain(tx, story.town.clock, story.permit_no).gaps[Hold.EMP]
        assert gap.due == june(18)
    assert story.on(june(17), story.hire(june(15))) == "ACTIVE"
    assert story.on(june(25)) == "ACTIVE"
    assert story.spells() == []


def test_t05_case_b_the_new_employer_was_late() -> None:
    story = Story()
    story.on(june(12), story.end)
    assert story.on(june(17)) == "WATCH"
    assert story.on(june(18)) == "DORMANT"
    assert story.on(june(20), story.hire(june(15))) == "ACTIVE"
    (spell,) = story.spells()
    assert (spell.server_from, spell.server_to) == (june(18), june(20))
    assert (spell.outcome, spell.not_counted) == ("VOIDED", 0)


def test_t05_case_c_a_real_gap() -> None:
    story = Story()
    story.on(june(12), story.end)
    assert story.on(june(26), story.hire(june(25))) == "ACTIVE"
    (spell,) = story.spells()
    assert (spell.outcome, spell.fact_to, spell.not_counted) == ("ENDED", june(25), 7)


def test_t05_case_d_nobody_sleeps_before_three_days_of_notice() -> None:
    story = Story()
    assert story.on(june(28), story.end) == "WATCH"
    assert story.on(june(30)) == "WATCH"
    assert story.on(date(2007, 7, 1)) == "DORMANT"
    with story.town.db.read() as tx:
        end = events.after(tx, 0, kinds_wanted=["employment.ended"])[0]
        assert days_late(LAST_DAY, end.at) == 15


def test_t05_case_e_late_end_and_quick_hire() -> None:
    story = Story()
    assert story.on(june(28), story.end) == "WATCH"
    assert story.on(june(30), story.hire(june(29))) == "ACTIVE"
    assert story.spells() == []


def test_t05_case_f_two_jobs_one_ends() -> None:
    story = Story()
    story.on(june(5), story.hire(june(4)))
    assert story.on(june(12), story.end) == "ACTIVE"
    assert story.on(june(30)) == "ACTIVE"


def test_t05_case_g_the_end_was_an_error() -> None:
    story = Story()
    story.on(june(12), story.end)
    assert story.on(june(19)) == "DORMANT"
    take_back = lambda tx: employment.withdraw_end(tx, story.town.clock, story.job)  # noqa: E731
    assert story.on(june(20), take_back) == "ACTIVE"
    assert story.spells()[0].outcome == "VOIDED"


def test_t05_case_i_a_job_that_starts_later() -> None:
    story = Story()
    story.on(june(12), story.end)
    assert story.on(june(12), story.hire(june(17))) == "WATCH"
    assert story.on(june(16)) == "WATCH"
    assert story.on(june(17)) == "ACTIVE"


def test_t05_case_j_a_move_with_a_short_gap() -> None:
    story = Story()
    town = story.town

    def move(tx) -> None:
        row = tx.query(rental.OccupancyRow).one()
        rental.move_out(tx, town.clock, row.id, june(1))
        person = town.people[0]
        rental.move_in(tx, town.clock, town.homes[1], person.citizen_id, person.name, june(5))

    assert story.on(june(7), move) == "ACTIVE"
    assert story.on(june(30)) == "ACTIVE"


def test_t05_case_k_messages_repeated_and_in_the_wrong_order() -> None:
    """The same messages in any order, twice: the same facts, the same verdict."""
    story = Story()
    town = story.town
    town.go_to(june(20))
    with town.db.write() as tx:
        town.heartbeats(tx)
        story.end(tx)
        story.hire(june(15))(tx)
        sent = [
            delivery.load(tx, e.data["msg_id"])
            for e in events.after(tx, events.cursor(tx, "exchange.residence"))
        ]
        assert len(sent) == 2
        for message in [*reversed(sent), *sent]:
            delivery.receive(tx, town.clock, "residence", message, engine.HANDLERS)
        assert town.deliver(tx).repeated == 2
    assert story.status() == "ACTIVE"
    assert story.on(june(30)) == "ACTIVE"


def test_t05_case_h_half_of_one_employer() -> None:
    sleepers = [domain.Sleeper(f"P{n}", Hold.EMP, frozenset({"E"})) for n in range(21)]
    alarm = domain.breaker(sleepers, 10_000, {"E": 40})
    assert alarm == domain.Alarm(21, 20, "E")
    assert domain.breaker(sleepers[:20], 10_000, {"E": 40}) is None


# -- T06: the chip -------------------------------------------------------------------------------------


def put_to_sleep(desk: Desk23) -> None:
    """The job ends; on 18 June the permit sleeps on the server."""
    desk.town.go_to(june(12))
    with desk.town.db.write() as tx:
        employment.end(tx, desk.town.clock, desk.job, LAST_DAY, "01")
        desk.town.deliver(tx)
    desk.town.go_to(june(18))
    assert desk.town.sweep().slept == 1


def find_a_job(desk: Desk23, start: date) -> None:
    person = desk.town.people[0]
    with desk.town.db.write() as tx:
        employment.hire(
            tx, desk.town.clock, desk.town.employers[1], person.citizen_id, person.name, start
        )
        desk.town.deliver(tx)


TERMINAL = Actor.of("self-service 7", Role.TERMINAL)


@pytest.mark.parametrize(
    "after", [pytest.param(n, marks=pytest.mark.slow if n % 4 else ()) for n in range(13)]
)
def test_t06_wake_at_a_terminal_with_the_power_cut_after_each_apdu(after: int) -> None:
    """Old or new, never a mix; the same call again ends the same; services come back exactly."""
    desk = Desk23()
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    before = desk.services(), desk.basis()
    put_to_sleep(desk)
    desk.counter.update_status(SERIAL, STATION)
    asleep = desk.record()
    find_a_job(desk, june(17))
    desk.slot.remove()
    desk.slot.insert(Tearing(desk.chip, after))
    with pytest.raises(DeviceFault):
        desk.counter.update_status(SERIAL, TERMINAL)
    desk.slot.remove()
    desk.slot.insert(desk.chip)
    torn = desk.record()
    assert torn == asleep or torn.status == ChipStatus.ACTIVE
    assert desk.counter.update_status(SERIAL, TERMINAL) == ChipStatus.ACTIVE
    assert (desk.services(), desk.basis()) == before
    assert desk.record().ssn == asleep.ssn + 1
    assert [desk.log(n).ssn for n in (1, 2)] == [asleep.ssn + 1, asleep.ssn]


# -- T07: the terminal's list --------------------------------------------------------------------------


def lists_of(desk: Desk23) -> CardLists:
    """What a terminal holds that has just taken the status list."""
    with desk.town.db.write() as tx:
        status_list.publish(tx, desk.town.clock)
        entries = status_list.delta(tx, 0).entries
    found = {
        entry.card_hash: Listed(entry.cause, entry.ssn, str(entry.since), str(entry.expires))
        for entry in entries
    }
    now = desk.town.clock.now()
    return CardLists(status=found, black_checked=now, status_checked=now)


def ask(desk: Desk23) -> Question:
    return Question(bytes.fromhex("000000" + SERIAL), desk.record(), desk.town.clock.now())


def refused(act) -> str:
    with pytest.raises(Rejected) as refusal:
        act()
    return refusal.value.code


def test_t07_a_stale_list_never_refuses_a_woken_card() -> None:
    """Rules 5, 6 and 7: only the comparison of sequence numbers tells a stale entry from a stale chip."""
    desk = Desk23()
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    clean = lists_of(desk)
    assert decide_service(clean, ask(desk), False) == 10
    put_to_sleep(desk)
    stale = lists_of(desk)
    assert refused(lambda: decide_service(stale, ask(desk), False)) == "TERM-DORMANT"  # rule 6
    assert decide_service(stale, ask(desk), True) == 6
    assert decide_debit(stale, ask(desk), 100) == 6  # the balance is the holder's money
    desk.counter.update_status(SERIAL, STATION)
    assert refused(lambda: decide_service(clean, ask(desk), False)) == "TERM-DORMANT"  # rule 5
    find_a_job(desk, june(17))
    desk.counter.update_status(SERIAL, STATION)
    assert decide_service(stale, ask(desk), False) == 10  # rule 7: the entry is older than the chip
    assert decide_debit(stale, ask(desk), 100) == 10
    assert lists_of(desk).status == {}


def test_t07_an_old_list_and_a_lease_that_ended() -> None:
    desk = Desk23()
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    lists = lists_of(desk)
    desk.town.clock.advance(PILOT.list_max_age + HOUR)
    assert refused(lambda: decide_service(lists, ask(desk), False)) == "TERM-LIST-OLD"
    assert decide_debit(lists, ask(desk), PILOT.floor_fen - 1) == 9
    assert refused(lambda: decide_debit(lists, ask(desk), PILOT.floor_fen)) == "TERM-LIST-OLD"
    desk.town.clock.advance(timedelta(days=PILOT.lease))
    fresh = lists_of(desk)
    assert refused(lambda: decide_service(fresh, ask(desk), False)) == "TERM-LEASE"
    assert decide_debit(fresh, ask(desk), 100) == 8
    desk.counter.update_status(SERIAL, TERMINAL)
    assert decide_service(fresh, ask(desk), False) == 10


def test_t07_a_lost_card_that_came_back_is_not_refused_by_the_old_list() -> None:
    desk = Desk23()
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    with desk.town.db.write() as tx:
        permits.report_loss(tx, desk.town.clock, desk.permit_no, CLERK, evidence="telephone")
    lost = lists_of(desk)
    assert refused(lambda: decide_debit(lost, ask(desk), 100)) == "TERM-LISTED"
    with desk.town.db.write() as tx:
        permits.withdraw_loss(tx, desk.town.clock, desk.permit_no, CLERK, "in person")
    desk.counter.update_status(SERIAL, CLERK)
    assert decide_debit(lost, ask(desk), 100) == 10


def test_t07_an_older_version_of_the_list_is_no_way_back() -> None:
    desk = Desk23()
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    put_to_sleep(desk)
    lists_of(desk)
    with desk.town.db.read() as tx, pytest.raises(Rejected, match="E-LIST-VERSION"):
        status_list.delta(tx, 2)


# -- T18: an employer closes ----------------------------------------------------------------------------


def test_t18_an_employers_closure_trips_the_breaker() -> None:
    """Twelve of fourteen permits would sleep in one night: nobody does before two persons agreed."""
    town = city(count=14)
    with town.db.write() as tx:
        numbers = [town.hold_permit(tx, n, date(2007, 4, 2))[0] for n in range(12)]
        for n in (12, 13):
            town.live_and_work(tx, n, date(2007, 4, 2), employer=1)
            town.deliver(tx)
            town.approve(tx, town.apply(tx, n))
    town.go_to(june(12))
    with town.db.write() as tx:
        assert employment.close_employer(tx, town.clock, town.employers[0], LAST_DAY) == 12
        town.deliver(tx)
    town.go_to(june(18))
    stopped = town.sweep()
    assert (stopped.slept, stopped.alarm) == (0, domain.Alarm(12, 10))
    assert town.sweep().slept == 0
    with pytest.raises(Rejected, match="E-BREAKER"):
        engine.refuse_when_stopped(stopped)
    with town.db.write() as tx:
        engine.release(tx, town.clock, town.today, OFFICE, Actor.of("office Ma", Role.PILOT_OFFICE))
    assert town.sweep().slept == 12
    with town.db.read() as tx:
        assert {tuple(permits.holds(tx, number)) for number in numbers} == {(Hold.EMP,)}


# -- T15 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("occurred", "reported", "late"),
    [
        (june(10), "2007-06-13T23:59:59+08:00", 0),
        (june(10), "2007-06-14T00:00:00+08:00", 1),
        (june(30), "2007-07-03T12:00:00+08:00", 0),
        (date(2008, 2, 27), "2008-03-01T12:00:00+08:00", 0),
    ],
)
def test_t15_the_three_day_boundary_table(occurred: date, reported: str, late: int) -> None:
    assert days_late(occurred, datetime.fromisoformat(reported)) == late
