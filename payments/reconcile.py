"""Reconciliation: every difference between cards, ledger, terminals and bank, as a row with a reason.

A difference is *explained* when a rule accounts for it to the fen (a load not confirmed yet, purchases that
are kept for people); what is left over is what the day must show as zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from sqlalchemy import func, select

from core.db import Tx
from payments import ledger
from payments.bank import BankLine
from payments.decisions import CONFIRMED, HELD, ISSUED, UNRESOLVED
from payments.requests import UNLOAD
from payments.tables import BatchRow, LoadRow, PurchaseRow

CARD, BANK, TERMINAL, TRIAL, OPEN_LOAD = "card", "bank", "terminal", "ledger", "open-load"


@dataclass(frozen=True)
class Difference:
    """What differs, by how many fen, and whether a rule accounts for all of it."""

    kind: str
    subject: str
    amount: int
    reason: str
    explained: bool


def ledger_differences(tx: Tx) -> list[Difference]:
    """The ledger sums to zero, or the program is broken."""
    total = sum(ledger.trial(tx).values())
    if not total:
        return []
    return [Difference(TRIAL, "all accounts", total, "the ledger does not sum to zero", False)]


def card_differences(tx: Tx, chips: Mapping[str, int]) -> list[Difference]:
    """Chip balances against the ledger: chip + what is not posted yet = ledger + what is promised.

    A load that is not confirmed may be on the chip already; purchases that were received but not posted
    are off the chip already, purchases still in a terminal too (then the chip has less and the reason says so).
    """
    balances = ledger.balances(tx, "purse")
    found: list[Difference] = []
    for asn, held in sorted(chips.items()):
        booked = balances.get(ledger.purse(asn), 0)
        if held == booked:
            continue
        waiting = _not_posted(tx, asn)
        promised = _promised(tx, asn)
        gap = held - booked + waiting
        explained = gap == 0 or (gap in promised)
        reason = _card_reason(waiting, promised, gap)
        found.append(Difference(CARD, asn, held - booked, reason, explained))
    return found


def _card_reason(waiting: int, promised: set[int], gap: int) -> str:
    if gap in promised:
        return f"{gap} fen of loads without proof yet, {waiting} fen of purchases not posted"
    if gap == 0:
        return f"{waiting} fen of purchases received but not posted"
    return f"{gap} fen that nobody accounts for"


def _not_posted(tx: Tx, asn: str) -> int:
    """Purchases with a good TAC that left the chip but are kept for people, or wait to be judged."""
    query = select(func.coalesce(func.sum(PurchaseRow.amount), 0)).where(
        PurchaseRow.asn == asn,
        PurchaseRow.state.in_(("RECEIVED", "HELD")),
        (PurchaseRow.tac_good.is_(None)) | (PurchaseRow.tac_good.is_(True)),
    )
    return int(tx.scalar(query) or 0)


def _promised(tx: Tx, asn: str) -> set[int]:
    """Every sum that loads without proof may have put on the chip (an unload took it away)."""
    rows = tx.execute(
        select(LoadRow.amount, LoadRow.kind).where(
            LoadRow.asn == asn, LoadRow.state.in_((HELD, ISSUED, UNRESOLVED))
        )
    )
    sums = {0}
    for amount, kind in rows:
        signed = -amount if kind == "43" else amount
        sums |= {one + signed for one in sums}
    return sums - {0}


def open_loads(tx: Tx) -> list[Difference]:
    """Loads nobody has proved or reversed: shown in clearing until a counter, a proof or people decide."""
    rows = tx.scalars(
        select(LoadRow)
        .where(LoadRow.state.in_((ISSUED, UNRESOLVED)))
        .order_by(LoadRow.at, LoadRow.key)
    )
    return [
        Difference(
            OPEN_LOAD,
            row.key,
            row.amount,
            f"{row.state.lower()}: {row.reason or 'no answer'}",
            True,
        )
        for row in rows
    ]


def terminal_differences(tx: Tx) -> list[Difference]:
    """Batches that were closed although terminal and host did not agree (12.4)."""
    rows = tx.scalars(
        select(BatchRow).where(BatchRow.state == "DIFFERENT").order_by(BatchRow.terminal)
    )
    return [
        Difference(
            TERMINAL, f"{row.terminal}/{row.number:06d}", row.details,
            f"claimed {row.claimed or 'nothing'}, computed {row.computed or 'nothing'}", False,
        )
        for row in rows
    ]  # fmt: skip


def bank_differences(tx: Tx, lines: list[BankLine], day: date) -> list[Difference]:
    """The bank's check file of a day, reference by reference: debits against our loads, credits against unloads."""
    debits = [line for line in lines if line.kind != "credit"]
    credits = [line for line in lines if line.kind == "credit"]
    return _debit_differences(tx, debits, day) + _credit_differences(tx, credits)


def _debit_differences(tx: Tx, lines: list[BankLine], day: date) -> list[Difference]:
    ours = {
        row.reference: row
        for row in tx.scalars(
            select(LoadRow).where(LoadRow.day == day, LoadRow.kind.in_(("40", "42")))
        )
    }
    taken: dict[str, int] = {}
    for line in lines:
        sign = -1 if line.kind == "reverse" else 1
        taken[line.reference] = taken.get(line.reference, 0) + sign * line.amount
    found: list[Difference] = []
    for reference in sorted(taken.keys() | ours.keys()):
        row = ours.get(reference)
        wanted = (
            row.amount if row is not None and row.state not in ("REVERSED", "DECLINED", HELD) else 0
        )
        got = taken.get(reference, 0)
        if got != wanted:
            state = "no load of ours" if row is None else f"our load is {row.state}"
            reason = f"the bank took {got}, we have {wanted}; {state}"
            found.append(Difference(BANK, reference, got - wanted, reason, False))
    return found


def _credit_differences(tx: Tx, lines: list[BankLine]) -> list[Difference]:
    """Each payment to an account against the unload it is for; that may be of an earlier day (11.2)."""
    found: list[Difference] = []
    for line in lines:
        row = tx.scalar(
            select(LoadRow).where(LoadRow.reference == line.reference, LoadRow.kind == UNLOAD)
        )
        wanted = row.amount if row is not None and row.state == CONFIRMED else 0
        if line.amount != wanted:
            state = "no unload of ours" if row is None else f"our unload is {row.state}"
            reason = f"the bank paid {line.amount}, we have {wanted}; {state}"
            found.append(Difference(BANK, line.reference, wanted - line.amount, reason, False))
    return found
