"""A small city for the registers' tests: an in-memory database, a clock that stands still, some people."""

import sqlite3
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cache

from core.clock import SHANGHAI, FixedClock, business_date
from core.db import Database, Tx, metadata
from registry import synthetic
from registry.dormancy import engine, status, status_list, tables  # noqa: F401 - declare tables
from registry.dormancy.engine import Swept
from registry.employment import service as employment
from registry.exchange import delivery
from registry.identifiers import DIVISION, DIVISION_DIGITS
from registry.pilot.tables import OpeningRow
from registry.rental import address
from registry.rental import service as rental
from registry.residence import applications, cards, permits, persons
from registry.residence.domain import Basis, PermitType, State
from registry.roles import Actor, Role
from registry.synthetic import Resident
from tests.vault_bench import with_vault

CLERK = Actor.of("clerk Chen", Role.POLICE_CLERK)
STATION = Actor.of("clerk Wu", Role.STATION_CLERK)
REVIEWER = Actor.of("reviewer Lin", Role.REVIEWER)
OFFICE = Actor.of("office He", Role.PILOT_OFFICE)
FIRST_DAY = date(2007, 5, 1)  # of the pilot stage
PRODUCTION_STEPS = (
    State.DATA_PREP,
    State.IN_PRODUCTION,
    State.QC,
    State.PACKED,
    State.IN_TRANSIT,
    State.AT_POINT,
)
SERIALS = ("07001000000102", "07001000000296", "07001000000393")


@dataclass
class City:
    """The registers on one database and one clock."""

    db: Database
    clock: FixedClock
    people: list[Resident]
    homes: list[str]
    employers: list[str]
    permit_no: str = ""

    @property
    def today(self) -> date:
        return business_date(self.clock.now())

    def go_to(self, day: date) -> None:
        """Nine in the morning of `day` in Shenzhen."""
        wanted = datetime(day.year, day.month, day.day, 9, tzinfo=SHANGHAI)
        self.clock.advance(wanted - self.clock.now())

    def deliver(self, tx: Tx) -> delivery.Delivered:
        return delivery.deliver(tx, self.clock, "residence", engine.HANDLERS)

    def heartbeats(self, tx: Tx) -> None:
        employment.heartbeat(tx, self.clock)
        rental.heartbeat(tx, self.clock)
        self.deliver(tx)

    def sweep(self) -> Swept:
        """A night: both registers are up, the sweep runs."""
        with self.db.write() as tx:
            self.heartbeats(tx)
            return engine.sweep(tx, self.clock)

    def live_and_work(self, tx: Tx, number: int, since: date, employer: int = 0) -> str:
        """Register a home and a job for a person; returns the employment's record."""
        person = self.people[number]
        home = self.homes[number]
        rental.move_in(tx, self.clock, home, person.citizen_id, person.name, since)
        return employment.hire(
            tx, self.clock, self.employers[employer], person.citizen_id, person.name, since
        )

    def apply(self, tx: Tx, number: int, basis: Basis = Basis.EMPLOYMENT) -> str:
        """From nothing to ACCEPTED; returns the acceptance number."""
        person = self.people[number]
        known = persons.register(tx, self.clock, person_data(person))
        persons.store_photo(tx, self.clock, known, person.portrait())
        draft = applications.Draft(known, basis, self.homes[number], "001")
        tracking = applications.save(tx, self.clock, draft, CLERK)
        applications.submit(tx, self.clock, tracking, CLERK)
        return applications.accept(tx, self.clock, tracking, CLERK, "R-1")

    def approve(self, tx: Tx, acc_no: str, kind: PermitType = PermitType.RP) -> str:
        """Verified and approved; returns the permit number."""
        applications.verify(tx, self.clock, acc_no)
        return applications.approve(tx, self.clock, acc_no, REVIEWER, kind, note="seen")

    def hold_permit(self, tx: Tx, number: int, since: date) -> tuple[str, str]:
        """Person with home, job and permit; returns permit number and employment record."""
        record = self.live_and_work(tx, number, since)
        self.deliver(tx)
        permit_no = self.approve(tx, self.apply(tx, number))
        return permit_no, record

    def make_card(self, tx: Tx, permit_no: str, serial: str, chip: str) -> None:
        """A card of the permit's application, made and brought to the point."""
        acc_no = acceptance_of(tx, permit_no)
        for step in PRODUCTION_STEPS:
            applications.advance(tx, self.clock, acc_no, step, "centre")
        cards.bind_card(tx, self.clock, acc_no, serial, chip, "LOT1", "centre")


def acceptance_of(tx: Tx, permit_no: str) -> str:
    """The newest application of a permit."""
    rows = tx.query(applications.ApplicationRow).filter_by(permit_no=permit_no).all()
    return max(row.acc_no or "" for row in rows)


def holder_of(tx: Tx, permit_no: str) -> Actor:
    """The person whose permit it is, as it signs in."""
    return Actor.of(permits.get(tx, permit_no).person_id, Role.HOLDER)


def person_data(person: Resident) -> persons.PersonData:
    return persons.PersonData(
        person.citizen_id, person.name, person.sex, person.ethnic, person.household_address
    )


def city(
    start: date = date(2007, 5, 8), count: int = 4, db: Database | None = None,
    division: str = DIVISION,
) -> City:  # fmt: skip
    """A city with ACTIVE addresses and three employers; without `db` a copy of one that was made before."""
    if db is not None:
        return _built(db, start, count, division)
    kept, made = _kept(start, count, division, len(metadata.tables))
    return City(
        restored(kept), FixedClock(made.clock.now()), list(made.people), list(made.homes),
        list(made.employers),
    )  # fmt: skip


def snapshot(db: Database) -> bytes:
    """Everything in an in-memory database."""
    return _connection(db).serialize()


def restored(kept: bytes) -> Database:
    """A new in-memory database with that in it."""
    db = with_vault(Database("sqlite://"))
    _connection(db).deserialize(kept)
    return db


def _connection(db: Database) -> sqlite3.Connection:
    raw = db.engine.raw_connection()
    try:
        found = raw.driver_connection
        assert isinstance(found, sqlite3.Connection)
        return found
    finally:
        raw.close()


@cache
def _kept(start: date, count: int, division: str, _tables: int) -> tuple[bytes, City]:
    db = Database("sqlite://")
    db.create_tables()
    made = _built(db, start, count, division)
    return snapshot(db), made


def _built(db: Database, start: date, count: int, division: str) -> City:
    clock = FixedClock(datetime(start.year, start.month, start.day, 1, tzinfo=UTC))
    places = [
        replace(place, code=division + place.code[DIVISION_DIGITS:])
        for place in synthetic.addresses(count)
    ]
    companies = synthetic.employers(3, places)
    with db.write() as tx:
        for place in places:
            address.propose(tx, clock, place.code, place.text)
            address.activate(tx, clock, place.code)
        for company in companies:
            employment.open_employer(
                tx, clock, company.code, company.name, company.address_code, company.headcount
            )
        made = City(
            db, clock, synthetic.residents(count), [p.code for p in places],
            [c.code for c in companies],
        )  # fmt: skip
        made.heartbeats(tx)
        if start >= FIRST_DAY:
            points_are_open(tx, clock)
    return made


def points_are_open(tx: Tx, clock: FixedClock) -> None:
    """As after `launch.open_points`, without making 23 points ready first."""
    tx.add(OpeningRow(id=1, opened_at=clock.now(), opened_by=OFFICE.name))
