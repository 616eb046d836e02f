"""What became of a card nobody could place: two people look, then say (production.md 4.2, 6).

Nothing is queued again before its card is accounted for (I6). The outcomes are: found good (it goes to
QC), found bad (spoiled), not found (missing; its serial is void for ever); then the remake is queued.
"""

from sqlalchemy import select

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import NotFound, Rejected
from personalization import floor, incidents, journal_import, orders, plastic, serials, work
from personalization.plastic import Spoil
from personalization.states import IN_WORK, WORK_ALLOWED, Place, WorkState, step
from personalization.station_journal import Step
from personalization.tables import IncidentRow, JournalRow, PlasticRow, WorkOrderRow
from registry.residence.domain import State
from registry.roles import Actor, Role, require, two_persons

LAST_LINES = 20


def _two(first: Actor, second: Actor) -> None:
    require(first, Role.CARD_SUPERVISOR)
    require(second, Role.CARD_SUPERVISOR, Role.STOCK_KEEPER, Role.CARD_QC)
    two_persons(first, second)


def declare_lost(
    tx: Tx,
    clock: Clock,
    work_order: str,
    first: Actor,
    second: Actor,
    *,
    journal_gone: bool = False,
) -> str:
    """A silent station will not report: RELEASED when its journal proves no feed, else UNCERTAIN.

    Its claim must have run out, and its journal must have been read; `journal_gone` says that two people
    saw that it cannot be (disk destroyed): then the worst is assumed. Returns the new state. Raises
    NotAllowed E-ROLE, E-SOD; Rejected W-STATE, W-CLAIM-LIVE, W-JOURNAL-UNREAD.
    """
    _two(first, second)
    row = work.by_id(tx, work_order)
    claim = _open_claim(tx, row)
    if claim.lease.expires_at > clock.now():
        raise Rejected("W-CLAIM-LIVE", "the claim has not run out", station=claim.station)
    known = journal_import.is_known(tx, work_order, claim.token)
    if not journal_gone and (not known or journal_import.unread(tx, claim.station)):
        raise Rejected("W-JOURNAL-UNREAD", "read it first", station=claim.station)
    was_fed = journal_gone or journal_import.was_fed(tx, work_order, claim.token)
    if row.state == WorkState.CLAIMED and not was_fed:
        work.free(tx, row, claim)
    else:
        work.uncertain(tx, clock, claim, "the station was declared lost", _seen(tx, claim))
    if journal_gone:  # which of its numbers stand on a plastic is not known any more
        serials.give_back(tx, clock, claim.station, first.name)
        journal_import.write_off(tx, claim.station)
    floor.stop(tx, clock, claim.station, "W-DECLARED-LOST", first.name)
    events.append(
        tx, clock, "work_order.lost", work_order, actor=first.name, second=second.name,
        station=claim.station, outcome=row.state,
    )  # fmt: skip
    return row.state


def _open_claim(tx: Tx, row: WorkOrderRow) -> work.Claim:
    claim = None if row.station is None else work.held(tx, row.station)
    if claim is None or claim.work_order != row.id:
        raise Rejected(
            "W-STATE", "nobody holds it", state=row.state,
            allowed=f"{WorkState.CLAIMED}, {WorkState.MAKING}",
        )  # fmt: skip
    return claim


def _seen(tx: Tx, claim: work.Claim) -> work.Seen:
    """What the journal knows of the plastic."""
    chip, card, fed = None, None, 1
    for line in journal_import.lines(tx, claim.work_order, claim.token):
        facts = journal_import.facts(line)
        if line.step == Step.BIND:
            chip, card = facts.get("chip"), facts.get("card")
        if line.step == Step.FEED:
            fed = max(1, int(facts.get("fed", 1)))
    return work.Seen(None if chip is None else str(chip), None if card is None else str(card), fed)


def last_lines(tx: Tx, work_order: str) -> list[JournalRow]:
    """The end of the journal of an attempt, for the people who search."""
    found = tx.scalars(
        select(JournalRow)
        .where(JournalRow.work_order == work_order)
        .order_by(JournalRow.station, JournalRow.sequence.desc())
        .limit(LAST_LINES)
    ).all()
    return list(reversed(found))


def found_good(
    tx: Tx,
    clock: Clock,
    work_order: str,
    chip_serial: str,
    card_serial: str,
    first: Actor,
    second: Actor,
) -> None:
    """Chip and QR were scanned on the bench and the card is whole: MADE, on to QC.

    The journal must show everything up to the intent to eject (I4). Raises NotAllowed E-ROLE, E-SOD;
    Rejected W-STATE, W-BOUND; EvidenceMismatch W-JOURNAL.
    """
    _two(first, second)
    row, card = _uncertain(tx, work_order)
    if row is None:
        return
    token = card.token
    journal_import.require_whole(tx, work_order, token, chip_serial, card_serial, ejected=False)
    plastic.bind(tx, clock, card, card_serial, chip_serial)
    plastic.walk(card, Place.EJECTED)
    card.ended_at = clock.now()
    step(row, WorkState.MADE, WORK_ALLOWED)
    row.ended_at = clock.now()
    orders.advance(tx, clock, row.acc_no, State.QC, first.name)
    _settle(tx, clock, row, "found good", first, second)
    events.append(
        tx, clock, "card.personalized", card_serial, actor=first.name, station=card.station,
        chip_serial=chip_serial, acc_no=row.acc_no, attempt=row.attempt, batch=card.batch, seconds=0,
    )  # fmt: skip


