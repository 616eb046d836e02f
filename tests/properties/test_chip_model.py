"""Both purses against a ledger that is obviously right: balances, counters, limit, logs, proofs, CAPP, PIN.

Random commands, resets, and power cuts inside the second command of a transaction and inside VERIFY. The
ordinary run is short; the slow one makes 100,000 steps over ten seeds. ``CHIP_MODEL_STEPS`` sets the
steps of the slow run, for the nightly size: ``CHIP_MODEL_STEPS=1000000 pytest -m slow tests/properties``.
"""

import os
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cardos.card import Card
from cardos.memory import PowerCut
from core import crypto
from tests.chip_bench import PIN, PURSE_AID, TERMINAL, WHEN, Dice, Host, bank, key

SLOW_STEPS = int(os.environ.get("CHIP_MODEL_STEPS", "100000"))
SEEDS = 10
PER_EXAMPLE = 50
ED, EP = 1, 2
KINDS = {  # type code: P1 of INITIALIZE, purse, whether on line, master
    1: (0, ED, True, "load"), 2: (0, EP, True, "load"), 3: (5, ED, True, "unload"),
    4: (2, ED, False, "purchase"), 5: (1, ED, False, "purchase"), 6: (1, EP, False, "purchase"),
    7: (4, ED, True, "overdraft"), 9: (3, EP, False, "purchase"),
}  # fmt: skip
MAXIMUM = {ED: 0xFFFF_FFFF, EP: 100_000}
LOG_SFI = {ED: 0x08, EP: 0x18}
LOG_LENGTH = 10
AMOUNTS = st.sampled_from([0, 1, 7, 500, 40_000, 99_999, 100_001, 0xFF_FFFF, 0xFFFF_FFFF])
TAGS = (0xA1, 0xA2, 0xA3)
MAX_TRIES = 3
CUTS = st.integers(0, 260)
TORN = st.sampled_from([None, 0, 0xA5, 0xFF])


def fresh() -> bytes:
    """A bank card with three application records in file 0019."""
    host = bank()
    for tag in TAGS:
        host.ok(bytes((0, 0xE2, 0, 0xC8, 4, tag, 2, 0, 0)))
    return host.card._memory.dump()


FRESH = fresh()


@dataclass(frozen=True)
class Book:
    """What one purse must say. Log entries: serial, limit, amount, type; newest first."""

    balance: int = 0
    limit: int = 0
    on: int = 0
    off: int = 0
    log: tuple[tuple[int, int, int, int], ...] = ()
    proof_on: tuple[int, bytes] | None = None  # type and the eight bytes
    proof_off: tuple[int, bytes] | None = None

    def refused(self, kind: int, amount: int) -> int:
        """The status word that refuses a change of the limit to `amount`; 0 when the balance can follow it."""
        balance = self.balance - self.limit + amount if kind == 7 else self.balance
        return 0x9401 if balance < 0 else 0x6985 if balance > MAXIMUM[ED] else 0

    def after(self, kind: int, amount: int, answer: bytes) -> "Book":
        """The book after a transaction that is not refused."""
        if kind == 7:
            balance, limit = self.balance - self.limit + amount, amount
        else:
            sign = 1 if kind in (1, 2) else -1
            balance, limit = self.balance + sign * amount, self.limit
        if KINDS[kind][2]:
            proof = answer + bytes(4) if kind == 3 else bytes(4) + answer
            new = replace(self, on=self.on + 1, proof_on=(kind, proof))
            serial = new.on
        else:
            new = replace(self, off=self.off + 1, proof_off=(kind, answer[4:] + answer[:4]))
            serial = new.off
        log = ((serial, limit, amount, kind), *self.log)[:LOG_LENGTH]
        return replace(new, balance=balance, limit=limit, log=log)


@dataclass
class Begun:
    """A transaction between its two commands; `answer` is what the good second command must give."""

    kind: int
    amount: int
    command: bytes
    answer: bytes
    records: dict[int, bytes] = field(default_factory=dict)


