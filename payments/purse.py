"""Purse procedures of a terminal: pay with a PSAM, settle a torn purchase (purse-card.md 13).

Pure of storage: every step that cannot be taken back is told to a `journal` callback first, which must
have the record on disk when it returns. Loads stand in `payments.purse_load`, the records
in `payments.purse_records`. No key is known here: the
PSAM makes and checks the MACs.

A debit whose answer was lost is *unknown*, never "failed": `OutcomeUnknown` is raised, the record stays
PENDING, and only `recover` with the same card decides (13.2). Until then no goods and no second try.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cardos.client import CardSession, ChipError
from cardos.psam_requests import CreditSamForPurchase, InitSamForPurchase
from cardos.purse_requests import (
    DebitForPurchase,
    GetTransactionProof,
    InitializeForCapp,
    InitializeForPurchase,
    PurchaseInit,
    UpdateCappCache,
)
from cardos.records import (
    ApplicationFile,
    PsamApplication,
    PsamInfo,
    PurseLogRecord,
    card_factor,
)
from cardos.requests import ReadBinary, ReadRecord, SelectFile, SelectName
from cardos.spec import (
    AID_PURSE,
    APPLICATION_LENGTH,
    FID_APPLICATION,
    FID_LOG,
    FID_MF,
    FID_PSAM_APPLICATION,
    FID_PSAM_INFO,
    FID_PSAM_SERIAL,
    FID_PSAM_TERMINAL,
    LOG_RECORDS,
    MAX_SERIAL,
    PSAM_APPLICATION_LENGTH,
    PSAM_INFO_LENGTH,
    SW,
    Transaction,
)
from core.clock import purse_date_time
from core.errors import CityError, DeviceFault, EvidenceMismatch, Rejected
from payments.purse_records import OutcomeUnknown, PurchaseRecord, PurchaseStatus

TERMINAL_LENGTH = 6
TERMINAL_COUNTER_LENGTH = 4


@dataclass(frozen=True)
class PurseCard:
    """A purse application as SELECT shows it: file 0015 and the name it was selected by."""

    aid: bytes
    file: ApplicationFile

    @property
    def asn(self) -> bytes:
        """Application serial number, 10 bytes."""
        return self.file.asn


def open_purse(card: CardSession, aid: bytes = AID_PURSE) -> PurseCard:
    """SELECT the purse and read its public data. ChipError 6A82 no purse, 6A81 blocked."""
    content = card.send(SelectName(aid)).application_file
    if len(content) < APPLICATION_LENGTH:
        content = card.send(ReadBinary(APPLICATION_LENGTH, sfi=FID_APPLICATION))
    return PurseCard(aid, ApplicationFile.parse(content))


@dataclass(frozen=True)
class Psam:
    """The terminal's security module, opened at its start (purse-card.md 9.1)."""

    session: CardSession
    serial: bytes
    terminal: bytes
    application: PsamApplication


def open_psam(session: CardSession, aid: bytes = AID_PURSE) -> Psam:
    """Read a PSAM's number, terminal number and purchase key index, and select its application."""
    session.send(SelectFile(FID_MF))
    info = session.send(ReadBinary(PSAM_INFO_LENGTH, sfi=FID_PSAM_INFO))
    terminal = session.send(ReadBinary(TERMINAL_LENGTH, sfi=FID_PSAM_TERMINAL))
    session.send(SelectName(aid))
    application = session.send(ReadBinary(PSAM_APPLICATION_LENGTH, sfi=FID_PSAM_APPLICATION))
    return Psam(session, PsamInfo.parse(info).serial, terminal, PsamApplication.parse(application))


Journal = Callable[[PurchaseRecord], None]


def check_dates(purse: PurseCard, psam: Psam, now: datetime) -> None:
    """Rejected PURSE-EXPIRED or PURSE-PSAM-EXPIRED outside the validity of card or PSAM."""
    today, _ = purse_date_time(now)
    if not purse.file.start <= today <= purse.file.end:
        raise Rejected("PURSE-EXPIRED", "the card is not valid today", until=purse.file.end.hex())
    if not psam.application.start <= today <= psam.application.end:
        until = psam.application.end.hex()
        raise Rejected("PURSE-PSAM-EXPIRED", "the PSAM is not valid today", until=until)


