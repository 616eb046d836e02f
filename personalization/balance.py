"""The sums of the blanks and cards, computed from rows: they hold after every event (production.md 5, I3).

For every lot, batch and station::

    issued + carried in = good + spoiled + samples + missing + in work + returned + carried out + left

where `left` is what the books say still lies in the feeder, and a blind count says whether it does.
"""

from dataclasses import dataclass, fields

from sqlalchemy import ColumnElement, bindparam, case, func, literal, select

from core.db import Tx
from core.rows import Statement
from personalization.states import IN_WORK, WASTE, Place
from personalization.tables import MoveRow, PlasticRow, SpoilRow, TrayRow

SUPPLIER, VAULT, DESTROYED, SAMPLES, LOST, FOUND = (
    "supplier", "vault", "destroyed", "samples", "lost", "found",
)  # fmt: skip


@dataclass(frozen=True)
class Balance:
    """What came in equals what went out (section 5). `left` is the books' rest in feeders, `vault` the
    vault's; `counted` the blind count of `left` when there is one."""

    opening: int
    good: int
    spoiled: int
    samples: int
    missing: int
    in_work: int
    returned: int
    destroyed: int
    vault: int
    left: int
    counted: int | None = None

    @property
    def remaining(self) -> int:
        """Blanks not fed: in the vault and in feeders, as counted where somebody counted."""
        return self.vault + (self.left if self.counted is None else self.counted)

    @property
    def difference(self) -> int:
        """Opening less everything that is accounted for; 0 or there is an incident."""
        return self.opening - (
            self.good + self.spoiled + self.samples + self.missing + self.in_work + self.returned
            + self.destroyed + self.remaining
        )  # fmt: skip

    def as_numbers(self) -> dict[str, int]:
        """For JSON: all terms, `remaining` and `difference`."""
        terms = {item.name: getattr(self, item.name) for item in fields(self)}
        terms["counted"] = self.left if self.counted is None else self.counted
        return {**terms, "remaining": self.remaining, "difference": self.difference}


def tray_place(tray: str) -> str:
    """A tray's name as a place of blanks."""
    return f"tray:{tray}"


def vault(tx: Tx, lot: str) -> int:
    """Blanks of a lot in the vault."""
    return _gain(_flows(tx, MoveRow.lot == lot), VAULT)


def delivered(tx: Tx, lot: str) -> int:
    """Blanks of a lot that were counted when they came."""
    return _out_of(_flows(tx, MoveRow.lot == lot), SUPPLIER)


def left_of(tray: ColumnElement[str]) -> ColumnElement[int]:
    """Blanks of a tray that were not fed, by the books, as an expression for a question about trays."""
    place = literal(tray_place("")) + tray
    gain = case((MoveRow.target == place, MoveRow.quantity), else_=-MoveRow.quantity)
    moved = select(func.coalesce(func.sum(gain), 0)).where(
        (MoveRow.target == place) | (MoveRow.source == place)
    )
    fed = select(func.count()).where(PlasticRow.tray == tray)
    return moved.scalar_subquery() - fed.scalar_subquery()


_LEFT = Statement(
    select(left_of(TrayRow.id.expression).label("blanks")).where(TrayRow.id == bindparam("wanted"))
)


def left(tx: Tx, tray: str) -> int:
    """Blanks of a tray that were not fed, by the books; 0 of a tray nobody knows."""
    found = _LEFT.first(tx, wanted=tray)
    return 0 if found is None else int(found.blanks)


def lot_balance(tx: Tx, lot: str | None = None) -> Balance:
    """One lot, or all: received from the supplier against everything it became."""
    moved = _flows(tx, *([] if lot is None else [MoveRow.lot == lot]))
    numbers = _plastics(tx, *([] if lot is None else [PlasticRow.lot == lot]))
    fed = sum(numbers.values())
    numbers["samples"] += _into(moved, SAMPLES)
    numbers["missing"] += _into(moved, LOST)
    return Balance(
        opening=_out_of(moved, SUPPLIER) + _out_of(moved, FOUND),
        **numbers,
        returned=0,
        destroyed=_into(moved, DESTROYED),
        vault=_gain(moved, VAULT),
        left=_gain(moved, TRAYS) - fed,
    )


