"""The off-line day: many terminals without a line, then all upload at once, some of them twice.

    python -m tests.purse_day --terminals 200 --purchases 10000

Real chips, PSAMs, pads and stores; the real host behind TCP, the real HSM. Money must come out to the fen: every
purchase posted once, every double refused, chips = ledger.
"""

import argparse
import json
import logging
import random
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import func, select

from cardos.card import Card
from cardos.slot import Slot
from core.clock import FixedClock
from payments import ledger
from payments.host import Limits, serve
from payments.purse_records import OutcomeUnknown
from payments.tables import IncidentRow, PurchaseRow
from payments.terminal import Hardware, Terminal
from payments.terminal_host import Identity, Waits
from payments.terminal_link import TcpLink
from payments.terminal_loads import LoadWish
from payments.terminal_sales import SaleRules
from tests.purse_city import MERCHANT, PurseCity, memory_folder
from tests.purse_works import PATIENT, PurseWorks, verify_pin
from tests.purse_world import balance
from tests.unit.payments.terminal_bench import Hand

MORNING = datetime(2026, 11, 28, 0, 0, tzinfo=UTC)
DEBIT = 0x54
A_DAY = timedelta(hours=20)
PURCHASES_A_CARD = 25
LOADED = 20_000
TORN_PERCENT, TWICE_PERCENT = 2, 10
THREADS = 16
ADDRESS = Limits(per_address=2_000)


@dataclass
class Place:
    """One terminal of the day with its slot; `tear` pulls the card at the next debit."""

    terminal: Terminal
    slot: Slot
    tear: list[bool]


