"""Clearing files out and in: a closed day as T file, a partner's T file checked and booked, bad records as E file.

A purchase of our cards at a partner's terminals moves the holder's money to ``acquirer:<sender>``, under the same
name as an upload would have had, so a record that came by both ways is a duplicate. A load or unload moves nothing
here: without our MAC2 there is none, so the file can only agree with what was booked when it was confirmed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeVar

from sqlalchemy import select, tuple_

from core import events
from core.clock import SHANGHAI, Clock, business_date
from core.db import Database, Tx
from core.errors import Rejected
from hsm_sim.client import Hsm
from payments import ledger
from payments.clearing_file import (
    ACCEPTED,
    ADJUSTMENTS,
    LENGTH,
    PURCHASES,
    RETURNED,
    TRANSACTIONS,
    ClearingFile,
    FileName,
    Header,
    Record,
    read_file,
    returned_file,
    write_file,
)
from payments.completed_loads import completed_loads
from payments.decisions import CONFIRMED
from payments.judging import (
    BY_FILE,
    FOREIGN,
    POSTED,
    booked_by_file,
    made_at,
    transfer_name,
)
from payments.ledger import Transfer
from payments.limits import Gate, HostProfile, Masters, register_gate
from payments.requests import PROCESSING, PURCHASE
from payments.returned_files import note_returned
from payments.tables import ClearingFileRow, LoadRow, PurchaseRow, TransferRow
from payments.tac_checks import Provable, check_tacs

T = TypeVar("T")
ROWS_A_STATEMENT = 5_000
TAC_AT, BALANCE_AT = slice(46, 50), slice(50, 54)  # in a proof, its flag included (section 5)
BAD_TAC, DUPLICATE, BAD_AMOUNT, BAD_CARD = "01", "02", "03", "04"
BAD_TERMINAL, LATE, BAD_COUNTER = "05", "06", "08"
LETTERS = {
    "D": DUPLICATE,
    "C": BAD_COUNTER,
    "P": BAD_TERMINAL,
    "T": BAD_TAC,
    "A": BAD_AMOUNT,
    "N": BAD_CARD,
}


def export_day(
    tx: Tx, clock: Clock, profile: HostProfile, day: date, number: int = 1
) -> tuple[str, bytes]:
    """Name and bytes of a closed day's T file: its completed loads and unloads, its purchases."""
    name = FileName(profile.acquirer, day, TRANSACTIONS, number)
    header = Header(
        TRANSACTIONS, profile.acquirer, profile.receiver, f"{day:%Y%m%d}", number,
        _stamp(clock.now()),
    )  # fmt: skip
    purchases = tx.scalars(
        select(PurchaseRow)
        .where(PurchaseRow.cleared == day, PurchaseRow.state != "REPEATED")
        .order_by(PurchaseRow.id)
    )
    records = [_load_record(profile, row, day) for row in completed_loads(tx, day)]
    records += [_purchase_record(profile, row, day) for row in purchases]
    return str(name), write_file(header, records)


def _stamp(at: datetime) -> str:
    return at.astimezone(SHANGHAI).strftime("%Y%m%d%H%M%S")


def _proof(row: LoadRow) -> bytes | None:
    """The card's SV or UV whose code was right; a wrong one, or an SX, says nothing to a partner."""
    return row.evidence if row.proven else None


def _load_record(profile: HostProfile, row: LoadRow, day: date) -> Record:
    """The TAC and the balance after it stand in the card's proof; "by counter" has neither."""
    tac, balance = "0" * 8, row.balance
    proof = _proof(row)
    if proof is not None:
        tac, balance = proof[TAC_AT].hex().upper(), int.from_bytes(proof[BALANCE_AT], "big")
    return Record(
        0, f"{day:%Y%m%d}", row.kind, PROCESSING[row.kind], profile.acquirer, row.merchant,
        row.terminal, f"{row.batch:06d}", row.trace, _stamp(row.at), row.reference,
        row.issuer.upper(), row.asn.upper(), f"{row.counter:04X}", f"{row.type:02X}", row.amount,
        balance, row.psam.upper(), "0" * 8, row.issued, tac,
        f"{row.key_index:02X}{row.key_version:02X}", f"{row.algorithm:02X}", 0, "0" * 12, ACCEPTED,
        "", row.random.upper(),
    )  # fmt: skip


def _purchase_record(profile: HostProfile, row: PurchaseRow, day: date) -> Record:
    raw = row.raw
    result = ACCEPTED if row.state == POSTED else LETTERS.get(row.flags[:1], BAD_CARD)
    if row.state == FOREIGN and bytes.fromhex(row.issuer) not in profile.issuers:
        result = ACCEPTED  # for its own centre to judge: we have no key that would prove its TAC
    return Record(
        0, f"{day:%Y%m%d}", PURCHASE, PROCESSING[PURCHASE], profile.acquirer, row.merchant,
        row.terminal, f"{row.batch:06d}", row.trace, _stamp(row.at), row.reference,
        row.issuer.upper(), row.asn.upper(), f"{row.counter:04X}", f"{row.type:02X}", row.amount,
        row.balance, row.psam.upper(), f"{row.terminal_counter:08X}", row.made, row.tac.upper(),
        raw[24:26].hex().upper(), raw[-1:].hex().upper(), -row.fee, "0" * 12, result,
        row.flags[:4], raw[20:24].hex().upper(),
    )  # fmt: skip


