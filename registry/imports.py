"""Reading what offices and employers send: CSV (UTF-8) and XLSX tables with one header row.

`read_table` answers rows as dictionaries of texts with their row numbers as the sender sees them (the header
is row 1), or refuses the file as a whole: too large, unreadable, wrong header. What is wrong inside a row is
a `RowError` of that row; the others go on.
"""

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

from core.errors import CityError, Rejected
from core.faults import explain

MAX_BYTES = 5 * 1024 * 1024
MAX_UNPACKED = 50 * 1024 * 1024  # an XLSX is a ZIP: what it may unpack to
MAX_ROWS = 5_000
MAX_CELL = 200
XLSX_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True)
class Row:
    """One line; `number` counts as a spreadsheet does. `digest` is over all its values."""

    number: int
    values: dict[str, str]

    @property
    def digest(self) -> str:
        """The same line in another file has the same digest."""
        text = "\x1f".join(f"{key}={self.values[key]}" for key in sorted(self.values))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class RowError:
    """What is wrong with one row, in the words of the fault catalogue."""

    row: int
    column: str
    code: str
    message_zh: str
    message_en: str


@dataclass(frozen=True)
class Imported:
    """The answer to a file: accepted, repeated (here before) and refused rows."""

    rows: int
    accepted: int
    repeated: int
    errors: tuple[RowError, ...]


def row_error(row: int, column: str, fault: CityError) -> RowError:
    """A fault as a row's error."""
    zh, _ = explain(fault, "zh")
    en, _ = explain(fault, "en")
    return RowError(row, column, fault.code, zh, en)


def read_table(data: bytes, columns: Sequence[str], required: Sequence[str]) -> list[Row]:
    """All rows of a CSV or XLSX file; empty lines are left out.

    Raises Rejected E-FILE-SIZE, E-FILE (not a table), E-FILE-HEAD (a required column is missing or one is
    unknown: `column` says which).
    """
    if len(data) > MAX_BYTES:
        raise Rejected("E-FILE-SIZE", f"{len(data)} bytes", limit=MAX_BYTES // 1024 // 1024)
    lines = _xlsx(data) if data.startswith(XLSX_MAGIC) else _csv(data)
    try:
        _, head = next(lines)
    except StopIteration:
        raise Rejected("E-FILE", "the file is empty") from None
    names = [name.strip().lower() for name in head]
    while names and not names[-1]:
        names.pop()
    for name in required:
        if name not in names:
            raise Rejected("E-FILE-HEAD", "a column is missing", column=name)
    for name in names:
        if name not in columns or names.count(name) > 1:
            raise Rejected("E-FILE-HEAD", "a column is unknown or doubled", column=name or "-")
    found: list[Row] = []
    for number, cells in lines:
        values = {
            name: cells[at].strip() if at < len(cells) else "" for at, name in enumerate(names)
        }
        if not any(values.values()):
            continue
        if len(found) == MAX_ROWS:
            raise Rejected("E-FILE-SIZE", "too many rows", limit=MAX_ROWS)
        found.append(Row(number, values))
    return found


def _csv(data: bytes) -> Iterator[tuple[int, list[str]]]:
    try:
        text = data.decode("utf-8-sig")
        for number, cells in enumerate(csv.reader(io.StringIO(text), strict=True), 1):
            yield number, [cell[: MAX_CELL + 1] for cell in cells]
    except (UnicodeDecodeError, csv.Error):
        raise Rejected("E-FILE", "not a CSV table in UTF-8") from None


def _xlsx(data: bytes) -> Iterator[tuple[int, list[str]]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            unpacked = sum(entry.file_size for entry in packed.infolist())
        if unpacked > MAX_UNPACKED:
            raise Rejected("E-FILE-SIZE", "it unpacks to too much", limit=MAX_UNPACKED)
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        try:
            sheet = book.worksheets[0]
            for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
                yield number, [_text(cell) for cell in cells]
        finally:
            book.close()
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, IndexError, OSError):
        raise Rejected("E-FILE", "not an XLSX table") from None


def _text(cell: Any) -> str:
    """A cell as the sender typed it: dates as ISO, whole numbers without a point."""
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return cell.date().isoformat()
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)[: MAX_CELL + 1]


def a_date(values: dict[str, str], column: str) -> date:
    """A day: 2007-06-01, 2007/6/1, 20070601 or 2007年6月1日. Raises Rejected E-DATE."""
    text = values.get(column, "")
    plain = text.replace("年", "-").replace("月", "-").replace("日", "").replace("/", "-")
    try:
        if len(plain) == 8 and plain.isascii() and plain.isdigit():
            return date(int(plain[:4]), int(plain[4:6]), int(plain[6:]))
        year, month, day = plain.split("-")
        return date(int(year), int(month), int(day))
    except ValueError:
        raise Rejected("E-DATE", "not a day", column=column) from None
