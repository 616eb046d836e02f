"""Papers, fees, watchdog, access, what-if, lag: the rest of the residence register."""

from datetime import date, timedelta

import pytest

from core import events
from core.errors import NotAllowed, NotFound, Rejected
from registry.dormancy import lag, whatif
from registry.residence import access, applications, facts, fees, papers, permits, watchdog
from registry.residence.access import Purpose
from registry.residence.domain import Basis, Hold, Kind, PermitType, State, working_days
from registry.residence.facts import Fact
from registry.roles import Actor, Role
from tests.registry_bench import CLERK, OFFICE, REVIEWER, STATION, city
from tests.registry_story import Story, june

SINCE = date(2007, 4, 2)
DAY = date(2007, 5, 8)
TERMINAL = Actor.of("T1", Role.TERMINAL)
AUDITOR = Actor.of("auditor Xu", Role.AUDITOR)


# -- papers -------------------------------------------------------------------------------------------


def test_the_list_names_everything_at_once() -> None:
    child = date(1998, 5, 13)
    needed = papers.required(Kind.NEW, Basis.STUDY, child, DAY)
    assert [paper.item for paper in needed] == [
        "identity", "photo", "address", "STUDY", "guardian", "fee",
    ]  # fmt: skip
    lacking = papers.missing(needed, ["identity", "photo"])
    assert [paper.item for paper in lacking] == ["address", "STUDY", "guardian", "fee"]
    text = papers.notice(needed, ["identity"])
    assert text.splitlines()[0] == "一次性告知单"
    assert (text.count("□"), text.count("■")) == (5, 1)
    assert "guardian" in papers.notice(needed, [], "en")
    with pytest.raises(Rejected, match="E-PAPER"):
        papers.missing(needed, ["horoscope"])


@pytest.mark.parametrize(
    ("kind", "old_card"),
    [
        (Kind.NEW, False),
        (Kind.REPLACE_LOST, False),
        (Kind.REPLACE_DAMAGED, True),
        (Kind.RENEW, True),
    ],
)
def test_who_has_an_old_card_brings_it(kind: Kind, old_card: bool) -> None:
    needed = papers.required(kind, Basis.EMPLOYMENT, date(1985, 2, 13), DAY)
    assert ("old_card" in [paper.item for paper in needed]) == old_card


# -- fees ---------------------------------------------------------------------------------------------


def test_the_fee_is_the_one_of_the_day_of_acceptance() -> None:
    town = city()
    with town.db.write() as tx:
        assert fees.price(tx, Kind.NEW, DAY) == 2_000
        with pytest.raises(NotAllowed, match="E-SOD"):
            fees.set_price(tx, Kind.NEW, 1_000, DAY, "doc 7", OFFICE, OFFICE)
        with pytest.raises(Rejected, match="E-FEE"):
            fees.set_price(tx, Kind.NEW, 1_000, DAY, "", OFFICE, REVIEWER)
        fees.set_price(tx, Kind.NEW, 1_000, date(2007, 5, 9), "doc 7", OFFICE, REVIEWER)
        assert [fees.price(tx, Kind.NEW, date(2007, 5, day)) for day in (8, 9)] == [2_000, 1_000]
        assert fees.price(tx, Kind.RENEW, DAY) == 2_000
        acc_no = town.apply(tx, 0)
        assert applications.by_number(tx, acc_no).fee_fen == 2_000
        assert fees.refund(tx, town.clock, acc_no, "test", "clerk") == 2_000
        assert fees.refund(tx, town.clock, acc_no, "test", "clerk") == 0
        assert fees.balance(tx) == (2_000, 2_000)


# -- watchdog -----------------------------------------------------------------------------------------


