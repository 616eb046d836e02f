"""Judging off-line purchases: what is posted, what is kept for people, and why (iso8583-host.md 11.3).

`judge` is a pure function of a record and of what is known; it can be run again with the same result (I-25).
`Judge` feeds it: TACs go to the HSM in batches of 64, no transaction is open meanwhile.

==== ================================================ ======================
flag finding                                          posted
==== ================================================ ======================
D    the same record again; by a partner's file too   no, linked to the first
C    same card counter, another record with good TAC  no, incident
P    same PSAM counter again; another terminal's PSAM no, incident
T    TAC wrong                                        no, incident
N    card unknown or issuer foreign                   no: to the centre's file
A    amount 0, above the largest, not as in field 4   no, incident
B    on the blacklist before the purchase             yes
L    batch closed, or older than 30 days              yes
Z    purchase time in the future or out of order      yes
G    a counter of the card is missing before it       yes
O    the card spent more than was ever loaded         yes, incident
==== ================================================ ======================
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Table, bindparam, func, select, tuple_, update

from core import events
from core.clock import SHANGHAI, Clock, business_date
from core.db import Database, Tx
from core.money import fee
from hsm_sim.client import Hsm
from payments import ledger
from payments.decisions import Incident
from payments.downloads import listed_since
from payments.ledger import Transfer
from payments.limits import Gate, HostProfile, Masters, register_gate
from payments.tables import (
    BatchRow,
    ClearingFileRow,
    MerchantRow,
    PurchaseRow,
    TransferRow,
)
from payments.tac_checks import check_tacs
from payments.writing import guarded, note_incidents

CHUNK = 512
RECEIVED, POSTED, KEPT, FOREIGN = "RECEIVED", "POSTED", "HELD", "FOREIGN"
OUT_OF_ORDER = timedelta(hours=24)
CLOCK_SLACK = timedelta(minutes=5)
BY_FILE = "file purchase"  # why the ledger moved what a partner's file brought
_MADE = "YYYYMMDDhhmmss"
_PARTS = (slice(0, 4), *(slice(at, at + 2) for at in range(4, len(_MADE), 2)))
_P = cast(Table, PurchaseRow.__table__)


@dataclass
class Facts:
    """What is known when records are judged, in order of arrival; `judge` adds each record it posts."""

    counters: dict[tuple[str, int], int] = field(default_factory=dict)
    psams: set[tuple[str, int]] = field(default_factory=set)
    highest: dict[str, int] = field(default_factory=dict)
    shadow: dict[str, int] = field(default_factory=dict)
    listed: dict[str, datetime] = field(default_factory=dict)
    strangers: frozenset[str] = frozenset()
    closed: dict[tuple[str, int], datetime] = field(default_factory=dict)
    booked: frozenset[str] = frozenset()
    last_made: dict[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What becomes of a record."""

    id: int
    state: str
    flags: str
    tac_good: bool
    incidents: tuple[Incident, ...] = ()


def judge(record: Any, tac_good: bool, facts: Facts, profile: HostProfile) -> Verdict:
    """One record by the table above; the first finding that keeps it from being posted decides."""
    kept = _not_posted(record, tac_good, facts, profile)
    if kept:
        state = FOREIGN if kept == "N" else KEPT
        flags = "".join(dict.fromkeys(record.flags + kept))
        seen = () if kept == "N" else (_incident(record, kept),)
        return Verdict(record.id, state, flags, tac_good, seen)
    flags = _remarks(record, facts, profile)
    facts.counters[(record.asn, record.counter)] = record.id
    facts.psams.add((record.psam, record.terminal_counter))
    facts.highest[record.asn] = max(record.counter, facts.highest.get(record.asn, -1))
    facts.shadow[record.asn] = facts.shadow.get(record.asn, 0) - record.amount
    incidents: tuple[Incident, ...] = ()
    if facts.shadow[record.asn] < 0:
        flags += "O"
        incidents = (_incident(record, "O"),)
    return Verdict(record.id, POSTED, flags, tac_good, incidents)


def _not_posted(record: Any, tac_good: bool, facts: Facts, profile: HostProfile) -> str:
    if record.asn in facts.strangers:
        return "N"
    if not tac_good:
        return "T"
    if record.flags:  # found at the upload: another amount in field 4, or another terminal's PSAM
        return str(record.flags)
    if not 0 < record.amount <= profile.parameters.purchase_fen:
        return "A"
    if transfer_name(record.purse_key) in facts.booked:
        return "D"
    if (record.asn, record.counter) in facts.counters:
        return "C"
    # Of one card too: the TAC covers the PSAM's counter but not the card's, so a record whose card counter
    # somebody changed still has a good TAC. A PSAM uses no number twice (purse-card.md 9.3, 13.4).
    if (record.psam, record.terminal_counter) in facts.psams:
        return "P"
    return ""


