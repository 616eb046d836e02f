"""The append-only event log: outbox, live screen, history and audit evidence are readers of it.

`append` writes a row in the caller's transaction, so an event exists exactly when its effect does.
Readers keep a named cursor. Kinds are dotted past-tense names (``card.personalized``); each stands in
the ``events.toml`` of the package that appends it, with a sentence in both languages that may quote the
event's data in braces::

    ["card.personalized"]
    en = "Card {card_serial} was written at station {station}."
    zh = "卡片 {card_serial} 已在 {station} 写入。"

Data are small JSON values: numbers, strings, lists. No photo, name, key or full identity number.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

from sqlalchemy import BigInteger, Integer, String, Text, func, select, text
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import Clock
from core.db import Instant, Table, Tx, metadata
from core.faults import PACKAGES
from core.rows import Insert

MAX_DATA_CHARS = 8_000
MAX_PAGE = 1_000
# A row is settled when its transaction is older than every transaction still running.
_SETTLED = "event.xmin::text::bigint < (pg_snapshot_xmin(pg_current_snapshot())::text)::bigint"
_SEQ = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER keys only


class EventRow(Table):
    """One event. `seq` rises with every append."""

    __tablename__ = "event"

    seq: Mapped[int] = mapped_column(_SEQ, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(Instant)
    kind: Mapped[str] = mapped_column(String(60), index=True)
    subject: Mapped[str] = mapped_column(String(80), index=True)
    actor: Mapped[str] = mapped_column(String(60))
    data: Mapped[str] = mapped_column(Text)


_EVENTS = Insert(metadata.tables["event"])


class CursorRow(Table):
    """How far a named reader has come."""

    __tablename__ = "event_cursor"

    reader: Mapped[str] = mapped_column(String(60), primary_key=True)
    seq: Mapped[int] = mapped_column(_SEQ)


@dataclass(frozen=True)
class Event:
    """An event as readers see it."""

    seq: int
    at: datetime
    kind: str
    subject: str
    actor: str
    data: Mapping[str, Any]

    def sentence(self, lang: str = "en") -> str:
        """The event in words."""
        values = {**self.data, "subject": self.subject, "actor": self.actor}
        return kinds()[self.kind][lang].format_map(values)


@cache
def kinds() -> dict[str, dict[str, str]]:
    """All kinds of all packages. A kind named twice or without both languages is a bug."""
    found: dict[str, dict[str, str]] = {}
    for package in PACKAGES:
        try:
            toml = resources.files(package).joinpath("events.toml").read_text("utf-8")
        except (FileNotFoundError, ModuleNotFoundError):
            continue
        for kind, sentences in tomllib.loads(toml).items():
            if kind in found:
                raise AssertionError(f"event kind {kind} is defined twice, again in {package}")
            if set(sentences) != {"en", "zh"}:
                raise AssertionError(f"event kind {kind} in {package} needs en and zh")
            found[kind] = sentences
    return found


def append(
    tx: Tx, clock: Clock, kind: str, subject: str, *, actor: str = "system", **data: Any
) -> None:
    """Append one event in the caller's transaction. An uncatalogued kind is a programming error."""
    _EVENTS.run(tx, [_columns(clock, kind, subject, actor, data)])


def append_all(
    tx: Tx, clock: Clock, actor: str, happened: Sequence[tuple[str, str, Mapping[str, Any]]]
) -> None:
    """Append events of one actor in one statement, in order: (kind, subject, data)."""
    _EVENTS.run(
        tx, [_columns(clock, kind, subject, actor, data) for kind, subject, data in happened]
    )


def _columns(
    clock: Clock, kind: str, subject: str, actor: str, data: Mapping[str, Any]
) -> dict[str, Any]:
    """A row of `EventRow`. An uncatalogued kind and too many data are bugs of the caller."""
    if kind not in kinds():
        raise AssertionError(f"event kind {kind} is not in any events.toml")
    packed = json.dumps(data, ensure_ascii=False, sort_keys=True)
    if len(packed) > MAX_DATA_CHARS:
        raise AssertionError(f"event {kind} carries more than {MAX_DATA_CHARS} characters")
    return {"at": clock.now(), "kind": kind, "subject": subject, "actor": actor, "data": packed}


def after(
    tx: Tx, seq: int, *, kinds_wanted: Sequence[str] = (), limit: int = MAX_PAGE
) -> list[Event]:
    """Events behind position `seq` in order, at most `limit` (and never more than `MAX_PAGE`).

    On PostgreSQL rows of transactions that may still commit before a row already seen are held back
    until those have ended, so that a reader's cursor never skips a late commit.
    """
    query = select(EventRow).where(EventRow.seq > seq).order_by(EventRow.seq)
    if kinds_wanted:
        query = query.where(EventRow.kind.in_(kinds_wanted))
    if tx.get_bind().dialect.name == "postgresql":
        query = query.where(text(_SETTLED))
    rows = tx.scalars(query.limit(min(limit, MAX_PAGE)))
    return [
        Event(row.seq, row.at, row.kind, row.subject, row.actor, json.loads(row.data))
        for row in rows
    ]


def newest(tx: Tx, limit: int) -> list[Event]:
    """The last `limit` events, newest first, for a screen."""
    rows = tx.scalars(select(EventRow).order_by(EventRow.seq.desc()).limit(min(limit, MAX_PAGE)))
    return [
        Event(row.seq, row.at, row.kind, row.subject, row.actor, json.loads(row.data))
        for row in rows
    ]


def last_seq(tx: Tx) -> int:
    """Position of the newest event, 0 in an empty log."""
    return tx.scalar(select(func.max(EventRow.seq))) or 0


def cursor(tx: Tx, reader: str) -> int:
    """How far `reader` has come; 0 for a new one."""
    row = tx.get(CursorRow, reader)
    return 0 if row is None else row.seq


def move_cursor(tx: Tx, reader: str, seq: int) -> None:
    """Note that `reader` has taken in everything up to `seq`, in the same commit as the effect."""
    row = tx.get(CursorRow, reader)
    if row is None:
        tx.add(CursorRow(reader=reader, seq=seq))
    elif seq < row.seq:
        raise AssertionError(f"reader {reader} would go back from {row.seq} to {seq}")
    else:
        row.seq = seq
