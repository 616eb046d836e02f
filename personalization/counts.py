"""Blind counts: a person says a number without seeing the expected one (production.md 4.4, 5, I25).

For a batch three things are counted: `blanks` left in the feeders, `good` cards in the hoppers, `spoiled`
cards in the reject boxes. A first number that differs asks for one recount by another person, without
saying which way it differs; a second opens an incident, and the batch can still be counted to its end.
"""

from dataclasses import dataclass

from sqlalchemy import func, select

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import NotAllowed, NotFound, Rejected
from core.ids import uuid7
from personalization import balance, batches, incidents, stock
from personalization.states import BATCH_ALLOWED, BatchState, Place, step
from personalization.tables import BatchRow, CountRow, IncidentRow, PlasticRow, TrayRow
from registry.roles import Actor, Role, require, two_persons

BLANKS, GOOD, SPOILED = "blanks", "good", "spoiled"
COUNTED_THINGS = (BLANKS, GOOD, SPOILED)
AGREES, AGAIN, INCIDENT = "AGREES", "COUNT_AGAIN", "INCIDENT"
MAX_COUNT = 100_000


@dataclass(frozen=True)
class Counted:
    """The answer to a count: `verdict` AGREES, COUNT_AGAIN (by another person) or INCIDENT."""

    what: str
    verdict: str
    batch_state: str
    incident: str | None = None


def count(tx: Tx, clock: Clock, batch: str, what: str, number: int, person: Actor) -> Counted:
    """Enter a blind count of a FINISHED batch; the third thing settled makes it COUNTED.

    Raises NotAllowed E-ROLE, W-SAME-COUNTER (a recount by the same person); Rejected W-STATE, W-COUNT;
    NotFound W-BATCH.
    """
    require(person, Role.STOCK_KEEPER, Role.CARD_SUPERVISOR, Role.CARD_QC)
    row = batches.get(tx, batch)
    if what not in COUNTED_THINGS or not 0 <= number <= MAX_COUNT:
        raise Rejected("W-COUNT", f"{what} {number}", what=what)
    if row.state not in (BatchState.FINISHED, BatchState.COUNTED):
        raise Rejected("W-STATE", "finish it first", state=row.state, allowed=BatchState.FINISHED)
    earlier = _earlier(tx, batch, what)
    if earlier and (earlier[-1].counted == earlier[-1].expected or len(earlier) > 1):
        return Counted(
            what, AGREES if earlier[-1].counted == earlier[-1].expected else INCIDENT, row.state
        )
    if earlier and earlier[-1].person == person.name:
        raise NotAllowed("W-SAME-COUNTER", "another person counts again")
    expected = expected_now(tx, batch, what)
    tx.add(
        CountRow(
            id=uuid7(clock.now()), what=what, batch=batch, turn=len(earlier) + 1, counted=number,
            expected=expected, person=person.name, at=clock.now(),
        )
    )  # fmt: skip
    tx.flush()
    events.append(
        tx, clock, "batch.counted", batch, actor=person.name, what=what, turn=len(earlier) + 1
    )
    if number != expected and not earlier:
        return Counted(what, AGAIN, row.state)
    incident = None
    if number != expected:
        incident = incidents.begin(
            tx, clock, incidents.DIFFERENCE, f"{batch} {what}",
            f"{what} of {batch}: books {expected}, counted {number} twice differently or wrongly",
            person.name, batch=batch, amount=number - expected,
        )  # fmt: skip
    if all(_settled(tx, batch, thing) for thing in COUNTED_THINGS):
        step(row, BatchState.COUNTED, BATCH_ALLOWED)
    return Counted(what, AGREES if incident is None else INCIDENT, row.state, incident)


def expected_now(tx: Tx, batch: str, what: str) -> int:
    """The books' number. Never shown before the count (I25)."""
    if what == BLANKS:
        return balance.batch_balance(tx, batch).left
    if what == GOOD:
        places: tuple[Place, ...] = (Place.EJECTED, Place.INSPECTED)
    else:
        places = (Place.SPOILED, Place.IN_REJECT, Place.COUNTED)
    return (
        tx.scalar(
            select(func.count())
            .select_from(PlasticRow)
            .where(PlasticRow.batch == batch, PlasticRow.place.in_(places))
        )
        or 0
    )


def is_blind(tx: Tx, lot: str) -> bool:
    """Whether a batch with blanks of this lot is still to be counted: its numbers are not shown (I25)."""
    return (
        tx.scalar(
            select(func.count())
            .select_from(TrayRow)
            .join(BatchRow, BatchRow.number == TrayRow.batch)
            .where(
                TrayRow.lot == lot,
                BatchRow.state.not_in(
                    (BatchState.COUNTED, BatchState.CLOSED, BatchState.CANCELLED)
                ),
            )
        )
        or 0
    ) > 0


def _earlier(tx: Tx, batch: str, what: str) -> list[CountRow]:
    return list(
        tx.scalars(
            select(CountRow)
            .where(CountRow.batch == batch, CountRow.what == what)
            .order_by(CountRow.turn)
        )
    )


def _settled(tx: Tx, batch: str, what: str) -> bool:
    found = _earlier(tx, batch, what)
    return bool(found) and (len(found) > 1 or found[-1].counted == found[-1].expected)


def explain_blanks(
    tx: Tx, clock: Clock, incident: str, decision: str, first: Actor, second: Actor
) -> IncidentRow:
    """Sign a difference in blanks and put the books right: lost ones leave, found ones enter a tray.

    Raises what `incidents.sign` raises; Rejected W-INCIDENT-KIND when it is no such incident.
    """
    row = incidents.get(tx, incident)
    if row.kind != incidents.DIFFERENCE or not row.subject.endswith(f" {BLANKS}") or not row.batch:
        raise Rejected("W-INCIDENT-KIND", row.kind, kind=row.kind)
    if row.closed_at is not None:
        return row
    two_persons(first, second)
    signed = incidents.sign(tx, clock, incident, decision, first, second)
    trays = tx.scalars(
        select(TrayRow).where(TrayRow.batch == row.batch).order_by(TrayRow.opened_at, TrayRow.id)
    ).all()
    if not trays:
        raise NotFound("W-TRAY", "the batch has no tray", tray=row.batch, quantity=0)
    if row.amount > 0:
        place = balance.tray_place(trays[0].id)
        stock.move(
            tx, clock, trays[0].lot, balance.FOUND, place, row.amount, first, second, incident
        )
    lost = -row.amount
    for tray in trays:
        part = min(lost, balance.left(tx, tray.id)) if lost > 0 else 0
        if part > 0:
            place = balance.tray_place(tray.id)
            stock.move(tx, clock, tray.lot, place, balance.LOST, part, first, second, incident)
            lost -= part
    return signed