def batch_balance(tx: Tx, batch: str, counted: int | None = None) -> Balance:
    """What was issued for a batch against what became of it."""
    return _tray_balance(tx, TrayRow.batch == batch, PlasticRow.batch == batch, counted)


def station_balance(tx: Tx, station: str, batch: str | None = None) -> Balance:
    """The same for a station, over all batches or one."""
    trays, plastics = TrayRow.station == station, PlasticRow.station == station
    if batch is not None:
        trays, plastics = trays & (TrayRow.batch == batch), plastics & (PlasticRow.batch == batch)
    return _tray_balance(tx, trays, plastics, None)


def _tray_balance(
    tx: Tx, trays: ColumnElement[bool], plastics: ColumnElement[bool], counted: int | None
) -> Balance:
    names = [tray_place(tray) for tray in tx.scalars(select(TrayRow.id).where(trays))]
    came = _flows(tx, MoveRow.target.in_(names), MoveRow.source.not_in(names))
    went = _flows(tx, MoveRow.source.in_(names), MoveRow.target.not_in(names))
    opening, out = sum(came.values()), sum(went.values())  # a carry inside is neither
    numbers = _plastics(tx, plastics)
    rest = opening - out - sum(numbers.values())
    samples, lost = _into(went, SAMPLES), _into(went, LOST)
    numbers["samples"] += samples
    numbers["missing"] += lost
    return Balance(
        opening=opening,
        **numbers,
        returned=out - samples - lost,
        destroyed=0,
        vault=0,
        left=rest,
        counted=counted,
    )


# -- sums over rows ------------------------------------------------------------------------------------

TRAYS = "trays"  # all trays together
Flows = dict[tuple[str, str], int]
_SPOILED = frozenset({*WASTE, Place.DESTROYED})


def _kind(place: ColumnElement[str]) -> ColumnElement[str]:
    """A place, trays taken together."""
    return case((place.startswith("tray:"), TRAYS), else_=place)


def _flows(tx: Tx, *conditions: ColumnElement[bool]) -> Flows:
    """How many blanks went from where to where."""
    source, target = _kind(MoveRow.source.expression), _kind(MoveRow.target.expression)
    found = tx.execute(
        select(source, target, func.sum(MoveRow.quantity))
        .where(*conditions)
        .group_by(source, target)
    )
    return {(here, there): int(count) for here, there, count in found}


def _into(flows: Flows, place: str) -> int:
    return sum(count for (_, target), count in flows.items() if target == place)


def _out_of(flows: Flows, place: str) -> int:
    return sum(count for (source, _), count in flows.items() if source == place)


def _gain(flows: Flows, place: str) -> int:
    return _into(flows, place) - _out_of(flows, place)


def _plastics(tx: Tx, *conditions: ColumnElement[bool]) -> dict[str, int]:
    """Fed cards by what became of them; a good card that was recalled and destroyed stays good."""
    spoiled = SpoilRow.card.is_not(None)
    found = tx.execute(
        select(PlasticRow.place, spoiled, func.count())
        .outerjoin(SpoilRow, SpoilRow.card == PlasticRow.id)
        .where(*conditions)
        .group_by(PlasticRow.place, spoiled)
    )
    numbers = dict.fromkeys(("good", "spoiled", "samples", "missing", "in_work"), 0)
    for place, is_spoiled, count in found:
        numbers[_meaning(Place(place), bool(is_spoiled))] += count
    return numbers


def _meaning(place: Place, is_spoiled: bool) -> str:
    if place in IN_WORK:
        return "in_work"
    if place == Place.MISSING:
        return "missing"
    if place in (Place.SAMPLE, Place.ARCHIVED):
        return "samples"
    if place in _SPOILED and is_spoiled:
        return "spoiled"
    return "good"