def pay(
    card: CardSession,
    purse: PurseCard,
    psam: Psam,
    amount: int,
    now: datetime,
    journal: Journal,
    updates: Sequence[UpdateCappCache] = (),
) -> PurchaseRecord:
    """Debit `amount` fen from the EP that `open_purse` just selected (purse-card.md 13.1).

    With `updates` it is a composite purchase (type 09). Returns a DONE record, or RECOVERED when the
    card's refusal turned out to be untrue. Raises ChipError (9401 not enough money ...) with nothing
    debited, OutcomeUnknown PURSE-PENDING, EvidenceMismatch PURSE-FALSE-CARD.
    """
    check_dates(purse, psam, now)
    date, time = purse_date_time(now)
    kind = Transaction.COMPOSITE if updates else Transaction.PURCHASE_EP
    init = _initialize(card, kind, psam.application.key_index, amount, psam.terminal)
    record = PurchaseRecord(
        status=PurchaseStatus.OPENED,
        issuer=purse.file.issuer,
        asn=purse.asn,
        random=init.random,
        key_index=psam.application.key_index,
        key_version=init.key_version,
        algorithm=init.algorithm,
        counter=init.counter,
        amount=amount,
        type=kind,
        psam=psam.terminal,
        psam_serial=psam.serial,
        date=date,
        time=time,
        balance_before=init.balance,
    )
    journal(record)
    try:
        for update in updates:
            card.send(update)
        record = _arm(psam, record)
    except CityError:
        journal(
            replace(record, status=PurchaseStatus.VOID)
        )  # no MAC1 ever left the PSAM for the card
        raise
    journal(record)
    return _debit(card, psam, purse, record, journal)


def _initialize(
    card: CardSession, kind: int, key_id: int, amount: int, terminal: bytes
) -> PurchaseInit:
    if kind == Transaction.COMPOSITE:
        return card.send(InitializeForCapp(key_id, amount, terminal))
    return card.send(InitializeForPurchase(key_id, amount, terminal))


def _arm(psam: Psam, record: PurchaseRecord) -> PurchaseRecord:
    """INIT SAM FOR PURCHASE: the record with the PSAM's counter and MAC1."""
    made = psam.session.send(
        InitSamForPurchase(
            record.random,
            record.counter,
            record.amount,
            record.type,
            record.date,
            record.time,
            record.key_version,
            record.algorithm,
            (card_factor(record.asn),),
        )
    )
    return replace(
        record,
        status=PurchaseStatus.PENDING,
        terminal_counter=made.terminal_counter,
        mac1=made.mac1,
    )


def _debit(
    card: CardSession, psam: Psam, purse: PurseCard, record: PurchaseRecord, journal: Journal
) -> PurchaseRecord:
    order = DebitForPurchase(record.terminal_counter, record.date, record.time, record.mac1)
    try:
        answer = card.send(order)
    except ChipError as refusal:
        # A status word may have been changed on its way (purse-card.md 8.11): the counter decides.
        settled = recover(card, psam, record, journal, purse.aid)
        if settled.status is PurchaseStatus.VOID:
            raise refusal
        return settled
    except CityError as lost:
        raise _unknown(record) from lost
    done = replace(record, status=PurchaseStatus.DONE, tac=answer.tac, mac2=answer.mac2)
    return _confirmed(psam, done, journal)


def _unknown(record: PurchaseRecord) -> OutcomeUnknown:
    return OutcomeUnknown(
        "PURSE-PENDING",
        f"no answer to the debit with counter {record.counter}",
        asn=record.asn.hex(),
        amount=record.amount,
    )


def _confirmed(psam: Psam | None, record: PurchaseRecord, journal: Journal) -> PurchaseRecord:
    """Let the PSAM check MAC2 while its session lives, and journal the outcome."""
    if psam is not None and _session_lives(psam, record):
        try:
            psam.session.send(CreditSamForPurchase(record.mac2))
            record = replace(record, mac2_checked=True)
        except ChipError as refusal:
            if refusal.sw == SW.PURSE_MAC_WRONG:
                journal(replace(record, status=PurchaseStatus.SUSPECT))
                raise EvidenceMismatch(
                    "PURSE-FALSE-CARD", "MAC2 is wrong: give no goods", asn=record.asn.hex()
                ) from refusal
        except (
            DeviceFault
        ):  # the PSAM is gone, the debit is not: the TAC goes to the host unchecked
            record = replace(record, mac2_checked=False)
    journal(record)
    return record


