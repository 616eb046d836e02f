"""T13 and T14: figures near their thresholds, each with its denominator; who may draw a sample."""

from datetime import date

import pytest

from core.errors import NotAllowed, Rejected
from registry.employment import feeds
from registry.employment import service as employment
from registry.indicators import compute, samples, values
from registry.indicators.statistics import Method, Verdict
from registry.indicators.values import value
from registry.rental import quality, units
from registry.rental.tables import UnitRow
from registry.roles import Actor, Role
from tests.registry_bench import City, city

DAY = date(2007, 4, 30)
AUDITOR = Actor.of("auditor Fu", Role.AUDITOR)
STATION = Actor.of("clerk Wu", Role.STATION_CLERK)
PEOPLE = 6
UNPLATED = "4403080030010500754009009"


@pytest.fixture
def town() -> City:
    return city(DAY, count=PEOPLE)


@pytest.mark.parametrize(
    ("id", "numerator", "denominator", "said", "shown"),
    [
        ("E1", 7_999, 10_000, Verdict.NOT_MET, "79.99 % (7999 of 10000)"),
        ("E1", 8_000, 10_000, Verdict.MET, "80.00 % (8000 of 10000)"),
        ("E1", 79_999, 100_000, Verdict.NOT_MET, "79.99 % (79999 of 100000)"),
        ("E2", 8_499, 10_000, Verdict.NOT_MET, "84.99 % (8499 of 10000)"),
        ("E2", 8_500, 10_000, Verdict.MET, "85.00 % (8500 of 10000)"),
        ("R1", 9_499, 10_000, Verdict.NOT_MET, "94.99 % (9499 of 10000)"),
        ("R2", 9_500, 10_000, Verdict.MET, "95.00 % (9500 of 10000)"),
        ("A4", 9_999, 10_000, Verdict.NOT_MET, "99.99 % (9999 of 10000)"),
        ("A1", 0, 0, Verdict.NO_DENOMINATOR, "NO_DENOMINATOR"),
        ("E3", 1, 3, Verdict.REPORT, "33.33 % (1 of 3)"),
    ],
)
def test_t14_nothing_is_rounded_up(
    id: str, numerator: int, denominator: int, said: Verdict, shown: str
) -> None:
    found = value(id, DAY, numerator, denominator, "a test", Method.CENSUS)
    assert (found.verdict, found.shown) == (said, shown)


@pytest.mark.parametrize(
    ("right", "said"),
    [(485, Verdict.MET), (481, Verdict.LIKELY), (475, Verdict.LIKELY), (474, Verdict.NOT_MET)],
)
def test_t14_a_sample_says_met_by_its_interval(right: int, said: Verdict) -> None:
    assert value("R2", DAY, right, 500, "a test", Method.SAMPLE).verdict is said


def feed(town: City, names: list[tuple[str, str]]) -> bytes:
    lines = ["line,code,reg_no,name,kind,address_code27,active"]
    lines += [f"{n},{code},,{name},ENTERPRISE,,Y" for n, (code, name) in enumerate(names, 1)]
    return ("﻿" + "\n".join(lines) + "\n").encode()


def test_e1_counts_employers_that_owe_and_those_that_told(town: City) -> None:
    codes = town.employers
    with town.db.write() as tx:
        feeds.load_feed(tx, feeds.GSJ, feed(town, [(codes[0], "One"), (codes[1], "Two")]), DAY)
        feeds.load_feed(tx, feeds.ZJJ, feed(town, [(codes[1], "Two Ltd")]), DAY)
        person = town.people[0]
        employment.hire(tx, town.clock, codes[0], person.citizen_id, person.name, DAY)
        found = compute.employer_coverage(tx, DAY)
    assert (found.numerator, found.denominator) == (1, 2)
    assert found.verdict is Verdict.NOT_MET
    assert "feeds" in found.source


def test_e2_holds_entered_people_against_those_owed(town: City) -> None:
    codes = town.employers
    with town.db.write() as tx:
        feeds.load_feed(tx, feeds.GSJ, feed(town, [(codes[0], "One"), (codes[1], "Two")]), DAY)
        for number in (0, 1):
            person = town.people[number]
            employment.hire(tx, town.clock, codes[0], person.citizen_id, person.name, DAY)
        found = compute.worker_entry(tx, DAY)
    assert found.numerator == 2
    assert found.denominator > found.numerator
    assert found.method is Method.ESTIMATE


