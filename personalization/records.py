"""Data preparation: a register's `CardData` becomes what a chip holds and a card shows (production.md 2.1).

Two steps. `prepare` needs neither a plastic nor an HSM, so it runs while the card before is printed;
`bind` adds the card serial, which exists only once a blank lies in the machine, and the status record's
MAC. Each data group is kept in the form of EMV card personalization: identifier 2, length 1 (or FF and 2),
data; the identifier's first byte is the application (0 MF, 1 purse, 2 residence), the second the file.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

from cardos.records import ApplicationFile, CardFile, IssuerData, asn_of
from cardos.residence_records import (
    AddressRecord,
    Basis,
    Identity,
    StatusRecord,
    build_services,
)
from cardos.spec import (
    AID_PURSE,
    AID_RESIDENCE,
    FID_ADDRESS,
    FID_APPLICATION,
    FID_BASIS,
    FID_CARD,
    FID_DIR,
    FID_HOLDER,
    FID_ID,
    FID_ISSUER_DATA,
    FID_MF,
    FID_PHOTO,
    FID_PURSE_ADF,
    FID_RESIDENCE_ADF,
    FID_SERVICES,
    FID_STATUS,
    ISSUER_ID,
    PROFILE_VERSION,
)
from core.errors import Rejected
from core.tlv import Tlv
from personalization import artwork, orders
from personalization.chip import ChipOrder, DataGroup
from registry.residence import photo
from registry.residence.cards import CardData
from registry.residence.domain import ChipStatus

HOLDER_LENGTH = 55
CARD_TYPE = 0x01
APPLICATIONS = (FID_MF, FID_PURSE_ADF, FID_RESIDENCE_ADF)
LONG_LENGTH = 0xFF
UNBOUND = "0" * 14
CENTRE = bytes(3)  # who wrote the first status: the card centre, no point

StatusMac = Callable[[bytes, str], bytes]
"""``(24-byte status body, card serial) -> 8-byte MAC`` (HSM command 36, mode 0)."""


@dataclass(frozen=True, repr=False)
class Prepared:
    """A card's data without plastic. `digest` is what the release approved and the record carries (I8)."""

    data: CardData
    chip_photo: bytes
    digest: str


@dataclass(frozen=True, repr=False)
class Bound:
    """A card's data tied to one plastic: what the chip gets and what both faces show."""

    chip: ChipOrder
    art: artwork.Record
    data_sha256: str


def prepare(data: CardData, template: artwork.Template) -> Prepared:
    """Everything that can be made and checked before a blank is spent.

    Raises Rejected A-GLYPH, A-FIT, A-FIELD, A-PHOTO (`artwork.preflight`), E-PHOTO-SIZE, and D-TEXT when a
    text does not fit its place on the chip.
    """
    artwork.preflight(template, orders.face(data, UNBOUND))
    chip_photo = photo.for_chip(data.photo)
    try:
        _groups(data, chip_photo, UNBOUND, "", bytes(8))
    except (ValueError, UnicodeError) as reason:
        raise Rejected("D-TEXT", "a value does not fit its file") from reason
    return Prepared(data, chip_photo, orders.data_digest(data))


def bind(
    prepared: Prepared, card_serial: str, chip_serial: bytes, lot: str, status_mac: StatusMac
) -> Bound:
    """Add what only this plastic has. `chip_serial` 8 bytes, `lot` the blanks' delivery."""
    body = _status(prepared.data).body
    mac = status_mac(body, card_serial)
    groups = _groups(prepared.data, prepared.chip_photo, card_serial, lot, mac)
    order = ChipOrder(card_serial, chip_serial, lot, groups)
    return Bound(order, orders.face(prepared.data, card_serial), prepared.digest)


# -- data groups -----------------------------------------------------------------------------------------


def encode(groups: tuple[DataGroup, ...]) -> bytes:
    """The record as a personalization device reads it: identifier 2, length 1 or FF + 2, data, and so on."""
    packed = bytearray()
    for group in groups:
        packed += bytes((APPLICATIONS.index(group.directory), group.file))
        if len(group.data) < LONG_LENGTH:
            packed.append(len(group.data))
        else:
            packed.append(LONG_LENGTH)
            packed += len(group.data).to_bytes(2, "big")
        packed += group.data
    return bytes(packed)


