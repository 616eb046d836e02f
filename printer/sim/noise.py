"""What goes wrong on the line: flipped bits, lost and doubled replies, stalls (printer.md 4.2, F16 to F21)."""

import random

STALL_SECONDS = 1.5  # real seconds without taking a byte: longer than a host in a test waits
LATE_REPEAT = 2


class Noise:
    """Byte-level faults that have struck and wait for the next byte or reply. Seeded."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - faults must replay
        self.flip_input = 0
        self.flip_reply = 0
        self.lose_reply = 0
        self.double_reply = 0
        self.stall = False
        self.cut_payload = False
        self.foreign: list[bytes] = []

    def incoming(self, data: bytes) -> bytes:
        """Bytes as they arrive at the printer."""
        if not self.flip_input or not data:
            return data
        self.flip_input -= 1
        return self._flipped(data)

    def outgoing(self, data: bytes) -> bytes:
        """Bytes as they leave on the line."""
        if self.lose_reply:
            self.lose_reply -= 1
            return b""
        if self.flip_reply:
            self.flip_reply -= 1
            return self._flipped(data)
        if self.double_reply:
            self.double_reply -= 1
            return data * LATE_REPEAT
        return data

    def garbled(self, data: bytes) -> bytes:
        """What a line at the wrong speed makes of bytes."""
        return bytes(self._dice.randrange(0x80, 0x100) for _ in data)

    def _flipped(self, data: bytes) -> bytes:
        at, bit = self._dice.randrange(len(data)), self._dice.randrange(8)
        return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
