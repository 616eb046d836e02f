"""Chapter 5, dormancy: a job ends, the permit goes to sleep and every terminal learns it; a new job wakes it."""

from datetime import timedelta

from core.clock import business_date
from core.db import Tx
from registry.dormancy import engine, status_list
from registry.employment import service as employment
from registry.rental import service as rental
from registry.residence import permits
from registry.residence.domain import ChipStatus
from registry.settlers import Settler, deliver_all
from runtime.demo.city import City

END_REASON = "02"  # dismissed (residence.md 3.6)
MAX_NIGHTS = 30


def end_job(city: City, settler: Settler, permit_no: str) -> int:
    """The employer reports the end; nights pass until the sweep puts the permit to sleep. Returns the nights.

    The new state is published in the status list.
    """
    assert settler.job is not None
    with city.db.write() as tx:
        today = business_date(city.clock.now())
        employment.end(tx, city.clock, settler.job, today, END_REASON)
        deliver_all(tx, city.clock)
    for night in range(1, MAX_NIGHTS + 1):
        city.clock.advance(timedelta(days=1))
        with city.db.write() as tx:
            _heartbeats(city, tx)
        with city.db.write() as tx:
            engine.sweep(tx, city.clock)
        with city.db.write() as tx:
            if permits.get(tx, permit_no).status == ChipStatus.DORMANT:
                status_list.publish(tx, city.clock)
                return night
    raise AssertionError(f"{permit_no} did not go to sleep in {MAX_NIGHTS} nights")


def new_job(city: City, settler: Settler, permit_no: str) -> ChipStatus:
    """The old employer hires again: the permit wakes at once and leaves the list."""
    person = settler.resident
    with city.db.write() as tx:
        today = business_date(city.clock.now())
        employment.hire(
            tx, city.clock, settler.employer.code, person.citizen_id, person.name, today
        )
        deliver_all(tx, city.clock)
        status_list.publish(tx, city.clock)
        return ChipStatus(permits.get(tx, permit_no).status)


def _heartbeats(city: City, tx: Tx) -> None:
    """Both registers say that they are up: without it nobody is put to sleep (residence.md 6.8)."""
    employment.heartbeat(tx, city.clock)
    rental.heartbeat(tx, city.clock)
    deliver_all(tx, city.clock)
