"""The rules of a reversal (iso8583-host.md 8.2): tombstones, voids, and what cannot be undone any more."""

from dataclasses import replace
from typing import Any

from payments.decisions import (
    CONFIRMED,
    DECLINED,
    HELD,
    ISSUED,
    REFUSED,
    REVERSED,
    TOMBSTONE,
    BankOrder,
    Decision,
    Incident,
    LoadMove,
    Request,
    Rule,
    answer_now,
    original_key,
    refuse,
)
from payments.field_parts import Original, PartFault
from payments.ledger import VOIDED
from payments.loads import Desk
from payments.matrix import BANK_KINDS

UNKNOWN, AMOUNT_DIFFERS = "25", "64"


def reverse(request: Request, desk: Desk) -> Rule:
    """0400. The check that nothing was credited and the void are one commit (I-30)."""
    decision = _decide(request, desk)
    fields = {**decision.fields, 37: desk.references()}
    return answer_now(replace(decision, fields=fields))


def _decide(request: Request, desk: Desk) -> Decision:
    message = request.message
    try:
        original = Original.parse(message.text(61))
    except PartFault:
        return refuse("30")
    key = original_key(message, original)
    if original.trace != message.trace:
        return refuse("30")
    row = desk.known.loads.get(key)
    if row is None:
        seen = desk.known.messages.get(key)
        if seen is None:
            return replace(refuse(UNKNOWN), tombstone=key)
        # Known but never held: it was declined before any money moved; a tombstone is 25 again.
        return refuse(UNKNOWN) if seen.state == TOMBSTONE else Decision("00")
    asn = message.octets(58)[10:20].hex()
    if (row.amount, row.asn) != (message.amount, asn):
        return refuse(
            AMOUNT_DIFFERS, _incident("reversal-differs", request, "another amount or card")
        )
    if row.state in (REVERSED, DECLINED):
        return Decision("00")
    if row.state in (HELD, ISSUED):
        return _undo(request, desk, row)
    detail = "the card was credited" if row.state == CONFIRMED else "the outcome is unresolved"
    return refuse(REFUSED, _incident("reversal-refused", request, detail))


def _undo(request: Request, desk: Desk, row: Any) -> Decision:
    card = desk.known.cards.get(row.asn)
    if card is not None and card.counter > row.counter:
        return refuse(REFUSED, _incident("reversal-refused", request, "the card's counter went on"))
    move = LoadMove(
        row.key,
        row.state,
        REVERSED,
        f"reason {request.message.response}",
        VOIDED,
        watched=row.state == ISSUED,
    )
    debited = row.kind in BANK_KINDS
    orders = (BankOrder(row.reference, "reverse", row.amount),) if debited else ()
    return Decision("00", moves=(move,), orders=orders)


def _incident(kind: str, request: Request, detail: str) -> Incident:
    return Incident(kind, request.key, detail, request.message.octets(58))
