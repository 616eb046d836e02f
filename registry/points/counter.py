"""The counter of an acceptance point: hand over, wake, write an address, block and unblock (residence.md 5.3, 6.6).

A process: it owns a reader and runs short transactions. First the intent is committed (the status event
and its ticket), then the chip is written, then the outcome. After a torn card the same call again
finds the same ticket and ends the same way, because the chip takes an equal `ssn` with equal content.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cardos.client import CardSession
from cardos.requests import (
    AppendRecord,
    ApplicationBlock,
    ApplicationUnblock,
    PinUnblock,
    SelectName,
)
from cardos.residence_records import AddressRecord, ServiceEntry
from cardos.residence_records import Basis as ChipBasis
from cardos.spec import AID_PURSE, AID_RESIDENCE, FID_ADDRESS, chip_serial
from core import events
from core.apdu import CardReader
from core.clock import Clock
from core.db import Database, Tx
from core.errors import Rejected
from registry.dormancy import chip, engine, status
from registry.dormancy.chip import ChipContent
from registry.dormancy.desk import Desk, Scope, protector
from registry.dormancy.status import Ticket
from registry.points.places import Point
from registry.residence import applications, cards, facts, permits
from registry.residence.domain import Basis, CardState, ChipStatus, Hold, Kind, State
from registry.residence.permits import Cause
from registry.residence.tables import CardRow, PermitRow
from registry.roles import CLERKS, Actor, Role, require
from registry.services import running

BLOCKED_SCOPES = ((AID_PURSE, Scope.PURSE), (AID_RESIDENCE, Scope.RESIDENCE))


@dataclass(frozen=True, repr=False)
class PinEntry:
    """The holder's new PIN as the PIN pad gave it: a block (8 bytes) under the key named by `pin_key`."""

    pin_key: str
    block: bytes


@dataclass(frozen=True)
class _Work:
    """What the chip shall get, settled before it is touched."""

    card_serial: str
    chip_serial: str
    ticket: Ticket
    content: ChipContent


