"""The two lists at a terminal: blacklist and status list, taken page by page (iso8583-host.md 7.9).

A version is applied whole or not at all (I-15): pages of one version and base, indexes without a gap, the
base being the version in hand. What the lists decide stands in `payments.terminal_verdict`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from core.errors import EvidenceMismatch, Rejected
from payments.field_parts import LIST_BLACK, PAGE_LAST, PAGE_NOTHING, ListPage
from payments.terminal_file import load_object, save_object

MAX_ENTRIES = 200_000
ADD = b"A"


@dataclass(frozen=True)
class Listed:
    """What the status list says of one card."""

    cause: int
    ssn: int
    since: str
    expires: str


@dataclass(frozen=True)
class CardLists:
    """Both lists as last applied; versions 0 mean none. `checked_at`: when the host last said they are current."""

    black: Mapping[bytes, str] = field(default_factory=dict)
    black_version: int = 0
    status: Mapping[bytes, Listed] = field(default_factory=dict)
    status_version: int = 0
    black_checked: datetime | None = None
    status_checked: datetime | None = None

    def version(self, letters: str) -> int:
        """Version in hand of one list."""
        return self.black_version if letters == LIST_BLACK else self.status_version

    def age(self, now: datetime) -> timedelta | None:
        """Age of the older list; None when one was never loaded."""
        if self.black_checked is None or self.status_checked is None:
            return None
        return now - min(self.black_checked, self.status_checked)

    def checked(self, letters: str, now: datetime) -> "CardLists":
        """The same lists, known to be current at `now`."""
        if letters == LIST_BLACK:
            return replace(self, black_checked=now)
        return replace(self, status_checked=now)

    def applied(self, letters: str, pages: "Collector", now: datetime) -> "CardLists":
        """The lists after a complete version."""
        if letters == LIST_BLACK:
            black = {} if pages.base == 0 else dict(self.black)
            for entry in pages.entries:
                asn, reason = entry[1:11], entry[11:12].hex()
                _change(black, entry, asn, reason)
            _check_size(black)
            return replace(self, black=black, black_version=pages.version, black_checked=now)
        status = {} if pages.base == 0 else dict(self.status)
        for entry in pages.entries:
            _change(status, entry, entry[1:9], _listed(entry))
        _check_size(status)
        return replace(self, status=status, status_version=pages.version, status_checked=now)


def _change(into: dict[bytes, Any], entry: bytes, key: bytes, value: Any) -> None:
    if entry[:1] == ADD:
        into[key] = value
    else:
        into.pop(key, None)


def _check_size(entries: Mapping[bytes, Any]) -> None:
    if len(entries) > MAX_ENTRIES:
        raise Rejected("TERM-LIST-SIZE", "more entries than a terminal holds", entries=len(entries))


def _listed(entry: bytes) -> Listed:
    """22 bytes: action 1, hash 8, cause 1, ssn 4, from 4 BCD, expires 4 BCD."""
    return Listed(
        entry[9], int.from_bytes(entry[10:14], "big"), entry[14:18].hex(), entry[18:22].hex()
    )


@dataclass
class Collector:
    """Pages of one version as they come in; half a list is thrown away with it (I-15)."""

    letters: str
    in_hand: int
    version: int = 0
    base: int = 0
    next_index: int = 0
    entries: list[bytes] = field(default_factory=list)
    complete: bool = False

    @property
    def _first(self) -> bool:
        return not self.next_index and not self.version

    def untouched(self, page: ListPage) -> bool:
        """Whether "nothing new" is the first thing said, and of the version in hand. Else it ends no half list."""
        return self._first and page.version == self.in_hand

    def take(self, page: ListPage) -> None:
        """The next page. EvidenceMismatch TERM-LIST when it does not continue the ones before."""
        if page.letters != self.letters or page.index != self.next_index or self.complete:
            raise EvidenceMismatch("TERM-LIST", f"page {self.next_index} was expected")
        if page.flag == PAGE_NOTHING:
            raise EvidenceMismatch("TERM-LIST", "nothing new, and yet another version")
        if self._first:
            self.version, self.base = page.version, page.base
            if page.base not in (0, self.in_hand):
                raise EvidenceMismatch("TERM-LIST", "the base is not the version in hand")
        elif (page.version, page.base) != (self.version, self.base):
            raise EvidenceMismatch("TERM-LIST", "the version changed between two pages")
        if len(self.entries) + len(page.entries) > MAX_ENTRIES:
            raise Rejected("TERM-LIST-SIZE", "more entries than a terminal holds")
        self.entries.extend(page.entries)
        self.next_index += len(page.entries)
        self.complete = page.flag == PAGE_LAST


# -- on disk ----------------------------------------------------------------------------------------


def save_lists(path: Path, lists: CardLists) -> None:
    """Replace the file by these lists in one step."""
    save_object(
        path,
        {
            "black": {asn.hex(): reason for asn, reason in lists.black.items()},
            "black_version": lists.black_version,
            "black_checked": _stamp(lists.black_checked),
            "status": {
                key.hex(): [one.cause, one.ssn, one.since, one.expires]
                for key, one in lists.status.items()
            },
            "status_version": lists.status_version,
            "status_checked": _stamp(lists.status_checked),
        },
    )


def load_lists(path: Path) -> CardLists:
    """The lists of the file; none at all when it is missing or damaged: the host has them."""
    value = load_object(path)
    if value is None:
        return CardLists()
    return CardLists(
        {bytes.fromhex(asn): reason for asn, reason in value["black"].items()},
        value["black_version"],
        {bytes.fromhex(key): Listed(*one) for key, one in value["status"].items()},
        value["status_version"],
        _instant(value["black_checked"]),
        _instant(value["status_checked"]),
    )


def _stamp(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
