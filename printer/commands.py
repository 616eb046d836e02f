"""The driver: one typed method per step of a card, over the Evolis escape language (printer.md 2.6, 3.2, 6).

It knows panels, positions and counters, and no person. What cannot be known is said so: a fault names the
situation the card is in, and nothing is ever printed twice to find out.
"""

from collections.abc import Callable, Sequence

from core.clock import Clock
from core.errors import Rejected
from printer.link import WRITE_SECONDS, Exchanged, Link
from printer.port import (
    Destination,
    Layers,
    Panel,
    Plane,
    Position,
    PrinterFault,
    PrinterIdentity,
    PrinterState,
    Side,
    Situation,
)
from printer.raster import Encoded, encode_panel
from printer.session import SPEEDS, Outcome, Session, Witness
from printer.status import Info, notice_codes, warning_codes
from printer.timing import CLASSIC, LIGHTEST_WAIT, Timing

MAX_FEEDS = 2  # of a blank that provably stayed in the feeder (printer.md 6.5)
MAX_LINE_SECONDS = 60.0  # more for one face is full-bleed colour on a serial line (printer.md 2.4)

_ANSWER_FAULTS = {
    "ERR FEEDER": ("P-F02", Situation.BLOCKED),
    "ERR RIBBON END": ("P-R02", Situation.SPOILED),
    "ERR RIBBON BROKEN": ("P-R03", Situation.SPOILED),
    "ERR RIB DETECTION": ("P-R03", Situation.SPOILED),
    "ERR BAD RIBBON": ("P-R04", Situation.SPOILED),
    "ERR COVER OPEN": ("P-C02", Situation.SPOILED),
    "ERR HEAD TEMP": ("P-T02", Situation.SPOILED),
    "ERR HOPPER FULL": ("P-H01", Situation.FULL),
    "ERR REJECT BOX FULL": ("P-H02", Situation.FULL),
    "ERR NEED CLEANING": ("P-K02", Situation.BLOCKED),
    "ERR POWER": ("P-U04", Situation.UNCERTAIN),
}


