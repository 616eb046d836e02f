"""A purse network in one process with faults at every arrow (iso8583-host.md 16, number 3).

    card  <- pulled ->  terminal  <- lost, doubled, late, garbled ->  host  <- silent, late, down ->  bank
                        stopped                                       restarted

Terminals, stores, pads, PSAMs and cards are the real ones, on the real HSM's keys. `World` makes random steps from
a seed; `World.come_to_rest` takes the faults away and lets everybody finish.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

from cardos.card import Card
from cardos.client import CardSession
from cardos.purse_requests import GetBalance
from cardos.slot import Slot
from cardos.spec import EP_LIMIT_DEFAULT
from core.clock import FixedClock
from core.errors import CityError, DeviceFault
from hsm_sim.pinpad import SimPinPad
from payments.purse import open_purse
from payments.requests import CASH_LOAD, LOAD
from payments.terminal import Hardware, Terminal
from payments.terminal_host import Identity, Waits
from payments.terminal_link import Wanted
from payments.terminal_loads import LoadWish
from tests.purse_works import PIN, verify_pin
from tests.unit.payments.terminal_stops import Fuse, FusedChannel, FusedDisk, PowerLoss

COMMITS = frozenset({0x52, 0x54})
MAX_LIMBO = 8
STOP_WITHIN = 60  # moments of a step at which a terminal may be stopped
QUICK = Waits(pauses=(1,), retry=0)
REST_ROUNDS = 12
LAST_LOAD = 100  # fen
ACCOUNTS = tuple(f"62000000000{n:05d}" for n in range(1, 9))

Deliver = Callable[[bytes], bytes | None]


class NotAtRest(Exception):
    """The weather is good and yet something never ends."""


@dataclass
class Odds:
    """How often things go wrong, in percent of the occasions."""

    line: int = 20
    pull: int = 8
    stop: int = 6
    host: int = 2
    bank: int = 10


@dataclass
class Line:
    """A terminal's line (`HostLink`) through the world's weather."""

    world: "World"

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def exchange(self, frame: bytes, wanted: Wanted, timeout: int) -> bytes | None:
        answer = self.world.carry(frame)
        return answer if answer is not None and wanted(answer) else None


class LooseCard:
    """A card channel: now and then the holder pulls it, before or after the chip did the command."""

    def __init__(self, channel: Card, world: "World") -> None:
        self._channel = channel
        self._world = world

    def __getattr__(self, name: str) -> object:
        return getattr(self._channel, name)

    def transmit(self, apdu: bytes) -> bytes:
        world = self._world
        odds = world.odds.pull if apdu[1] in COMMITS else world.odds.pull // 4
        if not world.chance(odds, "pulled"):
            return self._channel.transmit(apdu)
        if world.dice.random() < 0.5:
            self._channel.transmit(apdu)
        raise DeviceFault("CARD-GONE", "pulled")


@dataclass
class Counterpart:
    """One terminal of the world: it can be stopped and started again; PSAM, pad and folder outlive it."""

    world: "World"
    identity: Identity
    home: Path
    psam: Card
    pad: SimPinPad
    slot: Slot = field(default_factory=Slot)
    fuse: Fuse = field(default_factory=Fuse)
    terminal: Terminal | None = None
    lists_at: timedelta | None = None

    def on(self) -> Terminal:
        """The running terminal, started if it was stopped."""
        if self.terminal is None:
            self.fuse = Fuse()
            self.psam.reset()
            fuse, world = self.fuse, self.world
            hardware = Hardware(
                self.slot, self.pad, Line(world), world.clock,
                FusedChannel(self.psam, fuse, "PSAM"), pause=lambda _seconds: None,
                wrap=lambda channel: LooseCard(FusedChannel(channel, fuse, "card"), world),
                disk=FusedDisk(fuse),
            )  # fmt: skip
            self.terminal = Terminal(self.home, self.identity, hardware, QUICK)
        return self.terminal

    def off(self) -> None:
        """Power off, whatever it was doing."""
        if self.terminal is not None:
            self.fuse.blown, self.fuse.at = False, -1
            self.terminal.store.close()
            self.terminal = None

    def stop_soon(self) -> None:
        """Stop at one of the next moments."""
        self.fuse.at = self.fuse.now + self.world.dice.randrange(STOP_WITHIN)


@dataclass
class World:
    """Everything and its dice. `deliver` hands a frame to the host and gives its answer (None: none came).

    `restart_host` closes and reopens the host; `bank_fault` makes the bank's next call fail in some way.
    """

    clock: FixedClock
    dice: random.Random
    deliver: Deliver
    restart_host: Callable[[], None]
    bank_fault: Callable[[random.Random], None]
    cards: list[Card]
    terminals: list[Counterpart] = field(default_factory=list)
    odds: Odds = field(default_factory=Odds)
    limbo: list[bytes] = field(default_factory=list)
    stale: list[bytes] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    sales: int = 0

    def chance(self, percent: int, what: str) -> bool:
        """Whether something goes wrong now; counted by name."""
        if self.dice.random() * 100 >= percent:
            return False
        self.told[what] += 1
        return True

    # -- the line -----------------------------------------------------------------------------------

    def carry(self, frame: bytes) -> bytes | None:
        """A frame to the host and its answer back, through the weather."""
        if not self.chance(self.odds.line, "line faults"):
            return self.deliver(frame)
        fate = self.dice.choice(("request", "answer", "twice", "late", "garbled", "broken", "old"))
        self.told[f"line: {fate}"] += 1
        if fate == "request":
            return None
        if fate == "late" and len(self.limbo) < MAX_LIMBO:
            self.limbo.append(frame)
            return None
        if fate == "broken":
            return self.deliver(self._flip(frame))
        answer = self.deliver(frame)
        if fate == "twice":
            return self.deliver(frame) or answer
        if fate == "garbled" and answer is not None:
            return self._flip(answer)
        if fate == "old" and answer is not None:
            old = self.dice.choice(self.stale) if self.stale else None
            self.stale = [*self.stale[-20:], answer]
            return old
        return None

    def _flip(self, frame: bytes) -> bytes:
        """One bit changed behind TPDU and header."""
        at = self.dice.randrange(13, len(frame))
        return frame[:at] + bytes((frame[at] ^ 1 << self.dice.randrange(8),)) + frame[at + 1 :]

    # -- steps --------------------------------------------------------------------------------------

    def step(self) -> None:
        """One random step; a fault of the city's own kinds is part of the game."""
        self.clock.advance(timedelta(seconds=self.dice.randrange(1, 90)))
        if self.limbo and self.dice.random() < 0.3:
            self.deliver(self.limbo.pop(self.dice.randrange(len(self.limbo))))
        if self.chance(self.odds.host, "host restarts"):
            self.restart_host()
        if self.chance(self.odds.bank, "bank faults"):
            self.bank_fault(self.dice)
        place = self.dice.choice(self.terminals)
        action = self.dice.choices(ACTIONS, WEIGHTS)[0]
        try:
            place.on()
            if self.chance(self.odds.stop, "terminal stops"):
                place.stop_soon()
            action(self, place)
        except PowerLoss:
            place.off()
        except CityError as fault:
            why = fault.facts.get("response", "")
            self.told[f"fault {fault.code} {why}".strip()] += 1
        if place.terminal is not None and place.fuse.at >= 0:
            place.off()

    @contextmanager
    def _card_on(self, place: Counterpart) -> Iterator[None]:
        card = self.dice.choice(self.cards)
        place.slot.remove()
        place.slot.insert(card)
        try:
            yield
        finally:
            place.slot.remove()

    def _pay(self, place: Counterpart) -> None:
        self.sales += 1
        with self._card_on(place):
            self._with_lists(place)
            if self.dice.random() < 0.2:
                place.on().selling().set_aside()
            place.on().pay(self.dice.randrange(0, 900), f"sale-{self.sales}")
            self.told["paid"] += 1

    def _load(self, place: Counterpart) -> None:
        amount = self.dice.randrange(100, 5_000)
        with self._card_on(place):
            place.on().load(LoadWish(amount, verify_pin))
            self.told["loaded with cash"] += 1

    def _load_account(self, place: Counterpart) -> None:
        amount = self.dice.randrange(100, 5_000)
        with self._card_on(place):
            place.on()
            place.pad.type_pin(PIN)
            account = self.dice.choice(ACCOUNTS)
            place.on().load(LoadWish(amount, verify_pin, LOAD, account))
            self.told["loaded from an account"] += 1

    def _return_card(self, place: Counterpart) -> None:
        with self._card_on(place):
            verify = verify_pin if self.dice.random() < 0.7 else None
            place.on().settle_card(verify)

    def _upload(self, place: Counterpart) -> None:
        place.on().upload()

    def _settle(self, place: Counterpart) -> None:
        place.on().settle()
        self.told["batches settled"] += 1

    def _upload_twice(self, place: Counterpart) -> None:
        known = [e for e in place.on().store.purchases.values() if e.code and not e.settled]
        if known:
            place.on().selling().resend(self.dice.choice(known), self.dice.random() < 0.5)

    def _sign_on(self, place: Counterpart) -> None:
        place.on().sign_on()

    def _with_lists(self, place: Counterpart) -> None:
        """Lists younger than two days, so that sales go on."""
        age = place.on().list_age()
        if age is None or age > timedelta(hours=40):
            place.on().update_lists()

    # -- the end ------------------------------------------------------------------------------------

    def come_to_rest(self, settle_host: Callable[[], None]) -> None:
        """No more faults: late messages arrive, every card visits every terminal, every batch is settled."""
        self.odds = Odds(0, 0, 0, 0, 0)
        self.dice.shuffle(self.limbo)
        for frame in self.limbo:
            self.deliver(frame)
        self.limbo.clear()
        for place in self.terminals:
            place.off()
        settle_host()
        for place in self.terminals:
            self._visit_all(place)
        last = self.terminals[0]
        for number, card in enumerate(
            self.cards
        ):  # a later counter decides what was left open elsewhere (11.2)
            with self._laid(last, card):
                if balance(card) + LAST_LOAD > EP_LIMIT_DEFAULT:  # a full purse would refuse it
                    self._with_lists(last)
                    sale = f"room on card {number}"
                    self._at_last(partial(last.on().pay, LAST_LOAD, sale))
                self._at_last(lambda: last.on().load(LoadWish(LAST_LOAD, verify_pin, CASH_LOAD)))
        for place in self.terminals:
            self._at_last(place.on().settle)
        settle_host()

    def _visit_all(self, place: Counterpart) -> None:
        for card in self.cards:
            with self._laid(place, card):
                place.on().selling().set_aside()
                place.on().settle_card(verify_pin)
        self._at_last(place.on().settle)

    @contextmanager
    def _laid(self, place: Counterpart, card: Card) -> Iterator[None]:
        place.slot.remove()
        place.slot.insert(card)
        try:
            yield
        finally:
            place.slot.remove()

    def _at_last(self, act: Callable[[], object]) -> None:
        """Once the weather is good an act succeeds after a few tries, or something is wrong."""
        problem: CityError | None = None
        for _ in range(REST_ROUNDS):
            try:
                act()
                return
            except CityError as fault:
                problem = fault
                self.clock.advance(timedelta(minutes=11))
        raise NotAtRest(f"not at rest: {problem!r}")

    def on_cards(self) -> int:
        """The sum of all chips' balances, in fen."""
        return sum(balance(card) for card in self.cards)

    def close(self) -> None:
        """Switch everything off."""
        for place in self.terminals:
            place.off()


ACTIONS: tuple[Callable[[World, Counterpart], None], ...] = (
    World._pay, World._load, World._load_account, World._return_card, World._upload,
    World._upload_twice, World._settle, World._sign_on,
)  # fmt: skip
WEIGHTS = (40, 16, 10, 10, 8, 4, 2, 2)


def balance(card: Card) -> int:
    """What a chip holds."""
    card.reset()
    session = CardSession(card)
    open_purse(session)
    return session.send(GetBalance())
