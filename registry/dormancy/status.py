"""EF.STATUS records and the tickets that carry them to the chip (residence.md 6.6)."""

from dataclasses import dataclass, replace
from datetime import date, timedelta

from sqlalchemy import select

from cardos.residence_records import StatusRecord
from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import EvidenceMismatch, NotFound, Rejected
from core.ids import uuid7
from registry.dormancy.tables import TicketRow
from registry.parameters import PILOT, Policy
from registry.residence import cards
from registry.residence.domain import CardState, ChipStatus
from registry.residence.tables import PermitRow

TICKET_LIFE = timedelta(hours=24)
WRITER_LENGTH = 3
ISSUED, WRITTEN, CONFIRMED, EXPIRED, SUPERSEDED = (
    "ISSUED", "WRITTEN", "CONFIRMED", "EXPIRED", "SUPERSEDED",
)  # fmt: skip


@dataclass(frozen=True)
class Ticket:
    """One record for one card; `record.mac` is empty (zeros) until the HSM made it (command 36)."""

    id: str
    card_serial: str
    record: StatusRecord


def bcd(day: date) -> bytes:
    """YYYYMMDD, 4 bytes."""
    return bytes.fromhex(f"{day:%Y%m%d}")


def writer(point: str) -> bytes:
    """3 bytes that name the point or terminal which wrote the record: its number, big-endian."""
    return int(point).to_bytes(WRITER_LENGTH, "big")


def pending_record(data: cards.CardData, point: str) -> StatusRecord:
    """The record a card leaves the centre with: PENDING, useless when stolen on the way (5.3)."""
    return StatusRecord(
        status=ChipStatus.PENDING,
        causes=0,
        ssn=data.ssn,
        effective=bcd(data.effective_on),
        lease_until=bcd(data.lease_until),
        valid_until=bcd(data.valid_until),
        policy=data.policy,
        writer=writer(point),
    )


def status_record(permit: PermitRow, point: str, policy: Policy = PILOT) -> StatusRecord:
    """The record of a permit's present status; the same permit and point give the same 24 bytes."""
    return StatusRecord(
        status=permit.status,
        causes=permit.causes,
        ssn=permit.ssn,
        effective=bcd(permit.effective_on),
        lease_until=bcd(permit.lease_until),
        valid_until=bcd(permit.valid_until),
        policy=policy.version,
        writer=writer(point),
    )


def issue_ticket(
    tx: Tx, clock: Clock, card_serial: str, point: str, policy: Policy = PILOT
) -> Ticket:
    """The ticket for the present status of a card; older open ones are SUPERSEDED.

    A ticket of the same `ssn` is given again unchanged, whoever asks: the chip takes an equal `ssn` with
    identical content only, and so a torn write can be repeated. Raises NotFound E-CARD, Rejected E-HOT
    (the card is void).
    """
    card = cards.by_serial(tx, card_serial)
    if card.state == CardState.VOID:
        raise Rejected("E-HOT", "the card is dead for ever")
    permit = cards.permit_of(tx, card_serial)
    for row in _open(tx, card_serial):
        if row.ssn == permit.ssn:
            row.not_after = clock.now() + TICKET_LIFE
            return _ticket(row)
        row.state = SUPERSEDED
    row = TicketRow(
        id=uuid7(clock.now()),
        card_serial=card_serial,
        ssn=permit.ssn,
        record=status_record(permit, point, policy).body,
        state=ISSUED,
        not_before=clock.now(),
        not_after=clock.now() + TICKET_LIFE,
    )
    tx.add(row)
    tx.flush()
    return _ticket(row)


def open_ticket(tx: Tx, card_serial: str, ssn: int) -> bool:
    """Whether a ticket of this `ssn` was made for the card: what it says may be on the chip already."""
    return any(row.ssn == ssn for row in _open(tx, card_serial))


def usable(tx: Tx, clock: Clock, ticket_id: str) -> Ticket:
    """A ticket that may be written now. Raises NotFound E-TICKET, Rejected E-TICKET-OLD, E-SSN."""
    row = _row(tx, ticket_id)
    if row.state == SUPERSEDED:
        raise Rejected("E-SSN", "a newer status exists", ssn=row.ssn)
    if row.state == EXPIRED or not row.not_before <= clock.now() <= row.not_after:
        raise Rejected("E-TICKET-OLD", "the ticket is not valid now")
    return _ticket(row)


def confirm(tx: Tx, clock: Clock, ticket_id: str, read_back: bytes, actor: str) -> None:
    """The chip holds the record, proven by a protected read-back that the HSM checked (command 38).

    The same receipt again changes nothing.

    Raises EvidenceMismatch E-READBACK when the 32 bytes are not the ticket's.
    """
    row = _row(tx, ticket_id)
    shown = StatusRecord.parse(read_back)
    if shown.body != row.record:
        raise EvidenceMismatch("E-READBACK", "the chip holds another record", ssn=shown.ssn)
    if (row.state, row.mac) == (CONFIRMED, shown.mac):
        return
    row.mac, row.state = shown.mac, CONFIRMED
    cards.saw_chip(tx, clock, row.card_serial, shown.ssn, shown.status)
    tx.flush()
    events.append(
        tx, clock, "card.status_written", row.card_serial, actor=actor, ssn=shown.ssn,
        status=ChipStatus(shown.status).name,
    )  # fmt: skip


def signed(ticket: Ticket, mac: bytes) -> StatusRecord:
    """The record with the issuer's MAC."""
    return replace(ticket.record, mac=mac)


def _ticket(row: TicketRow) -> Ticket:
    return Ticket(row.id, row.card_serial, StatusRecord.parse(row.record + bytes(8)))


def _row(tx: Tx, ticket_id: str) -> TicketRow:
    row = tx.get(TicketRow, ticket_id, with_for_update=True)
    if row is None:
        raise NotFound("E-TICKET", "no such ticket")
    return row


def _open(tx: Tx, card_serial: str) -> list[TicketRow]:
    states = (ISSUED, WRITTEN, CONFIRMED)
    return list(
        tx.scalars(
            select(TicketRow).where(
                TicketRow.card_serial == card_serial, TicketRow.state.in_(states)
            )
        )
    )
