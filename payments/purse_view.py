"""What ledger and host know of one purse, for counters and screens."""

from dataclasses import dataclass

from sqlalchemy import func, select

from core.db import Tx
from core.errors import NotFound
from payments import ledger
from payments.tables import AccountRow, LoadRow, PurchaseRow, PurseCardRow


@dataclass(frozen=True)
class PurseView:
    """One purse. `pending_fen` is promised money, `counter` the highest online counter seen."""

    asn: str
    posted_fen: int
    pending_fen: int
    counter: int
    blocked: bool
    open_loads: int
    kept: int


def view(tx: Tx, asn: str) -> PurseView:
    """Raises NotFound PURSE-UNKNOWN for a card the network never saw."""
    row = tx.get(PurseCardRow, asn)
    if row is None and tx.get(AccountRow, ledger.purse(asn)) is None:
        raise NotFound("PURSE-UNKNOWN", "never loaded, never used", asn=asn)
    held = ledger.balance(tx, ledger.purse(asn))
    open_loads = select(func.count()).where(
        LoadRow.asn == asn, LoadRow.state.in_(("HELD", "ISSUED", "UNRESOLVED"))
    )
    kept = select(func.count()).where(PurchaseRow.asn == asn, PurchaseRow.state == "HELD")
    return PurseView(
        asn, held.posted, held.pending, row.counter if row else 0, bool(row and row.blocked),
        tx.scalar(open_loads) or 0, tx.scalar(kept) or 0,
    )  # fmt: skip
