"""What the host knows when it decides: one reading of the database for a whole batch of requests.

A handful of statements serve up to 64 requests. Nothing read here is trusted at the write: every change is
guarded by what was read (a state, a version, a key that must be new), and a batch whose guard fails is
decided again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from sqlalchemy import BindParameter, ColumnElement, Table, bindparam, func, literal_column, select

from core.clock import business_date
from core.db import Tx, queue_for
from core.rows import KEYS, Lookup
from payments import batch_fill
from payments.decisions import (
    CONFIRMED,
    DECLINED,
    HELD,
    ISSUED,
    REVERSED,
    UNRESOLVED,
    original_key,
)
from payments.field_parts import PartFault
from payments.limits import Before, Gate, HostProfile
from payments.matrix import ONLINE_KINDS, Task
from payments.messages import Message
from payments.purse_data import PurchaseEvidence, PurseConfirmation
from payments.requests import UNLOAD
from payments.tables import (
    LoadRow,
    MerchantRow,
    MessageRow,
    PurchaseRow,
    PurseCardRow,
    TerminalRow,
)
from payments.work import Work
from registry.residence.gate import PurseGate

_LOAD = cast(Table, LoadRow.__table__)
_CARD = cast(Table, PurseCardRow.__table__)
_MESSAGE = cast(Table, MessageRow.__table__)
_PURCHASE = cast(Table, PurchaseRow.__table__)
_TERMINAL = cast(Table, TerminalRow.__table__)
_MERCHANT = cast(Table, MerchantRow.__table__)
_WANTED: BindParameter[Any] = bindparam(KEYS, expanding=True)
_TERMINALS = Lookup(
    select(
        _TERMINAL,
        _MERCHANT.c.name.label("merchant_name"),
        _MERCHANT.c.open.label("merchant_open"),
    )
    .join(_MERCHANT, _MERCHANT.c.number == _TERMINAL.c.merchant)
    .where(_TERMINAL.c.number.in_(_WANTED))
)
_MESSAGES = Lookup(select(_MESSAGE).where(_MESSAGE.c.key.in_(_WANTED)))
_PURCHASES = Lookup(
    select(_PURCHASE.c.purse_key, _PURCHASE.c.id).where(_PURCHASE.c.purse_key.in_(_WANTED))
)
_CARDS = Lookup(select(_CARD).where(_CARD.c.asn.in_(_WANTED)))
# What is decided for good teaches nothing about a card, and grows for ever.
_DECIDED: ColumnElement[Any] = literal_column(f"('{CONFIRMED}', '{DECLINED}')")
_UNDECIDED = Lookup(
    select(_LOAD)
    .where(_LOAD.c.asn.in_(_WANTED), _LOAD.c.state.op("NOT IN")(_DECIDED))
    .order_by(_LOAD.c.at)
)
_ALL_OF_CARDS = Lookup(select(_LOAD).where(_LOAD.c.asn.in_(_WANTED)).order_by(_LOAD.c.at))
_LOADS = Lookup(select(_LOAD).where(_LOAD.c.key.in_(_WANTED)))
_REVERSED: ColumnElement[Any] = literal_column(f"'{REVERSED}'")
_TAKEN_BACK = Lookup(
    select(_LOAD.c.key).where(_LOAD.c.key.in_(_WANTED), _LOAD.c.state == _REVERSED)
)


@dataclass
class Known:
    """Rows by what they are asked for. Missing means: not there when it was read."""

    terminals: dict[str, Any] = field(default_factory=dict)
    messages: dict[str, Any] = field(default_factory=dict)
    loads: dict[str, Any] = field(default_factory=dict)
    by_card: dict[str, list[Any]] = field(default_factory=dict)
    cards: dict[str, Any] = field(default_factory=dict)
    gates: dict[str, PurseGate] = field(default_factory=dict)
    purchases: dict[str, int] = field(default_factory=dict)
    sums: dict[str, Before] = field(default_factory=dict)
    batch_sizes: dict[str, int] = field(default_factory=dict)


def purse_key(evidence: PurchaseEvidence) -> str:
    """Key of 11.3: ASN, offline counter, type, PSAM, terminal counter, TAC."""
    return (
        f"{evidence.asn.hex()}{evidence.counter:04x}{evidence.type:02x}"
        f"{evidence.psam.hex()}{evidence.terminal_counter:08x}{evidence.tac.hex()}"
    )


@dataclass
class _Wanted:
    """What the requests of a batch need to be read. `named`: originals, by the card that names them."""

    terminals: set[str] = field(default_factory=set)
    messages: set[str] = field(default_factory=set)
    cards: set[str] = field(default_factory=set)
    named: dict[str, str] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    purses: set[str] = field(default_factory=set)
    sums: list[tuple[str, Message, str]] = field(default_factory=list)

    def add(self, work: Work) -> None:
        message = work.message
        self.terminals.add(message.terminal)
        self.messages.add(work.key)
        if work.task in (Task.CONFIRM, Task.REVERSE) or isinstance(work.purse, PurseConfirmation):
            self._name_original(message, work.asn)
        if not work.asn:
            return
        if message.kind in ONLINE_KINDS:
            self.cards.add(work.asn)
        if isinstance(work.purse, PurchaseEvidence):
            self.purses.add(purse_key(work.purse))
        if work.task in (Task.LOAD, Task.UNLOAD):
            self.sums.append((work.key, message, work.asn))
            self.asked.add(work.asn)

    def _name_original(self, message: Message, asn: str) -> None:
        try:
            key = original_key(message)
        except PartFault:
            return  # no original can be named: the rule answers
        self.messages.add(key)
        self.named[key] = asn


def read(tx: Tx, works: Sequence[Work], profile: HostProfile, gate: Gate, at: datetime) -> Known:
    """Everything the rules may ask about these requests."""
    wanted = _Wanted()
    for work in works:
        wanted.add(work)
    known = Known()
    known.terminals = {row.number: row for row in _TERMINALS.rows(tx, wanted.terminals)}
    known.messages = {row.key: row for row in _MESSAGES.rows(tx, wanted.messages)}
    if wanted.cards:
        known.cards = {row.asn: row for row in _CARDS.rows(tx, wanted.cards)}
        _take_in(known, _UNDECIDED.rows(tx, wanted.cards))
    if wanted.named:
        _read_originals(tx, known, wanted)
    if wanted.asked:
        known.gates = dict(gate(tx, sorted(wanted.asked)))
    if wanted.purses:
        known.purchases = {row.purse_key: row.id for row in _PURCHASES.rows(tx, wanted.purses)}
    for work in works:
        if batch_fill.is_due(work.message, profile.batch_messages):
            known.batch_sizes[work.message.terminal] = batch_fill.messages_in(tx, work.message)
    if profile.looks_back:
        for key, message, asn in wanted.sums:
            known.sums[key] = _before(tx, profile, message, asn, at)
    return known


def taken_back(tx: Tx, keys: Iterable[str]) -> set[str]:
    """Which of these loads are reversed by now: another host may have done it (I-30)."""
    return {row.key for row in _TAKEN_BACK.rows(tx, keys)}


def _take_in(known: Known, rows: Iterable[Any]) -> None:
    for row in rows:
        if row.key not in known.loads:
            known.loads[row.key] = row
            known.by_card.setdefault(row.asn, []).append(row)


def _read_originals(tx: Tx, known: Known, wanted: _Wanted) -> None:
    """Loads that a confirmation or reversal names: decided ones, or another card's."""
    missing = [key for key in wanted.named if key not in known.loads]
    for row in _LOADS.rows(tx, missing):
        known.loads[row.key] = row
    cards = {wanted.named[key] for key in missing if key not in known.loads}
    for asn in cards - {""}:  # named wrongly: the card and its counter may still tell
        known.by_card.pop(asn, None)
        for row in _ALL_OF_CARDS.rows(tx, [asn]):
            known.loads.setdefault(row.key, row)
            known.by_card.setdefault(asn, []).append(row)