def decode(packed: bytes) -> tuple[DataGroup, ...]:
    """The groups of a record. ValueError when lengths do not add up or the application is unknown."""
    groups, at = [], 0
    while at < len(packed):
        head = packed[at : at + 3]
        if len(head) < 3 or head[0] >= len(APPLICATIONS):
            raise ValueError(f"no data group at {at}")
        at += 3
        length = head[2]
        if length == LONG_LENGTH:
            length = int.from_bytes(packed[at : at + 2], "big")
            at += 2
        data = packed[at : at + length]
        if len(data) != length:
            raise ValueError(f"data group {head[:2].hex()} is cut")
        groups.append(DataGroup(APPLICATIONS[head[0]], head[1], data))
        at += length
    return tuple(groups)


def _groups(
    data: CardData, chip_photo: bytes, card_serial: str, lot: str, mac: bytes
) -> tuple[DataGroup, ...]:
    """Every file's content in the order of writing."""
    issued, until = bcd(data.issued_on), bcd(data.valid_until)
    lot_bytes = lot.encode("ascii").rjust(8, b"\x00")
    point = int(data.point).to_bytes(3, "big")
    card_file = CardFile(card_serial, lot_bytes, issued, point, profile_version=PROFILE_VERSION)
    application = ApplicationFile(ISSUER_ID, asn_of(card_serial), issued, until)
    account = IssuerData(data.purse_account, 0, PROFILE_VERSION)
    address = AddressRecord(data.address_code, bcd(data.address_since), data.address_text)
    status = replace(_status(data), mac=mac)
    mf, purse, residence = APPLICATIONS
    return (
        DataGroup(mf, FID_DIR, _dir_entry(AID_PURSE, "PBOC")),
        DataGroup(mf, FID_DIR, _dir_entry(AID_RESIDENCE, "RESIDENCE")),
        DataGroup(mf, FID_CARD, bytes(card_file)),
        DataGroup(purse, FID_APPLICATION, bytes(application)),
        DataGroup(purse, FID_HOLDER, bytes((CARD_TYPE,)).ljust(HOLDER_LENGTH, b"\x00")),
        DataGroup(purse, FID_ISSUER_DATA, bytes(account)),
        DataGroup(residence, FID_ID, bytes(_identity(data))),
        DataGroup(residence, FID_ADDRESS, bytes(address)),
        DataGroup(residence, FID_STATUS, bytes(status)),
        DataGroup(residence, FID_SERVICES, build_services(())),
        DataGroup(residence, FID_BASIS, bytes(Basis(data.basis.number, issued))),
        DataGroup(residence, FID_PHOTO, chip_photo),
    )


def _dir_entry(name: bytes, label: str) -> bytes:
    """``61 { 4F name, 50 label }`` (purse-card.md 11.3)."""
    inside = bytes(Tlv(0x4F, name)) + bytes(Tlv(0x50, label.encode("ascii")))
    return bytes(Tlv(0x61, inside))


def _identity(data: CardData) -> Identity:
    return Identity(
        name=data.name,
        citizen_id=data.citizen_id,
        sex=data.sex,
        ethnic=data.ethnic,
        birth=bcd(data.birth),
        permit_no=data.permit_no,
        type=data.permit_type.number,
        issuer=data.issuer,
        issued=bcd(data.issued_on),
        valid_until=bcd(data.valid_until),
    )


def _status(data: CardData) -> StatusRecord:
    """PENDING: the permit wakes at hand-over (residence.md 6.6)."""
    return StatusRecord(
        status=ChipStatus.PENDING,
        causes=0,
        ssn=data.ssn,
        effective=bcd(data.effective_on),
        lease_until=bcd(data.lease_until),
        valid_until=bcd(data.valid_until),
        policy=data.policy,
        writer=CENTRE,
    )


def bcd(day: date) -> bytes:
    """A date as 4 bytes YYYYMMDD."""
    return bytes.fromhex(day.strftime("%Y%m%d"))
