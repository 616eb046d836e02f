"""Two writers at the same moment, on both databases: a rule's own code or the same result, never a raw error."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from core.db import DEADLOCK, Database, Tx
from core.errors import CityError, Rejected, Unavailable
from registry import repeats
from registry.dormancy import engine
from registry.dormancy.tables import NoticeRow
from registry.employment import service as employment
from registry.employment.tables import WorkerRow
from registry.exchange import delivery
from registry.exchange.tables import InboxRow, MessageRow
from registry.rental import service as rental
from registry.residence import applications, permits, persons
from registry.residence.domain import Basis, Hold
from registry.residence.tables import ApplicationRow, PersonRow, StatusEventRow
from tests.registry_bench import CLERK, City, city, person_data

WRITERS = 4
SINCE = date(2007, 5, 2)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def town(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[City]:
    """A city on a file of SQLite, and on PostgreSQL."""
    if request.param == "postgres":
        yield city(db=request.getfixturevalue("postgres"))
        return
    db = Database(f"sqlite:///{tmp_path / 'city.db'}")
    db.create_tables()
    yield city(db=db)
    db.close()


def together(town: City, act: Callable[[Tx, int], object]) -> Counter[str]:
    """Every writer begins, waits for the others, then acts; what came of each: "done" or a code.

    SQLite lets one begin at a time, so there nobody waits for anybody.
    """
    gate = threading.Barrier(WRITERS, timeout=20)

    def write(number: int) -> str:
        for _ in range(WRITERS):  # of two that wait for each other one is told to begin again
            try:
                with town.db.write() as tx:
                    if not town.db.sqlite and not gate.broken:
                        gate.wait()
                    act(tx, number)
            except CityError as fault:
                if fault.code != DEADLOCK:
                    return fault.code
                gate.abort()
            else:
                return "done"
        return DEADLOCK

    with ThreadPoolExecutor(WRITERS) as pool:
        return Counter(pool.map(write, range(WRITERS)))


def test_a_new_worker_is_hired_twice_and_registered_once(town: City) -> None:
    person = town.people[0]

    def hire(tx: Tx, _number: int) -> None:
        employment.hire(tx, town.clock, town.employers[0], person.citizen_id, person.name, SINCE)

    assert together(town, hire) == {"done": 1, "E-OVERLAP": WRITERS - 1}
    with town.db.read() as tx:
        assert tx.query(WorkerRow).count() == 1


def test_an_application_that_changed_beneath_a_decision_is_a_conflict(town: City) -> None:
    with town.db.write() as tx:
        town.live_and_work(tx, 0, SINCE)
        town.deliver(tx)
        acc_no = town.apply(tx, 0)
    with pytest.raises(Unavailable, match=DEADLOCK), town.db.write() as tx:
        row = applications.by_number(tx, acc_no)
        changed = update(ApplicationRow).values(row_version=ApplicationRow.row_version + 1)
        tx.execute(changed, execution_options={"synchronize_session": False})
        row.reason = "decided on what it was before"


def test_messages_about_one_person_are_numbered_without_a_gap(town: City) -> None:
    with town.db.write() as tx:
        record = town.live_and_work(tx, 0, SINCE)

    def correct(tx: Tx, number: int) -> None:
        employment.correct(tx, town.clock, record, date(2007, 5, 3 + number))

    assert together(town, correct) == {"done": WRITERS}
    with town.db.read() as tx:
        sent = tx.query(MessageRow).filter_by(source="employment").all()
        subject = tx.query(WorkerRow).one().id
        numbers = sorted(row.subject_seq for row in sent if row.subject == subject)
        assert numbers == list(range(1, WRITERS + 3))


def test_one_person_registered_by_all_is_one_person_with_one_application(town: City) -> None:
    def apply(tx: Tx, _number: int) -> None:
        known = persons.register(tx, town.clock, person_data(town.people[0]))
        draft = applications.Draft(known, Basis.EMPLOYMENT, town.homes[0], "001")
        applications.save(tx, town.clock, draft, CLERK)

    assert together(town, apply) == {"done": 1, "E-DUP-APP": WRITERS - 1}
    with town.db.read() as tx:
        assert tx.query(PersonRow).count() == 1


def test_one_occupant_moves_in_once(town: City) -> None:
    person = town.people[0]

    def move(tx: Tx, _number: int) -> None:
        rental.move_in(tx, town.clock, town.homes[0], person.citizen_id, person.name, SINCE)

    assert together(town, move) == {"done": 1, "E-OVERLAP": WRITERS - 1}


def holder(town: City) -> str:
    """A permit whose holder's job has ended; nobody was told yet."""
    with town.db.write() as tx:
        record = town.live_and_work(tx, 0, SINCE)
    with town.db.write() as tx:
        town.deliver(tx)
    with town.db.write() as tx:
        permit_no = town.approve(tx, town.apply(tx, 0))
        permits.get(tx, permit_no).handed_over = True
        employment.end(tx, town.clock, record, date(2007, 5, 6), "01")
    return permit_no


def test_the_post_is_taken_in_once_by_two_postmen_while_the_night_runs(town: City) -> None:
    permit_no = holder(town)

    def work(tx: Tx, number: int) -> None:
        if number % 2:
            engine.sweep(tx, town.clock)
        else:
            delivery.deliver(tx, town.clock, "residence", engine.HANDLERS)

    assert together(town, work) == {"done": WRITERS}
    with town.db.write() as tx:
        engine.sweep(tx, town.clock)
    with town.db.read() as tx:
        assert [row.cause for row in tx.query(NoticeRow)] == [Hold.EMP]
        taken = [row.msg_id for row in tx.query(InboxRow).filter_by(consumer="residence")]
        assert len(taken) == len(set(taken))
        assert permits.get(tx, permit_no).ssn == 1


def test_a_loss_told_by_all_is_one_change_of_status(town: City) -> None:
    permit_no = holder(town)

    def lose(tx: Tx, _number: int) -> None:
        permits.report_loss(tx, town.clock, permit_no, CLERK, evidence="telephone")

    assert together(town, lose) == {"done": 1, "E-HOT": WRITERS - 1}
    with town.db.read() as tx:
        assert sorted(row.ssn for row in tx.query(StatusEventRow)) == [1, 2]


def test_a_request_sent_twice_at_once_has_one_effect_and_one_answer(town: City) -> None:
    answers = []

    def send(tx: Tx, number: int) -> None:
        def act(tx: Tx) -> str:
            return employment.open_employer(
                tx, town.clock, "PDY042172", f"firm {number}", town.homes[0], 3
            )

        answers.append(repeats.once(tx, town.clock, "operator", "key-00001", b"open", act))

    assert together(town, send) == {"done": WRITERS}
    assert len(set(answers)) == 1
    with town.db.write() as tx:
        with pytest.raises(Rejected, match="E-KEY-REUSED"):
            repeats.once(tx, town.clock, "operator", "key-00001", b"other", str)
        town.clock.advance(repeats.KEPT + timedelta(hours=1))
        repeats.forget(tx, town.clock)
        assert tx.query(repeats.RepeatRow).count() == 0
