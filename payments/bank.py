"""The funding bank: a port of five calls, each idempotent by our reference (field 37), and a simulated bank.

The simulator misbehaves on demand: silent (nothing done, no answer), late (done, no answer), slow, down,
refusing, debiting a wrong amount. Its books can lie in a file, so that they outlive a host that was killed.
Money in fen.
"""

import json
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from core.clock import Clock, business_date
from core.errors import Rejected, Unavailable
from payments.responses import APPROVALS

SILENCE_SECONDS = 15
MAX_FAULTS = 1000
NO_MONEY, NO_ACCOUNT, WRONG_PIN, NO_SUCH_DEBIT = "51", "14", "55", "25"


class BankRefusal(Rejected):
    """The bank says no, or nothing clear; `response` is field 39. An approval with a defect (A2, A4, A5, A6) that
    an adapter hands on as a refusal counts as what it is.
    """

    def __init__(self, response: str) -> None:
        super().__init__("BANK-REFUSED", f"the bank answered {response}", response=response)
        self.response = response


class BankSilent(Unavailable):
    """No answer in time: the bank may have done it or not (BANK-SILENT)."""

    response_code = "68"


class BankDown(Unavailable):
    """The bank cannot be reached: it has done nothing (BANK-DOWN)."""

    response_code = "91"


@dataclass(frozen=True)
class BankLine:
    """A line of the bank's daily check file."""

    reference: str
    kind: str
    amount: int
    account: str


class Bank(Protocol):
    """Port: the bank behind the funding accounts. Repeating a call with its reference changes nothing.

    Raises BankRefusal, BankSilent or BankDown. `pin` is a PIN block under the bank's zone key.
    """

    def debit(self, reference: str, account: str, amount: int, pin: bytes | None) -> str:
        """Take `amount` fen from the account; the authorization code (6 characters)."""
        ...

    def credit(self, reference: str, account: str, amount: int) -> None:
        """Pay `amount` fen to the account."""
        ...

    def reverse(self, reference: str) -> None:
        """Undo a debit, or forbid it when it has not come yet; an unknown reference is fine."""
        ...

    def balance(self, account: str, pin: bytes | None) -> int:
        """Available fen."""
        ...

    def check_file(self, day: date) -> list[BankLine]:
        """Everything that moved on `day`, for reconciliation."""
        ...


