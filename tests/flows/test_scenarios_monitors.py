"""SD-05, SD-43: planted faults are found by the monitors, each once; a fix is tested by looking again."""

from datetime import date, timedelta

import pytest
from sqlalchemy import delete, update

from core.errors import Rejected
from registry.dormancy.tables import BreakerRow
from registry.employment import service as employment
from registry.exchange.tables import DeadLetterRow, PostingRow, ReconciliationRow
from registry.pilot import issues, monitors
from registry.pilot.issues import Cause
from registry.points import readiness
from registry.points.places import all_points
from registry.points.readiness import Item
from registry.rental import service as rental
from registry.rental import tasks
from registry.rental.tables import PlateRow
from registry.services.tables import HookErrorRow
from tests.flows.test_scenarios_points import make_ready
from tests.registry_bench import OFFICE, City, city

DAY = date(2007, 5, 8)
REFUSALS = ("E-DATE-ORDER", "E-MSG-HASH", "E-RECORD", "KeyError")
SERVICES = ("labour", "library")


@pytest.fixture
def town() -> City:
    """Everything in order: registers heard, points open and ready, nothing late."""
    made = city(DAY, count=6)
    for point in all_points():
        make_ready(made.db, made.clock, point.code)
    with made.db.write() as tx:
        employment.heartbeat(tx, made.clock)
        rental.heartbeat(tx, made.clock)
        made.deliver(tx)
    return made


def plant_in_the_exchange(town: City) -> set[str]:
    """Nine faults: four refusals, a receiver given up, two pairs apart, both registers silent."""
    now = town.clock.now()
    with town.db.write() as tx:
        for number, code in enumerate(REFUSALS):
            tx.add(
                DeadLetterRow(
                    consumer="residence", source="rental", msg_id=f"m{number}", attempts=1,
                    category="business_reject", code=code, envelope="{}", refused_at=now, state="OPEN",
                )
            )  # fmt: skip
        tx.add(
            PostingRow(
                consumer="residence", msg_id="m9", state="DEAD", attempts=40, first_try_at=now,
                next_try_at=now, last_code="GONE",
            )
        )  # fmt: skip
        for source in ("employment", "rental"):
            tx.add(
                ReconciliationRow(
                    id=source, source=source, consumer="residence", at=now, subjects=1_000,
                    differing=2, replayed=2,
                )
            )  # fmt: skip
    town.clock.advance(timedelta(hours=25))
    return {f"messages of rental refused with {code}" for code in REFUSALS} | {
        "messages given up at residence", "employment and residence have drifted apart",
        "rental and residence have drifted apart", "employment register not heard",
        "rental register not heard",
    }  # fmt: skip


def plant_at_the_offices(town: City) -> set[str]:
    """Nine faults: three points, two kinds of old tasks, two services, a stopped night, swapped plates."""
    now = town.clock.now()
    points = [point.code for point in all_points()][:3]
    with town.db.write() as tx:
        for code in points:
            readiness.note(tx, town.clock, code, Item.NETWORK, False, "", OFFICE)
        for kind in (tasks.GHOST, tasks.MISMATCH):
            tasks.open_task(tx, town.clock, kind, "somewhere", "a note")
        for service in SERVICES:
            tx.add(
                HookErrorRow(
                    id=service, code=service, hook="wake", permit_no="1", problem="KeyError", at=now
                )
            )
        tx.add(BreakerRow(day=DAY, count=40, limit=10, employer=""))
        tx.execute(
            update(PlateRow).where(PlateRow.code == town.homes[0]).values(text="another door")
        )
    town.clock.advance(tasks.LIMIT + timedelta(days=1))
    return {f"point {code} is not ready" for code in points} | {
        "station tasks overdue: GHOST", "station tasks overdue: MISMATCH",
        "hooks of service labour fail", "hooks of service library fail",
        "mass sleep stopped on 08 May", "plates and register say different things",
    }  # fmt: skip


def test_nothing_is_found_where_nothing_is_wrong(town: City) -> None:
    with town.db.write() as tx:
        assert (
            monitors.look(tx, town.clock, tuple(set(monitors.MONITORS) - {"silent_employers"}))
            == []
        )


def test_twenty_planted_faults_are_found_and_nothing_else(town: City) -> None:
    planted = plant_in_the_exchange(town) | plant_at_the_offices(town)
    with town.db.write() as tx:
        town.apply(tx, 0)  # nobody takes it up
    town.clock.advance(timedelta(days=9))
    planted |= {
        "too many employers without a monthly list", "applications wait too long in ACCEPTED",
    }  # fmt: skip
    assert len(planted) == 20
    with town.db.write() as tx:
        assert len(monitors.look(tx, town.clock)) == 20
        assert {row.title for row in issues.open_issues(tx)} == planted
        assert monitors.look(tx, town.clock) == []  # known: one issue a fault


def test_a_fix_closes_an_issue_only_when_the_fault_is_gone(town: City) -> None:
    plant_in_the_exchange(town)
    with town.db.write() as tx:
        monitors.look(tx, town.clock, ("dead_messages",))
        issue = issues.open_issues(tx)[0]
        with pytest.raises(Rejected, match="E-ISSUE"):
            monitors.retest(tx, town.clock, issue.id)  # nobody fixed anything
        issues.fix(tx, town.clock, issue.id, Cause.WORKFLOW, "1.1")
        assert not monitors.retest(tx, town.clock, issue.id)
        assert issue.fix_version is None
        tx.execute(delete(DeadLetterRow))
        issues.fix(tx, town.clock, issue.id, Cause.TECHNIQUE, "1.2")
        assert monitors.retest(tx, town.clock, issue.id)
        assert (issue.retests, issue.cause) == (2, "TECHNIQUE")
        assert issue.id not in {row.id for row in issues.open_issues(tx)}
        assert issues.median_open(tx) is not None
