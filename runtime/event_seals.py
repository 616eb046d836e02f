"""Seals over the event log: nobody can change, drop or insert an event later without being seen.

A leaf of the tree is the JSON text ``{"actor","at","data","kind","seq","subject"}`` of an event, sorted, without
spaces, ASCII; `at` is UTC with microseconds. The HSM signs size and root as a
witness (command 72): it demands a proof that the tree only grew, so a database restored from an old copy is
noticed at the next seal. Hashing happens here, never where events are appended.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from threading import Event as StopEvent

from sqlalchemy import select

from core import events, merkle
from core.clock import Clock
from core.db import Database, Tx
from core.errors import EvidenceMismatch, NotFound, Unavailable
from core.events import Event
from hsm_sim import note
from hsm_sim.client import Hsm
from hsm_sim.data_requests import SealLog
from runtime.tables import EventSealRow

EVENT_LOG = 1  # number of the event log among those the HSM seals
MAX_FINDINGS = 1_000
SEAL_EVERY_SECONDS = 60.0
TIME_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"
CHANGED, NOT_SIGNED, TOO_LONG = "SEAL-ROOT", "SEAL-SIG", "SEAL-SIZE"


def leaf_text(event: Event) -> bytes:
    """An event as it is hashed and exported."""
    value = {
        "actor": event.actor,
        "at": event.at.astimezone(UTC).strftime(TIME_FORM),
        "data": dict(event.data),
        "kind": event.kind,
        "seq": event.seq,
        "subject": event.subject,
    }
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def _all(tx: Tx) -> Iterator[Event]:
    """All settled events in order, page by page, as every reader sees them."""
    seq = 0
    while page := events.after(tx, seq):
        yield from page
        seq = page[-1].seq


def _leaves(tx: Tx) -> tuple[list[bytes], int]:
    """Leaf hashes of all events, and the position of the last one."""
    leaves, last = [], 0
    for event in _all(tx):
        leaves.append(merkle.leaf_hash(leaf_text(event)))
        last = event.seq
    return leaves, last


class EventSealer:
    """Seals what is new. One at a time; run it every minute or at the end of a job."""

    def __init__(self, db: Database, hsm: Hsm, clock: Clock, log: int = EVENT_LOG) -> None:
        self._db = db
        self._hsm = hsm
        self._clock = clock
        self._log = log

    def run_once(self) -> int:
        """Seal all events that are there; the sealed size. What was sealed before must be unchanged.

        Raises EvidenceMismatch (SEAL-ROOT: an event changed since it was sealed; HSM-01: the HSM has
        sealed another log) and what the HSM's port raises; then nothing is lost.
        """
        with self._db.read() as tx:
            leaves, last = _leaves(tx)
            seals = tx.scalars(select(EventSealRow).order_by(EventSealRow.size)).all()
            known = [(seal.size, seal.root, seal.note) for seal in seals]
        old_size = max((size for size, _, text in known if text), default=0)
        for size, root, _ in known:
            if size >= old_size and merkle.root(leaves[:size]).hex() != root:
                raise EvidenceMismatch("SEAL-ROOT", "events changed since their seal", size=size)
        for size, _, text in known:
            if not text:  # asked for before a crash; whether the HSM signed it is not known
                self._finish(leaves, old_size, size)
                old_size = size
        if len(leaves) > old_size:
            root = merkle.root(leaves).hex()
            with self._db.write() as tx:
                tx.add(
                    EventSealRow(
                        size=len(leaves), last_seq=last, root=root, note="", at=self._clock.now()
                    )
                )
            self._finish(leaves, old_size, len(leaves))
        return len(leaves)

    def keep_sealing(self, stop: StopEvent, every_seconds: float = SEAL_EVERY_SECONDS) -> None:
        """Seal again and again until `stop` is set, once more then; an HSM that is away is asked next time.

        Raises EvidenceMismatch: then nothing may be sealed until the auditor has looked.
        """
        while not stop.wait(every_seconds):
            with suppress(Unavailable):
                self.run_once()
        with suppress(Unavailable):
            self.run_once()

    def _finish(self, leaves: list[bytes], old_size: int, size: int) -> None:
        """Have the HSM sign an intended seal, also when it did already and the answer was lost."""
        root = merkle.root(leaves[:size])
        proof = merkle.consistency_proof(leaves[:size], old_size) if old_size else []
        try:
            text = self._hsm.call(SealLog(self._log, old_size, size, root, tuple(proof)))
        except EvidenceMismatch as refused:
            if refused.code != "HSM-01":
                raise
            text = self._hsm.call(SealLog(self._log, size, size, root))
        with self._db.write() as tx:
            seal = tx.get(EventSealRow, size)
            assert seal is not None
            seal.note = str(text)


@dataclass(frozen=True)
class Finding:
    """Something that does not hold: code, which seal, expected, found."""

    code: str
    where: str
    expected: str
    found: str


@dataclass(frozen=True)
class Verdict:
    """What `verify` found. `unsealed` events came after the newest seal."""

    events: int
    seals: int
    unsealed: int
    findings: tuple[Finding, ...]


def verify(tx: Tx, vkey: str) -> Verdict:
    """Compare every seal with the events as they are now; `vkey` is the seal key the auditor knows.

    Raises EvidenceMismatch (NOTE-FORM) for something that is no verifier key.
    """
    note.parse_vkey(vkey)
    leaves, _ = _leaves(tx)
    seals = tx.scalars(select(EventSealRow).order_by(EventSealRow.size)).all()
    findings: list[Finding] = []
    for seal in seals:
        findings += _judge(seal, leaves, vkey)
    sealed = max((seal.size for seal in seals if seal.note), default=0)
    return Verdict(
        len(leaves), len(seals), max(0, len(leaves) - sealed), tuple(findings[:MAX_FINDINGS])
    )


def _judge(seal: EventSealRow, leaves: list[bytes], vkey: str) -> list[Finding]:
    where = f"seal of {seal.size}"
    if seal.size > len(leaves):
        return [Finding(TOO_LONG, where, f"{seal.size} events", f"{len(leaves)} events")]
    root, found = merkle.root(leaves[: seal.size]), []
    if root.hex() != seal.root:
        found.append(Finding(CHANGED, where, seal.root, root.hex()))
    if not seal.note:
        return [
            *found,
            Finding(NOT_SIGNED, where, "a signed note", "a seal that was only asked for"),
        ]
    try:
        point = note.parse_checkpoint(note.verify(seal.note, [vkey]))
    except note.BadNote as bad:
        return [*found, Finding(NOT_SIGNED, where, "a note signed by the seal key", bad.detail)]
    if (point.size, point.root) != (seal.size, root):
        found.append(Finding(CHANGED, where, f"{point.size}, {point.root.hex()}", root.hex()))
    return found


@dataclass(frozen=True)
class Proof:
    """That an event is in a sealed tree: its text, its place, the seal's size and note, the path."""

    text: str
    index: int
    size: int
    note: str
    path: tuple[str, ...]


