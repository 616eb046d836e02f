"""Kill the host at every commit boundary of a day and see that nobody is charged twice and nothing is lost.

    python -m tests.host_kills            # prints the table

A boundary is: just before a commit, just after the last one (the answer is lost), and just before the bank's
debit between two commits. The terminal does what terminals do: it repeats, and reverses what stays silent.
"""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import event, func, select

from payments import ledger, messages
from payments import requests as r
from payments.field_parts import KindTotal, Totals
from payments.purse_data import PurseAnswer
from payments.requests import reversal
from payments.tables import LoadRow, PurchaseRow
from tests.host_bench import ACCOUNT, ACCOUNT_FEN, Keys, LabCard, LabHost

MAX_TRIES = 4
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # syncs cost nothing there
MAX_BOUNDARIES = 60


class Killed(BaseException):
    """The process is gone. Not an Exception: nothing may catch it."""


@dataclass
class Grim:
    """Ends the host at its `at`-th boundary; counts all of them when `at` is 0."""

    at: int = 0
    seen: int = 0
    places: list[str] = field(default_factory=list)

    def boundary(self, place: str) -> None:
        self.seen += 1
        self.places.append(place)
        if self.seen == self.at:
            raise Killed


@dataclass
class Outcome:
    """One run: where it was killed, what it came to, whether every repeat was byte-equal."""

    scenario: str
    place: str
    loads: dict[str, int]
    bank_fen: int
    ledger_fen: int
    card_fen: int
    purchases: int
    replays: int
    problems: list[str]


class Day:
    """A terminal and a card against a host that is killed once."""

    def __init__(self, keys: Keys, folder: Path, grim: Grim) -> None:
        self.grim = grim
        self.host = LabHost(
            keys, url=f"sqlite:///{folder / 'purse.db'}", books=folder / "bank.jsonl"
        )
        event.listen(self.host.db.engine, "commit", lambda _c: self._boundary("before a commit"))
        self.armed = False
        self.answers: dict[bytes, bytes] = {}
        self.host.bank.delay = lambda _ref: self._boundary("before the bank's debit")
        self.terminal = self.host.terminal(send=self.send)
        self.card = LabCard("00001000000147")
        self.terminal.sign_on()
        self.armed = True

    def _boundary(self, place: str) -> None:
        if self.armed:
            self.grim.boundary(place)

    def send(self, frame: bytes) -> bytes | None:
        """The wire: a killed host is started again and gets the same bytes again."""
        for _ in range(MAX_TRIES):
            try:
                answer = self.host.authorizer.answer(frame)
                self._boundary("after the last commit, before the answer")
            except Killed:
                self.armed = False
                self.host.restart()
                continue
            if answer is not None:
                self.answers.setdefault(frame, answer)
                return answer
        return None

    def ask(self, message: messages.Message) -> messages.Message:
        raw = self.send(self.terminal.sealed(message))
        assert raw is not None
        return self.terminal.read(raw)

    def load(self, fen: int, kind: str) -> None:
        """A load as a terminal does it: a refusal or silence is reversed, a good answer credited and confirmed."""
        request, purse = self.terminal.load_request(self.card, fen, kind)
        answer = self.ask(request)
        if answer.response != "00":
            assert self.ask(reversal(request, "98")).response in ("00", "22", "25")
            return
        proof = self.card.finish(purse, PurseAnswer.parse(answer.octets(58)))
        confirmation = self.terminal.station.confirmation(
            self.terminal.trace(), request, answer.text(37), proof, answer.text(13)
        )
        assert self.ask(confirmation).response == "00"

    def pay(self, fen: int) -> None:
        if self.card.balance >= fen:
            assert self.ask(self.terminal.purchase(self.card, fen)).response == "00"

    def reversed_load(self, fen: int) -> None:
        request, _ = self.terminal.load_request(self.card, fen, r.LOAD)
        self.ask(request)
        assert self.ask(reversal(request, "98")).response in ("00", "25")


def _cash_load(day: Day) -> None:
    day.load(5000, r.CASH_LOAD)


def _bank_load(day: Day) -> None:
    day.load(5000, r.LOAD)


def _reversal(day: Day) -> None:
    day.reversed_load(3000)


