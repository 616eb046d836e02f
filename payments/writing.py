"""Writes the decisions of a whole batch in one transaction, every change guarded by what was read.

A guard that fails raises `Conflict`: another host was quicker, and the batch is decided again from a fresh
reading. New rows go in at the driver (`core.rows`), changes as Core statements; one serves all of its kind.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, cast

from sqlalchemy import Table, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from core import events
from core.clock import Clock
from core.db import DEADLOCK, Tx
from core.errors import Unavailable
from core.rows import Insert
from payments import ledger
from payments.decisions import (
    ANSWERED,
    CONFIRMED,
    REFUSED,
    REVERSED,
    TOMBSTONE,
    WORKING,
    BankOrder,
    CardMove,
    Decision,
    Incident,
    LoadMove,
    Request,
)
from payments.tables import (
    BankOrderRow,
    IncidentRow,
    LoadRow,
    MessageRow,
    PurchaseRow,
    PurseCardRow,
)

_MESSAGE = cast(Table, MessageRow.__table__)
_LOAD = cast(Table, LoadRow.__table__)
_CARD = cast(Table, PurseCardRow.__table__)
_PURCHASE = cast(Table, PurchaseRow.__table__)
_ORDER = cast(Table, BankOrderRow.__table__)
_INCIDENT = cast(Table, IncidentRow.__table__)
_NEW_MESSAGES, _NEW_CARDS, _NEW_LOADS = Insert(_MESSAGE), Insert(_CARD), Insert(_LOAD)
_NEW_PURCHASES, _NEW_INCIDENTS = Insert(_PURCHASE), Insert(_INCIDENT)
WAITING, DONE = "WAITING", "DONE"
MAX_DETAIL = 200


@contextmanager
def beaten() -> Iterator[None]:
    """End quietly when another host was quicker: a guard failed, a key exists, the database ended a deadlock."""
    try:
        yield
    except (Conflict, IntegrityError):
        return
    except Unavailable as fault:
        if fault.code != DEADLOCK:
            raise


class Conflict(Exception):
    """Something read before the decision is not so any more; nothing was written."""


@dataclass(frozen=True)
class Outcome:
    """One decided request and the body of its answer (None while the bank is asked)."""

    request: Request
    decision: Decision
    body: bytes | None
    replaces: bool = False


def write(tx: Tx, clock: Clock, outcomes: Sequence[Outcome], day: date, at: datetime) -> None:
    """All of it or nothing. Raises Conflict."""
    _messages(tx, outcomes, day, at)
    decisions = [outcome.decision for outcome in outcomes]
    _cards(tx, [d.card for d in decisions if d.card is not None], at)
    _NEW_LOADS.run(tx, [d.load for d in decisions if d.load is not None])
    _transfers(tx, decisions, day, at)
    moves = [move for decision in decisions for move in decision.moves]
    move_loads(tx, clock, moves, day, at)
    _NEW_PURCHASES.run(tx, [d.purchase for d in decisions if d.purchase is not None])
    order_bank(tx, [order for d in decisions for order in d.orders], at)
    note_incidents(tx, clock, [one for d in decisions for one in d.incidents], day, at)
    for decision in decisions:
        for also in decision.also:
            also(tx)


def _messages(tx: Tx, outcomes: Sequence[Outcome], day: date, at: datetime) -> None:
    rows: list[dict[str, Any]] = []
    replaced: list[dict[str, Any]] = []
    for outcome in outcomes:
        request, decision = outcome.request, outcome.decision
        if decision.tombstone:
            rows.append(_message(request, decision.tombstone, b"", TOMBSTONE, None, "", 0, day, at))
        if not decision.store:
            continue
        state = WORKING if outcome.body is None else ANSWERED
        row = _message(
            request, request.key, request.fingerprint, state, outcome.body, decision.response,
            decision.requirement, day, at,
        )  # fmt: skip
        (replaced if outcome.replaces else rows).append(row)
    _NEW_MESSAGES.run(tx, rows)
    if replaced:
        upsert = on_conflict(tx, _MESSAGE)
        changed = {name: upsert.excluded[name] for name in ("state", "answer", "response", "at")}
        statement = upsert.on_conflict_do_update(index_elements=["key"], set_=changed)
        tx.connection().execute(statement, replaced)


def _message(
    request: Request, key: str, fingerprint: bytes, state: str, answer: bytes | None,
    response: str, requirement: int, day: date, at: datetime,
) -> dict[str, Any]:  # fmt: skip
    message = request.message
    return {
        "key": key, "terminal": message.terminal, "batch": int(message.batch),
        "fingerprint": fingerprint, "state": state, "answer": answer, "response": response,
        "requirement": requirement, "day": day, "at": at,
    }  # fmt: skip


def on_conflict(tx: Tx, table: Table) -> Any:
    """INSERT with ON CONFLICT, which both databases have in their own dialect."""
    postgres = tx.get_bind().dialect.name == "postgresql"
    return postgresql.insert(table) if postgres else sqlite.insert(table)


def guarded(tx: Tx, statement: Any, rows: list[dict[str, Any]]) -> None:
    """Run an UPDATE for each row; Conflict unless every one met its guard."""
    if rows:
        result: Any = tx.connection().execute(statement, rows)
        if result.rowcount != len(rows):
            raise Conflict


_MOVE_CARD = (
    update(_CARD)
    .where(_CARD.c.asn == bindparam("b_asn"), _CARD.c.version == bindparam("b_version"))
    .values(
        counter=bindparam("b_counter"), balance=bindparam("b_balance"),
        failures=bindparam("b_failures"), blocked=bindparam("b_blocked"),
        version=bindparam("b_next"), seen_at=bindparam("b_at"),
    )
)  # fmt: skip


def _cards(tx: Tx, moves: Sequence[CardMove], at: datetime) -> None:
    fresh = [
        {"asn": m.asn, "counter": m.counter, "version": 1, "balance": m.balance,
         "failures": m.failures, "blocked": m.blocked, "seen_at": at}
        for m in moves if m.version is None
    ]  # fmt: skip
    if fresh:
        _NEW_CARDS.run(tx, fresh)
        ledger.open_accounts(tx, [ledger.purse(m.asn) for m in moves if m.version is None])
    known = [
        {"b_asn": m.asn, "b_version": m.version, "b_next": m.version + 1, "b_counter": m.counter,
         "b_balance": m.balance, "b_failures": m.failures, "b_blocked": m.blocked, "b_at": at}
        for m in moves if m.version is not None
    ]  # fmt: skip
    guarded(tx, _MOVE_CARD, known)


def _transfers(tx: Tx, decisions: Sequence[Decision], day: date, at: datetime) -> None:
    """A card's account exists since its first row; the few shared ones are made when first used."""
    transfers = [transfer for decision in decisions for transfer in decision.transfers]
    sides = {side for t in transfers for side in (t.debit, t.credit)}
    ledger.open_accounts(tx, (side for side in sides if not side.startswith("purse:")))
    ledger.write(tx, transfers, day, at)


