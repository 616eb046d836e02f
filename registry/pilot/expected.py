"""What every indicator of a pilot must come to, counted by brute force from its truth (residence.md 18.9)."""

from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction

from registry.indicators.compute import ENOUGH
from registry.pilot.world import BUILD_UP, DUE, LAST, World
from registry.points.places import COUNT

IN_TIME = timedelta(days=3)


@dataclass(frozen=True)
class Expected:
    """A share as it must be found. `share` is exact."""

    id: str
    share: Fraction


def expected(world: World) -> list[Expected]:
    """All indicators, in the report's order."""
    homes = len(world.homes)
    wrong_plates = 2 * len(world.swapped)
    pairs = {
        "E1": _employers(world),
        "E2": _workers(world),
        "E2D": _workers(world),
        "A1": (homes, homes),
        "A2": (homes, homes),
        "A3": (homes, homes),
        "A4": (homes - wrong_plates, homes),
        "A5": (homes, homes),
        "P1": (COUNT, COUNT),
        "P2": (1, 1),
        "E3": _job_reports(world),
        "R3": _moves(world),
        "R1": _collected(world),
        "R2": _accurate(world),
        "R4": (1, 1),
        "X1": (1, 1),
        "D1": (len(world.wakers), len(world.wakers)),
        "D2": (min(len(world.wakers), len(world.sleepers), ENOUGH), ENOUGH),
    }
    return [Expected(id, Fraction(*pair)) for id, pair in pairs.items()]


def _employers(world: World) -> tuple[int, int]:
    return sum(one.covered for one in world.companies), len(world.companies)


def _workers(world: World) -> tuple[int, int]:
    """Distinct persons entered at the end of preparation, of the persons who work."""
    on_day = [job for job in world.jobs if job.start <= DUE and (job.end is None or job.end >= DUE)]
    entered = {job.person for job in on_day if job.told and job.told <= DUE}
    return len(entered), len({job.person for job in on_day})


def _job_reports(world: World) -> tuple[int, int]:
    told = [(job.start, job.told) for job in world.jobs if job.told]
    told += [(job.end, job.end_told) for job in world.jobs if job.end and job.end_told]
    return _timely(told)


def _moves(world: World) -> tuple[int, int]:
    told = [(stay.said_since or stay.since, stay.told) for stay in world.stays if stay.told]
    told += [
        (stay.until, stay.until_told) for stay in world.stays if stay.until and stay.until_told
    ]
    return _timely(told)


def _timely(told: list[tuple[date, date]]) -> tuple[int, int]:
    within = [(on, when) for on, when in told if BUILD_UP <= on <= LAST]
    return sum(when - on <= IN_TIME for on, when in within), len(within)


def _collected(world: World) -> tuple[int, int]:
    """People who live in a home on the last day, and those of them whom the register knows there."""
    living = [stay for stay in world.stays if stay.until is None or stay.until >= LAST]
    return sum(stay.told is not None for stay in living), len(living)


def _accurate(world: World) -> tuple[int, int]:
    """Records without an end, and those of them that are true."""
    records = [stay for stay in world.stays if stay.told and stay.until_told is None]
    return sum(stay.right for stay in records), len(records)
