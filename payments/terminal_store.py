"""The terminal's memory: one append-only file, a checksum on each record, fsync before what cannot be undone.

A record is a line ``<crc32, 8 hex> <JSON>`` with the kind of what it says and the whole new value, so the
last line about a thing rules (iso8583-host.md 8.4). A line that was being written when the power went is
cut off at the next start: whoever wrote it had not acted on it. A bad line with good ones behind it is
damage, never skipped: EvidenceMismatch TERM-STORE-DAMAGED. One process at a time holds the file.

Nothing that still waits is ever dropped. `compact` rewrites the file with what counts (other file, fsync,
rename), when a batch is closed or the file has grown long.
"""

import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

from core.errors import DeviceFault, EvidenceMismatch, Rejected, Unavailable
from payments.terminal_codec import plain, restore
from payments.terminal_records import LoadCase, PurchaseEntry

CAPACITY = 5_000
SALES_STOP = CAPACITY * 9 // 10
MAX_TRACE = 999_999
TRACE_BLOCK = 32
COMPACT_LINES = 50_000
CRC_DIGITS = 8
LAYOUT = 1


class Disk(Protocol):
    """What the store does to the disk: two calls, so that a test can stop between any two of them."""

    def write(self, file: int, data: bytes) -> int:
        """Bytes taken."""
        ...

    def sync(self, file: int) -> None:
        """Return when file (or folder) is safe from a power cut."""
        ...


class SystemDisk:
    """The machine's disk."""

    def write(self, file: int, data: bytes) -> int:
        """`os.write`."""
        return os.write(file, data)

    def sync(self, file: int) -> None:
        """`os.fsync`."""
        os.fsync(file)


SYSTEM_DISK = SystemDisk()


