"""What the host knows when it decides: one reading of the database for a whole batch of requests.

A handful of statements serve up to 64 requests. Nothing read here is trusted at the write: every change is
guarded by what was read (a state, a version, a key that must be new), and a batch whose guard fails is
decided again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, cast

from sqlalchemy import BindParameter, Select, Table, bindparam, func, select

from core.db import Tx
from payments.decisions import ISSUED, REVERSED, UNRESOLVED, message_key, original_key
from payments.field_parts import Original, PartFault
from payments.limits import DaySums, Gate, HostProfile
from payments.matrix import ONLINE_KINDS, Task, task_of
from payments.messages import Message
from payments.purse_data import PurchaseEvidence, PurseDataFault, parse_purse_data
from payments.tables import (
    LoadRow,
    MerchantRow,
    MessageRow,
    PurchaseRow,
    PurseCardRow,
    TerminalRow,
)
from registry.residence.gate import PurseGate

_LOAD = cast(Table, LoadRow.__table__)
_CARD = cast(Table, PurseCardRow.__table__)
_MESSAGE = cast(Table, MessageRow.__table__)
_PURCHASE = cast(Table, PurchaseRow.__table__)
_TERMINAL = cast(Table, TerminalRow.__table__)
_MERCHANT = cast(Table, MerchantRow.__table__)
_KEYS: BindParameter[Any] = bindparam("keys", expanding=True)
# Built once: making a statement anew costs more than running it.
_TERMINALS = (
    select(
        _TERMINAL,
        _MERCHANT.c.name.label("merchant_name"),
        _MERCHANT.c.open.label("merchant_open"),
    )
    .join(_MERCHANT, _MERCHANT.c.number == _TERMINAL.c.merchant)
    .where(_TERMINAL.c.number.in_(_KEYS))
)
_MESSAGES = select(_MESSAGE).where(_MESSAGE.c.key.in_(_KEYS))
_PURCHASES = select(_PURCHASE.c.purse_key, _PURCHASE.c.id).where(_PURCHASE.c.purse_key.in_(_KEYS))
_CARDS = select(_CARD).where(_CARD.c.asn.in_(_KEYS))
_LOADS_OF_CARDS = select(_LOAD).where(_LOAD.c.asn.in_(_KEYS)).order_by(_LOAD.c.at)
_LOADS = select(_LOAD).where(_LOAD.c.key.in_(_KEYS))
OPEN_STATES = (ISSUED, UNRESOLVED, REVERSED, "HELD")


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
    sums: dict[str, DaySums] = field(default_factory=dict)


def key_of(message: Message) -> str:
    """The request's key (8.1): merchant, terminal, batch, trace, class; details have 60.3 in their class."""
    kind = message.mti + (message.function if message.mti in ("0320", "0800", "0820") else "")
    return message_key(message.merchant, message.terminal, message.batch, message.trace, kind)


def purse_key(evidence: PurchaseEvidence) -> str:
    """Key of 11.3: ASN, offline counter, type, PSAM, terminal counter, TAC."""
    return (
        f"{evidence.asn.hex()}{evidence.counter:04x}{evidence.type:02x}"
        f"{evidence.psam.hex()}{evidence.terminal_counter:08x}{evidence.tac.hex()}"
    )


@dataclass
class _Wanted:
    """What the requests of a batch need to be read."""

    terminals: set[str] = field(default_factory=set)
    messages: set[str] = field(default_factory=set)
    cards: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    purses: set[str] = field(default_factory=set)
    sums: list[tuple[str, Message, str]] = field(default_factory=list)

    def add(self, message: Message) -> None:
        self.terminals.add(message.terminal)
        key = key_of(message)
        self.messages.add(key)
        task = task_of(message)
        if task in (Task.CONFIRM, Task.REVERSE):
            try:
                original = Original.parse(message.text(61))
                self.messages.add(original_key(message, original))
            except PartFault:
                pass  # no original can be named: the rule answers 25
        self._add_purse(message, key, task)

    def _add_purse(self, message: Message, key: str, task: Task | None) -> None:
        try:
            data = parse_purse_data(message.octets(58))
        except PurseDataFault:
            return
        asn = data.asn.hex()
        if message.kind in ONLINE_KINDS:
            self.cards.add(asn)
        if isinstance(data, PurchaseEvidence):
            self.purses.add(purse_key(data))
        if task in (Task.LOAD, Task.UNLOAD):
            self.sums.append((key, message, asn))
            self.asked.add(asn)


def read(tx: Tx, messages: Iterable[Message], profile: HostProfile, gate: Gate, day: date) -> Known:
    """Everything the rules may ask about these requests."""
    wanted = _Wanted()
    for message in messages:
        wanted.add(message)
    known = Known()
    known.terminals = {row.number: row for row in _rows(tx, _TERMINALS, wanted.terminals)}
    known.messages = {row.key: row for row in _rows(tx, _MESSAGES, wanted.messages)}
    if wanted.cards:
        _read_cards(tx, known, wanted)
    if wanted.asked:
        known.gates = dict(gate(tx, sorted(wanted.asked)))
    if wanted.purses:
        known.purchases = {row[0]: row[1] for row in _rows(tx, _PURCHASES, wanted.purses)}
    for key, message, asn in wanted.sums:
        known.sums[key] = _day_sums(tx, profile, message, asn, day)
    return known


def _rows(tx: Tx, statement: Select[Any], keys: Iterable[str]) -> Iterable[Any]:
    return tx.execute(statement, {"keys": sorted(keys)})


def _read_cards(tx: Tx, known: Known, wanted: _Wanted) -> None:
    known.cards = {row.asn: row for row in _rows(tx, _CARDS, wanted.cards)}
    for row in _rows(tx, _LOADS_OF_CARDS, wanted.cards):
        known.loads[row.key] = row
        known.by_card.setdefault(row.asn, []).append(row)
    missing = wanted.messages - known.loads.keys()
    named = [key for key in missing if key.endswith("0200")]
    if named:  # a confirmation that names another card's load
        for row in _rows(tx, _LOADS, named):
            known.loads[row.key] = row


def _day_sums(tx: Tx, profile: HostProfile, message: Message, asn: str, day: date) -> DaySums:
    card_fen = card_count = terminal_fen = merchant_fen = 0
    if profile.card_day_fen is not None or profile.card_day_count is not None:
        card_count, card_fen = _sum(tx, _LOAD.c.asn == asn, day)
    if profile.terminal_day_fen is not None:
        terminal_fen = _sum(tx, _LOAD.c.terminal == message.terminal, day)[1]
    if profile.merchant_day_fen is not None:
        merchant_fen = _sum(tx, _LOAD.c.merchant == message.merchant, day)[1]
    return DaySums(card_fen, card_count, terminal_fen, merchant_fen)


def _sum(tx: Tx, whose: Any, day: date) -> tuple[int, int]:
    counted: Sequence[str] = ("HELD", ISSUED, "CONFIRMED", UNRESOLVED)
    row = tx.execute(
        select(func.count(), func.coalesce(func.sum(_LOAD.c.amount), 0)).where(
            whose, _LOAD.c.day == day, _LOAD.c.state.in_(counted), _LOAD.c.kind != "43"
        )
    ).one()
    return int(row[0]), int(row[1])
