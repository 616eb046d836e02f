"""Composite purchases: a debit and new data of an application on the card, all or nothing (purse-card.md 8.6).

Records of file 0019 are ``id 1, length 1, lock 1, data``; `length` counts lock and data. The lock says that the
application is in use by another class of terminals: the terminal honours it, the card does not.
"""

from dataclasses import dataclass

from cardos.client import CardSession, ChipError
from cardos.purse_requests import UpdateCappCache
from cardos.requests import AppendRecord, ReadRecord
from cardos.spec import FID_CAPP, MAX_CAPP_BYTES, SW
from core.errors import Rejected

HEAD = 3
FREE, LOCKED = 0x00, 0x01


@dataclass(frozen=True)
class CappRecord:
    """One application's record. `data` has a fixed length for its application."""

    application: int
    data: bytes
    lock: int = FREE

    def __post_init__(self) -> None:
        if not 0 <= self.application <= 0xFF or not 0 < len(self.data) <= MAX_CAPP_BYTES - HEAD:
            raise ValueError("an application's record has 1 to 253 bytes of data")

    @classmethod
    def parse(cls, raw: bytes) -> "CappRecord":
        """ValueError when the length byte does not fit."""
        if len(raw) <= HEAD or raw[1] != len(raw) - 2:
            raise ValueError("the length of a CAPP record does not fit")
        return cls(raw[0], raw[HEAD:], raw[2])

    def __bytes__(self) -> bytes:
        return bytes((self.application, len(self.data) + 1, self.lock)) + self.data


def read_capp(card: CardSession, application: int) -> CappRecord | None:
    """The application's record; None when the card has none. The purse is selected."""
    try:
        raw = card.send(ReadRecord(application, sfi=FID_CAPP, by_tag=True))
    except ChipError as refusal:
        if refusal.sw == SW.RECORD_NOT_FOUND:
            return None
        raise
    return CappRecord.parse(raw)


def prepare_update(card: CardSession, record: CappRecord) -> UpdateCappCache:
    """The update that goes with a composite purchase; a card that is new to the application gets an empty record.

    Raises Rejected TERM-CAPP when the application is locked by others or its record has another length.
    """
    held = read_capp(card, record.application)
    if held is None:
        empty = CappRecord(record.application, bytes(len(record.data)))
        card.send(AppendRecord(bytes(empty), sfi=FID_CAPP))
    elif held.lock == LOCKED:
        raise Rejected(
            "TERM-CAPP", "locked by another class of terminals", application=held.application
        )
    elif len(held.data) != len(record.data):
        raise Rejected("TERM-CAPP", "its record has another length", application=held.application)
    return UpdateCappCache(FID_CAPP, record.application, bytes(record))
