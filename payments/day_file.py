"""Our clearing file of a day as it went out (iso8583-host.md 13.1).

The file of a day that is over is kept as it was first made, so that it has one digest whenever it is asked for:
under another one a partner would take it a second time (I-28).
"""

from datetime import date

from sqlalchemy import select

from core.clock import Clock, business_date
from core.db import Tx
from payments.clearing_file import TRANSACTIONS, FileName, read_file
from payments.exchange_files import export_day
from payments.limits import HostProfile
from payments.tables import ClearingFileRow

ONLY = 1


def day_file(tx: Tx, clock: Clock, profile: HostProfile, day: date) -> tuple[str, bytes]:
    """Name and bytes of a closed day's T file, which is made once when the day is over."""
    name = str(FileName(profile.acquirer, day, TRANSACTIONS, ONLY))
    kept = tx.scalar(
        select(ClearingFileRow.content).where(
            ClearingFileRow.sender == profile.acquirer,
            ClearingFileRow.day == f"{day:%Y%m%d}",
            ClearingFileRow.kind == TRANSACTIONS,
            ClearingFileRow.number == ONLY,
        )
    )
    if kept is not None:
        return name, kept
    name, raw = export_day(tx, clock, profile, day, ONLY)
    if day < business_date(clock.now()):
        made = read_file(name, raw)
        tx.add(
            ClearingFileRow(
                sender=profile.acquirer, day=made.header.day, kind=TRANSACTIONS, number=ONLY,
                digest=made.digest, records=len(made.records), bad=0, content=raw, at=clock.now(),
            )
        )  # fmt: skip
    return name, raw
