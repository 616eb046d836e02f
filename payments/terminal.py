"""A purse terminal: card reader, PSAM, PIN pad, a line to the host and a store that forgets nothing that waits.

A process, not a function over a transaction: it owns its devices and runs one customer at a time. The same code
works on a chip in process, over PC/SC, and many times in one process, because reader and line are ports. What
was in flight when the power went is settled at the next start from the store and from the card (purse-card.md
13, iso8583-host.md 7.4, 8.4).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

from cardos.client import CardSession
from cardos.purse_requests import GetBalance
from core.apdu import CardChannel, CardReader
from core.clock import Clock
from core.errors import CityError, NotFound, Unavailable
from hsm_sim.client import PinPad
from payments import frames
from payments.capp import CappRecord
from payments.field_parts import PartFault, parse_field54
from payments.purse import Psam, open_psam, open_purse
from payments.terminal_batch import BatchDesk, Settled
from payments.terminal_care import CareDesk
from payments.terminal_host import HostSession, Identity, Waits, expect_done
from payments.terminal_link import HostLink
from payments.terminal_loads import ACCOUNT_DIGITS, LoadDesk, LoadWish, Verify
from payments.terminal_records import LoadCase, PurchaseEntry
from payments.terminal_sales import SaleRules, SalesDesk
from payments.terminal_store import SYSTEM_DISK, Disk, TerminalStore

STORE_FILE, LISTS_FILE = "terminal.log", "lists.json"
REQUIREMENT_SECONDS = 60
LOAD_PARAMETERS = 1  # requirement nibble (2.3)


def wait_seconds(seconds: int) -> None:
    """Do nothing for a while."""
    Event().wait(seconds)


@dataclass(frozen=True)
class Hardware:
    """What a terminal is made of. `psam` is None at a load counter without off-line sales; `wrap` may stand between
    terminal and card, as a trace or a hand that pulls the card does.
    """

    reader: CardReader
    pad: PinPad
    link: HostLink
    clock: Clock
    psam: CardChannel | None = None
    pause: Callable[[int], None] = wait_seconds
    wrap: Callable[[CardChannel], CardChannel] = field(default=lambda channel: channel)
    disk: Disk = SYSTEM_DISK


class Terminal:
    """One terminal at work in `home`, which holds its store and its lists. Close it before another opens it."""

    def __init__(
        self, home: Path, identity: Identity, hardware: Hardware, waits: Waits | None = None
    ) -> None:
        """Open the store and the PSAM, and settle what a stop left behind without the card.

        Raises the store's errors, and ChipError or DeviceFault for a PSAM that does not answer.
        """
        home.mkdir(parents=True, exist_ok=True)
        self.identity = identity
        self._hardware = hardware
        self.store = TerminalStore(home / STORE_FILE, hardware.disk)
        try:
            self.session = HostSession(
                identity, hardware.pad, hardware.link, self.store, hardware.clock,
                hardware.pause, waits or Waits(),
            )  # fmt: skip
            self.loads = LoadDesk(self.session)
            self.sales = self._sales(hardware.psam)
            self.batches = BatchDesk(self.session, self.loads, self.sales)
            self.care = CareDesk(self.session, home / LISTS_FILE)
            rules = self.care.remembered()
            if self.sales is not None:
                self.sales.rules = rules
            self.loads.restart()
        except BaseException:
            self.store.close()
            raise
        self._acted: dict[int, Any] = {}
        self.last_care_fault: CityError | None = None

    def _sales(self, channel: CardChannel | None) -> SalesDesk | None:
        if channel is None:
            return None
        psam: Psam = open_psam(CardSession(channel))
        return SalesDesk(self.session, psam)

    def close(self) -> None:
        """Let go of store and line; nothing is lost by it."""
        self._hardware.link.close()
        self.store.close()

    @contextmanager
    def card(self) -> Iterator[CardSession]:
        """The powered card on the reader. DeviceFault CARD-ABSENT, CARD-GONE."""
        channel = self._hardware.wrap(self._hardware.reader.connect())
        try:
            yield CardSession(channel)
        finally:
            channel.close()

    # -- for the holder -----------------------------------------------------------------------------

    def balance(self) -> int:
        """What is on the card, in fen (from its own answer; only the host may believe it)."""
        with self.card() as card:
            open_purse(card)
            return card.send(GetBalance())

    def account_balance(self, account: str) -> int:
        """What the funding account holds, in fen (7.3); its PIN was typed at the pad.

        Raises Rejected TERM-REFUSED (55 PIN wrong, 75 tries used up), Unavailable TERM-SILENT, TERM-OFFLINE,
        TERM-REVERSAL-WAITING.
        """
        session = self.session
        session.link.open()
        self.loads.clear_line()
        session.be_signed_on()
        # A PIN block is for one set of keys: this message is never built twice.
        block = session.pad.pin_block(account[:-1][-ACCOUNT_DIGITS:])
        request = session.station().balance(session.trace(), account, block)
        answer = expect_done(session.send(request, session.waits.load))
        try:
            return parse_field54(answer.text(54))
        except PartFault as fault:
            raise Unavailable("TERM-SILENT", fault.detail) from fault

    def load(self, wish: LoadWish) -> LoadCase:
        """See `LoadDesk.load`; afterwards what the host asked for in its headers."""
        with self.card() as card:
            case = self.loads.load(card, wish)
        self.act()
        return case

    def pay(self, amount: int, sale: str = "", capp: Sequence[CappRecord] = ()) -> PurchaseEntry:
        """See `SalesDesk.pay`. Works without a line; nothing is sent here."""
        sales = self.selling()
        with self.card() as card:
            return sales.pay(card, amount, self.care.lists, sale, capp)

    def settle_card(
        self, verify: Verify | None = None
    ) -> tuple[list[PurchaseEntry], list[LoadCase]]:
        """The card is back: what became of its torn purchases and loads, as far as it tells.

        A load that did not happen shows only with the purse PIN (`verify`). OutcomeUnknown when it left again.
        """
        with self.card() as card:
            paid = self.sales.settle_card(card) if self.sales is not None else []
            return paid, self.loads.settle_card(card, verify)

    def selling(self) -> SalesDesk:
        """The sales desk. NotFound TERM-NO-PSAM at a counter without one."""
        if self.sales is None:
            raise NotFound("TERM-NO-PSAM", "this terminal has no PSAM")
        return self.sales

    # -- for the operator ---------------------------------------------------------------------------

    def sign_on(self) -> None:
        """Work keys, batch number, clock."""
        self._hardware.link.open()
        self.session.sign_on()

    def sign_off(self) -> None:
        """End the session after everything was sent (7.7). Rejected TERM-NOT-EMPTY while a card is awaited."""
        self._hardware.link.open()
        self._send_waiting()
        self.session.sign_off()

    def update_lists(self) -> None:
        """Blacklist and status list; what waits is sent before (7.7), if the host takes it now."""
        self._hardware.link.open()
        try:
            self._send_waiting()
        except Unavailable as fault:
            self.last_care_fault = fault  # an old list would be worse than records that wait on
        self.care.update_lists()

    def upload(self) -> int:
        """Send what waits: reversals and confirmations first, then purchases. Returns the number of purchases."""
        self._hardware.link.open()
        self.selling()
        count = self._send_waiting()
        self.act()
        return count

    def _send_waiting(self) -> int:
        if not self.loads.flush(at_once=True):
            raise Unavailable("TERM-WAITING", "a reversal or confirmation has no answer yet")
        return self.sales.upload() if self.sales is not None else 0

    def upload_if_due(self) -> int:
        """After a sale: upload when a trigger of 7.7 has come. Without a line the records simply wait on."""
        if self.sales is None or not self.sales.upload_due():
            return 0
        try:
            return self.upload()
        except Unavailable as fault:
            self.last_care_fault = fault
            return 0

    def settle(self) -> Settled:
        """Close the batch; see `BatchDesk.settle`."""
        return self.batches.settle()

    def report(self) -> None:
        """Tell the host how the terminal stands."""
        self._hardware.link.open()
        self.care.report(self.sales)

    def update_parameters(self) -> None:
        """Fetch the rules of sales."""
        self._hardware.link.open()
        rules = self.sales.rules if self.sales is not None else SaleRules()
        changed = self.care.update_parameters(rules)
        if self.sales is not None:
            self.sales.rules = changed

    # -- what the host wants ------------------------------------------------------------------------

    def act(self) -> None:
        """Do what the last headers asked for (2.3), each action at most once in 60 s (I-1)."""
        wanted, self.session.requirement = self.session.requirement, frames.NOTHING
        actions: dict[int, Callable[[], None]] = {
            frames.SIGN_ON_AGAIN: self.sign_on,
            frames.LOAD_LIST: self.update_lists,
            frames.SEND_STATUS: self.report,
            LOAD_PARAMETERS: self.update_parameters,
        }
        action = actions.get(wanted)
        now = self._hardware.clock.monotonic()
        if (
            action is None
            or now - self._acted.get(wanted, now - REQUIREMENT_SECONDS) < REQUIREMENT_SECONDS
        ):
            return
        self._acted[wanted] = now
        try:
            action()
        except CityError as fault:
            # The customer's transaction is done; the host asks again with the next answer.
            self.last_care_fault = fault

    def list_age(self) -> timedelta | None:
        """Age of the older list; None when one was never loaded."""
        return self.care.lists.age(self.session.now())
