"""T23: the summary report is a pure function of a frozen snapshot; one changed fact changes its own cells alone."""

from datetime import UTC, date, datetime, timedelta

import pytest

from core import events
from core.clock import FixedClock, business_date
from core.errors import EvidenceMismatch, NotAllowed, Rejected
from registry.indicators import values
from registry.indicators.statistics import Method
from registry.indicators.values import value
from registry.pilot import issues, parameters, rollout, summary, summary_text
from registry.pilot.issues import Source, System
from registry.pilot.purse_result import PurseFigures, go_no_go
from registry.pilot.works_result import ProductionFigures, Works
from registry.residence import applications, burden
from tests.registry_bench import CLERK, OFFICE, REVIEWER, City, city

AS_OF = date(2007, 9, 20)
GOOD = PurseFigures(purchases=5_000, refused=60, unexplained=0, difference_fen=0)
Cells = dict[tuple[str, int, str], object]


@pytest.fixture
def town() -> City:
    made = city(date(2007, 5, 8))
    with made.db.write() as tx:
        made.hold_permit(tx, 0, date(2007, 4, 2))
        made.hold_permit(tx, 1, date(2007, 4, 2))
        values.keep(tx, made.clock, value("E1", AS_OF, 80, 100, "a test", Method.CENSUS))
    made.go_to(AS_OF)
    return made


def frozen(town: City) -> summary.Snapshot:
    with town.db.read() as tx:
        return summary.freeze(tx, town.clock, AS_OF, Works(purse=GOOD))


def changed(before: summary.Snapshot, after: summary.Snapshot) -> Cells:
    old, new = summary.cells(before), summary.cells(after)
    return {key: new.get(key) for key in {*old, *new} if old.get(key) != new.get(key)}


def test_t23_the_same_snapshot_gives_the_same_bytes(town: City) -> None:
    first, again = frozen(town), frozen(town)
    assert summary.as_json(first) == summary.as_json(again)
    for lang in ("en", "zh"):
        assert summary_text.markdown(first, lang) == summary_text.markdown(again, lang)
    assert summary.annexes(first) == summary.annexes(again)
    assert len(summary.annexes(first)) == len(summary.TITLES) == 13
    for title in summary.TITLES:
        assert f"## {title}\n" in summary_text.markdown(first)


def test_t23_one_changed_fact_changes_its_own_cells(town: City) -> None:
    before = frozen(town)
    with town.db.write() as tx:
        values.keep(tx, town.clock, value("E1", AS_OF, 79, 100, "a test", Method.CENSUS))
    after = frozen(town)
    title = "2 Indicators"
    assert changed(before, after) == {
        (title, 0, "numerator"): 79,
        (title, 0, "share"): "79.00 %",
        (title, 0, "verdict"): "NOT_MET",
    }
    assert summary.digest(before) != summary.digest(after)


def test_every_indicator_shows_where_it_goes(town: City) -> None:
    with town.db.write() as tx:
        for days, timely in ((14, 90), (7, 96), (0, 93)):
            day = AS_OF - timedelta(days=days)
            values.keep(tx, town.clock, value("R3", day, timely, 101, "a test", Method.CENSUS))
    rows = [row for row in frozen(town)["sections"]["2 Indicators"] if row["indicator"] == "R3"]
    assert [(row["share"], row["trend"]) for row in rows] == [
        ("89.10 %", ""), ("95.04 %", "+5.94"), ("92.07 %", "-2.97"),
    ]  # fmt: skip


def test_t23_an_issue_and_a_value_show_where_they_belong(town: City) -> None:
    before = frozen(town)
    with town.db.write() as tx:
        issues.raise_issue(tx, town.clock, Source.POINT, System.CARD, 2, "the reader is slow")
    after = frozen(town)
    assert {key[0] for key in changed(before, after)} == {
        "3 Trial run of the three systems", "11 Risks and open issues",
    }  # fmt: skip
    week = f"{business_date(town.clock.now()):%G-W%V}"
    assert after["sections"]["3 Trial run of the three systems"][-2:] == [
        {"what": f"issues raised in {week}", "count": 1},
        {"what": f"issues closed in {week}", "count": 0},
    ]
    with town.db.write() as tx:
        change = parameters.propose(tx, town.clock, "fee_new_fen", 1_000, AS_OF, "paper 9", OFFICE)
    assert changed(after, frozen(town)) == {}  # one person alone changes nothing
    with town.db.write() as tx:
        parameters.approve(tx, town.clock, change, REVIEWER)
    third = frozen(town)
    fee = next(
        number
        for number, row in enumerate(third["sections"]["6 Production and fees"])
        if row["what"] == "fee of a card, fen"
    )
    assert changed(after, third) == {
        ("6 Production and fees", fee, "count"): 1_000,
        ("13 Annex", 0, "value"): "2",  # the rules' version
        ("13 Annex", 18, "value"): "1000",
    }


