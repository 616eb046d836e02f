"""A whole pilot in compressed time: the truth is told to the registers day by day, through their services only.

Preparation (codes, plates, accounts, feeds, readiness), the trial run with its reports, permits, sleeps and wakes,
a bad line between the registers, and the blind field check. `rehearse` ends with the indicators of both dates
kept in the register. One transaction a day; nothing of the city is held in memory but its truth.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum

from core.clock import SHANGHAI, FixedClock
from core.db import Database, Tx
from core.errors import CityError, Rejected
from registry.dormancy import engine
from registry.employment import day_list as hires
from registry.employment import service as employment
from registry.employment import workers
from registry.employment.day_list import Hire
from registry.indicators import compute, values
from registry.indicators.values import IndicatorValue
from registry.pilot import issues, monitors, offices, preparation, tasks
from registry.pilot.field_check import Visitors
from registry.pilot.issues import Cause
from registry.pilot.mail import Fault, Mail
from registry.pilot.preparation import OFFICE, REVIEWER
from registry.pilot.world import (
    BUILD_UP,
    DUE,
    FIRST_LOSS,
    LAST,
    OUT_OF_WORK,
    Slip,
    World,
)
from registry.points import launch
from registry.rental import day_list as moves
from registry.rental import service as rental
from registry.rental.day_list import MoveIn
from registry.residence import applications
from registry.residence.domain import Basis
from registry.roles import Actor, Role
from registry.settlers import Settler, apply_for_permit, point_for

SECOND = Actor.of("pilot office, second desk", Role.PILOT_OFFICE)
APPLY, APPROVE = date(2007, 5, 8), date(2007, 5, 14)
AFTER = timedelta(days=3)  # days for the last new job to be heard of
SUNDAY, WEEK = 7, timedelta(days=7)
OFFICE_DAYS = (DUE, APPLY, APPROVE, LAST)
COMPARE_EVERY = 14  # days of the watch between two comparisons of the registers
NIGHT = timedelta(hours=13)  # from the offices' morning to the comparison
OUTAGE = (date(2007, 6, 12), date(2007, 6, 13))  # the employment register is not heard for 48 hours
QUITS = "02"
DAILY = ("dead_messages", "undelivered", "silence", "drift", "stopped_sweeps", "failing_hooks")
NOTICED_BY = {Slip.TYPO: "E-CID-", Slip.SWAP: "E-NAME-OTHER", Slip.TWICE: "E-OVERLAP"}
Progress = Callable[[str, int, int], None]


class Told(Enum):
    """What somebody tells a register on a day; the lists of a day are handed in in this order."""

    HIRE = "HIRE"
    END = "END"
    MOVE_IN = "MOVE_IN"
    MOVE_OUT = "MOVE_OUT"


@dataclass(frozen=True)
class Rehearsed:
    """What the registers found: indicators in the order of the report, and what they noticed.

    `slips`: employers' mistakes that were refused. `faults`: the line's faults, (noticed, made). `held_back`: days
    on which a silent register stopped sleeps. `released`: sweeps that two persons let go on. `issues`: what the
    monitors entered, (closed after a re-test, raised).
    """

    indicators: list[IndicatorValue]
    slips: dict[Slip, int]
    faults: dict[Fault, tuple[int, int]]
    held_back: int
    released: int
    issues: tuple[int, int]


def mistyped(citizen_id: str) -> str:
    """The number with its 16th digit one higher.

    >>> mistyped("994300198502130012")
    '994300198502130112'
    """
    return citizen_id[:15] + str((int(citizen_id[15]) + 1) % 10) + citizen_id[16:]


def rehearse(db: Database, world: World, progress: Progress) -> Rehearsed:
    """Run it all."""
    clock = FixedClock(_morning(preparation.SET_UP))
    days = (LAST - preparation.SET_UP).days
    progress("codes, accounts, points", 0, days)
    preparation.prepare(db, clock, world)
    with db.write() as tx:
        offices.prepare(tx, clock)
    rehearsal = _Rehearsal(db, clock, world)
    for number in range(1, days + 1):
        day = preparation.SET_UP + timedelta(days=number)
        clock.advance(_morning(day) - clock.now())
        rehearsal.live(day)
        if day == DUE:
            rehearsal.measure_preparation()
        if day > DUE and day.isoweekday() == SUNDAY:
            rehearsal.measure_week(day)
        progress(day.isoformat(), number, days)
    rehearsal.last_night()
    rehearsal.measure_trial()
    return rehearsal.result()


def _morning(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 9, tzinfo=SHANGHAI)


class _Rehearsal:
    """The registers, the clock, and what will be told on which day."""

    def __init__(self, db: Database, clock: FixedClock, world: World) -> None:
        self._db, self._clock, self._world = db, clock, world
        self._mail = Mail(world.seed)
        self._slips: Counter[Slip] = Counter()
        self._held_back = self._released = self._raised = self._closed = 0
        self._found: list[IndicatorValue] = []
        self._last_told = ""
        self._last_watch = (
            world.last_loss + OUT_OF_WORK + AFTER
        )  # the sweeps see the holders' story
        self._accepted: list[str] = []
        self._records: dict[int, str] = {}  # of a job by its number
        self._stays: dict[int, str] = {}
        self._diary: dict[tuple[date, Told], list[int]] = defaultdict(list)
        for number, job in enumerate(world.jobs):
            self._note(job.told, Told.HIRE, number)
            self._note(job.end_told, Told.END, number)
        for number, stay in enumerate(world.stays):
            self._note(stay.told, Told.MOVE_IN, number)
            self._note(stay.until_told, Told.MOVE_OUT, number)

    def _note(self, day: date | None, what: Told, number: int) -> None:
        if day is not None:
            self._diary[day, what].append(number)

    def live(self, day: date) -> None:
        """One day: what is told today, and what the offices do. Some days nobody has anything to do."""
        lists = {what: self._diary.pop((day, what), []) for what in Told}
        watched = FIRST_LOSS <= day <= self._last_watch
        quiet = not any(lists.values()) and day not in offices.CALENDAR
        if quiet and not watched and day not in OFFICE_DAYS:
            return
        with self._db.write() as tx:
            offices.on_day(tx, self._clock, day)
            self._tell_hires(tx, lists[Told.HIRE])
            self._tell_ends(tx, lists[Told.END])
            self._tell_moves_in(tx, lists[Told.MOVE_IN])
            self._tell_moves_out(tx, lists[Told.MOVE_OUT])
            if day == DUE:
                preparation.confirm_and_inspect(tx, self._clock, self._world)
            if watched or day in OFFICE_DAYS:
                self._post(tx, day, watched)
            if day == APPLY:
                launch.open_points(tx, self._clock, OFFICE)
                self._apply(tx)
            if day == APPROVE:
                self._approve(tx)
            if watched or day == LAST:
                self._sweep(tx)
            if watched or day in OFFICE_DAYS:
                self._oversee(tx, day)

    def _post(self, tx: Tx, day: date, watched: bool) -> None:
        tasks.escalate(tx, self._clock)
        silent = workers.SOURCE if day in OUTAGE else ""
        if not silent:
            employment.heartbeat(tx, self._clock)
        rental.heartbeat(tx, self._clock)
        self._mail.carry(tx, self._clock, silent)
        compared = not silent and (day - FIRST_LOSS).days % COMPARE_EVERY == 0
        if not watched or compared:
            self._mail.compare(tx, self._clock)

    def _sweep(self, tx: Tx) -> None:
        """The night's sweep; what the breaker stops, two persons look at and let go on."""
        swept = engine.sweep(tx, self._clock)
        self._held_back += swept.held_back > 0
        if swept.alarm is not None:
            day = self._clock.now().astimezone(SHANGHAI).date()
            engine.release(tx, self._clock, day, OFFICE, SECOND)
            engine.refuse_when_stopped(engine.sweep(tx, self._clock))
            self._released += 1

    def _oversee(self, tx: Tx, day: date) -> None:
        """The monitors' round: yesterday's issues are mended and tested again, today's are entered."""
        for issue in [row.id for row in issues.open_issues(tx)]:
            issues.fix(tx, self._clock, issue, Cause.TECHNIQUE, f"{day:%m.%d}")
            self._closed += monitors.retest(tx, self._clock, issue, DAILY)
        self._raised += len(monitors.look(tx, self._clock, DAILY))

    def _apply(self, tx: Tx) -> None:
        for number, person in enumerate(self._world.holders):
            home = self._world.homes[self._world.stays[person].home]
            settler = Settler(
                self._world.residents[person], home, self._world.companies[0].employer, None
            )
            acc_no = apply_for_permit(tx, self._clock, settler, point_for(number), Basis.EMPLOYMENT)
            self._accepted.append(acc_no)

    def _approve(self, tx: Tx) -> None:
        for acc_no in self._accepted:
            applications.verify(tx, self._clock, acc_no)
            applications.approve(tx, self._clock, acc_no, REVIEWER, note="seen")

    def _tell_hires(self, tx: Tx, numbers: Sequence[int]) -> None:
        """The day's list, with the employers' mistakes between the right lines."""
        lines: list[Hire] = []
        meant: list[int | Slip] = []  # the job of a right line, the mistake of a wrong one
        for number in numbers:
            job, slip = self._world.jobs[number], self._world.slips.get(number)
            person = self._world.residents[job.person]
            code = self._world.companies[job.employer].employer.code
            right = Hire(code, person.citizen_id, person.name, job.start)
            if slip is Slip.TYPO:
                lines.append(Hire(code, mistyped(person.citizen_id), person.name, job.start))
                meant.append(slip)
            if slip is Slip.SWAP:
                lines.append(Hire(code, self._last_told, person.name, job.start))
                meant.append(slip)
            lines.append(right)
            meant.append(number)
            if slip is Slip.TWICE:
                lines.append(right)
                meant.append(slip)
            self._last_told = person.citizen_id
        for what, answer in zip(meant, hires.hire_all(tx, self._clock, lines), strict=True):
            if isinstance(what, Slip):
                self._slips[what] += _refused_as(what, answer)
            else:
                self._records[what] = _record(answer)

    def _tell_ends(self, tx: Tx, numbers: Sequence[int]) -> None:
        for number in numbers:
            last_day = self._world.jobs[number].end
            assert last_day is not None, "an end is told that did not happen"
            employment.end(tx, self._clock, self._records[number], last_day, QUITS)

    def _tell_moves_in(self, tx: Tx, numbers: Sequence[int]) -> None:
        lines = []
        for number in numbers:
            stay = self._world.stays[number]
            person, home = self._world.residents[stay.person], self._world.homes[stay.home]
            name, since = stay.said_name or person.name, stay.said_since or stay.since
            lines.append(MoveIn(home.code, person.citizen_id, name, since, str(stay.bed)))
        answers = moves.move_in_all(tx, self._clock, lines)
        self._stays |= {n: _record(answer) for n, answer in zip(numbers, answers, strict=True)}

    def _tell_moves_out(self, tx: Tx, numbers: Sequence[int]) -> None:
        for number in numbers:
            last_day = self._world.stays[number].until
            assert last_day is not None, "a move is told that did not happen"
            rental.move_out(tx, self._clock, self._stays[number], last_day)

    def measure_preparation(self) -> None:
        """What is due at the end of preparation."""
        visitors = self._visitors()
        with self._db.write() as tx:
            self._found += [
                compute.employer_coverage(tx, DUE),
                compute.worker_entry(tx, DUE),
                visitors.workers(tx, self._clock, DUE, self._records),
                *compute.addresses(tx, DUE),
                *compute.points(tx, self._clock, DUE),
            ]

    def measure_week(self, sunday: date) -> None:
        """Both clocks of the week before, when the three days of its last event are over."""
        ended = sunday - WEEK
        began = ended - WEEK + timedelta(days=1)
        with self._db.write() as tx:
            for found in (
                compute.employment_timeliness(tx, began, ended),
                compute.rental_timeliness(tx, began, ended),
            ):
                values.keep(tx, self._clock, found)

    def last_night(self) -> None:
        """The night after the last repair: nothing may differ any more, and the monitors look once more."""
        self._clock.advance(NIGHT)
        with self._db.write() as tx:
            self._mail.carry(tx, self._clock)  # what was late on the last day
            self._mail.compare(tx, self._clock)
            self._oversee(tx, LAST)

    def measure_trial(self) -> None:
        """What the trial run shows: both clocks, the field check, the exchange, the sleeps."""
        visitors = self._visitors()
        with self._db.write() as tx:
            self._found += [
                compute.employment_timeliness(tx, BUILD_UP, LAST),
                compute.rental_timeliness(tx, BUILD_UP, LAST),
                visitors.collection(tx, self._clock),
                visitors.accuracy(tx, self._clock),
                compute.conformity(tx, LAST),
                compute.exchange(tx, self._clock, LAST),
                *compute.dormancy(tx, LAST),
            ]
            for one in self._found:
                values.keep(tx, self._clock, one)

    def _visitors(self) -> Visitors:
        return Visitors(self._world, {record: number for number, record in self._stays.items()})

    def result(self) -> Rehearsed:
        """What was found and noticed."""
        slips = {slip: self._slips[slip] for slip in Slip}
        return Rehearsed(
            self._found, slips, self._mail.balance(), self._held_back, self._released,
            (self._closed, self._raised),
        )  # fmt: skip


def _refused_as(slip: Slip, answer: str | Rejected) -> bool:
    """Whether a wrong line was refused for what is wrong with it; one that was taken in was not noticed."""
    return isinstance(answer, Rejected) and answer.code.startswith(NOTICED_BY[slip])


def _record(answer: str | CityError) -> str:
    """The record of a right line; a refusal of one is a bug of the registers and ends the run."""
    if isinstance(answer, CityError):
        raise answer
    return answer
