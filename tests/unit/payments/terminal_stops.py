"""Stop a terminal at any moment: between any two writes, commands and messages, with half a record on the disk.

A `Fuse` counts the moments and blows at the chosen one; what blows is no `Exception`, so nothing in the terminal
can mistake it for a fault. Afterwards only the disk, the chips and the host remember.
"""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from payments.messages import parse
from payments.terminal_store import SystemDisk


class PowerLoss(BaseException):
    """The process is gone."""


@dataclass
class Fuse:
    """Blows at the `at`-th moment; `seen` counts kinds of moments, `where` says which one it was."""

    at: int = -1
    now: int = 0
    where: str = ""
    blown: bool = False
    seen: Counter[str] = field(default_factory=Counter)

    def moment(self, kind: str) -> bool:
        """Whether it blows here."""
        if self.blown:
            raise PowerLoss
        here = self.now
        self.now += 1
        self.seen[kind] += 1
        if here == self.at:
            self.where, self.blown = kind, True
        return self.blown

    def pass_(self, kind: str) -> None:
        """A moment with nothing half done."""
        if self.moment(kind):
            raise PowerLoss


class FusedDisk(SystemDisk):
    """Stops before a write, in the middle of it, after it, and after the sync."""

    def __init__(self, fuse: Fuse) -> None:
        self.fuse = fuse

    def write(self, file: int, data: bytes) -> int:
        self.fuse.pass_("before a record")
        if self.fuse.moment("in a record"):
            os.write(file, data[: len(data) // 2])
            raise PowerLoss
        written = super().write(file, data)
        self.fuse.pass_("record written, not synced")
        return written

    def sync(self, file: int) -> None:
        # A stopped process loses nothing the system has taken; only a sync makes it safe from a power cut.
        self.fuse.pass_("record synced")


class FusedChannel:
    """A card or PSAM: stops before a command reaches it and after it was executed."""

    def __init__(self, channel: object, fuse: Fuse, name: str) -> None:
        self.channel, self.fuse, self.name = channel, fuse, name

    def __getattr__(self, name: str) -> object:
        return getattr(self.channel, name)

    def transmit(self, apdu: bytes) -> bytes:
        self.fuse.pass_(f"before a command to the {self.name}")
        answer = self.channel.transmit(apdu)
        self.fuse.pass_(f"command done in the {self.name}, answer lost")
        return answer


class FusedLink:
    """The line: stops before a message leaves and after the host has answered."""

    def __init__(self, link: object, fuse: Fuse) -> None:
        self.link, self.fuse = link, fuse

    def __getattr__(self, name: str) -> object:
        return getattr(self.link, name)

    def exchange(self, frame: bytes, wanted: Callable[[bytes], bool], timeout: int) -> bytes | None:
        mti = parse(frame).mti
        self.fuse.pass_(f"before {mti} leaves")
        answer = self.link.exchange(frame, wanted, timeout)
        self.fuse.pass_(f"{mti} answered, answer lost")
        return answer