def _before(tx: Tx, profile: HostProfile, message: Message, asn: str, at: datetime) -> Before:
    today = _LOAD.c.day == business_date(at)
    card_fen = card_count = terminal_fen = merchant_fen = burst = 0
    if profile.card_day_fen is not None or profile.card_day_count is not None:
        card_count, card_fen = _sum(tx, _LOAD.c.asn == asn, today)
    if profile.terminal_day_fen is not None:
        terminal_fen = _sum(tx, _LOAD.c.terminal == message.terminal, today)[1]
    if profile.merchant_day_fen is not None:
        merchant_fen = _sum(tx, _LOAD.c.merchant == message.merchant, today)[1]
    if profile.burst_count is not None:
        burst = _sum(tx, _LOAD.c.asn == asn, _LOAD.c.at > at - profile.burst)[0]
    return Before(card_fen, card_count, terminal_fen, merchant_fen, burst)


def overshot(
    tx: Tx, profile: HostProfile, loads: Sequence[Mapping[str, Any]], at: datetime
) -> bool:
    """Whether these loads, written by this transaction, take a terminal or merchant over its day's limit.

    What was read before may be old: others of the batch, another batch, another host. So it is asked again once
    the loads are written, one writer a merchant at a time. A card's limits need no such look: its version
    guards them.
    """
    above = False
    limited = (("terminal", profile.terminal_day_fen), ("merchant", profile.merchant_day_fen))
    for name, limit in limited:
        if limit is None:
            continue
        today = _LOAD.c.day == business_date(at)
        numbers = sorted({load[name] for load in loads if load["kind"] != UNLOAD})
        queue_for(tx, *(f"{name}-day:{number}" for number in numbers))
        sums = (_sum(tx, _LOAD.c[name] == number, today)[1] for number in numbers)
        above = above or any(fen > limit for fen in sums)
    return above


def _sum(tx: Tx, whose: Any, when: Any) -> tuple[int, int]:
    counted: Sequence[str] = (HELD, ISSUED, CONFIRMED, UNRESOLVED)
    row = tx.execute(
        select(func.count(), func.coalesce(func.sum(_LOAD.c.amount), 0)).where(
            whose, when, _LOAD.c.state.in_(counted), _LOAD.c.kind != UNLOAD
        )
    ).one()
    return int(row[0]), int(row[1])