def text_of(kind: int, amount: int) -> bytes:
    size = 3 if kind == 7 else 4
    return amount.to_bytes(size, "big") + bytes((kind,)) + TERMINAL + WHEN


def second_command(book: Book, kind: int, amount: int, answer: bytes) -> tuple[bytes, bytes]:
    """The second command and its answer, from the formulas of purse-card.md 8.1 to 8.6."""
    master, text = key(KINDS[kind][3]), text_of(kind, amount)
    if not KINDS[kind][2]:
        serial = (book.off * 3).to_bytes(4, "big")
        session = crypto.purse_session_key(master, answer[11:15], answer[4:6], serial[2:])
        mac1 = crypto.purse_mac(session, text)
        tac = crypto.tac(key("tac"), text[:11] + serial + WHEN)
        mac2 = crypto.purse_mac(session, amount.to_bytes(4, "big"))
        return bytes.fromhex("805401000F") + serial + WHEN + mac1, tac + mac2
    random = answer[11:15] if kind == 7 else answer[8:12]
    session = crypto.purse_session_key(master, random, answer[4:6], b"\x80\x00")
    mac2 = crypto.purse_mac(session, text)
    after = book.after(kind, amount, b"")
    new = after.balance & 0xFFFF_FFFF
    message = new.to_bytes(4, "big") + answer[4:6] + text
    if kind == 3:
        return bytes.fromhex("805403000B") + WHEN + mac2, crypto.purse_mac(session, message)
    tac = crypto.tac(key("tac"), message)
    if kind == 7:
        return bytes.fromhex("805800000E") + amount.to_bytes(3, "big") + WHEN + mac2, tac
    return bytes.fromhex("805200000B") + WHEN + mac2, tac


