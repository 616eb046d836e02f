"""A day's list leaves the same register as telling line by line, whatever the line does to the messages."""

from datetime import date, timedelta

import pytest
from sqlalchemy import select

from core.db import Database
from core.errors import CityError
from registry.dormancy import day_post, engine
from registry.employment import day_list as hires
from registry.employment import service as employment
from registry.employment.day_list import Hire
from registry.exchange import delivery
from registry.exchange.messages import Envelope
from registry.exchange.tables import InboxRow, MessageRow
from registry.rental import day_list as moves
from registry.rental import service as rental
from registry.rental.day_list import MoveIn, Room
from registry.residence.tables import FactRow
from tests.registry_bench import City, city

DAY = date(2007, 5, 8)
PEOPLE = 6


def hire_lines(town: City) -> list[Hire]:
    """Right lines, and one of every kind of wrong one between them."""
    first, second = town.people[0], town.people[1]
    lines = [
        Hire(town.employers[n % 2], one.citizen_id, one.name, DAY - timedelta(days=n))
        for n, one in enumerate(town.people)
    ]
    wrong = [
        Hire(town.employers[0], first.citizen_id[:-3] + "999", first.name, DAY),
        Hire(town.employers[0], second.citizen_id, "another name", DAY),
        Hire("PDY99999X", second.citizen_id, second.name, DAY),
        Hire(town.employers[0], first.citizen_id, first.name, DAY),
        Hire(town.employers[1], first.citizen_id, first.name, DAY - timedelta(days=3_000)),
        Hire(town.employers[1], first.citizen_id, first.name, DAY),  # a second job is no mistake
    ]
    return [*lines[:3], *wrong, *lines[3:]]


def move_lines(town: City) -> list[MoveIn]:
    lines = [
        MoveIn(town.homes[n], one.citizen_id, one.name, DAY - timedelta(days=n), str(n))
        for n, one in enumerate(town.people)
    ]
    first = town.people[0]
    wrong = [
        MoveIn(town.homes[0], first.citizen_id, first.name, DAY),
        MoveIn("4403080030010500754009009", first.citizen_id, first.name, DAY),
        MoveIn(town.homes[1], first.citizen_id, first.name, DAY + timedelta(days=1)),
    ]
    return [*lines, *wrong]


def one_by_one(town: City) -> list[str]:
    answers = []
    with town.db.write() as tx:
        for line in hire_lines(town):
            try:
                employment.hire(
                    tx, town.clock, line.employer, line.citizen_id, line.name, line.start
                )
                answers.append("")
            except CityError as refused:
                answers.append(refused.code)
        for line in move_lines(town):
            try:
                rental.move_in(
                    tx, town.clock, line.code, line.citizen_id, line.name, line.day, bed=line.bed
                )
                answers.append("")
            except CityError as refused:
                answers.append(refused.code)
        while delivery.deliver(tx, town.clock, "residence", engine.HANDLERS).taken:
            pass
    return answers


def as_lists(town: City) -> list[str]:
    with town.db.write() as tx:
        answers = [
            *hires.hire_all(tx, town.clock, hire_lines(town)),
            *moves.move_in_all(tx, town.clock, move_lines(town)),
        ]
        while day_post.deliver_page(tx, town.clock).taken:
            pass
    return [one.code if isinstance(one, CityError) else "" for one in answers]


def left(db: Database) -> dict[str, list[tuple[object, ...]]]:
    """What stands in the registers, without the ids that differ from run to run."""
    with db.read() as tx:
        return {
            "facts": sorted(
                (row.source, row.kind, row.seq, str(row.start), str(row.end), row.superseded_at is None)
                for row in tx.scalars(select(FactRow))
            ),
            "messages": sorted(
                (row.source, row.type, row.subject_seq, str(row.occurred_on))
                for row in tx.scalars(select(MessageRow))
            ),
            "taken": sorted((row.source, row.subject_seq) for row in tx.scalars(select(InboxRow))),
        }  # fmt: skip


@pytest.fixture
def towns() -> tuple[City, City]:
    return city(DAY, count=PEOPLE), city(DAY, count=PEOPLE)


def test_a_list_and_its_lines_one_by_one_leave_the_same(towns: tuple[City, City]) -> None:
    single, whole = towns
    assert as_lists(whole) == one_by_one(single)
    assert left(whole.db) == left(single.db)


def test_a_day_of_post_may_come_twice_in_any_order_and_with_later_versions(
    towns: tuple[City, City],
) -> None:
    straight, crooked = towns
    for town in towns:
        with town.db.write() as tx:
            records = hires.hire_all(tx, town.clock, hire_lines(town)[:3])
            town.hold_permit(tx, 4, date(2007, 4, 2))  # what is told of this one moves a permit
            for record in records:
                assert isinstance(record, str)
                employment.end(tx, town.clock, record, DAY, "01")
    forwards, backwards = sent(straight), sent(crooked)[::-1]
    with straight.db.write() as tx:
        day_post.take_in(tx, straight.clock, forwards)
    with crooked.db.write() as tx:
        done = day_post.take_in(tx, crooked.clock, [*backwards, *backwards])
        assert (done.repeated >= len(backwards), done.refused) == (True, 0)
        assert day_post.take_in(tx, crooked.clock, backwards).taken == 0
    in_force = [
        [fact for fact in left(town.db)["facts"] if fact[-1]] for town in (straight, crooked)
    ]
    assert in_force[0] == in_force[1]


def test_a_wrong_list_of_rooms_leaves_nothing(towns: tuple[City, City]) -> None:
    town, _ = towns
    rooms = [Room("4403080030010500754009009", "盐田区深盐路1号101房", "011", 2)] * 2
    with town.db.read() as tx:
        before = len(left(town.db)["messages"])
        with pytest.raises(CityError, match="E-AC-DUP"):
            moves.let_all(tx, town.clock, rooms, "nobody")
    assert len(left(town.db)["messages"]) == before


def sent(town: City) -> list[Envelope]:
    """Every message of the two registers so far, in their order."""
    with town.db.read() as tx:
        ids = list(tx.scalars(select(MessageRow.msg_id).order_by(MessageRow.msg_id)))
        return day_post.messages(tx, ids)
