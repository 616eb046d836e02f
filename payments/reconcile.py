"""Reconciliation: every difference between cards, ledger, terminals and bank, as a row with a reason.

A difference is *explained* when a rule accounts for it to the fen (a load not confirmed yet, purchases that
are kept for people); what is left over is what the day must show as zero.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from sqlalchemy import String, cast, func, select

from core.clock import SHANGHAI
from core.db import Tx
from payments import ledger
from payments.bank import BankLine
from payments.decisions import CONFIRMED, DECLINED, HELD, ISSUED, UNRESOLVED
from payments.matrix import BANK_KINDS
from payments.requests import UNLOAD
from payments.tables import BankOrderRow, BatchRow, IncidentRow, LoadRow, PurchaseRow
from payments.writing import WAITING

DEBIT, REVERSE, CREDIT = "debit", "reverse", "credit"
REFERENCES_A_STATEMENT = 5_000
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
    """Batches that were closed although terminal and host did not agree (12.4), until two people have looked."""
    seen = (
        select(IncidentRow.id)
        .where(
            IncidentRow.kind.in_(("batch-different", "batch-full")),
            IncidentRow.subject
            == BatchRow.terminal.concat("/").concat(cast(BatchRow.number, String)),
            IncidentRow.open.is_(False),
        )
        .exists()
    )
    rows = tx.scalars(
        select(BatchRow)
        .where(BatchRow.state == "DIFFERENT", ~seen)
        .order_by(BatchRow.terminal, BatchRow.number)
    )
    return [
        Difference(
            TERMINAL, f"{row.terminal}/{row.number:06d}", row.details,
            f"claimed {row.claimed or 'nothing'}, computed {row.computed or 'nothing'}", False,
        )
        for row in rows
    ]  # fmt: skip


def bank_differences(
    tx: Tx, lines: Sequence[BankLine], day: date, after: Sequence[BankLine] = ()
) -> list[Difference]:
    """The bank's check file of a day, reference by reference: debits against our loads, credits against unloads.

    `after`: its lines of the next day so far. What we ask around midnight, or tell it later, stands there.
    """
    return _debit_differences(tx, lines, day, after) + _credit_differences(tx, lines, day, after)


def _sums(lines: Sequence[BankLine], *kinds: str) -> dict[str, int]:
    """Fen by reference; what was given back counts against what was taken."""
    found: dict[str, int] = {}
    for line in lines:
        if line.kind in kinds:
            sign = -1 if line.kind == REVERSE else 1
            found[line.reference] = found.get(line.reference, 0) + sign * line.amount
    return found


def _debit_differences(
    tx: Tx, lines: Sequence[BankLine], day: date, after: Sequence[BankLine]
) -> list[Difference]:
    today, next_day = _sums(lines, DEBIT, REVERSE), _sums(after, DEBIT, REVERSE)
    loads = _loads(tx, day, today.keys())
    back = _orders(tx, REVERSE, today.keys() | loads.keys())
    found: list[Difference] = []
    for reference in sorted(today.keys() | loads.keys()):
        row, got = loads.get(reference), today.get(reference, 0)
        if row is not None and row.day != day:
            one = _of_another_day(row, got, reference in back)
        else:
            got += next_day.get(reference, 0) if row is not None else 0
            one = _of_this_day(row, reference, got, back.get(reference))
        found += [] if one is None else [one]
    return found


def _of_this_day(row: Any, reference: str, got: int, order: str | None) -> Difference | None:
    """`got`: taken less given back; `order`: state of what the bank was told to give back."""
    if row is None:
        return Difference(BANK, reference, got, f"the bank took {got}; no load of ours", False)
    debited = row.state not in (DECLINED, HELD) and order is None
    wanted = row.amount if debited else 0
    if got == wanted:
        return None
    reason, explained = f"the bank took {got}, we have {wanted}; our load is {row.state}", False
    if got == row.amount and order == WAITING:
        reason, explained = "the bank has not been told yet to give it back", True
    elif got == row.amount and row.state == HELD:
        reason, explained = "the load is still being decided", True
    return Difference(BANK, reference, got - wanted, reason, explained)


def _of_another_day(row: Any, got: int, given_back: bool) -> Difference | None:
    """A line of a load that was asked for on another day: taken after midnight, or given back later."""
    possible = {row.amount} if row.state not in (DECLINED, HELD) or given_back else set()
    possible |= {0, -row.amount} if given_back else set()
    if got in possible:
        return None
    reason = f"the bank took {got}; our load of {row.day} is {row.state}"
    return Difference(BANK, row.reference, got, reason, False)


def _loads(tx: Tx, day: date, references: Set[str]) -> dict[str, Any]:
    """The day's loads through the bank, and those of other days that the bank names."""
    load = (LoadRow.reference, LoadRow.day, LoadRow.amount, LoadRow.state)
    query = select(*load).where(LoadRow.kind.in_(sorted(BANK_KINDS)))
    found = {row.reference: row for row in tx.execute(query.where(LoadRow.day == day))}
    for part in _parts(sorted(references - found.keys())):
        others = query.where(LoadRow.reference.in_(part))
        found |= {row.reference: row for row in tx.execute(others)}
    return found


def _orders(tx: Tx, kind: str, references: Set[str]) -> dict[str, str]:
    """State of the orders of a kind to the bank, by reference."""
    order = BankOrderRow.reference, BankOrderRow.state
    return {
        row[0]: row[1]
        for part in _parts(sorted(references))
        for row in tx.execute(
            select(*order).where(BankOrderRow.kind == kind, BankOrderRow.reference.in_(part))
        )
    }


def _parts(references: Sequence[str]) -> Iterator[Sequence[str]]:
    """Pieces that fit one statement."""
    for at in range(0, len(references), REFERENCES_A_STATEMENT):
        yield references[at : at + REFERENCES_A_STATEMENT]


def _credit_differences(
    tx: Tx, lines: Sequence[BankLine], day: date, after: Sequence[BankLine]
) -> list[Difference]:
    """Each payment to an account against the unload it is for, which may be of an earlier day (11.2), and each
    payment we ordered on this day against what the bank paid.
    """
    paid, later = _sums(lines, CREDIT), _sums(after, CREDIT)
    begin = datetime.combine(day, time(), SHANGHAI)
    ordered = tx.execute(
        select(BankOrderRow.reference, BankOrderRow.state).where(
            BankOrderRow.kind == CREDIT, BankOrderRow.at >= begin,
            BankOrderRow.at < begin + timedelta(days=1),
        )
    )  # fmt: skip
    states = {row[0]: row[1] for row in ordered}
    found: list[Difference] = []
    for reference in sorted(paid.keys() | (states.keys() - later.keys())):
        row = tx.scalar(
            select(LoadRow).where(LoadRow.reference == reference, LoadRow.kind == UNLOAD)
        )
        wanted = row.amount if row is not None and row.state == CONFIRMED else 0
        got = paid.get(reference, 0)
        if got != wanted:
            state = "no unload of ours" if row is None else f"our unload is {row.state}"
            reason = f"the bank paid {got}, we have {wanted}; {state}"
            waits = not got and states.get(reference) == WAITING
            if waits:
                reason = "the bank has not been told yet to pay it"
            found.append(Difference(BANK, reference, wanted - got, reason, waits))
    return found
