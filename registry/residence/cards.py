"""Cards in the register: what production needs to make one, and which plastic is alive (residence.md 4.3)."""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import bindparam, select

from core import events
from core.clock import Clock
from core.db import Tx
from core.errors import NotFound, Rejected
from core.rows import Statement
from registry.identifiers import validate_card_serial
from registry.parameters import ISSUER_NAME
from registry.residence import permits, persons, portraits
from registry.residence.domain import Basis, CardState, ChipStatus, PermitType
from registry.residence.tables import (
    ApplicationRow,
    CardRow,
    KnownAddressRow,
    PermitRow,
    PersonRow,
    PhotoRow,
)

CHIP_SERIAL_DIGITS = 16
VOID_REASONS = frozenset(
    {"SPOILED", "REPLACED", "RECALLED", "MISSING", "SUSPECT", "LOST", "STOLEN"}
)


@dataclass(frozen=True, repr=False)
class CardData:
    """Everything for chip and face. `photo` is the JPEG of the photo rule, 358 x 441.

    `cancelled` says that the permit is; `sealed` is the seal name, number and household address came out of,
    `photo_ref` the receipt of the portrait.
    """

    acc_no: str
    point: str
    permit_no: str
    permit_type: PermitType
    name: str
    sex: int
    ethnic: int
    birth: date
    citizen_id: str
    household_address: str
    address_code: str
    address_text: str
    address_since: date
    basis: Basis
    issuer: str
    issued_on: date
    valid_until: date
    ssn: int
    policy: int
    lease_until: date
    effective_on: date
    purse_account: str
    photo: bytes
    cancelled: bool = False
    sealed: bytes = b""
    photo_ref: str = ""


_CARD_DATA = Statement(
    select(
        ApplicationRow.state, ApplicationRow.point, ApplicationRow.address_code,
        PermitRow.permit_no, PermitRow.type.label("permit_type"),
        PermitRow.basis.label("permit_basis"), PermitRow.status.label("permit_status"),
        PermitRow.issued_on, PermitRow.valid_until, PermitRow.ssn, PermitRow.lease_until,
        PermitRow.effective_on, PersonRow.id, PersonRow.sealed, PersonRow.sex, PersonRow.ethnic,
        PersonRow.birth, PersonRow.purse_account, PersonRow.photo_ref,
        PhotoRow.sealed.label("photo_sealed"),
        KnownAddressRow.text.label("address_text"),
    )
    .join(PersonRow, PersonRow.id == ApplicationRow.person_id)
    .outerjoin(PermitRow, PermitRow.permit_no == ApplicationRow.permit_no)
    .outerjoin(PhotoRow, PhotoRow.ref == PersonRow.photo_ref)
    .outerjoin(KnownAddressRow, KnownAddressRow.code == ApplicationRow.address_code)
    .where(ApplicationRow.acc_no == bindparam("wanted"))
)  # fmt: skip
_PERMIT_OF = Statement(
    select(ApplicationRow.permit_no).where(ApplicationRow.acc_no == bindparam("wanted"))
)
_ALIKE = Statement(
    select(
        CardRow.card_serial, CardRow.chip_serial, CardRow.acc_no, CardRow.permit_no, CardRow.state
    ).where(
        (CardRow.card_serial == bindparam("number"))
        | (CardRow.chip_serial == bindparam("chip"))
        | (CardRow.permit_no == bindparam("permit"))
    )
)


def card_data(tx: Tx, acc_no: str, policy: int = 1, opened: CardData | None = None) -> CardData:
    """What a card for this application shows and holds.

    What was `opened` before is taken over while its seal is still the same: the HSM opens it once.
    Raises NotFound E-APPLICATION; Rejected E-STATE before approval, E-MISSING without a portrait.
    """
    row = _CARD_DATA.first(tx, wanted=acc_no)  # one question: a station asks it between two cards
    if row is None:
        raise NotFound("E-APPLICATION", "no such application")
    if row.permit_no is None:
        raise Rejected("E-STATE", "not approved", state=row.state, allowed="APPROVED")
    if None in (row.photo_sealed, row.address_text):
        raise Rejected("E-MISSING", "portrait or address is missing", items="photo, address")
    if opened is None or opened.sealed != row.sealed:
        personal = persons.personal(tx, row)
        name, citizen_id, household = (
            personal.name, personal.citizen_id, personal.household_address,
        )  # fmt: skip
    else:
        name, citizen_id, household = opened.name, opened.citizen_id, opened.household_address
    if opened is None or opened.photo_ref != row.photo_ref:
        photo = portraits.opened(tx, row.photo_ref, row.photo_sealed)
    else:
        photo = opened.photo
    return CardData(
        acc_no=acc_no,
        point=row.point,
        permit_no=row.permit_no,
        permit_type=PermitType(row.permit_type),
        name=name,
        sex=row.sex,
        ethnic=row.ethnic,
        birth=row.birth,
        citizen_id=citizen_id,
        household_address=household,
        address_code=row.address_code,
        address_text=row.address_text,
        address_since=row.issued_on,
        basis=Basis(row.permit_basis),
        issuer=ISSUER_NAME,
        issued_on=row.issued_on,
        valid_until=row.valid_until,
        ssn=row.ssn,
        policy=policy,
        lease_until=row.lease_until,
        effective_on=row.effective_on,
        purse_account=row.purse_account,
        photo=photo,
        cancelled=row.permit_status == ChipStatus.CANCELLED,
        sealed=row.sealed,
        photo_ref=row.photo_ref,
    )


