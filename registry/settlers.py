"""People come to live in the city: a synthetic population put into the registers the ordinary way.

Used by the demonstration, the pilot and the benchmarks. Everything goes through the services of the
three registers and their messages; nothing is written past them. The same seed gives the same city.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from core.clock import Clock, business_date
from core.db import Tx
from registry import synthetic
from registry.dormancy import day_post
from registry.employment import service as employment
from registry.points.places import Point, all_points
from registry.rental import address
from registry.rental import service as rental
from registry.residence import applications, persons
from registry.residence.domain import Basis
from registry.roles import Actor, Role
from registry.synthetic import SEED, Address, Employer, Resident

SETTLED_FOR = timedelta(days=36)
WORKERS_PER_EMPLOYER = 6
MAX_DELIVERIES = 1_000


@dataclass(frozen=True)
class Settler:
    """A resident with a home and, when `job` is set, a record in the employment register."""

    resident: Resident
    home: Address
    employer: Employer
    job: str | None


def settle(
    tx: Tx, clock: Clock, count: int, *, jobless: frozenset[int] = frozenset(), seed: int = SEED
) -> list[Settler]:
    """`count` people move in and are hired; those numbered in `jobless` have no employer's record.

    Addresses are coded, plated and activated first, then employers open their accounts. Ends with the
    messages delivered to the residence register.
    """
    since = business_date(clock.now()) - SETTLED_FOR
    places = synthetic.addresses(count, seed)
    companies = synthetic.employers(max(1, count // WORKERS_PER_EMPLOYER), places, seed)
    for place in places:
        address.propose(tx, clock, place.code, place.text)
        address.activate(tx, clock, place.code)
    for company in companies:
        employment.open_employer(
            tx, clock, company.code, company.name, company.address_code, company.headcount
        )
    found = [
        _settle_one(
            tx, clock, person, places[number], companies[number % len(companies)], since,
            number not in jobless,
        )
        for number, person in enumerate(synthetic.residents(count, seed))
    ]  # fmt: skip
    employment.heartbeat(tx, clock)
    rental.heartbeat(tx, clock)
    deliver_all(tx, clock)
    return found


def _settle_one(
    tx: Tx,
    clock: Clock,
    person: Resident,
    home: Address,
    company: Employer,
    since: date,
    works: bool,
) -> Settler:
    rental.move_in(tx, clock, home.code, person.citizen_id, person.name, since)
    job = None
    if works:
        job = employment.hire(tx, clock, company.code, person.citizen_id, person.name, since)
    return Settler(person, home, company, job)


def deliver_all(tx: Tx, clock: Clock) -> int:
    """Hand every waiting message to the residence register; returns how many were taken in."""
    taken = 0
    for _ in range(MAX_DELIVERIES):
        run = day_post.deliver_page(tx, clock)
        taken += run.taken
        if not (run.taken or run.repeated or run.refused):
            return taken
    raise AssertionError(f"more than {MAX_DELIVERIES} delivery runs")


def clerk_at(point: Point) -> Actor:
    """The clerk of an acceptance point."""
    role = Role.POLICE_CLERK if point.kind == "police" else Role.STATION_CLERK
    return Actor.of(f"clerk {point.code}", role)


def point_for(number: int) -> Point:
    """Applicants spread over the 23 points in turn."""
    points = all_points()
    return points[number % len(points)]


def apply_for_permit(
    tx: Tx, clock: Clock, settler: Settler, point: Point, basis: Basis = Basis.EMPLOYMENT
) -> str:
    """Lines 1 to 3 of residence.md 5.3 at a window; returns the acceptance number.

    Raises what `persons.register`, `applications.save`, `submit` and `accept` raise.
    """
    clerk, person = clerk_at(point), settler.resident
    data = persons.PersonData(
        person.citizen_id, person.name, person.sex, person.ethnic, person.household_address,
        person.phone,
    )  # fmt: skip
    known = persons.register(tx, clock, data)
    persons.store_photo(tx, clock, known, person.portrait())
    draft = applications.Draft(known, basis, settler.home.code, point.code)
    tracking = applications.save(tx, clock, draft, clerk)
    applications.submit(tx, clock, tracking, clerk)
    return applications.accept(tx, clock, tracking, clerk, f"R-{point.code}-{tracking[:8]}")
