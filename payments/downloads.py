"""What terminals fetch: parameters, blacklist, status list; and the status they send (7.8 to 7.10)."""

import hashlib
from collections.abc import Mapping

import structlog
from sqlalchemy import func, select, update

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import Rejected
from payments import field_parts, frames
from payments.decisions import Decision, Incident, Request, refuse
from payments.field_parts import (
    BLACK_PAGE_MAX,
    LIST_BLACK,
    PAGE_LAST,
    PAGE_MORE,
    PAGE_NOTHING,
    STATUS_PAGE_MAX,
    ListAsk,
    ListPage,
    PartFault,
    black_entry,
)
from payments.limits import HostProfile
from payments.purse_data import instant_of
from payments.requests import BLACKLIST, BLACKLIST_DONE
from payments.tables import (
    BlacklistEntryRow,
    BlacklistVersionRow,
    PurchaseRow,
    PurseCardRow,
    TerminalRow,
)
from registry.dormancy import status_list
from registry.residence.gate import purse_blacklist

DROPPED, SUSPECT = "00", "04"
CLOCK_SECONDS = 120
_log = structlog.get_logger("purse.host")
Entries = tuple[int, int, list[bytes]]  # base, version, entries


# ---- the purse blacklist, versioned


def publish_blacklist(tx: Tx, clock: Clock) -> int:
    """Make the next version if the registers' list changed; the version in force (0: never published).

    Cards the host blocked itself (11.2) are in it as suspect: they must not go on paying off line.
    """
    blocked = tx.scalars(select(PurseCardRow.asn).where(PurseCardRow.blocked))
    return put_blacklist(tx, clock, dict.fromkeys(blocked, SUSPECT) | dict(purse_blacklist(tx)))


def put_blacklist(tx: Tx, clock: Clock, wanted: Mapping[str, str]) -> int:
    """Make the next version if `wanted`, reasons by ASN, is not what is in force; the version in force then."""
    last = blacklist_version(tx)
    held = _blacklist(tx, last)
    changes = {asn: reason for asn, reason in wanted.items() if held.get(asn) != reason}
    changes |= {asn: DROPPED for asn in held if asn not in wanted}
    if not changes:
        return last
    version = last + 1
    listed = b"".join(black_entry(asn, reason) for asn, reason in sorted(wanted.items()))
    digest = hashlib.sha256(listed).hexdigest()
    tx.add(BlacklistVersionRow(version=version, entries=len(wanted), digest=digest, at=clock.now()))
    tx.flush()
    tx.add_all(
        BlacklistEntryRow(version=version, asn=asn, reason=reason)
        for asn, reason in sorted(changes.items())
    )
    events.append(
        tx, clock, "purse.blacklist_published", str(version), entries=len(wanted),
        changes=len(changes), digest=digest,
    )  # fmt: skip
    return version


def blacklist_version(tx: Tx) -> int:
    """The version in force, 0 when none was published."""
    return tx.scalar(select(func.max(BlacklistVersionRow.version))) or 0


def _blacklist(tx: Tx, version: int) -> dict[str, str]:
    rows = tx.execute(
        select(BlacklistEntryRow.asn, BlacklistEntryRow.reason)
        .where(BlacklistEntryRow.version <= version)
        .order_by(BlacklistEntryRow.version)
    )
    found: dict[str, str] = {row[0]: row[1] for row in rows}
    return {asn: reason for asn, reason in found.items() if reason != DROPPED}


def listed_since(tx: Tx, asns: list[str]) -> dict[str, BlacklistVersionRow]:
    """For each card on the list: the version that put it there, for judging purchases (11.3, flag B)."""
    rows = tx.execute(
        select(BlacklistEntryRow.asn, BlacklistEntryRow.reason, BlacklistVersionRow)
        .join(BlacklistVersionRow, BlacklistVersionRow.version == BlacklistEntryRow.version)
        .where(BlacklistEntryRow.asn.in_(asns))
        .order_by(BlacklistEntryRow.version)
    )
    found: dict[str, BlacklistVersionRow] = {}
    for asn, reason, version in rows:
        if reason == DROPPED:
            found.pop(asn, None)
        else:
            found.setdefault(asn, version)
    return found


def _black_delta(tx: Tx, in_hand: int) -> Entries:
    last = blacklist_version(tx)
    now = _blacklist(tx, last)
    if not 0 < in_hand <= last:
        return 0, last, [black_entry(asn, reason) for asn, reason in sorted(now.items())]
    before = _blacklist(tx, in_hand)
    added = [black_entry(a, r) for a, r in sorted(now.items()) if before.get(a) != r]
    dropped = [black_entry(asn, DROPPED, drop=True) for asn in sorted(before) if asn not in now]
    return in_hand, last, added + dropped


