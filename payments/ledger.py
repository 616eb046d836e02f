"""The double-entry ledger: immutable transfers in integer fen, named by their sender, posted in batches.

A transfer debits one account and credits another, so the ledger sums to zero by its form. Money that is only
promised is a pending transfer, later posted or voided, at most once (a constraint). Posting a name again
changes nothing when it says the same, and is EvidenceMismatch LEDGER-CONFLICT when it does not.

=================  ==========================================================================
account            meaning
=================  ==========================================================================
``purse:<asn>``    what we owe the holder of one card: the purse float is the sum of these
``merchant:<no>``  what we owe a merchant
``bank``           what the funding bank owes us (or we owe it)
``cash:<no>``      what a merchant took in cash for loads
``fees``           what merchants paid for clearing
``suspense``       differences until people have decided
=================  ==========================================================================
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, cast

from sqlalchemy import Table, func, literal, select, union_all

from core.db import Tx
from core.errors import EvidenceMismatch, NotFound, Rejected
from core.rows import Insert
from payments.tables import AccountRow, TransferRow

BANK, FEES, SUSPENSE = "bank", "fees", "suspense"
PENDING, SINGLE, COMPLETED, VOIDED = "P", "S", "C", "V"
MAX_AMOUNT = 10**12 - 1
_T = cast(Table, TransferRow.__table__)
_A = cast(Table, AccountRow.__table__)
_COUNTED = (SINGLE, COMPLETED)
_NEW_ACCOUNTS, _NEW_TRANSFERS = Insert(_A, quiet=True), Insert(_T)


def purse(asn: str) -> str:
    """Account of one card."""
    return f"purse:{asn}"


def merchant(number: str) -> str:
    """Account of one merchant."""
    return f"merchant:{number}"


def cash(number: str) -> str:
    """Cash that a merchant holds for us."""
    return f"cash:{number}"


@dataclass(frozen=True)
class Transfer:
    """A movement to be made. `id` is the sender's name for it; the same id is the same movement."""

    id: str
    debit: str
    credit: str
    amount: int
    reason: str
    step: str = SINGLE

    def __post_init__(self) -> None:
        if not 0 < self.amount <= MAX_AMOUNT:
            raise Rejected("LEDGER-AMOUNT", "an amount is 1 to 999,999,999,999 fen", id=self.id)
        if self.debit == self.credit:
            raise AssertionError("a transfer has two sides")
        if self.step not in (PENDING, SINGLE):
            raise AssertionError("complete() and void() resolve a pending transfer")


def open_accounts(tx: Tx, ids: Iterable[str]) -> None:
    """Make the accounts that do not exist yet; the part before the colon is the kind."""
    rows = [{"id": one, "kind": one.split(":", 1)[0]} for one in sorted(set(ids))]
    _NEW_ACCOUNTS.run(tx, rows)


def post(tx: Tx, transfers: Sequence[Transfer], day: date, at: datetime) -> int:
    """Write transfers that may exist already; how many are new. Raises EvidenceMismatch LEDGER-CONFLICT."""
    if not transfers:
        return 0
    open_accounts(tx, (side for t in transfers for side in (t.debit, t.credit)))
    known = _known(tx, [t.id for t in transfers])
    fresh: dict[str, Transfer] = {}
    for transfer in transfers:
        held = known.get(transfer.id) or fresh.get(transfer.id)
        if held is None:
            fresh[transfer.id] = transfer
        elif held != transfer:
            raise EvidenceMismatch(
                "LEDGER-CONFLICT", "another transfer has this id", id=transfer.id
            )
    write(tx, list(fresh.values()), day, at)
    return len(fresh)


def write(tx: Tx, transfers: Sequence[Transfer], day: date, at: datetime) -> None:
    """Write transfers that are known to be new, as one statement; a doubled id breaks the primary key."""
    rows = [
        {"id": t.id, "step": t.step, "pending_id": None, "debit": t.debit, "credit": t.credit,
         "amount": t.amount, "reason": t.reason, "day": day, "at": at}
        for t in transfers
    ]  # fmt: skip
    _NEW_TRANSFERS.run(tx, rows)


def complete(tx: Tx, pending: Sequence[str], day: date, at: datetime) -> None:
    """The promised money moved. Raises NotFound LEDGER-PENDING, EvidenceMismatch LEDGER-RESOLVED."""
    _resolve(tx, pending, COMPLETED, day, at)


def void(tx: Tx, pending: Sequence[str], day: date, at: datetime) -> None:
    """The promised money stays where it was. Raises as `complete`."""
    _resolve(tx, pending, VOIDED, day, at)


