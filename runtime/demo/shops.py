"""Chapter 4, the purse: cards are loaded on line and pay off line; one is torn out and comes back; batches go up.

A lane is an acceptance point with a load counter and a shop in one: one reader, one terminal with PSAM and PIN
pad, one line to the host over TCP.
"""

from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

from cardos.client import CardSession
from cardos.requests import VerifyPin
from core.apdu import CardChannel
from core.errors import DeviceFault, Rejected
from payments.messages import parse
from payments.purse_records import OutcomeUnknown
from payments.tables import MerchantRow, TerminalRow
from payments.terminal import Hardware, Terminal
from payments.terminal_host import Identity
from payments.terminal_link import TcpLink
from payments.terminal_loads import LoadWish
from registry.dormancy.hsm_desk import HsmDesk
from runtime.demo.city import City
from runtime.demo.delivery import MadeCard
from runtime.demo.desks import CounterDesk, PadKey, hand_over
from runtime.demo.lanes import Lane, share

FIRST_TERMINAL = 10_000_001
MERCHANTS = (
    ("898440308000001", "Harbour Bakery 海港面包房"),
    ("898440308000002", "Sha Tau Kok Grocer 沙头角杂货"),
)
FEE_POINTS = 30
DEBIT = 0x54
LOAD_YUAN, PRICE_FEN = (60, 200), (150, 1_990)  # the least load pays for the dearest day
FEN_PER_YUAN = 100
MAX_PAYMENTS = 3


class Pulled:
    """A chip whose holder pulls it once, between the debit and its answer (a `CardChannel`)."""

    def __init__(self, chip: CardChannel) -> None:
        self._chip = chip
        self._torn = False

    @property
    def atr(self) -> bytes:
        return self._chip.atr

    def transmit(self, apdu: bytes) -> bytes:
        answer = self._chip.transmit(apdu)
        if apdu[1] == DEBIT and not self._torn:
            self._torn = True
            raise DeviceFault("CARD-GONE", "the holder pulled the card")
        return answer

    def reset(self) -> bytes:
        return self._chip.reset()

    def close(self) -> None:
        self._chip.close()


@dataclass
class Wire:
    """Counts the messages that crossed the lines, by message type."""

    by_mti: Tally[str] = field(default_factory=Tally)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def tap(self, _direction: str, frame: bytes) -> None:
        """See `terminal_link.Tap`."""
        mti = parse(frame).mti
        with self._lock:
            self.by_mti[mti] += 1


@dataclass(frozen=True)
class Shop:
    """A lane with its terminal."""

    lane: Lane
    terminal: Terminal
    counter: CounterDesk


@dataclass
class Till:
    """What was done with money, in fen; chips and host are asked separately."""

    loads: int = 0
    loaded: int = 0
    purchases: int = 0
    spent: int = 0
    torn: int = 0
    recovered: int = 0
    lock: Lock = field(default_factory=Lock, repr=False)


def register_terminals(city: City, keyed: Sequence[PadKey]) -> list[Identity]:
    """Merchants and terminals at the host; terminal n has PSAM n."""
    identities: list[Identity] = []
    with city.db.write() as tx:
        for (number, name), key in zip(MERCHANTS, keyed, strict=True):
            identity = Identity(
                f"{FIRST_TERMINAL + len(identities)}", number,
                (len(identities) + 1).to_bytes(6, "big"),
            )  # fmt: skip
            tx.add(MerchantRow(number=number, name=name, fee_points=FEE_POINTS, open=True))
            tx.add(
                TerminalRow(
                    number=identity.terminal, merchant=number, psam=identity.psam.hex(),
                    mac_profile="unionpay", tmk=key.token,
                )
            )  # fmt: skip
            identities.append(identity)
    return identities


