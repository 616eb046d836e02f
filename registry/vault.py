"""Personal data at rest: the one front door to sealing them and finding them again (residence.md 4, 17).

A register keeps the personal fields of a row as one value that the HSM sealed (command 80, AES-256-GCM) with
the table and the row's key bound to it: moved to another row it does not open. What is longer than the HSM takes
at once (a portrait) is sealed in pieces, each bound to its place and their count. A number is found by its keyed
index (command 84, HMAC-SHA-256), which differs from register to register, so two registers' lists do not join.
The only index that crosses is the residence register's own, once, in `PersonLinked`.

Who builds a `Database` gives it a vault with `attach`; without one no personal data can be read or written,
and everything else goes on. Registers never see a key, only the names of two slots of the key directory.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from core.db import Database, Tx
from core.errors import Rejected, Unavailable
from hsm_sim.client import Hsm, KeySlots
from hsm_sim.data_requests import (
    MAX_DATA,
    MAX_ENTRIES,
    SEALED_EXTRA,
    VERSION_LENGTH,
    DecryptFields,
    EncryptFields,
    Entry,
    KeyedIndex,
    ReencryptFields,
)

SCOPE = "registers"
USAGE_DATA, USAGE_INDEX = "D0", "M7"
INDEX_DIGITS = 32
MAX_FRAME_BYTES = 7_000  # of 8,192 with every field's own length and the frame's head
MAX_LONG = 64 * MAX_DATA  # bytes of one value that is sealed in pieces
_MAX_SEALED = MAX_DATA + SEALED_EXTRA
_INFO = "vault"

Personal = Mapping[str, str]
"""The personal fields of one row, by name."""


class Place(NamedTuple):
    """Where a sealed value stands: the table's name and the row's key."""

    table: str
    row: str

    @property
    def context(self) -> bytes:
        """Bound to the sealed value: it opens nowhere else."""
        return f"{self.table}.sealed.{self.row}".encode()


class Vault:
    """Seals, opens and indexes through an HSM (role DATA). Safe to share between threads when the port is.

    Every method raises the errors of `hsm_sim.errors`: HSM-01 when a value was altered or stands in another
    row, HSM-F0 when the day's quota of indexes is used up, HSM-GONE when the HSM does not answer.
    """

    def __init__(self, hsm: Hsm, slots: KeySlots) -> None:
        """Raises NotFound HSM-NO-KEY when the directory has no key for the registers."""
        self._hsm = hsm
        newest = _newest(slots, USAGE_DATA)
        self._data = slots.find(USAGE_DATA, SCOPE, newest)
        self._index = slots.find(USAGE_INDEX, SCOPE, _newest(slots, USAGE_INDEX))
        self._version = f"{newest:0{VERSION_LENGTH}X}".encode("ascii")

    def seal(self, rows: Sequence[tuple[Place, Personal]]) -> list[bytes]:
        """The personal fields of each row, sealed. Raises Rejected E-SEAL-SIZE above 1,024 bytes a row."""
        return self._seal(Entry(place.context, _packed(fields)) for place, fields in rows)

    def open(self, rows: Sequence[tuple[Place, bytes]]) -> list[dict[str, str]]:
        """The personal fields of each row again."""
        opened = self._open(Entry(place.context, sealed) for place, sealed in rows)
        return [json.loads(fields) for fields in opened]

    def seal_long(self, place: Place, data: bytes) -> bytes:
        """A value of a row that is no set of fields, up to 65,536 bytes. Raises Rejected E-SEAL-SIZE."""
        if len(data) > MAX_LONG:
            raise Rejected("E-SEAL-SIZE", "the value is too long", bytes=len(data))
        return b"".join(self._seal(_pieces(place, data, MAX_DATA)))

    def open_long(self, place: Place, sealed: bytes) -> bytes:
        """The value again."""
        return b"".join(self._open(_pieces(place, sealed, _MAX_SEALED)))

    @property
    def version(self) -> bytes:
        """The version of the key that seals now: the first two bytes of what it seals."""
        return self._version

    def reseal(self, rows: Sequence[tuple[Place, bytes]]) -> list[bytes]:
        """The same values under the newest version of the key (command 86); nobody sees them on the way."""
        cut = [_pieces(place, sealed, _MAX_SEALED) for place, sealed in rows]
        made = iter(self._call(ReencryptFields, (piece for pieces in cut for piece in pieces)))
        return [b"".join(islice(made, len(pieces))) for pieces in cut]

    def index(self, register: str, kind: str, values: Iterable[str]) -> list[str]:
        """32 hex digits for each value: how `register` finds a number of this kind without keeping it."""
        found: list[str] = []
        for frame in _frames(Entry(kind.encode(), value.encode()) for value in values):
            answer = self._hsm.call(KeyedIndex(self._index, frame, register.encode()))
            found += [one.hex() for one in answer]
        return found

    def _seal(self, entries: Iterable[Entry]) -> list[bytes]:
        return self._call(EncryptFields, entries)

    def _open(self, entries: Iterable[Entry]) -> list[bytes]:
        return self._call(DecryptFields, entries)

    def _call(self, command: type[EncryptFields], entries: Iterable[Entry]) -> list[bytes]:
        found: list[bytes] = []
        for frame in _frames(entries):
            found += self._hsm.call(command(self._data, frame))
        return found


def attach(db: Database, vault: Vault) -> None:
    """Every transaction of `db` works with this vault from now on."""
    db.info[_INFO] = vault


def of(place: Tx | Database) -> Vault:
    """The vault of a transaction or database. Raises Unavailable VAULT-NONE: there is no HSM for personal data."""
    vault = place.info.get(_INFO)
    if not isinstance(vault, Vault):
        raise Unavailable("VAULT-NONE", "no HSM for personal data is connected")
    return vault


def seal(tx: Tx, table: str, row: str, fields: Personal) -> bytes:
    """The personal fields of one row, sealed. Raises Unavailable VAULT-NONE, Rejected E-SEAL-SIZE, HSM-…."""
    return of(tx).seal([(Place(table, row), fields)])[0]


def open_row(tx: Tx, table: str, row: str, sealed: bytes) -> dict[str, str]:
    """The personal fields of one row. Raises Unavailable VAULT-NONE, EvidenceMismatch HSM-01, HSM-…."""
    return of(tx).open([(Place(table, row), sealed)])[0]


def citizen_index(tx: Tx, register: str, citizen_id: str) -> str:
    """How `register` finds a person of this citizen number (normalised, 18 characters)."""
    return of(tx).index(register, "citizen_id", [citizen_id])[0]


def _newest(slots: KeySlots, usage: str) -> int:
    versions = [
        int(key.version, 16)
        for key in slots.keys_known
        if (key.usage, key.scope, key.state) == (usage, SCOPE, "ACTIVE")
    ]
    return max(versions, default=1)


def _packed(fields: Personal) -> bytes:
    data = json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    if len(data) > MAX_DATA:
        raise Rejected("E-SEAL-SIZE", "personal fields are too long", bytes=len(data))
    return data


def _pieces(place: Place, value: bytes, longest: int) -> list[Entry]:
    """A value as the HSM takes it: whole, or in pieces that open in this order and all together only."""
    if len(value) <= longest:
        return [Entry(place.context, value)]
    cut = [value[at : at + longest] for at in range(0, len(value), longest)]
    return [
        Entry(place.context + f".{number}/{len(cut)}".encode(), piece)
        for number, piece in enumerate(cut, 1)
    ]


def _frames(entries: Iterable[Entry]) -> Iterator[tuple[Entry, ...]]:
    """As many entries together as one frame of the HSM takes."""
    frame: list[Entry] = []
    size = 0
    for entry in entries:
        more = len(entry.context) + len(entry.data)
        if frame and (len(frame) == MAX_ENTRIES or size + more > MAX_FRAME_BYTES):
            yield tuple(frame)
            frame, size = [], 0
        frame.append(entry)
        size += more
    if frame:
        yield tuple(frame)
