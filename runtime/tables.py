"""What the house itself keeps in the database: the seals over the event log."""

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Instant, Table


class EventSealRow(Table):
    """One seal: the Merkle root of the first `size` events, and the HSM's note over it; "" while it is asked."""

    __tablename__ = "event_seal"

    size: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last_seq: Mapped[int]
    root: Mapped[str] = mapped_column(String(64))
    note: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Instant)