def test_a_step_that_waits_too_long_is_escalated_once_with_the_missing_answer() -> None:
    town = city()
    with town.db.write() as tx:
        acc_no = town.apply(tx, 0)  # Tuesday 8 May; three working days end on Friday the 11th
        town.go_to(date(2007, 5, 11))
        assert watchdog.scan(tx, town.clock).escalated == 0
        town.go_to(date(2007, 5, 14))
        assert watchdog.scan(tx, town.clock).escalated == 1
        assert watchdog.scan(tx, town.clock).escalated == 0
        (item,) = watchdog.work_queue(tx)
        assert (item.acc_no, item.missing) == (acc_no, "answer of labour, rental")
        applications.verify(tx, town.clock, acc_no)
        assert watchdog.work_queue(tx) == []
        town.go_to(date(2007, 5, 17))
        assert watchdog.scan(tx, town.clock).escalated == 1
        assert watchdog.work_queue(tx)[0].missing == "decision of a reviewer"


def test_a_draft_lives_thirty_days() -> None:
    town = city()
    with town.db.write() as tx:
        acc_no = town.apply(tx, 0)
        applications.withdraw(tx, town.clock, applications.by_number(tx, acc_no).id, CLERK)
        person = applications.by_number(tx, acc_no).person_id
        draft = applications.Draft(person, Basis.EMPLOYMENT, town.homes[0], "001")
        tracking = applications.save(tx, town.clock, draft, CLERK)
        town.clock.advance(timedelta(days=30))
        assert watchdog.scan(tx, town.clock).dropped == 0
        town.clock.advance(timedelta(seconds=1))
        assert watchdog.scan(tx, town.clock).dropped == 1
        assert applications.get(tx, tracking).state == State.WITHDRAWN


def test_working_days_leave_the_weekend_out() -> None:
    assert working_days(date(2007, 5, 11), date(2007, 5, 14)) == 1
    assert working_days(DAY, DAY) == 0


# -- privacy ------------------------------------------------------------------------------------------


def looked_at() -> tuple:
    town = city()
    with town.db.write() as tx:
        permit_no, _ = town.hold_permit(tx, 0, SINCE)
    return town, permit_no


def test_a_record_is_masked_and_the_holder_sees_who_looked() -> None:
    town, permit_no = looked_at()
    person = town.people[0]
    with town.db.write() as tx:
        view = access.look_up(tx, town.clock, STATION, Purpose.LOSS, "case 1", permit_no)
        assert person.name not in (view.name, repr(view))
        assert person.citizen_id not in (view.citizen_id, repr(view))
        assert (view.birth, view.status) == (None, "ACTIVE")
        town.clock.advance(timedelta(minutes=5))
        full = access.look_up(
            tx, town.clock, CLERK, Purpose.LOSS, "case 1", person.citizen_id, full=True
        )
        assert (full.name, full.citizen_id) == (person.name, person.citizen_id)
        person_id = permits.get(tx, permit_no).person_id
        holder = Actor.of(person_id, Role.HOLDER)
        log = access.my_access_log(tx, holder, person_id)
        assert [(look.role, look.purpose, look.full) for look in log] == [
            ("police_clerk", "LOSS", True), ("station_clerk", "LOSS", False),
        ]  # fmt: skip
        other = Actor.of("other", Role.HOLDER)
        with pytest.raises(NotAllowed, match="E-PURPOSE"):
            access.my_access_log(tx, other, person_id)
        own = access.look_up(
            tx, town.clock, holder, Purpose.OWN_RECORD, "own", permit_no, full=True
        )
        assert own.name == person.name
        with pytest.raises(NotAllowed, match="E-OWN"):
            access.look_up(tx, town.clock, other, Purpose.OWN_RECORD, "own", permit_no)


@pytest.mark.parametrize(
    ("actor", "purpose", "full"),
    [
        (TERMINAL, Purpose.LOSS, False),
        (CLERK, Purpose.AUDIT, False),
        (REVIEWER, Purpose.HAND_OVER, False),
        (STATION, Purpose.LOSS, True),
        (AUDITOR, Purpose.AUDIT, True),
        (OFFICE, Purpose.REVIEW, False),
    ],
)
def test_a_role_looks_for_its_own_purposes_only(actor: Actor, purpose: Purpose, full: bool) -> None:
    town, permit_no = looked_at()
    with town.db.write() as tx, pytest.raises(NotAllowed, match="E-PURPOSE"):
        access.look_up(tx, town.clock, actor, purpose, "case 1", permit_no, full)


