"""Chapter 2, applications: residents move in, are hired, apply at several points; one is refused with a reason."""

from dataclasses import dataclass

from registry import settlers
from registry.pilot import preparation
from registry.points import launch
from registry.residence import applications
from registry.settlers import Settler
from runtime.demo.city import REVIEWER, City

NO_RECORD = "no employer has registered this person; apply again with a contract"


@dataclass(frozen=True)
class Applicants:
    """Who came. `acceptance` has the numbers of the approved, in order of their settlers."""

    settlers: tuple[Settler, ...]
    acceptance: tuple[str, ...]
    received: int
    approved: int
    refused: int


def apply_all(city: City) -> Applicants:
    """One more person applies than cards are made: the last has no job on record and is refused."""
    count = city.options.cards + 1
    jobless = count - 1
    with city.db.write() as tx:
        preparation.make_points_ready(tx, city.clock)
        launch.open_points(tx, city.clock, preparation.OFFICE)
        people = settlers.settle(
            tx, city.clock, count, jobless=frozenset({jobless}), seed=city.options.seed
        )
    approved = []
    for number, settler in enumerate(people):
        with city.db.write() as tx:
            point = settlers.point_for(number)
            acc_no = settlers.apply_for_permit(tx, city.clock, settler, point)
            applications.verify(tx, city.clock, acc_no)
        with city.db.write() as tx:
            if number == jobless:
                applications.refuse(tx, city.clock, acc_no, REVIEWER, NO_RECORD)
            else:
                applications.approve(tx, city.clock, acc_no, REVIEWER)
                approved.append(acc_no)
        city.progress("applications", 1)
    return Applicants(
        tuple(people[:-1]), tuple(approved), count, len(approved), count - len(approved)
    )
