"""What the residence register tells the other two of a person they know: the status, under their own key.

Each gets its own message, addressed to it, with its own key of the person: no register learns another's key,
and nobody hears of a permit whose holder it never named (residence.md 10.1, 10.2).
"""

from sqlalchemy import select

from core.clock import Clock, business_date
from core.db import Tx
from registry.exchange import delivery
from registry.exchange.messages import Type
from registry.residence.domain import ChipStatus
from registry.residence.tables import LinkRow, PermitRow, PersonRow

SOURCE = "residence"
LISTENERS = ("employment", "rental")


def tell_status(tx: Tx, clock: Clock, permit: PermitRow) -> None:
    """Send the present status to every register that named the holder."""
    known = tx.execute(
        select(LinkRow.source, LinkRow.subject)
        .join(PersonRow, PersonRow.citizen_index == LinkRow.citizen_index)
        .where(PersonRow.id == permit.person_id, LinkRow.source.in_(LISTENERS))
        .order_by(LinkRow.source, LinkRow.subject)
    ).all()
    payload = {"status": ChipStatus(permit.status).name, "ssn": permit.ssn}
    today = business_date(clock.now())
    for listener, subject in known:
        delivery.send(
            tx, clock, SOURCE, Type.PERMIT_STATUS_CHANGED, subject, today, payload,
            addressee=listener,
        )  # fmt: skip
