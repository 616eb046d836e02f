"""Stations' journals in the database: taken in as often as one likes, evidence for each card (I4, I11).

`take_in` stands in the same commit as the report it supports. A line that is there already must be the
same line; a line that does not continue the chain is refused.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select, update

from core.clock import Clock
from core.db import Tx, metadata
from core.errors import EvidenceMismatch
from core.rows import Insert, Statement
from personalization.station_journal import FIRST_HASH, Entry, Phase, Step, check_chain
from personalization.tables import JournalRow, StationRow

HOPPER = "hopper"  # an EJECT line's `to` for a good card
WHOLE = (Step.FEED, Step.BIND, Step.CHIP, Step.PRINT, Step.EJECT)
MAX_LINES = 10_000  # one call

_NEW_LINES = Insert(metadata.tables[JournalRow.__tablename__])
_NEWEST = Statement(
    select(JournalRow.sequence, JournalRow.digest)
    .where(JournalRow.station == bindparam("called"))
    .order_by(JournalRow.sequence.desc())
    .limit(1)
)
_READ_UP_TO = Statement(
    update(StationRow)
    .where(StationRow.name == bindparam("called"), StationRow.journal_seq < bindparam("last_line"))
    .values(journal_seq=bindparam("last_line"), seen_at=bindparam("now"))
)
_LINES = Statement(
    select(JournalRow.step, JournalRow.phase, JournalRow.facts)
    .where(JournalRow.work_order == bindparam("work"), JournalRow.token == bindparam("current"))
    .order_by(JournalRow.station, JournalRow.sequence)
)


@dataclass(frozen=True)
class Mark:
    """The newest line taken in of a journal: its number and its hash; 0 and zeros for none."""

    seq: int = 0
    digest: str = FIRST_HASH


def take_in(tx: Tx, clock: Clock, entries: Sequence[Entry], known: Mark | None = None) -> Mark:
    """Enter the lines that are new; returns the newest now. `known`: what `mark` answered just before.

    Raises EvidenceMismatch J-CHAIN.
    """
    if len(entries) > MAX_LINES:
        raise AssertionError(f"at most {MAX_LINES} journal lines a call")
    if not entries:
        return known or Mark()
    check_chain(entries)
    station, now = entries[0].station, clock.now()
    known = known or mark(tx, station)
    _same_as_known(tx, [entry for entry in entries if entry.seq <= known.seq])
    fresh = [entry for entry in entries if entry.seq > known.seq]
    if not fresh:
        return known
    if (fresh[0].seq, fresh[0].previous) != (known.seq + 1, known.digest):
        raise EvidenceMismatch(
            "J-CHAIN", f"at line {fresh[0].seq}", station=station, seq=fresh[0].seq
        )
    _NEW_LINES.run(tx, [_values(entry) for entry in fresh])
    newest = Mark(fresh[-1].seq, fresh[-1].hash)
    _READ_UP_TO.run(tx, called=station, last_line=newest.seq, now=now)
    return newest


def _values(entry: Entry) -> dict[str, str | int]:
    return {
        "station": entry.station, "sequence": entry.seq, "at": entry.at, "step": entry.step.value,
        "phase": entry.phase.value, "work_order": entry.order, "token": entry.token,
        "facts": json.dumps(dict(entry.facts), ensure_ascii=False, sort_keys=True),
        "previous": entry.previous, "digest": entry.hash,
    }  # fmt: skip


def _same_as_known(tx: Tx, entries: Sequence[Entry]) -> None:
    for entry in entries:
        known = tx.get(JournalRow, (entry.station, entry.seq))
        if known is None or known.digest != entry.hash:
            raise EvidenceMismatch(
                "J-CHAIN", f"line {entry.seq} differs", station=entry.station, seq=entry.seq
            )


def mark(tx: Tx, station: str) -> Mark:
    """The newest line taken in. A station sends what lies behind it."""
    found = _NEWEST.first(tx, called=station)
    return Mark() if found is None else Mark(*found)


def unread(tx: Tx, station: str) -> bool:
    """Whether the station announced lines (`floor.announce`) that were not taken in."""
    row = tx.get(StationRow, station)
    return row is not None and row.journal_seq > mark(tx, station).seq


def write_off(tx: Tx, station: str) -> None:
    """Two people saw that the journal's unread lines are gone for good: nobody waits for them any more."""
    row = tx.get(StationRow, station, with_for_update=True)
    if row is not None:
        row.journal_seq = mark(tx, station).seq


def lines(tx: Tx, work_order: str, token: int) -> list[JournalRow]:
    """What the journals say of one claim, in order."""
    return list(
        tx.scalars(
            select(JournalRow)
            .where(JournalRow.work_order == work_order, JournalRow.token == token)
            .order_by(JournalRow.station, JournalRow.sequence)
        )
    )


def was_fed(tx: Tx, work_order: str, token: int) -> bool:
    """Whether a blank may have left the feeder: an intent is enough, unless its result says none did."""
    feeds = [row for row in lines(tx, work_order, token) if row.step == Step.FEED]
    if not feeds:
        return False
    return not (feeds[-1].phase == Phase.RESULT and facts(feeds[-1]).get("fed") == 0)


def is_known(tx: Tx, work_order: str, token: int) -> bool:
    """Whether any journal line of this claim was taken in."""
    return bool(lines(tx, work_order, token))


def require_whole(
    tx: Tx,
    work_order: str,
    token: int,
    chip_serial: str,
    card_serial: str,
    *,
    ejected: bool = True,
) -> None:
    """I4: every step from feed to eject stands in the journal under this token, for these numbers.

    With `ejected` False the intent to eject into the hopper is enough: the card was found and scanned.
    Raises EvidenceMismatch W-JOURNAL naming the first step that is missing.
    """
    found = _LINES.rows(tx, work=work_order, current=token)
    done = [Step(row.step) for row in found if row.phase == Phase.RESULT]
    absent = [wanted for wanted in WHOLE if wanted not in done]
    if not ejected and absent == [Step.EJECT]:
        absent = []
    if absent:
        raise EvidenceMismatch("W-JOURNAL", f"no {absent[0]} result", step=absent[0])
    if done.count(Step.PRINT) < _panels_wanted(found):
        raise EvidenceMismatch("W-JOURNAL", "a panel is missing", step=Step.PRINT)
    ways = [facts(row).get("to") for row in found if row.step == Step.EJECT]
    if not ways or ways[-1] != HOPPER:
        raise EvidenceMismatch("W-JOURNAL", "it was not ejected as good", step=Step.EJECT)
    bound = [facts(row) for row in found if row.step == Step.BIND]
    if not any(_names(said, chip_serial, card_serial) for said in bound):
        raise EvidenceMismatch("W-JOURNAL", "other numbers were bound", step=Step.BIND)


def _panels_wanted(found: list[Any]) -> int:
    """How many panels the newest intent to print announced."""
    said = [facts(row) for row in found if row.step == Step.PRINT and row.phase == Phase.INTENT]
    return int(said[-1].get("wanted", 1)) if said else 1


def _names(said: dict[str, str | int], chip_serial: str, card_serial: str) -> bool:
    values = {str(value).upper() for value in said.values()}
    return {chip_serial.upper(), card_serial} <= values


def facts(row: Any) -> dict[str, str | int]:
    """The small values of a line, given as a `JournalRow` or what a statement found of it."""
    found: dict[str, str | int] = json.loads(row.facts)
    return found
