"""How full a terminal's batch is (iso8583-host.md 8.1, 16).

When a trace counter wraps within one batch, its keys repeat. So a batch that holds more than
`HostProfile.batch_messages` is answered 77, and the sign-on that follows opens the next one. Messages are counted
at every so many trace numbers only: the numbers that are left over are a hundred times as many.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update

from core.db import Tx
from payments.decisions import Incident, message_key
from payments.messages import Message
from payments.tables import BatchRow, MessageRow, TerminalRow

COUNTS_PER_BATCH = 900
NETWORK_MTI = ("0800", "0820")
UNEQUAL = "DIFFERENT"
_FIRST, _LAST = "000000", "999999"


def is_due(message: Message, most: int) -> bool:
    """Whether the batch is to be counted at this message."""
    if message.mti in NETWORK_MTI or not message.trace.isdecimal():
        return False
    return int(message.trace) % max(1, most // COUNTS_PER_BATCH) == 0


def messages_in(tx: Tx, message: Message) -> int:
    """How many requests of the message's batch have a stored answer."""
    first, last = (
        message_key(message.merchant, message.terminal, message.batch, trace, "")
        for trace in (_FIRST, _LAST)
    )
    query = select(func.count()).where(MessageRow.key >= first, MessageRow.key <= last + _LAST)
    return tx.scalar(query) or 0


def is_full(terminal: Any) -> bool:
    """Whether a count has found the terminal's batch full."""
    return bool(terminal.full_batch == terminal.batch)


def marked(number: str, batch: int) -> Callable[[Tx], None]:
    """Remember that a batch is full, for the messages that are not counted."""

    def note(tx: Tx) -> None:
        tx.execute(update(TerminalRow).where(TerminalRow.number == number).values(full_batch=batch))

    return note


def following(number: int) -> int:
    """The batch number after `number`; they wrap like trace numbers."""
    return number % 999_999 + 1


@dataclass(frozen=True)
class OpenBatch:
    """The batch a signed-on terminal must use, and what moving there writes."""

    number: int
    also: tuple[Callable[[Tx], None], ...] = ()
    incidents: tuple[Incident, ...] = ()


def open_batch(terminal: Any, at: datetime) -> OpenBatch:
    """The terminal's batch, or the next when it is full: that one is closed unsettled, for people to look at."""
    number, batch = terminal.number, terminal.batch
    if not is_full(terminal):
        return OpenBatch(batch)

    def note(tx: Tx) -> None:
        tx.execute(
            update(BatchRow)
            .where(BatchRow.terminal == number, BatchRow.number == batch)
            .values(state=UNEQUAL, closed_at=at)
        )
        tx.execute(
            update(TerminalRow)
            .where(TerminalRow.number == number, TerminalRow.batch == batch)
            .values(batch=following(batch))
        )

    seen = Incident("batch-full", f"{number}/{batch}", "closed without a settlement")
    return OpenBatch(following(batch), (note,), (seen,))
