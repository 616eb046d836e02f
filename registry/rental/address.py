"""Address codes and their life: from PROPOSED over plate and code card to ACTIVE and RETIRED (residence.md 7).

Codes are opaque once issued: a wrong one is retired with a successor, never edited. Split, merge, demolish,
rename and re-grid are operations of their own that move the people with them and tell the others.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select

from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotFound, Rejected
from core.ids import uuid7
from registry.exchange import delivery
from registry.exchange.day_list import News, send_all
from registry.exchange.messages import Type
from registry.identifiers import (
    ADDRESS_DIGITS,
    building_code,
    print_address_code,
    validate_address_code,
)
from registry.rental import tasks
from registry.rental.normalise import normalise, parse
from registry.rental.tables import (
    AddressRow,
    CodeCardRow,
    OccupancyRow,
    PlateRow,
    SuccessorRow,
)

SOURCE = "rental"
MAX_TEXT = 35  # characters of the chip's address field: 70 bytes in two-byte coding
LIFE = ("PROPOSED", "NUMBERED", "PLATED", "CODED", "CARDED", "ACTIVE")


def propose(tx: Tx, clock: Clock, code: str, text: str) -> str:
    """Code a unit; returns the 25 digits. Raises Rejected E-AC-CHECK, E-AC-TEXT, E-AC-DUP (I4)."""
    row = _coded(clock, code, text, "PROPOSED")
    if tx.get(AddressRow, row["code"]) is not None:
        raise Rejected("E-AC-DUP", "the code was used before")
    tx.add(AddressRow(**row))
    tx.flush()
    return str(row["code"])


def activate_all(
    tx: Tx, clock: Clock, rooms: Sequence[tuple[str, str]], by: str = "station"
) -> None:
    """`propose` and `activate` of (code, text) lists in whole statements.

    Raises Rejected E-AC-CHECK, E-AC-TEXT, E-AC-DUP; nothing of the list is kept then.
    """
    rows = [_coded(clock, code, text, "ACTIVE") for code, text in rooms]
    codes = [row["code"] for row in rows]
    used = tx.scalar(select(AddressRow.code).where(AddressRow.code.in_(codes)).limit(1))
    if used is not None or len(set(codes)) != len(codes):
        raise Rejected("E-AC-DUP", "the code was used before")
    tx.execute(insert(AddressRow), rows)
    tx.execute(
        insert(PlateRow),
        [_room_plate(clock, row["code"], row["text"], row["key"], by) for row in rows],
    )
    tx.execute(insert(CodeCardRow), [_code_card(clock, code, by) for code in codes])
    today = business_date(clock.now())
    send_all(
        tx, clock, SOURCE,
        [
            News(
                Type.ADDRESS_ACTIVATED, row["code"], today,
                {"code": row["code"], "text": row["text"]},
            )
            for row in rows
        ],
    )  # fmt: skip


def _coded(clock: Clock, code: str, text: str, status: str) -> dict[str, Any]:
    """A room as a row of `AddressRow`. Raises Rejected E-AC-CHECK, E-AC-TEXT."""
    checked = validate_address_code(code)
    if not checked.ok or len(checked.normalized) != ADDRESS_DIGITS:
        raise Rejected("E-AC-CHECK", "a room has 25 digits")
    if not text.strip() or len(text.encode("utf-16-le")) > 2 * MAX_TEXT:
        raise Rejected("E-AC-TEXT", "the address text does not fit the chip")
    return {
        "code": checked.normalized, "building": building_code(checked.normalized), "text": text,
        "key": normalise(text), "status": status, "changed_at": clock.now(),
    }  # fmt: skip


def _room_plate(clock: Clock, code: str, text: str, key: str, by: str) -> dict[str, Any]:
    """A plate that hangs today with the room's text, as a row of `PlateRow`."""
    parts, today = parse(text), business_date(clock.now())
    number, _, sub_no = parts.plate.partition("-")
    return {
        "id": uuid7(clock.now()), "kind": "ROOM", "text": text, "key": key, "road": parts.road,
        "number": int(number or 0), "sub_no": int(sub_no or 0), "code": code, "made_on": today,
        "hung_on": today, "hung_by": by, "state": "HUNG",
    }  # fmt: skip


