"""The post of a whole day for the residence register: what moves nobody's permit is filed in one piece.

Links, addresses and intervals that come in order, of people without a permit, are only kept
(residence.md 6.3); they are most of a town's messages. Everything else goes through `delivery` one by one,
where the rules stand. Both ways leave the same rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from core import events
from core.clock import Clock
from core.db import Tx, queue_for
from core.errors import Rejected
from registry.dormancy.engine import HANDLERS
from registry.exchange import catalogue, delivery
from registry.exchange.delivery import Delivered
from registry.exchange.messages import Envelope, Type
from registry.exchange.tables import InboxRow, MessageRow
from registry.residence import facts
from registry.residence.domain import ChipStatus
from registry.residence.tables import FactRow, KnownAddressRow, LinkRow, PermitRow, PersonRow

CONSUMER = "residence"
READER = f"exchange.{CONSUMER}"
PAGE = 1_000
Key = tuple[str, str, str]
_SUPERSEDE = (
    update(FactRow)
    .where(
        FactRow.source == bindparam("of"),
        FactRow.record == bindparam("its"),
        FactRow.superseded_at.is_(None),
    )
    .values(superseded_at=bindparam("now"))
    .execution_options(synchronize_session=None)
)


@dataclass
class _Filed:
    """Rows to write, by table, and the messages they come from."""

    links: list[dict[str, Any]] = field(default_factory=list)
    facts: list[dict[str, Any]] = field(default_factory=list)
    addresses: list[dict[str, Any]] = field(default_factory=list)
    superseded: list[dict[str, Any]] = field(default_factory=list)
    messages: list[Envelope] = field(default_factory=list)


def deliver_page(tx: Tx, clock: Clock) -> Delivered:
    """Take in the next `PAGE` announced messages, as `delivery.deliver` would."""
    queue_for(tx, READER)
    found = events.after(
        tx, events.cursor(tx, READER), kinds_wanted=catalogue.event_kinds(), limit=PAGE
    )
    if not found:
        return Delivered()
    done = take_in(tx, clock, messages(tx, [event.data["msg_id"] for event in found]))
    events.move_cursor(tx, READER, found[-1].seq)
    return done


def take_in(tx: Tx, clock: Clock, messages: Sequence[Envelope]) -> Delivered:
    """Take in messages that somebody carried here, in any order and any number of times."""
    filed = _file(tx, clock, messages)
    if filed.superseded:  # the old versions leave before the new ones are in force
        tx.connection().execute(
            _SUPERSEDE, [{**one, "now": clock.now()} for one in filed.superseded]
        )
    for table, rows in (
        (LinkRow, filed.links), (FactRow, filed.facts), (KnownAddressRow, filed.addresses),
        (InboxRow, [delivery.receipt(clock, CONSUMER, one) for one in filed.messages]),
    ):  # fmt: skip
        if rows:
            tx.execute(insert(table), rows)
    taken, repeated, refused = len(filed.messages), 0, 0
    together = {id(message) for message in filed.messages}
    for message in messages:
        if id(message) in together:
            together.remove(id(message))  # a second copy is a repeat
        else:
            outcome = delivery.take_or_bury(tx, clock, CONSUMER, message, HANDLERS)
            taken += outcome is True
            repeated += outcome is False
            refused += outcome is None
    return Delivered(taken, repeated, refused)


def messages(tx: Tx, msg_ids: Sequence[str]) -> list[Envelope]:
    """Those of at most `PAGE` messages that are for this register, in the order given."""
    rows = tx.scalars(select(MessageRow).where(MessageRow.msg_id.in_(msg_ids)))
    by_id = {row.msg_id: delivery.opened(row) for row in rows}
    return [
        by_id[one]
        for one in msg_ids
        if by_id[one].source != CONSUMER and catalogue.concerns(by_id[one], CONSUMER)
    ]


def _file(tx: Tx, clock: Clock, messages: Sequence[Envelope]) -> _Filed:
    """Sort out what comes in order, for the first time, and moves no permit."""
    filed, seen = _Filed(), _seen(tx, messages)
    moving, current = _with_a_permit(tx, messages), _current(tx, messages)
    for message in messages:
        key = _key(message)
        if key is None or {key, message.msg_id} & seen or not _plain(message, moving):
            continue
        if current.get(key, 0) >= message.subject_seq:
            continue
        seen |= {key, message.msg_id}
        filed.messages.append(message)
        payload = message.payload
        if message.type is Type.PERSON_LINKED:
            names = {"source": message.source, "subject": message.subject}
            filed.links.append({**names, "citizen_index": payload["citizen_index"]})
        elif message.type is Type.ADDRESS_ACTIVATED:
            place = {"code": payload["code"], "text": payload["text"]}
            filed.addresses.append({**place, "status": "ACTIVE", "seq": message.subject_seq})
        else:
            filed.facts.append(facts.interval_told(clock, message))
            if key in current:
                filed.superseded.append({"of": message.source, "its": payload["record"]})
    return filed


def _plain(message: Envelope, moving: set[tuple[str, str]]) -> bool:
    """Well-formed, no correction, and of somebody whose permit cannot move."""
    try:
        catalogue.check(message)
    except Rejected:
        return False  # `delivery` buries it with its reason
    return message.supersedes is None and (message.source, message.subject) not in moving


def _key(message: Envelope) -> Key | None:
    """What a message tells of: a record, a subject's link, an address; None for other kinds."""
    if message.type is Type.PERSON_LINKED:
        return ("link", message.source, message.subject)
    if message.type is Type.ADDRESS_ACTIVATED:
        return ("address", message.source, str(message.payload.get("code")))
    if message.type in facts.INTERVALS:
        return ("record", message.source, str(message.payload.get("record")))
    return None