def test_nobody_browses_by_name_or_without_a_case() -> None:
    town, permit_no = looked_at()
    with town.db.write() as tx:
        with pytest.raises(Rejected, match="E-NUMBER"):
            access.look_up(tx, town.clock, CLERK, Purpose.LOSS, "c", town.people[0].name)
        with pytest.raises(Rejected, match="E-CASE-NO"):
            access.look_up(tx, town.clock, CLERK, Purpose.LOSS, " ", permit_no)
        with pytest.raises(NotFound, match="E-PERSON"):
            access.look_up(tx, town.clock, CLERK, Purpose.LOSS, "c", town.people[2].citizen_id)


def test_no_event_carries_a_name_or_a_full_number() -> None:
    town, permit_no = looked_at()
    with town.db.write() as tx:
        access.look_up(tx, town.clock, CLERK, Purpose.LOSS, "case 1", permit_no, full=True)
        texts = " ".join(f"{e.subject} {e.data} {e.actor}" for e in events.after(tx, 0))
        for person in town.people:
            assert person.name not in texts
            assert person.citizen_id not in texts


# -- what if, lag ---------------------------------------------------------------------------------------


def versions(*facts_: Fact, known: date = SINCE) -> list[whatif.Version]:
    return [whatif.Version(f"r{n}", known, None, False, fact) for n, fact in enumerate(facts_)]


def test_t28_policy_what_if_for_grace_0_3_7_15_30() -> None:
    """A gap of ten days between two jobs, both reported in time: who sleeps under which grace?"""
    home = Fact(facts.DWELLING, SINCE)
    first = whatif.Version("a", june(12), None, False, Fact(Basis.EMPLOYMENT, SINCE, june(10)))
    before = whatif.Version("a", SINCE, june(12), False, Fact(Basis.EMPLOYMENT, SINCE))
    second = whatif.Version("b", june(22), None, False, Fact(Basis.EMPLOYMENT, june(21)))
    history = [*versions(home), before, first, second]
    slept = {
        grace: [
            (spell.server_from.day, spell.server_to.day, spell.outcome)
            for spell in whatif.replay(
                history, PermitType.RP, DAY, date(2007, 7, 15), whatif.with_grace(grace)
            )
            if spell.server_to is not None
        ]
        for grace in whatif.GRACES
    }
    assert slept == {
        0: [(15, 22, "ENDED")],  # never before three days of notice
        3: [(15, 22, "ENDED")],
        7: [(18, 22, "ENDED")],
        15: [],
        30: [],
    }


def test_the_replay_under_the_rule_in_force_is_what_happened() -> None:
    story = Story()
    story.on(june(12), story.end)
    story.on(june(20), story.hire(june(15)))
    story.on(june(25))
    with story.town.db.read() as tx:
        by_grace = {line.grace: line for line in whatif.compare(tx, june(25))}
    assert (by_grace[7].slept, by_grace[7].voided, by_grace[7].flickers) == (1, 1, 1)
    assert by_grace[7].voided_share_bp == 10_000
    assert by_grace[15].slept == 0
    assert [(s.server_from, s.server_to) for s in story.spells()] == [(june(18), june(20))]


def test_the_lag_of_a_chip_counts_from_the_first_event_it_does_not_know() -> None:
    story = Story()
    town = story.town
    with town.db.write() as tx:
        card = tx.query(permits.CardRow).one()
        card.chip_ssn = permits.get(tx, story.permit_no).ssn
        tx.flush()
        assert lag.chip_lag(tx, town.clock) == lag.Lag(1, 0, timedelta(0), timedelta(0))
        permits.add_hold(tx, town.clock, story.permit_no, Hold.EMP, permits.Cause("t", "e"))
        town.clock.advance(timedelta(hours=5))
        permits.clear_hold(tx, town.clock, story.permit_no, Hold.EMP, permits.Cause("t", "e"))
        town.clock.advance(timedelta(hours=1))
        shown = lag.chip_lag(tx, town.clock)
        assert (shown.lagging, shown.p50, shown.p95) == (1, timedelta(hours=6), timedelta(hours=6))