def _code_card(clock: Clock, code: str, by: str) -> dict[str, Any]:
    """A code card that is posted today, as a row of `CodeCardRow`."""
    today, symbol = business_date(clock.now()), print_address_code(code).replace("-", "")
    return {
        "id": uuid7(clock.now()), "code": code, "symbol": symbol, "printed_on": today,
        "posted_on": today, "posted_by": by,
    }  # fmt: skip


def hang_plate(tx: Tx, clock: Clock, code: str, by: str, temporary: bool = False) -> str:
    """NUMBERED and PLATED: a room plate with the address's own text hangs; returns the plate's id.

    Raises Rejected E-AC-STATE.
    """
    row = _row(tx, code)
    _step(row, "PROPOSED", "NUMBERED", clock)
    plate = PlateRow(**_room_plate(clock, code, row.text, row.key, by), temporary=temporary)
    tx.add(plate)
    _step(row, "NUMBERED", "PLATED", clock)
    tx.flush()
    return plate.id


def post_card(tx: Tx, clock: Clock, code: str, by: str) -> str:
    """CODED and CARDED: the code card with the 27 digits is posted. Raises Rejected E-AC-STATE."""
    row = _row(tx, code)
    _step(row, "PLATED", "CODED", clock)
    card = _new_card(tx, clock, code, by)
    _step(row, "CODED", "CARDED", clock)
    tx.flush()
    return card


def verify(tx: Tx, clock: Clock, code: str) -> None:
    """Plate, code and card were seen at the door: ACTIVE, and the others hear of it. Raises E-AC-STATE."""
    row = _row(tx, code)
    _step(row, "CARDED", "ACTIVE", clock)
    tx.flush()
    today = business_date(clock.now())
    payload = {"code": code, "text": row.text}
    delivery.send(tx, clock, SOURCE, Type.ADDRESS_ACTIVATED, code, today, payload)


def activate(tx: Tx, clock: Clock, code: str, by: str = "station") -> None:
    """All steps from PROPOSED to ACTIVE in one visit. Raises Rejected E-AC-STATE."""
    hang_plate(tx, clock, code, by)
    post_card(tx, clock, code, by)
    verify(tx, clock, code)


def retire(tx: Tx, clock: Clock, code: str, successor: str | None) -> None:
    """The code is dead for ever (demolished, re-gridded); `successor` takes its people over.

    Without one, where they live is a task for the station, not a gap. Raises E-AC-STATE, E-AC-UNKNOWN.
    """
    _retire(tx, clock, code, [] if successor is None else [successor])


def split(tx: Tx, clock: Clock, code: str, parts: Sequence[str]) -> None:
    """One unit became several (each ACTIVE): the people stay registered, a task asks who lives where.

    Raises Rejected E-AC-STATE, E-AC-SPLIT (fewer than two), NotFound E-AC-UNKNOWN.
    """
    if len(set(parts)) < 2:
        raise Rejected("E-AC-SPLIT", "a split has at least two parts")
    _retire(tx, clock, code, list(parts))


def merge(tx: Tx, clock: Clock, codes: Sequence[str], into: str) -> None:
    """Several units became one (ACTIVE): all their people move over. Raises E-AC-STATE, E-AC-UNKNOWN."""
    for code in codes:
        if code != into:
            _retire(tx, clock, code, [into])


def rename(tx: Tx, clock: Clock, code: str, text: str) -> None:
    """The street got another name (N7): old plate and card leave, new ones come, the others are told.

    Raises Rejected E-AC-TEXT, E-AC-RETIRED, E-AC-STATE.
    """
    row = active(tx, code)
    if not text.strip() or len(text.encode("utf-16-le")) > 2 * MAX_TEXT:
        raise Rejected("E-AC-TEXT", "the address text does not fit the chip")
    before, row.text, row.key, row.changed_at = row.text, text, normalise(text), clock.now()
    if before == text:
        return
    today = business_date(clock.now())
    for plate in tx.scalars(
        select(PlateRow).where(PlateRow.code == code, PlateRow.state == "HUNG")
    ):
        plate.state = "REMOVED"
    tx.add(PlateRow(**_room_plate(clock, code, text, row.key, "station")))
    _replace_card(tx, clock, code)
    payload = {"code": code, "text": text, "before": before}
    delivery.send(tx, clock, SOURCE, Type.ADDRESS_RENAMED, code, today, payload)


