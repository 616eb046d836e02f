"""T21 and T26: who may sign in at a point, and when the 23 points open."""

from datetime import UTC, date, datetime, timedelta

import pytest

from core.clock import FixedClock
from core.db import Database
from core.errors import NotAllowed, Rejected
from registry.points import readiness, training
from registry.points.places import COUNT, all_points
from registry.points.readiness import Item, Office
from registry.points.tables import ReadyItemRow
from registry.points.training import Audience, Module
from registry.roles import Actor, Role

OFFICE = Actor.of("office He", Role.PILOT_OFFICE)
POLICE = Actor.of("chief Mo", Role.POLICE_CLERK)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2007, 4, 10, 1, tzinfo=UTC))


def certify(db: Database, clock: FixedClock, person: str, point: str) -> None:
    with db.write() as tx:
        training.assign(tx, clock, person, point, Audience.POINT_STAFF, OFFICE)
        for module in Module:
            training.examine(tx, clock, person, module, 85, OFFICE)


def make_ready(db: Database, clock: FixedClock, point: str) -> None:
    with db.write() as tx:
        for number in (1, 2):
            person = f"clerk {point}-{number}"
            training.assign(tx, clock, person, point, Audience.POINT_STAFF, OFFICE)
            for module in Module:
                training.examine(tx, clock, person, module, 85, OFFICE)
        for item in Item:
            if item is not Item.STAFF:
                readiness.note(tx, clock, point, item, True, f"seen on site {point}", OFFICE)
        readiness.sign(tx, clock, point, Office.POLICE, POLICE)
        readiness.sign(tx, clock, point, Office.DISTRICT, OFFICE)


def test_t21_an_untrained_person_is_not_admitted(db: Database, clock: FixedClock) -> None:
    with db.write() as tx:
        training.assign(tx, clock, "clerk Ye", "011", Audience.POINT_STAFF, OFFICE)
        assert not training.examine(tx, clock, "clerk Ye", Module.BUSINESS, 79, OFFICE)
        with pytest.raises(NotAllowed, match="E-UNTRAINED") as refused:
            training.admit(tx, clock, "clerk Ye")
    assert "BUSINESS" in str(refused.value.facts["modules"])
    certify(db, clock, "clerk Ye", "011")
    with db.read() as tx:
        training.admit(tx, clock, "clerk Ye")


def test_t21_a_certificate_lasts_a_year(db: Database, clock: FixedClock) -> None:
    certify(db, clock, "clerk Ye", "011")
    clock.advance(timedelta(days=364))
    with db.read() as tx:
        training.admit(tx, clock, "clerk Ye")
    clock.advance(timedelta(days=1))
    with db.read() as tx, pytest.raises(NotAllowed, match="E-UNTRAINED"):
        training.admit(tx, clock, "clerk Ye")


def test_t21_a_lent_person_goes_home_on_the_day(db: Database, clock: FixedClock) -> None:
    with db.write() as tx:
        training.lend(
            tx,
            clock,
            "clerk Zu",
            "Luohu bureau",
            "003",
            date(2007, 4, 1),
            date(2007, 4, 30),
            OFFICE,
        )
    certify(db, clock, "clerk Zu", "003")
    with db.write() as tx:
        training.admit(tx, clock, "clerk Zu")
        assert training.end_secondments(tx, clock) == []
    clock.advance(timedelta(days=21))
    with db.write() as tx:
        with pytest.raises(NotAllowed, match="E-SECONDMENT-OVER"):
            training.admit(tx, clock, "clerk Zu")
        assert training.end_secondments(tx, clock) == ["clerk Zu"]
        assert training.end_secondments(tx, clock) == []


def test_t21_everybody_lent_returns_in_the_summary_stage(db: Database, clock: FixedClock) -> None:
    with db.write() as tx:
        training.lend(
            tx,
            clock,
            "clerk Zu",
            "Luohu bureau",
            "003",
            date(2007, 4, 1),
            date(2007, 12, 31),
            OFFICE,
        )
        assert training.end_secondments(tx, clock, everybody=True) == ["clerk Zu"]


def test_nobody_examines_themselves(db: Database, clock: FixedClock) -> None:
    with db.write() as tx, pytest.raises(NotAllowed, match="E-SOD"):
        training.examine(tx, clock, OFFICE.name, Module.BUSINESS, 100, OFFICE)


def test_t26_twenty_two_points_keep_the_gate_shut(db: Database, clock: FixedClock) -> None:
    codes = [point.code for point in all_points()]
    for code in codes[:-1]:
        make_ready(db, clock, code)
    with db.read() as tx, pytest.raises(Rejected, match="E-POINTS") as shut:
        readiness.require_all_ready(tx, clock)
    assert shut.value.facts["ready"] == COUNT - 1
    make_ready(db, clock, codes[-1])
    with db.read() as tx:
        readiness.require_all_ready(tx, clock)
        assert training.coverage(tx, clock) == training.Coverage(2 * COUNT, 2 * COUNT)


@pytest.mark.parametrize("lost", [Item.NETWORK, Item.CARD_READER])
def test_t26_an_item_that_breaks_takes_the_signatures_away(
    db: Database, clock: FixedClock, lost: Item
) -> None:
    make_ready(db, clock, "001")
    with db.write() as tx:
        readiness.note(tx, clock, "001", lost, False, "", OFFICE)
        found = readiness.standing(tx, clock, "001")
        assert found.open_items == (lost,)
        assert found.unsigned == tuple(Office)
        with pytest.raises(Rejected, match="E-NOT-READY"):
            readiness.sign(tx, clock, "001", Office.POLICE, POLICE)


def test_green_needs_evidence_and_staff_are_counted(db: Database, clock: FixedClock) -> None:
    with db.write() as tx:
        with pytest.raises(Rejected, match="E-EVIDENCE"):
            readiness.note(tx, clock, "001", Item.POWER, True, "  ", OFFICE)
        with pytest.raises(Rejected, match="E-COUNTED"):
            readiness.note(tx, clock, "001", Item.STAFF, True, "two clerks", OFFICE)
        assert tx.query(ReadyItemRow).count() == 0


def test_each_office_signs_for_itself(db: Database, clock: FixedClock) -> None:
    with db.write() as tx, pytest.raises(NotAllowed, match="E-ROLE"):
        readiness.sign(tx, clock, "001", Office.DISTRICT, POLICE)
