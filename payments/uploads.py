"""The rules of off-line purchases: every record is stored first and judged second (iso8583-host.md 7.7, 12.3).

The answer is 00 for everything that could be stored; the merchant's money follows the judgement (11.3), which
`payments.judging` makes later, and never the answer.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlalchemy import update

from core.db import Tx
from payments import confirmations
from payments.decisions import Decision, Incident, Request, Rule, answer_now, refuse
from payments.known import purse_key
from payments.loads import Desk
from payments.purse_data import (
    LOAD_CONFIRMATION,
    TYPES,
    PurchaseEvidence,
    PurseConfirmation,
)
from payments.requests import PURCHASE
from payments.tables import BatchRow

RECEIVED, REPEATED = "RECEIVED", "REPEATED"
FLAG_REPEATED, FLAG_AMOUNT, FLAG_PSAM = "D", "A", "P"


def upload(request: Request, desk: Desk) -> Rule:
    """0200, 0220 or 0320 of type 36 with TA."""
    return answer_now(_store(request, desk))


def _store(request: Request, desk: Desk) -> Decision:
    message = request.message
    data = request.purse
    if not isinstance(data, PurchaseEvidence) or data.type not in TYPES[data.flag]:
        return refuse("30")
    reference = desk.references()
    row = purchase_row(request, data, reference)
    incidents: tuple[Incident, ...] = ()
    if data.amount != message.amount:
        row["flags"] = FLAG_AMOUNT
        detail = f"field 4 says {message.amount}, the card {data.amount}"
        incidents = (Incident("purchase-amount", request.key, detail, bytes(data)),)
    elif data.psam.hex() != request.terminal.psam:
        row["flags"] = FLAG_PSAM
        detail = "the PSAM is not this terminal's"
        incidents = (Incident("purchase-psam", request.key, detail, bytes(data)),)
    first = desk.known.purchases.get(row["purse_key"])
    if first is not None:
        row |= {"purse_key": None, "first_id": first, "state": REPEATED, "flags": FLAG_REPEATED}
    return Decision("00", {37: reference}, purchase=row, incidents=incidents)


def purchase_row(request: Request, data: PurchaseEvidence, reference: str) -> dict[str, Any]:
    """The record as received: raw bytes and parsed columns (I-7)."""
    message = request.message
    return {
        "purse_key": purse_key(data), "first_id": None, "message_key": request.key,
        "raw": bytes(data), "issuer": data.issuer.hex(), "asn": data.asn.hex(),
        "counter": data.counter, "type": data.type, "amount": data.amount,
        "balance": data.balance_before, "psam": data.psam.hex(),
        "terminal_counter": data.terminal_counter, "tac": data.tac.hex(),
        "made": data.date.hex() + data.time.hex(), "key_version": data.key_version,
        "terminal": message.terminal, "merchant": message.merchant, "batch": int(message.batch),
        "trace": message.trace, "reference": reference, "state": RECEIVED, "flags": "",
        "tac_good": None, "fee": 0, "day": request.day, "cleared": None, "at": request.at,
    }  # fmt: skip


def detail(request: Request, desk: Desk) -> Rule:
    """0320 / 205 or 203: one record of the batch again, counted, and stored when it is new (12.3)."""
    message = request.message
    data = request.purse
    if data is None:
        return refuse("30")
    counted = _counted(request)
    if message.kind == PURCHASE and isinstance(data, PurchaseEvidence):
        decision = _store(request, desk)
        return replace(decision, also=(counted,)) if decision.response == "00" else decision
    if isinstance(data, PurseConfirmation) and data.flag == LOAD_CONFIRMATION:
        return (yield from _load_detail(request, desk, counted))
    return Decision("00", also=(counted,))


def _load_detail(request: Request, desk: Desk, counted: Callable[[Tx], None]) -> Rule:
    """The evidence of a load in a batch proves it like a confirmation does."""
    decision = yield from confirmations.confirm(request, desk)
    if decision.response == "91" or not decision.store:
        return decision
    return replace(decision, response="00", fields={}, also=(*decision.also, counted))


def _counted(request: Request) -> Callable[[Tx], None]:
    terminal, number = request.message.terminal, int(request.message.batch)

    def count(tx: Tx) -> None:
        tx.execute(
            update(BatchRow)
            .where(BatchRow.terminal == terminal, BatchRow.number == number)
            .values(details=BatchRow.details + 1)
        )

    return count
