"""Lifting the block of a card whose counter seemed to go back (iso8583-host.md 11.2, docs/adr/0012).

An RQ has no freshness. One that waited in the network while the same card was loaded elsewhere looks like a chip
that was set back: it is refused and the card blocked. It is not the card's fault when the terminal says that the
request had no answer.
"""

from collections.abc import Callable

from sqlalchemy import select, update

from core.db import Tx
from payments.tables import IncidentRow, PurseCardRow

COUNTER_BACK = "counter-back"
LATE = "; late: its terminal reversed it"


def lift_block(tx: Tx, asn: str) -> None:
    """The card may load again once nobody has to look at any counter of it that went back."""
    still_open = select(IncidentRow.id).where(
        IncidentRow.kind == COUNTER_BACK, IncidentRow.subject == asn, IncidentRow.open
    )
    tx.execute(
        update(PurseCardRow)
        .where(PurseCardRow.asn == asn, PurseCardRow.blocked, ~still_open.exists())
        .values(blocked=False, version=PurseCardRow.version + 1)
    )


def was_late(asn: str, request: bytes) -> Callable[[Tx], None]:
    """What to write when the terminal of this RQ (field 58 as it came) reverses it."""

    def note(tx: Tx) -> None:
        closed = tx.scalars(
            update(IncidentRow)
            .where(
                IncidentRow.kind == COUNTER_BACK, IncidentRow.subject == asn,
                IncidentRow.evidence == request, IncidentRow.open,
            )
            .values(open=False, detail=IncidentRow.detail + LATE)
            .returning(IncidentRow.id)
        ).all()  # fmt: skip
        if closed:
            lift_block(tx, asn)

    return note
