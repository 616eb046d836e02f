"""A whole pilot in compressed time: the truth is told to the registers day by day, through their services only.

Preparation (codes, plates, accounts, feeds, readiness), the trial run with its reports, permits, sleeps and wakes,
and the blind field check at the end. `rehearse` ends with the indicators of both dates kept in the register.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial

from sqlalchemy import select

from core.clock import SHANGHAI, FixedClock
from core.db import Database, Tx
from core.errors import Rejected
from registry.dormancy import engine
from registry.employment import accounts, feeds, inspections
from registry.employment import service as employment
from registry.indicators import compute, samples, values
from registry.indicators.tables import SampleUnitRow
from registry.indicators.values import IndicatorValue
from registry.pilot import tasks
from registry.pilot.world import (
    BUILD_UP,
    DUE,
    FIRST_LOSS,
    LAST,
    LOSS_DAYS,
    OUT_OF_WORK,
    Company,
    Job,
    Slip,
    Stay,
    World,
)
from registry.points import launch, readiness, training
from registry.points.places import all_points
from registry.points.readiness import Item, Office
from registry.points.training import Audience, Module
from registry.rental import address, occupants, quality, units
from registry.rental import service as rental
from registry.rental.occupants import Occupant
from registry.rental.tables import OccupancyRow, OccupantRow, PlateRow
from registry.residence import applications
from registry.residence.domain import Basis
from registry.roles import Actor, Role
from registry.settlers import Settler, apply_for_permit, deliver_all, point_for

OFFICE = Actor.of("pilot office", Role.PILOT_OFFICE)
POLICE = Actor.of("police office", Role.POLICE_CLERK)
REVIEWER = Actor.of("review desk", Role.REVIEWER)
INSPECTOR = Actor.of("labour inspection", Role.LABOUR_INSPECTOR)
AUDITOR = Actor.of("audit office", Role.AUDITOR)
SET_UP = date(2007, 3, 5)
APPLY, APPROVE = date(2007, 5, 8), date(2007, 5, 14)
# the sweeps that see the holders' story
SLEEP_WATCH = (FIRST_LOSS, FIRST_LOSS + timedelta(days=LOSS_DAYS + 3) + OUT_OF_WORK)
OFFICE_DAYS = (DUE, APPLY, APPROVE, LAST)
MAX_SAMPLE = 2_000
QUITS = "02"
NOTICED_BY = {Slip.TYPO: "E-CID-", Slip.SWAP: "E-NAME-OTHER", Slip.TWICE: "E-OVERLAP"}
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Rehearsed:
    """What the registers found: indicators in the order of the report, and the mistakes they noticed."""

    indicators: list[IndicatorValue]
    noticed: dict[Slip, int]


def mistyped(citizen_id: str) -> str:
    """The number with its 16th digit one higher.

    >>> mistyped("994300198502130012")
    '994300198502130112'
    """
    return citizen_id[:15] + str((int(citizen_id[15]) + 1) % 10) + citizen_id[16:]


def rehearse(db: Database, world: World, progress: Progress) -> Rehearsed:
    """Run it all."""
    clock = FixedClock(_morning(SET_UP))
    rehearsal = _Rehearsal(db, clock, world)
    rehearsal.set_up()
    days = (LAST - SET_UP).days
    found: list[IndicatorValue] = []
    for number in range(1, days + 1):
        day = SET_UP + timedelta(days=number)
        clock.advance(_morning(day) - clock.now())
        rehearsal.live(day)
        if day == DUE:
            found = rehearsal.measure_preparation()
        progress(day.isoformat(), number, days)
    found += rehearsal.measure_trial()
    with db.write() as tx:
        for one in found:
            values.keep(tx, clock, one)
    return Rehearsed(found, {slip: rehearsal.noticed[slip] for slip in Slip})


def _morning(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 9, tzinfo=SHANGHAI)


class _Rehearsal:
    """The registers, the clock, and what will be told on which day."""

    def __init__(self, db: Database, clock: FixedClock, world: World) -> None:
        self._db, self._clock, self._world = db, clock, world
        self.noticed: Counter[Slip] = Counter()
        self._last_told = ""
        self._accepted: list[str] = []
        self._records: dict[int, str] = {}  # of a job by its number
        self._stays: dict[int, str] = {}
        self._diary: dict[date, list[Callable[[Tx], None]]] = defaultdict(list)
        for number, job in enumerate(world.jobs):
            if job.told:
                self._diary[job.told].append(partial(self._tell_hire, number=number))
            if job.end_told:
                self._diary[job.end_told].append(partial(self._tell_end, number=number))
        for number, stay in enumerate(world.stays):
            if stay.told:
                self._diary[stay.told].append(partial(self._tell_move_in, number=number))
            if stay.until_told:
                self._diary[stay.until_told].append(partial(self._tell_move_out, number=number))

    def set_up(self) -> None:
        """Codes, plates and cards; accounts; the feeds; duties; trained staff and signed points."""
        clock, world = self._clock, self._world
        with self._db.write() as tx:
            tasks.load(tx)
            owner = units.register_responsible(tx, clock, world.residents[0].citizen_id, "owner")
            for place in world.homes:
                address.propose(tx, clock, place.code, place.text)
                address.activate(tx, clock, place.code)
                units.open_unit(tx, place.code, owner, "DWELLING", 2, place.station)
            for one, other in world.swapped:
                _swap(tx, world.homes[one].code, world.homes[other].code)
            quality.load_census(
                tx, [(place.code, place.text, True) for place in world.homes], SET_UP
            )
            for company in world.companies:
                employer = company.employer
                employment.open_employer(
                    tx, clock, employer.code, employer.name, employer.address_code,
                    company.headcount,
                )  # fmt: skip
            for feed in (feeds.GSJ, feeds.ZJJ):
                told = feeds.load_feed(tx, feed, _feed_file(world, feed), SET_UP)
                if told.errors:
                    raise AssertionError(f"the world's own feed {feed} has errors")
            deliver_all(tx, clock)
        self._make_points_ready()

    def _make_points_ready(self) -> None:
        with self._db.write() as tx:
            for point in all_points():
                for number in (1, 2):
                    person = f"clerk {point.code}-{number}"
                    training.assign(
                        tx, self._clock, person, point.code, Audience.POINT_STAFF, OFFICE
                    )
                    for module in Module:
                        training.examine(tx, self._clock, person, module, 90, OFFICE)
                for item in Item:
                    if item is not Item.STAFF:
                        readiness.note(
                            tx, self._clock, point.code, item, True, "seen on site", OFFICE
                        )
                readiness.sign(tx, self._clock, point.code, Office.POLICE, POLICE)
                readiness.sign(tx, self._clock, point.code, Office.DISTRICT, OFFICE)

    def live(self, day: date) -> None:
        """One day: what is told today, and what the offices do. Most days nobody has anything to do."""
        watched = SLEEP_WATCH[0] <= day <= SLEEP_WATCH[1]
        if day not in self._diary and not watched and day not in OFFICE_DAYS:
            return
        with self._db.write() as tx:
            for tell in self._diary.pop(day, ()):
                tell(tx)
            if day == DUE:
                self._confirm_and_inspect(tx)
            if day == APPLY:
                launch.open_points(tx, self._clock, OFFICE)
                self._apply(tx)
            if day == APPROVE:
                self._approve(tx)
            if watched or day in OFFICE_DAYS:
                tasks.escalate(tx, self._clock)
                employment.heartbeat(tx, self._clock)
                rental.heartbeat(tx, self._clock)
                deliver_all(tx, self._clock)
            if watched or day == LAST:
                engine.sweep(tx, self._clock)

    def _confirm_and_inspect(self, tx: Tx) -> None:
        """Who tells confirms the monthly list; who stays silent is visited and its heads are counted."""
        for company in self._world.companies:
            code = company.employer.code
            if company.covered:
                operator = Actor.of(f"operator {code}", Role.EMPLOYER_OP)
                accounts.admit_operator(tx, code, operator, POLICE)
                accounts.confirm_list(tx, self._clock, code, operator)
            else:
                case = inspections.open_case(tx, self._clock, code, INSPECTOR)
                inspections.count_heads(tx, self._clock, case, company.headcount, INSPECTOR)

    def _apply(self, tx: Tx) -> None:
        for number, person in enumerate(self._world.holders):
            stay = next(one for one in self._world.stays if one.person == person)
            home, company = self._world.homes[stay.home], self._world.companies[0]
            settler = Settler(self._world.residents[person], home, company.employer, None)
            acc_no = apply_for_permit(tx, self._clock, settler, point_for(number), Basis.EMPLOYMENT)
            self._accepted.append(acc_no)

    def _approve(self, tx: Tx) -> None:
        for acc_no in self._accepted:
            applications.verify(tx, self._clock, acc_no)
            applications.approve(tx, self._clock, acc_no, REVIEWER, note="seen")

    def _tell_hire(self, tx: Tx, number: int) -> None:
        job, slip = self._world.jobs[number], self._world.slips.get(number)
        person = self._world.residents[job.person]
        if slip is Slip.TYPO:
            self._mistake(tx, job, mistyped(person.citizen_id), slip)
        if slip is Slip.SWAP:
            self._mistake(tx, job, self._last_told, slip)
        self._records[number] = self._hire(tx, job, person.citizen_id)
        if slip is Slip.TWICE:
            self._mistake(tx, job, person.citizen_id, slip)
        self._last_told = person.citizen_id

    def _hire(self, tx: Tx, job: Job, citizen_id: str) -> str:
        code = self._world.companies[job.employer].employer.code
        name = self._world.residents[job.person].name
        return employment.hire(tx, self._clock, code, citizen_id, name, job.start)

    def _mistake(self, tx: Tx, job: Job, citizen_id: str, slip: Slip) -> None:
        """A wrong report. One that is taken in is not counted as noticed, and shows in the indicators too."""
        try:
            self._hire(tx, job, citizen_id)
        except Rejected as refused:
            self.noticed[slip] += refused.code.startswith(NOTICED_BY[slip])

    def _tell_end(self, tx: Tx, number: int) -> None:
        job = self._world.jobs[number]
        if job.end is None:
            raise AssertionError("an end is told that did not happen")
        employment.end(tx, self._clock, self._records[number], job.end, QUITS)

    def _tell_move_in(self, tx: Tx, number: int) -> None:
        stay = self._world.stays[number]
        person = self._world.residents[stay.person]
        self._stays[number] = rental.move_in(
            tx, self._clock, self._world.homes[stay.home].code, person.citizen_id,
            stay.said_name or person.name, stay.said_since or stay.since,
        )  # fmt: skip

    def _tell_move_out(self, tx: Tx, number: int) -> None:
        stay = self._world.stays[number]
        if stay.until is None:
            raise AssertionError("a move is told that did not happen")
        rental.move_out(tx, self._clock, self._stays[number], stay.until)

    def measure_preparation(self) -> list[IndicatorValue]:
        """What is due at the end of preparation."""
        with self._db.read() as tx:
            return [
                compute.employer_coverage(tx, DUE),
                compute.worker_entry(tx, DUE),
                *compute.addresses(tx, DUE),
                *compute.points(tx, self._clock, DUE),
            ]

    def measure_trial(self) -> list[IndicatorValue]:
        """What the trial run shows: both clocks, the field check, the sleeps."""
        with self._db.write() as tx:
            found = [
                compute.employment_timeliness(tx, BUILD_UP, LAST),
                compute.rental_timeliness(tx, BUILD_UP, LAST),
                self._visit(tx, "R1"),
                self._visit(tx, "R2"),
            ]
            return [*found, *compute.dormancy(tx, LAST)]

    def _visit(self, tx: Tx, kind: str) -> IndicatorValue:
        """The auditors draw; visitors who know the truth look at every unit drawn."""
        frame = self._frame(tx, kind)
        size = min(MAX_SAMPLE, len(frame))
        sample = samples.draw(tx, self._clock, kind, size, self._world.seed, AUDITOR)
        drawn = tx.scalars(select(SampleUnitRow.unit).where(SampleUnitRow.sample == sample)).all()
        for unit in drawn:
            found, right = frame[unit]
            samples.enter(tx, sample, unit, found, right)
        return samples.evaluate(tx, sample, LAST)

    def _frame(self, tx: Tx, kind: str) -> dict[str, tuple[int, int]]:
        """What a visitor will find: by unit (R1) or by living record (R2)."""
        numbers = {one.citizen_id: n for n, one in enumerate(self._world.residents)}
        truth = {
            stay.person: stay
            for stay in self._world.stays
            if stay.until is None or stay.until >= LAST
        }
        rows = tx.execute(
            select(OccupancyRow, OccupantRow)
            .join(OccupantRow, OccupantRow.id == OccupancyRow.occupant_id)
            .where(OccupancyRow.move_out.is_(None), OccupancyRow.withdrawn_at.is_(None))
        ).all()
        people = occupants.opened(tx, [who for _, who in rows])
        records = [(row, who) for (row, _), who in zip(rows, people, strict=True)]
        if kind == "R2":
            return {
                row.id: (1, self._agrees(row, who, truth.get(numbers[who.citizen_id])))
                for row, who in records
            }
        known = {(row.address_code, numbers[who.citizen_id]) for row, who in records}
        frame = {place.code: [0, 0] for place in self._world.homes}
        for person, stay in truth.items():
            code = self._world.homes[stay.home].code
            frame[code][0] += 1
            frame[code][1] += (code, person) in known
        return {code: (found, right) for code, (found, right) in frame.items()}

    def _agrees(self, row: OccupancyRow, who: Occupant, stay: Stay | None) -> int:
        """1 when name, room and first day (within 7 days) are true and the person still lives there."""
        if stay is None:
            return 0
        person = self._world.residents[stay.person]
        same = who.name == person.name and row.address_code == self._world.homes[stay.home].code
        return int(same and abs((row.move_in - stay.since).days) <= 7)


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