@dataclass(frozen=True)
class Taken:
    """What became of a partner's file. `returned`: the E file for its bad records, if there are any."""

    name: str
    records: int
    bad: int
    posted: int
    returned: bytes | None
    again: bool

    @property
    def returned_name(self) -> str:
        """The E file's name: from us, for the same day and number."""
        assert self.returned is not None
        header = Header.parse(self.returned[:LENGTH].decode("ascii"))
        day = datetime.strptime(header.day, "%Y%m%d").date()  # noqa: DTZ007
        return str(FileName(header.sender, day, header.kind, header.number))


@dataclass(frozen=True)
class _Tac:
    """A record as `payments.tac_checks` wants it."""

    id: int
    asn: str
    amount: int
    type: int
    psam: str
    terminal_counter: int
    made: str
    tac: str
    key_version: int


@dataclass(frozen=True)
class FileDesk:
    """Takes partners' files in. Owns the HSM; `bulk`: it has its bulk listener."""

    db: Database
    clock: Clock
    hsm: Hsm
    masters: Masters
    profile: HostProfile
    gate: Gate = register_gate
    bulk: bool = False

    def take(self, name: str, raw: bytes) -> Taken:
        """Check and book a T file, or note what an E file says of our records.

        Raises FileFault (nothing was taken), Rejected FILE-KIND, FILE-RECEIVER, the HSM's errors.
        """
        file = read_file(name, raw)
        if file.header.kind == ADJUSTMENTS:
            raise Rejected("FILE-KIND", "adjustments are decided by people", file=name)
        if file.header.receiver != self.profile.acquirer:
            receiver = file.header.receiver
            raise Rejected("FILE-RECEIVER", "another's file", file=name, receiver=receiver)
        key = (
            file.header.sender, file.header.day, file.header.kind, file.header.number, file.digest,
        )  # fmt: skip
        with self.db.read() as tx:
            row = tx.get(ClearingFileRow, key)
            if row is not None:
                return Taken(name, row.records, row.bad, 0, row.content, True)
            known = self._known_cards(tx, file.records)
        if file.header.kind == RETURNED:
            return self._take_returned(name, file)
        # Of a card that is not ours no key can be derived, and nothing is proven: such a record is 04 anyway.
        purchases = [provable(r) for r in file.records if _has_tac(r) and self._ours(r, known)]
        good = check_tacs(self.hsm, self.masters, purchases, self.bulk)
        with self.db.write() as tx:
            results = self._results(tx, file, known, good)
            posted = self._book(tx, file, results)
            returned = returned_file(file, results, _stamp(self.clock.now()))
            bad = sum(result != ACCEPTED for result in results) + len(file.broken)
            self._note(tx, name, file, bad, returned)
        return Taken(name, len(results) + len(file.broken), bad, posted, returned, False)

    def _take_returned(self, name: str, file: ClearingFile) -> Taken:
        with self.db.write() as tx:
            bad = note_returned(tx, self.clock, file)
            self._note(tx, name, file, bad, None)
        return Taken(name, len(file.records) + len(file.broken), bad, 0, None, False)

    def _note(self, tx: Tx, name: str, file: ClearingFile, bad: int, content: bytes | None) -> None:
        """Once and for all: the same file changes nothing more."""
        header = file.header
        tx.add(
            ClearingFileRow(
                sender=header.sender, day=header.day, kind=header.kind, number=header.number,
                digest=file.digest, records=len(file.records) + len(file.broken), bad=bad,
                content=content, at=self.clock.now(),
            )
        )  # fmt: skip
        tx.flush()
        events.append(
            tx, self.clock, "purse.file_taken", name, records=len(file.records), bad=bad,
            digest=file.digest,
        )  # fmt: skip

    def _known_cards(self, tx: Tx, records: Sequence[Record]) -> Mapping[str, bool]:
        asns = sorted({record.asn.lower() for record in records})
        known: dict[str, bool] = {}
        for part in _blocks(asns):
            gates = self.gate(tx, part)
            known |= {asn: asn in gates and gates[asn].found for asn in part}
        return known

    def _results(
        self, tx: Tx, file: ClearingFile, known: Mapping[str, bool], good: Mapping[int, bool]
    ) -> list[str]:
        loads = _confirmed_loads(tx, file.records)
        booked = _booked(tx, file.records)
        results: list[str] = []
        for record in file.records:
            result = self._result(record, known, good)
            if result == ACCEPTED and record.kind not in PURCHASES:
                result = _load_result(record, loads.get((record.asn, int(record.counter, 16))))
            if result == ACCEPTED:
                result = booked.take(record)
            results.append(result)
        return results

    def _ours(self, record: Record, known: Mapping[str, bool]) -> bool:
        return bytes.fromhex(record.issuer) in self.profile.issuers and known[record.asn.lower()]

    def _result(self, record: Record, known: Mapping[str, bool], good: Mapping[int, bool]) -> str:
        if not self._ours(record, known):
            return BAD_CARD
        if (
            not 0 < record.amount <= self.profile.parameters.purchase_fen
            and record.kind in PURCHASES
        ):
            return BAD_AMOUNT
        made = made_at(record.made)
        if made is None or self.clock.now() - made > self.profile.late:
            return LATE
        if not good.get(record.number, True):
            return BAD_TAC
        return record.result  # what the sender itself did not accept is not booked here either

    def _book(self, tx: Tx, file: ClearingFile, results: Sequence[str]) -> int:
        partner = f"acquirer:{file.header.sender}"
        transfers = [
            Transfer(_name(r), ledger.purse(r.asn.lower()), partner, r.amount, BY_FILE)
            for r, result in zip(file.records, results, strict=True)
            if result == ACCEPTED and r.kind in PURCHASES
        ]
        at = self.clock.now()
        day = business_date(at)  # the file's own day may be closed here (11.3, L)
        return sum(ledger.post(tx, part, day, at) for part in _blocks(transfers))


