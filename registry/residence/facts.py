"""What the other registers told: links, grounds, dwellings, addresses, heartbeats (residence.md 6.3).

Facts are kept by their record, every version with the time it was believed; of two messages about one
record the one with the higher `subject_seq` wins, so they may come in any order and any number of times.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, select

from core.clock import Clock
from core.db import Tx
from core.errors import NotFound, Rejected
from core.ids import uuid7
from core.rows import Statement
from registry.exchange.delivery import Handler
from registry.exchange.messages import Envelope, Type
from registry.residence.domain import Basis
from registry.residence.tables import FactRow, FeedRow, KnownAddressRow, LinkRow, PersonRow

DWELLING = "DWELLING"
_ADDRESS = Statement(
    select(KnownAddressRow.text, KnownAddressRow.status, KnownAddressRow.successor).where(
        KnownAddressRow.code == bindparam("code")
    )
)
MAX_SUCCESSIONS = 16
# messages that tell an interval: its kind, and the field of the payload that is its origin
INTERVALS: Mapping[Type, tuple[str, str]] = {
    Type.EMPLOYMENT_STARTED: (Basis.EMPLOYMENT, "employer"),
    Type.EMPLOYMENT_ENDED: (Basis.EMPLOYMENT, "employer"),
    Type.EMPLOYMENT_CORRECTED: (Basis.EMPLOYMENT, "employer"),
    Type.OCCUPANCY_STARTED: (DWELLING, "code"),
    Type.OCCUPANCY_CHANGED: (DWELLING, "code"),
    Type.OCCUPANCY_ENDED: (DWELLING, "code"),
}


@dataclass(frozen=True)
class Fact:
    """An interval, `end` inclusive or open. `origin` is the employer's key, or the address code."""

    kind: str
    start: date
    end: date | None = None
    origin: str = ""

    def covers(self, day: date) -> bool:
        return self.start <= day and (self.end is None or day <= self.end)


def of_person(tx: Tx, person: PersonRow) -> list[Fact]:
    """Everything known about a person, in order of the facts."""
    rows = tx.scalars(
        select(FactRow)
        .join(LinkRow, (LinkRow.source == FactRow.source) & (LinkRow.subject == FactRow.subject))
        .where(LinkRow.citizen_index == person.citizen_index, in_force())
        .order_by(FactRow.start, FactRow.record)
    )
    return [
        Fact(
            row.kind, row.start, row.end,
            successor(tx, row.origin) if row.kind == DWELLING else row.origin,
        )
        for row in rows
    ]  # fmt: skip


def in_force() -> ColumnElement[bool]:
    """The condition for versions that are believed now and were not withdrawn."""
    return and_(FactRow.superseded_at.is_(None), FactRow.withdrawn.is_(False))


def told(tx: Tx, source: str, subject: str) -> bool:
    """Whether a register said anything of this subject of its own yet."""
    wanted = (FactRow.source == source, FactRow.subject == subject)
    return tx.scalar(select(FactRow.seq).where(*wanted).limit(1)) is not None


def successor(tx: Tx, code: str) -> str:
    """The code that stands today for `code`: people live on at the successor of a retired one."""
    for _ in range(MAX_SUCCESSIONS):
        row = tx.get(KnownAddressRow, code)
        if row is None or row.status != "RETIRED" or row.successor is None:
            return code
        code = row.successor
    raise AssertionError(f"address {code} has more than {MAX_SUCCESSIONS} successors in a row")


def add_ground(
    tx: Tx,
    clock: Clock,
    person: PersonRow,
    basis: Basis,
    start: date,
    end: date | None = None,
    origin: str = "",
) -> str:
    """A ground a reviewer saw proven (business, property, study, talent, dependant); returns its record.

    `origin` of a DEPENDANT is the permit number of the person it depends on. The same ground again is the same
    record. Raises Rejected E-BASIS.
    """
    if basis is Basis.EMPLOYMENT:
        raise Rejected("E-BASIS", "employment comes from the employer's record only")
    same = tx.scalar(
        select(FactRow.record).where(
            FactRow.source == "residence", FactRow.subject == person.id, FactRow.kind == basis,
            FactRow.start == start, FactRow.end.is_(None) if end is None else FactRow.end == end,
            FactRow.origin == origin, in_force(),
        )
    )  # fmt: skip
    if same is not None:
        return same
    record = uuid7(clock.now())
    tx.add(
        FactRow(
            source="residence", record=record, subject=person.id, kind=basis, start=start,
            end=end, origin=origin, seq=1, known_at=clock.now(),
        )
    )  # fmt: skip
    tx.flush()
    return record


def address(tx: Tx, code: str) -> str:
    """The text of an ACTIVE address. Raises Rejected E-AC-UNKNOWN or E-AC-RETIRED with the successor."""
    row = _ADDRESS.first(tx, code=code)
    if row is None:
        raise Rejected("E-AC-UNKNOWN", "no such address code")
    if row.status != "ACTIVE":
        raise Rejected("E-AC-RETIRED", "the code is retired", successor=row.successor or "-")
    return str(row.text)


def _link(tx: Tx, _clock: Clock, message: Envelope) -> None:
    tx.merge(
        LinkRow(
            source=message.source,
            subject=message.subject,
            citizen_index=message.payload["citizen_index"],
        )
    )
    tx.flush()


