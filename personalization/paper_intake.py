"""Applications that legacy points send as a table with portraits beside it (production.md 13).

Every row stands for itself: it is accepted whole, or refused with its reason while the others go on. An
accepted row is an application ACCEPTED at its point; checks, review and approval follow as for any other.
What could never be printed (no glyph, unknown profile) is refused here, not on the floor.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from core.clock import Clock
from core.db import Database, Tx
from core.errors import CityError, Rejected
from personalization import commands, orders, typeface
from registry import imports
from registry.imports import Imported, Row, RowError
from registry.residence import applications, persons, photo
from registry.residence.domain import Basis
from registry.roles import Actor

REQUIRED = (
    "citizen_id", "name", "sex", "ethnic", "household_address", "address_code", "basis", "point",
    "photo", "fee_receipt", "profile",
)  # fmt: skip
COLUMNS = (*REQUIRED, "phone")
EXIF_ORIENTATION, UPRIGHT = 0x0112, 1
Progress = Callable[[], None]

# Which column a code speaks of; a code that is not here concerns the whole row.
_COLUMN = {
    "E-NAME": "name", "E-ETHNIC": "ethnic", "E-CID-SEX": "sex", "E-AC-TEXT": "household_address",
    "E-POINT": "point", "E-FEE": "fee_receipt", "W-PROFILE": "profile", "W-BASIS": "basis",
    "W-NUMBER": "ethnic",
}  # fmt: skip


@dataclass(frozen=True)
class Folder:
    """Where the portraits lie. Only plain file names are opened, and none larger than the photo rule's limit."""

    path: Path

    def read(self, name: str) -> bytes:
        """Raises Rejected W-PHOTO-FILE, E-PHOTO-SIZE."""
        if not name or Path(name).name != name:
            raise Rejected("W-PHOTO-FILE", "a plain file name is wanted", file=name or "-")
        path = self.path / name
        if not path.is_file():
            raise Rejected("W-PHOTO-FILE", "no such file", file=name)
        size = path.stat().st_size
        if size > photo.MAX_BYTES:
            raise Rejected("E-PHOTO-SIZE", f"{size} bytes", bytes=size)
        return path.read_bytes()


def take_in(
    db: Database,
    clock: Clock,
    table: bytes,
    photos: Folder,
    clerk: Actor,
    progress: Progress = lambda: None,
) -> Imported:
    """Read a CSV or XLSX file and enter its rows, one transaction each; a row that was here is `repeated`.

    Raises Rejected E-FILE-*, when the file as a whole is not what it should be.
    """
    rows = imports.read_table(table, COLUMNS, REQUIRED)
    accepted = repeated = 0
    errors: list[RowError] = []
    for row in rows:
        try:
            if _enter(db, clock, row, photos, clerk):
                accepted += 1
            else:
                repeated += 1
        except CityError as fault:
            errors.append(imports.row_error(row.number, _column(fault.code), fault))
        progress()
    return Imported(len(rows), accepted, repeated, tuple(errors))


def _column(code: str) -> str:
    if code in _COLUMN:
        return _COLUMN[code]
    for head, column in (
        ("E-CID", "citizen_id"), ("E-PHOTO", "photo"), ("W-PHOTO", "photo"), ("E-AC", "address_code"),
        ("A-GLYPH", "name"),
    ):  # fmt: skip
        if code.startswith(head):
            return column
    return "*"


def _enter(db: Database, clock: Clock, row: Row, photos: Folder, clerk: Actor) -> bool:
    """One row; False when the same row was entered before."""
    portrait = _upright(photos.read(row.values["photo"]))
    entered: list[str] = []

    def act(tx: Tx) -> commands.Answer:
        entered.append(_apply(tx, clock, row.values, portrait, clerk))
        return {"acc_no": entered[-1]}

    with db.write() as tx:
        name = f"row-{row.digest[:50]}"
        commands.once(tx, clock, name, "paper.row", {"row": row.digest}, lambda: act(tx))
    return bool(entered)


def _upright(jpeg: bytes) -> bytes:
    """Raises Rejected W-PHOTO-TURNED when the camera says that the picture lies on its side, E-PHOTO-MODE for what
    is no picture or says that it is a gigapixel one."""
    try:
        with Image.open(io.BytesIO(jpeg)) as image:
            turned = image.getexif().get(EXIF_ORIENTATION, UPRIGHT) != UPRIGHT
    except (
        UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError,
    ) as reason:  # fmt: skip
        raise Rejected("E-PHOTO-MODE", "not a picture") from reason
    if turned:
        raise Rejected("W-PHOTO-TURNED", "the picture is turned")
    return jpeg


def _apply(tx: Tx, clock: Clock, values: dict[str, str], portrait: bytes, clerk: Actor) -> str:
    """The steps of the window: person, portrait, draft, submitted, accepted. Raises what they raise."""
    if values["profile"] not in orders.PROFILES:
        raise Rejected("W-PROFILE", "no such profile", profile=values["profile"] or "-")
    if values["basis"].upper() not in Basis.__members__:
        raise Rejected("W-BASIS", "no such ground", basis=values["basis"] or "-")
    printable((values["name"], values["household_address"]))
    person_id = persons.register(tx, clock, _person(values))
    known = persons.personal(tx, persons.get(tx, person_id))
    if known.name != values["name"]:
        raise Rejected("W-OTHER-NAME", "the register knows another name")
    persons.store_photo(tx, clock, person_id, portrait)
    draft = applications.Draft(
        person_id, Basis(values["basis"].upper()), values["address_code"], values["point"]
    )
    tracking = applications.save(tx, clock, draft, clerk)
    applications.submit(tx, clock, tracking, clerk)
    return applications.accept(tx, clock, tracking, clerk, values["fee_receipt"])


def _person(values: dict[str, str]) -> persons.PersonData:
    numbers = {}
    for column in ("sex", "ethnic"):
        text = values[column]
        if not (text.isascii() and text.isdigit() and len(text) <= 2):
            raise Rejected("W-NUMBER", "a number is wanted", column=column)
        numbers[column] = int(text)
    return persons.PersonData(
        citizen_id=values["citizen_id"],
        name=values["name"],
        sex=numbers["sex"],
        ethnic=numbers["ethnic"],
        household_address=values["household_address"],
        phone=values.get("phone", ""),
    )


def printable(texts: Sequence[str]) -> None:
    """Raises Rejected A-GLYPH for characters the card's font does not have."""
    for text in texts:
        lost = typeface.missing(text, "regular")
        if lost:
            points = " ".join(f"U+{ord(char):04X}" for char in lost)
            raise Rejected("A-GLYPH", points, field="name, address", characters=points)