class EvolisPrinter:
    """`printer.port.CardPrinter` on a serial line or a socket.

    Parameters
    ----------
    url : device path or pyserial URL.
    clock : dates the transcript.
    timing : the machine's profile; its scale must be the simulator's when that is what answers.
    ribbon : panel letters of the fitted ribbon, for example ``ymcko`` or ``ymckok``.
    levels : dye levels on the wire, 32, 64 or 128.
    tones : a 256-entry table per dye; absent ones change nothing.
    paired_serial : refuse any other machine on this port.
    slow_art : allow faces that take longer than a minute on the line.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        timing: Timing = CLASSIC,
        speeds: tuple[int, ...] = SPEEDS,
        ribbon: str = "ymcko",
        levels: int = 32,
        tones: dict[Panel, Plane] | None = None,
        paired_serial: str | None = None,
        plain: bool = False,
        slow_art: bool = False,
    ) -> None:
        write_seconds = max(LIGHTEST_WAIT, WRITE_SECONDS * timing.scale)
        self._link = Link(url, clock, write_seconds)
        self._session = Session(self._link, clock, timing, speeds, plain, ribbon, paired_serial)
        self._levels = levels
        self._tones = tones or {}
        self._ribbon = ribbon
        self._slow_art = slow_art
        self._side = Side.FRONT

    # -- attach and ask ---------------------------------------------------------------------------------

    def identify(self) -> PrinterIdentity:
        """Attach; see `CardPrinter.identify`.

        Raises Unavailable P-L06, PrinterFault P-L05, P-L07, P-L08, P-U06, P-X04.
        """
        return self._session.attach()

    def close(self) -> None:
        """Let go of the port."""
        self._link.close()

    @property
    def transcript(self) -> tuple[Exchanged, ...]:
        """The last exchanges on the line, oldest first; payloads as digests."""
        return tuple(self._link.transcript)

    @property
    def noise(self) -> int:
        """Bytes received so far while nothing was asked."""
        return self._link.noise

    def state(self) -> PrinterState:
        """Ask for everything; moves nothing."""
        self._session.attached()
        return self._state(self._session.witness())

    def _state(self, witness: Witness) -> PrinterState:
        left = self._session.read("Rrt", "count")
        fitted = self._session.read("Rr")
        warnings = warning_codes(witness.info, witness.warn)
        if fitted != self._ribbon and "P-R04" not in warnings:
            warnings = (*warnings, "P-R04")
        return PrinterState(
            position=witness.position,
            cards=witness.cards,
            panels=witness.panels,
            ribbon=fitted,
            ribbon_left=int(left) if left.isdigit() else 0,
            warnings=warnings,
            notices=notice_codes(witness.info),
            last_answer=witness.answer,
            just_reset=Info.RESET in witness.info,
        )

    # -- feed -------------------------------------------------------------------------------------------

    def feed(self, reseat: bool = False) -> PrinterState:
        """See `CardPrinter.feed`. Faults: every warning code, P-F01, P-F02, P-F03, P-M04, P-U04, P-U05."""
        before = self.state()
        if reseat:
            return self._reseat(before)
        if before.position is not Position.NONE:
            raise Rejected("P-X02", "a card is inside", position=before.position.value)
        if before.warnings:
            raise PrinterFault(before.warnings[0], Situation.BLOCKED, "not ready")
        self._session.configure("Wcb", "a")
        for attempt in range(1, MAX_FEEDS + 1):
            outcome = self._session.act("Sis")
            if not outcome.nak:
                return self._check_fed(before, outcome)
            after = outcome.after or self._session.resync()
            unmoved = after.position is Position.NONE and after.cards == before.cards
            if outcome.nak == "F" and unmoved and attempt < MAX_FEEDS and not after.warn:
                continue
            raise self._feed_fault(before, outcome.nak, after, unmoved)
        raise AssertionError("the last attempt either fed or failed")

    def _check_fed(self, before: PrinterState, outcome: Outcome) -> PrinterState:
        state = self._expect(Position.CONTACT, before.cards + 1, before.panels)
        taken = state.cards - before.cards
        if taken > 1:
            raise PrinterFault("P-F03", Situation.UNCERTAIN, f"{taken} cards", cards=taken)
        if taken == 0 and state.position is Position.NONE and not outcome.sure:
            raise PrinterFault("P-L09", Situation.BLOCKED, "the command was lost on the line")
        if taken != 1 or state.position is not Position.CONTACT:
            raise self._contradiction(state, "fed")
        return state

    def _feed_fault(
        self, before: PrinterState, nak: str, after: Witness, unmoved: bool
    ) -> PrinterFault:
        if after.answer == "ERR POWER":
            return PrinterFault(
                "P-U04", Situation.UNCERTAIN, "power was lost while feeding", cards=1
            )
        if unmoved:
            codes = warning_codes(after.info, after.warn)
            fallback = "P-L09" if nak in "12" else "P-F02"
            return PrinterFault(codes[0] if codes else fallback, Situation.BLOCKED, after.answer)
        if after.cards - before.cards > 1:
            return PrinterFault("P-F03", Situation.UNCERTAIN, after.answer, cards=2)
        return PrinterFault("P-M04", Situation.JAMMED, after.answer, position=after.position.value)

    def _reseat(self, before: PrinterState) -> PrinterState:
        if before.position not in (Position.CONTACT, Position.PRINT):
            raise Rejected("P-X02", "no card to seat", position=before.position.value)
        if before.position is Position.CONTACT:
            self._move("Si", Position.PRINT)
        self._move("Sis", Position.CONTACT)
        return self.state()

    # -- download and print -----------------------------------------------------------------------------

    def load(self, layers: Layers, side: Side) -> None:
        """See `CardPrinter.load`. Rejected P-W01 when the face would take more than a minute on the line."""
        self._session.attached()
        encoded = self.encode(layers)
        seconds = self.line_seconds(encoded)
        if seconds > MAX_LINE_SECONDS and not self._slow_art:
            raise Rejected("P-W01", "full-bleed colour on a serial line", seconds=round(seconds))
        self._select(side)
        for panel in Panel:
            if panel not in encoded:
                self._session.configure("Wcb", panel.value)  # nothing of the last picture stays
            elif panel is Panel.OVERLAY and layers.o.all():
                self._session.configure("Wcb", "o", 255)
            else:
                self._session.download(encoded[panel])

    def encode(self, layers: Layers) -> dict[Panel, Encoded]:
        """The face as it will be sent, panel by panel; blank panels are absent."""
        return {
            panel: encode_panel(layers, panel, self._levels, self._tones.get(panel))
            for panel in layers.panels()
        }

    def line_seconds(self, encoded: dict[Panel, Encoded]) -> float:
        """How long the face takes on the line at the current speed."""
        wire = self._session.wire
        return wire.timing.line(sum(len(panel.data) for panel in encoded.values()), wire.baud)

    def print(
        self, panels: Sequence[Panel], on_panel: Callable[[Panel], None] = lambda _panel: None
    ) -> None:
        """See `CardPrinter.print`. Faults: P-R02, P-R03, P-R04, P-C02, P-T02, P-M03, P-L09, P-U04, P-U05."""
        before = self.state()
        if before.position is Position.NONE:
            raise Rejected("P-X03", "no card inside", position=before.position.value)
        if before.just_reset:
            raise Rejected("P-X05", "pictures were lost with the power", position="print")
        if before.position is not Position.PRINT:
            self._move("Si", Position.PRINT)
        for done, panel in enumerate(panels):
            self._print_panel(panel, before.panels + done)
            on_panel(panel)
        wanted = before.panels + len(panels)
        state = self._expect(Position.PRINT, before.cards, wanted)
        if state.position is not Position.PRINT or state.panels != wanted:
            raise self._contradiction(state, "printed")

    def _print_panel(self, panel: Panel, counted: int) -> None:
        outcome = self._session.act("Sp", panel.value)
        if outcome.nak:
            raise self._card_fault(outcome)
        if outcome.sure:
            return
        after = outcome.after
        assert after is not None  # an unsure outcome always comes with witnesses
        if after.panels == counted + 1 and after.position is Position.PRINT:
            return  # only the acknowledgement was lost: the head went over the card once, and ended well
        raise PrinterFault(
            "P-L09", Situation.SPOILED, f"panel {panel.value} was not started", panel=panel.value
        )

    def _select(self, side: Side) -> None:
        self._session.configure("Sr" if side is Side.FRONT else "Sv")
        self._side = side

    # -- out -------------------------------------------------------------------------------------------

    def eject(self, destination: Destination) -> None:
        """See `CardPrinter.eject`. Faults: P-H01, P-H02, P-M03, P-M04, P-U04, P-U05, P-L09."""
        before = self.state()
        if before.position is Position.NONE:
            raise Rejected("P-X03", "no card inside", position=before.position.value)
        outcome = self._session.act("Se" if destination is Destination.HOPPER else "Ser")
        if outcome.nak:
            raise self._card_fault(outcome)
        after = self._expect(Position.NONE, before.cards, before.panels)
        if after.position is Position.NONE and after.cards == before.cards:
            return
        if not outcome.sure and after.position is before.position:
            raise PrinterFault("P-L09", Situation.FULL, "the command was lost on the line")
        raise self._contradiction(after, "ejected")

    # -- maintenance -----------------------------------------------------------------------------------------

    def clean(self) -> None:
        """A cleaning cycle (`Scp`): the ribbon is out and a cleaning card lies in the feeder.

        Rejected P-X02 when a card is inside, PrinterFault P-K02 when the machine did not clean.
        """
        before = self.state()
        if before.position is not Position.NONE:
            raise Rejected("P-X02", "a card is inside", position=before.position.value)
        outcome = self._session.act("Scp")
        if outcome.nak or not outcome.sure:
            raise PrinterFault("P-K02", Situation.BLOCKED, "not cleaned")

    # -- shared --------------------------------------------------------------------------------------------

    def _move(self, command: str, target: Position) -> None:
        """Move the card that is inside; once."""
        outcome = self._session.act(command)
        if outcome.nak:
            raise self._card_fault(outcome)
        position = (outcome.after or self._session.witness()).position
        if position is not target:
            raise PrinterFault("P-M04", Situation.JAMMED, command, position=position.value)

    def _card_fault(self, outcome: Outcome) -> PrinterFault:
        """The fault of a movement with a card inside."""
        after = outcome.after
        assert after is not None  # refusals always come with witnesses
        code, situation = _ANSWER_FAULTS.get(after.answer, ("P-M03", Situation.JAMMED))
        if outcome.nak in "12":
            code, situation = "P-L09", Situation.SPOILED
        elif after.position is Position.UNKNOWN and situation is not Situation.UNCERTAIN:
            code, situation = "P-M03", Situation.JAMMED
        return PrinterFault(code, situation, after.answer, position=after.position.value)

    def _expect(self, position: Position, cards: int, panels: int) -> PrinterState:
        """The state; asked in two equal rounds when it is not as expected, for one digit may be misheard."""
        state = self.state()
        if (state.position, state.cards, state.panels) == (position, cards, panels):
            return state
        return self._state(self._session.resync())

    def _contradiction(self, state: PrinterState, act: str) -> PrinterFault:
        """Sensors and counters do not agree: trust neither (printer.md 4.2, F22)."""
        return PrinterFault(
            "P-U05",
            Situation.UNCERTAIN,
            f"{act}, but the machine says {state.position.value}, {state.cards} cards, {state.panels} panels",
            position=state.position.value,
        )
