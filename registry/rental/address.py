"""Address codes and their life: PROPOSED, ACTIVE, RETIRED (residence.md 7.1, 7.3)."""

from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotFound, Rejected
from registry.exchange import delivery
from registry.exchange.messages import Type
from registry.identifiers import ADDRESS_DIGITS, validate_address_code
from registry.rental.tables import AddressRow

SOURCE = "rental"
MAX_TEXT = 35  # characters of the chip's address field: 70 bytes in two-byte coding


def propose(tx: Tx, clock: Clock, code: str, text: str) -> str:
    """Code a unit; returns the 25 digits. Raises Rejected E-AC-CHECK, E-AC-TEXT, E-AC-DUP (I4)."""
    checked = validate_address_code(code)
    if not checked.ok or len(checked.normalized) != ADDRESS_DIGITS:
        raise Rejected("E-AC-CHECK", "a room has 25 digits")
    if not text.strip() or len(text.encode("utf-16-le")) > 2 * MAX_TEXT:
        raise Rejected("E-AC-TEXT", "the address text does not fit the chip")
    if tx.get(AddressRow, checked.normalized) is not None:
        raise Rejected("E-AC-DUP", "the code was used before")
    tx.add(
        AddressRow(code=checked.normalized, text=text, status="PROPOSED", changed_at=clock.now())
    )
    tx.flush()
    return checked.normalized


def activate(tx: Tx, clock: Clock, code: str) -> None:
    """The plate hangs and the code card is posted: the address counts from now. Raises Rejected E-AC-STATE."""
    row = _row(tx, code)
    if row.status != "PROPOSED":
        raise Rejected("E-AC-STATE", "only a proposed address is activated", state=row.status)
    row.status, row.changed_at = "ACTIVE", clock.now()
    tx.flush()
    today = business_date(clock.now())
    delivery.send(
        tx, clock, SOURCE, Type.ADDRESS_ACTIVATED, code, today, {"code": code, "text": row.text}
    )


def retire(tx: Tx, clock: Clock, code: str, successor: str | None) -> None:
    """The code is dead for ever; `successor` takes over. Raises Rejected E-AC-STATE, E-AC-UNKNOWN."""
    row = _row(tx, code)
    if row.status != "ACTIVE":
        raise Rejected("E-AC-STATE", "only an active address is retired", state=row.status)
    if successor is not None:
        active(tx, successor)
    row.status, row.successor, row.changed_at = "RETIRED", successor, clock.now()
    tx.flush()
    payload = {"code": code, "successors": [] if successor is None else [successor]}
    delivery.send(
        tx, clock, SOURCE, Type.ADDRESS_RETIRED, code, business_date(clock.now()), payload
    )


def active(tx: Tx, code: str) -> AddressRow:
    """The row of an ACTIVE address. Raises NotFound E-AC-UNKNOWN, Rejected E-AC-RETIRED with the successor."""
    row = _row(tx, code)
    if row.status == "RETIRED":
        raise Rejected("E-AC-RETIRED", "the code is retired", successor=row.successor or "-")
    if row.status != "ACTIVE":
        raise Rejected("E-AC-STATE", "the address is not active yet", state=row.status)
    return row


def _row(tx: Tx, code: str) -> AddressRow:
    row = tx.get(AddressRow, code)
    if row is None:
        raise NotFound("E-AC-UNKNOWN", "no such address code")
    return row