def _resolve(tx: Tx, pending: Sequence[str], step: str, day: date, at: datetime) -> None:
    """Copies the pending rows, so that sides and amount cannot differ; does nothing when done before."""
    if not pending:
        return
    rows = tx.execute(select(_T.c.pending_id, _T.c.step).where(_T.c.pending_id.in_(pending)))
    done: dict[str, str] = {row[0]: row[1] for row in rows}
    for one in pending:
        if done.get(one, step) != step:
            raise EvidenceMismatch("LEDGER-RESOLVED", "it was decided otherwise before", id=one)
    left = [one for one in pending if one not in done]
    made = select(
        _T.c.id + literal(f"/{step}"), literal(step), _T.c.id, _T.c.debit, _T.c.credit, _T.c.amount,
        _T.c.reason, literal(day, _T.c.day.type), literal(at, _T.c.at.type),
    ).where(_T.c.id.in_(left), _T.c.step == PENDING)  # fmt: skip
    names = ["id", "step", "pending_id", "debit", "credit", "amount", "reason", "day", "at"]
    result: Any = tx.execute(
        _T.insert().from_select(names, made), execution_options={"preserve_rowcount": True}
    )
    if result.rowcount != len(left):
        raise NotFound("LEDGER-PENDING", "no such pending transfer", count=len(left))


def _known(tx: Tx, ids: Sequence[str]) -> dict[str, Transfer]:
    rows = tx.execute(
        select(_T.c.id, _T.c.debit, _T.c.credit, _T.c.amount, _T.c.reason, _T.c.step).where(
            _T.c.id.in_(ids)
        )
    )
    return {row[0]: Transfer(*row) for row in rows}


@dataclass(frozen=True)
class Balance:
    """One account in fen: what was credited less what was debited, and what is promised on top."""

    posted: int
    pending: int


def balance(tx: Tx, account: str) -> Balance:
    """Balance of one account."""
    return Balance(
        _sum(tx, account, _COUNTED), _sum(tx, account, (PENDING,)) - _resolved(tx, account)
    )


def _sum(tx: Tx, account: str, steps: Sequence[str]) -> int:
    credits_, debits = (
        tx.scalar(select(func.sum(_T.c.amount)).where(side == account, _T.c.step.in_(steps))) or 0
        for side in (_T.c.credit, _T.c.debit)
    )
    return int(credits_) - int(debits)


def _resolved(tx: Tx, account: str) -> int:
    return _sum(tx, account, (COMPLETED, VOIDED))


def balances(tx: Tx, kind: str, until: date | None = None) -> dict[str, int]:
    """Posted balance of every account of a kind that ever moved, up to and with day `until`."""
    sides = []
    for side, sign in ((_T.c.credit, 1), (_T.c.debit, -1)):
        query = (
            select(side.label("account"), func.sum(_T.c.amount * sign).label("fen"))
            .join(_A, _A.c.id == side)
            .where(_A.c.kind == kind, _T.c.step.in_(_COUNTED))
            .group_by(side)
        )
        sides.append(query if until is None else query.where(_T.c.day <= until))
    both = union_all(*sides).subquery()
    rows = tx.execute(select(both.c.account, func.sum(both.c.fen)).group_by(both.c.account))
    return {account: int(fen) for account, fen in rows}


@dataclass(frozen=True)
class Entry:
    """One line of an account's statement; `amount` is positive for a credit."""

    id: str
    step: str
    amount: int
    other: str
    reason: str
    day: date
    at: datetime


def statement(tx: Tx, account: str, limit: int = 1000) -> list[Entry]:
    """The newest lines of an account, oldest first, pending ones included."""
    rows = tx.execute(
        select(_T)
        .where((_T.c.debit == account) | (_T.c.credit == account))
        .order_by(_T.c.at.desc(), _T.c.id.desc())
        .limit(limit)
    ).mappings()
    return [
        Entry(
            row["id"], row["step"],
            row["amount"] if row["credit"] == account else -row["amount"],
            row["debit"] if row["credit"] == account else row["credit"],
            row["reason"], row["day"], row["at"],
        )
        for row in reversed(list(rows))
    ]  # fmt: skip


def trial(tx: Tx) -> dict[str, int]:
    """Posted balance by kind of account; the sum over all is zero."""
    kinds = tx.scalars(select(_A.c.kind).distinct()).all()
    return {kind: sum(balances(tx, kind).values()) for kind in sorted(kinds)}
