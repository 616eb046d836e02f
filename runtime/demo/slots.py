"""Reader slots for the demo: real PC/SC through a private pcscd and its virtual readers, or slots in process.

Either way a slot has two sides: the hand that inserts and removes chips, and the reader that programs use.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from cardos.pcsc import PcscReader
from cardos.slot import Slot
from cardos.vpcd import VirtualSlot
from core.apdu import CardReader
from core.errors import Unavailable
from runtime.pcscd import SLOTS_PER_READER, PrivatePcscd, missing


class Hand(Protocol):
    """Where chips are put in and taken out."""

    def insert(self, card: Any) -> object: ...

    def remove(self) -> object: ...


class Slots:
    """Gives out slots, each once. `kind` says what they really are: "pcsc" or "direct"."""

    def __init__(self, kind: str, pairs: Iterator[tuple[Hand, CardReader]]) -> None:
        self.kind = kind
        self._pairs = pairs

    def take(self, use: str) -> tuple[Hand, CardReader]:
        """The next free slot; `use` names it in errors. Raises Unavailable CARD-NO-SLOT."""
        pair = next(self._pairs, None)
        if pair is None:
            raise Unavailable("CARD-NO-SLOT", f"no slot is left for {use}", use=use)
        return pair


def open_slots(wanted: str, count: int, closing: ExitStack, logs: Path) -> Slots:
    """`count` slots over real PC/SC ("pcsc", "auto" where it can be had) or in process ("direct").

    Raises Unavailable CARD-PCSCD-... when PC/SC is demanded and cannot be had here.
    """
    if wanted == "direct" or (wanted == "auto" and missing() is not None):
        return Slots("direct", _direct(count))
    readers = -(-count // SLOTS_PER_READER)
    try:
        daemon = closing.enter_context(PrivatePcscd(readers=readers, log_directory=logs))
    except Unavailable:
        if wanted == "pcsc":
            raise
        return Slots("direct", _direct(count))  # for example without root: no state directory
    return Slots("pcsc", _pcsc(daemon, closing))


def _direct(count: int) -> Iterator[tuple[Hand, CardReader]]:
    for number in range(count):
        slot = Slot(f"Slot {number:02d}")
        yield slot, slot


def _pcsc(daemon: PrivatePcscd, closing: ExitStack) -> Iterator[tuple[Hand, CardReader]]:
    for name, port in daemon.slots.items():
        hand, reader = VirtualSlot(("127.0.0.1", port)), PcscReader(name)
        closing.callback(reader.close)
        closing.callback(hand.remove)
        yield hand, reader