class Counter:
    """One desk with a reader. Every method puts one card through one procedure.

    All raise NotAllowed E-ROLE, NotFound E-CARD, Rejected E-CARD-OTHER (another card lies on the
    reader), ChipError and DeviceFault; after these two the same call may be repeated.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        desk: Desk,
        reader: CardReader,
        point: Point,
    ) -> None:
        self._db = db
        self._clock = clock
        self._desk = desk
        self._reader = reader
        self._point = point

    def hand_over(self, card_serial: str, pin: PinEntry, clerk: Actor) -> ChipStatus:
        """Line 16 of 5.3: PENDING becomes ACTIVE (or DORMANT), the PIN opens, the file is closed.

        Raises Rejected E-STATE (the card is not at the point) and E-HOT (a hold forbids it).
        """
        require(clerk, *CLERKS)
        with self._db.write() as tx:
            work = self._intend_hand_over(tx, card_serial, clerk)
        with self._session(work.chip_serial) as card:
            self._open_pin(card, card_serial, pin)
            read_back = chip.write_status(card, self._desk, card_serial, work.content)
        with self._db.write() as tx:
            self._conclude_hand_over(tx, work, read_back, clerk)
        return ChipStatus(work.content.record.status)

    def update_status(self, card_serial: str, clerk: Actor) -> ChipStatus:
        """Bring the register's present status to the chip: wake it, put it to sleep, renew its lease.

        Raises Rejected E-HOT for a suspended or void card: those are blocked, not updated.
        """
        require(clerk, *CLERKS, Role.TERMINAL)
        with self._db.write() as tx:
            card_row = self._issued(tx, card_serial)
            engine.reconsider(tx, self._clock, card_row.permit_no)
            permits.renew_lease(tx, self._clock, card_row.permit_no, self._point.code)
            work = self._work(tx, card_row)
        with self._session(work.chip_serial) as card:
            read_back = chip.write_status(card, self._desk, card_serial, work.content)
        with self._db.write() as tx:
            status.confirm(tx, self._clock, work.ticket.id, read_back, clerk.name)
        return ChipStatus(work.content.record.status)

    def write_services(self, card_serial: str, clerk: Actor) -> tuple[ServiceEntry, ...]:
        """Bring the services the holder is enrolled in to an issued card; the same again changes nothing.

        Returns EF.SVC as it stands now: asleep only what may be used asleep is switched on. Raises Rejected E-HOT.
        """
        require(clerk, *CLERKS)
        with self._db.write() as tx:
            card_row = self._issued(tx, card_serial)
            permit = permits.get(tx, card_row.permit_no)
            entries = running.card_entries(tx, card_row.permit_no)
            wanted = chip.services_under(permit.status, entries)
            chip_no = card_row.chip_serial
        with self._session(chip_no) as card:
            chip.write_services(card, self._desk, card_serial, wanted)
        with self._db.write() as tx:
            events.append(
                tx, self._clock, "card.services_written", card_serial, actor=clerk.name,
                services=len(wanted),
            )  # fmt: skip
        return wanted

    def write_address(self, card_serial: str, code: str, clerk: Actor) -> None:
        """Add the holder's new dwelling to the chip's address ring, also while asleep.

        Raises Rejected E-AC-UNKNOWN, E-AC-RETIRED, E-NOT-THERE (the rental register does not know it).
        """
        require(clerk, *CLERKS)
        with self._db.write() as tx:
            card_row = self._issued(tx, card_serial)
            record, chip_no = self._address(tx, card_row, code), card_row.chip_serial
        with self._session(chip_no) as card:
            card.send(SelectName(AID_RESIDENCE))
            line = protector(self._desk, Scope.RESIDENCE, card_serial)
            card.send_protected(AppendRecord(bytes(record), sfi=FID_ADDRESS), line)
        with self._db.write() as tx:
            permits.get(tx, self._issued(tx, card_serial).permit_no, lock=True).address_code = code
            events.append(
                tx, self._clock, "card.address_written", card_serial, actor=clerk.name,
                point=self._point.code,
            )  # fmt: skip

    def block(self, card_serial: str, clerk: Actor) -> None:
        """Block both applications: for good when the card was replaced or the permit cancelled, else
        reversibly for LOSS (README decision 21). Raises Rejected E-NOT-HOT when nothing asks for it."""
        require(clerk, *CLERKS, Role.TERMINAL)
        with self._db.read() as tx:
            card_row = cards.by_serial(tx, card_serial)
            chip_no = card_row.chip_serial
            present = permits.holds(tx, card_row.permit_no)
            dead = card_row.state == CardState.VOID or Hold.CANCELLED in present
        if not dead and Hold.LOSS not in present:
            raise Rejected("E-NOT-HOT", "nothing asks for a block")
        with self._session(chip_no) as card:
            for name, scope in BLOCKED_SCOPES:
                card.send(SelectName(name))
                line = protector(self._desk, scope, card_serial)
                card.send_protected(ApplicationBlock(permanent=dead), line)
        with self._db.write() as tx:
            events.append(
                tx, self._clock, "card.blocked", card_serial, actor=clerk.name,
                point=self._point.code, permanent=dead,
            )  # fmt: skip

    def _intend_hand_over(self, tx: Tx, card_serial: str, clerk: Actor) -> _Work:
        card_row = cards.by_serial(tx, card_serial)
        application = applications.by_number(tx, card_row.acc_no)
        if card_row.state != CardState.BOUND or application.state != State.AT_POINT:
            raise Rejected(
                "E-STATE", "the card is not waiting at the point", state=application.state,
                allowed=State.AT_POINT,
            )  # fmt: skip
        permit = permits.get(tx, card_row.permit_no, lock=True)
        cause = Cause(clerk.name, f"hand-over of {card_serial}")
        if application.kind == Kind.REPLACE_LOST:  # the loss was answered by this replacement
            permits.clear_hold(tx, self._clock, permit.permit_no, Hold.LOSS, cause)
        engine.reconsider(tx, self._clock, permit.permit_no)
        first = not permit.handed_over
        permit.handed_over = True
        intended = status.open_ticket(tx, card_serial, permit.ssn)
        if not permits.restate(tx, self._clock, permit, cause) and not first and not intended:
            permits.restate(tx, self._clock, permit, cause, renew=True)
        return self._work(tx, card_row)

    def _conclude_hand_over(self, tx: Tx, work: _Work, read_back: bytes, clerk: Actor) -> None:
        status.confirm(tx, self._clock, work.ticket.id, read_back, clerk.name)
        card_row = cards.by_serial(tx, work.card_serial)
        cards.retire_issued(tx, self._clock, card_row.permit_no, clerk.name)  # I2: one card lives
        card_row.state, card_row.issued_at = CardState.ISSUED, self._clock.now()
        tx.flush()
        for step in (State.COLLECTED, State.CLOSED):
            applications.advance(tx, self._clock, card_row.acc_no, step, clerk.name)
        events.append(
            tx, self._clock, "card.handed_over", work.card_serial, actor=clerk.name,
            permit_no=card_row.permit_no, acc_no=card_row.acc_no, point=self._point.code,
        )  # fmt: skip

    def _work(self, tx: Tx, card_row: CardRow) -> _Work:
        permit = permits.get(tx, card_row.permit_no)
        if permit.status not in (ChipStatus.ACTIVE, ChipStatus.DORMANT):
            raise Rejected("E-HOT", f"the permit is {ChipStatus(permit.status).name}")
        ticket = status.issue_ticket(tx, self._clock, card_row.card_serial, self._point.code)
        services = running.card_entries(tx, card_row.permit_no)
        content = ChipContent(ticket.record, _chip_basis(permit), services)
        return _Work(card_row.card_serial, card_row.chip_serial, ticket, content)

    def _issued(self, tx: Tx, card_serial: str) -> CardRow:
        card_row = cards.by_serial(tx, card_serial)
        if card_row.state != CardState.ISSUED:
            raise Rejected("E-HOT", f"the card is {card_row.state}")
        return card_row

    def _address(self, tx: Tx, card_row: CardRow, code: str) -> AddressRecord:
        text = facts.address(tx, code)
        person = cards.holder(tx, card_row)
        known = [
            fact
            for fact in facts.of_person(tx, person)
            if fact.kind == facts.DWELLING and fact.origin == code and fact.end is None
        ]
        if not known:
            raise Rejected("E-NOT-THERE", "the rental register does not know the holder there")
        return AddressRecord(code, status.bcd(known[-1].start), text)

    def _open_pin(self, card: CardSession, card_serial: str, pin: PinEntry) -> None:
        card.send(SelectName(AID_PURSE))

        def unblock(challenge: bytes, _header: bytes, _data: bytes) -> bytes:
            return self._desk.unblock_pin(card_serial, challenge, pin.pin_key, pin.block)

        card.send_protected(PinUnblock(), unblock)

    @contextmanager
    def _session(self, expected: str) -> Iterator[CardSession]:
        channel = self._reader.connect()
        try:
            if chip_serial(channel.atr).hex().upper() != expected:
                raise Rejected("E-CARD-OTHER", "another chip lies on the reader")
            yield CardSession(channel)
        finally:
            channel.close()

    def unblock(self, card_serial: str, clerk: Actor) -> None:
        """Undo a LOSS block in person, at a police-station point, after the loss was withdrawn.

        Raises NotAllowed E-ROLE, Rejected E-HOT when the card is still listed or dead for ever.
        """
        require(clerk, Role.POLICE_CLERK)
        with self._db.read() as tx:
            card_row = self._issued(tx, card_serial)
            chip_no = card_row.chip_serial
            if {Hold.LOSS, Hold.CANCELLED} & permits.holds(tx, card_row.permit_no):
                raise Rejected("E-HOT", "the permit is still on the list")
        with self._session(chip_no) as card:
            for name, scope in BLOCKED_SCOPES:
                self._unblock(card, card_serial, name, scope)
        with self._db.write() as tx:
            events.append(
                tx, self._clock, "card.unblocked", card_serial, actor=clerk.name,
                point=self._point.code,
            )  # fmt: skip

    def _unblock(self, card: CardSession, card_serial: str, name: bytes, scope: Scope) -> None:
        line = protector(self._desk, scope, card_serial)
        card.exchange(SelectName(name).command())  # 6A81, yet it becomes current
        card.send_protected(ApplicationUnblock(), line)


def _chip_basis(permit: PermitRow) -> ChipBasis:
    return ChipBasis(Basis(permit.basis).number, status.bcd(permit.issued_on))
