"""The synthetic truth of a pilot: who lives and works where, and what of it is told, how late and how wrongly.

Pure and seeded (residence.md 18): the registers never see this truth, only what is told. Two profiles: ``clean``
reaches every target; ``dirty`` fails exactly three: E1 (76 % of employers tell), R2 (93 % of records are right)
and A4 (98.7 % of plates say what the register says).
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from itertools import accumulate

from registry import synthetic
from registry.indicators.compute import ENOUGH
from registry.synthetic import Address, Employer, Resident

PERSONS = 183_900
EMPLOYERS = 3_600
MIN_PERSONS = 180  # fewer prove nothing by a sample
PERSONS_PER_HOME = 2
BUILD_UP = date(2007, 3, 10)  # first jobs; homes are older
DUE = date(2007, 4, 30)  # end of preparation: E1, E2, A, P are due
LAST = date(2007, 9, 10)  # last day of the trial run that is measured
FIRST_LOSS = date(2007, 6, 1)
LOSSES_A_DAY = 6  # jobs are lost day after day: at once would trip the breaker
OUT_OF_WORK = timedelta(days=30)  # until the next job, which comes too late: case C of 6.4
WORKING = 80  # percent of the persons
NEVER_TOLD = 3  # percent of the jobs of employers that tell
CLOSED = 5  # percent of the employers
HOLDERS_IN = 40  # one of so many persons applies in the measured part ...
ENOUGH_HOLDERS = 460  # ... or so many, where there are people enough for the volume of D2
ENOUGH_PERSONS = 1_800
FATES = (
    6  # of six holders one keeps the job, one loses it for good, the others find another too late
)


@dataclass(frozen=True)
class Profile:
    """What is planted. Shares in tenths of a percent."""

    name: str
    covered: int
    accurate: int
    corresponding: int
    collected: int = 990
    fails: frozenset[str] = frozenset()


PROFILES = {
    "clean": Profile("clean", 830, 990, 1_000),
    "dirty": Profile("dirty", 760, 930, 987, fails=frozenset({"E1", "R2", "A4"})),
}


@dataclass(slots=True)
class Job:
    """A spell of work. `told`, `end_told`: the day somebody reported it; None: never."""

    person: int
    employer: int
    start: date
    told: date | None
    end: date | None = None
    end_told: date | None = None


@dataclass(slots=True)
class Stay:
    """A spell of living somewhere, and what the register is told of it. `bed` counts the stays of a home."""

    person: int
    home: int
    since: date
    told: date | None
    until: date | None = None
    until_told: date | None = None
    said_name: str = ""
    said_since: date | None = None

    bed: int = 1

    @property
    def right(self) -> bool:
        """Whether what was told is true, and still was at the end of the measured time."""
        gone = self.until is not None and self.until_told is None
        return not self.said_name and self.said_since is None and not gone


@dataclass(slots=True)
class Company:
    """An employer. `covered` ones tell; `feeds` are the offices that list it."""

    employer: Employer
    covered: bool
    feeds: tuple[str, ...]
    headcount: int = 0


class Slip(StrEnum):
    """A mistake at the keyboard of an employer that a register must notice."""

    TYPO = "TYPO"  # one digit of the citizen number is wrong
    SWAP = "SWAP"  # the number of another worker with this one's name
    TWICE = "TWICE"  # the same hire again


SLIPS_PER_THOUSAND = {Slip.TYPO: 4, Slip.SWAP: 1, Slip.TWICE: 5}


@dataclass
class World:
    """All of it. `slips`: the mistake made at a job's report, by the job's number."""

    profile: Profile
    seed: int
    residents: list[Resident]
    homes: list[Address]
    companies: list[Company]
    closed: list[Employer]
    jobs: list[Job] = field(default_factory=list)
    stays: list[Stay] = field(default_factory=list)
    swapped: list[tuple[int, int]] = field(default_factory=list)
    holders: list[int] = field(default_factory=list)
    sleepers: list[int] = field(default_factory=list)
    wakers: list[int] = field(default_factory=list)
    slips: dict[int, Slip] = field(default_factory=dict)

    @property
    def last_loss(self) -> date:
        """The last day on which a holder loses the job."""
        return FIRST_LOSS + timedelta(days=(len(self.sleepers) - 1) // LOSSES_A_DAY)

    @property
    def fails(self) -> frozenset[str]:
        """The targets that this world misses: the profile's, and the volume of D2 in a small one."""
        few = min(len(self.sleepers), len(self.wakers)) < ENOUGH
        return self.profile.fails | ({"D2"} if few else set())

    def truth(self) -> Iterator[dict[str, object]]:
        """Every fact as a line of ``truth.jsonl``; people by number, never by name."""
        for number, company in enumerate(self.companies):
            yield {
                "kind": "employer", "employer": number, "code": company.employer.code,
                "covered": company.covered, "headcount": company.headcount,
            }  # fmt: skip
        for job in self.jobs:
            yield {"kind": "job", **_plain(asdict(job))}
        for stay in self.stays:
            yield {"kind": "stay", **_plain({**asdict(stay), "said_name": bool(stay.said_name)})}
        for number, slip in sorted(self.slips.items()):
            yield {"kind": "slip", "job": number, "slip": slip}
        for pair in self.swapped:
            yield {"kind": "swapped_plates", "homes": list(pair)}
        sleepers, wakers = set(self.sleepers), set(self.wakers)
        for person in self.holders:
            fate = "wakes" if person in wakers else "sleeps" if person in sleepers else "stays"
            yield {"kind": "holder", "person": person, "fate": fate}