def _remarks(record: Any, facts: Facts, profile: HostProfile) -> str:
    made = made_at(record.made)
    flags = ""
    listed = facts.listed.get(record.asn)
    if listed is not None and (made is None or made >= listed):
        flags += "B"
    closed = facts.closed.get((record.terminal, record.batch))
    old = made is not None and record.at - made > profile.late
    if old or (closed is not None and record.at > closed):
        flags += "L"
    last = facts.last_made.get(record.terminal)
    ahead = made is None or made > record.at + CLOCK_SLACK
    if ahead or (made is not None and last is not None and last - made > OUT_OF_ORDER):
        flags += "Z"
    elif made is not None:  # a clock that was wrong says nothing of the records behind it
        facts.last_made[record.terminal] = made
    before = facts.highest.get(record.asn)
    if before is not None and record.counter > before + 1:
        flags += "G"
    return flags


_WORDS = {
    "D": "a partner's file brought it before",
    "T": "TAC wrong",
    "C": "the card used this counter for another purchase",
    "P": "the PSAM used this counter for another purchase, or is another terminal's",
    "A": "amount not possible",
    "O": "more was spent than loaded",
}


def _incident(record: Any, flag: str) -> Incident:
    detail = f"{_WORDS[flag[0]]}: {record.amount} fen, counter {record.counter}"
    return Incident(f"purchase-{flag[0].lower()}", record.asn, detail, record.raw)


def made_at(text: str) -> datetime | None:
    """The purchase time inside the TAC, YYYYMMDDhhmmss in Asia/Shanghai; None when it is no time."""
    if len(text) != len(_MADE) or not (text.isascii() and text.isdecimal()):
        return None
    year, month, day, hour, minute, second = (int(text[part]) for part in _PARTS)
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=SHANGHAI)
    except ValueError:
        return None


@dataclass(frozen=True)
class Judge:
    """Judges what waits. Owns the HSM; runs beside the host, and to the end in clearing."""

    db: Database
    clock: Clock
    hsm: Hsm
    masters: Masters
    profile: HostProfile
    gate: Gate = register_gate

    def run(self, limit: int | None = None) -> int:
        """Judge everything received, up to and with record `limit`; how many that were."""
        count = 0
        while True:
            done = self._chunk(limit)
            count += done
            if done < CHUNK:
                return count

    def _chunk(self, limit: int | None) -> int:
        with self.db.read() as tx:
            query = select(_P).where(_P.c.state == RECEIVED).order_by(_P.c.id).limit(CHUNK)
            if limit is not None:
                query = query.where(_P.c.id <= limit)
            records = tx.execute(query).all()
            if not records:
                return 0
            facts = self._facts(tx, records)
        ours = [record for record in records if record.asn not in facts.strangers]
        good = check_tacs(self.hsm, self.masters, ours)
        verdicts = [judge(r, good.get(r.id, False), facts, self.profile) for r in records]
        with self.db.write() as tx:
            self._write(tx, records, verdicts)
        return len(records)

    def _facts(self, tx: Tx, records: Sequence[Any]) -> Facts:
        asns = sorted({record.asn for record in records})
        facts = Facts()
        pairs = sorted({(r.asn, r.counter) for r in records})
        for row in tx.execute(
            select(_P.c.asn, _P.c.counter, _P.c.id).where(
                tuple_(_P.c.asn, _P.c.counter).in_(pairs), _P.c.state == POSTED
            )
        ):
            facts.counters[(row[0], row[1])] = row[2]
        numbers = sorted({(r.psam, r.terminal_counter) for r in records})
        used = select(_P.c.psam, _P.c.terminal_counter).where(
            tuple_(_P.c.psam, _P.c.terminal_counter).in_(numbers), _P.c.state == POSTED
        )
        facts.psams = {(psam, number) for psam, number in tx.execute(used)}
        highest = select(_P.c.asn, func.max(_P.c.counter)).where(
            _P.c.asn.in_(asns), _P.c.state == POSTED
        )
        facts.highest = {row[0]: row[1] for row in tx.execute(highest.group_by(_P.c.asn))}
        facts.shadow = _shadow(tx, asns)
        facts.listed = {asn: row.at for asn, row in listed_since(tx, asns).items()}
        facts.strangers = self._strangers(tx, records)
        facts.closed = _closed_batches(tx, records)
        facts.last_made = _last_made(tx, records)
        if self._partners_sent_files(tx):
            cards, psams = booked_by_file(tx, asns)
            facts.counters |= dict.fromkeys(cards - facts.counters.keys(), 0)
            facts.psams |= psams
        names = [transfer_name(record.purse_key) for record in records]
        facts.booked = frozenset(
            tx.scalars(select(TransferRow.id).where(TransferRow.id.in_(names)))
        )
        return facts

    def _partners_sent_files(self, tx: Tx) -> bool:
        theirs = select(ClearingFileRow.sender).where(
            ClearingFileRow.kind == "T", ClearingFileRow.sender != self.profile.acquirer
        )
        return tx.scalar(theirs.limit(1)) is not None

    def _strangers(self, tx: Tx, records: Sequence[Any]) -> frozenset[str]:
        """Cards of another issuer, or that our registers never saw."""
        foreign = {r.asn for r in records if bytes.fromhex(r.issuer) not in self.profile.issuers}
        asked = sorted({record.asn for record in records} - foreign)
        gates = self.gate(tx, asked)
        return frozenset(foreign | {a for a in asked if a not in gates or not gates[a].found})

    def _write(self, tx: Tx, records: Sequence[Any], verdicts: Sequence[Verdict]) -> None:
        at = self.clock.now()
        day = business_date(at)
        merchants = {record.merchant for record in records}
        points = {
            row[0]: row[1]
            for row in tx.execute(
                select(MerchantRow.number, MerchantRow.fee_points).where(
                    MerchantRow.number.in_(sorted(merchants))
                )
            )
        }
        rows, transfers = [], []
        for record, verdict in zip(records, verdicts, strict=True):
            posted = verdict.state == POSTED
            share = fee(record.amount, points[record.merchant]) if posted else 0
            rows.append(
                {"b_id": record.id, "b_state": verdict.state, "b_flags": verdict.flags,
                 "b_good": verdict.tac_good, "b_fee": share}
            )  # fmt: skip
            if posted:
                transfers.append(payment(record))
        guarded(tx, _JUDGED, rows)
        ledger.post(tx, transfers, day, at)
        note_incidents(tx, self.clock, [i for v in verdicts for i in v.incidents], day, at)
        self._tell(tx, records)

    def _tell(self, tx: Tx, records: Sequence[Any]) -> None:
        sums: dict[str, list[int]] = {}
        for record in records:
            sums.setdefault(record.terminal, []).append(record.amount)
        for terminal, amounts in sorted(sums.items()):
            events.append(
                tx, self.clock, "purse.purchases_received", terminal,
                count=len(amounts), amount=sum(amounts),
            )  # fmt: skip


