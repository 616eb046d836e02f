"""The blind field check of a rehearsal: auditors draw, visitors who know the truth look (residence.md 15).

What a visitor finds at a door is the truth; what is held against it is what the register says. The measured
offices neither draw nor visit.
"""

from collections.abc import Mapping
from datetime import date

from sqlalchemy import select

from core.clock import Clock
from core.db import Tx
from registry.indicators import audit, samples
from registry.indicators.tables import SampleUnitRow
from registry.indicators.values import IndicatorValue
from registry.pilot.world import LAST, Stay, World
from registry.rental import occupants
from registry.rental.tables import OccupancyRow, OccupantRow
from registry.roles import Actor, Role

AUDITOR = Actor.of("audit office", Role.AUDITOR)
MAX_SAMPLE = 2_000
SLIPPED_DAYS = 7  # a first day may be so far off and still be right (R2)


class Visitors:
    """They know who lives where and who works. `stay_of`: the stay behind each record of the register."""

    def __init__(self, world: World, stay_of: Mapping[str, int]) -> None:
        self._world, self._stay_of = world, stay_of

    def collection(self, tx: Tx, clock: Clock) -> IndicatorValue:
        """R1: of the people found at home, those the register has there."""
        registered = {
            (row.address_code, self._world.stays[self._stay_of[row.id]].person)
            for row in self._living(tx)
        }
        homes = self._at_home(LAST)
        drawn = self._draw(tx, clock, "R1", len(homes))
        seen = {code: homes[code] for code in self._drawn(tx, drawn)}
        counts = {
            code: (len(people), sum((code, person) in registered for person in people))
            for code, people in seen.items()
        }
        return self._enter(tx, drawn, counts)

    def accuracy(self, tx: Tx, clock: Clock) -> IndicatorValue:
        """R2: of the registered stays, those that are right in every field."""
        rows = {row.id: row for row in self._living(tx)}
        drawn = self._draw(tx, clock, "R2", len(rows))
        seen = [rows[unit] for unit in self._drawn(tx, drawn)]
        return self._enter(tx, drawn, {row.id: (1, self._agrees(tx, row)) for row in seen})

    def workers(
        self, tx: Tx, clock: Clock, day: date, entered: Mapping[int, str]
    ) -> IndicatorValue:
        """The second count behind E2: of the workers found at home, those the employment register has.

        `entered`: the record that each reported job got, by the job's number.
        """
        homes = self._at_home(day)
        drawn = self._drawn(tx, self._draw(tx, clock, "R1", len(homes)))
        met = {person for code in drawn for person in homes[code]}
        working: dict[int, list[str]] = {}
        for number, job in enumerate(self._world.jobs):
            if job.person in met and job.start <= day and (job.end is None or job.end >= day):
                records = working.setdefault(job.person, [])
                if number in entered:
                    records.append(entered[number])
        return audit.second_count(tx, day, list(working.values()))

    def _draw(self, tx: Tx, clock: Clock, kind: str, units: int) -> str:
        size = min(MAX_SAMPLE, units)
        return samples.draw(tx, clock, kind, size, self._world.seed, AUDITOR)

    @staticmethod
    def _enter(tx: Tx, sample: str, seen: Mapping[str, tuple[int, int]]) -> IndicatorValue:
        for unit, (found, right) in seen.items():
            samples.enter(tx, sample, unit, found, right)
        return samples.evaluate(tx, sample, LAST)

    @staticmethod
    def _drawn(tx: Tx, sample: str) -> list[str]:
        return list(
            tx.scalars(select(SampleUnitRow.unit).where(SampleUnitRow.sample == sample)).all()
        )

    @staticmethod
    def _living(tx: Tx) -> list[OccupancyRow]:
        return list(
            tx.scalars(
                select(OccupancyRow).where(
                    OccupancyRow.move_out.is_(None), OccupancyRow.withdrawn_at.is_(None)
                )
            )
        )

    def _at_home(self, day: date) -> dict[str, list[int]]:
        """Who truly lives at each home on a day."""
        found: dict[str, list[int]] = {place.code: [] for place in self._world.homes}
        for stay in self._world.stays:
            if stay.since <= day and (stay.until is None or stay.until >= day):
                found[self._world.homes[stay.home].code].append(stay.person)
        return found

    def _agrees(self, tx: Tx, row: OccupancyRow) -> int:
        """1 when name, room and first day (within 7 days) are true and the person still lives there."""
        stay: Stay = self._world.stays[self._stay_of[row.id]]
        if stay.until is not None and stay.until < LAST:
            return 0
        (registered,) = occupants.opened(tx, [tx.get_one(OccupantRow, row.occupant_id)])
        same = registered.name == self._world.residents[stay.person].name
        there = row.address_code == self._world.homes[stay.home].code
        return int(same and there and abs((row.move_in - stay.since).days) <= SLIPPED_DAYS)
