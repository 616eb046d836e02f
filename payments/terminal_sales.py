"""Off-line purchases at a terminal: pay, settle a torn card, upload (purse-card.md 13, iso8583-host.md 7.7).

No host is needed to pay: the PSAM makes MAC1, the card's TAC is the evidence. Each state is saved before the
step that cannot be undone; an upload keeps its trace number, so that sending it again changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from cardos.client import CardSession, ChipError
from cardos.requests import ReadBinary, SelectName
from cardos.residence_records import StatusRecord
from cardos.spec import AID_RESIDENCE, FID_PSAM_SERIAL, FID_STATUS, STATUS_LENGTH, SW
from core.errors import Rejected, Unavailable
from payments import responses
from payments.capp import CappRecord, prepare_update
from payments.messages import Message
from payments.purse import TERMINAL_COUNTER_LENGTH, Psam, open_purse, pay, recover
from payments.purse_data import UNKNOWN_TAC, PurchaseEvidence, instant_of
from payments.purse_records import PurchaseRecord, PurchaseStatus
from payments.terminal_host import HostSession
from payments.terminal_lists import CardLists
from payments.terminal_records import PurchaseEntry
from payments.terminal_verdict import OLDEST_LIST, Question, decide_debit

SUSPENDED = 4


@dataclass(frozen=True)
class SaleRules:
    """What parameters say of off-line sales (7.8): tags 83, 84, 87, 88; before any came, what the host's are by
    itself: a sale above its largest is not paid (11.3, A).
    """

    upload_records: int = 10
    upload_after: timedelta = timedelta(minutes=30)
    largest: int = 30_000
    oldest_list: timedelta = OLDEST_LIST


def read_chip_status(card: CardSession) -> StatusRecord | None:
    """EF.STATUS, free to read; None for a card without residence application.

    Raises Rejected TERM-CARD-STATUS when the application is blocked (a card reported lost).
    """
    try:
        card.send(SelectName(AID_RESIDENCE))
        return StatusRecord.parse(card.send(ReadBinary(STATUS_LENGTH, sfi=FID_STATUS)))
    except ChipError as refusal:
        if refusal.sw == SW.FILE_NOT_FOUND:
            return None
        if refusal.sw == SW.BLOCKED:
            raise Rejected(
                "TERM-CARD-STATUS", "the application is blocked", status=SUSPENDED
            ) from refusal
        raise


@dataclass
class SalesDesk:
    """The purchase procedures of one terminal; `psam` is its opened security module."""

    session: HostSession
    psam: Psam
    rules: SaleRules = field(default_factory=SaleRules)

    # -- paying -------------------------------------------------------------------------------------

    def pay(
        self,
        card: CardSession,
        amount: int,
        lists: CardLists,
        sale: str = "",
        capp: Sequence[CappRecord] = (),
    ) -> PurchaseEntry:
        """Debit `amount` fen from the card on the reader; with `capp` records a composite purchase.

        `sale` is the cashier's own id: the same one never charges twice. Returns the paid entry. With nothing
        debited it raises Rejected (TERM-SALE-USED: for another amount, TERM-LISTED, TERM-CARD-STATUS,
        TERM-LIST-OLD, TERM-AMOUNT, TERM-STORE-FULL, TERM-CAPP, PURSE-OTHER-CARD, ChipError 9401 not enough
        money); OutcomeUnknown PURSE-PENDING: present the same card again.
        """
        store = self.session.store
        known = store.sale(sale)
        if known is not None and known.spent:
            return _paid(known, amount)
        recovered = self.settle_card(card)
        for entry in recovered:
            if entry.spent and entry.sale == sale:
                return _paid(entry, amount)
        least = 0 if capp else 1  # a purchase of nothing is an incident at the host (11.3, A)
        if not least <= amount <= self.rules.largest:
            raise Rejected("TERM-AMOUNT", f"{amount} fen", largest=self.rules.largest)
        store.check_room()
        now = self.session.now()
        chip = read_chip_status(card)
        purse = open_purse(card)
        question = Question(purse.asn, chip, now, oldest=self.rules.oldest_list)
        decide_debit(lists, question, amount)
        updates = [prepare_update(card, record) for record in capp]
        number = store.next_number()
        pay(card, purse, self.psam, amount, now, self._journal(number, sale), updates)
        return store.purchases[number]

    def _journal(self, number: int, sale: str) -> "Journal":
        return Journal(self, number, sale)

    def settle_card(self, card: CardSession) -> list[PurchaseEntry]:
        """Settle this card's torn purchases (13.2); leaves the purse selected. Returns those now decided.

        Raises Rejected PURSE-OTHER-CARD when the card of the last torn purchase has to come first,
        OutcomeUnknown when it left again, EvidenceMismatch PURSE-FALSE-CARD.
        """
        store = self.session.store
        torn = store.torn()
        if not torn:
            return []
        asn = open_purse(card).asn
        other = next((e for e in torn if e.record.asn != asn and not e.aside), None)
        if other is not None:
            raise Rejected("PURSE-OTHER-CARD", "another card pends", asn=other.record.asn.hex())
        decided = []
        for entry in torn:
            if entry.record.asn == asn:
                journal = self._journal(entry.number, entry.sale)
                recover(card, self.psam, entry.record, journal)
                decided.append(journal.last or entry)
        return decided

    def set_aside(self) -> None:
        """The card of a torn purchase walked off: serve others; it is settled whenever it comes back."""
        for entry in self.session.store.torn():
            self.session.store.put_purchase(replace(entry, aside=True))

    def psam_counter(self) -> int:
        """The PSAM's transaction number, next to be used."""
        raw = self.psam.session.send(ReadBinary(TERMINAL_COUNTER_LENGTH, sfi=FID_PSAM_SERIAL))
        return int.from_bytes(raw, "big")

    # -- telling the host ---------------------------------------------------------------------------

    def upload_due(self) -> bool:
        """Whether a trigger of 7.7 has come: enough records, or the oldest waits too long."""
        waiting = self.session.store.waiting()
        if len(waiting) >= self.rules.upload_records:
            return True
        if not waiting:
            return False
        first = paid_at(waiting[0].record)
        return first is None or self.session.now() - first >= self.rules.upload_after

    def upload(self, at_most: int | None = None) -> int:
        """Send waiting purchases, oldest first; returns how many got a final answer.

        Raises Unavailable TERM-OFFLINE or TERM-SILENT; what was not answered stays.
        """
        store = self.session.store
        waiting = self._numbered(store.waiting()[:at_most])
        for entry in waiting:
            self._send(entry)
        return len(waiting)

    def _numbered(self, entries: list[PurchaseEntry]) -> list[PurchaseEntry]:
        """Each with batch and trace, saved together before the first is sent."""
        store, batch = self.session.store, self.session.batch
        if not batch:
            self.session.sign_on()
            batch = self.session.batch
        fresh = [e for e in entries if e.batch != batch]
        for entry in fresh:
            given = replace(entry, batch=batch, trace=store.next_trace())
            store.put_purchase(given, sync=entry is fresh[-1])
        return [store.purchases[entry.number] for entry in entries]

    def _send(self, entry: PurchaseEntry) -> None:
        reply = self.session.ask(
            lambda: self.message(self._current(entry.number)), self.session.waits.other
        )
        if reply.message is None or not responses.code(reply.code).final:
            raise Unavailable("TERM-SILENT", f"no final answer to an upload ({reply.code})")
        answered = replace(
            self._current(entry.number), code=reply.code, reference=reply.message.text(37)
        )
        # Not synced: should the power go, the same message goes again and gets the same answer.
        self.session.store.put_purchase(answered, sync=False)

    def tell_doubtful(self) -> int:
        """Before a batch ends: what has no TAC goes to the host as it is (purse-card.md 13.2 step 6); how many.

        The TAC is zeros, so it is kept there for people and never posted. The entry stays here: when the
        card comes back with the TAC, the purchase is uploaded like any other.
        """
        store = self.session.store
        untold = [e for e in store.purchases.values() if e.doubtful and not e.told]
        for entry in untold:
            numbered = replace(entry, batch=self.session.batch, trace=store.next_trace())
            store.put_purchase(numbered)
            reply = self.session.ask(partial(self.message, numbered), self.session.waits.other)
            if reply.message is None or not responses.code(reply.code).final:
                raise Unavailable("TERM-SILENT", "no final answer to a doubtful purchase")
            store.put_purchase(replace(numbered, told=True))
        return len(untold)

    def _current(self, number: int) -> PurchaseEntry:
        """The entry, renumbered when a sign-on brought a new batch."""
        return self._numbered([self.session.store.purchases[number]])[0]

    def message(self, entry: PurchaseEntry) -> Message:
        """0200 type 36 of an entry that has its batch and trace."""
        return self.session.station(entry.batch).purchase(f"{entry.trace:06d}", evidence(entry))

    def resend(self, entry: PurchaseEntry, fresh_trace: bool = False) -> str:
        """Send an upload once more, as a faulty terminal would; returns field 39.

        With `fresh_trace` the same purchase comes under another trace number (8.1 does not see it, 11.3 does).
        """
        again = entry
        if fresh_trace:
            again = replace(entry, trace=self.session.store.next_trace())
        reply = self.session.ask(lambda: self.message(again), self.session.waits.other)
        if reply.message is None:
            raise Unavailable("TERM-SILENT", "no good answer to an upload")
        return reply.code


