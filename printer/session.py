"""The conversation with one printer: attach, ask, act exactly once, resynchronise without moving (printer.md 6).

Reads may be repeated, downloads once more, movements never. After a movement whose reply is missing or
odd, two equal rounds of witnesses (position, counters, last answer) say what happened.
"""

from dataclasses import dataclass

from core.clock import Clock
from core.errors import CityError
from printer.frame import Kind, Reply, Wire
from printer.link import Link
from printer.port import Position, PrinterFault, PrinterIdentity, Situation
from printer.raster import Encoded
from printer.status import (
    ANSWER_CODES,
    Config,
    Err,
    Info,
    Warn,
    parse_position,
    parse_words,
)
from printer.timing import Timing

SPEEDS = (115_200, 38_400, 9_600)
MAX_READS = 3
MAX_DOWNLOADS = 2
MAX_RESYNCS = 3
MAX_ROUNDS = 4  # of witnesses, to find two equal neighbours
QUIET_SECONDS = 0.3
QUIET_LEAST = 0.05
HOST_MODE = "2"  # the machine must not remake a card by itself (printer.md 6.1)


@dataclass(frozen=True)
class Witness:
    """What the machine says about itself in one round of questions, moving nothing."""

    position: Position
    cards: int
    panels: int
    answer: str
    info: Info
    warn: Warn
    err: Err


@dataclass(frozen=True)
class Outcome:
    """What became of one movement. `nak` is "" when acknowledged; `sure` is False when only witnesses tell.

    `after` are the witnesses asked for behind anything but a plain acknowledgement.
    """

    nak: str
    sure: bool
    after: Witness | None = None