def _blocks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Parts that fit one statement: a file may hold more records than a statement has places for values."""
    for at in range(0, len(items), ROWS_A_STATEMENT):
        yield items[at : at + ROWS_A_STATEMENT]


@dataclass(frozen=True)
class _Booked:
    """What is booked already: names of transfers, card counters and PSAM counters that were used (11.3).

    A TAC covers the PSAM's counter and not the card's, so a copy with another card counter has a good TAC.
    """

    names: set[str]
    cards: set[tuple[str, int]]
    psams: set[tuple[str, int]]

    def take(self, record: Record) -> str:
        """The record's result; an accepted one is booked from now on."""
        name, card, psam = _name(record), *_counters(record)
        if name in self.names:
            return DUPLICATE
        if record.kind in PURCHASES:
            if card in self.cards:
                return BAD_COUNTER
            if psam in self.psams:
                return BAD_TERMINAL
            self.cards.add(card)
            self.psams.add(psam)
        self.names.add(name)
        return ACCEPTED


def _counters(record: Record) -> tuple[tuple[str, int], tuple[str, int]]:
    """The card's and the PSAM's use of a counter."""
    return (
        (record.asn.lower(), int(record.counter, 16)),
        (record.psam.lower(), int(record.terminal_counter, 16)),
    )


def _booked(tx: Tx, records: Sequence[Record]) -> _Booked:
    found = _Booked(set(), set(), set())
    for part in _blocks(records):
        names = [_name(record) for record in part]
        found.names.update(tx.scalars(select(TransferRow.id).where(TransferRow.id.in_(names))))
        counters = [_counters(record) for record in part if record.kind in PURCHASES]
        card = tuple_(PurchaseRow.asn, PurchaseRow.counter)
        psam = tuple_(PurchaseRow.psam, PurchaseRow.terminal_counter)
        for column, used, wanted in (
            (card, found.cards, [one for one, _ in counters]),
            (psam, found.psams, [one for _, one in counters]),
        ):
            rows = tx.execute(
                select(*column.clauses).where(column.in_(wanted), PurchaseRow.state == POSTED)
            )
            used.update((row[0], row[1]) for row in rows)
        cards, psams = booked_by_file(tx, sorted({asn for (asn, _), _ in counters}))
        found.cards.update(cards)
        found.psams.update(psams)
    return found


def _confirmed_loads(tx: Tx, records: Sequence[Record]) -> Mapping[tuple[str, int], LoadRow]:
    """Our confirmed loads and unloads of the cards that the file says loaded, by card and online counter."""
    asns = sorted({record.asn.lower() for record in records if record.kind not in PURCHASES})
    return {
        (row.asn.upper(), row.counter): row
        for part in _blocks(asns)
        for row in tx.scalars(
            select(LoadRow).where(LoadRow.asn.in_(part), LoadRow.state == CONFIRMED)
        )
    }


def _load_result(record: Record, row: LoadRow | None) -> str:
    """Whether a load or unload is the one we confirmed; one confirmed by a later counter has no TAC to compare."""
    if row is None:
        return BAD_COUNTER
    if (record.kind, record.amount) != (row.kind, row.amount):
        return BAD_AMOUNT
    if record.psam.lower() != row.psam:
        return BAD_TERMINAL
    proof = _proof(row)
    proven = proof is None or record.tac == proof[TAC_AT].hex().upper()
    covered = (int(record.type, 16), record.made) == (row.type, row.issued)
    return ACCEPTED if proven and covered else BAD_TAC


def _has_tac(record: Record) -> bool:
    return record.kind in PURCHASES


def provable(record: Record) -> Provable:
    """A record as its TAC is checked."""
    return _Tac(
        record.number, record.asn, record.amount, int(record.type, 16), record.psam,
        int(record.terminal_counter, 16), record.made, record.tac, int(record.key[2:], 16),
    )  # fmt: skip


def _name(record: Record) -> str:
    """A purchase's transfer is called so, whichever way it came."""
    return transfer_name(record.purse_key)
