"""Door plates: the numbering rules N1 to N8 and the audit of a road (residence.md 7.2).

Along a road one side is odd and the other even; a number is neither doubled nor skipped unless it is
reserved or on record as historic; sub-numbers 附号 have one level. «保证无错漏» means: the audit is empty.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select

from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotFound, Rejected
from core.ids import uuid7
from registry.rental.normalise import normalise
from registry.rental.tables import PlateRow, ReservedNumberRow

ODD, EVEN = 1, 0
DUPLICATE, GAP, WRONG_SIDE = "DUPLICATE", "GAP", "WRONG_SIDE"
DOUBLE_SUB, ORPHAN_SUB = "DOUBLE_SUB_NUMBER", "SUB_NUMBER_WITHOUT_NUMBER"
KINDS = frozenset({"DOOR", "BUILDING", "UNIT", "ROOM"})


@dataclass(frozen=True)
class Door:
    """A door as a walker sees it. `side` 1 or 0 is what the side's numbers shall be modulo 2; None unknown."""

    number: int
    sub_no: int = 0
    side: int | None = None


@dataclass(frozen=True)
class Finding:
    """Something wrong with a number of a road."""

    kind: str
    number: int
    sub_no: int = 0


def numbering_audit(doors: Iterable[Door], reserved: Iterable[int] = ()) -> list[Finding]:
    """Duplicates, gaps, wrong sides, sub-numbers without their number; sorted, empty when all is well.

    Each side counts on its own from its lowest number in steps of two.
    """
    known = list(doors)
    kept = set(reserved)
    found: list[Finding] = []
    for (number, sub_no), count in Counter((d.number, d.sub_no) for d in known).items():
        if count > 1:
            found.append(Finding(DOUBLE_SUB if sub_no else DUPLICATE, number, sub_no))
    main = {door.number for door in known if not door.sub_no}
    for door in known:
        if door.side is not None and door.number % 2 != door.side:
            found.append(Finding(WRONG_SIDE, door.number, door.sub_no))
        if door.sub_no and door.number not in main:
            found.append(Finding(ORPHAN_SUB, door.number, door.sub_no))
    for side in (ODD, EVEN):
        mine = sorted(number for number in main if number % 2 == side)
        if not mine:
            continue
        first = 1 if side == ODD else 2
        found += [
            Finding(GAP, number)
            for number in range(first, mine[-1], 2)
            if number not in main and number not in kept
        ]
    return sorted(set(found), key=lambda item: (item.number, item.sub_no, item.kind))


def make_plate(
    tx: Tx, clock: Clock, kind: str, road: str, number: int, code: str, sub_no: int = 0,
    temporary: bool = False,
) -> str:  # fmt: skip
    """Have a door, building or unit plate made; returns its id. A temporary one proves nothing (N6).

    Raises Rejected E-PLATE-DUP (the number hangs on this road), E-PLATE (kind or number), E-PLATE-SUB (the
    main number does not hang).
    """
    if kind not in KINDS or number < 1 or not 0 <= sub_no <= 99:
        raise Rejected("E-PLATE", "kind or number is wrong")
    hanging = {
        (plate.number, plate.sub_no)
        for plate in tx.scalars(
            select(PlateRow).where(
                PlateRow.road == road, PlateRow.kind == kind, PlateRow.state != "REMOVED"
            )
        )
    }
    if (number, sub_no) in hanging:
        raise Rejected("E-PLATE-DUP", "the number is taken", road=road, number=number)
    if sub_no and (number, 0) not in hanging:
        raise Rejected("E-PLATE-SUB", "a sub-number follows a number", road=road, number=number)
    text = f"{road}{number}-{sub_no}号" if sub_no else f"{road}{number}号"
    row = PlateRow(
        id=uuid7(clock.now()), kind=kind, text=text, key=normalise(text), road=road, number=number,
        sub_no=sub_no, temporary=temporary, code=code, made_on=business_date(clock.now()),
        state="MADE",
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    return row.id


def hang(tx: Tx, clock: Clock, plate: str, by: str) -> None:
    """The plate hangs (N8: day and installer). Raises NotFound E-PLATE-NONE, Rejected E-PLATE-STATE."""
    row = _row(tx, plate)
    if row.state == "REMOVED":
        raise Rejected("E-PLATE-STATE", "the plate was removed")
    if row.state == "MADE":
        row.state, row.hung_on, row.hung_by = "HUNG", business_date(clock.now()), by


def remove(tx: Tx, plate: str) -> None:
    """The plate leaves; its number stays in the archive (N7). Raises NotFound E-PLATE-NONE."""
    _row(tx, plate).state = "REMOVED"


def reserve(tx: Tx, road: str, number: int, why: str) -> None:
    """Keep a number for an empty plot, or record a historic gap."""
    tx.merge(ReservedNumberRow(road=road, number=number, why=why))
    tx.flush()


def audit_road(tx: Tx, road: str) -> list[Finding]:
    """`numbering_audit` of the door plates that hang on a road."""
    plates = tx.scalars(
        select(PlateRow).where(
            PlateRow.road == road, PlateRow.kind == "DOOR", PlateRow.state == "HUNG"
        )
    )
    doors = [Door(plate.number, plate.sub_no) for plate in plates]
    kept = tx.scalars(select(ReservedNumberRow.number).where(ReservedNumberRow.road == road))
    return numbering_audit(doors, kept)


def _row(tx: Tx, plate: str) -> PlateRow:
    row = tx.get(PlateRow, plate)
    if row is None:
        raise NotFound("E-PLATE-NONE", "no such plate")
    return row