def _whole_day(day: Day) -> None:
    day.load(5000, r.LOAD)
    day.pay(1350)
    day.reversed_load(3000)
    day.load(2000, r.CASH_LOAD)
    day.pay(200)
    if day.card.balance >= 1000:
        day.load(1000, r.UNLOAD)
    day.ask(
        day.terminal.station.settlement(day.terminal.trace(), Totals({"36": KindTotal(2, 1550)}))
    )
    day.ask(day.terminal.station.batch_end(day.terminal.trace(), 0, balanced=True))


SCENARIOS: dict[str, Callable[[Day], None]] = {
    "cash load": _cash_load,
    "bank load": _bank_load,
    "load and reversal": _reversal,
    "whole day": _whole_day,
}


def run(keys: Keys, folder: Path, scenario: str, at: int) -> tuple[Outcome, Grim]:
    """One scenario killed at boundary `at` (0: never)."""
    grim = Grim(at)
    day = Day(keys, folder, grim)
    SCENARIOS[scenario](day)
    day.armed = False
    place = grim.places[at - 1] if 0 < at <= len(grim.places) else "not killed"
    outcome = _settle(day, scenario, place)
    day.host.close()
    return outcome, grim


def _settle(day: Day, scenario: str, place: str) -> Outcome:
    """After everything has come to rest: money equations and byte-equal repeats."""
    host, card = day.host, day.card
    host.authorizer.forward_orders()
    host.judge.run()
    problems: list[str] = []
    replays = 0
    for frame, answer in list(day.answers.items()):
        if messages.parse(frame).mti in ("0200", "0220", "0400", "0500"):
            replays += 1
            again = host.authorizer.answer(frame)
            if again != answer and not _taken_back(again):
                problems.append(f"repeat of {messages.parse(frame).mti} differs")
    with host.db.read() as tx:
        trial = ledger.trial(tx)
        booked = ledger.balance(tx, ledger.purse(card.asn.hex()))
        states = _states(tx)
        purchases = _posted(tx)
    bank, taken = (
        host.bank.net_debited(),
        ACCOUNT_FEN - host.bank.accounts.get(ACCOUNT, ACCOUNT_FEN),
    )
    if sum(trial.values()):
        problems.append("the ledger does not sum to zero")
    if booked.posted != card.balance or booked.pending:
        problems.append(f"ledger {booked} against card {card.balance}")
    if bank != -trial.get("bank", 0) or bank != taken:
        problems.append(f"bank {bank} against ledger {trial.get('bank', 0)}")
    return Outcome(
        scenario, place, states, bank, booked.posted, card.balance, purchases, replays, problems
    )


def _taken_back(answer: bytes | None) -> bool:
    """A request whose load was reversed is 22 for good."""
    return answer is not None and messages.parse(answer).response == "22"


def _states(tx: Any) -> dict[str, int]:
    return dict(Counter(tx.scalars(select(LoadRow.state))))


def _posted(tx: Any) -> int:
    query = select(func.count()).where(PurchaseRow.state == "POSTED")
    return tx.scalar(query) or 0


def every_boundary(keys: Keys, scenario: str) -> list[Outcome]:
    """The scenario once without and once for each of its boundaries."""
    outcomes: list[Outcome] = []
    at, last = 0, 1
    while at <= last:
        with TemporaryDirectory(dir=MEMORY) as folder:
            outcome, grim = run(keys, Path(folder), scenario, at)
        outcomes.append(outcome)
        if at == 0:
            last = len(grim.places)
            assert last <= MAX_BOUNDARIES
        at += 1
    return outcomes


def table(outcomes: list[Outcome]) -> str:
    """The outcomes for people."""
    rows = [f"{'scenario':<18} {'killed':<42} {'bank':>6} {'ledger':>6} {'card':>6} repeats loads"]
    for one in outcomes:
        states = ", ".join(f"{n} {state}" for state, n in sorted(one.loads.items()))
        verdict = "; ".join(one.problems) or "ok"
        rows.append(
            f"{one.scenario:<18} {one.place:<42} {one.bank_fen:>6} {one.ledger_fen:>6} "
            f"{one.card_fen:>6} {one.replays:>7} {states}  {verdict}"
        )
    return "\n".join(rows)


def main() -> int:
    """Print the table; 1 when anything did not hold."""
    with TemporaryDirectory() as folder:
        keys = Keys(Path(folder))
        outcomes = [one for name in SCENARIOS for one in every_boundary(keys, name)]
    sys.stdout.write(table(outcomes) + "\n")
    return int(any(one.problems for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
