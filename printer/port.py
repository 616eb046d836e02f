"""Front door of the card printer: what a station can ask of one, whatever stands behind it.

The driver is `printer.commands.EvolisPrinter`. It never repeats a movement by itself, except a feed that
provably moved no card (printer.md 6.5); what became of a card is told by `PrinterFault.situation`, by the
journal the station wrote before, and by the witnesses in `PrinterState` (printer.md 6.3).

Pictures are landscape, as a person holds the card: 648 rows of 1016 pixels at 300 dpi.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from core.errors import DeviceFault

WIDTH, HEIGHT = 1016, 648
DPI = 300

Plane = NDArray[np.uint8]


class Position(Enum):
    """Where the machine says its card is (`Rlr;p`, printer.md 2.6)."""

    NONE = "no card"
    CONTACT = "contact station"
    CONTACTLESS = "contactless station"
    PRINT = "print position"
    UNKNOWN = "unknown"


class Side(Enum):
    """A face of the card."""

    FRONT = "front"
    BACK = "back"


class Panel(Enum):
    """A ribbon panel: three dyes, black resin, clear overlay."""

    YELLOW = "y"
    MAGENTA = "m"
    CYAN = "c"
    BLACK = "k"
    OVERLAY = "o"


class Destination(Enum):
    """Where a card leaves to."""

    HOPPER = "good hopper"
    REJECT = "reject box"


class Situation(Enum):
    """What a fault means for the card; the station's next state (printer.md 3.3)."""

    BLOCKED = "no card has moved; remove the cause and go on"
    SPOILED = "a card is inside and must go to the reject box"
    FULL = "the card is done and inside; make room, then eject again"
    JAMMED = "a card is stuck; an operator takes it out"
    UNCERTAIN = "nobody can say where a card is; two people count"
    OFFLINE = "the printer does not answer; attach again, then compare with the journal"


class PrinterFault(DeviceFault):
    """A fault of the machine or its line. `code` is P-..., `situation` says what it means for the card."""

    def __init__(self, code: str, situation: Situation, detail: str = "", **facts: str | int):
        super().__init__(code, detail, **facts)
        self.situation = situation


@dataclass(frozen=True)
class PrinterIdentity:
    """Which machine this is; the serial number is stored with every card made."""

    model: str
    serial: str
    firmware: str


@dataclass(frozen=True)
class PrinterState:
    """What the machine reports, moving nothing.

    Attributes
    ----------
    cards, panels : lifetime counters `Rco;c` (cards taken in) and `Rco;p` (panels begun), the
        independent witnesses. A panel counts from its first line on, so an equal counter proves no ink.
    ribbon, ribbon_left : panel letters of one set, and sets left.
    warnings : fault codes that keep a card from being started; empty when ready.
    notices : fault codes to look at soon (ribbon low, cleaning due).
    last_answer : the machine's own words about its last action (`Rlr`).
    just_reset : power was lost; downloaded pictures are gone, counters are kept.
    """

    position: Position
    cards: int
    panels: int
    ribbon: str
    ribbon_left: int
    warnings: tuple[str, ...]
    notices: tuple[str, ...]
    last_answer: str
    just_reset: bool


@dataclass(frozen=True, eq=False)
class Layers:
    """One face, separated for the ribbon. Each plane is 648 x 1016, uint8.

    `y`, `m`, `c` hold dye densities 0 to 255; `k` (resin) and `o` (overlay) hold 0 or 1.
    """

    y: Plane
    m: Plane
    c: Plane
    k: Plane
    o: Plane

    def __post_init__(self) -> None:
        for panel in Panel:
            plane = self.plane(panel)
            if plane.shape != (HEIGHT, WIDTH) or plane.dtype != np.uint8:
                raise ValueError(f"plane {panel.value} must be {HEIGHT} x {WIDTH} bytes")
        if self.k.max() > 1 or self.o.max() > 1:
            raise ValueError("black and overlay hold 0 or 1")

    @classmethod
    def separate(cls, colour: Plane, black: Plane, overlay: Plane) -> Self:
        """From an RGB picture (648 x 1016 x 3) and two masks: C = 255-R, M = 255-G, Y = 255-B.

        Black is never looked for in the colours: the template says what is resin (printer.md 7.3).
        """
        inks = 255 - colour
        return cls(
            y=np.ascontiguousarray(inks[:, :, 2]),
            m=np.ascontiguousarray(inks[:, :, 1]),
            c=np.ascontiguousarray(inks[:, :, 0]),
            k=(black != 0).astype(np.uint8),
            o=(overlay != 0).astype(np.uint8),
        )

    def plane(self, panel: Panel) -> Plane:
        """The plane one panel prints."""
        planes = {"y": self.y, "m": self.m, "c": self.c, "k": self.k, "o": self.o}
        return planes[panel.value]

    def panels(self) -> tuple[Panel, ...]:
        """The panels this face needs, in ribbon order."""
        return tuple(panel for panel in Panel if self.plane(panel).any())


class CardPrinter(Protocol):
    """Port: one printer with a contact station. Every method may raise `PrinterFault`."""

    def identify(self) -> PrinterIdentity:
        """Attach (open, resynchronise without moving anything, host error mode) and say who you are.

        Call it first, and again after any fault with `Situation.OFFLINE`.
        """
        ...

    def state(self) -> PrinterState:
        """Ask for position, counters, ribbon and warnings."""
        ...

    def feed(self, reseat: bool = False) -> PrinterState:
        """Take a blank to the contact station; pictures of the previous card are cleared first.

        `reseat` moves the card that is inside away from the contacts and back, once; from the print
        position it only brings it there.
        Raises Rejected P-X02 when a card is inside already (or, for reseat, none is).
        """
        ...

    def load(self, layers: Layers, side: Side) -> None:
        """Download one face; moves nothing, so it can run while the chip is written.

        The machine holds one face: load the back after the front is printed. Two failures of the same
        panel raise PrinterFault P-D01.
        """
        ...

    def print(
        self, panels: Sequence[Panel], on_panel: Callable[[Panel], None] = lambda _panel: None
    ) -> None:
        """Print panels of the face loaded last, in order; `on_panel` runs after each acknowledgement.

        The chip must have no power: the card moves from the contacts to the print position first.
        """
        ...

    def eject(self, destination: Destination) -> None:
        """Send the card out. After `Situation.FULL` call it again once there is room.

        Raises Rejected P-X03 when no card is inside.
        """
        ...