def open_terminal(
    city: City, lane: Lane, identity: Identity, keyed: PadKey, psam: CardChannel, port: int, wire: Wire
) -> Terminal:  # fmt: skip
    """A terminal at work, signed on, with current lists and parameters."""
    link = TcpLink("127.0.0.1", port, city.clock, tap=wire.tap)
    hardware = Hardware(lane.reader, keyed.pad, link, city.clock, psam)
    terminal = Terminal(city.folder("terminals") / identity.terminal, identity, hardware)
    city.closing.callback(terminal.close)
    terminal.sign_on()
    terminal.update_lists()
    return terminal


def issue_and_load(
    city: City, shops: Sequence[Shop], desk: HsmDesk, cards: Sequence[MadeCard], pins: Sequence[str],
    till: Till,
) -> None:  # fmt: skip
    """Every card is handed over at its point and loaded on line, in one visit."""
    amounts = [city.dice.randint(*LOAD_YUAN) * FEN_PER_YUAN for _ in cards]
    jobs = list(zip(cards, pins, amounts, strict=True))

    def visit(lane: Lane, job: tuple[MadeCard, str, int]) -> None:
        card, pin, amount = job
        shop = shops[lane.number]
        with lane.holding(card.chip):
            hand_over(city, lane, desk, shop.counter, card, pin)
            load(shop, amount, pin)
        with till.lock:
            till.loads += 1
            till.loaded += amount
        city.progress("cards loaded", 1)

    share([shop.lane for shop in shops], jobs, visit)


def load(shop: Shop, amount: int, pin: str) -> None:
    """One load of `amount` fen; the holder presents the purse PIN to the card."""

    def verify(card: CardSession) -> None:
        card.send(VerifyPin(bytes.fromhex(pin)))

    shop.terminal.load(LoadWish(amount, verify))


def refused_load(shop: Shop, card: MadeCard, pin: str) -> str:
    """Try a load that the host must refuse; its response code."""
    with shop.lane.holding(card.chip):
        try:
            load(shop, FEN_PER_YUAN, pin)
        except Rejected as refusal:
            return str(refusal.facts.get("response", refusal.code))
    raise AssertionError("the host loaded a sleeping card")


def pay_off_line(city: City, shops: Sequence[Shop], cards: Sequence[MadeCard], till: Till) -> None:
    """Every card pays one to three times; the first card is pulled out of its first payment and comes back."""
    prices = [
        [city.dice.randint(*PRICE_FEN) for _ in range(city.dice.randint(1, MAX_PAYMENTS))]
        for _ in cards
    ]
    jobs = [(card, prices[number], number == 0) for number, card in enumerate(cards)]

    def visit(lane: Lane, job: tuple[MadeCard, list[int], bool]) -> None:
        card, amounts, tears = job
        terminal = shops[lane.number].terminal
        if tears:
            _torn_payment(lane, terminal, card, amounts[0], till)
            amounts = amounts[1:]
        with lane.holding(card.chip):
            for amount in amounts:
                terminal.pay(amount)
                _paid(till, amount)
        city.progress("cards paid", 1)

    share([shop.lane for shop in shops], jobs, visit)


def _torn_payment(lane: Lane, terminal: Terminal, card: MadeCard, amount: int, till: Till) -> None:
    """The card leaves between command and answer; presented again, it tells that it did pay."""
    try:
        with lane.holding(Pulled(card.chip)):
            terminal.pay(amount)
        raise AssertionError("the card was not torn out")
    except OutcomeUnknown:
        till.torn += 1
    with lane.holding(card.chip):
        paid, _loads = terminal.settle_card()
    if [entry.spent for entry in paid] == [True]:
        till.recovered += 1
        _paid(till, amount)


def _paid(till: Till, amount: int) -> None:
    with till.lock:
        till.purchases += 1
        till.spent += amount


def upload_and_settle(city: City, shops: Sequence[Shop]) -> None:
    """Batches go up and are settled; one purchase is sent a second time under a new trace number."""
    for number, shop in enumerate(shops):
        shop.terminal.upload()
        if number == 0:
            purchases = shop.terminal.store.purchases
            shop.terminal.selling().resend(purchases[min(purchases)], fresh_trace=True)
        shop.terminal.settle()
        city.progress("batches settled", 1)
