"""The stations as the office sees them: who is there, what they say, what stops them (production.md 7, I16).

A station stops itself after three spoiled cards in a row or more than 5 % of its last 50; only a
supervisor sets it going again. Stopping one station never touches another.
"""

from datetime import timedelta

from sqlalchemy import bindparam, func, select, update

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import NotFound, Rejected
from core.rows import Statement
from personalization.states import GOOD, WASTE, Place
from personalization.tables import PlasticRow, StationRow
from registry.roles import Actor, Role, require

ROW_OF_SPOILS = 3
WATCHED = 50
MAX_SPOILED_OF_WATCHED = 2  # 5 % of 50 is 2.5
SILENT_AFTER = timedelta(minutes=2)
_WASTED = frozenset({*WASTE, Place.DESTROYED, Place.MISSING})

# Asked or said for every card: compiled once.
_IN_THE_WAY = Statement(
    select(StationRow.stop_reason, StationRow.draining).where(
        StationRow.name == bindparam("called")
    )
)
_SAID_BEFORE = Statement(
    select(StationRow.state).where(StationRow.name == bindparam("called")).with_for_update()
)
_SAY = Statement(
    update(StationRow)
    .where(StationRow.name == bindparam("called"))
    .values(
        state=bindparam("word"),
        sentence=bindparam("words"),
        seen_at=bindparam("now"),
        ribbon=func.coalesce(bindparam("fitted", type_=StationRow.ribbon.type), StationRow.ribbon),
        ribbon_left=func.coalesce(
            bindparam("prints", type_=StationRow.ribbon_left.type), StationRow.ribbon_left
        ),
    )
)
_ANNOUNCE = Statement(
    update(StationRow)
    .where(StationRow.name == bindparam("called"), StationRow.journal_seq < bindparam("line"))
    .values(journal_seq=bindparam("line"), seen_at=bindparam("now"))
)


def attach(
    tx: Tx, clock: Clock, name: str, operator: Actor, *, printer_serial: str = "", reader: str = ""
) -> StationRow:
    """Enter a station on the floor, or note who runs it now. Raises NotAllowed E-ROLE."""
    require(operator, Role.CARD_OPERATOR)
    row = tx.get(StationRow, name, with_for_update=True)
    if row is None:
        row = StationRow(name=name, state="OFFLINE", sentence="", seen_at=clock.now())
        tx.add(row)
        events.append(tx, clock, "station.attached", name, actor=operator.name)
    row.operator, row.seen_at, row.draining = operator.name, clock.now(), False
    if printer_serial:
        row.printer_serial = printer_serial
    if reader:
        row.reader, row.paired_at = reader, clock.now()
    tx.flush()
    return row


def say(
    tx: Tx,
    clock: Clock,
    name: str,
    state: str,
    sentence: str = "",
    *,
    ribbon: str | None = None,
    ribbon_left: int | None = None,
) -> None:
    """What the station is doing, in one word and one sentence, for the board.

    An event is appended only when the word changes.
    """
    before = _SAID_BEFORE.first(tx, called=name)
    if before is None:
        raise _unknown(name)
    _SAY.run(
        tx, called=name, word=state, words=sentence[:300], now=clock.now(), fitted=ribbon,
        prints=ribbon_left,
    )  # fmt: skip
    if before.state != state:
        events.append(
            tx,
            clock,
            "station.state_changed",
            name,
            actor=name,
            state=state,
            sentence=sentence[:300],
        )


def announce(tx: Tx, clock: Clock, name: str, line: int) -> None:
    """The journal of a station will have a line `line`, for what this transaction lets it do.

    Until that line is read nobody can say what the station did: see `journal_import.unread`.
    """
    _ANNOUNCE.run(tx, called=name, line=line, now=clock.now())