def active(tx: Tx, code: str) -> AddressRow:
    """The row of an ACTIVE address. Raises NotFound E-AC-UNKNOWN, Rejected E-AC-RETIRED with the successors."""
    row = _row(tx, code)
    if row.status == "RETIRED":
        raise Rejected(
            "E-AC-RETIRED", "the code is retired", successor=", ".join(successors(tx, code)) or "-"
        )
    if row.status != "ACTIVE":
        raise Rejected("E-AC-STATE", "the address is not active yet", state=row.status)
    return row


def successors(tx: Tx, code: str) -> list[str]:
    """What took the place of a retired code, in order."""
    query = select(SuccessorRow.successor).where(SuccessorRow.code == code)
    return list(tx.scalars(query.order_by(SuccessorRow.successor)))


def _retire(tx: Tx, clock: Clock, code: str, parts: list[str]) -> None:
    row = _row(tx, code)
    if row.status != "ACTIVE":
        raise Rejected("E-AC-STATE", "only an active address is retired", state=row.status)
    for part in parts:
        active(tx, part)
        tx.add(SuccessorRow(code=code, successor=part))
    row.status, row.changed_at = "RETIRED", clock.now()
    for plate in tx.scalars(
        select(PlateRow).where(PlateRow.code == code, PlateRow.state == "HUNG")
    ):
        plate.state = "REMOVED"
    tx.flush()
    today = business_date(clock.now())
    payload = {"code": code, "successors": parts}
    delivery.send(tx, clock, SOURCE, Type.ADDRESS_RETIRED, code, today, payload)
    _move_people(tx, clock, code, parts)


def _move_people(tx: Tx, clock: Clock, code: str, parts: list[str]) -> None:
    """Open occupancies follow a single successor; else a task asks where each of them lives."""
    there = tx.scalars(
        select(OccupancyRow).where(
            OccupancyRow.address_code == code,
            OccupancyRow.move_out.is_(None),
            OccupancyRow.withdrawn_at.is_(None),
        )
    ).all()
    for row in there:
        if len(parts) == 1:
            reassign(tx, clock, row, parts[0])
        else:
            row.unresolved = True
            choice = ", ".join(parts) or "demolished"
            tasks.open_task(tx, clock, tasks.UNRESOLVED, row.id, f"{code}: {choice}")


def reassign(tx: Tx, clock: Clock, row: OccupancyRow, code: str) -> None:
    """The same stay under another code; the person is told through the residence register."""
    active(tx, code)
    row.address_code, row.unresolved = code, False
    tx.flush()
    tasks.close(tx, clock, tasks.UNRESOLVED, row.id, "station", code)
    payload = {"record": row.id, "code": code, "start": row.move_in.isoformat()}
    delivery.send(
        tx, clock, SOURCE, Type.OCCUPANCY_CHANGED, row.occupant_id, business_date(clock.now()),
        payload,
    )  # fmt: skip


def _new_card(tx: Tx, clock: Clock, code: str, by: str) -> str:
    card = CodeCardRow(**_code_card(clock, code, by))
    tx.add(card)
    tx.flush()
    return card.id


def _replace_card(tx: Tx, clock: Clock, code: str) -> None:
    today = business_date(clock.now())
    for card in tx.scalars(
        select(CodeCardRow).where(CodeCardRow.code == code, CodeCardRow.replaced_on.is_(None))
    ):
        card.replaced_on = today
    _new_card(tx, clock, code, "station")


def _step(row: AddressRow, before: str, after: str, clock: Clock) -> None:
    if row.status != before:
        raise Rejected("E-AC-STATE", f"{after} follows {before}", state=row.status)
    row.status, row.changed_at = after, clock.now()


def _row(tx: Tx, code: str) -> AddressRow:
    row = tx.get(AddressRow, code)
    if row is None:
        raise NotFound("E-AC-UNKNOWN", "no such address code")
    return row
