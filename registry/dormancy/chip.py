"""Bringing a status onto the chip, and proving that it is there (residence.md 6.6, purse-card.md 12.5).

Works on a powered card and touches no database. The order EF.SVC, EF.BASIS, EF.STATUS, EF.LOG makes
EF.STATUS the commit: a torn series is repeated from the start and ends the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cardos.client import CardSession, ChipError
from cardos.requests import (
    AppendRecord,
    ReadBinary,
    ReadRecord,
    SelectName,
    UpdateBinary,
    authenticate,
)
from cardos.residence_records import (
    Basis,
    ServiceEntry,
    StatusLogRecord,
    StatusRecord,
    build_services,
)
from cardos.spec import (
    AID_RESIDENCE,
    FID_BASIS,
    FID_SERVICES,
    FID_STATUS,
    FID_STATUS_LOG,
    STATUS_LENGTH,
    SW,
)
from registry.dormancy.desk import Desk, Scope, protector
from registry.residence.domain import CAUSE_BIT, ChipStatus, Hold

READER_KEY = 1
SFI_MASK = 0x1F
CHALLENGE = 8


@dataclass(frozen=True)
class ChipContent:
    """What goes to the chip beside the record: the ground and the services the holder is enrolled in."""

    record: StatusRecord
    basis: Basis
    services: tuple[ServiceEntry, ...] = ()


def services_under(status: int, enrolled: Sequence[ServiceEntry]) -> tuple[ServiceEntry, ...]:
    """EF.SVC for a status: asleep only what is `dormant_ok` stays enabled; waking restores exactly (6.6)."""
    if status != ChipStatus.DORMANT:
        return tuple(enrolled)
    return tuple(replace(entry, enabled=entry.enabled and entry.dormant_ok) for entry in enrolled)


def basis_under(causes: int, basis: Basis) -> Basis:
    """EF.BASIS is cleared to "none" while the permit sleeps for cause EMP (6.6)."""
    return Basis(0) if causes & CAUSE_BIT[Hold.EMP] else basis


def write_status(card: CardSession, desk: Desk, card_serial: str, content: ChipContent) -> bytes:
    """Write the series under line protection; returns the 32 bytes read back with the card's MAC checked.

    Leaves the residence application selected. Raises ChipError (6985: the chip knows a newer `ssn`),
    DeviceFault CARD-GONE, EvidenceMismatch for a false read-back.
    """
    record = content.record
    record = replace(record, mac=desk.status_mac(record.body, card_serial))
    line = protector(desk, Scope.RESIDENCE, card_serial)
    card.send(SelectName(AID_RESIDENCE))
    services = build_services(services_under(record.status, content.services))
    card.send_protected(UpdateBinary(services, sfi=FID_SERVICES), line, CHALLENGE)
    ground = bytes(basis_under(record.causes, content.basis))
    card.send_protected(UpdateBinary(ground, sfi=FID_BASIS), line, CHALLENGE)
    card.send_protected(UpdateBinary(bytes(record), sfi=FID_STATUS), line, CHALLENGE)
    entry = StatusLogRecord(record.ssn, record.status, record.writer, record.effective)
    if _last_log(card, desk, card_serial) != bytes(entry):
        log = AppendRecord(bytes(entry), sfi=FID_STATUS_LOG & SFI_MASK)
        card.send_protected(log, line, CHALLENGE)
    return read_status(card, desk, card_serial)


def write_services(
    card: CardSession, desk: Desk, card_serial: str, services: tuple[ServiceEntry, ...]
) -> None:
    """Write EF.SVC alone, under line protection; the status record stays. Raises ChipError, DeviceFault."""
    line = protector(desk, Scope.RESIDENCE, card_serial)
    card.send(SelectName(AID_RESIDENCE))
    card.send_protected(UpdateBinary(build_services(services), sfi=FID_SERVICES), line, CHALLENGE)


def read_status(card: CardSession, desk: Desk, card_serial: str) -> bytes:
    """EF.STATUS (32 bytes) by a protected read whose MAC the HSM checked: proof of what the chip holds."""
    line = protector(desk, Scope.RESIDENCE, card_serial)
    shown = card.send_protected(ReadBinary(STATUS_LENGTH, sfi=FID_STATUS), line, CHALLENGE)
    desk.check_answer(Scope.RESIDENCE, card_serial, shown.challenge, shown.data, shown.mac)
    return shown.answer


def open_reader_files(card: CardSession, desk: Desk, card_serial: str) -> None:
    """Prove the reader key: identity, address, photo and log may be read now."""
    authenticate(
        card, READER_KEY, lambda challenge: desk.authenticate_reader(card_serial, challenge),
        CHALLENGE,
    )  # fmt: skip


def _last_log(card: CardSession, desk: Desk, card_serial: str) -> bytes | None:
    """The newest log record, None in an empty log."""
    open_reader_files(card, desk, card_serial)
    try:
        return card.send(ReadRecord(1, sfi=FID_STATUS_LOG & SFI_MASK))
    except ChipError as refusal:
        if refusal.sw == SW.RECORD_NOT_FOUND:
            return None
        raise