class TerminalStore:
    """Cases of one terminal. Every `put` is on disk when it returns, unless it says `sync=False`."""

    def __init__(self, path: Path, disk: Disk = SYSTEM_DISK) -> None:
        """Open or create `path`.

        Raises Unavailable TERM-STORE-BUSY, EvidenceMismatch TERM-STORE-DAMAGED, DeviceFault
        TERM-STORE-WRITE.
        """
        self._path = path
        self._disk = disk
        self._broken = False
        self.torn_bytes = 0
        self.loads: dict[int, LoadCase] = {}
        self.purchases: dict[int, PurchaseEntry] = {}
        self.marks: dict[str, str] = {}
        self._lines = 0
        self._number = 0
        self._trace = self._trace_ceiling = 0
        fresh = not path.exists()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._hold()
            self._replay()
            if fresh:
                self._sync_folder()
                self._append("layout", LAYOUT)
        except BaseException:
            os.close(self._file)
            raise

    def _hold(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            same = os.fstat(self._file).st_ino == os.stat(self._path).st_ino
        except (BlockingIOError, FileNotFoundError):
            same = False
        if not same:  # held by another process, or just replaced by one that compacts
            raise Unavailable("TERM-STORE-BUSY", "another process holds it", store=self._path.name)

    # -- what it knows ------------------------------------------------------------------------------

    def open_loads(self) -> list[LoadCase]:
        """Loads that wait for the host or the card, oldest first."""
        return [case for case in self.loads.values() if case.open]

    def waiting(self) -> list[PurchaseEntry]:
        """Purchases the host has still to be told of, oldest first."""
        return [entry for entry in self.purchases.values() if entry.waiting]

    def torn(self) -> list[PurchaseEntry]:
        """Purchases that only the same card can settle."""
        return [entry for entry in self.purchases.values() if entry.torn]

    def sale(self, sale: str) -> PurchaseEntry | None:
        """The purchase made for the cashier's id, if any."""
        found = (e for e in self.purchases.values() if e.sale == sale and (e.spent or e.torn))
        return next(found, None) if sale else None

    def empty(self) -> bool:
        """Whether nothing waits: the condition for signing off."""
        return not (self.open_loads() or self.waiting() or self.torn())

    def check_room(self) -> None:
        """Rejected TERM-STORE-FULL from 90 % of the capacity: off-line sales stop, nothing is thrown away."""
        held = sum(not entry.settled for entry in self.purchases.values())
        if held >= SALES_STOP:
            raise Rejected("TERM-STORE-FULL", "settle the batch first", records=held)

    # -- numbers ------------------------------------------------------------------------------------

    def next_number(self) -> int:
        """A local number for a new case; unused ones leave a gap."""
        self._number += 1
        return self._number

    def next_trace(self) -> int:
        """Field 11 of a new message, 1 to 999999. A block is reserved on disk, so a restart never repeats one."""
        if self._trace == self._trace_ceiling:
            start = 0 if self._trace_ceiling >= MAX_TRACE else self._trace_ceiling
            ceiling = min(start + TRACE_BLOCK, MAX_TRACE)
            self._append("trace", ceiling)
            self._trace, self._trace_ceiling = start, ceiling
        self._trace += 1
        return self._trace

    # -- changes ------------------------------------------------------------------------------------

    def put_load(self, case: LoadCase) -> None:
        """Save a load's new state."""
        self._append("load", plain(case))
        self.loads[case.number] = case
        self._tidy()

    def put_purchase(self, entry: PurchaseEntry, sync: bool = True) -> None:
        """Save a purchase's new state; a VOID one is forgotten afterwards: nothing happened."""
        self._append("purchase", plain(entry), sync)
        self._keep(entry)
        self._tidy()

    def mark(self, **values: str) -> None:
        """Save small facts: batch number, day of the last sign-on, parameters."""
        self._append("marks", values)
        self.marks.update(values)

    def close_batch(self, batch: int) -> None:
        """Forget what is final of a closed batch. What still waits stays, whatever its batch. Twice is as once.

        Purchases with a cashier's id stay for one batch more: their id must not charge a second time.
        """
        for number, entry in list(self.purchases.items()):
            sold = entry.code and entry.batch == batch
            older = entry.settled and entry.batch != batch
            if older or entry.lost or (sold and not entry.sale):
                del self.purchases[number]
            elif sold:
                self.purchases[number] = replace(entry, settled=True)
        for number, case in list(self.loads.items()):
            if not case.open and case.batch == batch:
                del self.loads[number]
        self.compact()

    def _keep(self, entry: PurchaseEntry) -> None:
        if entry.spent or entry.torn or entry.record.status == "uncertain":
            self.purchases[entry.number] = entry
        else:
            self.purchases.pop(entry.number, None)

    # -- the file -----------------------------------------------------------------------------------

    def _append(self, kind: str, value: Any, sync: bool = True) -> None:
        if self._broken:
            raise DeviceFault("TERM-STORE-WRITE", "an earlier write failed", store=self._path.name)
        line = _line(kind, value)
        try:
            if self._disk.write(self._file, line) != len(line):
                raise OSError("the disk took only part of a record")
            if sync:
                self._disk.sync(self._file)
        except OSError as reason:
            self._broken = True  # what is on disk now is for the next start to find out
            raise DeviceFault(
                "TERM-STORE-WRITE", f"{reason.strerror or reason}", store=self._path.name
            ) from reason
        self._lines += 1

    def _tidy(self) -> None:
        """Compact a long file; only when memory holds what was just appended."""
        if self._lines >= COMPACT_LINES:
            self.compact()

    def _replay(self) -> None:
        data = self._path.read_bytes()
        good = 0
        for line in data.splitlines(keepends=True):
            entry = _parse(line)
            if entry is None:
                break
            self._take(*entry)
            good += len(line)
            self._lines += 1
        self.torn_bytes = len(data) - good
        if self.torn_bytes:
            self._cut(data, good)

    def _cut(self, data: bytes, good: int) -> None:
        """Cut a torn last record off; a bad record followed by another is damage."""
        rest = data[good:].split(b"\n")
        if any(_parse(line + b"\n") for line in rest[1:]):
            raise EvidenceMismatch(
                "TERM-STORE-DAMAGED", "a record inside the file is damaged",
                store=self._path.name, offset=good,
            )  # fmt: skip
        os.ftruncate(self._file, good)
        self._disk.sync(self._file)

    def _take(self, kind: str, value: Any) -> None:
        if kind == "load":
            case = restore(LoadCase, value)
            self.loads[case.number] = case
            self._number = max(self._number, case.number)
        elif kind == "purchase":
            entry = restore(PurchaseEntry, value)
            self._keep(entry)
            self._number = max(self._number, entry.number)
        elif kind == "marks":
            self.marks.update(value)
        elif kind == "trace":
            self._trace = self._trace_ceiling = value
        elif kind == "number":
            self._number = value
        elif kind != "layout" or value != LAYOUT:
            raise EvidenceMismatch(
                "TERM-STORE-DAMAGED", f"unknown record {kind}", store=self._path.name, offset=0
            )

    def compact(self) -> None:
        """Rewrite the file with what counts. A stop in the middle leaves the old file in force."""
        target = self._path.with_suffix(".new")
        lines = [_line(kind, value) for kind, value in self._snapshot()]
        file = os.open(
            target, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for line in lines:
                if self._disk.write(file, line) != len(line):
                    raise OSError("the disk took only part of a record")
            self._disk.sync(file)
            os.replace(target, self._path)
        except OSError as reason:
            os.close(file)
            raise DeviceFault(
                "TERM-STORE-WRITE", f"{reason.strerror or reason}", store=self._path.name
            ) from reason
        except BaseException:
            os.close(file)
            raise
        os.close(self._file)
        self._file, self._lines = file, len(lines)
        self._sync_folder()

    def _snapshot(self) -> Iterable[tuple[str, Any]]:
        yield "layout", LAYOUT
        yield "trace", self._trace_ceiling
        yield "number", self._number
        yield "marks", self.marks
        for case in self.loads.values():
            yield "load", plain(case)
        for entry in self.purchases.values():
            yield "purchase", plain(entry)

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._disk.sync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _line(kind: str, value: Any) -> bytes:
    body = json.dumps([kind, value], separators=(",", ":"), ensure_ascii=True).encode()
    return b"%08x %s\n" % (crc32(body), body)


def _parse(line: bytes) -> tuple[str, Any] | None:
    """The record of a line, None when it is not whole."""
    body = line[CRC_DIGITS + 1 : -1]
    if not line.endswith(b"\n") or line[: CRC_DIGITS + 1] != b"%08x " % crc32(body):
        return None
    kind, value = json.loads(body)
    return kind, value