class SimulatedBank:
    """A bank with faults on demand.

    `plan` names faults for the next debits, in order: ``ok``, ``silent`` (nothing done), ``late`` (done, answer
    lost), ``refuse:51``, ``done:A2`` (done, and handed on as a refusal), ``wrong`` (one fen more is taken). `down`
    refuses everything until it is False.
    `delay` is called before each debit: a test's barrier, or a sleep for a slow bank. `answers`: what the bank
    always says of an account, a code of field 39 (``68`` silent, ``91`` down, an approval, else a refusal).
    """

    def __init__(
        self,
        clock: Clock,
        accounts: dict[str, int] | None = None,
        books: Path | None = None,
        check_pin: Callable[[str, bytes | None], bool] | None = None,
        open_accounts_with: int | None = None,
        answers: Mapping[str, str] | None = None,
    ) -> None:
        self.accounts = dict(accounts or {})
        self.down = False
        self.plan: deque[str] = deque(maxlen=MAX_FAULTS)
        self.delay: Callable[[str], None] | None = None
        self.calls = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._check_pin = check_pin
        self._open_with = open_accounts_with
        self._answers = dict(answers or {})
        self._lines: dict[tuple[str, str], tuple[str, int, date]] = {}
        self._reversed: set[str] = set()
        self._books = books
        if books is not None and books.exists():
            for line in books.read_text("utf-8").splitlines():
                self._replay(json.loads(line))

    def debit(self, reference: str, account: str, amount: int, pin: bytes | None) -> str:
        """As `Bank.debit`."""
        if self.delay is not None:
            self.delay(reference)
        with self._open():
            self.calls += 1
            self._say(account)
            fault = self.plan.popleft() if self.plan else "ok"
            if fault == "silent":
                raise BankSilent("BANK-SILENT", "no answer to a debit", reference=reference)
            if fault.startswith("refuse:"):
                raise BankRefusal(fault.removeprefix("refuse:"))
            self._take(reference, account, amount + (fault == "wrong"), pin)
            if fault.startswith("done:"):
                raise BankRefusal(fault.removeprefix("done:"))
            if fault == "late":
                raise BankSilent("BANK-SILENT", "the answer was lost", reference=reference)
        return f"{int(reference[-6:]) % 1_000_000:06d}"

    def _take(self, reference: str, account: str, amount: int, pin: bytes | None) -> None:
        if reference in self._reversed:
            raise BankRefusal("12")
        if ("debit", reference) in self._lines:
            return
        held = self._balance(account)
        if self._check_pin is not None and not self._check_pin(account, pin):
            raise BankRefusal(WRONG_PIN)
        if held < amount:
            raise BankRefusal(NO_MONEY)
        self._write("debit", reference, account, amount)

    def credit(self, reference: str, account: str, amount: int) -> None:
        """As `Bank.credit`."""
        with self._open():
            self._balance(account)
            if ("credit", reference) not in self._lines:
                self._write("credit", reference, account, amount)

    def reverse(self, reference: str) -> None:
        """As `Bank.reverse`: a debit that comes later under this reference is refused with 12."""
        with self._open():
            if reference in self._reversed:
                return
            account, amount, _ = self._lines.get(("debit", reference), ("", 0, None))
            self._write("reverse", reference, account, amount)

    def balance(self, account: str, pin: bytes | None) -> int:
        """As `Bank.balance`."""
        with self._open():
            self._say(account)
            if self._check_pin is not None and not self._check_pin(account, pin):
                raise BankRefusal(WRONG_PIN)
            return self._balance(account)

    def _say(self, account: str) -> None:
        """What this account is always answered. Raises BankSilent, BankDown, BankRefusal."""
        response = self._answers.get(account)
        if response == BankSilent.response_code:
            raise BankSilent("BANK-SILENT", "no answer for this account")
        if response == BankDown.response_code:
            raise BankDown("BANK-DOWN", "the bank cannot be reached for this account")
        if response is not None and response not in APPROVALS:
            raise BankRefusal(response)

    def check_file(self, day: date) -> list[BankLine]:
        """As `Bank.check_file`."""
        with self._lock:
            return [
                BankLine(reference, kind, amount, account)
                for (kind, reference), (account, amount, on) in sorted(self._lines.items())
                if on == day and amount
            ]

    def net_debited(self) -> int:
        """Everything taken less everything given back and paid out: what the bank owes the purse."""
        with self._lock:
            signs = {"debit": 1, "reverse": -1, "credit": -1}
            return sum(signs[kind] * amount for (kind, _), (_, amount, _) in self._lines.items())

    def debited(self, reference: str) -> int:
        """Fen taken under a reference and not given back."""
        with self._lock:
            taken = self._lines.get(("debit", reference), ("", 0, None))[1]
            return 0 if reference in self._reversed else taken

    @contextmanager
    def _open(self) -> Iterator[None]:
        with self._lock:
            if self.down:
                raise BankDown("BANK-DOWN", "the bank cannot be reached")
            yield

    def _balance(self, account: str) -> int:
        if account not in self.accounts:
            if self._open_with is None:
                raise BankRefusal(NO_ACCOUNT)
            self.accounts[account] = self._open_with
        return self.accounts[account]

    def _write(self, kind: str, reference: str, account: str, amount: int) -> None:
        line = [kind, reference, account, amount, business_date(self._clock.now()).isoformat()]
        if self._books is not None:
            with self._books.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
        self._replay(line)

    def _replay(self, line: list[Any]) -> None:
        kind, reference, account, amount, on = line
        self._lines[(kind, reference)] = (account, amount, date.fromisoformat(on))
        if kind == "reverse":
            self._reversed.add(reference)
        if account:
            sign = -1 if kind == "debit" else 1
            self.accounts[account] = (
                self.accounts.get(account, self._open_with or 0) + sign * amount
            )
