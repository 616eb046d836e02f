"""Incidents: what two people have to explain before a batch may close (production.md 3, 5, I9).

An incident is begun by the system or a person and signed by two who did not run the batch.
"""

from sqlalchemy import select

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import NotAllowed, NotFound, Rejected
from core.ids import uuid7
from personalization.tables import BatchHandRow, IncidentRow
from registry.roles import Actor, Role, require, two_persons

UNCERTAIN, DIFFERENCE, SEAL, CONTENTS, LOST = "UNCERTAIN", "DIFFERENCE", "SEAL", "CONTENTS", "LOST"
FOREIGN, QUARANTINE = "FOREIGN", "QUARANTINE"
RAN = "RAN"


def begin(
    tx: Tx,
    clock: Clock,
    kind: str,
    subject: str,
    what: str,
    actor: str,
    *,
    batch: str | None = None,
    amount: int = 0,
) -> str:
    """Open one; the same open kind and subject is the same incident. Returns its id."""
    known = tx.scalar(
        select(IncidentRow.id).where(
            IncidentRow.kind == kind,
            IncidentRow.subject == subject,
            IncidentRow.closed_at.is_(None),
        )
    )
    if known is not None:
        return known
    row = IncidentRow(
        id=uuid7(clock.now()), kind=kind, subject=subject, batch=batch, amount=amount,
        what=what[:300], opened_at=clock.now(), opened_by=actor,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    events.append(
        tx,
        clock,
        "incident.opened",
        row.id,
        actor=actor,
        incident_kind=kind,
        about=subject,
        batch=batch,
    )
    return row.id


def sign(
    tx: Tx, clock: Clock, incident: str, decision: str, first: Actor, second: Actor
) -> IncidentRow:
    """Close with a decision. Raises NotAllowed E-ROLE, E-SOD, W-RAN-IT; Rejected W-REASON; NotFound W-INCIDENT."""
    row = get(tx, incident)
    require(first, Role.CARD_SUPERVISOR, Role.STOCK_KEEPER)
    require(second, Role.CARD_SUPERVISOR, Role.STOCK_KEEPER, Role.CARD_QC)
    two_persons(first, second)
    if not decision.strip():
        raise Rejected("W-REASON", "an incident needs a decision")
    did_not_run(tx, row.batch, first, second)
    if row.closed_at is None:
        row.decision, row.closed_at = decision[:300], clock.now()
        row.first_person, row.second_person = first.name, second.name
        events.append(
            tx, clock, "incident.signed", row.id, actor=first.name, second=second.name,
            incident_kind=row.kind, about=row.subject,
        )  # fmt: skip
    return row


def did_not_run(tx: Tx, batch: str | None, *people: Actor) -> None:
    """Raises NotAllowed W-RAN-IT when one of them ran the batch."""
    for person in people:
        if batch is not None and tx.get(BatchHandRow, (batch, person.name, RAN)) is not None:
            raise NotAllowed("W-RAN-IT", f"{person.name} ran {batch}", batch=batch)


def open_ones(tx: Tx, batch: str | None = None) -> list[IncidentRow]:
    """Not signed yet, oldest first."""
    query = select(IncidentRow).where(IncidentRow.closed_at.is_(None))
    if batch is not None:
        query = query.where(IncidentRow.batch == batch)
    return list(tx.scalars(query.order_by(IncidentRow.opened_at, IncidentRow.id)))


def get(tx: Tx, incident: str) -> IncidentRow:
    """Raises NotFound W-INCIDENT."""
    row = tx.get(IncidentRow, incident, with_for_update=True)
    if row is None:
        raise NotFound("W-INCIDENT", "no such incident", incident=incident)
    return row
