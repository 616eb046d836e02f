"""The mechanics: where every card is, what the ribbon leaves on it, what breaks (printer.md 4.1).

Cards are conserved: after every event each is in exactly one place, and that is asserted. Time is virtual;
`scale` real seconds pass for each virtual one, none at 0. All state is guarded by `changed`, which is let
go while time passes, so that an operator can open the cover in the middle of a panel.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Condition, RLock
from typing import Protocol

from core.clock import SystemClock
from printer.port import Panel, Plane, Position, Side
from printer.raster import LINES
from printer.sim.faults import FaultScript
from printer.sim.plastic import Place, Ribbon, SimCard
from printer.status import OK, Err
from printer.timing import Timing

HOPPER_CARDS = 100
REJECT_CARDS = 30
COOL_SECONDS = 60.0
SLICE_LINES = 32  # printed between two looks at the clock, when time passes at all
WARM_UP_TRIES = 2  # of the feeder's own rollers, before it reports a misfeed


NO_ERROR = Err(0)


class ChipSlot(Protocol):
    """The contact station's reader, seen from the card: anything with these two methods."""

    def insert(self, card: object, /) -> object: ...

    def remove(self) -> object: ...


@dataclass
class Switches:
    """Conditions that stay until somebody removes them."""

    starved: bool = False
    hopper_full: bool = False
    reject_full: bool = False
    cover_open: bool = False
    sensor_blind: bool = False
    cleaning_mandatory: bool = False
    slow_factor: float = 1.0
    hot_until: float = 0.0


@dataclass
class Counters:
    """What survives a power cut."""

    cards: int = 0
    panels: int = 0
    cleanings: int = 0


@dataclass
class Bench:
    """Where the machine stands: its reader, and what tells whether the chip has power."""

    slot: ChipSlot | None = None
    neighbour: ChipSlot | None = None
    chip_powered: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Picture:
    """A downloaded panel: densities 0..255 or bits, per wire line."""

    lines: Plane