@dataclass
class Figures:
    """What the day came to."""

    terminals: int
    cards: int
    purchases: int
    spent_fen: int = 0
    torn: int = 0
    uploaded: int = 0
    sent_twice: int = 0
    posted: int = 0
    posted_fen: int = 0
    duplicates: int = 0
    chips_fen: int = 0
    ledger_fen: int = 0
    merchant_fen: int = 0
    fees_fen: int = 0
    incidents: int = 0
    seconds: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class Day:
    """One run in a folder of its own."""

    def __init__(self, works: PurseWorks, terminals: int, purchases: int, seed: int) -> None:
        self.dice = random.Random(seed)
        self.folder = memory_folder(f"citycard-day-{seed}")
        self.clock = FixedClock(MORNING)
        self.works = works
        self.city = PurseCity(works, self.folder / "host", self.clock)
        self.figures = Figures(terminals, max(purchases // PURCHASES_A_CARD, 2), purchases)
        first = 10_000_000 * (
            seed + 1
        )  # of its own: the HSM lets a card authenticate four times a minute
        self.cards = [works.card(f"{first + n:014d}") for n in range(self.figures.cards)]
        self.places: list[Place] = []

    def run(self) -> Figures:
        """The whole day."""
        try:
            with serve(self.city.authorizer, self.clock, limits=ADDRESS) as running:
                self._timed("morning", lambda: self._morning(running.port))
                self._timed("off_line", self._off_line)
                self._timed("upload", self._upload)
                self._timed("settle", self._settle)
            self._timed("judge", self.city.judge)
            self._count()
        finally:
            for place in self.places:
                place.terminal.close()
            self.city.close()
            shutil.rmtree(self.folder, ignore_errors=True)
        return self.figures

    def _timed(self, name: str, act: Callable[[], object]) -> None:
        began = time.monotonic()
        act()
        self.figures.seconds[name] = round(time.monotonic() - began)

    def _morning(self, port: int) -> None:
        """Terminals are fitted out and fetch keys and lists; every card is loaded."""
        for number in range(1, self.figures.terminals + 1):
            identity, pad = self.city.add_terminal(number)
            self.places.append(self._place(identity, pad, self.works.psam(number), port))
        self._all(lambda place: place.terminal.update_lists())
        for n, card in enumerate(self.cards):
            place = self.places[n % len(self.places)]
            place.slot.remove()
            place.slot.insert(card)
            place.terminal.load(LoadWish(LOADED, verify_pin))
            place.slot.remove()

    def _place(self, identity: Identity, pad: object, psam: Card, port: int) -> Place:
        slot, tear = Slot(identity.terminal), [False]

        def wrap(channel: object) -> object:
            return Hand(channel, DEBIT, self.dice.random() < 0.5) if tear[0] else channel

        hardware = Hardware(
            slot, pad, TcpLink("127.0.0.1", port, self.clock), self.clock, psam,
            lambda _seconds: None, wrap,
        )  # fmt: skip
        home = self.folder / identity.terminal
        terminal = Terminal(home, identity, hardware, Waits(pauses=()))
        terminal.selling().rules = SaleRules(upload_records=100_000)
        return Place(terminal, slot, tear)

    def _off_line(self) -> None:
        """Nobody has a line: cards pay here and there, some are pulled and come back."""
        pause = A_DAY / max(self.figures.purchases, 1)
        for number in range(self.figures.purchases):
            self.clock.advance(pause)
            place, card = self.dice.choice(self.places), self.dice.choice(self.cards)
            self._sell(place, card, self.dice.randrange(1, 700), f"sale-{number}")

    def _sell(self, place: Place, card: Card, amount: int, sale: str) -> None:
        place.slot.insert(card)
        try:
            place.tear[0] = self.dice.random() * 100 < TORN_PERCENT
            try:
                place.terminal.pay(amount, sale)
            except OutcomeUnknown:
                self.figures.torn += 1
                place.tear[0] = False
                place.terminal.pay(amount, sale)  # the same card again, the same sale
            self.figures.spent_fen += amount
        finally:
            place.tear[0] = False
            place.slot.remove()

    def _upload(self) -> None:
        """The line is back for all at the same moment; one in ten sends everything once more."""
        count = max(len(self.places) * TWICE_PERCENT // 100, 1)
        twice = {place.slot.name for place in self.dice.sample(self.places, count)}

        def send(place: Place) -> tuple[int, int]:
            terminal, again = place.terminal, 0
            sent = terminal.upload()
            if place.slot.name in twice:
                for entry in list(terminal.store.purchases.values()):
                    code = terminal.selling().resend(entry, fresh_trace=True)
                    if code != "00":
                        self.figures.problems.append(f"a double was answered {code}")
                    again += 1
            return sent, again

        for sent, again in self._all(send):
            self.figures.uploaded += sent
            self.figures.sent_twice += again

    def _settle(self) -> None:
        self._all(lambda place: place.terminal.settle())

    def _all(self, act: Callable[[Place], Any]) -> list[Any]:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(act, self.places))

    def _count(self) -> None:
        figures = self.figures
        with self.city.db.read() as tx:
            rows = tx.execute(
                select(PurchaseRow.state, func.count(), func.sum(PurchaseRow.amount)).group_by(
                    PurchaseRow.state
                )
            ).all()
            by_state = {state: (count, fen) for state, count, fen in rows}
            figures.posted, figures.posted_fen = by_state.pop("POSTED", (0, 0))
            figures.duplicates = by_state.pop("REPEATED", (0, 0))[0]
            if by_state:
                figures.problems.append(f"purchases are {by_state}")
            figures.ledger_fen = sum(ledger.balances(tx, "purse").values())
            figures.merchant_fen = ledger.balance(tx, ledger.merchant(MERCHANT)).posted
            figures.fees_fen = ledger.balance(tx, ledger.FEES).posted
            figures.incidents = tx.scalar(select(func.count()).select_from(IncidentRow)) or 0
        figures.chips_fen = sum(balance(card) for card in self.cards)
        self._judge()

    def _judge(self) -> None:
        f = self.figures
        equal = {
            "posted = purchases": (f.posted, f.purchases),
            "posted fen = spent fen": (f.posted_fen, f.spent_fen),
            "uploaded = purchases": (f.uploaded, f.purchases),
            "duplicates = sent twice": (f.duplicates, f.sent_twice),
            "chips = ledger": (f.chips_fen, f.ledger_fen),
            "chips = loaded - spent": (f.chips_fen, f.cards * LOADED - f.spent_fen),
            "no incident": (f.incidents, 0),
        }
        f.problems += [f"{name}: {a} and {b}" for name, (a, b) in equal.items() if a != b]


def main() -> int:
    """One day from the command line; 1 when something did not come out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--terminals", type=int, default=200)
    parser.add_argument("--purchases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    folder = memory_folder("citycard-day-hsm")
    try:
        day = Day(
            PurseWorks(folder, limits=PATIENT), wanted.terminals, wanted.purchases, wanted.seed
        )
        figures = day.run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(json.dumps(asdict(figures), indent=1) + "\n")
    return 1 if figures.problems else 0


if __name__ == "__main__":
    sys.exit(main())