def end_ground(tx: Tx, clock: Clock, record: str, last_day: date) -> None:
    """A ground of `add_ground` ends. Raises NotFound E-RECORD, Rejected E-DATE-ORDER."""
    row = tx.scalar(
        select(FactRow).where(
            FactRow.source == "residence", FactRow.record == record, FactRow.superseded_at.is_(None)
        )
    )
    if row is None:
        raise NotFound("E-RECORD", "no such ground")
    if last_day < row.start:
        raise Rejected("E-DATE-ORDER", "the last day lies before the first")
    version = FactRow(
        source="residence", record=record, seq=row.seq + 1, subject=row.subject, kind=row.kind,
        start=row.start, end=last_day, origin=row.origin, known_at=clock.now(),
    )  # fmt: skip
    _store(tx, version)


def _store(tx: Tx, version: FactRow) -> None:
    """Keep a version; the highest `seq` of its record is in force, the others are history."""
    present = tx.scalar(
        select(FactRow).where(
            FactRow.source == version.source,
            FactRow.record == version.record,
            FactRow.superseded_at.is_(None),
        )
    )
    if present is not None and present.seq > version.seq:
        version.superseded_at = version.known_at  # it came late: never in force
        version.origin = version.origin or present.origin
    elif present is not None:
        present.superseded_at = version.known_at
        version.origin = version.origin or present.origin
        tx.flush()  # the old version must leave before the new one is in force
    tx.add(version)
    tx.flush()


def _interval(
    tx: Tx, clock: Clock, message: Envelope, kind: str, origin: str, withdrawn: bool = False
) -> None:
    if tx.get(FactRow, (message.source, message.payload["record"], message.subject_seq)) is None:
        _store(tx, FactRow(**_version(clock, message, kind, origin, withdrawn)))


def _version(
    clock: Clock, message: Envelope, kind: str, origin: str, withdrawn: bool = False
) -> dict[str, Any]:
    """What a message says of its record, as a row of `FactRow`."""
    values = message.payload
    return {
        "source": message.source, "record": values["record"], "seq": message.subject_seq,
        "subject": message.subject, "kind": kind,
        "start": date.fromisoformat(values["start"]) if "start" in values else message.occurred_on,
        "end": date.fromisoformat(values["end"]) if "end" in values else None,
        "origin": origin, "reason": values.get("reason", ""), "withdrawn": withdrawn,
        "known_at": clock.now(), "superseded_at": None,
    }  # fmt: skip


def interval_told(clock: Clock, message: Envelope) -> dict[str, Any]:
    """What one of the `INTERVALS` says of its record, as a row of `FactRow`."""
    kind, origin = INTERVALS[message.type]
    return _version(clock, message, kind, message.payload[origin])


def _told(tx: Tx, clock: Clock, message: Envelope) -> None:
    kind, origin = INTERVALS[message.type]
    _interval(tx, clock, message, kind, message.payload[origin])


def _employment_withdrawn(tx: Tx, clock: Clock, message: Envelope) -> None:
    _interval(tx, clock, message, Basis.EMPLOYMENT, "", withdrawn=True)


def _occupancy_withdrawn(tx: Tx, clock: Clock, message: Envelope) -> None:
    _interval(tx, clock, message, DWELLING, "", withdrawn=True)


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
    elif not row.text:  # a retirement came first: only the text was missing
        row.text = message.payload["text"]


def _address_retired(tx: Tx, _clock: Clock, message: Envelope) -> None:
    """One successor takes its people over; without one, or with several, where they live is a task."""
    code, successors = message.payload["code"], message.payload["successors"]
    successor = successors[0] if len(successors) == 1 else None
    row = tx.get(KnownAddressRow, code)
    if row is None:
        row = KnownAddressRow(code=code, text="", seq=0)
        tx.add(row)
    row.status, row.successor, row.seq = "RETIRED", successor, message.subject_seq
    tx.flush()


def _address_renamed(tx: Tx, _clock: Clock, message: Envelope) -> None:
    row = tx.get(KnownAddressRow, message.payload["code"])
    if row is None:
        row = KnownAddressRow(code=message.payload["code"], status="ACTIVE", seq=0)
        tx.add(row)
    elif row.seq >= message.subject_seq:
        return
    row.text, row.seq = message.payload["text"], message.subject_seq
    tx.flush()


def _heartbeat(tx: Tx, _clock: Clock, message: Envelope) -> None:
    row = tx.get(FeedRow, message.source)
    if row is None:
        tx.add(FeedRow(source=message.source, heard_at=message.recorded_at))
        tx.flush()
    elif message.recorded_at > row.heard_at:
        row.heard_at = message.recorded_at


HANDLERS: dict[Type, Handler] = {
    Type.PERSON_LINKED: _link,
    **dict.fromkeys(INTERVALS, _told),
    Type.EMPLOYMENT_WITHDRAWN: _employment_withdrawn,
    Type.OCCUPANCY_WITHDRAWN: _occupancy_withdrawn,
    Type.ADDRESS_ACTIVATED: _address_activated,
    Type.ADDRESS_RENAMED: _address_renamed,
    Type.ADDRESS_RETIRED: _address_retired,
    Type.HEARTBEAT: _heartbeat,
}


def covering(facts: Iterable[Fact], kinds: Iterable[str], day: date) -> Fact | None:
    """The first fact of one of `kinds` that covers `day`."""
    wanted = set(kinds)
    return next((fact for fact in facts if fact.kind in wanted and fact.covers(day)), None)
