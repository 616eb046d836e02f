"""What the printer understands: every command of the language, carried out on the machine (printer.md 2.6)."""

from collections.abc import Callable
from functools import partial

from printer.port import Panel, Position, Side
from printer.raster import BITS, densities, expand_bits, expand_dye, unpack
from printer.sim.machine import Machine, Picture
from printer.sim.plastic import RIBBON_KINDS, Place
from printer.sim.protocol import Command
from printer.status import OK, Config, Err, Info, Warn

MODEL, VERSION, HEAD_KIT = "CityCard Sim 300", "1.0", "2471001"
CLEANING_EVERY = 1000
RIBBON_LOW_SETS = 20
BAD_COMMAND, BAD_PARAMETER = "ERR COMMAND", "ERR PARAM"
FULL_VOLTS, NO_VOLTS = "5,00 Volts", "0,00 Volts"
# Settings that are taken and change nothing here: contrast, speeds, offsets, and what captures show unexplained.
SILENT_SETTINGS = frozenset(
    ("Pc", "Pl", "Ps", "Pos", "Poc", "Psm", "Px", "Py", "Pcim", "Pcem", "Pcrm", "Pneab", "Piem",
     "Ppws", "Pdt", "Mr", "Pcom")
)  # fmt: skip
POSITION_WORDS = {
    Position.NONE: "NO CARD",
    Position.CONTACT: "SMART CARD",
    Position.CONTACTLESS: "CONTACTLESS CARD",
    Position.PRINT: "CARD",
    Position.UNKNOWN: "ERR MECHANICAL",
}

Answer = tuple[str, str] | None  # (answer in words, text to send); None when power went away


