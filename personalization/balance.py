"""The sums of the blanks and cards, computed from rows: they hold after every event (production.md 5, I3).

For every lot, batch and station::

    issued + carried in = good + spoiled + samples + missing + in work + returned + carried out + left

where `left` is what the books say still lies in the feeder, and a blind count says whether it does.
"""

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, func, select

from core.db import Tx
from personalization.states import GOOD, IN_WORK, WASTE, Place
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


def _flow(tx: Tx, *conditions: ColumnElement[bool]) -> int:
    return tx.scalar(select(func.coalesce(func.sum(MoveRow.quantity), 0)).where(*conditions)) or 0


def _cards(tx: Tx, places: frozenset[Any], *conditions: ColumnElement[bool]) -> int:
    return (
        tx.scalar(
            select(func.count())
            .select_from(PlasticRow)
            .where(PlasticRow.place.in_(places), *conditions)
        )
        or 0
    )


def vault(tx: Tx, lot: str) -> int:
    """Blanks of a lot in the vault."""
    mine = MoveRow.lot == lot
    return _flow(tx, mine, MoveRow.target == VAULT) - _flow(tx, mine, MoveRow.source == VAULT)


def left(tx: Tx, tray: str) -> int:
    """Blanks of a tray that were not fed, by the books."""
    place = tray_place(tray)
    fed = tx.scalar(select(func.count()).where(PlasticRow.tray == tray)) or 0
    return _flow(tx, MoveRow.target == place) - _flow(tx, MoveRow.source == place) - fed


_SPOILED = frozenset({*WASTE, Place.DESTROYED})


def _plastics(tx: Tx, *conditions: ColumnElement[bool]) -> dict[str, int]:
    destroyed_good = (PlasticRow.place == Place.DESTROYED) & PlasticRow.id.not_in(
        select(SpoilRow.card)
    )
    recalled = _cards(tx, frozenset({Place.DESTROYED}), destroyed_good, *conditions)
    return {
        "good": _cards(tx, GOOD, *conditions) + recalled,
        "spoiled": _cards(tx, _SPOILED, *conditions) - recalled,
        "samples": _cards(tx, frozenset({Place.SAMPLE, Place.ARCHIVED}), *conditions),
        "missing": _cards(tx, frozenset({Place.MISSING}), *conditions),
        "in_work": _cards(tx, IN_WORK, *conditions),
    }


def lot_balance(tx: Tx, lot: str | None = None) -> Balance:
    """One lot, or all: received from the supplier against everything it became."""
    moves = [] if lot is None else [MoveRow.lot == lot]
    plastics = [] if lot is None else [PlasticRow.lot == lot]
    numbers = _plastics(tx, *plastics)
    fed = sum(numbers.values())
    numbers["samples"] += _flow(tx, MoveRow.target == SAMPLES, *moves)
    numbers["missing"] += _flow(tx, MoveRow.target == LOST, *moves)
    trays = MoveRow.target.startswith("tray:"), MoveRow.source.startswith("tray:")
    return Balance(
        opening=_flow(tx, MoveRow.source.in_((SUPPLIER, FOUND)), *moves),
        **numbers,
        returned=0,
        destroyed=_flow(tx, MoveRow.target == DESTROYED, *moves),
        vault=_flow(tx, MoveRow.target == VAULT, *moves)
        - _flow(tx, MoveRow.source == VAULT, *moves),
        left=_flow(tx, trays[0], *moves) - _flow(tx, trays[1], *moves) - fed,
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
    here, gone = MoveRow.target.in_(names), MoveRow.source.in_(names)
    numbers = _plastics(tx, plastics)
    opening = _flow(tx, here) - _flow(tx, here, gone)  # a carry inside counts neither in nor out
    out = _flow(tx, gone) - _flow(tx, here, gone)
    rest = opening - out - sum(numbers.values())
    samples = _flow(tx, gone, MoveRow.target == SAMPLES)
    lost = _flow(tx, gone, MoveRow.target == LOST)
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