@dataclass
class Machine:
    """One printer's body. Actions return the answer in words, or None when power went away under them."""

    timing: Timing
    bench: Bench
    left: Callable[[SimCard], None]  # called when a card has come to rest outside
    ribbon: Ribbon | None = field(default_factory=Ribbon)
    counters: Counters = field(default_factory=Counters)
    switches: Switches = field(default_factory=Switches)
    faults: FaultScript = field(default_factory=FaultScript)
    strike: Callable[[int], None] = lambda _number: None
    feeder: list[SimCard] = field(default_factory=list)
    hopper: list[SimCard] = field(default_factory=list)
    reject_box: list[SimCard] = field(default_factory=list)
    handed_out: list[SimCard] = field(default_factory=list)
    inside: SimCard | None = None
    last_fed: SimCard | None = None
    powered: bool = True
    now: float = 0.0
    due: set[int] = field(default_factory=set)  # faults that strike at the next fitting movement
    side: Side = Side.FRONT
    upper: Side = Side.FRONT
    errors: Err = NO_ERROR
    incidents: list[str] = field(default_factory=list)
    seated: ChipSlot | None = None

    def __post_init__(self) -> None:
        self.changed = Condition(RLock())
        self._ticks = SystemClock()
        self.total = len(self.feeder)

    # -- time -----------------------------------------------------------------------------------------

    def spend(self, seconds: float) -> bool:
        """Let virtual time pass; False when power was lost meanwhile."""
        self.now += seconds
        real = seconds * self.timing.scale
        until = self._ticks.monotonic() + real
        while self.powered and (left := until - self._ticks.monotonic()) > 0:
            self.changed.wait(left)
        for number in self.faults.at_time(self.now):
            self.strike(number)
        return self.powered

    def move(self, seconds: float) -> bool:
        """`spend` for a movement, which a slow machine stretches."""
        return self.spend(seconds * self.switches.slow_factor)

    # -- feeding ----------------------------------------------------------------------------------------

    def to_contact(self) -> str | None:
        """`Sis`."""
        stop = self._fed()
        if stop != OK:
            return stop
        if not self.move(self.timing.to_contact):
            return None
        card = self._card()
        if self._jammed(card):
            return "ERR MECHANICAL"
        if card.place is not Place.CONTACT:
            card.place = Place.CONTACT
            self._seat(card)
        return self._settled(card, "at the contacts")

    def to_print(self) -> str | None:
        """`Si`."""
        fed = self.inside is None
        stop = self._fed()
        if stop != OK:
            return stop
        card = self._card()
        self._unseat()
        if not self.move(self.timing.from_feeder_to_print if fed else self.timing.to_print):
            return None
        if self._jammed(card):
            return "ERR MECHANICAL"
        card.place = Place.PRINT
        return self._settled(card, "at the print head")

    def _fed(self) -> str | None:
        """Make sure a card is inside and can move."""
        if self.switches.cover_open:
            return self._fail(Err.COVER_OPEN, "ERR COVER OPEN")
        if self.inside is not None:
            stuck = self.inside.place is Place.STUCK
            return self._fail(Err.MECHANICAL, "ERR MECHANICAL") if stuck else OK
        if self.switches.cleaning_mandatory:
            return "ERR NEED CLEANING"
        if not self.feeder or self.switches.starved:
            return self._fail(Err.FEEDER_ERROR, "ERR FEEDER")
        if self._strikes(2):
            if not self.spend(WARM_UP_TRIES * self.timing.to_contact):
                return None
            return self._fail(Err.FEEDER_ERROR, "ERR FEEDER")
        self._take_blank()
        return OK

    def _take_blank(self) -> None:
        card = self.feeder.pop(0)
        if self._strikes(27) and self.last_fed is not None:
            card.chip, card.chip_serial = self.last_fed.chip, self.last_fed.chip_serial
        self.inside = self.last_fed = card
        self.upper = Side.FRONT
        card.place = Place.STUCK  # between two stations until the movement has ended
        card.history.append((self.now, "taken from the feeder"))
        self.counters.cards += 1
        if self._strikes(3) and self.feeder:
            second = self.feeder.pop(0)
            self.counters.cards += 1
            second.history.append((self.now, "slipped through under another card"))
            self._rest(second, Place.HOPPER)
        self.check()

    def _seat(self, card: SimCard) -> None:
        if card.chip is None or self._strikes(5):
            return
        slot = self.bench.neighbour if self._strikes(6) else self.bench.slot
        if slot is not None:
            slot.insert(card.chip)
            self.seated = slot

    def _unseat(self) -> None:
        slot, self.seated = self.seated, None
        if slot is None:
            return
        if self.bench.chip_powered():
            self.incidents.append(f"contact damage: {self._card().card_id} moved while powered")
        slot.remove()

    def _jammed(self, card: SimCard) -> bool:
        if not self._strikes(4):
            return False
        self._unseat()
        card.place = Place.STUCK
        card.history.append((self.now, "jammed"))
        self._fail(Err.MECHANICAL, "ERR MECHANICAL")
        self.check()
        return True

    def _settled(self, card: SimCard, where: str) -> str:
        card.history.append((self.now, where))
        self.errors = NO_ERROR
        self.check()
        return OK

    # -- printing -----------------------------------------------------------------------------------------

    def print_panel(self, panel: Panel, picture: Picture | None) -> str | None:
        """`Sp;p`: one pass under the head. The panel counter moves with the first line."""
        card = self.inside
        if card is None:
            return "ERR NO CARD"
        if card.place is not Place.PRINT:
            moved = self.to_print()
            if moved != OK:
                return moved
        if self.switches.cover_open:
            return self._fail(Err.COVER_OPEN, "ERR COVER OPEN")
        if self.ribbon is None or panel.value not in self.ribbon.kind:
            return self._fail(Err.BAD_RIBBON, "ERR BAD RIBBON")
        if self.switches.hot_until > self.now:
            return self._fail(Err.HEAD_TEMP, "ERR HEAD TEMP")
        if self.side is not self.upper:
            if not self.move(self.timing.flip):
                return None
            self.upper = self.side
        if self.ribbon.broken or not self.ribbon.wind_to(panel.value):
            return self._ribbon_fault(self.ribbon)
        if panel is Panel.YELLOW and not self.move(self.timing.ribbon_sync):
            return None
        self.counters.panels += 1
        card.panels_used += 1
        return self._pass(card, panel, picture)

    def _pass(self, card: SimCard, panel: Panel, picture: Picture | None) -> str | None:
        line = 0
        duration = self.timing.panel(panel.value)
        while line < LINES:
            for number in self.faults.at_line(panel.value, line):
                self.strike(number)
            stop = self._interrupted(card)
            if stop != OK:
                card.history.append((self.now, f"panel {panel.value} torn at line {line}"))
                return stop
            end = self.faults.next_line(panel.value, line, LINES)
            if self.timing.scale:
                end = min(end, line + SLICE_LINES)
            if picture is not None:
                card.faces[self.side].add(panel, picture.lines[line:end], line, end)
            self.move(duration * (end - line) / LINES)
            line = end
        return self._settled(card, f"panel {panel.value} printed") if self.powered else None

    def _interrupted(self, card: SimCard) -> str | None:
        """What may stop the head between two lines."""
        if not self.powered:
            return None
        if self._jammed(card):
            return "ERR MECHANICAL"
        if self.switches.cover_open:
            return self._fail(Err.COVER_OPEN, "ERR COVER OPEN")
        if self.switches.hot_until > self.now:
            return self._fail(Err.HEAD_TEMP, "ERR HEAD TEMP")
        if self.ribbon is None:
            return self._fail(Err.BAD_RIBBON, "ERR RIB DETECTION")
        if self.ribbon.broken or 7 in self.due:
            if self._strikes(7):
                self.ribbon.run_out()
            return self._ribbon_fault(self.ribbon)
        return OK

    def _ribbon_fault(self, ribbon: Ribbon) -> str:
        if ribbon.broken:
            return self._fail(Err.RIBBON_ERROR, "ERR RIBBON BROKEN")
        return self._fail(Err.RIBBON_ENDED, "ERR RIBBON END")

    # -- out ------------------------------------------------------------------------------------------------

    def eject(self, place: Place) -> str | None:
        """`Se` (good hopper) and `Ser` (reject box)."""
        card = self.inside
        if card is None:
            return "ERR NO CARD"
        if self.switches.cover_open:
            return self._fail(Err.COVER_OPEN, "ERR COVER OPEN")
        if card.place is Place.STUCK:
            return self._fail(Err.MECHANICAL, "ERR MECHANICAL")
        self._unseat()
        card.place = Place.PRINT
        if self._jammed(card):
            return "ERR MECHANICAL"
        if place is Place.HOPPER and self.is_full(Place.HOPPER):
            return self._fail(Err.HOPPER_FULL, "ERR HOPPER FULL")
        if place is Place.REJECT and self.is_full(Place.REJECT):
            return self._fail(Err.REJECT_BOX_FULL, "ERR REJECT BOX FULL")
        good = place is Place.HOPPER
        if not self.move(self.timing.eject if good else self.timing.reject):
            return None
        self.inside = None
        self._rest(card, place)
        self.errors = NO_ERROR
        self.check()
        return OK

    def is_full(self, place: Place) -> bool:
        """Whether the hopper or the reject box takes no more cards."""
        if place is Place.HOPPER:
            return self.switches.hopper_full or len(self.hopper) >= HOPPER_CARDS
        return self.switches.reject_full or len(self.reject_box) >= REJECT_CARDS

    def hand_out(self) -> SimCard:
        """The operator takes the card that is inside."""
        card, self.inside = self._card(), None
        self._unseat_quietly()
        self._rest(card, Place.OPERATOR)
        self.errors = NO_ERROR
        self.check()
        return card

    def _unseat_quietly(self) -> None:
        slot, self.seated = self.seated, None
        if slot is not None:
            slot.remove()

    def _rest(self, card: SimCard, place: Place) -> None:
        piles = {
            Place.HOPPER: self.hopper,
            Place.REJECT: self.reject_box,
            Place.OPERATOR: self.handed_out,
        }
        piles[place].append(card)
        card.place = place
        card.history.append((self.now, place.value))
        self.left(card)

    # -- truth --------------------------------------------------------------------------------------------

    def position(self) -> Position:
        """What the card sensors say, which a dirty sensor may get wrong."""
        if self.inside is None or self.switches.sensor_blind:
            return Position.NONE
        return {Place.CONTACT: Position.CONTACT, Place.PRINT: Position.PRINT}.get(
            self.inside.place, Position.UNKNOWN
        )

    def piles(self) -> Mapping[Place, list[SimCard]]:
        """Every card by the place it is in, the one inside left out."""
        return {
            Place.FEEDER: self.feeder,
            Place.HOPPER: self.hopper,
            Place.REJECT: self.reject_box,
            Place.OPERATOR: self.handed_out,
        }

    def check(self) -> None:
        """No card may appear, vanish or be in two places."""
        cards = [card for pile in self.piles().values() for card in pile]
        if self.inside is not None:
            cards.append(self.inside)
        assert len(cards) == len(set(map(id, cards))) == self.total, "cards are not conserved"
        assert all(card.place is place for place, pile in self.piles().items() for card in pile)

    def _card(self) -> SimCard:
        assert self.inside is not None, "no card inside"
        return self.inside

    def _strikes(self, number: int) -> bool:
        """Whether a fault waits for this movement; it is used up."""
        if number not in self.due:
            return False
        self.due.discard(number)
        return True

    def _fail(self, flag: Err, answer: str) -> str:
        self.errors |= flag
        return answer
