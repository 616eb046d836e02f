"""What the bank must still be told: after a stop, and in quiet moments until it has understood (8.2, I-31)."""

from typing import Any

from sqlalchemy import select

from core.clock import Clock, business_date
from core.db import Database
from core.errors import Unavailable
from payments.bank import Bank, BankRefusal
from payments.decisions import HELD, REVERSED, BankOrder, LoadMove
from payments.ledger import VOIDED
from payments.matrix import BANK_KINDS
from payments.tables import BankOrderRow, LoadRow
from payments.writing import DONE, WAITING, move_loads, order_bank

MAX_ORDERS = 100


def void_held(db: Database, clock: Clock, host: str) -> int:
    """Void the loads that `host` still held when it stopped, whose MAC2 never left it; how many (I-31)."""
    at = clock.now()
    day = business_date(at)
    with db.write() as tx:
        held = tx.execute(
            select(LoadRow.key, LoadRow.reference, LoadRow.amount, LoadRow.kind).where(
                LoadRow.state == HELD, LoadRow.host == host
            )
        ).all()
        moves = [LoadMove(row.key, HELD, REVERSED, "host restarted", VOIDED) for row in held]
        move_loads(tx, clock, moves, day, at)
        debited = [row for row in held if row.kind in BANK_KINDS]
        order_bank(tx, [BankOrder(r.reference, "reverse", r.amount) for r in debited], at)
    return len(held)


def forward(db: Database, bank: Bank) -> int:
    """Tell the bank up to `MAX_ORDERS`, the least tried first; how many it took. The rest waits."""
    with db.read() as tx:
        rows = tx.execute(
            select(
                BankOrderRow.reference, BankOrderRow.kind, BankOrderRow.amount, BankOrderRow.account
            )
            .where(BankOrderRow.state == WAITING)
            .order_by(BankOrderRow.tries, BankOrderRow.at)
            .limit(MAX_ORDERS)
        ).all()
    done = 0
    for row in rows:
        told = _tell(bank, row)
        done += told
        with db.write() as tx:
            order = tx.get(BankOrderRow, (row.reference, row.kind))
            if order is not None:
                order.tries += 1
                order.state = DONE if told else WAITING
    return done


def _tell(bank: Bank, row: Any) -> bool:
    try:
        if row.kind == "credit":
            bank.credit(row.reference, row.account, row.amount)
        else:
            bank.reverse(row.reference)
    except (Unavailable, BankRefusal):
        return False
    return True
