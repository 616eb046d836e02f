"""Which loads and unloads belong to a business day: those whose money moved on it.

A load is asked for on one day and may be proven on another (a late confirmation, the next counter, two people).
Its day in reports and files is the day of the ledger's transfer, which never changes.
"""

from collections.abc import Sequence
from datetime import date

from sqlalchemy import or_, select

from core.db import Tx
from payments import ledger
from payments.decisions import CONFIRMED
from payments.tables import AccountRow, LoadRow, TransferRow

LATE_PREFIX, LATE_PROOF = "late:", "late proof"
KEYS_A_STATEMENT = 5_000


def completed_loads(tx: Tx, day: date) -> Sequence[LoadRow]:
    """The confirmed loads and unloads of a day, by reference number."""
    shared = select(AccountRow.id).where(AccountRow.kind.in_(("bank", "cash", "suspense")))
    moved = select(TransferRow.id, TransferRow.pending_id).where(
        TransferRow.day == day,
        or_(TransferRow.debit.in_(shared), TransferRow.credit == ledger.BANK),
        or_(TransferRow.step == ledger.COMPLETED, TransferRow.reason == LATE_PROOF),
    )
    keys = [pending or id_.removeprefix(LATE_PREFIX) for id_, pending in tx.execute(moved)]
    found = [
        row
        for at in range(0, len(keys), KEYS_A_STATEMENT)
        for row in tx.scalars(
            select(LoadRow).where(
                LoadRow.key.in_(keys[at : at + KEYS_A_STATEMENT]), LoadRow.state == CONFIRMED
            )
        )
    ]
    return sorted(found, key=lambda row: row.reference)
