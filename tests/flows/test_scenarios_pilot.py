"""T26, T27 and the pilot's own management: stages, duties, issues, opinions, values, workflow versions."""

from datetime import UTC, date, datetime, timedelta

import pytest

from core import events
from core.clock import FixedClock
from core.db import Database
from core.errors import NotAllowed, NotFound, Rejected
from registry.parameters import PILOT
from registry.pilot import issues, opinions, parameters, stages, tasks, workflow
from registry.pilot.issues import Cause, Source, System
from registry.pilot.opinions import ChannelOfOpinion
from registry.pilot.stages import Activity
from registry.points import launch
from registry.points.places import all_points
from registry.residence.domain import State
from registry.roles import Actor, Role
from tests.flows.test_scenarios_points import make_ready
from tests.registry_bench import CLERK, OFFICE, REVIEWER, city
from tests.registry_desk import SERIAL, Desk23, pin_entry

QC = Actor.of("qc Ding", Role.CARD_QC)
APRIL = datetime(2007, 4, 20, 1, tzinfo=UTC)


def test_t26_opening_waits_for_the_stage_and_for_all_23(db: Database) -> None:
    clock = FixedClock(APRIL)
    codes = [point.code for point in all_points()]
    for code in codes[:22]:
        make_ready(db, clock, code)
    with db.write() as tx, pytest.raises(Rejected, match="E-STAGE"):
        launch.open_points(tx, clock, OFFICE)
    clock.advance(timedelta(days=11))  # the first of May
    with db.write() as tx:
        with pytest.raises(Rejected, match="E-POINTS") as refused:
            launch.open_points(tx, clock, OFFICE)
        assert refused.value.facts["ready"] == 22
        assert not launch.is_open(tx)
    make_ready(db, clock, codes[22])
    with db.write() as tx:
        with pytest.raises(NotAllowed, match="E-ROLE"):
            launch.open_points(tx, clock, CLERK)
        for _ in range(2):
            launch.open_points(tx, clock, OFFICE)
    with db.read() as tx:
        assert launch.is_open(tx)
        assert len(events.after(tx, 0, kinds_wanted=["pilot.opened"])) == 1


@pytest.mark.parametrize(
    ("day", "name"),
    [
        (date(2007, 2, 28), None),
        (date(2007, 3, 1), "PREPARATION"),
        (date(2007, 4, 30), "PREPARATION"),
        (date(2007, 5, 1), "PILOT"),
        (date(2007, 9, 15), "PILOT"),
        (date(2007, 9, 16), "SUMMARY"),
        (date(2007, 9, 30), "SUMMARY"),
        (date(2007, 10, 1), None),
    ],
)
def test_the_stage_of_a_day(day: date, name: str | None) -> None:
    found = stages.stage_on(day)
    assert (found.name if found else None) == name


def test_a_stage_allows_what_its_table_says() -> None:
    clock = FixedClock(APRIL)
    stages.require_allowed(clock, Activity.TRAIN)
    for refused in (Activity.ACCEPT, Activity.LAUNCH, Activity.SUMMARISE):
        with pytest.raises(Rejected, match="E-STAGE"):
            stages.require_allowed(clock, refused)
    clock.advance(timedelta(days=160))
    assert stages.require_allowed(clock, Activity.SUMMARISE).name == "SUMMARY"
    with pytest.raises(Rejected, match="E-STAGE"):
        stages.require_allowed(clock, Activity.LAUNCH)


def test_stages_that_overlap_are_refused() -> None:
    text = '[A]\nzh="a"\nfirst=2007-01-01\nlast=2007-02-01\nallows=[]\n'
    with pytest.raises(ValueError, match="overlap"):
        stages.parse(text + text.replace("[A]", "[B]"))
    with pytest.raises(ValueError, match="ends before"):
        stages.parse(text.replace("2007-02-01", "2006-02-01"))


def test_the_board_holds_all_sixty_duties_with_owner_and_deadline(db: Database) -> None:
    with db.write() as tx:
        assert (tasks.load(tx), tasks.load(tx)) == (60, 0)
    assert [duty.id for duty in tasks.duties()] == [f"SD-{n:02d}" for n in range(1, 61)]
    assert {duty.owner for duty in tasks.duties()} >= {"POLICE", "LABOUR", "RENTAL_OFFICE"}


def test_an_overdue_duty_climbs_once_and_a_done_one_never(db: Database) -> None:
    clock = FixedClock(APRIL)
    with db.write() as tx:
        tasks.load(tx)
        assert tasks.escalate(tx, clock) == []
        with pytest.raises(Rejected, match="E-EVIDENCE"):
            tasks.finish(tx, clock, "SD-13", " ", OFFICE)
        with pytest.raises(Rejected, match="E-TASK"):
            tasks.finish(tx, clock, "SD-61", "x", OFFICE)
        with pytest.raises(NotAllowed, match="E-ROLE"):
            tasks.finish(tx, clock, "SD-13", "x", CLERK)
        for _ in range(2):
            tasks.finish(tx, clock, "SD-13", "four feeds connected", OFFICE)
        clock.advance(timedelta(days=11))
        due = {one.id for one in tasks.duties() if one.deadline < date(2007, 5, 1)}
        assert set(tasks.escalate(tx, clock)) == due - {"SD-13"}
        assert tasks.escalate(tx, clock) == []
    with db.read() as tx:
        assert len(events.after(tx, 0, kinds_wanted=["pilot.task_done"])) == 1


