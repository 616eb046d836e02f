"""Persons and their portraits in the residence register."""

import unicodedata
from dataclasses import asdict, dataclass, replace
from datetime import date

from sqlalchemy import select

from core import events
from core.clock import Clock, business_date
from core.db import Tx, metadata, queue_for
from core.errors import NotFound, Rejected
from core.ids import uuid7
from core.rows import Insert
from registry import sequences, vault
from registry.identifiers import (
    citizen_birth,
    citizen_sex,
    make_purse_account,
    validate_citizen_id,
)
from registry.residence import portraits
from registry.residence.tables import LinkRow, PersonRow
from registry.roles import CLERKS, Actor, Role, require
from registry.vault import Place, Vault

REGISTER = "residence"

MAX_NAME_BYTES = 30
MAX_ADDRESS_BYTES = 70
ETHNIC_GROUPS = range(1, 57)
_LINKS = Insert(metadata.tables[LinkRow.__tablename__])


@dataclass(frozen=True, repr=False)
class PersonData:
    """What an applicant states. `sex` GB/T 2261.1, `ethnic` GB/T 3304 (1 to 56)."""

    citizen_id: str
    name: str
    sex: int
    ethnic: int
    household_address: str
    phone: str = ""
    identity_level: int = 1


@dataclass(frozen=True, repr=False)
class Personal:
    """What is sealed of a person (residence.md 4.1, the fields with a lock)."""

    citizen_id: str
    name: str
    household_address: str
    phone: str


@dataclass(frozen=True, repr=False)
class Newcomer:
    """Stated data that met every rule, under seal for a row of their own; nothing is kept yet."""

    id: str
    index: str
    sealed: bytes
    sex: int
    ethnic: int
    birth: date
    identity_level: int


def check_name(name: str) -> None:
    """Raises Rejected E-NAME: empty, edge blanks, digits, controls, or longer than the chip's 30 bytes."""
    bad = any(char.isdigit() or unicodedata.category(char) == "Cc" for char in name)
    if (
        bad
        or len(name) < 2
        or name != name.strip()
        or len(name.encode("utf-16-le")) > MAX_NAME_BYTES
    ):
        raise Rejected("E-NAME", "the name does not fit the rule")


def check(keeper: Vault, clock: Clock, data: PersonData) -> Newcomer:
    """Hold what an applicant states against the rules and seal it: no transaction is needed.

    Raises Rejected E-CID-*, E-CID-SEX, E-NAME, E-ETHNIC, E-AC-TEXT, and the errors of `Vault`.
    """
    checked = validate_citizen_id(data.citizen_id, business_date(clock.now()))
    if not checked.ok:
        raise Rejected(checked.code)
    number = checked.normalized
    if citizen_sex(number) != data.sex:
        raise Rejected("E-CID-SEX", "stated sex and number differ")
    check_name(data.name)
    if data.ethnic not in ETHNIC_GROUPS:
        raise Rejected("E-ETHNIC", "unknown ethnic code")
    _check_household(data.household_address)
    (index,) = keeper.index(REGISTER, "citizen_id", [number])
    person_id = uuid7(clock.now())
    fields = Personal(number, data.name, data.household_address, data.phone)
    (sealed,) = keeper.seal([(Place(PersonRow.__tablename__, person_id), asdict(fields))])
    return Newcomer(
        person_id, index, sealed, data.sex, data.ethnic, citizen_birth(number), data.identity_level
    )


def enter(tx: Tx, newcomer: Newcomer) -> PersonRow:
    """The person the register knows by the number, or a new one; the identity level only rises."""
    queue_for(tx, f"person {newcomer.index}")
    known = tx.scalar(select(PersonRow).where(PersonRow.citizen_index == newcomer.index))
    if known is not None:
        known.identity_level = max(known.identity_level, newcomer.identity_level)
        return known
    row = PersonRow(
        id=newcomer.id,
        citizen_index=newcomer.index,
        sealed=newcomer.sealed,
        sex=newcomer.sex,
        ethnic=newcomer.ethnic,
        birth=newcomer.birth,
        identity_level=newcomer.identity_level,
        purse_account=make_purse_account(sequences.take(tx, "purse-account")),
    )
    tx.add(row)
    _LINKS.run(tx, [{"source": REGISTER, "subject": row.id, "citizen_index": newcomer.index}])
    return row


def register(tx: Tx, clock: Clock, data: PersonData) -> str:
    """Find or add a person by citizen id; returns the person's id. Raises as `check`."""
    row = enter(tx, check(vault.of(tx), clock, data))
    tx.flush()
    return row.id


def personal(tx: Tx, row: PersonRow) -> Personal:
    """The sealed fields, opened. Raises NotFound E-ERASED (past their time), and what `vault.open_row` raises."""
    if row.sealed is None:
        raise NotFound("E-ERASED", "the particulars are past their time")
    return Personal(**vault.open_row(tx, PersonRow.__tablename__, row.id, row.sealed))


def by_citizen_id(tx: Tx, citizen_id: str) -> PersonRow | None:
    """The person of a normalised citizen number."""
    index = vault.citizen_index(tx, REGISTER, citizen_id)
    return tx.scalar(select(PersonRow).where(PersonRow.citizen_index == index))


def correct(
    tx: Tx, clock: Clock, person_id: str, actor: Actor, *,
    name: str = "", household_address: str = "", phone: str = "",
) -> None:  # fmt: skip
    """Put a name, address or telephone right, seen on a document (residence.md 17); empty: stays as it is.

    A card in the making is looked at again by production, which compares what it released. Raises NotAllowed
    E-ROLE, NotFound E-PERSON, Rejected E-NAME, E-AC-TEXT.
    """
    require(actor, *CLERKS, Role.REVIEWER)
    row = get(tx, person_id)
    wanted = {"name": name, "household_address": household_address, "phone": phone}
    changed = {field: value for field, value in wanted.items() if value}
    if name:
        check_name(name)
    if household_address:
        _check_household(household_address)
    before = personal(tx, row)
    after = replace(before, **changed)
    if after == before:
        return
    row.sealed = _sealed(tx, person_id, after)
    tx.flush()
    events.append(
        tx, clock, "person.corrected", person_id, actor=actor.name, fields=sorted(changed)
    )


def _sealed(tx: Tx, person_id: str, fields: Personal) -> bytes:
    return vault.seal(tx, PersonRow.__tablename__, person_id, asdict(fields))


def _check_household(text: str) -> None:
    if not 0 < len(text.encode("utf-16-le")) <= MAX_ADDRESS_BYTES:
        raise Rejected("E-AC-TEXT", "the household address does not fit the card")


def store_photo(tx: Tx, clock: Clock, person_id: str, jpeg: bytes) -> str:
    """Check and keep a portrait; returns its receipt number. Raises NotFound E-PERSON, Rejected E-PHOTO-*."""
    person = get(tx, person_id)
    ref = portraits.keep(tx, person, portraits.check(vault.of(tx), clock, jpeg))
    tx.flush()
    return ref


def get(tx: Tx, person_id: str) -> PersonRow:
    """Raises NotFound E-PERSON."""
    row = tx.get(PersonRow, person_id)
    if row is None:
        raise NotFound("E-PERSON", "no such person")
    return row
