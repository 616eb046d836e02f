"""The purse against a ledger that is obviously right: balance, counters, log, proofs; resets and cuts.

``CHIP_MODEL_EXAMPLES`` and ``CHIP_MODEL_STEPS`` make it longer (2000 x 50 is 100,000 steps).
"""

import os
from dataclasses import dataclass, replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from cardos.card import Card
from cardos.memory import PowerCut
from core import crypto
from tests.chip_bench import PURSE_AID, TERMINAL, WHEN, Dice, Host, bank, key

EXAMPLES = int(os.environ.get("CHIP_MODEL_EXAMPLES", "150"))
STEPS = int(os.environ.get("CHIP_MODEL_STEPS", "40"))
AMOUNTS = st.sampled_from([0, 1, 7, 500, 40_000, 99_999, 100_001])
FRESH = bank().card._memory.dump()
MAXIMUM = 100_000
LOG_LENGTH = 10


@dataclass(frozen=True)
class Book:
    """What one purse must say."""

    balance: int = 0
    on: int = 0
    off: int = 0
    log: tuple[tuple[int, int, int], ...] = ()  # serial, amount, type; newest first
    proof_on: bytes | None = None
    proof_off: bytes | None = None
    kind_off: int = 0

    def loaded(self, amount: int, tac: bytes) -> "Book":
        log = ((self.on + 1, amount, 2), *self.log)[:LOG_LENGTH]
        proof = bytes(4) + tac
        return replace(self, balance=self.balance + amount, on=self.on + 1, log=log, proof_on=proof)

    def paid(self, amount: int, kind: int, answer: bytes) -> "Book":
        log = ((self.off + 1, amount, kind), *self.log)[:LOG_LENGTH]
        proof = answer[4:] + answer[:4]
        return replace(
            self,
            balance=self.balance - amount,
            off=self.off + 1,
            log=log,
            proof_off=proof,
            kind_off=kind,
        )


@dataclass
class Begun:
    """A transaction between its two commands."""

    kind: int
    amount: int
    command: bytes
    answer: bytes