def _status_delta(tx: Tx, in_hand: int) -> Entries:
    try:
        delta = status_list.delta(tx, in_hand)
    except Rejected:  # a version nobody published: start over with the full list
        delta = status_list.delta(tx, 0)
    return delta.base, delta.version, [bytes(entry) for entry in delta.entries]


def list_page(tx: Tx, request: Request) -> Decision:
    """0800 / 390 or 392: the page of entries behind `index` (I-15)."""
    message = request.message
    try:
        ask = ListAsk.parse(message.octets(62))
    except PartFault:
        return refuse("30", store=False)
    black = ask.letters == LIST_BLACK
    if black is not (message.function == BLACKLIST):
        return refuse("30", store=False)
    base, version, entries = (_black_delta if black else _status_delta)(tx, ask.version)
    most = BLACK_PAGE_MAX if black else STATUS_PAGE_MAX
    if ask.index > len(entries):
        return refuse("30", store=False)
    part = tuple(entries[ask.index : ask.index + most])
    more = ask.index + most < len(entries)
    nothing = version == ask.version and not entries
    flag = PAGE_NOTHING if nothing else PAGE_MORE if more else PAGE_LAST
    page = ListPage(ask.letters, flag, version, base, ask.index, part)
    return Decision("00", {62: bytes(page)}, store=False)


def list_done(request: Request) -> Decision:
    """0800 / 391 or 393: note which list this terminal works with."""
    try:
        letters, version = field_parts.parse_list_done(request.message.octets(62))
    except PartFault:
        return refuse("30", store=False)
    if (letters == LIST_BLACK) is not (request.message.function == BLACKLIST_DONE):
        return refuse("30", store=False)
    column = "blacklist" if letters == LIST_BLACK else "status_list"
    return Decision("00", store=False, also=(_noted(request, {column: version}),))


def _noted(request: Request, values: Mapping[str, object]) -> "_Noted":
    return _Noted(request.message.terminal, dict(values))


class _Noted:
    """Columns of a terminal's row to be set with the answer's commit."""

    def __init__(self, terminal: str, values: dict[str, object]) -> None:
        self._terminal, self._values = terminal, values

    def __call__(self, tx: Tx) -> None:
        tx.execute(
            update(TerminalRow).where(TerminalRow.number == self._terminal).values(**self._values)
        )


def parameters(tx: Tx, request: Request, profile: HostProfile) -> Decision:
    """0800 / 360: all parameters in one answer."""
    values = profile.parameters.items(request.terminal.merchant_name, blacklist_version(tx))
    return Decision("00", {62: field_parts.items(values)}, store=False)


def status(tx: Tx, request: Request) -> Decision:
    """0820 / 362: what waits at the terminal; the PSAM's counter shows records never seen here (7.10)."""
    try:
        values = field_parts.parse_status(request.message.octets(62))
    except PartFault:
        return refuse("30", store=False)
    waiting = int(values.get("70", "0"))
    counter = int(values["74"], 16) if "74" in values else None
    if "75" in values and not _note_clock(request, values["75"]):
        return refuse("30", store=False)
    noted = _noted(request, {"waiting_records": waiting, "psam_counter": counter})
    incidents: tuple[Incident, ...] = ()
    if counter is not None:
        missing = counter - waiting - _received(tx, request)
        if missing < 0:
            detail = f"PSAM counter {counter}, but {-missing} more records are here"
            incidents = (Incident("psam-counter", request.message.terminal, detail),)
    stale = request.terminal.blacklist < blacklist_version(tx)
    wanted = frames.LOAD_LIST if stale else frames.NOTHING
    return Decision("00", store=False, requirement=wanted, incidents=incidents, also=(noted,))


def _note_clock(request: Request, told: str) -> bool:
    """Log a terminal's clock that is more than two minutes off (I-19); False when it is no time."""
    at = instant_of(bytes.fromhex(told[:8]), bytes.fromhex(told[8:]))
    if at is None:
        return False
    off = (at - request.at).total_seconds()
    if abs(off) > CLOCK_SECONDS:
        _log.warning("terminal clock off", terminal=request.message.terminal, seconds=round(off))
    return True


def _received(tx: Tx, request: Request) -> int:
    """Records of this PSAM that are here; a number may be unused, so fewer is normal."""
    query = select(func.count()).where(
        PurchaseRow.psam == request.terminal.psam, PurchaseRow.state != "REPEATED"
    )
    return tx.scalar(query) or 0
