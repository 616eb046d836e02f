"""Records of ours that come back from a partner in an E file, with what he found wrong (iso8583-host.md 13.1).

Nothing is booked by it: each record becomes an incident with its line as evidence, and people decide.
"""

from sqlalchemy import select

from core.clock import Clock, business_date
from core.db import Tx
from payments.clearing_file import (
    ACCEPTED,
    PURCHASES,
    RESULTS,
    ClearingFile,
    Record,
)
from payments.decisions import Incident
from payments.tables import LoadRow, PurchaseRow
from payments.writing import note_incidents

RETURNED_RECORD, RETURNED_STRANGER = "record-returned", "returned-unknown"


def note_returned(tx: Tx, clock: Clock, file: ClearingFile) -> int:
    """An incident for each record of an E file that has a result; how many."""
    header = file.header
    sent = f"{header.day} file {header.number:02d} to {header.sender}"
    found: list[Incident] = []
    for record in file.records:
        if record.result == ACCEPTED:
            continue
        key = _key_of_ours(tx, record)
        kind = RETURNED_STRANGER if key is None else RETURNED_RECORD
        detail = (
            f"result {record.result} {RESULTS[record.result]}: {record.amount} fen, "
            f"record {record.number} of {sent}"
        )
        evidence = record.line().encode("ascii")
        found.append(Incident(kind, key or header.sender, detail, evidence))
    for number, line in file.broken:
        detail = f"a record of wrong form, {number} of {sent}"
        found.append(Incident(RETURNED_STRANGER, header.sender, detail, line.encode("ascii")))
    at = clock.now()
    note_incidents(tx, clock, found, business_date(at), at)
    return len(found)


def _key_of_ours(tx: Tx, record: Record) -> str | None:
    """Purse key of the purchase, or key of the load, that a returned record means; None: it is none of ours."""
    if record.kind in PURCHASES:
        return tx.scalar(
            select(PurchaseRow.purse_key).where(PurchaseRow.purse_key == record.purse_key)
        )
    return tx.scalar(
        select(LoadRow.key).where(
            LoadRow.reference == record.reference,
            LoadRow.amount == record.amount,
            LoadRow.asn == record.asn.lower(),
        )
    )