def transfer_name(purse_key: str) -> str:
    """What the ledger calls a purchase, whichever way it came."""
    return f"pay:{purse_key}"


def payment(record: Any) -> Transfer:
    """The ledger's transfer of a posted purchase, named by its purse key."""
    return Transfer(
        transfer_name(record.purse_key), ledger.purse(record.asn), ledger.merchant(record.merchant),
        record.amount, "purchase",
    )  # fmt: skip


_JUDGED = (
    update(_P)
    .where(_P.c.id == bindparam("b_id"), _P.c.state == RECEIVED)
    .values(
        state=bindparam("b_state"),
        flags=bindparam("b_flags"),
        tac_good=bindparam("b_good"),
        fee=bindparam("b_fee"),
    )
)


def _shadow(tx: Tx, asns: Iterable[str]) -> dict[str, int]:
    """What each card can have left: posted, and promised on top (a load that is not confirmed yet)."""
    found: dict[str, int] = {}
    for asn in asns:
        held = ledger.balance(tx, ledger.purse(asn))
        found[asn] = held.posted + held.pending
    return found


def booked_by_file(
    tx: Tx, asns: Iterable[str]
) -> tuple[set[tuple[str, int]], set[tuple[str, int]]]:
    """Card and PSAM counters of what partners' files booked of these cards, out of the transfers' names."""
    cards: set[tuple[str, int]] = set()
    psams: set[tuple[str, int]] = set()
    purses = [ledger.purse(asn) for asn in asns]
    mine = TransferRow.debit.in_(purses), TransferRow.reason == BY_FILE
    for name in tx.scalars(select(TransferRow.id).where(*mine)):
        key = name.removeprefix(transfer_name(""))
        cards.add((key[:20], int(key[20:24], 16)))
        psams.add((key[26:38], int(key[38:46], 16)))
    return cards, psams


def _last_made(tx: Tx, records: Sequence[Any]) -> dict[str, datetime]:
    """When each terminal made the last record that was posted before these, in the same batch or the one before.

    So it makes no difference where one run ends and the next begins (I-25).
    """
    batches = {(r.terminal, r.batch - back) for r in records for back in (0, 1)}
    newest = (
        select(func.max(_P.c.id))
        .where(
            tuple_(_P.c.terminal, _P.c.batch).in_(sorted(batches)),
            _P.c.id < records[0].id,
            _P.c.state == POSTED,
            ~_P.c.flags.contains("Z"),
        )
        .group_by(_P.c.terminal)
    )
    rows = tx.execute(select(_P.c.terminal, _P.c.made).where(_P.c.id.in_(newest)))
    times = ((terminal, made_at(made)) for terminal, made in rows)
    return {terminal: made for terminal, made in times if made is not None}


def _closed_batches(tx: Tx, records: Sequence[Any]) -> dict[tuple[str, int], datetime]:
    keys = sorted({(r.terminal, r.batch) for r in records})
    rows = tx.execute(
        select(BatchRow.terminal, BatchRow.number, BatchRow.closed_at).where(
            tuple_(BatchRow.terminal, BatchRow.number).in_(keys), BatchRow.closed_at.is_not(None)
        )
    )
    return {(row[0], row[1]): row[2] for row in rows if row[2] is not None}