_MOVE_LOAD = (
    update(_LOAD)
    .where(_LOAD.c.key == bindparam("b_key"), _LOAD.c.state == bindparam("b_before"))
    .values(
        state=bindparam("b_after"),
        reason=bindparam("b_reason"),
        watched=func.coalesce(bindparam("b_watched", type_=_LOAD.c.watched.type), _LOAD.c.watched),
        evidence=func.coalesce(
            bindparam("b_evidence", type_=_LOAD.c.evidence.type), _LOAD.c.evidence
        ),
        proven=func.coalesce(bindparam("b_proven", type_=_LOAD.c.proven.type), _LOAD.c.proven),
    )
)


def move_loads(tx: Tx, clock: Clock, moves: Sequence[LoadMove], day: date, at: datetime) -> None:
    """Change loads' states, decide their promised money, and take back a reversed one's answer (I-30)."""
    rows = [
        {"b_key": m.key, "b_before": m.before, "b_after": m.after, "b_reason": m.reason,
         "b_watched": m.watched, "b_evidence": m.evidence, "b_proven": m.proven}
        for m in moves
    ]  # fmt: skip
    guarded(tx, _MOVE_LOAD, rows)
    ledger.complete(tx, [m.key for m in moves if m.money == ledger.COMPLETED], day, at)
    ledger.void(tx, [m.key for m in moves if m.money == ledger.VOIDED], day, at)
    gone = [m.key for m in moves if m.after == REVERSED and m.before != REVERSED]
    if gone:
        tx.connection().execute(
            update(_MESSAGE)
            .where(_MESSAGE.c.key.in_(gone))
            .values(state=ANSWERED, answer=b"", response=REFUSED)
        )
    _tell(tx, clock, [m for m in moves if m.before != m.after and m.after in (CONFIRMED, REVERSED)])


