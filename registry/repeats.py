"""A write that is sent twice has one effect and one answer: the sender names it (residence.md 5.5, 10.3).

The answer is kept in the transaction of the effect, so one exists exactly when the other does. A refused write
leaves nothing behind and may be sent again under the same key.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import String, Text, bindparam, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import Clock
from core.db import Instant, Table, Tx, metadata, queue_for
from core.errors import Rejected
from core.rows import Insert, Statement

KEPT = timedelta(days=7)
MAX_ANSWER = 16_000


class RepeatRow(Table):
    """What one sender's key was answered. `request` is the SHA-256 of what was asked."""

    __tablename__ = "registry_repeat"

    sender: Mapped[str] = mapped_column(String(60), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    request: Mapped[str] = mapped_column(String(64))
    answer: Mapped[str] = mapped_column(Text)
    answered_at: Mapped[datetime] = mapped_column(Instant, index=True)


_REPEATS = Insert(metadata.tables[RepeatRow.__tablename__])
_KNOWN = Statement(
    select(RepeatRow.request, RepeatRow.answer).where(
        RepeatRow.sender == bindparam("sender"), RepeatRow.key == bindparam("key")
    )
)


def once(
    tx: Tx, clock: Clock, sender: str, key: str, request: bytes, act: Callable[[Tx], str]
) -> str:
    """The answer of `act`, or the one it gave when the same sender sent this key before.

    Whoever sends the same key at the same moment waits for the first. Raises Rejected E-KEY-REUSED when the key
    stands for another request.
    """
    queue_for(tx, f"repeat {sender} {key}")
    digest = hashlib.sha256(request).hexdigest()
    known = _KNOWN.first(tx, sender=sender, key=key)
    if known is not None:
        if known.request != digest:
            raise Rejected("E-KEY-REUSED", "the key stands for another request")
        return str(known.answer)
    answer = act(tx)
    if len(answer) > MAX_ANSWER:
        raise AssertionError(f"an answer has at most {MAX_ANSWER} characters")
    tx.flush()
    _REPEATS.run(
        tx,
        [{"sender": sender, "key": key, "request": digest, "answer": answer,
          "answered_at": clock.now()}],
    )  # fmt: skip
    return answer


def forget(tx: Tx, clock: Clock) -> None:
    """Drop answers older than a week: nobody repeats a request for so long."""
    tx.execute(delete(RepeatRow).where(RepeatRow.answered_at < clock.now() - KEPT))
