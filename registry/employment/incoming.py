"""What the employment register takes in from the others: the permit status of its workers (residence.md 10.1)."""

from core.clock import Clock
from core.db import Tx
from core.errors import NotFound
from registry.employment.tables import PermitNoteRow, WorkerRow
from registry.exchange.delivery import Handler
from registry.exchange.messages import Envelope, Type


def _permit_status(tx: Tx, _clock: Clock, message: Envelope) -> None:
    """Raises NotFound E-PERSON: the subject is not ours, so the message was meant for somebody else."""
    if tx.get(WorkerRow, message.subject) is None:
        raise NotFound("E-PERSON", "no such worker")
    row = tx.get(PermitNoteRow, message.subject)
    ssn = message.payload["ssn"]
    if row is None:
        row = PermitNoteRow(worker_id=message.subject, ssn=0, status="")
        tx.add(row)
    if ssn > row.ssn:
        row.status, row.ssn = message.payload["status"], ssn
    tx.flush()


HANDLERS: dict[Type, Handler] = {Type.PERMIT_STATUS_CHANGED: _permit_status}
"""What `registry.exchange.delivery.deliver(tx, clock, "employment", HANDLERS)` calls."""
