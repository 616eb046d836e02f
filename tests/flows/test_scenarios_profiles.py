"""T29: the same facts under four rule profiles."""

from datetime import date, timedelta

import pytest

from registry import profiles
from registry.profiles import Facts, Lapse, by_name
from registry.residence.domain import Basis, PermitType

DAY = date(2017, 6, 30)
NAMES = ("pilot-2007", "shenzhen-2008", "sez-2014", "national-2016")
WORK = frozenset({Basis.EMPLOYMENT})


def person(days: int, grounds: frozenset[Basis] = WORK, **more: object) -> Facts:
    return Facts(DAY, DAY - timedelta(days=days), grounds, **more)  # type: ignore[arg-type]


CASES = [
    # nobody's resident yet
    (person(29), (None, None, None, None)),
    # a month here with a job: the early rules say yes, the later ones want half a year and a year
    (person(30, stable_job=True), ("RP", "RP", None, None)),
    # half a year and a few days with a stable job: the national rule gives it now
    (person(190, stable_job=True, insured_12=6), ("RP", "RP", None, "RP")),
    # a year, home and insurance: everybody's resident
    (person(400, stable_home=True, stable_job=True, insured_12=12), ("RP", "RP", "RP", "RP")),
    # a year, home, insured 18 of 24 months although not the last 12
    (person(800, stable_home=True, insured_12=8, insured_24=18), ("RP", "RP", "RP", "RP")),
    # a year and insurance, but no stable home: the zone's rule wants both
    (person(400, stable_job=True, insured_12=12), ("RP", "RP", None, "RP")),
    # a year and a home without any job or ground: a temporary permit in 2007, a permit in 2016
    (person(400, frozenset(), stable_home=True), ("TRP", "TRP", None, "RP")),
    # talent replaces home and job in the zone, and is no ground of the national rule
    (person(400, frozenset({Basis.TALENT})), ("RP", "RP", "RP", None)),
    # study is a ground of its own nationally
    (person(400, frozenset({Basis.STUDY})), ("RP", "RP", None, "RP")),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "wanted"), CASES)
def test_t29_the_same_facts_through_all_four_profiles(
    facts: Facts, wanted: tuple[str | None, ...]
) -> None:
    found = [by_name(name).decide(facts) for name in NAMES]
    assert tuple(one.type.value if one.type else None for one in found) == wanted
    for one in found:
        assert (one.type is None) == (one.valid_until is None)
        assert one.type is PermitType.RP or one.missing


def test_t29_fees_validity_and_deadlines_differ_as_the_page_says() -> None:
    facts = person(400, stable_home=True, stable_job=True, insured_12=12)
    found = [by_name(name) for name in NAMES]
    assert [one.decide(facts).fee_fen for one in found] == [2_000, 1_000, 0, 0]
    assert {one.decide(facts).valid_until for one in found} == {date(2027, 6, 29)}
    accepted = date(2017, 7, 3)  # a Monday
    assert [one.issue.due(accepted, extended=False) for one in found] == [
        date(2017, 7, 24), date(2017, 7, 24), date(2017, 7, 24), date(2017, 7, 18),
    ]  # fmt: skip
    assert found[3].issue.due(accepted, extended=True) == date(2017, 8, 2)
    happened = date(2017, 7, 1)
    assert [one.report.due(happened) for one in found] == [
        date(2017, 7, 4), date(2017, 7, 31), None, None,
    ]  # fmt: skip


def test_t29_endorsement_windows_and_what_missing_them_means() -> None:
    found = [by_name(name) for name in NAMES]
    issued = date(2017, 3, 1)
    assert [one.endorsement.window(issued) for one in found] == [
        None,
        (issued, date(2017, 9, 1)),
        (date(2017, 12, 31), date(2018, 3, 1)),
        (date(2018, 1, 30), date(2018, 3, 1)),
    ]
    missed = {
        years: [one.lapse.state(years, ground=True) for one in found] for years in (0, 1, 2, 9)
    }
    assert missed[0] == [None, None, None, None]
    assert missed[1] == [None, None, Lapse.SUSPENDED, Lapse.SUSPENDED]
    assert missed[2] == missed[9] == [None, None, Lapse.CANCELLED, Lapse.SUSPENDED]
    without = [one.lapse.state(0, ground=False) for one in found]
    assert without == [Lapse.DORMANT, Lapse.DORMANT, None, None]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('rule = "StayDays", days = 30', 'rule = "Horoscope"', "no such strategy for stay"),
        ('rule = "StayDays", days = 30', 'rule = "StayDays", weeks = 4', "pilot-2007, stay"),
        ('lapse = { rule = "FactsLapse" }\n', "", "needs exactly"),
    ],
)
def test_a_profile_is_read_strictly(old: str, new: str, said: str) -> None:
    text = profiles.resources.files("registry").joinpath("profiles.toml").read_text("utf-8")
    assert set(profiles.parse(text)) == set(NAMES)
    with pytest.raises(ValueError, match=said):
        profiles.parse(text.replace(old, new, 1))