def bind_card(
    tx: Tx,
    clock: Clock,
    acc_no: str,
    card_serial: str,
    chip_serial: str,
    lot: str,
    actor: str,
) -> CardRow:
    """Tie one plastic to a permit: BOUND. The same call again gives the same row.

    `chip_serial` is 16 hex digits. Raises Rejected E-NUMBER, E-STATE, E-BOUND (serial or chip known
    otherwise, or another card of this permit is BOUND).
    """
    checked = validate_card_serial(card_serial)
    chip = chip_serial.upper()
    if not checked.ok or len(chip) != CHIP_SERIAL_DIGITS or not _is_hex(chip):
        raise Rejected("E-NUMBER", "card serial or chip serial is wrong")
    row = _PERMIT_OF.first(tx, wanted=acc_no)
    if row is None or row.permit_no is None:
        raise Rejected("E-STATE", "no approved application", state="-", allowed="APPROVED")
    alike = _ALIKE.rows(tx, number=checked.normalized, chip=chip, permit=row.permit_no)
    for other in alike:
        if other.card_serial == checked.normalized:
            if (other.chip_serial, other.acc_no) == (chip, acc_no):
                return tx.get_one(CardRow, checked.normalized)
            raise Rejected("E-BOUND", "the card serial is taken", card=card_serial)
    for other in alike:
        if other.chip_serial == chip or other.state == CardState.BOUND:
            raise Rejected(
                "E-BOUND", "the chip or the permit is bound to a card", card=other.card_serial
            )
    card = CardRow(
        card_serial=checked.normalized,
        chip_serial=chip,
        permit_no=row.permit_no,
        acc_no=acc_no,
        issue_no=1 + sum(other.permit_no == row.permit_no for other in alike),
        lot=lot,
        state=CardState.BOUND,
        bound_at=clock.now(),
        chip_ssn=0,
        chip_status=ChipStatus.PENDING,
    )
    tx.add(card)
    tx.flush()
    events.append(
        tx, clock, "card.bound", card.card_serial, actor=actor, permit_no=card.permit_no,
        chip_serial=chip, acc_no=acc_no,
    )  # fmt: skip
    return card


def void_card(tx: Tx, clock: Clock, card_serial: str, reason: str, actor: str) -> None:
    """Take a plastic out for ever. Raises NotFound E-CARD, Rejected E-REASON."""
    if reason not in VOID_REASONS:
        raise Rejected("E-REASON", "unknown reason")
    card = by_serial(tx, card_serial)
    if card.state == CardState.VOID:
        return
    card.state, card.void_at, card.void_reason = CardState.VOID, clock.now(), reason
    tx.flush()
    events.append(tx, clock, "card.voided", card_serial, actor=actor, reason=reason)


def retire_issued(tx: Tx, clock: Clock, permit_no: str, actor: str) -> None:
    """From the moment a replacement is ordered the old card is dead for ever (5.4)."""
    for serial in tx.scalars(
        select(CardRow.card_serial).where(
            CardRow.permit_no == permit_no, CardRow.state == CardState.ISSUED
        )
    ).all():
        void_card(tx, clock, serial, "REPLACED", actor)


def by_serial(tx: Tx, card_serial: str) -> CardRow:
    """Raises NotFound E-CARD."""
    row = tx.get(CardRow, card_serial)
    if row is None:
        raise NotFound("E-CARD", "no such card")
    return row


def live_card(tx: Tx, permit_no: str) -> CardRow | None:
    """The ISSUED card of a permit."""
    return tx.scalar(
        select(CardRow).where(CardRow.permit_no == permit_no, CardRow.state == CardState.ISSUED)
    )


def permit_of(tx: Tx, card_serial: str) -> PermitRow:
    """The permit behind a card. Raises NotFound E-CARD."""
    return permits.get(tx, by_serial(tx, card_serial).permit_no)


def holder(tx: Tx, card: CardRow) -> PersonRow:
    """The person whose permit the card is."""
    return persons.get(tx, permits.get(tx, card.permit_no).person_id)


def saw_chip(tx: Tx, clock: Clock, card_serial: str, ssn: int, status: int) -> None:
    """Note what a chip said of itself; the server stays the truth."""
    card = by_serial(tx, card_serial)
    card.chip_ssn, card.chip_status, card.chip_seen_at = ssn, status, clock.now()


def _is_hex(text: str) -> bool:
    return all(char in "0123456789ABCDEF" for char in text)