def test_twenty_planted_faults_each_get_class_fix_and_retest(db: Database) -> None:
    clock = FixedClock(APRIL)
    causes = list(Cause)
    with db.write() as tx:
        planted = [
            issues.raise_issue(
                tx, clock, list(Source)[n % 4], list(System)[n % 6], 1 + n % 4, f"fault {n}"
            )
            for n in range(20)
        ]
        assert [row.severity for row in issues.open_issues(tx)] == [1] * 5 + [2] * 5 + [3] * 5 + [
            4
        ] * 5
        assert len(issues.open_issues(tx, grave_only=True)) == 10
        assert issues.median_open(tx) is None
        for n, issue in enumerate(planted):
            with pytest.raises(Rejected, match="E-ISSUE"):
                issues.retest(tx, clock, issue, passed=True)  # nothing was fixed yet
            clock.advance(timedelta(hours=1))
            issues.fix(tx, clock, issue, causes[n % 3], f"1.{n}")
        issues.retest(tx, clock, planted[0], passed=False)
        assert planted[0] in {row.id for row in issues.open_issues(tx)}
        issues.fix(tx, clock, planted[0], Cause.RULE, "2.0")
        for issue in planted:
            issues.retest(tx, clock, issue, passed=True)
        with pytest.raises(Rejected, match="E-ISSUE"):
            issues.fix(tx, clock, planted[0], Cause.RULE, "3.0")  # closed
        assert issues.open_issues(tx) == []
        assert issues.by_cause(tx) == {"TECHNIQUE": 6, "WORKFLOW": 7, "RULE": 7}
        assert issues.median_open(tx) == timedelta(hours=20)


@pytest.mark.parametrize(
    "text",
    [
        "my number is 994300198502130012",
        "call 100 1234 5678",
        "id 99430019850213001X please",
        "电话：10012345678",
        "電話 １００１２３４５６７８",
    ],
)
def test_an_opinion_with_a_persons_number_is_refused(db: Database, text: str) -> None:
    with db.write() as tx, pytest.raises(Rejected, match="E-PERSONAL"):
        opinions.give(tx, FixedClock(APRIL), ChannelOfOpinion.HEARING, "notice", text)


def test_opinions_are_linked_to_a_rule_and_exported_without_persons(db: Database) -> None:
    clock = FixedClock(APRIL)
    with db.write() as tx:
        with pytest.raises(Rejected, match="E-PARAMETER"):
            opinions.give(tx, clock, ChannelOfOpinion.ONLINE, "weather", "too hot")
        said = opinions.give(
            tx, clock, ChannelOfOpinion.HEARING, "grace_employment", "7 days are short, make it 15"
        )
        with pytest.raises(NotAllowed, match="E-ROLE"):
            opinions.dispose(tx, said, "into the what-if", CLERK)
        with pytest.raises(NotFound, match="E-OPINION"):
            opinions.dispose(tx, "no such id", "into the what-if", OFFICE)
        opinions.dispose(tx, said, "into the what-if", OFFICE)
        table = opinions.export(tx)
    assert table.splitlines() == [
        "rule,channel,given_on,statement,disposition",
        'grace_employment,HEARING,2007-04-20,"7 days are short, make it 15",into the what-if',
    ]


def test_a_value_counts_when_two_people_approved_it_and_its_day_came(db: Database) -> None:
    clock, first = FixedClock(APRIL), date(2007, 6, 1)
    with db.write() as tx:
        change = parameters.propose(tx, clock, "grace_employment", 15, first, "paper 12", OFFICE)
        hours = parameters.propose(tx, clock, "list_max_age", 24, first, "paper 13", OFFICE)
        with pytest.raises(NotAllowed, match="E-UNAPPROVED"):
            parameters.require_approved(tx, change)
        assert parameters.policy_on(tx, first) == PILOT
        with pytest.raises(NotAllowed, match="E-SOD"):
            parameters.approve(tx, clock, change, OFFICE)
        with pytest.raises(NotAllowed, match="E-ROLE"):
            parameters.approve(tx, clock, change, CLERK)
        for one in (change, hours, hours):
            parameters.approve(tx, clock, one, REVIEWER)
        before = parameters.policy_on(tx, first - timedelta(days=1))
        after = parameters.policy_on(tx, first)
    assert before == PILOT
    assert (after.grace_employment, after.list_max_age) == (15, timedelta(hours=24))
    assert after.version == PILOT.version + 2


