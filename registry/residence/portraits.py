"""Portraits in the residence register: checked once, kept under seal, opened for a card (residence.md 3.7, 17)."""

import hashlib
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, select

from core.clock import Clock
from core.db import Tx, metadata
from core.errors import Rejected
from core.ids import uuid7
from core.rows import Insert, Statement
from registry import vault
from registry.residence import photo
from registry.residence.tables import LegalHoldRow, PersonRow, PhotoRow
from registry.vault import Place, Vault

_PHOTOS = Insert(metadata.tables[PhotoRow.__tablename__])
_SAME = Statement(select(PhotoRow.ref).where(PhotoRow.sha256 == bindparam("digest")))
_HELD = Statement(
    select(LegalHoldRow.person_id).where(LegalHoldRow.person_id == bindparam("person"))
)


@dataclass(frozen=True, repr=False)
class Portrait:
    """A picture that passed the photo rule, under seal for a row of its own; `digest`: SHA-256 of the JPEG."""

    ref: str
    digest: str
    sealed: bytes


def check(keeper: Vault, clock: Clock, jpeg: bytes) -> Portrait:
    """Look at a picture and seal it: no transaction is needed, nothing is kept yet.

    Raises Rejected E-PHOTO-*, and the errors of `Vault`.
    """
    photo.check(jpeg)
    ref = uuid7(clock.now())
    sealed = keeper.seal_long(Place(PhotoRow.__tablename__, ref), jpeg)
    return Portrait(ref, hashlib.sha256(jpeg).hexdigest(), sealed)


def keep(tx: Tx, person: PersonRow, portrait: Portrait) -> str:
    """It is the person's portrait from now on, in the place of the one before; returns its receipt number.

    The same picture again is the same receipt. Raises Rejected E-PHOTO-DUP: it is another person's.
    """
    same = _SAME.first(tx, digest=portrait.digest)
    if same is not None:
        if same.ref != person.photo_ref:
            raise Rejected("E-PHOTO-DUP", "the portrait belongs to another person")
        return str(same.ref)
    drop(tx, person)
    _PHOTOS.run(tx, [{"ref": portrait.ref, "sha256": portrait.digest, "sealed": portrait.sealed}])
    person.photo_ref = portrait.ref
    return portrait.ref


def drop(tx: Tx, person: PersonRow) -> None:
    """The person has no portrait any more; under a legal hold it stays."""
    if person.photo_ref is None or _HELD.first(tx, person=person.id) is not None:
        return
    ref, person.photo_ref = person.photo_ref, None
    tx.flush()
    tx.execute(delete(PhotoRow).where(PhotoRow.ref == ref))


def opened(tx: Tx, ref: str, sealed: bytes) -> bytes:
    """The JPEG. Raises Unavailable VAULT-NONE, and the errors of `Vault`."""
    return vault.of(tx).open_long(Place(PhotoRow.__tablename__, ref), sealed)
