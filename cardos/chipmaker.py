"""The chip maker's side of a delivery: blanks whose transport keys derive from the lot master (purse-card.md 12.6).

It holds the lot master because it wrote the chips; the city's HSM has the same master from components, and
nobody else has it.
"""

from collections.abc import Callable

from cardos.card import Card, Kind
from core import crypto

SERIAL_LENGTH = 8
MASTER_LENGTH = 16


class ChipMaker:
    """Makes the blanks of one lot. `rng` gives the chips' random numbers (n bytes a call)."""

    def __init__(
        self, rng: Callable[[int], bytes], first: int = 1, prefix: bytes = b"HBCW"
    ) -> None:
        self._rng = rng
        self._prefix = prefix
        self._next = first
        self._master: bytes | None = None

    def install(self, master: bytearray) -> None:
        """Take the lot master (16 bytes); the caller overwrites its buffer."""
        if len(master) != MASTER_LENGTH:
            raise ValueError("a lot master has 16 bytes")
        self._master = bytes(master)

    def blank(self, kind: Kind = "permit") -> Card:
        """The next chip of the lot: its serial is the prefix and a number, 8 bytes."""
        if self._master is None:
            raise ValueError("the lot master was never installed")
        number = self._next.to_bytes(SERIAL_LENGTH - len(self._prefix), "big")
        self._next += 1
        serial = self._prefix + number
        key = crypto.diversify(self._master, serial)
        return Card.blank(kind=kind, rng=self._rng, serial=serial, transport_key=key)