class Firmware:
    """Carries commands out. Volatile: bitmaps, sequence, last answer. Kept: error mode, ribbon setting."""

    def __init__(self, machine: Machine, serial: str, has_words: bool, error_mode: str) -> None:
        self.machine = machine
        self._serial = serial
        self._has_words = has_words
        self.error_mode = error_mode
        self.boot(first=True)

    def boot(self, first: bool = False) -> None:
        """Power comes on."""
        self._pictures: dict[Panel, Picture] = {}
        self._printed: list[tuple[Panel, Picture | None]] = []  # of the card inside, for mode 0
        self._in_sequence = False
        self._pending: Panel | None = None
        self._last = OK if first else "ERR POWER"
        self._just_reset = not first
        self.machine.side = Side.FRONT
        self.machine.errors = Err(0)

    def execute(self, command: Command) -> Answer:
        """One command; the answer, or None when there is nobody left to give one."""
        if command.error:
            return self._done(command.error)
        if command.name.startswith("R"):
            return self._ask(command)
        handler = self._handlers().get(command.name)
        if handler is None:
            return self._done(OK if command.name in SILENT_SETTINGS else BAD_COMMAND)
        answer = handler(command)
        return None if answer is None else self._done(answer)

    def _done(self, answer: str) -> Answer:
        self._last = answer
        return answer, ""

    def _handlers(self) -> dict[str, Callable[[Command], str | None]]:
        return {
            "Sis": lambda _c: self._moves(self.machine.to_contact),
            "Si": lambda _c: self._moves(self.machine.to_print),
            "Sie": lambda _c: self._transport_test(),
            "Ss": lambda _c: self._start_sequence(),
            "Sp": self._print,
            "Ssd": self._print,
            "Se": lambda _c: self._end(Place.HOPPER),
            "Ser": lambda _c: self._end(Place.REJECT),
            "Seb": lambda _c: self._end(Place.REJECT),
            "Scp": lambda _c: self._clean(),
            "Sa": lambda _c: self._adjust(),
            "Srs": lambda _c: self._reset(),
            "Sr": lambda _c: self._face(Side.FRONT),
            "Sv": lambda _c: self._face(Side.BACK),
            "Wcb": self._fill,
            "Db": self._download,
            "Dbc": self._download,
            "Pem": self._set_error_mode,
            "Pr": self._set_ribbon,
            "Pmi": lambda c: OK if c.parameters[:1] in (("F",), ("M",), ("B",)) else BAD_PARAMETER,
        }

    # -- movements ------------------------------------------------------------------------------------

    def _moves(self, movement: Callable[[], str | None]) -> str | None:
        self._just_reset = False
        if self.machine.inside is None:
            self._printed.clear()
        return movement()

    def _print(self, command: Command) -> str | None:
        try:
            (letter,) = command.parameters
            panel = Panel(letter)
        except ValueError:
            return BAD_PARAMETER
        return self._print_one(panel)

    def _print_one(self, panel: Panel) -> str | None:
        self._just_reset = False
        if self.machine.inside is None and self._in_sequence:
            fed = self._moves(self.machine.to_print)
            if fed != OK:
                return fed
        picture = self._pictures.get(panel)
        answer = self.machine.print_panel(panel, picture)
        self._printed.append((panel, picture))
        if answer is not None and answer != OK and self.error_mode == "0":
            return self._remake(answer)
        return answer

    def _remake(self, answer: str) -> str | None:
        """Error mode 0: the firmware is clever and prints the job again, on the next blank (printer.md 6.1)."""
        card = self.machine.inside
        if card is None or self.machine.switches.cover_open:
            return answer
        card.place = Place.PRINT
        if self.machine.eject(Place.REJECT) != OK or self.machine.to_print() != OK:
            return answer
        for panel, picture in self._printed:
            answer_again = self.machine.print_panel(panel, picture)
            if answer_again != OK:
                return answer_again
        return OK

    def _start_sequence(self) -> str:
        self._in_sequence, self._pending = True, None
        return OK

    def _end(self, place: Place) -> str | None:
        """`Se`: in a sequence the last downloaded panel is still to be printed."""
        pending, self._pending = self._pending, None
        if pending is not None and place is Place.HOPPER:
            printed = self._print_one(pending)
            if printed != OK:
                return printed
        self._in_sequence = False
        answer = self.machine.eject(place)
        if answer == OK:
            self._printed.clear()
        return answer

    def _transport_test(self) -> str | None:
        moved = self._moves(self.machine.to_print)
        return moved if moved != OK else self.machine.eject(Place.HOPPER)

    def _clean(self) -> str | None:
        if self.machine.ribbon is not None:
            return "ERR RIB DETECTION"
        if self.machine.inside is not None:
            return "ERR MECHANICAL"
        if not self.machine.move(self.machine.timing.cleaning):
            return None
        self.machine.counters.cleanings += 1
        self.machine.switches.cleaning_mandatory = False
        self._cleaned_at = self.machine.counters.cards
        return OK

    def _adjust(self) -> str | None:
        return OK if self.machine.move(self.machine.timing.adjust) else None

    def _reset(self) -> str | None:
        """A reset throws out what is inside, as real ones may."""
        if self.machine.inside is not None:
            self.machine.eject(Place.HOPPER)
        if not self.machine.move(self.machine.timing.reset):
            return None
        self.boot()
        return OK

    # -- pictures -----------------------------------------------------------------------------------------

    def _face(self, side: Side) -> str:
        self.machine.side = side
        return OK

    def _fill(self, command: Command) -> str:
        target, *value = command.parameters or ("",)
        if target == "a" and not value:
            self._pictures.clear()
            return OK
        if target not in {panel.value for panel in Panel} or len(value) > 1:
            return BAD_PARAMETER
        panel = Panel(target)
        if not value or value[0] == "0":
            self._pictures.pop(panel, None)
            return OK
        if not value[0].isdigit() or int(value[0]) > 255:
            return BAD_PARAMETER
        lines = expand_bits(b"\xff" * 1016)
        full = 1 if panel in (Panel.BLACK, Panel.OVERLAY) else int(value[0])
        self._pictures[panel] = Picture(lines * full)
        return OK

    def _download(self, command: Command) -> str | None:
        """`Db` and `Dbc`: strict; a malformed panel is thrown away (printer.md 2.5)."""
        self._just_reset = False
        wanted = 3 if command.name == "Dbc" else 2
        letter, levels = (*command.parameters, "", "")[:2]
        if command.payload is None or len(command.parameters) != wanted:
            return BAD_PARAMETER
        if letter not in {panel.value for panel in Panel} or not levels.isdigit():
            return BAD_PARAMETER
        panel = Panel(letter)
        black = panel in (Panel.BLACK, Panel.OVERLAY)
        if int(levels) not in BITS or (int(levels) == 2) != black:
            return BAD_PARAMETER
        self._pictures.pop(panel, None)
        try:
            self._pictures[panel] = _decode(command, int(levels))
        except ValueError:
            return BAD_PARAMETER
        return self._stream(panel)

    def _stream(self, panel: Panel) -> str | None:
        """Inside a sequence a download prints the panel downloaded before it."""
        if not self._in_sequence:
            return OK
        before, self._pending = self._pending, panel
        return OK if before is None else self._print_one(before)

    # -- settings -----------------------------------------------------------------------------------------

    def _set_error_mode(self, command: Command) -> str:
        if command.parameters == ("4",):  # ACK/NAK on: it is, always
            return OK
        if command.parameters not in (("0",), ("2",)):
            return BAD_PARAMETER
        self.error_mode = command.parameters[0]
        return OK

    def _set_ribbon(self, command: Command) -> str:
        kind = command.parameters[0] if len(command.parameters) == 1 else ""
        if kind == "k":  # the captured driver's name for a black roll
            return OK
        return OK if kind in RIBBON_KINDS else BAD_PARAMETER

    # -- questions ----------------------------------------------------------------------------------------

    _cleaned_at = 0

    def _ask(self, command: Command) -> Answer:
        question = ";".join([command.name, *command.parameters])
        text = self._texts().get(question)
        if text is None or (question == "Rst" and not self._has_words):
            return BAD_COMMAND, ""
        return OK, text()

    def _texts(self) -> dict[str, Callable[[], str]]:
        machine = self.machine
        ribbon = machine.ribbon
        counters = {
            "c": machine.counters.cards,
            "p": machine.counters.panels,
            "n": machine.counters.cleanings,
            "a": CLEANING_EVERY,
            "m": CLEANING_EVERY,
            "l": ribbon.left if ribbon else 0,
        }
        return {
            "Rtp": lambda: MODEL,
            "Rsn": lambda: self._serial,
            "Rfv": lambda: VERSION,
            "Rkn": lambda: HEAD_KIT,
            "Rok": lambda: OK,
            "Rr": lambda: ribbon.kind if ribbon else "none",
            "Rcr": lambda: "ERR RIBBON END" if ribbon is None or ribbon.ended else OK,
            "Rrt;qty": lambda: str(ribbon.sets) if ribbon else "ERR RIB DETECTION",
            "Rrt;count": lambda: str(ribbon.left) if ribbon else "ERR RIB DETECTION",
            "Rlr": lambda: self._last,
            "Rlr;p": lambda: POSITION_WORDS[machine.position()],
            "Rlr;h": lambda: "NO CARD",
            "Rlr;r": lambda: "ERR NEED CLEANING" if self._cleaning_due() else OK,
            "Rem": lambda: f"{self.error_mode};{self.error_mode}",
            "Rcom;1": lambda: "1;115200;N;8;1;RTS/CTS;E",
            "Rst": self._words,
            "Rse;o": lambda: NO_VOLTS if machine.switches.cover_open else FULL_VOLTS,
            "Rse;f": lambda: FULL_VOLTS if machine.feeder else NO_VOLTS,
            "Rse;n": lambda: FULL_VOLTS if len(machine.feeder) < 10 else NO_VOLTS,
            **{f"Rse;{letter}": lambda: NO_VOLTS for letter in "bcmpr"},
            **{f"Rco;{letter}": partial(str, value) for letter, value in counters.items()},
        }

    def _cleaning_due(self) -> bool:
        used = self.machine.counters.cards - self._cleaned_at
        return self.machine.switches.cleaning_mandatory or used >= CLEANING_EVERY

    def _words(self) -> str:
        words = (
            Config.FLIP | Config.SMART | Config.FEED_BY_FEEDER | Config.REJECT_SLOT,
            self._info(),
            self._warnings(),
            self.machine.errors,
        )
        return ";".join(f"{int(word):08X}" for word in words)

    def _info(self) -> Info:
        machine = self.machine
        flags = {
            Info.CARD_FEEDER: bool(machine.feeder),
            Info.CARD_SMART: machine.position() is Position.CONTACT,
            Info.CARD_PRINT: machine.position() is Position.PRINT,
            Info.PRINTER_MASTER: self.error_mode == "0",
            Info.RIBBON_LOW: machine.ribbon is not None and machine.ribbon.left < RIBBON_LOW_SETS,
            Info.CLEANING: self._cleaning_due(),
            Info.CLEANING_MANDATORY: machine.switches.cleaning_mandatory,
            Info.RESET: self._just_reset,
        }
        return Info(sum(flag for flag, on in flags.items() if on))

    def _warnings(self) -> Warn:
        machine, ribbon = self.machine, self.machine.ribbon
        flags = {
            Warn.FEEDER_EMPTY: not machine.feeder or machine.switches.starved,
            Warn.COVER_OPEN: machine.switches.cover_open,
            Warn.HOPPER_FULL: machine.is_full(Place.HOPPER),
            Warn.REJECT_BOX_FULL: machine.is_full(Place.REJECT),
            Warn.COOLING: machine.switches.hot_until > machine.now,
            Warn.NO_RIBBON: ribbon is None,
            Warn.RIBBON_ENDED: ribbon is not None and (ribbon.left == 0 or ribbon.broken),
            Warn.UNSUPPORTED_RIBBON: ribbon is not None and "y" not in ribbon.kind,
        }
        return Warn(sum(flag for flag, on in flags.items() if on))


def _decode(command: Command, levels: int) -> Picture:
    """Payload to a picture. ValueError when it is malformed."""
    assert command.payload is not None
    if levels == 2:
        raw = command.payload
        return Picture(expand_bits(raw) if command.name == "Dbc" else unpack(raw, 2))
    values = (
        expand_dye(command.payload, levels)
        if command.name == "Dbc"
        else unpack(command.payload, levels)
    )
    return Picture(densities(values, levels))
