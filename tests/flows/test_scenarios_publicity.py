"""Publicity and the handbook: one set of data, both languages, nobody's name; what was told, by channel."""

import re
from datetime import date
from html import unescape

import pytest

from core.errors import Rejected
from registry.pilot import handbook, parameters, public_page, publicity, workflow
from registry.residence.domain import State
from tests.registry_bench import OFFICE, REVIEWER, City, city

DAY = date(2007, 5, 8)


@pytest.fixture
def town() -> City:
    made = city(DAY)
    with made.db.write() as tx:
        made.hold_permit(tx, 0, date(2007, 4, 2))
    return made


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_page_shows_23_points_papers_fee_and_counters_and_nobody(town: City, lang: str) -> None:
    with town.db.read() as tx:
        data = publicity.page(tx, DAY, lang)
    assert len(data["points"]) == 23
    assert len(data["papers"]) >= 3
    assert (data["fee_fen"], data["due_working_days"]) == (2_000, 15)
    assert data["counters"]["ACTIVE"] == "<10"  # one person stands out in no counter
    assert len(data["questions"]) >= 4
    texts = (publicity.leaflet(data, lang), public_page.html(data, lang))
    for text in texts:
        assert "20.00" in text
        assert all(point["name"] in unescape(text) for point in data["points"])
        for person in town.people:
            for personal in (person.citizen_id, person.name, person.phone, town.homes[0]):
                assert personal not in str(data)
                assert personal not in text
        assert not re.search(r"\d{11,}", text)
    assert "&lt;10" in texts[1]
    assert "http" not in texts[1]  # it asks nothing of another server
    assert "<script" not in texts[1]


def test_the_leaflet_follows_the_fee_that_two_people_set(town: City) -> None:
    with town.db.write() as tx:
        change = parameters.propose(tx, town.clock, "fee_new_fen", 1_050, DAY, "paper 2", OFFICE)
        parameters.approve(tx, town.clock, change, REVIEWER)
        assert "10.50 yuan" in publicity.leaflet(publicity.page(tx, DAY, "en"), "en")


def test_what_was_told_is_counted_by_channel(town: City) -> None:
    with town.db.write() as tx:
        for channel in ("PRESS", "PRESS", "POSTER"):
            publicity.log(tx, town.clock, channel, "permits begin in May")
        with pytest.raises(Rejected, match="E-CHANNEL"):
            publicity.log(tx, town.clock, "RUMOUR", "they are free")
        told = publicity.by_channel(tx)
    assert (told["PRESS"], told["POSTER"], told["RADIO"]) == (2, 1, 0)


def test_the_handbook_is_complete_and_has_a_version_of_its_own(town: City) -> None:
    with town.db.write() as tx:
        before = handbook.handbook(tx, DAY)
        assert before == handbook.handbook(tx, DAY)
        for number, title in enumerate(handbook.CHAPTERS, 1):
            assert f"## {number} {title}\n\n- " in before
        for link in parameters.links().values():
            assert link.page in before
        workflow.enact(
            tx, town.clock, {State.IN_REVIEW: 1}, date(2007, 5, 9), "workshop", OFFICE, REVIEWER
        )
        after = handbook.handbook(tx, date(2007, 5, 9))
    assert "version 2" in after
    assert before.splitlines()[-1] != after.splitlines()[-1]
