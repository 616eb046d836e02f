"""What the other registers told: links, grounds, dwellings, addresses, heartbeats (residence.md 6.3).

Facts are kept by their record; of two messages about one record the one with the higher `subject_seq`
wins, so they may come in any order and any number of times.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from sqlalchemy import select

from core.clock import Clock
from core.db import Tx
from core.errors import Rejected
from core.ids import uuid7
from registry.exchange.delivery import Handler
from registry.exchange.messages import Envelope, Type
from registry.residence.domain import Basis
from registry.residence.tables import FactRow, FeedRow, KnownAddressRow, LinkRow, PersonRow

DWELLING = "DWELLING"


@dataclass(frozen=True)
class Fact:
    """An interval, `end` inclusive or open. `origin` is the employer's key, or the address code."""

    kind: str
    start: date
    end: date | None = None
    origin: str = ""

    def covers(self, day: date) -> bool:
        return self.start <= day and (self.end is None or day <= self.end)


def of_person(tx: Tx, citizen_id: str) -> list[Fact]:
    """Everything known about a person, in order of the facts."""
    rows = tx.scalars(
        select(FactRow)
        .join(LinkRow, (LinkRow.source == FactRow.source) & (LinkRow.subject == FactRow.subject))
        .where(LinkRow.citizen_id == citizen_id, FactRow.withdrawn.is_(False))
        .order_by(FactRow.start, FactRow.record)
    )
    return [Fact(row.kind, row.start, row.end, row.origin) for row in rows]


def add_ground(
    tx: Tx, clock: Clock, person: PersonRow, basis: Basis, start: date, end: date | None = None
) -> str:
    """A ground a reviewer saw proven (business, property, study, talent, dependant); returns its record."""
    if basis is Basis.EMPLOYMENT:
        raise Rejected("E-BASIS", "employment comes from the employer's record only")
    record = uuid7(clock.now())
    tx.add(
        FactRow(
            source="residence", record=record, subject=person.id, kind=basis, start=start,
            end=end, seq=1,
        )
    )  # fmt: skip
    tx.flush()
    return record


def address(tx: Tx, code: str) -> KnownAddressRow:
    """An ACTIVE address. Raises Rejected E-AC-UNKNOWN or E-AC-RETIRED with the successor."""
    row = tx.get(KnownAddressRow, code)
    if row is None:
        raise Rejected("E-AC-UNKNOWN", "no such address code")
    if row.status != "ACTIVE":
        raise Rejected("E-AC-RETIRED", "the code is retired", successor=row.successor or "-")
    return row


def _link(tx: Tx, _clock: Clock, message: Envelope) -> None:
    tx.merge(
        LinkRow(
            source=message.source,
            subject=message.subject,
            citizen_id=message.payload["citizen_id"],
        )
    )
    tx.flush()


def _interval(tx: Tx, message: Envelope, kind: str, origin: str, withdrawn: bool = False) -> None:
    record = message.payload["record"]
    row = tx.get(FactRow, (message.source, record))
    if row is not None and row.seq >= message.subject_seq:
        return
    values = message.payload
    start = date.fromisoformat(values["start"]) if "start" in values else message.occurred_on
    end = date.fromisoformat(values["end"]) if "end" in values else None
    if row is None:
        row = FactRow(source=message.source, record=record, subject=message.subject, kind=kind)
        tx.add(row)
    row.start, row.end, row.seq, row.withdrawn = start, end, message.subject_seq, withdrawn
    row.origin = origin or row.origin or ""
    tx.flush()


def _employment(tx: Tx, _clock: Clock, message: Envelope) -> None:
    _interval(tx, message, Basis.EMPLOYMENT, message.payload["employer"])


def _employment_withdrawn(tx: Tx, _clock: Clock, message: Envelope) -> None:
    _interval(tx, message, Basis.EMPLOYMENT, "", withdrawn=True)


def _occupancy(tx: Tx, _clock: Clock, message: Envelope) -> None:
    _interval(tx, message, DWELLING, message.payload["code"])


def _occupancy_withdrawn(tx: Tx, _clock: Clock, message: Envelope) -> None:
    _interval(tx, message, DWELLING, "", withdrawn=True)


def _address_activated(tx: Tx, _clock: Clock, message: Envelope) -> None:
    code = message.payload["code"]
    row = tx.get(KnownAddressRow, code)
    if row is None:
        tx.add(
            KnownAddressRow(
                code=code,
                text=message.payload["text"],
                status="ACTIVE",
                seq=message.subject_seq,
            )
        )
        tx.flush()
    else:  # the retirement came first: only the text was missing
        row.text = message.payload["text"]


def _address_retired(tx: Tx, _clock: Clock, message: Envelope) -> None:
    code, successor = message.payload["code"], message.payload["successor"]
    row = tx.get(KnownAddressRow, code)
    if row is None:
        row = KnownAddressRow(code=code, text="", seq=0)
        tx.add(row)
    row.status, row.successor, row.seq = "RETIRED", successor, message.subject_seq
    tx.flush()
    if successor is not None:  # people live on at the successor; without one it is a task, no gap
        for fact in tx.scalars(
            select(FactRow).where(FactRow.kind == DWELLING, FactRow.origin == code)
        ):
            fact.origin = successor


def _heartbeat(tx: Tx, _clock: Clock, message: Envelope) -> None:
    row = tx.get(FeedRow, message.source)
    if row is None:
        tx.add(FeedRow(source=message.source, heard_at=message.recorded_at))
        tx.flush()
    elif message.recorded_at > row.heard_at:
        row.heard_at = message.recorded_at


HANDLERS: dict[Type, Handler] = {
    Type.PERSON_LINKED: _link,
    Type.EMPLOYMENT_STARTED: _employment,
    Type.EMPLOYMENT_ENDED: _employment,
    Type.EMPLOYMENT_WITHDRAWN: _employment_withdrawn,
    Type.OCCUPANCY_STARTED: _occupancy,
    Type.OCCUPANCY_ENDED: _occupancy,
    Type.OCCUPANCY_WITHDRAWN: _occupancy_withdrawn,
    Type.ADDRESS_ACTIVATED: _address_activated,
    Type.ADDRESS_RETIRED: _address_retired,
    Type.HEARTBEAT: _heartbeat,
}


def covering(facts: Iterable[Fact], kinds: Iterable[str], day: date) -> Fact | None:
    """The first fact of one of `kinds` that covers `day`."""
    wanted = set(kinds)
    return next((fact for fact in facts if fact.kind in wanted and fact.covers(day)), None)