class PurseMachine(RuleBasedStateMachine):
    """Random commands on the EP of a bank card."""

    @initialize(seed=st.integers(0, 2**16))
    def start(self, seed: int) -> None:
        dice = Dice(seed)
        self.host = Host(Card(FRESH, dice), dice)
        self.host.select(PURSE_AID)
        self.book = Book()
        self.begun: Begun | None = None

    def _expected(self, kind: int, amount: int, answer: bytes) -> tuple[bytes, bytes]:
        """Second command and the answer the card must give, worked out by the host's own formulas."""
        sum4 = amount.to_bytes(4, "big")
        text = sum4 + bytes((kind,)) + TERMINAL + WHEN
        if kind == 2:
            session = crypto.purse_session_key(key("load"), answer[8:12], answer[4:6], b"\x80\x00")
            after = (self.book.balance + amount).to_bytes(4, "big")
            tac = crypto.tac(key("tac"), after + answer[4:6] + text)
            return bytes.fromhex("805200000B") + WHEN + crypto.purse_mac(session, text), tac
        serial = self.book.off * 3
        command = self.host.debit_command(answer, amount, kind, serial)
        term = serial.to_bytes(4, "big")
        session = crypto.purse_session_key(key("purchase"), answer[11:15], answer[4:6], term[2:])
        tac = crypto.tac(key("tac"), sum4 + bytes((kind,)) + TERMINAL + term + WHEN)
        return command, tac + crypto.purse_mac(session, sum4)

    @rule(kind=st.sampled_from([2, 6, 9]), amount=AMOUNTS)
    def initialize_transaction(self, kind: int, amount: int) -> None:
        answer, sw = self.host.initialize({2: 0, 6: 1, 9: 3}[kind], 2, amount)
        self.begun = None
        if kind == 2 and amount and self.book.balance + amount > MAXIMUM:
            assert sw == 0x6985
        elif kind != 2 and amount > self.book.balance:
            assert sw == 0x9401
        else:
            assert sw == 0x9000
            assert int.from_bytes(answer[:4], "big") == self.book.balance
            counter = self.book.on if kind == 2 else self.book.off
            assert int.from_bytes(answer[4:6], "big") == counter
            self.begun = Begun(kind, amount, *self._expected(kind, amount, answer))

    def _after(self, begun: Begun) -> Book:
        if begun.kind == 2:
            return self.book.loaded(begun.amount, begun.answer)
        return self.book.paid(begun.amount, begun.kind, begun.answer)

    @precondition(lambda self: self.begun is not None)
    @rule()
    def finish(self) -> None:
        begun, self.begun = self.begun, None
        assert begun is not None
        assert self.host.ok(begun.command) == begun.answer
        self.book = self._after(begun)

    @precondition(lambda self: self.begun is not None)
    @rule(bit=st.integers(0, 31))
    def finish_with_a_wrong_mac(self, bit: int) -> None:
        begun, self.begun = self.begun, None
        assert begun is not None
        number = int.from_bytes(begun.command, "big") ^ 1 << bit
        assert self.host.sw(number.to_bytes(len(begun.command), "big")) == 0x9302

    @precondition(lambda self: self.begun is not None)
    @rule(at=st.integers(0, 160), torn=st.sampled_from([None, 0, 0xA5, 0xFF]))
    def finish_and_lose_power(self, at: int, torn: int | None) -> None:
        begun, self.begun = self.begun, None
        assert begun is not None
        after, before = self._after(begun), self.book
        self.host.card.power_cut_after(at, torn)
        try:
            done = self.host.ok(begun.command) == begun.answer
        except PowerCut:
            done = None
        self.host.card.keep_power()
        self.host.card.reset()
        self.host.select(PURSE_AID)
        counter = after.on if begun.kind == 2 else after.off
        proof = self.host.sw(bytes((0x80, 0x5A, 0, begun.kind, 2)) + counter.to_bytes(2, "big"))
        assert done is not False
        assert proof in (0x9000, 0x9406)
        assert not (done and proof == 0x9406)
        self.book = after if proof == 0x9000 else before

    @rule()
    def reset(self) -> None:
        self.host.card.reset()
        self.host.select(PURSE_AID)
        self.begun = None

    @rule(command=st.sampled_from(["805200000B" + "00" * 11, "805401000F" + "00" * 15]))
    def second_command_of_nothing(self, command: str) -> None:
        expects = self.begun is not None and (self.begun.kind == 2) == command.startswith("8052")
        assert self.host.sw(command) == (0x9302 if expects else 0x6901)
        self.begun = None

    @rule(kind=st.sampled_from([2, 6, 9]), shift=st.integers(-2, 2))
    def ask_for_a_proof(self, kind: int, shift: int) -> None:
        counter = self.book.on if kind == 2 else self.book.off
        asked = (counter + shift) & 0xFFFF
        answer, sw = self.host.send(bytes((0x80, 0x5A, 0, kind, 2)) + asked.to_bytes(2, "big"))
        proof = self.book.proof_on if kind == 2 else self.book.proof_off
        if shift == 0 and proof is not None and kind in (2, self.book.kind_off):
            assert (answer, sw) == (proof, 0x9000)
        else:
            assert sw == 0x9406

    @invariant()
    def card_and_book_agree(self) -> None:
        if not hasattr(self, "host"):
            return
        assert self.host.balance() == self.book.balance
        for number, (serial, amount, kind) in enumerate(self.book.log, 1):
            record = self.host.ok(bytes((0, 0xB2, number, 0xC4, 0)))
            want = serial.to_bytes(2, "big") + bytes(3) + amount.to_bytes(4, "big") + bytes((kind,))
            assert record == want + TERMINAL + WHEN
        if len(self.book.log) < LOG_LENGTH:
            assert self.host.sw(bytes((0, 0xB2, len(self.book.log) + 1, 0xC4, 0))) == 0x6A83


PurseMachine.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestPurse = PurseMachine.TestCase