class Session:
    """One attached printer. Raises PrinterFault P-L05 whenever the line is gone."""

    def __init__(
        self,
        link: Link,
        clock: Clock,
        timing: Timing,
        speeds: tuple[int, ...] = SPEEDS,
        plain: bool = False,
        ribbon: str = "ymcko",
        paired_serial: str | None = None,
    ) -> None:
        self.link = link
        self.clock = clock
        self.wire = Wire(link, timing, speeds[0], plain)
        self.identity: PrinterIdentity | None = None
        self.has_words = True
        self._speeds = speeds
        self._ribbon = ribbon
        self._paired_serial = paired_serial

    # -- attach ---------------------------------------------------------------------------------------

    def attach(self) -> PrinterIdentity:
        """Open, find the speed, resynchronise, take over error management. Raises P-L06, P-L08, P-U06."""
        self._find_speed()
        witness = self.resync(cut=0, reopen=False)
        identity = PrinterIdentity(self.read("Rtp"), self.read("Rsn"), self.read("Rfv"))
        if self._paired_serial is not None and identity.serial != self._paired_serial:
            raise PrinterFault(
                "P-U06", Situation.OFFLINE, f"serial {identity.serial}", serial=identity.serial
            )
        self._take_over()
        self.identity = identity
        if witness.position is Position.NONE:
            self.configure("Pr", self._ribbon)
            self.configure("Pmi", "F")
        return identity

    def attached(self) -> None:
        """Programming errors only: everything but attach needs an open port."""
        if not self.link.is_open or self.identity is None:
            raise PrinterFault("P-L05", Situation.OFFLINE, "not attached", port=self.link.url)

    def _find_speed(self) -> None:
        heard = 0
        for speed in self._speeds:
            self.link.open(speed)
            self.wire.baud = speed
            heard += self.link.drain(self._quiet())
            for _ in range(MAX_READS):
                reply = self.wire.exchange("Rtp")
                if reply.kind is Kind.ANSWER:
                    return
                heard += reply.kind is not Kind.SILENT
                heard += self.link.drain(self._quiet())
        self.link.close()
        code = "P-L08" if heard else "P-L05"
        raise PrinterFault(code, Situation.OFFLINE, "no speed works", port=self.link.url)

    def _take_over(self) -> None:
        """Host error management, verified: in mode 0 the machine prints a person on a second blank by itself."""
        self.configure("Pem", HOST_MODE)
        if not self.wire.plain:
            self.configure("Pem", "4")
        mode = self.read("Rem").split(";")[0]
        if mode != HOST_MODE:
            raise PrinterFault("P-X04", Situation.OFFLINE, f"error mode {mode}", mode=mode)

    # -- questions and settings -------------------------------------------------------------------------

    def read(self, name: str, *parameters: str) -> str:
        """A question, asked again on any odd reply. Raises PrinterFault P-L07 after three."""
        reply = Reply(Kind.SILENT)
        for _ in range(MAX_READS):
            reply = self.wire.exchange(name, *parameters)
            if reply.kind is Kind.ANSWER:
                return reply.text
            self.link.drain(self._quiet())
        raise PrinterFault("P-L07", Situation.OFFLINE, f"{name}: {reply.kind.value}", command=name)

    def configure(self, name: str, *parameters: str | int) -> None:
        """A setting; the same value twice does no harm. Raises PrinterFault P-L07, P-X01 when refused."""
        reply = Reply(Kind.SILENT)
        for _ in range(MAX_READS):
            reply = self.wire.exchange(name, *parameters)
            if reply.kind is Kind.ANSWER:
                return
            self.link.drain(self._quiet())
        code = "P-X01" if reply.kind is Kind.REFUSED else "P-L07"
        raise PrinterFault(
            code, Situation.OFFLINE, f"{name}: {reply.kind.value} {reply.nak}", command=name
        )

    def download(self, encoded: Encoded) -> None:
        """One panel, at most twice, from its first byte. Raises PrinterFault P-D01."""
        head: tuple[str | int, ...] = (encoded.panel.value, encoded.levels)
        name = "Db"
        if encoded.compressed:
            name, head = "Dbc", (*head, len(encoded.data))
        for _ in range(MAX_DOWNLOADS):
            reply = self.wire.exchange(name, *head, payload=encoded.data)
            if reply.kind is Kind.ANSWER:
                return
            cut = len(encoded.data) if reply.kind is Kind.SILENT else 0
            self.resync(cut)
        raise PrinterFault(
            "P-D01", Situation.SPOILED, f"panel {encoded.panel.value}", panel=encoded.panel.value
        )

    # -- movements ----------------------------------------------------------------------------------------

    def act(self, name: str, *parameters: str) -> Outcome:
        """One movement, sent once. A refusal is believed only when the last answer says the same."""
        reply = self.wire.exchange(name, *parameters)
        if reply.kind is Kind.ANSWER:
            return Outcome("", sure=True)
        witness = self.resync(cut=0)
        stated = ANSWER_CODES.get(witness.answer, "")
        if reply.kind is Kind.REFUSED and stated == reply.nak:
            return Outcome(reply.nak, sure=True, after=witness)
        return Outcome(stated, sure=False, after=witness)

    def resync(self, cut: int = 0, reopen: bool = True) -> Witness:
        """Find the common language again without moving anything; two equal rounds count (printer.md 6.4).

        `cut` is the length of a payload that may have been cut. Raises PrinterFault P-L05, P-L07.
        """
        trouble: CityError | None = None
        for _ in range(MAX_RESYNCS):
            try:
                self.link.drain(self._quiet())
                if cut:
                    self.wire.pad(cut)
                    self.link.drain(self._quiet())
                return self._two_rounds()
            except PrinterFault as fault:
                if fault.code == "P-L05":
                    raise
                trouble = fault
        if reopen:
            self.link.close()
            self._find_speed()
            return self.resync(cut, reopen=False)
        self.link.close()
        raise PrinterFault("P-L07", Situation.OFFLINE, f"no clean round: {trouble}", command="Rlr")

    def witness(self) -> Witness:
        """One round: position, counters, last answer, status words."""
        answer = self.read("Rlr")
        position = parse_position(self.read("Rlr", "p"))
        cards, panels = int(self.read("Rco", "c")), int(self.read("Rco", "p"))
        _config, info, warn, err = self._words()
        return Witness(position, cards, panels, answer, info, warn, err)

    def _two_rounds(self) -> Witness:
        before = self.witness()
        for _ in range(MAX_ROUNDS):
            self._same_machine()
            again = self.witness()
            if again == before:
                return again
            before = again
        raise PrinterFault("P-L07", Situation.OFFLINE, "witnesses keep changing", command="Rlr")

    def _same_machine(self) -> None:
        serial = self.read("Rsn")
        if self.identity is not None and serial != self.identity.serial:
            raise PrinterFault("P-U06", Situation.OFFLINE, f"serial {serial}", serial=serial)

    def _words(self) -> tuple[Config, Info, Warn, Err]:
        """Status words where the firmware has them, else what the sensors tell."""
        if self.has_words:
            reply = self.wire.exchange("Rst")
            if reply.kind is Kind.REFUSED and reply.nak == "1":
                self.has_words = self.wire.exchange("Rst").kind is not Kind.REFUSED
            if self.has_words:
                return parse_words(reply.text if reply.kind is Kind.ANSWER else self.read("Rst"))
        warn = Warn(0)
        if _volts(self.read("Rse", "o")) < 1:
            warn |= Warn.COVER_OPEN
        if _volts(self.read("Rse", "f")) < 1:
            warn |= Warn.FEEDER_EMPTY
        if self.read("Rrt", "count") in ("0", "ERR RIB DETECTION"):
            warn |= Warn.RIBBON_ENDED
        info = Info(0) if self.read("Rlr", "r") == "OK" else Info.CLEANING_MANDATORY | Info.CLEANING
        return Config(0), info, warn, Err(0)

    def _quiet(self) -> float:
        return max(QUIET_LEAST, QUIET_SECONDS * self.wire.timing.scale)


def _volts(text: str) -> float:
    """``5,00 Volts`` as a number."""
    return float(text.split()[0].replace(",", "."))
