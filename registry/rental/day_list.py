"""A day's list of a station, entered in one piece: rooms that were coded and plated, people who moved in.

What is plainly right and new is written together; every other line goes through `address` and `service`,
where the rules stand. A bad line stops no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import insert, select

from core.clock import Clock, business_date
from core.db import Tx
from core.errors import CityError
from core.ids import uuid7
from registry.exchange.day_list import PIECE, News, send_all
from registry.exchange.messages import Type
from registry.identifiers import validate_citizen_id
from registry.rental import address, occupants, service, units
from registry.rental.occupants import Occupant
from registry.rental.tables import AddressRow, OccupancyRow


@dataclass(frozen=True, repr=False)
class MoveIn:
    """One line: the room's 25 digits, the person, the first day there, the bed of a shared room."""

    code: str
    citizen_id: str
    name: str
    day: date
    bed: str = ""


@dataclass(frozen=True)
class Room:
    """One line: the room's 25 digits and text, the station that looks after it, its beds."""

    code: str
    text: str
    station: str
    beds: int


def let_all(tx: Tx, clock: Clock, lines: Sequence[Room], owner: str) -> None:
    """Code, plate, card and activate rooms and register them as rented dwellings of `owner`.

    Raises Rejected E-AC-CHECK, E-AC-TEXT, E-AC-DUP, E-UNIT; NotFound E-RESPONSIBLE; nothing of a wrong list stays.
    """
    for first in range(0, len(lines), PIECE):
        piece = lines[first : first + PIECE]
        address.activate_all(tx, clock, [(line.code, line.text) for line in piece])
        units.open_all(
            tx, owner, "DWELLING", [(line.code, line.beds, line.station) for line in piece]
        )


def move_in_all(tx: Tx, clock: Clock, lines: Sequence[MoveIn]) -> list[str | CityError]:
    """Enter a list in its order; for each line the record's id, or why it was refused."""
    found: list[str | CityError] = []
    for first in range(0, len(lines), PIECE):
        piece = lines[first : first + PIECE]
        fresh = _newcomers(tx, clock, piece)
        written = _write(tx, clock, [(n, piece[n], index) for n, index in fresh.items()])
        found += [written.get(number) or _one(tx, clock, line) for number, line in enumerate(piece)]
    return found


def _newcomers(tx: Tx, clock: Clock, lines: Sequence[MoveIn]) -> dict[int, str]:
    """Numbers of lines that break no rule and name, for the first time, somebody unknown; with the index."""
    today = business_date(clock.now())
    codes = {line.code for line in lines}
    active = set(
        tx.scalars(
            select(AddressRow.code).where(AddressRow.code.in_(codes), AddressRow.status == "ACTIVE")
        )
    )
    found: dict[str, int] = {}
    for number, line in enumerate(lines):
        right = validate_citizen_id(line.citizen_id, today)
        plain = right.ok and right.normalized == line.citizen_id and line.day <= today
        if plain and line.code in active:
            found.setdefault(line.citizen_id, number)
    fresh = occupants.unknown(tx, list(found))
    return {found[citizen_id]: index for citizen_id, index in fresh.items()}


def _write(tx: Tx, clock: Clock, lines: Sequence[tuple[int, MoveIn, str]]) -> dict[int, str]:
    """Occupants, stays and messages of newcomers; the records' ids by the number of the line."""
    if not lines:
        return {}
    now, today = clock.now(), business_date(clock.now())
    people = [(Occupant(line.citizen_id, line.name), index) for _, line, index in lines]
    records, rows, news = {}, [], []
    for (number, line, _), (who, link) in zip(
        lines, occupants.admit_all(tx, clock, people), strict=True
    ):
        record = uuid7(now)
        records[number] = record
        rows.append(
            {
                "id": record, "occupant_id": who, "address_code": line.code, "move_in": line.day,
                "bed": line.bed, "reported_at": now, "updated_at": now,
            }
        )  # fmt: skip
        payload = {"record": record, "code": line.code, "start": line.day.isoformat()}
        news.append(News(Type.PERSON_LINKED, who, today, {"citizen_index": link}))
        news.append(News(Type.OCCUPANCY_STARTED, who, line.day, payload))
    tx.execute(insert(OccupancyRow), rows)
    send_all(tx, clock, occupants.SOURCE, news)
    return records


def _one(tx: Tx, clock: Clock, line: MoveIn) -> str | CityError:
    try:
        with tx.begin_nested():
            return service.move_in(
                tx, clock, line.code, line.citizen_id, line.name, line.day, bed=line.bed
            )
    except CityError as refused:
        return refused
