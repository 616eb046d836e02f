"""Opening the points, and the launch event 首发式 (residence.md 11, 12.1, 16).

All points open together, in the pilot stage and with 23 of 23 ready. The first cards are reserved, inspected
without exception, and handed over against the list.
"""

from collections.abc import Sequence

from sqlalchemy import func, select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import NotAllowed, Rejected
from core.rows import Statement
from registry.identifiers import DIVISION
from registry.pilot.stages import Activity, require_allowed, stages
from registry.pilot.tables import LaunchCardRow, OpeningRow
from registry.points import readiness
from registry.points.places import COUNT
from registry.residence import cards
from registry.residence.domain import CardState
from registry.roles import CLERKS, Actor, Role, require

MAX_LAUNCH = 500
_OPENED = Statement(select(OpeningRow.opened_at))


def open_points(tx: Tx, clock: Clock, actor: Actor) -> None:
    """Open all points; again changes nothing.

    Raises NotAllowed E-ROLE; Rejected E-STAGE (before the pilot stage), E-POINTS (not all are ready).
    """
    require(actor, Role.PILOT_OFFICE)
    require_allowed(clock, Activity.OPEN)
    readiness.require_all_ready(tx, clock)
    if tx.get(OpeningRow, 1) is None:
        tx.add(OpeningRow(id=1, opened_at=clock.now(), opened_by=actor.name))
        tx.flush()
        events.append(tx, clock, "pilot.opened", DIVISION, actor=actor.name, points=COUNT)


def is_open(tx: Tx) -> bool:
    """Whether the points were opened."""
    return _OPENED.first(tx) is not None


def require_accepting(tx: Tx, clock: Clock) -> None:
    """The gate of every acceptance: not before the pilot stage, and not while its points are being made ready.

    After the last stage the whole city accepts; then an installation without readiness lists has no points to
    wait for. Raises Rejected E-STAGE, E-POINTS-SHUT.
    """
    in_the_pilot = business_date(clock.now()) <= stages()[-1].last
    if in_the_pilot:
        require_allowed(clock, Activity.ACCEPT)
    if not is_open(tx) and (in_the_pilot or readiness.begun(tx)):
        raise Rejected("E-POINTS-SHUT", "the acceptance points are not open yet")


def reserve(tx: Tx, clock: Clock, event: str, serials: Sequence[str], actor: Actor) -> int:
    """Put finished cards that nobody has yet on the list of the event; the list's length.

    Raises NotAllowed E-ROLE; NotFound E-CARD; Rejected E-STAGE, E-LAUNCH (handed over or on a list already).
    """
    require(actor, Role.PILOT_OFFICE)
    require_allowed(clock, Activity.LAUNCH)
    there = tx.scalar(select(func.count()).where(LaunchCardRow.event == event)) or 0
    if not event.strip() or there + len(serials) > MAX_LAUNCH:
        raise Rejected("E-LAUNCH", f"a named event with at most {MAX_LAUNCH} cards")
    for number, serial in enumerate(serials, there + 1):
        bound = cards.by_serial(tx, serial).state == CardState.BOUND
        if not bound or tx.get(LaunchCardRow, serial) is not None:
            raise Rejected("E-LAUNCH", "handed over or on a list already", card_serial=serial)
        tx.add(LaunchCardRow(card_serial=serial, event=event, number=number))
        tx.flush()
    events.append(tx, clock, "pilot.launch_reserved", event, actor=actor.name, cards=len(serials))
    return there + len(serials)


def inspect(tx: Tx, serial: str, passed: bool, actor: Actor) -> None:
    """Every card of the list is looked at; a bad one leaves it. Raises NotAllowed E-ROLE; Rejected E-LAUNCH."""
    require(actor, Role.CARD_QC)
    row = _listed(tx, serial)
    if passed:
        row.inspected_by = actor.name
    else:
        tx.delete(row)
    tx.flush()


def hand_over(tx: Tx, clock: Clock, serial: str, actor: Actor) -> None:
    """Tick a card off the list, after the counter activated it; twice is refused.

    Raises NotAllowed E-ROLE, E-SOD (who inspected it does not hand it over); Rejected E-STAGE, E-LAUNCH (not on
    the list, not inspected, still asleep in the safe, handed over before).
    """
    require(actor, *CLERKS)
    require_allowed(clock, Activity.LAUNCH)
    row = _listed(tx, serial)
    if row.inspected_by is None or cards.by_serial(tx, serial).state != CardState.ISSUED:
        raise Rejected("E-LAUNCH", "not inspected or not activated", card_serial=serial)
    if row.inspected_by == actor.name:
        raise NotAllowed("E-SOD", "a second, different person is needed")
    row.handed_at, row.handed_by = clock.now(), actor.name
    tx.flush()
    events.append(tx, clock, "pilot.launch_handed", row.event, actor=actor.name, card_serial=serial)


def launch_list(tx: Tx, event: str) -> list[tuple[int, str, bool, bool]]:
    """The hand-over list: number, card serial, inspected, handed over. No names."""
    rows = tx.scalars(
        select(LaunchCardRow).where(LaunchCardRow.event == event).order_by(LaunchCardRow.number)
    )
    return [
        (row.number, row.card_serial, row.inspected_by is not None, row.handed_at is not None)
        for row in rows
    ]


def _listed(tx: Tx, serial: str) -> LaunchCardRow:
    row = tx.get(LaunchCardRow, serial, with_for_update=True)
    if row is None or row.handed_at is not None:
        raise Rejected("E-LAUNCH", "not on the list, or handed over", card_serial=serial)
    return row