def drain(tx: Tx, clock: Clock, name: str, actor: Actor) -> None:
    """Finish the card inside, then claim no more."""
    require(actor, Role.CARD_OPERATOR, Role.CARD_SUPERVISOR)
    row = station(tx, name, lock=True)
    if not row.draining:
        row.draining = True
        events.append(tx, clock, "station.drained", name, actor=actor.name)


def stop(tx: Tx, clock: Clock, name: str, reason: str, actor: str) -> None:
    """Hold a station back; the first reason stays."""
    row = station(tx, name, lock=True)
    if row.stop_reason is None:
        row.stop_reason, row.stopped_at = reason, clock.now()
        events.append(tx, clock, "station.stopped", name, actor=actor, reason=reason)


def clear(tx: Tx, clock: Clock, name: str, supervisor: Actor) -> None:
    """The cause is mended: go on. The count of spoiled cards begins anew. Raises NotAllowed E-ROLE."""
    require(supervisor, Role.CARD_SUPERVISOR)
    row = station(tx, name, lock=True)
    if row.stop_reason is not None:
        row.stop_reason, row.cleared_at = None, clock.now()
        events.append(tx, clock, "station.cleared", name, actor=supervisor.name)


def station(tx: Tx, name: str, lock: bool = False) -> StationRow:
    """Raises NotFound W-STATION."""
    row = tx.get(StationRow, name, with_for_update=True if lock else None)
    if row is None:
        raise _unknown(name)
    return row


def _unknown(name: str) -> NotFound:
    return NotFound("W-STATION", f"no station {name}", station=name)


def may_work(tx: Tx, name: str) -> None:
    """Nothing holds the station back. Raises NotFound W-STATION, Rejected W-STOPPED, W-DRAINING."""
    found = _IN_THE_WAY.first(tx, called=name)
    if found is None:
        raise _unknown(name)
    if found.stop_reason is not None:
        raise Rejected("W-STOPPED", found.stop_reason, station=name, reason=found.stop_reason)
    if found.draining:
        raise Rejected("W-DRAINING", "the station takes no more work", station=name)


def all_stations(tx: Tx) -> list[StationRow]:
    """By name, for the board."""
    return list(tx.scalars(select(StationRow).order_by(StationRow.name)))


def silent(tx: Tx, clock: Clock) -> list[StationRow]:
    """Stations nobody heard of for two minutes; they keep their leases until declared lost (section 6)."""
    before = clock.now() - SILENT_AFTER
    return list(tx.scalars(select(StationRow).where(StationRow.seen_at < before)))


def watch_spoilage(tx: Tx, clock: Clock, name: str) -> str | None:
    """Stop the station when its last cards say so (I16); returns the reason."""
    row = station(tx, name, lock=True)
    query = select(PlasticRow.place).where(
        PlasticRow.station == name, PlasticRow.place.in_({*GOOD, *_WASTED})
    )
    if row.cleared_at is not None:
        query = query.where(PlasticRow.ended_at > row.cleared_at)
    newest = tx.scalars(
        query.order_by(PlasticRow.ended_at.desc(), PlasticRow.fed_at.desc()).limit(WATCHED)
    ).all()
    bad = [place in _WASTED for place in newest]
    reason = None
    if len(bad) >= ROW_OF_SPOILS and all(bad[:ROW_OF_SPOILS]):
        reason = "W-THREE-SPOILED"
    elif len(bad) == WATCHED and sum(bad) > MAX_SPOILED_OF_WATCHED:
        reason = "W-SPOILAGE"
    if reason is not None:
        stop(tx, clock, name, reason, name)
    return reason


def cards_today(tx: Tx, name: str) -> tuple[int, int]:
    """Good and spoiled cards of a station so far."""
    found = tx.execute(
        select(PlasticRow.place, func.count())
        .where(PlasticRow.station == name)
        .group_by(PlasticRow.place)
    )
    counts = dict(iter(found))  # a result has keys() and would be taken for a mapping
    good = sum(count for place, count in counts.items() if place in GOOD)
    return good, sum(count for place, count in counts.items() if place in _WASTED)
