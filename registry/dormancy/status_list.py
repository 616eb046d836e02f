"""The status list for terminals: versions, changes, 22-byte entries (residence.md 6.7, iso8583-host.md 7.9).

LOSS, ADMIN and CANCELLED are listed until the permit ends; DORMANT for P-LEASE days only, because the
lease on the chip has ended by then. `publish` makes a version when something changed.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import func, or_, select

from core import events
from core.clock import Clock, business_date
from core.db import Tx
from core.errors import Rejected
from registry.dormancy.status import bcd
from registry.dormancy.tables import ListEntryRow, ListVersionRow
from registry.parameters import PILOT, Policy
from registry.residence.domain import CAUSE_BIT, CardState, ChipStatus, Hold
from registry.residence.tables import CardRow, HoldRow, PermitRow

ENTRY_LENGTH = 22
HASH_LENGTH = 8
CANCELLED_BIT = 0x80
ADD, DROP = "A", "D"
_SLEEP_BITS = CAUSE_BIT[Hold.EMP] | CAUSE_BIT[Hold.RES]
_LASTING_BITS = CAUSE_BIT[Hold.LOSS] | CAUSE_BIT[Hold.ADMIN] | CANCELLED_BIT


@dataclass(frozen=True)
class Entry:
    """What the list says of one card. 22 bytes: action 1, hash 8, cause 1, ssn 4, from 4, expires 4."""

    action: str
    card_hash: bytes
    cause: int
    ssn: int
    since: date
    expires: date

    def __bytes__(self) -> bytes:
        return (
            self.action.encode()
            + self.card_hash
            + bytes((self.cause,))
            + self.ssn.to_bytes(4, "big")
            + bcd(self.since)
            + bcd(self.expires)
        )


@dataclass(frozen=True)
class Delta:
    """What leads from `base` (0: nothing) to `version`; empty entries when nothing is new."""

    base: int
    version: int
    entries: tuple[Entry, ...]


def card_hash(card_serial: str) -> bytes:
    """First 8 bytes of SHA-256 over the 14 digits."""
    return hashlib.sha256(card_serial.encode()).digest()[:HASH_LENGTH]


def publish(tx: Tx, clock: Clock, policy: Policy = PILOT) -> int:
    """Make the next version if the list changed; returns the version in force (0: never published)."""
    return put(tx, clock, _wanted(tx, business_date(clock.now()), policy))


def put(tx: Tx, clock: Clock, wanted: Mapping[bytes, Entry]) -> int:
    """Make the next version if `wanted`, entries by card hash, is not in force; the version that is then."""
    last = tx.scalar(select(func.max(ListVersionRow.version))) or 0
    held = _in_force(tx, last)
    changes = [entry for key, entry in wanted.items() if held.get(key) != entry]
    changes += [_dropped(entry) for key, entry in held.items() if key not in wanted]
    if not changes:
        return last
    version = last + 1
    digest = hashlib.sha256(b"".join(bytes(wanted[key]) for key in sorted(wanted))).hexdigest()
    for entry in changes:
        tx.add(
            ListEntryRow(
                version=version,
                card_hash=entry.card_hash.hex(),
                action=entry.action,
                cause=entry.cause,
                ssn=entry.ssn,
                since=entry.since,
                expires=entry.expires,
            )
        )
    tx.add(
        ListVersionRow(
            version=version, published_at=clock.now(), entries=len(wanted), digest=digest
        )
    )
    tx.flush()
    events.append(
        tx, clock, "status_list.published", str(version), entries=len(wanted),
        changes=len(changes), digest=digest,
    )  # fmt: skip
    return version


def delta(tx: Tx, in_hand: int) -> Delta:
    """What a terminal with version `in_hand` lacks; a full list (base 0) for one that has none.

    Raises Rejected E-LIST-VERSION for a version that was never published.
    """
    last = tx.scalar(select(func.max(ListVersionRow.version))) or 0
    if not 0 <= in_hand <= last:
        raise Rejected("E-LIST-VERSION", "this version was never published", version=in_hand)
    now = _in_force(tx, last)
    if in_hand == 0:
        return Delta(0, last, tuple(now[key] for key in sorted(now)))
    before = _in_force(tx, in_hand)
    changed = [now[key] for key in sorted(now) if before.get(key) != now[key]]
    dropped = [_dropped(before[key]) for key in sorted(before) if key not in now]
    return Delta(in_hand, last, tuple(changed + dropped))


def _in_force(tx: Tx, version: int) -> dict[bytes, Entry]:
    """The whole list as version `version` left it."""
    newest: dict[bytes, Entry] = {}
    rows = tx.scalars(
        select(ListEntryRow).where(ListEntryRow.version <= version).order_by(ListEntryRow.version)
    )
    for row in rows:
        key = bytes.fromhex(row.card_hash)
        newest[key] = Entry(row.action, key, row.cause, row.ssn, row.since, row.expires)
    return {key: entry for key, entry in newest.items() if entry.action == ADD}


def _wanted(tx: Tx, today: date, policy: Policy) -> dict[bytes, Entry]:
    cancelled = set(tx.scalars(select(HoldRow.permit_no).where(HoldRow.kind == Hold.CANCELLED)))
    rows = tx.execute(
        select(CardRow, PermitRow)
        .join(PermitRow, PermitRow.permit_no == CardRow.permit_no)
        .where(
            CardRow.issued_at.is_not(None),
            or_(
                CardRow.state == CardState.VOID,
                PermitRow.causes != 0,
                PermitRow.status == ChipStatus.CANCELLED,
            ),
        )
    )
    found: dict[bytes, Entry] = {}
    for card, permit in rows:
        cause = permit.causes
        if card.state == CardState.VOID or permit.permit_no in cancelled:
            cause |= CANCELLED_BIT
        entry = _entry(card, permit, cause, policy)
        if entry is not None and entry.expires >= today:
            found[entry.card_hash] = entry
    return found


def _entry(card: CardRow, permit: PermitRow, cause: int, policy: Policy) -> Entry | None:
    if cause & _LASTING_BITS:
        expires = permit.valid_until
    elif cause & _SLEEP_BITS:
        expires = permit.effective_on + timedelta(days=policy.lease)
    else:
        return None
    serial = card.card_serial
    since = business_date(card.void_at) if card.void_at else permit.effective_on
    ssn = card.chip_ssn if card.void_at else permit.ssn
    return Entry(ADD, card_hash(serial), cause, ssn, since, expires)


def _dropped(entry: Entry) -> Entry:
    return Entry(DROP, entry.card_hash, entry.cause, entry.ssn, entry.since, entry.expires)