class PurseMachine(RuleBasedStateMachine):
    """Random commands on both purses of a bank card."""

    steps = 0

    @initialize(number=st.integers(0, 2**16))
    def start(self, number: int) -> None:
        dice = Dice(number)
        self.host = Host(Card(FRESH, dice), dice)
        self.host.select(PURSE_AID)
        self.books = {ED: Book(), EP: Book()}
        self.records = dict.fromkeys(TAGS, bytes(2))
        self.begun: Begun | None = None
        self.tries = MAX_TRIES

    # -- transactions --

    @rule(kind=st.sampled_from(sorted(KINDS)), amount=AMOUNTS)
    def initialize_transaction(self, kind: int, amount: int) -> None:
        p1, purse, online, master = KINDS[kind]
        book, self.begun = self.books[purse], None
        if kind == 7:
            amount &= 0xFF_FFFF
            answer, sw = self.host.send(bytes((0x80, 0x50, 4, ED, 7, 1)) + TERMINAL)
        else:
            answer, sw = self.host.initialize(p1, purse, amount)
        if kind in (1, 2) and amount and book.balance + amount > MAXIMUM[purse]:
            assert sw == 0x6985
        elif kind not in (1, 2, 7) and amount > book.balance:
            assert sw == 0x9401
        else:
            assert sw == 0x9000
            counter = book.on if online else book.off
            assert answer[:6] == book.balance.to_bytes(4, "big") + counter.to_bytes(2, "big")
            if kind == 7 or not online:
                assert answer[6:9] == book.limit.to_bytes(3, "big")
            if online:
                self._check_mac1(kind, amount, answer, master)
            self.begun = Begun(kind, amount, *second_command(book, kind, amount, answer))

    def _check_mac1(self, kind: int, amount: int, answer: bytes, master: str) -> None:
        session = crypto.purse_session_key(key(master), answer[-8:-4], answer[4:6], b"\x80\x00")
        middle = answer[6:9] if kind == 7 else amount.to_bytes(4, "big")
        message = answer[:4] + middle + bytes((kind,)) + TERMINAL
        assert answer[-4:] == crypto.purse_mac(session, message)

    def _done(self, begun: Begun) -> tuple[Book, int]:
        book = self.books[KINDS[begun.kind][1]]
        return book.after(begun.kind, begun.amount, begun.answer), book.refused(
            begun.kind, begun.amount
        )

    def _settle(self, begun: Begun, book: Book) -> None:
        self.books[KINDS[begun.kind][1]] = book
        self.records.update(begun.records)

    @precondition(lambda self: self.begun is not None)
    @rule()
    def finish(self) -> None:
        begun, self.begun = self.begun, None
        assert begun is not None
        after, refusal = self._done(begun)
        if refusal:
            assert self.host.sw(begun.command) == refusal
            return
        assert self.host.ok(begun.command) == begun.answer
        self._settle(begun, after)

    @precondition(lambda self: self.begun is not None)
    @rule(bit=st.integers(0, 31))
    def finish_with_a_wrong_mac(self, bit: int) -> None:
        begun, self.begun = self.begun, None
        assert begun is not None
        number = int.from_bytes(begun.command, "big") ^ 1 << bit
        assert self.host.sw(number.to_bytes(len(begun.command), "big")) == 0x9302

    @precondition(lambda self: self.begun is not None)
    @rule(at=CUTS, torn=TORN)
    def finish_and_lose_power(self, at: int, torn: int | None) -> None:
        begun, self.begun = self.begun, None
        assert begun is not None
        after, refusal = self._done(begun)
        if refusal:
            assert self.host.sw(begun.command) == refusal
            return
        try:
            self.host.card.power_cut_after(at, torn)
            answered = self.host.ok(begun.command) == begun.answer
        except PowerCut:
            answered = None
        self._power_up()
        online = KINDS[begun.kind][2]
        counter = (after.on if online else after.off).to_bytes(2, "big")
        answer, sw = self.host.send(bytes((0x80, 0x5A, 0, begun.kind, 2)) + counter)
        assert answered is not False
        assert sw in (0x9000, 0x9406)
        assert not (answered and sw == 0x9406)  # who got an answer finds it proven
        if sw == 0x9000:
            proven = after.proof_on if online else after.proof_off
            assert proven is not None
            assert answer == proven[1]
            self._settle(begun, after)

    @rule(kind=st.sampled_from([2, 3, 7, 9]))
    def second_command_of_nothing(self, kind: int) -> None:
        command = {
            2: "805200000B" + "00" * 11, 3: "805403000B" + "00" * 11,
            7: "805800000E" + "00" * 14, 9: "805401000F" + "00" * 15,
        }[kind]  # fmt: skip
        family = {1: 2, 2: 2, 3: 3, 7: 7}.get(self.begun.kind, 9) if self.begun else 0
        assert self.host.sw(command) == (0x9302 if family == kind else 0x6901)
        self.begun = None

    @rule(tag=st.sampled_from(TAGS), value=st.binary(min_size=2, max_size=2))
    def cache_a_record(self, tag: int, value: bytes) -> None:
        command = bytes((0x80, 0xDC, tag, 0xC8, 4, tag, 2)) + value
        if self.begun is not None and self.begun.kind == 9:
            self.host.ok(command)
            self.begun.records[tag] = value
        else:
            assert self.host.sw(command) == 0x6901
            self.begun = None

    @rule(kind=st.sampled_from(sorted(KINDS)), shift=st.integers(-2, 2))
    def ask_for_a_proof(self, kind: int, shift: int) -> None:
        _, purse, online, _ = KINDS[kind]
        book = self.books[purse]
        asked = ((book.on if online else book.off) + shift) & 0xFFFF
        answer, sw = self.host.send(bytes((0x80, 0x5A, 0, kind, 2)) + asked.to_bytes(2, "big"))
        proof = book.proof_on if online else book.proof_off
        if shift == 0 and proof is not None and proof[0] == kind:
            assert (answer, sw) == (proof[1], 0x9000)
        else:
            assert sw == 0x9406

    # -- PIN --

    def _verify(self, pin: bytes) -> int:
        return self.host.sw(bytes((0, 0x20, 0, 0, len(pin))) + pin)

    @rule()
    def verify_the_pin(self) -> None:
        if self.tries == 0:
            assert self._verify(PIN) == 0x6983
        else:
            assert self._verify(PIN) == 0x9000
            self.tries = MAX_TRIES

    @rule(at=st.one_of(st.none(), st.integers(0, 40)), torn=TORN)
    def verify_a_wrong_pin(self, at: int | None, torn: int | None) -> None:
        possible = {max(0, self.tries - 1)}
        if at is not None:
            try:
                self.host.card.power_cut_after(at, torn)
                self._verify(b"\x99\x99\x99")
            except PowerCut:
                pass
            self._power_up()
            possible.add(max(0, self.tries - 2))
        sw = self._verify(b"\x99\x99\x99")
        left = 0 if sw == 0x6983 else sw & 0xF
        assert sw == 0x6983 or sw & 0xFFF0 == 0x63C0
        assert left in possible
        self.tries = left

    @precondition(lambda self: self.tries == 0)
    @rule()
    def reload_the_pin(self) -> None:
        mac = crypto.reload_pin_mac(key("reload"), PIN)
        self.host.ok(bytes.fromhex("805E000007") + PIN + mac)
        self.tries = MAX_TRIES

    # -- power --

    def _power_up(self) -> None:
        self.host.card.keep_power()
        self.host.card.reset()
        self.host.select(PURSE_AID)
        self.begun = None

    @rule()
    def reset(self) -> None:
        self._power_up()
        self._check_logs()

    def teardown(self) -> None:
        if hasattr(self, "host"):
            self._check_logs()

    def _check_logs(self) -> None:
        for purse, book in self.books.items():
            self._check_log(purse, book, LOG_LENGTH)
        for tag, value in self.records.items():
            assert self.host.ok(bytes((0, 0xB2, tag, 0xC8, 0))) == bytes((tag, 2)) + value

    def _check_log(self, purse: int, book: Book, depth: int) -> None:
        p2 = LOG_SFI[purse] << 3 | 4
        for number in range(1, min(depth, len(book.log)) + 1):
            serial, limit, amount, kind = book.log[number - 1]
            want = serial.to_bytes(2, "big") + limit.to_bytes(3, "big")
            want += amount.to_bytes(4, "big") + bytes((kind,)) + TERMINAL + WHEN
            assert self.host.ok(bytes((0, 0xB2, number, p2, 0))) == want
        if len(book.log) < depth:
            assert self.host.sw(bytes((0, 0xB2, len(book.log) + 1, p2, 0))) == 0x6A83

    @invariant()
    def card_and_books_agree(self) -> None:
        if not hasattr(self, "host"):
            return
        PurseMachine.steps += 1
        for purse, book in self.books.items():
            assert self.host.balance(purse) == book.balance
            self._check_log(purse, book, 1)


def run(number: int, steps: int) -> int:
    """At least `steps` steps with a seed of their own; the number that were made."""
    PurseMachine.steps = 0
    machine = seed(number)(type("SeededMachine", (PurseMachine,), {}))
    options = settings(
        max_examples=max(1, steps // (PER_EXAMPLE - 10)),  # most examples run to their full length
        stateful_step_count=PER_EXAMPLE,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=options)
    return PurseMachine.steps


def test_the_chip_agrees_with_the_books() -> None:
    assert run(20, 4_000) >= 4_000


@pytest.mark.slow
@pytest.mark.parametrize("number", range(SEEDS))
def test_the_chip_agrees_with_the_books_for_long(number: int) -> None:
    share = SLOW_STEPS // SEEDS
    assert run(number, share) >= share