@pytest.mark.parametrize(
    ("name", "value", "document"),
    [("weather", 1, "p"), ("notice", -1, "p"), ("notice", 1, " "), ("version", 9, "p")],
)
def test_a_value_without_name_or_paper_is_refused(
    db: Database, name: str, value: int, document: str
) -> None:
    with db.write() as tx, pytest.raises(Rejected, match="E-PARAMETER"):
        parameters.propose(tx, FixedClock(APRIL), name, value, date(2007, 6, 1), document, OFFICE)


def test_every_parameter_has_its_rule_text_in_the_export(db: Database) -> None:
    with db.read() as tx:
        exported = parameters.rule_export(tx, APRIL.date())
    assert all(row["rule"] and row["page"] and row["value"] for row in exported)
    by_name = {row["parameter"]: row["value"] for row in exported}
    assert (by_name["fee_new_fen"], by_name["notice"]) == ("2000", "3")


def test_old_cases_finish_on_the_old_workflow_version() -> None:
    town = city(date(2007, 5, 8))
    with town.db.write() as tx:
        old = town.apply(tx, 0)
        shorter = {State.ACCEPTED: 1, State.VERIFYING: 1}
        with pytest.raises(Rejected, match="E-WORKFLOW"):
            workflow.enact(tx, town.clock, shorter, town.today, "w", OFFICE, REVIEWER)
        with pytest.raises(Rejected, match="E-WORKFLOW"):
            workflow.enact(
                tx, town.clock, {State.CLOSED: 1}, date(2007, 5, 9), "w", OFFICE, REVIEWER
            )
        with pytest.raises(NotAllowed, match="E-SOD"):
            workflow.enact(tx, town.clock, shorter, date(2007, 5, 9), "w", OFFICE, OFFICE)
        made = workflow.enact(
            tx, town.clock, shorter, date(2007, 5, 9), "workshop of May", OFFICE, REVIEWER
        )
        town.go_to(date(2007, 5, 9))
        new = town.apply(tx, 1)
        # Wednesday to Friday: two working days, too long for the new case, not for the old one
        assert workflow.overdue(tx, date(2007, 5, 11)) == [(new, State.ACCEPTED, made)]
        late = workflow.overdue(tx, date(2007, 5, 14))
    assert [(acc, version) for acc, _, version in late] == [(old, 1), (new, 2)]


def test_t27_launch_cards_are_reserved_inspected_and_handed_over_by_list() -> None:
    desk = Desk23()
    clock = desk.town.clock
    with desk.town.db.write() as tx:
        assert launch.reserve(tx, clock, "first-day", [SERIAL], OFFICE) == 1
        with pytest.raises(Rejected, match="E-LAUNCH"):
            launch.reserve(tx, clock, "first-day", [SERIAL], OFFICE)
        with pytest.raises(Rejected, match="E-LAUNCH"):
            launch.hand_over(tx, clock, SERIAL, CLERK)  # nobody looked at it
        launch.inspect(tx, SERIAL, True, QC)
        with pytest.raises(Rejected, match="E-LAUNCH"):
            launch.hand_over(tx, clock, SERIAL, CLERK)  # in the safe, not activated
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    with desk.town.db.write() as tx:
        both = Actor.of(QC.name, Role.POLICE_CLERK)
        with pytest.raises(NotAllowed, match="E-SOD"):
            launch.hand_over(tx, clock, SERIAL, both)
        launch.hand_over(tx, clock, SERIAL, CLERK)
        with pytest.raises(Rejected, match="E-LAUNCH"):
            launch.hand_over(tx, clock, SERIAL, CLERK)
        assert launch.launch_list(tx, "first-day") == [(1, SERIAL, True, True)]
        with pytest.raises(Rejected, match="E-LAUNCH"):
            launch.reserve(tx, clock, "second-day", [SERIAL], OFFICE)  # somebody has it


def test_t27_a_bad_card_leaves_the_list_and_no_launch_before_the_stage() -> None:
    desk = Desk23()
    with desk.town.db.write() as tx:
        with pytest.raises(Rejected, match="E-STAGE"):
            launch.reserve(tx, FixedClock(APRIL), "first-day", [SERIAL], OFFICE)
        launch.reserve(tx, desk.town.clock, "first-day", [SERIAL], OFFICE)
        launch.inspect(tx, SERIAL, False, QC)
        assert launch.launch_list(tx, "first-day") == []


def test_t26_nothing_is_accepted_before_the_opening() -> None:
    """The gate stands in the acceptance itself: stage, then the points; afterwards the whole city accepts."""
    town = city(APRIL.date())
    with pytest.raises(Rejected, match="E-STAGE"), town.db.write() as tx:
        town.apply(tx, 0)
    town.go_to(date(2007, 5, 2))
    with pytest.raises(Rejected, match="E-POINTS-SHUT"), town.db.write() as tx:
        town.apply(tx, 0)
    for point in all_points():
        make_ready(town.db, town.clock, point.code)
    with town.db.write() as tx:
        launch.open_points(tx, town.clock, OFFICE)
        assert town.apply(tx, 0).startswith("001")
    town.go_to(date(2008, 3, 1))
    with town.db.write() as tx:
        assert town.apply(tx, 1).startswith("001")
