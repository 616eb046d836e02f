"""The registers on PostgreSQL: a permit's whole way, and numbers taken by many at the same moment."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest

from core.clock import SHANGHAI, FixedClock
from core.db import Database
from registry import sequences, settlers
from registry.dormancy import engine, explanation, lag, status_list, whatif
from registry.employment import service as employment
from registry.rental import service as rental
from registry.residence import applications, permits, watchdog
from registry.residence.domain import Hold
from registry.residence.gate import purse_gate
from registry.residence.tables import CardRow
from registry.roles import Actor, Role
from tests.registry_bench import points_are_open

pytestmark = pytest.mark.postgres
REVIEWER = Actor.of("reviewer Lin", Role.REVIEWER)
CLIENTS, TAKES = 8, 25


def test_fifty_acceptances_a_day_get_fifty_numbers(postgres: Database) -> None:
    """Also at the first number of a day, when nobody's row is there yet."""

    def take(client: int) -> list[int]:
        found = []
        for number in range(TAKES):
            with postgres.write() as tx:
                found.append(sequences.take(tx, f"acceptance-{number % 5}"))
        return found

    with ThreadPoolExecutor(CLIENTS) as pool:
        taken = list(pool.map(take, range(CLIENTS)))
    each = CLIENTS * TAKES // 5
    assert sorted(number for found in taken for number in found) == sorted(
        list(range(1, each + 1)) * 5
    )


def night(db: Database, clock: FixedClock, day: date) -> engine.Swept:
    clock.advance(datetime(day.year, day.month, day.day, 2, tzinfo=SHANGHAI) - clock.now())
    for service in (employment, rental):
        with db.write() as tx:
            service.heartbeat(tx, clock)
    with db.write() as tx:
        settlers.deliver_all(tx, clock)
    return engine.nightly(db, clock)


def test_a_permit_sleeps_and_wakes(postgres: Database) -> None:
    clock = FixedClock(datetime(2007, 5, 8, 1, tzinfo=UTC))
    with postgres.write() as tx:
        (settler,) = settlers.settle(tx, clock, 1)
        points_are_open(tx, clock)
    with postgres.write() as tx:
        settlers.deliver_all(tx, clock)
    with postgres.write() as tx:
        acc_no = settlers.apply_for_permit(tx, clock, settler, settlers.point_for(0))
        applications.verify(tx, clock, acc_no)
        permit_no = applications.approve(tx, clock, acc_no, REVIEWER)
        permit = permits.get(tx, permit_no)
        permit.handed_over = True
        permits.restate(tx, clock, permit, permits.Cause("clerk", "collected"))
        tx.add(
            CardRow(
                card_serial="07001000000102", chip_serial="00000000000000A1", permit_no=permit_no,
                acc_no=acc_no, issue_no=1, lot="L", state="ISSUED", bound_at=clock.now(),
                issued_at=clock.now(), chip_ssn=2, chip_status=2,
            )
        )  # fmt: skip
    clock.advance(timedelta(days=35))
    with postgres.write() as tx:
        employment.end(tx, clock, settler.job or "", date(2007, 6, 10), "01")
    assert night(postgres, clock, date(2007, 6, 13)).slept == 0
    for day in range(14, 18):
        night(postgres, clock, date(2007, 6, day))
    assert night(postgres, clock, date(2007, 6, 18)).slept == 1
    with postgres.write() as tx:
        assert permits.holds(tx, permit_no) == {Hold.EMP}
        assert purse_gate(tx, "07001000000102").response_code == "62"
        status_list.publish(tx, clock)
        assert len(status_list.delta(tx, 0).entries) == 1
        assert explanation.explain(tx, permit_no, date(2007, 6, 18)).status == "DORMANT"
        assert lag.chip_lag(tx, clock).lagging == 1
        assert whatif.compare(tx, date(2007, 6, 18), (7,))[0].slept == 1
        watchdog.scan(tx, clock)
        person = settler.resident
        employment.hire(
            tx, clock, settler.employer.code, person.citizen_id, person.name, date(2007, 6, 18)
        )
    night(postgres, clock, date(2007, 6, 19))
    with postgres.read() as tx:
        assert permits.holds(tx, permit_no) == frozenset()