def _plain(values: dict[str, object]) -> dict[str, object]:
    return {
        name: value.isoformat() if isinstance(value, date) else value
        for name, value in values.items()
    }


def make(profile: str, scale: float, seed: int) -> World:
    """A world of `scale` times the district. ValueError outside the limits or for an unknown profile."""
    persons = round(PERSONS * scale)
    if not MIN_PERSONS <= persons <= PERSONS:
        raise ValueError(f"{persons} persons; {MIN_PERSONS} to {PERSONS} can be run")
    planted = PROFILES[profile]
    dice = random.Random(f"pilot:{seed}")  # noqa: S311 - invented people, not secrets
    homes = synthetic.addresses(persons // PERSONS_PER_HOME, seed)
    known = synthetic.employers(max(25, round(EMPLOYERS * scale)), homes, seed)
    gone = max(1, len(known) * CLOSED // 100)
    companies = [Company(one, True, _feeds(dice)) for one in known[gone:]]
    world = World(planted, seed, synthetic.residents(persons, seed), homes, companies, known[:gone])
    _employ(world, dice)
    _house(world, dice)
    _hold(world, dice)
    _turn_over(world, dice)
    _number_beds(world)
    _spoil_records(world, dice)
    _swap_plates(world, dice)
    _slip(world, dice)
    return world


def _feeds(dice: random.Random) -> tuple[str, ...]:
    """92 % are known to one office, 85 % to the other, each to one at least."""
    found = tuple(feed for feed, share in (("GSJ", 92), ("ZJJ", 85)) if dice.randrange(100) < share)
    return found or ("GSJ",)


def _delay(dice: random.Random, prompt: int) -> int:
    """Days from the fact to its report: `prompt` percent within three, most of the others within ten."""
    if dice.randrange(100) < prompt:
        return dice.randrange(4)
    return dice.randrange(4, 11) if dice.randrange(100) < 75 else dice.randrange(11, 19)


def _employ(world: World, dice: random.Random) -> None:
    """Workers by the employers' weights, each at least one; the smallest employers are those that stay silent."""
    companies = world.companies
    workers = [n for n in range(len(world.residents)) if dice.randrange(100) < WORKING]
    weights = list(accumulate(company.employer.headcount for company in companies))
    everyone = range(len(companies))
    for number, person in enumerate(workers):
        few = number < len(companies)
        employer = number if few else dice.choices(everyone, cum_weights=weights)[0]
        start = BUILD_UP + timedelta(days=dice.randrange(31))
        world.jobs.append(Job(person, employer, start, None))
        companies[employer].headcount += 1
    telling = -(-len(companies) * world.profile.covered // 1_000)
    if world.profile.covered < 800:  # below the target also after rounding
        telling = len(companies) * world.profile.covered // 1_000
    by_size = sorted(range(len(companies)), key=lambda n: (-companies[n].headcount, n))
    for number in by_size[telling:]:
        companies[number].covered = False
    told = set[int]()
    for job in world.jobs:
        never = dice.randrange(100) < NEVER_TOLD and job.employer in told
        if companies[job.employer].covered and not never:
            job.told = job.start + timedelta(days=_delay(dice, 78))
            told.add(job.employer)


def _house(world: World, dice: random.Random) -> None:
    """Everybody lives somewhere; exactly the planted share is collected."""
    persons = len(world.residents)
    missed = set(dice.sample(range(persons), persons - persons * world.profile.collected // 1_000))
    for person in range(persons):
        since = date(2007, 2, 1) + timedelta(days=dice.randrange(60))
        told = None
        if person not in missed:
            told = max(BUILD_UP, since + timedelta(days=_delay(dice, 82)))
        world.stays.append(Stay(person, dice.randrange(len(world.homes)), since, told))


def _hold(world: World, dice: random.Random) -> None:
    """Holders of permits and their fates."""
    ready = [
        job for job in world.jobs
        if job.told and world.stays[job.person].told
        and world.companies[job.employer].headcount > 1
    ]  # fmt: skip
    persons = len(world.residents)
    count = ENOUGH_HOLDERS if persons >= ENOUGH_PERSONS else max(6, persons // HOLDERS_IN)
    chosen = dice.sample(ready, count)
    world.holders = sorted(job.person for job in chosen)
    for number, job in enumerate(sorted(chosen, key=lambda one: one.person)):
        if number % FATES == 0:
            continue
        job.end = FIRST_LOSS + timedelta(days=len(world.sleepers) // LOSSES_A_DAY)
        job.end_told = job.end + timedelta(days=1)
        world.sleepers.append(job.person)
        if number % FATES > 1:
            world.wakers.append(job.person)
            again = job.end + OUT_OF_WORK
            world.jobs.append(Job(job.person, job.employer, again, again))


def _turn_over(world: World, dice: random.Random) -> None:
    """15 % of the other jobs end and 10 % of the others move house during the trial run."""
    held = set(world.holders)
    for job in world.jobs:
        if job.told and job.person not in held and dice.randrange(100) < 15:
            job.end = date(2007, 5, 10) + timedelta(days=dice.randrange(90))
            job.end_told = job.end + timedelta(days=_delay(dice, 78))
    for stay in list(world.stays):
        if stay.told and stay.person not in held and dice.randrange(100) < 10:
            stay.until = date(2007, 5, 10) + timedelta(days=dice.randrange(90))
            stay.until_told = stay.until + timedelta(days=_delay(dice, 82))
            since = stay.until + timedelta(days=1)
            home = (stay.home + 1 + dice.randrange(len(world.homes) - 1)) % len(world.homes)
            told = since + timedelta(days=_delay(dice, 82))
            world.stays.append(Stay(stay.person, home, since, told))


def _number_beds(world: World) -> None:
    """Every stay of a home has its own bed: a record is told from its neighbours without a name."""
    taken = Counter[int]()
    for stay in world.stays:
        taken[stay.home] += 1
        stay.bed = taken[stay.home]


def _spoil_records(world: World, dice: random.Random) -> None:
    """Exactly the planted share of the living records is wrong: a name, a first day, or somebody who left."""
    spells = Counter(stay.person for stay in world.stays)
    kept = set(world.holders) | {person for person, count in spells.items() if count > 1}
    living = [stay for stay in world.stays if stay.told and stay.until is None]
    wrong = len(living) - -(-len(living) * world.profile.accurate // 1_000)
    able = [stay for stay in living if stay.person not in kept]
    for number, stay in enumerate(dice.sample(able, wrong)):
        if number % 3 == 0:
            stay.said_name = world.residents[stay.person].name + "明"
        elif number % 3 == 1:
            stay.said_since = stay.since - timedelta(days=20)
        else:  # a ghost: gone, and nobody told
            stay.until = date(2007, 8, 20)


def _swap_plates(world: World, dice: random.Random) -> None:
    """Plates of neighbours changed about: each pair costs two codes."""
    wrong = len(world.homes) - len(world.homes) * world.profile.corresponding // 1_000
    pairs = -(-wrong // 2)
    chosen = dice.sample(range(len(world.homes)), 2 * pairs)
    world.swapped = list(zip(chosen[::2], chosen[1::2], strict=True))


def _slip(world: World, dice: random.Random) -> None:
    """Mistakes at the planted rates, each kind once at least; the first report of all is right."""
    told = [n for n, job in enumerate(world.jobs) if job.told]
    first = min(told, key=lambda n: (world.jobs[n].told or LAST, n))
    counts = {slip: max(1, len(told) * rate // 1_000) for slip, rate in SLIPS_PER_THOUSAND.items()}
    early = {n for n in told if world.jobs[n].told == world.jobs[first].told}
    chosen = dice.sample([n for n in told if n not in early], sum(counts.values()))
    for slip, count in counts.items():
        for number in chosen[:count]:
            world.slips[number] = slip
        chosen = chosen[count:]
