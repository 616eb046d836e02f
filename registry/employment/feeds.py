"""Which employers exist, as other offices list them: 工商, 质监, inspection finds (residence.md 8, 15).

De-duplicated by organisation code, then registration number, then normalised name and building; the last
kind of merge is for a person to look at, so the number of merged pairs is part of the answer.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from sqlalchemy import select

from core.db import Tx
from core.errors import Rejected
from registry import imports
from registry.employment.tables import FeedEmployerRow
from registry.identifiers import building_code, validate_address_code, validate_organisation_code
from registry.imports import Imported, RowError

GSJ, ZJJ, FOUND = "GSJ", "ZJJ", "INSPECTION"
COLUMNS = ("line", "code", "reg_no", "name", "kind", "address_code27", "active")
_SUFFIX = re.compile(r"(?:股份)?(?:有限)?(?:责任)?公司$")


@dataclass(frozen=True)
class Employer:
    """One employer after de-duplication, with the feeds that know it."""

    code: str
    reg_no: str
    name: str
    kind: str
    building: str
    sources: frozenset[str]


@dataclass(frozen=True)
class Merged:
    """The union of the feeds. `by_name`: pairs merged by name and building only."""

    employers: tuple[Employer, ...]
    by_code: int
    by_reg_no: int
    by_name: int


def load_feed(tx: Tx, source: str, data: bytes, day: date) -> Imported:
    """Take a feed file in; a line that was here before is replaced. Raises Rejected E-FILE*, E-REASON."""
    if source not in (GSJ, ZJJ, FOUND):
        raise Rejected("E-REASON", "unknown feed")
    accepted, errors = 0, list[RowError]()
    rows = imports.read_table(data, COLUMNS, ("line", "name", "active"))
    for row in rows:
        values = row.values
        try:
            code, place = _code(values.get("code", "")), _building(values.get("address_code27", ""))
        except Rejected as fault:
            column = "code" if fault.code == "E-OC-CHECK" else "address_code27"
            errors.append(imports.row_error(row.number, column, fault))
            continue
        tx.merge(
            FeedEmployerRow(
                source=source, line=values["line"][:40], code=code,
                reg_no=values.get("reg_no", "")[:15], name=values["name"][:60],
                kind=values.get("kind", "")[:10] or "ENTERPRISE", building=place,
                active=values["active"].upper() in ("Y", "1", "是"), heard_on=day,
            )
        )  # fmt: skip
        accepted += 1
    tx.flush()
    return Imported(len(rows), accepted, 0, tuple(errors))


def union(tx: Tx) -> Merged:
    """All active employers of all feeds, each once."""
    rows = tx.scalars(
        select(FeedEmployerRow)
        .where(FeedEmployerRow.active.is_(True))
        .order_by(FeedEmployerRow.source, FeedEmployerRow.line)
    )
    return merge(
        Employer(r.code, r.reg_no, r.name, r.kind, r.building, frozenset({r.source})) for r in rows
    )


def merge(lines: Iterable[Employer]) -> Merged:
    """Pure de-duplication in the order of the lines."""
    found: list[Employer] = []
    keys: dict[tuple[str, str], int] = {}
    merged = {"code": 0, "reg_no": 0, "name": 0}
    for line in lines:
        mine = _keys(line)
        at = next((keys[key] for key in mine if key in keys), None)
        if at is None:
            at = len(found)
            found.append(line)
        else:
            kind = next(key[0] for key in mine if key in keys)
            merged[kind] += 1
            found[at] = _joined(found[at], line)
        for key in _keys(found[at]) + mine:
            keys.setdefault(key, at)
    return Merged(tuple(found), merged["code"], merged["reg_no"], merged["name"])


def _keys(line: Employer) -> list[tuple[str, str]]:
    keys = []
    if line.code:
        keys.append(("code", line.code))
    if line.reg_no:
        keys.append(("reg_no", line.reg_no))
    if line.building:
        keys.append(("name", plain_name(line.name) + "@" + line.building))
    return keys


def _joined(first: Employer, second: Employer) -> Employer:
    return Employer(
        first.code or second.code, first.reg_no or second.reg_no, first.name, first.kind,
        first.building or second.building, first.sources | second.sources,
    )  # fmt: skip


def plain_name(name: str) -> str:
    """A company's name without width, blanks and legal form.

    >>> plain_name("深圳海晖物流　有限公司"), plain_name("深圳市海晖物流公司")
    ('海晖物流', '海晖物流')
    """
    plain = unicodedata.normalize("NFKC", name).replace(" ", "").lower()
    plain = plain.removeprefix("深圳市").removeprefix("深圳")
    return _SUFFIX.sub("", plain)


def _code(text: str) -> str:
    if not text:
        return ""
    checked = validate_organisation_code(text)
    if not checked.ok:
        raise Rejected(checked.code)
    return checked.normalized


def _building(text: str) -> str:
    if not text:
        return ""
    checked = validate_address_code(text)
    if not checked.ok:
        raise Rejected(checked.code)
    return building_code(checked.normalized)
