"""The preparation of a rehearsed pilot: codes, plates and cards, accounts and feeds, trained staff, signed points.

Everything goes through the registers' services (residence.md 16); rooms and units a list at a time.
"""

from datetime import date

from sqlalchemy import select

from core.clock import Clock
from core.db import Database, Tx
from registry.employment import accounts, feeds, inspections
from registry.employment import service as employment
from registry.pilot import tasks
from registry.pilot.world import Company, World
from registry.points import readiness, training
from registry.points.places import all_points
from registry.points.readiness import Item, Office
from registry.points.training import Audience, Module
from registry.rental import day_list as rooms
from registry.rental import quality, units
from registry.rental.day_list import Room
from registry.rental.tables import PlateRow
from registry.roles import Actor, Role

OFFICE = Actor.of("pilot office", Role.PILOT_OFFICE)
POLICE = Actor.of("police office", Role.POLICE_CLERK)
REVIEWER = Actor.of("review desk", Role.REVIEWER)
INSPECTOR = Actor.of("labour inspection", Role.LABOUR_INSPECTOR)
SET_UP = date(2007, 3, 5)
BEDS = 2
ROOMS_AT_ONCE = 5_000  # a transaction's worth of rooms
STAFF = (1, 2)  # of a point


def prepare(db: Database, clock: Clock, world: World) -> None:
    """All of it, before the first day."""
    with db.write() as tx:
        tasks.load(tx)
        owner = units.register_responsible(tx, clock, world.residents[0].citizen_id, "owner")
    for first in range(0, len(world.homes), ROOMS_AT_ONCE):
        homes = world.homes[first : first + ROOMS_AT_ONCE]
        with db.write() as tx:
            lines = [Room(home.code, home.text, home.station, BEDS) for home in homes]
            rooms.let_all(tx, clock, lines, owner)
            quality.load_census(tx, [(home.code, home.text, True) for home in homes], SET_UP)
    with db.write() as tx:
        for one, other in world.swapped:
            _swap(tx, world.homes[one].code, world.homes[other].code)
        _open_accounts(tx, clock, world)
        make_points_ready(tx, clock)


def _open_accounts(tx: Tx, clock: Clock, world: World) -> None:
    for company in world.companies:
        employer = company.employer
        employment.open_employer(
            tx, clock, employer.code, employer.name, employer.address_code, company.headcount
        )
    for feed in (feeds.GSJ, feeds.ZJJ):
        told = feeds.load_feed(tx, feed, _feed_file(world, feed), SET_UP)
        if told.errors:
            raise AssertionError(f"the world's own feed {feed} has errors")


def make_points_ready(tx: Tx, clock: Clock) -> None:
    """Staff trained, every item seen, both offices sign: all 23 points may be opened."""
    for point in all_points():
        for number in STAFF:
            person = f"clerk {point.code}-{number}"
            training.assign(tx, clock, person, point.code, Audience.POINT_STAFF, OFFICE)
            for module in Module:
                training.examine(tx, clock, person, module, 90, OFFICE)
        for item in Item:
            if item is not Item.STAFF:
                readiness.note(tx, clock, point.code, item, True, "seen on site", OFFICE)
        readiness.sign(tx, clock, point.code, Office.POLICE, POLICE)
        readiness.sign(tx, clock, point.code, Office.DISTRICT, OFFICE)


def confirm_and_inspect(tx: Tx, clock: Clock, world: World) -> None:
    """Who tells confirms the monthly list; who stays silent is visited and its heads are counted."""
    for company in world.companies:
        code = company.employer.code
        if company.covered:
            operator = Actor.of(f"operator {code}", Role.EMPLOYER_OP)
            accounts.admit_operator(tx, code, operator, POLICE)
            accounts.confirm_list(tx, clock, code, operator)
        else:
            case = inspections.open_case(tx, clock, code, INSPECTOR)
            inspections.count_heads(tx, clock, case, company.headcount, INSPECTOR)


def _swap(tx: Tx, one: str, other: str) -> None:
    """Two plates hang at each other's door, as a careless fitter leaves them."""
    first = tx.scalars(select(PlateRow).where(PlateRow.code == one)).one()
    second = tx.scalars(select(PlateRow).where(PlateRow.code == other)).one()
    first.text, second.text = second.text, first.text
    tx.flush()


def _feed_file(world: World, feed: str) -> bytes:
    """An office's list: every fourth line of the second office has the registration number only."""
    lines = ["line,code,reg_no,name,kind,address_code27,active"]

    def line(number: int, company: Company | None, code: str, name: str) -> str:
        reg_no = f"990308{number:09d}"
        shown = code
        if company and feed == feeds.ZJJ and number % 4 == 0 and feeds.GSJ in company.feeds:
            shown, name = "", name.replace("有限公司", "公司")
        return f"{number},{shown},{reg_no},{name},ENTERPRISE,,{'Y' if company else 'N'}"

    for number, company in enumerate(world.companies):
        if feed in company.feeds:
            lines.append(line(number, company, company.employer.code, company.employer.name))
    for number, gone in enumerate(world.closed, len(world.companies)):
        lines.append(line(number, None, gone.code, gone.name))
    return ("\ufeff" + "\n".join(lines) + "\n").encode("utf-8")