def found_bad(
    tx: Tx, clock: Clock, work_order: str, spoil: Spoil, first: Actor, second: Actor
) -> WorkOrderRow | None:
    """Found, and waste: FAILED; returns the remake. Raises NotAllowed E-ROLE, E-SOD; Rejected W-STATE."""
    _two(first, second)
    row, card = _uncertain(tx, work_order)
    if row is None:
        return None
    plastic.spoil(tx, clock, card, spoil, first.name)
    return _failed(tx, clock, row, "found bad", first, second)


def not_found(
    tx: Tx, clock: Clock, work_order: str, first: Actor, second: Actor
) -> WorkOrderRow | None:
    """Hopper, reject box, feeder and floor were searched: missing; an incident stays to be signed.

    Returns the remake. Raises NotAllowed E-ROLE, E-SOD; Rejected W-STATE.
    """
    _two(first, second)
    row, card = _uncertain(tx, work_order)
    if row is None:
        return None
    if card.place not in IN_WORK:  # its station came back and reported it as waste
        raise Rejected("W-STATE", "it was found", state=card.place, allowed=WorkState.FAILED)
    plastic.missing(tx, clock, card, first.name)
    incidents.begin(
        tx, clock, incidents.LOST, card.id, f"a card of {row.acc_no} was not found", first.name,
        batch=card.batch, amount=-1,
    )  # fmt: skip
    return _failed(tx, clock, row, "not found", first, second)


def stray_found(
    tx: Tx, clock: Clock, card_id: str, spoil: Spoil | None, first: Actor, second: Actor
) -> None:
    """A card outside any work order in progress: late, second of a double feed, or missing until now.

    `spoil` None: it was not found. It can only become waste or missing (4.3). Closes its incident.
    Raises NotAllowed E-ROLE, E-SOD; NotFound W-CARD; Rejected W-STATE.
    """
    _two(first, second)
    card = tx.get(PlasticRow, card_id, with_for_update=True)
    if card is None:
        raise NotFound("W-CARD", "no such card", card=card_id)
    if card.place not in {*IN_WORK, Place.MISSING}:
        raise Rejected("W-STATE", "it is no stray", state=card.place, allowed="-")
    if spoil is None:
        if card.place != Place.MISSING:
            plastic.missing(tx, clock, card, first.name)
    else:
        plastic.spoil(tx, clock, card, spoil, first.name)
    _close(tx, clock, card.id, "missing" if spoil is None else "found, waste", first, second)


def _uncertain(tx: Tx, work_order: str) -> tuple[WorkOrderRow | None, PlasticRow]:
    """The work order and its card; None in place of the row when it was settled before."""
    row = work.by_id(tx, work_order)
    found = plastic.of_work_order(tx, work_order)
    mine = [card for card in found if card.token == row.token and card.feed == 1]
    if not mine:
        raise Rejected("W-STATE", "nothing was fed", state=row.state, allowed=WorkState.UNCERTAIN)
    if row.state in (WorkState.MADE, WorkState.ACCEPTED, WorkState.FAILED):
        return None, mine[0]
    if row.state != WorkState.UNCERTAIN:
        raise Rejected("W-STATE", "not uncertain", state=row.state, allowed=WorkState.UNCERTAIN)
    return row, mine[0]


def _failed(
    tx: Tx, clock: Clock, row: WorkOrderRow, outcome: str, first: Actor, second: Actor
) -> WorkOrderRow | None:
    step(row, WorkState.FAILED, WORK_ALLOWED)
    row.ended_at = clock.now()
    tx.flush()
    again = work.queue_remake(tx, clock, row)
    _settle(tx, clock, row, outcome, first, second)
    if row.station is not None:
        floor.watch_spoilage(tx, clock, row.station)
    return again


def _settle(
    tx: Tx, clock: Clock, row: WorkOrderRow, outcome: str, first: Actor, second: Actor
) -> None:
    _close(tx, clock, row.id, outcome, first, second)
    for extra in plastic.of_work_order(tx, row.id):
        if extra.place in IN_WORK:  # the second blank of a double feed is looked for on its own
            incidents.begin(
                tx, clock, incidents.LOST, extra.id, f"a second blank was fed for {row.acc_no}",
                first.name, batch=extra.batch,
            )  # fmt: skip
    events.append(
        tx, clock, "work_order.resolved", row.id, actor=first.name, second=second.name,
        outcome=outcome,
    )  # fmt: skip


def _close(tx: Tx, clock: Clock, subject: str, outcome: str, first: Actor, second: Actor) -> None:
    """The two who resolved it sign its incident."""
    for row in tx.scalars(
        select(IncidentRow).where(
            IncidentRow.subject == subject,
            IncidentRow.kind.in_((incidents.UNCERTAIN, incidents.LOST)),
            IncidentRow.closed_at.is_(None),
        )
    ):
        row.decision, row.closed_at = outcome, clock.now()
        row.first_person, row.second_person = first.name, second.name