def test_t23_the_digest_stands_in_the_event_log_and_a_changed_copy_is_refused(town: City) -> None:
    report = frozen(town)
    with town.db.write() as tx:
        with pytest.raises(NotAllowed, match="E-ROLE"):
            summary.publish(tx, town.clock, report, CLERK)
        early = FixedClock(datetime(2007, 9, 15, 1, tzinfo=UTC))
        with pytest.raises(Rejected, match="E-STAGE"):
            summary.publish(tx, early, report, OFFICE)
        for _ in range(2):
            said = summary.publish(tx, town.clock, report, OFFICE)
    with town.db.read() as tx:
        (event,) = events.after(tx, 0, kinds_wanted=["pilot.summary_made"])
        assert event.subject == said == summary.digest(report)
        text = summary.as_json(report)
        summary.verify(tx, text)
        with pytest.raises(EvidenceMismatch, match="E-SUMMARY"):
            summary.verify(tx, text.replace('"numerator": 80', '"numerator": 81'))


@pytest.mark.parametrize(
    ("figures", "answer"),
    [
        (GOOD, True),
        (None, False),
        (PurseFigures(999, 0, 0, 0), False),
        (PurseFigures(4_900, 100, 0, 0), True),
        (PurseFigures(4_899, 101, 0, 0), False),
        (PurseFigures(5_000, 60, 1, 0), False),
        (PurseFigures(5_000, 60, 0, -1), False),
    ],
)
def test_go_or_no_go_is_computed(figures: PurseFigures | None, answer: bool) -> None:
    assert all(met for *_, met in go_no_go(figures)) is answer


def test_the_city_plan_reproduces_the_pilots_sizing_and_takes_a_district_as_data() -> None:
    yantian, futian = rollout.plan(rollout.districts())
    assert (yantian.cards_a_day, yantian.machines, yantian.windows) == (2_605, 3, 44)
    assert (futian.district, futian.sourced) == ("440304", False)
    text = '[440305]\nname_zh="南山区"\nname_en="Nanshan"\npeople=100000\n'
    text += "share_percent=50\ndays=50\nsourced=false\n"
    (more,) = rollout.plan(rollout.parse(text))
    assert (more.cards, more.cards_a_day, more.machines, more.fees_fen) == (
        50_000,
        1_000,
        2,
        100_000_000,
    )
    with pytest.raises(ValueError, match="440305"):
        rollout.parse(text.replace("share_percent=50", "share_percent=101"))


def test_production_shows_its_balance_and_its_waste_goes_into_the_plan(town: City) -> None:
    made = ProductionFigures(
        opening=5_000, good=700, spoiled=300, remaining=4_000, difference=0, first_pass=600
    )
    with town.db.read() as tx:
        before = summary.freeze(tx, town.clock, AS_OF, Works(purse=GOOD))
        after = summary.freeze(tx, town.clock, AS_OF, Works(made, GOOD))
    rows = {row["what"]: row["count"] for row in after["sections"]["6 Production and fees"]}
    assert (rows["good"], rows["spoiled"], rows["difference"]) == (700, 300, 0)
    assert rows["fee of a card, fen"] <= rows["cost of a card, fen"]
    plans = [one["sections"]["12 City-wide plan"][1] for one in (before, after)]
    assert [plan["waste"] for plan in plans] == ["1/50 assumed", "3/10 measured"]
    assert plans[1]["machines"] > plans[0]["machines"]


def test_the_report_counts_visits_what_is_typed_again_and_the_backlog() -> None:
    """SD-02: handed in and returned once is two visits; number, name and dwelling were told by other registers."""
    town = city(date(2007, 5, 8))
    with town.db.write() as tx:
        town.live_and_work(tx, 0, date(2007, 4, 2))
        town.deliver(tx)
        acc_no = town.apply(tx, 0)
        applications.verify(tx, town.clock, acc_no)
        applications.send_back(tx, town.clock, acc_no, REVIEWER, "address unclear")
        town.clock.advance(timedelta(days=7))
        applications.resubmit(tx, town.clock, acc_no, CLERK)
        applications.approve(tx, town.clock, acc_no, REVIEWER, note="seen")
        town.apply(tx, 1)  # nobody knows this one yet: what is typed is typed for the first time
        assert burden.count(tx) == burden.Burden(applications=2, visits=3, typed_again=3)
        assert burden.backlog(tx) == [
            burden.Week("2007-W19", 1, 0, 1), burden.Week("2007-W20", 1, 1, 1),
        ]  # fmt: skip
        assert burden.lead_times(tx) == [5]
        frozen = summary.freeze(tx, town.clock, town.today)
    text = summary_text.markdown(frozen, "en")
    assert "| visits per application | 3 | 2 |" in text
    assert "| fields typed again per application | 3 | 2 |" in text
    assert "| 2007-W20 | 1 | 1 | 1 |" in text
