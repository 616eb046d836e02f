"""Load procedures of a terminal (purse-card.md 8.1, 13.3): begin, finish, settle a torn one; unloads alike (8.4).

An unload takes money off a card that has a deposit purse (the permit card has none); MAC3 stands for the TAC.
The terminal asks the host between `begin_load` and `finish_load`; the host's MAC2 moves the money. Whether
a load happened is shown by its TAC alone: "not executed" is never more than a claim, because an answer
of INITIALIZE is not fresh for the host (8.1). Fields follow iso8583-host.md 5, flags RQ, SV and SX.
"""

from collections.abc import Callable
from dataclasses import replace

from cardos.client import CardSession, ChipError
from cardos.purse_requests import (
    CreditForLoad,
    DebitForUnload,
    GetTransactionProof,
    InitializeForLoad,
    InitializeForUnload,
    OnlineInit,
)
from cardos.records import PurseLogRecord
from cardos.requests import ReadRecord
from cardos.spec import AID_PURSE, FID_LOG, LOG_RECORDS, MAX_SERIAL, SW, Transaction
from core.errors import CityError, DeviceFault, Rejected
from payments.purse import PurseCard, open_purse
from payments.purse_records import LoadRecord, LoadRequest, LoadStatus, OutcomeUnknown

LoadJournal = Callable[[LoadRecord], None]


def begin_load(
    card: CardSession,
    purse: PurseCard,
    key_id: int,
    amount: int,
    terminal: bytes,
    kind: Transaction = Transaction.LOAD_EP,
) -> LoadRequest:
    """INITIALIZE FOR LOAD (or UNLOAD) on the purse that `open_purse` selected; the PIN must be verified before.

    Changes nothing on the card. ChipError 6982 PIN, 6985 over the purse's maximum, 9401 an unload above the
    balance, 9402, 9403, 6A82 no purse that can be unloaded.
    """
    init = _initialize(card, kind, key_id, amount, terminal)
    return LoadRequest(
        issuer=purse.file.issuer,
        asn=purse.asn,
        random=init.random,
        key_index=key_id,
        key_version=init.key_version,
        algorithm=init.algorithm,
        counter=init.counter,
        balance=init.balance,
        amount=amount,
        type=kind,
        psam=terminal,
        mac1=init.mac1,
    )


def _initialize(
    card: CardSession, kind: int, key_id: int, amount: int, terminal: bytes
) -> OnlineInit:
    if kind == Transaction.UNLOAD:
        return card.send(InitializeForUnload(key_id, amount, terminal))
    return card.send(InitializeForLoad(key_id, amount, terminal))


def finish_load(
    card: CardSession,
    request: LoadRequest,
    date: bytes,
    time: bytes,
    mac2: bytes,
    journal: LoadJournal,
) -> LoadRecord:
    """CREDIT FOR LOAD (DEBIT FOR UNLOAD) with the host's MAC2; returns the DONE record with the TAC for 0220.

    A refusal is checked: RECOVERED when the card did load, UNCERTAIN when it cannot tell. Raises ChipError
    when the counter confirms the refusal (journalled NOT_EXECUTED), OutcomeUnknown when the card left.
    """
    record = LoadRecord(LoadStatus.PENDING, request, date, time)
    journal(record)
    unload = request.type == Transaction.UNLOAD
    order = DebitForUnload(date, time, mac2) if unload else CreditForLoad(date, time, mac2)
    try:
        tac = card.send(order)
    except ChipError as refusal:
        # A status word may have been changed on its way (purse-card.md 8.11): proof and counter decide.
        settled = _ask(card, record, journal)
        if settled.status is LoadStatus.NOT_EXECUTED:
            raise refusal
        return settled
    except CityError as lost:
        raise _unknown(request) from lost
    return _settle(record, LoadStatus.DONE, journal, tac)


def recover_load(
    card: CardSession,
    record: LoadRecord,
    journal: LoadJournal,
    verify: Callable[[CardSession], None] | None = None,
    aid: bytes = AID_PURSE,
) -> LoadRecord:
    """Ask the same card what became of a load (purse-card.md 13.3).

    The proof needs no PIN and settles an executed load. Without a proof the counter tells whether the card
    claims NOT_EXECUTED; reading it needs the PIN (`verify`), else the result is UNCERTAIN. Raises Rejected
    PURSE-OTHER-CARD, OutcomeUnknown when the card left again.
    """
    if record.status not in (LoadStatus.PENDING, LoadStatus.UNCERTAIN):
        return record
    try:
        if open_purse(card, aid).asn != record.request.asn:
            raise Rejected("PURSE-OTHER-CARD", "another card", asn=record.request.asn.hex())
    except DeviceFault as lost:
        raise _unknown(record.request) from lost
    return _ask(card, record, journal, verify)


def _ask(
    card: CardSession,
    record: LoadRecord,
    journal: LoadJournal,
    verify: Callable[[CardSession], None] | None = None,
) -> LoadRecord:
    """Proof first, then the counter; the purse is selected."""
    request = record.request
    try:
        tac = _proof(card, request)
        if tac is not None and _logged(card, record) is not False:
            return _settle(record, LoadStatus.RECOVERED, journal, tac)
        if tac is not None:  # a counter is used once, and another load used it
            return _settle(record, LoadStatus.NOT_EXECUTED, journal)
        if verify is not None:
            verify(card)
        claimed = _counter_now(card, request) == request.counter
    except DeviceFault as lost:
        raise _unknown(request) from lost
    status = LoadStatus.NOT_EXECUTED if claimed else LoadStatus.UNCERTAIN
    return _settle(record, status, journal)


def _proof(card: CardSession, request: LoadRequest) -> bytes | None:
    try:
        proof = card.send(GetTransactionProof(request.type, request.counter + 1))
    except ChipError as refusal:
        if refusal.sw != SW.NO_PROOF:
            raise
        return None
    return proof.mac if request.type == Transaction.UNLOAD else proof.tac


def _logged(card: CardSession, record: LoadRecord) -> bool | None:
    """Whether the proof the card shows is of this load: its log tells. None when the log does not reach it.

    The card may have left before it was credited here and been loaded elsewhere with the same counter.
    """
    request = record.request
    for number in range(1, LOG_RECORDS + 1):
        try:
            entry = PurseLogRecord.parse(card.send(ReadRecord(number, sfi=FID_LOG)))
        except ChipError:  # the log ends here, or is not free to read on this card
            return None
        if (entry.serial, entry.type) == (request.counter + 1, request.type):
            return (entry.amount, entry.terminal, entry.date, entry.time) == (
                request.amount,
                request.psam,
                record.date,
                record.time,
            )
    return None


def _counter_now(card: CardSession, request: LoadRequest) -> int | None:
    """The onSN that a new INITIALIZE of amount 0 shows; None when the card does not tell without the PIN."""
    try:
        return _initialize(card, request.type, request.key_index, 0, request.psam).counter
    except ChipError as refusal:
        if refusal.sw == SW.COUNTER_EXHAUSTED:
            return MAX_SERIAL
        if refusal.sw == SW.RIGHT_NOT_MET:
            return None
        raise


def _settle(
    record: LoadRecord, status: LoadStatus, journal: LoadJournal, tac: bytes = b""
) -> LoadRecord:
    settled = replace(record, status=status, tac=tac)
    journal(settled)
    return settled


def _unknown(request: LoadRequest) -> OutcomeUnknown:
    return OutcomeUnknown(
        "PURSE-PENDING",
        f"no answer to the load with counter {request.counter}",
        asn=request.asn.hex(),
        amount=request.amount,
    )
