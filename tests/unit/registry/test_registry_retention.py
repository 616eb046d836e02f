"""What the registers may keep, and for how long (residence.md 17)."""

from datetime import date, timedelta

import pytest
from sqlalchemy import func, select

from core import events
from core.clock import business_date
from core.db import Tx
from core.errors import NotAllowed, NotFound
from registry import retention
from registry.residence import applications, cards, persons, watchdog
from registry.residence import retention as residence
from registry.residence.domain import Basis, State
from registry.residence.tables import (
    ApplicationRow,
    CardRow,
    FactRow,
    LinkRow,
    PaymentRow,
    PermitRow,
    PersonRow,
    PhotoRow,
    StatusEventRow,
)
from registry.roles import Actor, Role
from tests.registry_bench import CLERK, REVIEWER, City, acceptance_of, city, person_data

SINCE = date(2007, 5, 7)
_CLOSED = (State.COLLECTED, State.CLOSED)
SECOND = Actor.of("reviewer Shi", Role.REVIEWER)


def rows(tx: Tx, table: type) -> int:
    return tx.scalar(select(func.count()).select_from(table)) or 0


def due(town: City) -> dict[str, int]:
    """The rules under which something is due, as the dry run tells."""
    with town.db.read() as tx:
        return {one.rule: one.rows for one in retention.due(tx, town.clock) if one.rows}


def purge(town: City) -> dict[str, int]:
    done = retention.purge(town.db, town.clock, "admin Gu")
    return {one.rule: one.rows for one in done if one.rows}


def refuse(town: City, number: int) -> str:
    with town.db.write() as tx:
        acc_no = town.apply(tx, number)
        applications.verify(tx, town.clock, acc_no)
        applications.refuse(tx, town.clock, acc_no, REVIEWER, "papers do not match")
    return acc_no


def test_a_refused_applicants_portrait_goes_with_the_refusal_and_the_rest_after_a_year() -> None:
    town = city()
    refuse(town, 0)
    with town.db.read() as tx:
        assert (rows(tx, PhotoRow), rows(tx, ApplicationRow)) == (0, 1)
    town.clock.advance(timedelta(days=365))
    assert due(town) == {}
    town.clock.advance(timedelta(days=1))
    assert due(town) == {"refused_applications": 1} == purge(town)
    with town.db.read() as tx:
        assert (rows(tx, ApplicationRow), rows(tx, LinkRow), rows(tx, PaymentRow)) == (0, 0, 1)
        person = tx.scalars(select(PersonRow)).one()
        assert (person.sealed, person.sex, person.ethnic) == (None, 0, 0)
        with pytest.raises(NotFound, match="E-ERASED"):
            persons.personal(tx, person)
        told = events.after(tx, 0, kinds_wanted=["retention.purged"])
        assert [(one.subject, dict(one.data)) for one in told] == [
            ("refused_applications", {"rows": 1})
        ]
    assert purge(town) == {}


def test_a_draft_lives_30_days_and_whoever_comes_again_is_somebody_new() -> None:
    town = city()
    with town.db.write() as tx:
        known = persons.register(tx, town.clock, person_data(town.people[0]))
        draft = applications.Draft(known, Basis.EMPLOYMENT, town.homes[0], "001")
        applications.save(tx, town.clock, draft, CLERK)
    town.clock.advance(timedelta(days=31))
    with town.db.write() as tx:
        assert watchdog.scan(tx, town.clock).dropped == 1
    assert purge(town) == {"drafts": 1}
    with town.db.write() as tx:
        again = persons.register(tx, town.clock, person_data(town.people[0]))
        assert again != known


def test_behind_a_permit_the_person_goes_two_years_after_its_last_day_and_the_numbers_stay() -> (
    None
):
    town = city()
    with town.db.write() as tx:
        permit_no, _ = town.hold_permit(tx, 0, SINCE)
        town.make_card(tx, permit_no, "07001000000102", "AA" * 8)
        ends = tx.get_one(PermitRow, permit_no).valid_until
        applications.advance(tx, town.clock, acceptance_of(tx, permit_no), _CLOSED[0], "point")
        applications.advance(tx, town.clock, acceptance_of(tx, permit_no), _CLOSED[1], "point")
    last = date(ends.year + 2, ends.month, ends.day)
    town.clock.advance(last - business_date(town.clock.now()))
    assert due(town) == {}
    town.clock.advance(timedelta(days=1))
    assert purge(town) == {"permit_records": 1}
    with town.db.read() as tx:
        gone = (ApplicationRow, LinkRow, FactRow, PhotoRow)
        assert [rows(tx, table) for table in gone] == [0, 0, 0, 0]
        stays = (PermitRow, CardRow, StatusEventRow, PaymentRow)
        assert [rows(tx, table) for table in stays] == [1, 1, 1, 1]
        assert cards.by_serial(tx, "07001000000102").permit_no == permit_no
        assert tx.get_one(PermitRow, permit_no).address_code == ""


def test_a_legal_hold_keeps_everything_until_two_persons_lift_it() -> None:
    town = city()
    acc_no = refuse(town, 0)
    with town.db.write() as tx:
        with pytest.raises(NotAllowed, match="E-ROLE"):
            residence.place_hold(tx, town.clock, acc_no, "C-1", CLERK)
        for _ in range(2):
            residence.place_hold(tx, town.clock, acc_no, "C-1", REVIEWER)
    town.clock.advance(timedelta(days=400))
    assert purge(town) == {}
    with town.db.write() as tx:
        assert residence.held(tx) == 1
        with pytest.raises(NotAllowed, match="E-SOD"):
            residence.lift_hold(tx, town.clock, acc_no, REVIEWER, REVIEWER)
        residence.lift_hold(tx, town.clock, acc_no, REVIEWER, SECOND)
    assert purge(town) == {"refused_applications": 1}


def test_a_legal_hold_keeps_the_portrait_of_whoever_is_refused_meanwhile() -> None:
    town = city()
    with town.db.write() as tx:
        acc_no = town.apply(tx, 0)
        applications.verify(tx, town.clock, acc_no)
        residence.place_hold(tx, town.clock, acc_no, "C-2", REVIEWER)
        applications.refuse(tx, town.clock, acc_no, REVIEWER, "papers do not match")
        assert rows(tx, PhotoRow) == 1
    assert purge(town) == {}
    with town.db.write() as tx:
        residence.lift_hold(tx, town.clock, acc_no, REVIEWER, SECOND)
    assert purge(town) == {"refused_portraits": 1}
    with town.db.read() as tx:
        assert rows(tx, PhotoRow) == 0


def test_a_new_portrait_takes_the_place_of_the_one_before() -> None:
    town = city()
    with town.db.write() as tx:
        person = persons.get(tx, applications.by_number(tx, town.apply(tx, 0)).person_id)
        before = person.photo_ref
        assert persons.store_photo(tx, town.clock, person.id, town.people[1].portrait()) != before
        assert rows(tx, PhotoRow) == 1


def test_a_purge_that_was_stopped_is_finished_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    town = city()
    for number in range(3):
        refuse(town, number)
    town.clock.advance(timedelta(days=400))
    monkeypatch.setattr(retention, "BATCH", 1)

    def stopped(_rule: str, _rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retention.purge(town.db, town.clock, "admin Gu", stopped)
    assert due(town) == {"refused_applications": 2}
    monkeypatch.setattr(retention, "MAX_ROWS", 1)
    assert [purge(town), purge(town), purge(town)] == [{"refused_applications": 1}] * 2 + [{}]
