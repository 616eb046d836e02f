"""What ledger and host know of one purse, and what waits for two people: for counters, auditors and screens."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from core.db import Tx
from core.errors import NotFound
from payments import ledger
from payments.resolution import KEPT, REFUSED
from payments.tables import AccountRow, IncidentRow, LoadRow, PurchaseRow, PurseCardRow


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


def kept_purchases(tx: Tx) -> Sequence[PurchaseRow]:
    """Purchases that were kept and that nobody has decided, oldest first (11.3)."""
    return tx.scalars(
        select(PurchaseRow)
        .where(PurchaseRow.state == KEPT, ~PurchaseRow.flags.contains(REFUSED))
        .order_by(PurchaseRow.id)
    ).all()


def incidents(tx: Tx, closed: bool = False, limit: int = 1000) -> Sequence[IncidentRow]:
    """The newest incidents that are open (or all, with `closed`), oldest first."""
    query = select(IncidentRow).order_by(IncidentRow.id.desc()).limit(limit)
    rows = tx.scalars(query if closed else query.where(IncidentRow.open)).all()
    return rows[::-1]
