"""Counting every command: reserve first, one short line each, one summary a minute (hsm-and-ceremony.md 11.6).

`use.reserve` {interval, limit} is written and synced before the first command of an interval is answered;
each command adds a line to ``ops/<interval>.jsonl``; `use` closes the interval with counts per key and
command and the SHA-256 of the ops file. After a crash `unaccounted` bounds what was never summed up.
`line` holds small public values only (client, rc, a card's pseudonym): no PIN, PAN, key or MAC.
"""

import hashlib
import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from threading import RLock
from typing import Any

from core.clock import Clock
from hsm_sim import canonical
from hsm_sim.durable import LogUnavailable, check_same_file
from hsm_sim.log import AuditLog

OPS = "ops"
LIMIT = 10_000
INTERVAL_SECONDS = 60
MAX_ENDS = 10_000
PLAIN_MEMBERS = frozenset({"card", "client", "rc"})
MAX_COUNTERS = 200  # pairs of key and command in one `use` line, which must stay under 16 KiB


class UsageMeter:
    """Counts the uses of keys. Opened after the log and before its boot line, which tells `unaccounted`."""

    def __init__(
        self,
        log: AuditLog,
        home: Path,
        clock: Clock,
        limit: int = LIMIT,
        interval_seconds: int = INTERVAL_SECONDS,
    ) -> None:
        self._log = log
        self._folder = home / OPS
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clock = clock
        self._limit = limit
        self._length = timedelta(seconds=interval_seconds)
        self._lock = RLock()
        self._totals: dict[str, int] = {}
        self._interval = 0
        self.unaccounted: int | None = None
        self._recall()
        self._file = -1
        self._waiting: list[bytes] = []
        self._ends_of_lines: dict[tuple[str, str, str, str], tuple[str, str]] = {}
        self._digest = hashlib.sha256()
        self._counts: dict[tuple[str, str], list[int]] = {}
        self._ops = 0
        self._lines = 0
        self._bytes = 0
        self._reserved = 0
        self._ends: datetime = clock.now()

    def _recall(self) -> None:
        """Totals and the last interval from the log; a reserve without a `use` line was lost in a crash."""
        for event in self._log.events("use.reserve", "use", "boot"):
            body = event["body"]
            if event["type"] == "boot":
                self.unaccounted = None
            elif event["type"] == "use.reserve":
                self._interval, self.unaccounted = body["interval"], body["limit"]
            else:
                self._interval, self.unaccounted = body["interval"], None
                for count in body["counts"]:
                    self._add(count["kid"], count["ok"] + count["fail"])

    def _add(self, kid: str, uses: int) -> None:
        self._totals[kid] = self._totals.get(kid, 0) + uses

    def uses(self, kid: str) -> int:
        """All counted uses of a key, the present interval included."""
        with self._lock:
            return self._totals.get(kid, 0)

    def count(self, kid: str, command: str, ok: int, fail: int, line: Mapping[str, Any]) -> None:
        """Count one command, or a frame of many records, before its answer leaves.

        `kid` is the key that did the work ("" when none did). A frame of other than one record gets
        `good` and `bad` in its line. Raises LogUnavailable (F3): then the answer must not leave.
        """
        with self._lock:
            self.flush()
            self.record(kid, command, ok, fail, line)
            try:
                self.flush()
            except LogUnavailable:  # not answered, so not counted either
                self._waiting.clear()
                self._lines -= 1
                self._ops -= ok + fail
                counter = self._counts[kid, command]
                counter[0] -= ok
                counter[1] -= fail
                self._add(kid, -ok - fail)
                raise

    def record(self, kid: str, command: str, ok: int, fail: int, line: Mapping[str, Any]) -> None:
        """As `count`, but the line is written by the next `flush`: one write for many commands.

        No answer may leave before `flush` has returned.
        """
        with self._lock:
            uses = ok + fail
            self._make_room(kid, command, uses)
            self._lines += 1
            rc = line.get("rc") or ("00" if ok else "01")
            self._waiting.append(self._line(kid, command, ok, fail, rc, line))
            counter = self._counts.setdefault((kid, command), [0, 0])
            counter[0] += ok
            counter[1] += fail
            self._ops += uses
            self._add(kid, uses)

    def _line(
        self, kid: str, command: str, ok: int, fail: int, rc: str, line: Mapping[str, Any]
    ) -> bytes:
        """One ops line. For the plain line of a hot command the canonical text is put together here."""
        if ok + fail == 1 and line.keys() <= PLAIN_MEMBERS:
            client, card = line.get("client", ""), line.get("card", "")
            ends = self._ends_of_lines.get((client, command, kid, rc))
            if ends is None:
                ends = self._make_ends(client, command, kid, rc)
            if ends and (not card or card.isalnum()):
                member = f'"card":"{card}",' if card else ""
                return f"{{{member}{ends[0]}{self._lines}{ends[1]}".encode()
        frame = {} if ok + fail == 1 else {"bad": fail, "good": ok}
        own = {"cmd": command, "kid": kid, "n": self._lines, "rc": rc}
        return canonical.encode({**line, **frame, **own}) + b"\n"

    def _make_ends(self, client: str, command: str, kid: str, rc: str) -> tuple[str, str] | None:
        """What stands before and after `n` in such lines; None when a text needs escapes or care."""
        whole = {"client": client, "cmd": command, "kid": kid, "n": 0, "rc": rc}
        text = canonical.encode(whole).decode("utf-8")
        before, mark, after = text[1:].partition('"n":0,')
        if not client or not mark or '"n":0,' in after or len(self._ends_of_lines) > MAX_ENDS:
            return None
        ends = (before + '"n":', f",{after}\n")
        self._ends_of_lines[client, command, kid, rc] = ends
        return ends

    def flush(self) -> None:
        """Write the recorded lines; raises LogUnavailable (F3): then no answer for them may leave."""
        with self._lock:
            if self._waiting:
                self._write(b"".join(self._waiting))
                self._waiting.clear()

    def _make_room(self, kid: str, command: str, uses: int) -> None:
        if self._file >= 0:
            over = self._ops + uses > self._reserved or self._clock.now() >= self._ends
            crowded = len(self._counts) >= MAX_COUNTERS and (kid, command) not in self._counts
            if over or crowded:
                self.close_interval()
        if self._file < 0:
            self._open_interval(max(self._limit, uses))

    def _open_interval(self, limit: int) -> None:
        number = self._interval + 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        try:
            file = os.open(self._path(number), flags, 0o600)
        except OSError as error:
            raise LogUnavailable("HSM-F3", f"no ops file: {error.strerror}") from None
        try:
            self._log.append("use.reserve", {"interval": number, "limit": limit})
        except BaseException:
            os.close(file)
            raise
        self._file, self._interval, self._reserved = file, number, limit
        self._bytes = 0
        self._digest = hashlib.sha256()
        self._counts = {}
        self._ops = self._lines = 0
        self._ends = self._clock.now() + self._length

    def _path(self, interval: int) -> Path:
        return self._folder / f"{interval}.jsonl"

    def _write(self, data: bytes) -> None:
        try:
            if os.fstat(self._file).st_size != self._bytes:  # half a line of an earlier failure
                os.ftruncate(self._file, self._bytes)
            written = os.write(self._file, data)
        except OSError as error:
            raise LogUnavailable(
                "HSM-F3", f"writing the ops file failed: {error.strerror}"
            ) from None
        if written != len(data):
            raise LogUnavailable("HSM-F3", "the disk took only part of an ops line")
        self._digest.update(data)
        self._bytes += len(data)

    def close_interval(self) -> None:
        """Sum the present interval up in a `use` line; nothing to do when none is open."""
        with self._lock:
            if self._file < 0:
                return
            self.flush()
            check_same_file(self._file, self._path(self._interval))
            try:
                os.fsync(self._file)
            except OSError as error:
                raise LogUnavailable(
                    "HSM-F3", f"no sync of the ops file: {error.strerror}"
                ) from None
            self._log.append(
                "use",
                {
                    "counts": [
                        {"cmd": command, "fail": fail, "kid": kid, "ok": ok}
                        for (kid, command), (ok, fail) in self._counts.items()
                    ],
                    "interval": self._interval,
                    "ops": self._ops,
                    "ops_sha256": self._digest.hexdigest(),
                },
            )
            os.close(self._file)
            self._file = -1

    def tick(self) -> None:
        """Close the interval when its time is over; call it about once a second."""
        with self._lock:
            if self._file >= 0 and self._clock.now() >= self._ends:
                self.close_interval()

    def close(self) -> None:
        """Sum up and let go of the file, for a clean stop."""
        with self._lock:
            try:
                self.close_interval()
            finally:
                if self._file >= 0:
                    os.close(self._file)
                    self._file = -1
