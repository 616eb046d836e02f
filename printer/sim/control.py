"""A simulated printer as a product: plug a driver into it, load cards, and break it on purpose.

    with PrinterSimulator(slot=reader, out=folder) as simulator:
        simulator.load_cards([SimCard("B0001", chip=card)])
        printer = EvolisPrinter(simulator.url, clock, timing=INSTANT)

It runs in a thread of its own behind a pseudo-terminal (or TCP), on virtual time. The same seed, script and
input give the same bytes and the same pictures.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from threading import Event, Thread, current_thread
from types import TracebackType
from typing import Self

from core.errors import Rejected
from printer.port import Side
from printer.sim import faults, render
from printer.sim.firmware import Firmware
from printer.sim.machine import COOL_SECONDS, Bench, ChipSlot, Counters, Machine
from printer.sim.noise import STALL_SECONDS, Noise
from printer.sim.plastic import RIBBON_KINDS, Face, Place, Ribbon, SimCard
from printer.sim.ports import Port, PtyPort, TcpPort
from printer.sim.protocol import TOO_LATE, Command, CommandParser, reply
from printer.timing import BITS_PER_BYTE, INSTANT, Timing

BAUD = 115_200
SLOW_BAUD = 38_400
SLOW_FACTOR = 5.0
INTER_BYTE_SECONDS = 10.0
PIECE = 256  # bytes taken in between two looks at byte-counted faults
JOIN_SECONDS = 10.0
FEEDER_CARDS = 200


class PrinterSimulator:
    """One machine.

    Parameters
    ----------
    slot : the contact station's reader (`insert(chip)`, `remove()`); None for a machine without one.
    neighbour : another station's reader, for fault F6.
    chip_powered : tells whether the chip has power, so that moving it then is noted as an incident.
    timing : pace; `scale` 0 is instant.
    stock : what is pre-printed on the blanks, per side 648 x 1016 x 3.
    out : folder for the pictures of cards that come out; None keeps none.
    state_file : where the lifetime counters live between runs; None forgets them.
    tcp : a TCP port instead of a pseudo-terminal.
    has_words, plain, error_mode : older firmware, texts instead of ACK/NAK, factory error management.
    """

    def __init__(
        self,
        *,
        slot: ChipSlot | None = None,
        neighbour: ChipSlot | None = None,
        chip_powered: Callable[[], bool] = lambda: False,
        timing: Timing = INSTANT,
        ribbon: str = "ymcko",
        ribbon_sets: int = 200,
        stock: render.Stock | None = None,
        out: Path | None = None,
        state_file: Path | None = None,
        seed: int = 1,
        serial: str = "CCS300-0001",
        tcp: bool = False,
        plain: bool = False,
        has_words: bool = True,
        error_mode: str = "2",
    ) -> None:
        self._stock = stock or render.white_stock()
        self._out = out
        self._state_file = state_file
        self._plain = plain
        self._baud = BAUD
        self._bytes_in = 0
        self._stop = Event()
        self._plugged, self._hang_up = True, False
        self._failure: BaseException | None = None
        self._noise = Noise(seed)
        self._parser = CommandParser()
        self.machine = Machine(
            timing, Bench(slot, neighbour, chip_powered), self._left, Ribbon(ribbon, ribbon_sets)
        )
        self.machine.counters = self._read_counters()
        self._kept: Counters | None = None
        self.machine.strike = self._strike
        self._firmware = Firmware(self.machine, serial, has_words, error_mode)
        self._port: Port = TcpPort() if tcp else PtyPort()
        self._thread = Thread(target=self._run, name=f"printer-{serial}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """What a driver opens."""
        return self._port.url

    def close(self) -> None:
        """Stop. What failed inside the machine is raised here."""
        self._stop.set()
        with self.machine.changed:
            self.machine.changed.notify_all()
        self._port.wake()
        self._thread.join(JOIN_SECONDS)
        self._port.close()
        self._write_counters()
        if self._failure is not None:
            raise self._failure

    # -- the operator's hands -----------------------------------------------------------------------------

    def load_cards(self, cards: Iterable[SimCard]) -> None:
        """Put blanks under the pile in the feeder. Rejected P-X06 beyond `FEEDER_CARDS`."""
        with self.machine.changed:
            fresh = list(cards)
            if len(self.machine.feeder) + len(fresh) > FEEDER_CARDS:
                raise Rejected("P-X06", f"the feeder holds {FEEDER_CARDS} cards", line="load")
            for card in fresh:
                card.place = Place.FEEDER
            self.machine.feeder += fresh
            self.machine.total += len(fresh)
            self.machine.switches.starved = False
            self.machine.check()

    def replace_ribbon(self, kind: str = "ymcko", sets: int = 200) -> None:
        """Fit a new roll."""
        if kind not in RIBBON_KINDS:
            raise Rejected("P-X06", f"no ribbon {kind!r}", line="ribbon")
        self._set(lambda machine: setattr(machine, "ribbon", Ribbon(kind, sets)))

    def take_ribbon_out(self) -> None:
        """For cleaning."""
        self._set(lambda machine: setattr(machine, "ribbon", None))

    def open_cover(self) -> None:
        """Stops any movement at its next line."""
        self._set(lambda machine: setattr(machine.switches, "cover_open", True))

    def close_cover(self) -> None:
        """And the machine may move again."""
        self._set(lambda machine: setattr(machine.switches, "cover_open", False))

    def remove_card(self) -> SimCard:
        """Take out the card that is inside, through the open cover. Rejected P-X03 when there is none."""
        with self.machine.changed:
            if self.machine.inside is None:
                raise Rejected("P-X03", "no card inside", position="none")
            card = self.machine.hand_out()
            self.machine.changed.notify_all()
            return card

    def empty_hopper(self) -> list[SimCard]:
        """Take the finished cards away."""
        return self._empty(self.machine.hopper, "hopper_full")

    def empty_reject_box(self) -> list[SimCard]:
        """Take the spoiled cards away."""
        return self._empty(self.machine.reject_box, "reject_full")

    def clean_sensor(self) -> None:
        """Ends F22."""
        self._set(lambda machine: setattr(machine.switches, "sensor_blind", False))

    def cool_head(self) -> None:
        """Ends F13 at once."""
        self._set(lambda machine: setattr(machine.switches, "hot_until", 0.0))

    def power_off(self) -> None:
        """The plug is pulled: the port dies, downloaded pictures are gone, counters and cards stay."""
        with self.machine.changed:
            self.machine.powered = False
            self._write_counters()
            self._replug()

    def power_on(self) -> None:
        """The machine boots; it moves nothing."""
        with self.machine.changed:
            if not self.machine.powered:
                self._parser.give_up()
                self._firmware.boot()
                self.machine.powered = True
                self._replug()

    def inject(self, script: str) -> None:
        """Arm faults, one a line (see `printer.sim.faults`). Rejected P-X06 when a line does not parse."""
        with self.machine.changed:
            for line in script.strip().splitlines():
                fault = faults.parse(line, self.machine.now, self._bytes_in)
                if fault.number == 6 and self.machine.bench.neighbour is None:
                    raise Rejected("P-X06", "F6 needs a neighbour's reader", line=line)
                self.machine.faults.arm(fault)
            for number in self.machine.faults.at_once():
                self._strike(number)

    # -- what faults do -------------------------------------------------------------------------------------

    def _strike(self, number: int) -> None:
        """One fault happens now."""
        switches, noise = self.machine.switches, self._noise
        if number in (2, 3, 4, 5, 6, 7, 27):
            self.machine.due.add(number)
        elif number in _SWITCHES:
            setattr(switches, _SWITCHES[number], True)
        elif number in _NOISES:
            name, value = _NOISES[number]
            setattr(noise, name, value)
        elif number == 8 and self.machine.ribbon is not None:
            self.machine.ribbon.broken = True
        elif number == 9:
            self.machine.ribbon = Ribbon("kb", 500)
        elif number == 13:
            switches.hot_until = self.machine.now + COOL_SECONDS
        elif number == 14:
            self.power_off()
        elif number == 15:
            self._hang_up = True
            self._parser.give_up()
            self._replug()
        elif number == 23:
            switches.slow_factor = SLOW_FACTOR
        elif number == 25:
            self._baud = SLOW_BAUD
        elif number == 26:
            noise.foreign.append(b"\x1bRtp\r")
        elif number == 28 and len(self.machine.hopper) > 1:
            pile = self.machine.hopper
            pile[-1], pile[-2] = pile[-2], pile[-1]

    # -- the machine's own life -----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                with self.machine.changed:
                    self._align_port()
                self._serve(self._port.receive(self._patience()))
        except BaseException as reason:
            self._failure = reason
            self._port.unplug()

    def _patience(self) -> float | None:
        """How long a payload may pause before it is thrown away; for ever when time stands still."""
        pause = INTER_BYTE_SECONDS * self.machine.timing.scale
        return pause if self._parser.in_payload and pause else None

    def _serve(self, data: bytes) -> None:
        with self.machine.changed:
            if not data:
                if self._parser.in_payload and self._patience():
                    self._parser.give_up()
                    self._answer((TOO_LATE, ""))
                return
            if self._port.host_baud() not in (None, self._baud):
                self._port.send(self._noise.garbled(data[:8]))
                return
            for at in range(0, len(data), PIECE):
                self._take_in(data[at : at + PIECE])

    def _take_in(self, data: bytes) -> None:
        machine = self.machine
        self._bytes_in += len(data)
        machine.spend(len(data) * BITS_PER_BYTE / self._baud)
        for number in machine.faults.at_bytes(self._bytes_in):
            self._strike(number)
        if self._noise.stall:
            self._noise.stall = False
            machine.changed.wait_for(self._stop.is_set, STALL_SECONDS)
        for command in self._parser.push(self._noise.incoming(data)):
            self._carry_out(command)
        if self._noise.cut_payload and self._parser.in_payload:
            self._noise.cut_payload = False
            self._parser.abandon()

    def _carry_out(self, command: Command) -> None:
        machine = self.machine
        for number in machine.faults.at_command(command.name, done=False):
            self._strike(number)
        if not machine.powered:
            return
        answer = self._firmware.execute(command)
        self._write_counters()
        for number in machine.faults.at_command(command.name, done=True):
            self._strike(number)
        while self._noise.foreign:
            for foreign in self._parser.push(self._noise.foreign.pop()):
                self._answer(self._firmware.execute(foreign))
        self._answer(answer)

    def _answer(self, answer: tuple[str, str] | None) -> None:
        if answer is not None and self.machine.powered:
            stated, text = answer
            self._port.send(self._noise.outgoing(reply(stated, text, self._plain)))

    def _left(self, card: SimCard) -> None:
        """A card has come to rest outside: take its picture, and let go of the ink in memory."""
        if self._out is not None:
            render.save(card, self._stock, self._out)
            card.faces = {side: Face() for side in Side}

    def _replug(self) -> None:
        """Bring the port in line with the power. Only the machine's own thread touches it."""
        if current_thread() is self._thread:
            self._align_port()
            return
        self.machine.changed.notify_all()
        self._port.wake()
        self.machine.changed.wait_for(self._aligned, JOIN_SECONDS)

    def _aligned(self) -> bool:
        ended = not self._thread.is_alive()
        return ended or (self._plugged == self.machine.powered and not self._hang_up)

    def _align_port(self) -> None:
        if self._plugged and (self._hang_up or not self.machine.powered):
            self._port.unplug()
            self._plugged = False
        if self.machine.powered and not self._plugged:
            self._port.plug_in()
            self._plugged = True
        self._hang_up = False
        self.machine.changed.notify_all()

    def _set(self, change: Callable[[Machine], None]) -> None:
        with self.machine.changed:
            change(self.machine)
            self.machine.changed.notify_all()

    def _empty(self, pile: list[SimCard], switch: str) -> list[SimCard]:
        with self.machine.changed:
            cards = list(pile)
            pile.clear()
            self.machine.total -= len(cards)
            setattr(self.machine.switches, switch, False)
            return cards

    def _read_counters(self) -> Counters:
        if self._state_file is None or not self._state_file.exists():
            return Counters()
        return Counters(**json.loads(self._state_file.read_text("utf-8")))

    def _write_counters(self) -> None:
        if self._state_file is None or self._kept == self.machine.counters:
            return
        self._kept = replace(self.machine.counters)
        text = json.dumps(asdict(self.machine.counters))
        fresh = self._state_file.with_suffix(".new")
        fresh.write_text(text, "utf-8")
        fresh.replace(self._state_file)


_SWITCHES = {
    1: "starved",
    10: "cover_open",
    11: "hopper_full",
    12: "reject_full",
    22: "sensor_blind",
    24: "cleaning_mandatory",
}
_NOISES: dict[int, tuple[str, int | bool]] = {
    16: ("flip_reply", 1),
    17: ("flip_input", 1),
    18: ("lose_reply", 1),
    19: ("double_reply", 1),
    20: ("stall", True),
    21: ("cut_payload", True),
}
