"""Blind samples: drawn by chance from a stored seed, by somebody the figure does not measure (residence.md 15).

R1 visits units (clusters by station and size) and counts who lives there; R2 looks at registered spells.
"""

import random
from collections import Counter
from datetime import date
from math import ceil, floor

from sqlalchemy import select

from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotAllowed, NotFound, Rejected
from core.ids import uuid7
from registry.indicators.statistics import Cluster, Method, bootstrap, stratified_totals
from registry.indicators.tables import SampleRow, SampleUnitRow
from registry.indicators.values import IndicatorValue, value
from registry.rental.tables import OccupancyRow, UnitRow
from registry.roles import Actor, Role

SMALL_UNIT = 4
MAX_SAMPLE = 10_000
MEASURED = frozenset({Role.STATION_CLERK, Role.LANDLORD})


def stratum(unit: UnitRow) -> str:
    """Station and size class."""
    return f"{unit.station}-{'S' if unit.capacity <= SMALL_UNIT else 'L'}"


def draw(tx: Tx, clock: Clock, kind: str, size: int, seed: int, drawer: Actor) -> str:
    """Draw `size` units (R1) or living spells (R2); returns the sample's id. The seed gives the same draw.

    Raises NotAllowed E-SELF (the rental offices do not measure themselves); Rejected E-SAMPLE.
    """
    if drawer.roles & MEASURED or not drawer.roles & {Role.PILOT_OFFICE, Role.AUDITOR}:
        raise NotAllowed("E-SELF", "the measured office does not draw its own sample")
    if kind not in ("R1", "R2") or not 1 <= size <= MAX_SAMPLE:
        raise Rejected("E-SAMPLE", f"R1 or R2, 1 to {MAX_SAMPLE}", size=size)
    frame = _units(tx) if kind == "R1" else _spells(tx)
    if size > len(frame):
        raise Rejected("E-SAMPLE", f"only {len(frame)} to draw from", size=size)
    dice = random.Random(seed)  # noqa: S311 - a draw that anybody can repeat from its seed
    chosen = dice.sample(list(frame), size)
    sample = uuid7(clock.now())
    tx.add(
        SampleRow(
            id=sample, kind=kind, seed=seed, drawn_by=drawer.name,
            drawn_on=business_date(clock.now()),
        )
    )  # fmt: skip
    tx.flush()
    tx.add_all(SampleUnitRow(sample=sample, unit=unit, stratum=frame[unit]) for unit in chosen)
    tx.flush()
    return sample


def _units(tx: Tx) -> dict[str, str]:
    """Open units and their strata, in the order of their codes."""
    rows = tx.scalars(select(UnitRow).where(UnitRow.open.is_(True)).order_by(UnitRow.code))
    return {row.code: stratum(row) for row in rows}


def _spells(tx: Tx) -> dict[str, str]:
    """Living spells in the order of room, bed and first day: record ids differ between two equal registers."""
    living = (
        select(OccupancyRow.id)
        .where(OccupancyRow.move_out.is_(None), OccupancyRow.withdrawn_at.is_(None))
        .order_by(
            OccupancyRow.address_code, OccupancyRow.bed, OccupancyRow.move_in, OccupancyRow.id
        )
    )
    return dict.fromkeys(tx.scalars(living), "all")


def enter(tx: Tx, sample: str, unit: str, found: int, right: int) -> None:
    """What the visit of one unit found. Raises NotFound E-SAMPLE-UNIT; Rejected E-COUNT."""
    row = tx.get(SampleUnitRow, (sample, unit))
    if row is None:
        raise NotFound("E-SAMPLE-UNIT", "it was not drawn")
    if not 0 <= right <= found:
        raise Rejected("E-COUNT", "at most all that were found", found=found, right=right)
    row.found, row.right = found, right
    tx.flush()


def evaluate(tx: Tx, sample: str, as_of: date) -> IndicatorValue:
    """R1 (weighted by strata, bootstrap interval) or R2 (simple random, Wilson) of a finished sample.

    Raises NotFound E-SAMPLE-UNIT; Rejected E-UNVISITED while something drawn was not looked at.
    """
    row = tx.get(SampleRow, sample)
    if row is None:
        raise NotFound("E-SAMPLE-UNIT", "no such sample")
    units = list(tx.scalars(select(SampleUnitRow).where(SampleUnitRow.sample == sample)))
    open_units = [unit.unit for unit in units if unit.found is None]
    if open_units:
        raise Rejected("E-UNVISITED", "a sample is visited whole", units=len(open_units))
    seen = [Cluster(unit.stratum, unit.found or 0, unit.right or 0) for unit in units]
    found, right = sum(one.found for one in seen), sum(one.registered for one in seen)
    source = f"blind sample of {len(units)}, seed {row.seed}, drawn by {row.drawn_by}"
    if row.kind == "R2":
        return value("R2", as_of, right, found, source, Method.SAMPLE)
    sizes = Counter(
        stratum(unit) for unit in tx.scalars(select(UnitRow).where(UnitRow.open.is_(True)))
    )
    weights = {name: max(sizes[name], 1) for name in {one.stratum for one in seen}}
    registered, living = stratified_totals(weights, seen)
    if not living:
        return value("R1", as_of, 0, 0, source, Method.SAMPLE)
    interval = bootstrap(weights, seen, row.seed)
    # whole persons, and never in the office's favour: the fraction itself does not fit a register
    return value("R1", as_of, floor(registered), ceil(living), source, Method.SAMPLE, interval)