def _session_lives(psam: Psam, record: PurchaseRecord) -> bool:
    """Whether the PSAM's last `8070` was this record's: a wrong one would cost a try of its lock counter."""
    try:
        raw = psam.session.send(ReadBinary(TERMINAL_COUNTER_LENGTH, sfi=FID_PSAM_SERIAL))
    except (ChipError, DeviceFault):
        return False
    return (
        psam.serial == record.psam_serial
        and int.from_bytes(raw, "big") == record.terminal_counter + 1
    )


def recover(
    card: CardSession,
    psam: Psam | None,
    record: PurchaseRecord,
    journal: Journal,
    aid: bytes = AID_PURSE,
) -> PurchaseRecord:
    """Settle a purchase whose answer was lost, with the same card (purse-card.md 13.2).

    `psam` None: the terminal lost power since, so only the TAC is left as evidence. Returns VOID (not
    executed, final), RECOVERED (goods may be given) or UNCERTAIN (clearing decides); a settled record comes
    back as it is. Raises Rejected PURSE-OTHER-CARD, OutcomeUnknown when the card left again,
    EvidenceMismatch PURSE-FALSE-CARD.
    """
    if record.status is PurchaseStatus.OPENED:
        return _settle(record, PurchaseStatus.VOID, journal)
    if record.status is not PurchaseStatus.PENDING:
        return record
    try:
        if open_purse(card, aid).asn != record.asn:
            raise Rejected("PURSE-OTHER-CARD", "another card pends", asn=record.asn.hex())
        return _decide(card, psam, record, journal)
    except DeviceFault as lost:
        raise _unknown(record) from lost


def _settle(
    record: PurchaseRecord, status: PurchaseStatus, journal: Journal, log_seen: bool | None = None
) -> PurchaseRecord:
    settled = replace(record, status=status, log_seen=log_seen)
    journal(settled)
    return settled


def _decide(
    card: CardSession, psam: Psam | None, record: PurchaseRecord, journal: Journal
) -> PurchaseRecord:
    now = _counter_now(card, record)
    if now == record.counter:
        return _settle(record, PurchaseStatus.VOID, journal)
    if now < record.counter:
        journal(replace(record, status=PurchaseStatus.SUSPECT))
        raise EvidenceMismatch(
            "PURSE-FALSE-CARD", "its counter went backwards", asn=record.asn.hex()
        )
    logged = _logged(card, record)
    if now != record.counter + 1 or logged is False:
        return _settle(record, PurchaseStatus.UNCERTAIN, journal, logged)
    try:
        proof = card.send(GetTransactionProof(record.type, now))
    except ChipError as refusal:
        if refusal.sw != SW.NO_PROOF:
            raise
        return _settle(record, PurchaseStatus.UNCERTAIN, journal, logged)
    found = replace(record, status=PurchaseStatus.RECOVERED, tac=proof.tac, mac2=proof.mac)
    return _confirmed(psam, found, journal)


def _counter_now(card: CardSession, record: PurchaseRecord) -> int:
    """The offSN that a new INITIALIZE of amount 0 shows; at the counter's end the card refuses that too."""
    try:
        return _initialize(card, record.type, record.key_index, 0, record.psam).counter
    except ChipError as refusal:
        if refusal.sw == SW.COUNTER_EXHAUSTED:
            return MAX_SERIAL
        raise


def _logged(card: CardSession, record: PurchaseRecord) -> bool | None:
    """Whether the card's log shows this purchase under its serial; None when the log does not reach it."""
    for number in range(1, LOG_RECORDS + 1):
        try:
            raw = card.send(ReadRecord(number, sfi=FID_LOG))
        except ChipError:  # the log ends here, or is not free to read on this card
            return None
        entry = PurseLogRecord.parse(raw)
        if entry.serial == record.counter + 1 and entry.type in OFFLINE:
            return (entry.amount, entry.type, entry.terminal, entry.date, entry.time) == (
                record.amount,
                record.type,
                record.psam,
                record.date,
                record.time,
            )
    return None


OFFLINE = frozenset(
    {
        int(Transaction.WITHDRAWAL),
        int(Transaction.PURCHASE_ED),
        int(Transaction.PURCHASE_EP),
        int(Transaction.COMPOSITE),
    }
)