@dataclass
class Journal:
    """Saves what the purse procedure tells of one purchase."""

    desk: SalesDesk
    number: int
    sale: str
    last: PurchaseEntry | None = None

    def __call__(self, record: PurchaseRecord) -> None:
        store = self.desk.session.store
        entry = store.purchases.get(self.number)
        if entry is None:
            entry = PurchaseEntry(self.number, record, self.sale)
        self.last = replace(entry, record=record)
        if self.last.spent and entry.told:  # its TAC is news: another message than the one without
            self.last = replace(self.last, told=False, batch=0, trace=0)
        # OPENED is written without sync: nothing irreversible was sent, and PENDING follows at once.
        store.put_purchase(self.last, sync=record.status is not PurchaseStatus.OPENED)


def _paid(entry: PurchaseEntry, amount: int) -> PurchaseEntry:
    """A sale that is asked for again. Rejected TERM-SALE-USED when it was for another amount."""
    paid = entry.record.amount
    if paid != amount:
        raise Rejected("TERM-SALE-USED", f"not {amount} fen", sale=entry.sale, amount=paid)
    return entry


def evidence(entry: PurchaseEntry) -> PurchaseEvidence:
    """Field 58 of a purchase; of a doubtful one with a TAC of zeros."""
    record = entry.record
    if entry.doubtful:
        record = replace(record, tac=UNKNOWN_TAC)
    return record.evidence()


def paid_at(record: PurchaseRecord) -> datetime | None:
    """When the terminal's clock said the purchase was."""
    return instant_of(record.date, record.time)
