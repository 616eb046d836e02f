"""Two people decide what neither counter nor proof could: unresolved loads, purchases that were kept (8.3, 11.3).

The decision is a posting like any other, an event with both names, and cannot be taken back.
"""

from dataclasses import dataclass

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotAllowed, NotFound, Rejected
from core.money import fee
from payments import ledger
from payments.card_blocks import COUNTER_BACK, lift_block
from payments.completed_loads import LATE_PREFIX, LATE_PROOF
from payments.decisions import (
    CONFIRMED,
    REVERSED,
    TAKEN_BACK,
    UNRESOLVED,
    BankOrder,
    LoadMove,
)
from payments.judging import payment
from payments.ledger import Transfer
from payments.matrix import BANK_KINDS
from payments.requests import UNLOAD
from payments.tables import IncidentRow, LoadRow, MerchantRow, PurchaseRow
from payments.writing import move_loads, order_bank

KEPT = "HELD"
REFUSED = "X"  # flag of a kept purchase that two people refused for good


@dataclass(frozen=True)
class Deciders:
    """The two persons. NotAllowed PURSE-TWO-PERSONS when it is one."""

    first: str
    second: str

    def __post_init__(self) -> None:
        if not self.first or not self.second or self.first == self.second:
            raise NotAllowed("PURSE-TWO-PERSONS", "two different persons decide")


def decide_load(tx: Tx, clock: Clock, key: str, happened: bool, who: Deciders, reason: str) -> str:
    """The load happened or not; its new state. Raises NotFound PURSE-LOAD, Rejected PURSE-DECIDED."""
    row = tx.get(LoadRow, key)
    if row is None:
        raise NotFound("PURSE-LOAD", "no such load", key=key)
    if row.state != UNRESOLVED:
        raise Rejected("PURSE-DECIDED", f"the load is {row.state}", key=key)
    at = clock.now()
    day = business_date(at)
    after = CONFIRMED if happened else REVERSED
    voided = row.reason == TAKEN_BACK  # its promise was taken back before the proof came
    money = "" if voided else ledger.COMPLETED if happened else ledger.VOIDED
    orders = []
    if happened and row.kind == UNLOAD:  # the card was debited: its holder is paid now (7.6)
        orders.append(BankOrder(row.reference, "credit", row.amount, row.account))
    elif not happened and not voided and row.kind in BANK_KINDS:
        orders.append(BankOrder(row.reference, "reverse", row.amount))
    if voided and happened:
        _book_again(tx, clock, row)
    move_loads(tx, clock, [LoadMove(key, UNRESOLVED, after, "two people", money)], day, at)
    order_bank(tx, orders, at)
    events.append(
        tx, clock, "purse.load_decided", key, actor=who.first, second=who.second, state=after,
        reason=reason,
    )  # fmt: skip
    return after


def _book_again(tx: Tx, clock: Clock, row: LoadRow) -> None:
    """The promise was voided, yet the card did it. What the bank was paid back for a load stands in suspense; an
    unload's promise is made again, for nobody was paid yet.
    """
    at, purse = clock.now(), ledger.purse(row.asn)
    debit, credit = (purse, ledger.BANK) if row.kind == UNLOAD else (ledger.SUSPENSE, purse)
    transfer = Transfer(LATE_PREFIX + row.key, debit, credit, row.amount, LATE_PROOF)
    ledger.post(tx, [transfer], business_date(at), at)


def decide_purchase(
    tx: Tx, clock: Clock, number: int, pay: bool, who: Deciders, reason: str
) -> str:
    """A kept purchase is posted or refused for good; its new state.

    Raises NotFound PURSE-PURCHASE, Rejected PURSE-DECIDED.
    """
    row = tx.get(PurchaseRow, number)
    if row is None:
        raise NotFound("PURSE-PURCHASE", "no such purchase", number=number)
    if row.state != KEPT or REFUSED in row.flags:
        raise Rejected("PURSE-DECIDED", f"the purchase is {row.state}", key=str(number))
    at = clock.now()
    if pay:
        merchant = tx.get(MerchantRow, row.merchant)
        assert merchant is not None
        ledger.post(tx, [payment(row)], business_date(at), at)
        row.state, row.cleared = "POSTED", None
        row.fee = fee(row.amount, merchant.fee_points)
    else:
        row.flags = (row.flags + REFUSED)[:12]
    tx.flush()
    events.append(
        tx, clock, "purse.purchase_decided", str(number), actor=who.first, second=who.second,
        state=row.state, reason=reason,
    )  # fmt: skip
    return row.state


def close_incident(tx: Tx, clock: Clock, number: int, who: Deciders, reason: str) -> None:
    """An incident was looked at and is closed; the last one of a counter that went back unblocks its card.

    Raises NotFound PURSE-INCIDENT, Rejected PURSE-DECIDED.
    """
    row = tx.get(IncidentRow, number)
    if row is None:
        raise NotFound("PURSE-INCIDENT", "no such incident", number=number)
    if not row.open:
        raise Rejected("PURSE-DECIDED", "it is closed already", key=str(number))
    row.open = False
    tx.flush()
    if row.kind == COUNTER_BACK:
        lift_block(tx, row.subject)
    events.append(
        tx, clock, "purse.incident_closed", str(number), actor=who.first, second=who.second,
        reason=reason,
    )  # fmt: skip
