"""Issuance batches: how many cards' keys may leave, opened in a ceremony (R-10).

The terms stand in the ceremony's log line; which cards were counted stands in ``batches/<name>.seen``, one
pseudonym (16 hex characters) a line, brought to the disk by `sync` before the keys leave. A card counts once
over all its keys.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from core.clock import Clock, business_date
from hsm_sim.durable import LogUnavailable
from hsm_sim.errors import refusal
from hsm_sim.log import AuditLog

FOLDER = "batches"
METHODS = ("12", "14", "52")
MAX_CARDS = 10_000_000
PSEUDONYM_LENGTH = 16


@dataclass
class Batch:
    """One open batch and the cards counted so far."""

    name: str
    masters: frozenset[str]
    methods: frozenset[str]
    cards: int
    expires: date
    seen: set[str] = field(default_factory=set, repr=False)


class Batches:
    """All batches of one HSM."""

    def __init__(self, home: Path, log: AuditLog, clock: Clock) -> None:
        self._folder = home / FOLDER
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._log = log
        self._clock = clock
        self._batches: list[Batch] = []
        self._files: dict[str, int] = {}
        self._unsynced: set[str] = set()
        self.reload()

    def reload(self) -> None:
        """Read the terms from the log again, after a ceremony step."""
        known = {batch.name for batch in self._batches}
        for event in self._log.events("ceremony.step"):
            body = event["body"]
            if body["action"] == "batch-open" and body["args"]["batch"] not in known:
                args = body["args"]
                self._batches.append(
                    Batch(
                        args["batch"],
                        frozenset(args["masters"]),
                        frozenset(args["methods"]),
                        args["cards"],
                        date.fromisoformat(args["expires"]),
                        self._seen(args["batch"]),
                    )
                )
                known.add(args["batch"])

    def require_terms(
        self, batch: str, masters: Sequence[str], methods: Sequence[str], cards: int, expires: str,
        kids: Sequence[str],
    ) -> None:  # fmt: skip
        """Refuse impossible terms of a new batch: HSM-15, HSM-29."""
        try:
            over = date.fromisoformat(expires) < business_date(self._clock.now())
        except ValueError:
            raise refusal("15", "expires is not a date") from None
        plain = batch.replace("-", "").replace(".", "").isalnum() and batch.isascii()
        if over or not plain or not 0 < cards <= MAX_CARDS or not masters or not methods:
            raise refusal("15", "terms of the batch")
        if set(methods) - set(METHODS) or set(masters) - set(kids):
            raise refusal("29", "a method or master nobody knows")
        if any(known.name == batch for known in self._batches):
            raise refusal("29", "a batch of this name was opened before")

    def count(self, method: str, master: str, card: str) -> str:
        """Count a card of a batch that allows this; the batch's name.

        Raises HSM-17 (no open batch), HSM-F6 (used up), HSM-F3 (cannot be written).
        """
        today = business_date(self._clock.now())
        fitting = [
            batch
            for batch in self._batches
            if master in batch.masters and method in batch.methods and batch.expires >= today
        ]
        if not fitting:
            raise refusal("17", "no open issuance batch allows this")
        for batch in fitting:
            if card in batch.seen:
                return batch.name
        for batch in fitting:
            if len(batch.seen) < batch.cards:
                self._write(batch.name, card)
                batch.seen.add(card)
                return batch.name
        raise refusal("F6", "the issuance batch is used up")

    def left(self, name: str) -> int:
        """How many cards a batch still allows."""
        return next(batch.cards - len(batch.seen) for batch in self._batches if batch.name == name)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.seen"

    def _seen(self, name: str) -> set[str]:
        path = self._path(name)
        if not path.exists():
            return set()
        return {
            line for line in path.read_text("ascii").split("\n") if len(line) == PSEUDONYM_LENGTH
        }

    def _write(self, name: str, card: str) -> None:
        try:
            if name not in self._files:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._files[name] = os.open(self._path(name), flags, 0o600)
            os.write(self._files[name], f"\n{card}\n".encode("ascii"))
            self._unsynced.add(name)
        except OSError as error:
            raise LogUnavailable("HSM-F3", f"counting failed: {error.strerror}") from None

    def sync(self) -> None:
        """Bring the counts to the disk; no key may leave before. Raises LogUnavailable (HSM-F3)."""
        for name in list(self._unsynced):
            try:
                os.fdatasync(self._files[name])
            except OSError as error:
                raise LogUnavailable("HSM-F3", f"counting failed: {error.strerror}") from None
            self._unsynced.discard(name)

    def close(self) -> None:
        """Let go of the files."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()
