"""The rules of settlement and batch end (iso8583-host.md 12): totals compared, details counted, batch closed.

A terminal must not be stuck for ever: after three unequal ends the batch is closed all the same and goes to
people as DIFFERENT.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import func, select, update

from core import events
from core.clock import Clock
from core.db import Tx
from payments import batch_fill, frames
from payments.decisions import (
    CONFIRMED,
    ISSUED,
    TAKEN_BACK,
    UNRESOLVED,
    Decision,
    Incident,
    Request,
    refuse,
)
from payments.field_parts import (
    Field48,
    KindTotal,
    PartFault,
    Totals,
    parse_field48,
    parse_field63,
    parse_pack,
)
from payments.requests import END_BALANCED, PURCHASE
from payments.tables import BatchRow, LoadRow, PurchaseRow, TerminalRow

EQUAL, DIFFERENT, UNKNOWN = 1, 2, 3
OPEN, SETTLED, CLOSED = "OPEN", "SETTLED", "CLOSED"
END_TRIES = 3
COUNT_DIFFERS = "95"


def host_totals(tx: Tx, terminal: str, batch: int) -> Totals:
    """What the host has for one batch, by type; declined loads are left out, and reversed ones whatever a later
    counter or TAC said of them (12.1).
    """
    kinds: dict[str, KindTotal] = {}
    loads = tx.execute(
        select(LoadRow.kind, func.count(), func.sum(LoadRow.amount))
        .where(
            LoadRow.terminal == terminal,
            LoadRow.batch == batch,
            LoadRow.state.in_((ISSUED, CONFIRMED, UNRESOLVED)),
            LoadRow.reason != TAKEN_BACK,
        )
        .group_by(LoadRow.kind)
    )
    for kind, count, amount in loads:
        kinds[kind] = KindTotal(int(count), int(amount))
    count, amount = tx.execute(
        select(func.count(), func.coalesce(func.sum(PurchaseRow.amount), 0)).where(
            PurchaseRow.terminal == terminal,
            PurchaseRow.batch == batch,
            PurchaseRow.state != "REPEATED",
        )
    ).one()
    if count:
        kinds[PURCHASE] = KindTotal(int(count), int(amount))
    return Totals(kinds)


@dataclass(frozen=True)
class Claim:
    """What a terminal claims: field 48, and the totals by type when it sent them."""

    sums: Field48
    kinds: Totals | None

    def agrees(self, held: Totals) -> bool:
        """Equal sums and counts in 48 and, if they came, totals by type: beyond 999 only these tell (12.1)."""
        ours48 = parse_field48(held.field48())
        if (ours48.debit, ours48.credit) != (self.sums.debit, self.sums.credit):
            return False
        if self.kinds is None:
            return True
        ours = {k: t for k, t in held.kinds.items() if t.count}
        theirs = {k: t for k, t in self.kinds.kinds.items() if t.count}
        return ours == theirs


def settle(tx: Tx, clock: Clock, request: Request, reference: str) -> Decision:
    """0500: compare, note the result, answer 00 with the result digits."""
    message = request.message
    try:
        claim = Claim(parse_field48(message.text(48)), parse_field63(message.text(63)))
    except PartFault:
        return refuse("30")
    if claim.sums.domestic or claim.sums.foreign:  # the result is the host's to say
        return refuse("30")
    held = host_totals(tx, message.terminal, int(message.batch))
    result = EQUAL if claim.agrees(held) else DIFFERENT
    digits = message.text(48)
    fields = {37: reference, 48: f"{digits[:30]}{result}{digits[31:61]}{EQUAL}"}
    key = (message.terminal, int(message.batch))
    computed, claimed = held.field63(), message.text(63)

    def note(tx: Tx) -> None:
        row = _batch(tx, key)
        row.state, row.claimed, row.computed = SETTLED, claimed, computed
        tx.flush()
        events.append(
            tx, clock, "purse.settled", key[0], batch=key[1],
            equal="yes" if result == EQUAL else "no",
        )  # fmt: skip

    return Decision("00", {**fields}, also=(note,))


def _batch(tx: Tx, key: tuple[str, int]) -> BatchRow:
    row = tx.get(BatchRow, key)
    if row is None:
        row = BatchRow(terminal=key[0], number=key[1], state=OPEN, details=0, tries=0)
        tx.add(row)
        tx.flush()
    return row


def end(tx: Tx, clock: Clock, request: Request, reference: str) -> Decision:
    """0320 / 207 or 202: equal counts close the batch, and the next sign-on gets a new number (12.4)."""
    message = request.message
    digits = message.text(48)
    if len(digits) != 4:
        return refuse("30")
    key = (message.terminal, int(message.batch))
    row = tx.get(BatchRow, key)
    if row is not None and row.closed_at is not None:  # how it was closed stays as it is
        return Decision("00", {37: reference}, requirement=frames.SIGN_ON_AGAIN)
    details = row.details if row is not None else 0
    tries = row.tries if row is not None else 0
    claimed = int(digits)
    equal = claimed == details or (message.function == END_BALANCED and claimed == 0)
    if not equal and tries + 1 < END_TRIES:
        return Decision(COUNT_DIFFERS, {37: reference}, also=(_tried(key),))
    state = CLOSED if equal else batch_fill.UNEQUAL
    seen = Incident("batch-different", f"{key[0]}/{key[1]}", f"{claimed} claimed, {details} here")
    return Decision(
        "00", {37: reference}, requirement=frames.SIGN_ON_AGAIN,
        incidents=() if equal else (seen,), also=(_closed(clock, request, key, state),),
    )  # fmt: skip


def _tried(key: tuple[str, int]) -> Callable[[Tx], None]:
    def note(tx: Tx) -> None:
        _batch(tx, key).tries += 1

    return note


def _closed(
    clock: Clock, request: Request, key: tuple[str, int], state: str
) -> Callable[[Tx], None]:
    def close(tx: Tx) -> None:
        row = _batch(tx, key)
        row.state, row.closed_at = state, request.at
        tx.execute(
            update(TerminalRow)
            .where(TerminalRow.number == key[0], TerminalRow.batch == key[1])
            .values(batch=batch_fill.following(key[1]))
        )
        tx.flush()
        events.append(tx, clock, "purse.batch_closed", key[0], batch=key[1], state=state)

    return close


def pack(request: Request, reference: str) -> Decision:
    """0320 / 201: a detail pack proves nothing (12.3); it is checked and acknowledged."""
    try:
        parse_pack(request.message.text(48))
    except PartFault:
        return refuse("30")
    return Decision("00", {37: reference})
