"""How complete plates, codes and code cards are, against an independent field census (residence.md 7.5).

A value is a fraction, shown with numerator and denominator; without a census it is NO_DENOMINATOR, never
100 %. Buildings (19 digits) and rooms (25 digits) are measured apart.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from sqlalchemy import ColumnElement, delete, insert, select

from core.db import Tx
from registry.exchange.day_list import PIECE
from registry.identifiers import BUILDING_DIGITS
from registry.rental.normalise import normalise
from registry.rental.tables import AddressRow, CensusRow, CodeCardRow, PlateRow, UnitRow

NO_DENOMINATOR = "NO_DENOMINATOR"
ROOM, BUILDING = "ROOM", "BUILDING"


@dataclass(frozen=True)
class Fraction:
    """A measured share. `missing` names at most 100 of what lacks."""

    numerator: int
    denominator: int
    missing: tuple[str, ...] = ()

    @property
    def hundredths(self) -> int | None:
        """Hundredths of a percent, floored; None without a denominator."""
        return 10_000 * self.numerator // self.denominator if self.denominator else None

    @property
    def shown(self) -> str:
        value = self.hundredths
        return NO_DENOMINATOR if value is None else f"{value // 100}.{value % 100:02d} %"


@dataclass(frozen=True)
class AddressQuality:
    """A1 to A5 of one kind."""

    plates: Fraction
    codes: Fraction
    cards: Fraction
    correspondence: Fraction
    orphans: tuple[str, ...]


def load_census(tx: Tx, counted: Iterable[tuple[str, str, bool]], day: date) -> int:
    """Store what counters found at the doors: (code of 25 or 19 digits, text on the door, rented).

    Loading the same census again replaces it. Returns how many lines.
    """
    lines = [
        {
            "code": code, "kind": BUILDING if len(code) == BUILDING_DIGITS else ROOM, "text": text,
            "rented": rented, "counted_on": day,
        }
        for code, text, rented in counted
    ]  # fmt: skip
    for first in range(0, len(lines), PIECE):
        piece = lines[first : first + PIECE]
        codes = [line["code"] for line in piece]
        tx.execute(delete(CensusRow).where(CensusRow.code.in_(codes)))
        tx.execute(insert(CensusRow), piece)
    return len(lines)


def measure(tx: Tx, kind: str = ROOM) -> AddressQuality:
    """All five measures for rooms or buildings."""
    census = {row.code: row for row in tx.scalars(select(CensusRow).where(CensusRow.kind == kind))}
    active = _active(tx, kind)
    plates = list(tx.scalars(select(PlateRow).where(PlateRow.state == "HUNG", _plate_kind(kind))))
    plated = {plate.code for plate in plates}
    posted = set(
        tx.scalars(
            select(CodeCardRow.code).where(
                CodeCardRow.posted_on.is_not(None), CodeCardRow.replaced_on.is_(None)
            )
        )
    )
    rented = set(tx.scalars(select(UnitRow.code).where(UnitRow.open.is_(True))))
    rented |= {code for code, row in census.items() if row.rented}
    if kind == BUILDING:
        rented = set()
    return AddressQuality(
        plates=_share(census.keys(), plated),
        codes=_share(census.keys(), active.keys()),
        cards=_share(rented, posted),
        correspondence=_share(active.keys(), _corresponding(active, plates)),
        orphans=tuple(sorted(plated - active.keys())),
    )


def _active(tx: Tx, kind: str) -> dict[str, str]:
    """ACTIVE codes with their keys; a building's key is that of any room less the room."""
    rows = tx.scalars(select(AddressRow).where(AddressRow.status == "ACTIVE"))
    if kind == ROOM:
        return {row.code: row.key for row in rows}
    found: dict[str, str] = {}
    for row in rows:
        at = row.key.rfind("号")
        head = row.key[: row.key.rfind("栋") + 1] or row.key[: at + 1]
        found.setdefault(row.building, head)
    return found


def _plate_kind(kind: str) -> ColumnElement[bool]:
    return PlateRow.kind == "ROOM" if kind == ROOM else PlateRow.kind.in_(("DOOR", "BUILDING"))


def _corresponding(active: dict[str, str], plates: list[PlateRow]) -> set[str]:
    """Codes with exactly one plate, which links back, and whose normalised text is the same (A4)."""
    of_code: dict[str, list[PlateRow]] = {}
    for plate in plates:
        of_code.setdefault(plate.code, []).append(plate)
    return {
        code
        for code, key in active.items()
        if len(of_code.get(code, ())) == 1 and normalise(of_code[code][0].text) == key
    }


def _share(wanted: Iterable[str], there: Iterable[str]) -> Fraction:
    needed, have = set(wanted), set(there)
    missing = sorted(needed - have)
    return Fraction(len(needed) - len(missing), len(needed), tuple(missing[:100]))
