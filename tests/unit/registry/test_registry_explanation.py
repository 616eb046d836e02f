"""The duty to explain, objections, shelters, and what follows a long sleep (residence.md 6.3, 6.8)."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from cli.permit import app
from core import events
from core.clock import FixedClock
from core.errors import NotAllowed, Rejected
from registry import repeats
from registry.dormancy import engine, explanation, objections
from registry.dormancy.tables import CancellationCaseRow, SpellRow
from registry.employment import service as employment
from registry.residence import facts, permits
from registry.residence.domain import Basis, ChipStatus, Hold
from registry.residence.tables import FactRow
from registry.roles import Actor, Role
from runtime.services import build
from runtime.settings import Settings
from tests.registry_bench import CLERK, REVIEWER, holder_of
from tests.registry_story import LAST_DAY, Story, june


def explained(story: Story) -> explanation.Explanation:
    with story.town.db.read() as tx:
        return explanation.explain(tx, story.permit_no, story.town.today)


def test_an_active_permit_needs_one_sentence() -> None:
    told = explained(Story())
    assert told.status == "ACTIVE"
    assert told.sentences() == ["The permit is active."]
    assert told.sentences("zh") == ["居住证有效。"]


def test_a_watched_permit_hears_dates_facts_and_what_to_do() -> None:
    story = Story()
    story.on(june(12), story.end)
    told = explained(story)
    assert told.status == "WATCH"
    (lack,) = told.missing
    assert (lack.gap.gap_start, lack.gap.due, lack.sent_on) == (june(11), june(18), june(12))
    assert [fact.end for fact in lack.looked_at] == [LAST_DAY]
    text = " ".join(told.sentences())
    for part in ("2007-06-11", "2007-06-12", "2007-06-18", "employer", "until 2007-06-22"):
        assert part in text
    assert told.as_json()["missing"][0]["effective"] == "2007-06-18"


def test_a_sleeper_hears_how_to_wake() -> None:
    story = Story()
    story.on(june(12), story.end)
    story.on(june(18))
    told = explained(story)
    assert told.status == "DORMANT"
    assert told.because[0][2] == "DORMANT"
    assert "wakes the card" in told.sentences()[-1]
    assert "激活" in told.sentences("zh")[-1]


@pytest.mark.parametrize("hold", [Hold.LOSS, Hold.EXPIRED, Hold.ADMIN, Hold.CANCELLED])
def test_every_hold_says_what_to_do(hold: Hold) -> None:
    story = Story()
    with story.town.db.write() as tx:
        permits.add_hold(tx, story.town.clock, story.permit_no, hold, permits.Cause("t", "e"))
    told = explained(story)
    assert told.status == hold
    assert len(told.sentences()) == len(told.sentences("zh")) == 2


def test_an_objection_postpones_the_sleep_once() -> None:
    """Filed on Thursday 14 June, to be decided within five working days: 21 June."""
    story = Story()
    town = story.town
    story.on(june(12), story.end)
    story.on(june(14))
    with town.db.write() as tx:
        with pytest.raises(NotAllowed, match="E-OWN"):
            stranger = Actor.of("somebody", Role.HOLDER)
            objections.file_objection(tx, town.clock, story.permit_no, Hold.EMP, stranger, "why?")
        first = objections.file_objection(
            tx,
            town.clock,
            story.permit_no,
            Hold.EMP,
            holder_of(tx, story.permit_no),
            "I still work there",
        )
        again = objections.file_objection(
            tx, town.clock, story.permit_no, Hold.EMP, holder_of(tx, story.permit_no), "again"
        )
    assert first == again
    assert story.on(june(21)) == "WATCH"
    assert "until 2007-06-21" in " ".join(explained(story).sentences())
    assert story.on(june(22)) == "DORMANT"


def test_a_dismissed_objection_ends_the_delay() -> None:
    story = Story()
    town = story.town
    story.on(june(12), story.end)
    story.on(june(17))
    with town.db.write() as tx:
        objection = objections.file_objection(
            tx, town.clock, story.permit_no, Hold.EMP, holder_of(tx, story.permit_no), "no"
        )
        with pytest.raises(NotAllowed, match="E-ROLE"):
            objections.decide_objection(tx, town.clock, objection, CLERK, False)
    assert story.on(june(18)) == "WATCH"
    with town.db.write() as tx:
        objections.decide_objection(tx, town.clock, objection, REVIEWER, False)
        objections.decide_objection(tx, town.clock, objection, REVIEWER, False)
        with pytest.raises(Rejected, match="E-DECIDED"):
            objections.decide_objection(tx, town.clock, objection, REVIEWER, True)
    assert story.on(june(19)) == "DORMANT"


def test_after_ten_days_it_is_too_late_to_object() -> None:
    story = Story()
    town = story.town
    with town.db.write() as tx, pytest.raises(Rejected, match="E-NO-GAP"):
        objections.file_objection(
            tx, town.clock, story.permit_no, Hold.EMP, holder_of(tx, story.permit_no), "why"
        )
    story.on(june(12), story.end)
    story.on(june(23))
    with town.db.write() as tx, pytest.raises(Rejected, match="E-OBJECTION-LATE"):
        objections.file_objection(
            tx, town.clock, story.permit_no, Hold.EMP, holder_of(tx, story.permit_no), "late"
        )


def test_a_dispute_keeps_the_permit_awake_until_its_end() -> None:
    story = Story()
    town = story.town
    story.on(june(12), story.end)
    with town.db.write() as tx:
        for until, code in ((june(11), "E-DATE-ORDER"), (date(2008, 6, 1), "E-DATE-FUTURE")):
            with pytest.raises(Rejected, match=code):
                objections.shelter(
                    tx, town.clock, story.permit_no, Hold.EMP, objections.DISPUTE, until,
                    REVIEWER, "case 7",
                )  # fmt: skip
        objections.shelter(
            tx, town.clock, story.permit_no, Hold.EMP, objections.DISPUTE, june(25), REVIEWER,
            "arbitration case 7",
        )  # fmt: skip
    assert story.on(june(25)) == "WATCH"
    assert story.on(june(26)) == "DORMANT"


def test_twenty_four_months_asleep_open_a_case_once() -> None:
    story = Story()
    town = story.town
    story.on(june(12), story.end)
    story.on(june(18))
    town.go_to(date(2009, 6, 17))
    assert town.sweep().proposed == 0
    town.go_to(date(2009, 6, 18))
    assert town.sweep().proposed == 1
    assert town.sweep().proposed == 0
    with town.db.read() as tx:
        (case,) = tx.query(CancellationCaseRow).all()
        assert (case.kind, case.trigger) == ("DORMANT", "2007-06-18")
    assert story.status() == "DORMANT"  # a case is for people; the engine cancels nobody


def test_a_death_reported_before_the_person_is_known_is_not_lost() -> None:
    """The message that ends the job comes before the one that links the person: ADMIN all the same."""
    story = Story()
    end = lambda tx: employment.end(tx, story.town.clock, story.job, LAST_DAY, "06")  # noqa: E731
    assert story.on(june(12), end) == "ADMIN"
    with story.town.db.write() as tx:
        cause = permits.Cause(REVIEWER.name, "the report was wrong")
        permits.clear_hold(tx, story.town.clock, story.permit_no, Hold.ADMIN, cause)
        engine.reconsider(tx, story.town.clock, story.permit_no)
        assert Hold.ADMIN not in permits.holds(tx, story.permit_no)  # one report, one case


def test_a_past_sleep_is_judged_again_when_facts_are_corrected() -> None:
    """Case C, then the second employer says the job began on 12 June after all: the spell is void."""
    story = Story()
    town = story.town
    story.on(june(12), story.end)
    story.on(june(26), story.hire(june(25)))
    assert (story.spells()[0].outcome, story.spells()[0].not_counted) == ("ENDED", 7)
    story.on(june(28), story.hire_at(2, june(12)))
    (spell,) = story.spells()
    assert (spell.outcome, spell.not_counted, spell.fact_to) == ("VOIDED", 0, june(12))
    with town.db.read() as tx:
        (event,) = events.after(tx, 0, kinds_wanted=["permit.spell_rejudged"])
        assert event.data["outcome"] == "VOIDED"


def test_a_short_job_reported_late_moves_the_sleep() -> None:
    """12 to 14 June was worked: the verdict is WATCH again, and the sleep is due on 22 June."""
    story = Story()
    story.on(june(12), story.end)
    assert story.on(june(18)) == "DORMANT"

    def short_job(tx) -> None:
        story.hire_at(1, june(12))(tx)
        record = tx.query(employment.EmploymentRow).filter_by(start=june(12)).one()
        employment.end(tx, story.town.clock, record.id, june(14), "01")

    assert story.on(june(19), short_job) == "WATCH"
    assert story.on(june(21)) == "WATCH"
    assert story.on(june(22)) == "DORMANT"
    assert story.on(june(26), story.hire_at(2, june(25))) == "ACTIVE"
    dates = [(s.server_from, s.server_to, s.fact_to, s.not_counted) for s in story.spells()]
    assert dates == [
        (june(18), june(19), june(25), 1), (june(22), june(26), june(25), 3),
    ]  # fmt: skip


def test_who_depends_on_a_sleeper_follows_after_a_notice_of_its_own() -> None:
    story = Story()
    town = story.town
    with town.db.write() as tx:
        spouse, _ = town.hold_permit(tx, 1, date(2007, 4, 2))
        person = permits.get(tx, spouse).person_id
        row = tx.get_one(engine.PersonRow, person)
        record = facts.add_ground(
            tx, town.clock, row, Basis.DEPENDANT, date(2007, 4, 2), origin=story.permit_no
        )
        job = tx.query(FactRow).filter_by(kind="EMPLOYMENT").order_by(FactRow.known_at).all()[-1]
        employment.end(tx, town.clock, job.record, june(1), "01")
        town.deliver(tx)
    story.on(june(12), story.end)
    story.on(june(18))
    with town.db.read() as tx:
        assert permits.get(tx, spouse).status == ChipStatus.PENDING
        assert not permits.holds(tx, spouse)
    story.on(june(25))
    with town.db.read() as tx:
        assert permits.holds(tx, spouse) == {Hold.EMP}
        (spell,) = tx.query(SpellRow).filter_by(permit_no=spouse).all()
        assert spell.gap_start == june(18)
        assert record


def test_every_version_of_a_fact_is_kept_with_the_time_it_was_believed() -> None:
    story = Story()
    story.on(june(12), story.end)
    take_back = lambda tx: employment.withdraw_end(tx, story.town.clock, story.job)  # noqa: E731
    story.on(june(14), take_back)
    with story.town.db.read() as tx:
        versions = tx.query(FactRow).filter_by(record=story.job).order_by(FactRow.seq).all()
        tx.expunge_all()
    assert [row.end for row in versions] == [None, LAST_DAY, None]
    assert versions[0].superseded_at == versions[1].known_at
    assert versions[1].superseded_at == versions[2].known_at
    assert versions[2].superseded_at is None


def test_the_command_explains_in_both_forms(tmp_path: Path) -> None:
    services = build(Settings(data=tmp_path))
    story = Story(services.db)
    story.on(june(12), story.end)
    services.close()

    runner, folder = CliRunner(), ["--data", str(tmp_path)]
    answer = runner.invoke(
        app, ["explain", story.permit_no, "--day", "2007-06-13", "--json", *folder]
    )
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert (told["status"], told["missing"][0]["cause"]) == ("WATCH", "EMP")
    wrong = runner.invoke(app, ["explain", "440308070000000155", *folder])
    assert isinstance(wrong.exception, Rejected)
    listed = json.loads(runner.invoke(app, ["list", "--json", *folder]).stdout)
    assert [entry["permit_no"] for entry in listed["permits"]] == [story.permit_no]


def test_the_sweep_and_the_what_if_from_the_command_line(tmp_path: Path) -> None:
    services = build(Settings(data=tmp_path))
    story = Story(services.db)
    story.on(june(12), story.end)
    story.on(june(18))
    services.close()
    runner, folder = CliRunner(), ["--data", str(tmp_path)]
    table = json.loads(
        runner.invoke(app, ["whatif", "--day", "2007-06-20", "--json", *folder]).stdout
    )["table"]
    assert {line["grace"]: line["slept"] for line in table} == {0: 1, 3: 1, 7: 1, 15: 0, 30: 0}
    swept = json.loads(runner.invoke(app, ["sweep", "--json", *folder]).stdout)
    assert (swept["looked_at"], swept["slept"]) == (1, 0)
    assert swept["silent_feeds"] == ["employment", "rental"]  # nobody spoke since 2007


def test_the_night_looks_for_what_waits_and_forgets_answers_after_a_week(tmp_path: Path) -> None:
    services = build(Settings(data=tmp_path))
    now = services.clock.now()
    with services.db.write() as tx:
        for key, days in (("of-last-week", 8), ("of-yesterday", 1)):
            said = repeats.once(
                tx, FixedClock(now - timedelta(days=days)), "clerk", key, b"asked", lambda _tx: "{}"
            )
            assert said == "{}"
    services.close()
    runner, folder = CliRunner(), ["--data", str(tmp_path)]
    swept = json.loads(runner.invoke(app, ["sweep", "--json", *folder]).stdout)
    assert (swept["overdue"], swept["drafts_dropped"]) == (0, 0)
    services = build(Settings(data=tmp_path))
    with services.db.read() as tx:
        assert tx.scalars(select(repeats.RepeatRow.key)).all() == ["of-yesterday"]
    services.close()
