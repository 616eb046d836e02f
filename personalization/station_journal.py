"""The station's own diary: what it was about to do and what it saw, on local disk (printer.md 6.2).

One JSON object a line, flushed to disk before the act it announces, each carrying the SHA-256 of the line
before (the format: `Entry`). It survives the database being away; the database imports it by
(station, sequence), as often as it likes. No photo, name, key or identity number stands in it (I18).

A crash can tear only the last line, and a torn line was never acted upon: it is cut off when the file is
opened. Anything else that does not fit the chain is evidence of a foreign hand and stops the station.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from core.clock import Clock
from core.errors import EvidenceMismatch, Rejected, Unavailable

FIRST_HASH = "0" * 64
MAX_LINE = 2_000  # characters; a line holds a handful of numbers
MAX_LINES = 1_000_000  # about 50,000 cards; then the file is archived and a new one follows it
Value = str | int


class Step(StrEnum):
    """What a line is about, in the order of a card's cycle (printer.md 3.2)."""

    CLAIM = "claim"  # a work order is ours
    FEED = "feed"  # a blank leaves the feeder
    BIND = "bind"  # chip serial and card serial belong together from here on
    CHIP = "chip"  # the chip is written, read back and closed
    PRINT = "print"  # ink: intent before the first panel, one result a panel
    EJECT = "eject"  # the card leaves, `to` says where
    SPOIL = "spoil"  # the card is given up, `reason` says why
    DONE = "done"  # the database has taken the card's end in
    RESOLVE = "resolve"  # two people said what became of a card


class Phase(StrEnum):
    """Before the act, or after it."""

    INTENT = "intent"
    RESULT = "result"


@dataclass(frozen=True)
class Entry:
    """One line.

    Attributes
    ----------
    seq : counts from 1 without gaps in one file.
    at : when, ISO 8601 in UTC.
    order, token : work order and fencing token of the lease it was done under; "" and 0 for none.
    facts : small public values: counters, chip serial, card serial, panel, reason.
    previous, hash : the chain. `hash` is SHA-256 over the line without itself.
    """

    station: str
    seq: int
    at: str
    step: Step
    phase: Phase
    order: str
    token: int
    facts: Mapping[str, Value]
    previous: str
    hash: str = field(default="")

    def body(self) -> dict[str, Any]:
        """What the hash covers."""
        return {
            "station": self.station, "seq": self.seq, "at": self.at, "step": self.step.value,
            "phase": self.phase.value, "order": self.order, "token": self.token,
            "facts": dict(self.facts), "previous": self.previous,
        }  # fmt: skip

    def digest(self) -> str:
        """SHA-256 of the canonical form of `body`, hex."""
        return hashlib.sha256(_packed(self.body())).hexdigest()

    def line(self) -> bytes:
        """The line as it stands in the file, newline included."""
        return _packed({**self.body(), "hash": self.hash}) + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> "Entry":
        """Read one line. ValueError when it is no entry or its hash is wrong."""
        data = json.loads(line)
        if not isinstance(data, dict) or not isinstance(data.get("facts"), dict):
            raise ValueError("not a journal line")
        try:
            entry = cls(**{**data, "step": Step(data["step"]), "phase": Phase(data["phase"])})
        except (KeyError, TypeError) as reason:
            raise ValueError(str(reason)) from reason
        if entry.hash != entry.digest():
            raise ValueError(f"line {entry.seq} was changed")
        return entry


