"""How long movements take, in seconds (printer.md 2.7): the driver waits by it, the simulator lives by it."""

from dataclasses import dataclass, replace

LIGHTEST_WAIT = 1.0  # seconds; the shortest deadline, whatever the scale: a busy host is no silence
SLOW_FACTOR = 3  # a machine may be this much slower than its profile before we give up
LINE_MARGIN = 1.3
REPLY_SECONDS = 2.0
BITS_PER_BYTE = 10  # start, 8 data, stop
DEFAULT_ACTION_SECONDS = 4.0


@dataclass(frozen=True)
class Timing:
    """Profile of one machine class.

    `scale` stretches everything: 1.0 is a real machine, 0.1 a demonstration, 0 a unit test, in which
    movements and the line take no time at all.
    """

    name: str
    to_contact: float
    to_print: float
    from_feeder_to_print: float
    ribbon_sync: float
    dye_panel: float
    black_panel: float
    overlay_panel: float
    flip: float
    eject: float
    reject: float
    cleaning: float
    adjust: float
    reset: float
    scale: float = 1.0

    def panel(self, letter: str) -> float:
        """Seconds for one panel."""
        if letter == "k":
            return self.black_panel
        return self.overlay_panel if letter == "o" else self.dye_panel

    def action(self, name: str) -> float:
        """Profile seconds of an action command, `Sis` or `Sp;y`; 0 for anything that does not move."""
        if name.startswith(("Sp;", "Ssd;")):
            return self.panel(name[-1]) + self.ribbon_sync + self.flip
        return {
            "Sis": self.to_contact,
            "Si": self.from_feeder_to_print,
            "Se": self.eject + self.panel("y"),
            "Ser": self.reject,
            "Seb": self.reject,
            "Scp": self.cleaning,
            "Sa": self.adjust,
            "Srs": self.reset,
        }.get(name, DEFAULT_ACTION_SECONDS if name.startswith("S") else 0.0)

    def line(self, byte_count: int, baud: int) -> float:
        """Seconds `byte_count` bytes take on the line (8N1)."""
        return byte_count * BITS_PER_BYTE / baud

    def deadline(self, name: str, byte_count: int, baud: int) -> float:
        """How long to wait for the reply, in seconds of real time (printer.md 2.7)."""
        seconds = (
            REPLY_SECONDS
            + LINE_MARGIN * self.line(byte_count, baud)
            + SLOW_FACTOR * self.action(name)
        )
        return max(LIGHTEST_WAIT, self.scale * seconds)

    def scaled(self, scale: float) -> "Timing":
        """The same machine at another pace."""
        return replace(self, scale=scale)


CLASSIC = Timing(
    "classic", to_contact=2.2, to_print=1.2, from_feeder_to_print=2.6, ribbon_sync=0.6, dye_panel=3.9,
    black_panel=2.9, overlay_panel=2.9, flip=2.5, eject=1.4, reject=1.8, cleaning=45.0, adjust=20.0,
    reset=6.0,
)  # fmt: skip
FAST = Timing(
    "fast", to_contact=1.5, to_print=0.8, from_feeder_to_print=1.8, ribbon_sync=0.4, dye_panel=2.6,
    black_panel=1.9, overlay_panel=2.0, flip=1.8, eject=1.0, reject=1.3, cleaning=30.0, adjust=15.0,
    reset=5.0,
)  # fmt: skip
INSTANT = CLASSIC.scaled(0.0)
