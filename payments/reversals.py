"""The rules of a reversal (iso8583-host.md 8.2): tombstones, voids, and what cannot be undone any more."""

from dataclasses import replace
from typing import Any

from payments.card_blocks import was_late
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
from payments.field_parts import PartFault
from payments.ledger import VOIDED
from payments.loads import Desk
from payments.matrix import BANK_KINDS, IRREVERSIBLE
from payments.responses import APPROVED

UNKNOWN, AMOUNT_DIFFERS, IMPOSSIBLE = "25", "64", "12"


def reverse(request: Request, desk: Desk) -> Rule:
    """0400. The check that nothing was credited and the void are one commit (I-30)."""
    return answer_now(_decide(request, desk))


def _decide(request: Request, desk: Desk) -> Decision:
    message = request.message
    if message.kind in IRREVERSIBLE:
        return refuse(IMPOSSIBLE)
    try:
        key = original_key(message)
    except PartFault:
        return refuse("30")
    if message.text(61)[6:12] != message.trace:
        return refuse("30")
    row = desk.known.loads.get(key)
    if row is None:
        seen = desk.known.messages.get(key)
        if seen is None:
            return replace(refuse(UNKNOWN), tombstone=key)
        if seen.state == TOMBSTONE:
            return refuse(UNKNOWN)
        # Done and yet no load: a purchase or a balance. Else it was declined before any money moved.
        return refuse(IMPOSSIBLE) if seen.response == APPROVED else _declined(request, desk)
    if (row.amount, row.asn) != (message.amount, request.asn):
        return refuse(
            AMOUNT_DIFFERS, _incident("reversal-differs", request, "another amount or card")
        )
    if row.state in (REVERSED, DECLINED):
        return Decision("00")
    if row.state in (HELD, ISSUED):
        return _undo(request, desk, row)
    detail = "the card was credited" if row.state == CONFIRMED else "the outcome is unresolved"
    return refuse(REFUSED, _incident("reversal-refused", request, detail))


def _declined(request: Request, desk: Desk) -> Decision:
    """Nothing to undo; but a request without an answer may have been late, and have blocked an honest card."""
    card = desk.known.cards.get(request.asn)
    if card is None or not card.blocked:
        return Decision("00")
    return Decision("00", also=(was_late(request.asn, request.message.octets(58)),))


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