def _tell(tx: Tx, clock: Clock, moves: Sequence[LoadMove]) -> None:
    """Events for the money that moved or was taken back."""
    if not moves:
        return
    rows = tx.connection().execute(
        select(_LOAD.c.key, _LOAD.c.asn, _LOAD.c.amount, _LOAD.c.terminal, _LOAD.c.kind).where(
            _LOAD.c.key.in_([m.key for m in moves])
        )
    )
    facts = {row.key: row for row in rows}
    for move in moves:
        row = facts[move.key]
        if move.after == REVERSED:
            events.append(
                tx, clock, "purse.load_reversed", row.asn, amount=row.amount, reason=move.reason
            )
            continue
        kind = "purse.unloaded" if row.kind == "43" else "purse.loaded"
        events.append(tx, clock, kind, row.asn, amount=row.amount, terminal=row.terminal)


def order_bank(tx: Tx, orders: Sequence[BankOrder], at: datetime) -> None:
    """Note what the bank must be told; saying it twice is harmless, it is told again."""
    if not orders:
        return
    insert = on_conflict(tx, _ORDER)
    statement = insert.on_conflict_do_update(
        index_elements=["reference", "kind"], set_={"state": WAITING}
    )
    rows = [
        {"reference": o.reference, "kind": o.kind, "amount": o.amount, "account": o.account,
         "state": WAITING, "tries": 0, "at": at}
        for o in orders
    ]  # fmt: skip
    tx.connection().execute(statement, rows)


def note_incidents(
    tx: Tx, clock: Clock, incidents: Sequence[Incident], day: date, at: datetime
) -> None:
    """Keep what people must look at, with its evidence. The same evidence is not kept again while it lies open: a
    refused advice comes as often as its terminal likes.
    """
    if not incidents:
        return
    held = _open_evidence(tx, {one.subject for one in incidents if one.evidence})
    fresh: list[Incident] = []
    for one in incidents:
        evidence = (one.kind, one.subject, one.evidence)
        if evidence not in held:
            fresh.append(one)
        if one.evidence:
            held.add(evidence)
    rows: list[dict[str, Any]] = [
        {"kind": one.kind, "subject": one.subject, "detail": one.detail[:MAX_DETAIL],
         "evidence": one.evidence, "open": True, "day": day, "at": at}
        for one in fresh
    ]  # fmt: skip
    _NEW_INCIDENTS.run(tx, rows)
    for one in fresh:
        events.append(tx, clock, "purse.incident", one.subject, what=one.kind, detail=one.detail)


def _open_evidence(tx: Tx, subjects: set[str]) -> set[tuple[str, str, bytes]]:
    if not subjects:
        return set()
    columns = (_INCIDENT.c.kind, _INCIDENT.c.subject, _INCIDENT.c.evidence)
    asked = select(*columns).where(_INCIDENT.c.subject.in_(sorted(subjects)), _INCIDENT.c.open)
    return {(kind, subject, evidence) for kind, subject, evidence in tx.execute(asked)}


def finish_message(tx: Tx, key: str, body: bytes, response: str) -> None:
    """The answer of a request the bank was asked about. Raises Conflict when it was decided meanwhile."""
    result: Any = tx.connection().execute(
        update(_MESSAGE)
        .where(_MESSAGE.c.key == key, _MESSAGE.c.state == WORKING)
        .values(state=ANSWERED, answer=body, response=response)
    )
    if result.rowcount != 1:
        raise Conflict