def prove(tx: Tx, seq: int) -> Proof:
    """The inclusion proof of one event in the first seal that covers it; raises NotFound (SEAL-NONE)."""
    event = next(iter(events.after(tx, seq - 1, limit=1)), None)
    seal = tx.scalar(
        select(EventSealRow)
        .where(EventSealRow.last_seq >= seq, EventSealRow.note != "")
        .order_by(EventSealRow.size)
        .limit(1)
    )
    if event is None or event.seq != seq or seal is None:
        raise NotFound("SEAL-NONE", "no such event, or no seal covers it yet", event=seq)
    text, size, signed = leaf_text(event), seal.size, seal.note
    leaves, _ = _leaves(tx)
    index = leaves.index(merkle.leaf_hash(text))
    path = merkle.inclusion_proof(leaves[:size], index)
    return Proof(text.decode("ascii"), index, size, signed, tuple(step.hex() for step in path))


def sample(tx: Tx, kind: str, seed: int, count: int) -> tuple[list[Event], int]:
    """A sample that anybody can draw again, in the order of the log, and of how many it is.

    Drawn by SHA-256 over seed and event number, so that it depends on no program's random generator.
    """
    seq, all_of_kind = 0, list[Event]()
    while page := events.after(tx, seq, kinds_wanted=(kind,)):
        all_of_kind += page
        seq = page[-1].seq
    ranked = sorted(
        all_of_kind, key=lambda event: hashlib.sha256(f"{seed}/{event.seq}".encode()).digest()
    )
    return sorted(ranked[:count], key=lambda event: event.seq), len(all_of_kind)


def export(tx: Tx) -> Iterator[tuple[str, bytes]]:
    """Files for somebody without this database: ``events.jsonl`` in pieces, then ``seals/NNNNNN.txt``."""
    for event in _all(tx):
        yield "events.jsonl", leaf_text(event) + b"\n"
    for seal in tx.scalars(select(EventSealRow).order_by(EventSealRow.size)):
        yield f"seals/{seal.size:09d}.txt", seal.note.encode("utf-8")