def test_e3_counts_what_was_told_in_time(town: City) -> None:
    with town.db.write() as tx:
        for number, started in enumerate((date(2007, 4, 28), date(2007, 4, 1))):
            person = town.people[number]
            employment.hire(
                tx, town.clock, town.employers[0], person.citizen_id, person.name, started
            )
        found = compute.employment_timeliness(tx, date(2007, 4, 1), DAY)
    assert (found.numerator, found.denominator) == (1, 2)


def test_t13_addresses_are_measured_against_a_census_or_not_at_all(town: City) -> None:
    with town.db.write() as tx:
        by_id = {one.id: one for one in compute.addresses(tx, DAY)}
        assert by_id["A1"].verdict is Verdict.NO_DENOMINATOR
        quality.load_census(tx, [(code, "door", True) for code in town.homes], DAY)
        whole = {one.id: one for one in compute.addresses(tx, DAY)}
        quality.load_census(tx, [(UNPLATED, "a door nobody numbered", False)], DAY)
        lacking = {one.id: one for one in compute.addresses(tx, DAY)}
    assert (whole["A1"].verdict, whole["A2"].shown) == (Verdict.MET, "100.00 % (6 of 6)")
    assert lacking["A1"].verdict is lacking["A2"].verdict is Verdict.NOT_MET
    assert lacking["A1"].shown == "85.71 % (6 of 7)"


def let_out(town: City) -> None:
    """Every home becomes a rented unit of a station."""
    with town.db.write() as tx:
        owner = units.register_responsible(tx, town.clock, "PDY00001X", "Owner")
        for number, code in enumerate(town.homes):
            tx.add(
                UnitRow(
                    code=code, responsible_id=owner, use="DWELLING", capacity=2 + number,
                    station="011", risk=0, open=True,
                )
            )  # fmt: skip


def test_r1_weighs_strata_and_keeps_its_seed(town: City) -> None:
    let_out(town)
    with town.db.write() as tx:
        sample = samples.draw(tx, town.clock, "R1", 4, 20070430, AUDITOR)
        again = samples.draw(tx, town.clock, "R1", 4, 20070430, AUDITOR)
        drawn = tx.query(samples.SampleUnitRow).filter_by(sample=sample).all()
        twice = tx.query(samples.SampleUnitRow).filter_by(sample=again).all()
        assert {one.unit for one in drawn} == {one.unit for one in twice}
        with pytest.raises(Rejected, match="E-UNVISITED"):
            samples.evaluate(tx, sample, DAY)
        for one in drawn:
            samples.enter(tx, sample, one.unit, 2, 2)
        found = samples.evaluate(tx, sample, DAY)
    assert found.numerator == found.denominator
    assert "seed 20070430" in found.source
    assert found.interval is not None


def test_the_measured_office_does_not_draw(town: City) -> None:
    let_out(town)
    with town.db.write() as tx:
        with pytest.raises(NotAllowed, match="E-SELF"):
            samples.draw(tx, town.clock, "R1", 2, 1, STATION)
        with pytest.raises(NotAllowed, match="E-SELF"):
            samples.draw(
                tx, town.clock, "R1", 2, 1, Actor.of("both", Role.AUDITOR, Role.STATION_CLERK)
            )
        with pytest.raises(Rejected, match="E-SAMPLE"):
            samples.draw(tx, town.clock, "R1", 99, 1, AUDITOR)


def test_p1_and_p2_begin_at_nothing(town: City) -> None:
    with town.db.read() as tx:
        ready, staff = compute.points(tx, town.clock, DAY)
    assert ready.shown == "0.00 % (0 of 23)"
    assert staff.verdict is Verdict.NO_DENOMINATOR


def test_every_value_is_kept_as_a_series(town: City) -> None:
    with town.db.write() as tx:
        for day, count in ((date(2007, 4, 1), 70), (DAY, 80), (DAY, 81)):
            values.keep(tx, town.clock, value("E1", day, count, 100, "a test", Method.CENSUS))
        kept = values.history(tx, "E1")
    assert [(one.as_of.day, one.numerator, one.verdict) for one in kept] == [
        (1, 70, Verdict.NOT_MET), (30, 81, Verdict.MET),
    ]  # fmt: skip
