"""The things a printer works on: blank cards that become printed ones, and the ribbon that gets used up."""

from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from printer.port import Panel, Plane, Side
from printer.raster import LINE_PIXELS, LINES

DYES = (Panel.YELLOW, Panel.MAGENTA, Panel.CYAN)
RIBBON_KINDS = frozenset({"ymcko", "ymckok", "kb", "kw", "ko"})


class Place(Enum):
    """Where a card can be. It is always in exactly one."""

    FEEDER = "feeder"
    CONTACT = "contact station"
    PRINT = "print position"
    STUCK = "stuck in the transport"
    HOPPER = "good hopper"
    REJECT = "reject box"
    OPERATOR = "operator's hand"


@dataclass
class Face:
    """Ink on one side, per wire line: dyes as densities 0..255, resin and overlay as 0 or 1."""

    planes: dict[Panel, Plane] = field(default_factory=dict)

    def add(self, panel: Panel, lines: Plane, start: int, end: int) -> None:
        """Print `lines` as lines `start` to `end`; ink adds to what is there."""
        plane = self.planes.get(panel)
        if plane is None:
            plane = self.planes[panel] = np.zeros((LINES, LINE_PIXELS), np.uint8)
        top = 255 if panel in DYES else 1
        total = plane[start:end].astype(np.uint16) + lines
        plane[start:end] = np.minimum(total, top)

    def inked(self) -> tuple[Panel, ...]:
        """Panels that left something."""
        return tuple(panel for panel in Panel if panel in self.planes)


@dataclass(eq=False)
class SimCard:
    """One piece of plastic. `chip` is whatever the slot takes; None is a card without a chip."""

    card_id: str
    lot: str = ""
    chip: object | None = None
    chip_serial: str = ""
    place: Place = Place.FEEDER
    faces: dict[Side, Face] = field(default_factory=lambda: {side: Face() for side in Side})
    history: list[tuple[float, str]] = field(default_factory=list)
    panels_used: int = 0

    @property
    def blank(self) -> bool:
        """Whether no ink is on it."""
        return not any(face.planes for face in self.faces.values())


@dataclass
class Ribbon:
    """A roll: panel letters of one set, number of sets, panels wound so far."""

    kind: str = "ymcko"
    sets: int = 200
    wound: int = 0
    broken: bool = False

    @property
    def left(self) -> int:
        """Whole sets left."""
        return 0 if self.broken else max(0, self.sets - -(-self.wound // len(self.kind)))

    @property
    def ended(self) -> bool:
        """Whether the black end mark is under the head."""
        return self.wound >= self.sets * len(self.kind)

    def wind_to(self, letter: str) -> bool:
        """Advance past the next panel of this letter; False when the roll ends first."""
        total = self.sets * len(self.kind)
        at = self.kind.find(letter, self.wound % len(self.kind))
        base = self.wound - self.wound % len(self.kind)
        if at < 0:
            base += len(self.kind)
            at = self.kind.find(letter)
        if at < 0 or base + at >= total:
            self.wound = total
            return False
        self.wound = base + at + 1
        return True

    def run_out(self) -> None:
        """The end of the roll is reached now."""
        self.wound = self.sets * len(self.kind)