def _packed(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def check_chain(entries: Sequence[Entry]) -> None:
    """EvidenceMismatch J-CHAIN when lines are missing, changed or in another order."""
    previous, seq = FIRST_HASH, 0
    if entries and entries[0].seq > 1:  # a page from the middle: its first line is taken as it is
        previous, seq = entries[0].previous, entries[0].seq - 1
    for entry in entries:
        if (entry.seq, entry.previous) != (seq + 1, previous) or entry.hash != entry.digest():
            raise _broken(entry.station, entry.seq)
        previous, seq = entry.hash, entry.seq


def _broken(station: str, seq: int) -> EvidenceMismatch:
    return EvidenceMismatch("J-CHAIN", f"at line {seq}", station=station, seq=seq)


class StationJournal:
    """The open journal of one station, for one thread.

    Raises Unavailable J-LOCKED when another process has it open, EvidenceMismatch J-CHAIN when the file was
    tampered with, Rejected J-STATION when it belongs to another station.
    """

    def __init__(self, path: Path, station: str, clock: Clock) -> None:
        self._path = path
        self._station = station
        self._clock = clock
        self._entries: list[Entry] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            self._own()
            self._load()
        except BaseException:
            self.close()
            raise
        _flush_folder(path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @property
    def station(self) -> str:
        """Whose journal it is."""
        return self._station

    @property
    def last_seq(self) -> int:
        """Number of the newest line; 0 in an empty journal."""
        return self._entries[-1].seq if self._entries else 0

    def intent(self, step: Step, order: str, token: int, **facts: Value) -> Entry:
        """On disk before it returns: what happens next."""
        return self._append(step, Phase.INTENT, order, token, facts)

    def result(self, step: Step, order: str, token: int, **facts: Value) -> Entry:
        """On disk before it returns: what was seen."""
        return self._append(step, Phase.RESULT, order, token, facts)

    def after(self, seq: int) -> tuple[Entry, ...]:
        """Lines behind `seq`, for the import."""
        return tuple(self._entries[seq:])

    def tail(self, count: int) -> tuple[Entry, ...]:
        """The last lines, for a person."""
        return tuple(self._entries[-count:])

    def facts(self, step: Step, name: str) -> list[str]:
        """Every value noted under `name` at a step so far."""
        return [
            str(entry.facts[name])
            for entry in self._entries
            if entry.step is step and name in entry.facts
        ]

    def open_card(self) -> tuple[Entry, ...]:
        """Lines since the last claim, when that card's end is not in the database yet; else empty."""
        for place in range(len(self._entries) - 1, -1, -1):
            if self._entries[place].step is Step.DONE:
                return ()
            if self._entries[place].step is Step.CLAIM:
                return tuple(self._entries[place:])
        return ()

    def _append(
        self, step: Step, phase: Phase, order: str, token: int, facts: Mapping[str, Value]
    ) -> Entry:
        previous = self._entries[-1].hash if self._entries else FIRST_HASH
        draft = Entry(
            self._station, self.last_seq + 1, self._clock.now().isoformat(), step, phase, order,
            token, facts, previous,
        )  # fmt: skip
        entry = Entry(**{**vars(draft), "hash": draft.digest()})
        line = entry.line()
        if len(line) > MAX_LINE or entry.seq > MAX_LINES:
            raise AssertionError(f"journal line {entry.seq} has {len(line)} bytes")
        written = os.write(self._file, line)
        if written != len(line):  # the disk is full: half a line is cut off when it is opened again
            raise OSError(f"only {written} of {len(line)} bytes were written")
        os.fdatasync(self._file)
        self._entries.append(entry)
        return entry

    def _own(self) -> None:
        """One process writes a station's journal; the lock dies with it."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as reason:
            raise Unavailable("J-LOCKED", str(self._path), station=self._station) from reason

    def _load(self) -> None:
        raw = self._path.read_bytes()
        whole = raw.rfind(b"\n") + 1
        for entry in self._parsed(raw[:whole]):
            if entry.station != self._station:
                raise Rejected("J-STATION", entry.station, station=entry.station)
            self._entries.append(entry)
        check_chain(self._entries)
        if whole != len(raw):
            with self._path.open("r+b") as file:
                file.truncate(whole)
                os.fsync(file.fileno())

    def _parsed(self, raw: bytes) -> Iterator[Entry]:
        for number, line in enumerate(raw.splitlines(), 1):
            try:
                yield Entry.parse(line)
            except ValueError as reason:
                raise _broken(self._station, number) from reason


def read_journal(path: Path) -> tuple[Entry, ...]:
    """A journal file as evidence, whoever's it is. EvidenceMismatch J-CHAIN."""
    entries = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            entries.append(Entry.parse(line))
        except ValueError as reason:
            raise _broken(path.stem, number) from reason
    check_chain(entries)
    return tuple(entries)


def _flush_folder(folder: Path) -> None:
    """The file's name must survive a power cut too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