def _seen(tx: Tx, messages: Sequence[Envelope]) -> set[Key | str]:
    """Messages taken in before, links and addresses that are on file already."""
    codes = {key[2] for message in messages if (key := _key(message)) and key[0] == "address"}
    found: set[Key | str] = set(
        tx.scalars(
            select(InboxRow.msg_id).where(
                InboxRow.consumer == CONSUMER,
                InboxRow.msg_id.in_([message.msg_id for message in messages]),
            )
        )
    )
    found |= {("link", source, subject) for source, subject in _links(tx, messages)}
    rows = tx.scalars(select(KnownAddressRow.code).where(KnownAddressRow.code.in_(codes)))
    return found | {("address", "rental", code) for code in rows}


def _current(tx: Tx, messages: Sequence[Envelope]) -> dict[Key, int]:
    """The number of the version in force of every record that is spoken of."""
    records = {key[2] for message in messages if (key := _key(message)) and key[0] == "record"}
    rows = tx.execute(
        select(FactRow.source, FactRow.record, FactRow.seq).where(
            FactRow.record.in_(records), FactRow.superseded_at.is_(None)
        )
    )
    return {("record", source, record): seq for source, record, seq in rows}


def _links(tx: Tx, messages: Iterable[Envelope]) -> Mapping[tuple[str, str], str]:
    """Indexes of the people spoken of, as far as they are known."""
    rows = tx.execute(
        select(LinkRow.source, LinkRow.subject, LinkRow.citizen_index).where(
            LinkRow.subject.in_({message.subject for message in messages})
        )
    )
    return {(source, subject): citizen_index for source, subject, citizen_index in rows}


def _with_a_permit(tx: Tx, messages: Sequence[Envelope]) -> set[tuple[str, str]]:
    """Subjects whose person holds a permit: what is told of them may move it."""
    people = dict(_links(tx, messages))
    people |= {
        (message.source, message.subject): message.payload["citizen_index"]
        for message in messages
        if message.type is Type.PERSON_LINKED
    }
    holders = set(
        tx.scalars(
            select(PersonRow.citizen_index)
            .join(PermitRow, PermitRow.person_id == PersonRow.id)
            .where(
                PersonRow.citizen_index.in_(set(people.values())),
                PermitRow.status != ChipStatus.CANCELLED,
            )
        )
    )
    return {subject for subject, citizen_index in people.items() if citizen_index in holders}
