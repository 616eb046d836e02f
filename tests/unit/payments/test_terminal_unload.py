"""A card with a deposit purse is unloaded at a terminal: real host, real procedures, a chip of profile "bank"."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cardos.client import ChipError
from cardos.records import ApplicationFile
from cardos.slot import Slot
from core.clock import SHANGHAI
from core.errors import Rejected
from payments import ledger
from payments.purse_records import OutcomeUnknown
from payments.receipts import load_receipt, settlement_receipt
from payments.requests import UNLOAD
from payments.terminal import Hardware, Terminal
from payments.terminal_host import Identity
from payments.terminal_link import Wanted
from payments.terminal_loads import LoadWish
from payments.terminal_records import LoadState
from tests import chip_bench
from tests.host_bench import (
    ACCOUNT,
    ACCOUNT_FEN,
    ISSUER,
    MERCHANT,
    NOON,
    LabCard,
    LabHost,
)
from tests.unit.payments.purse_bench import verify_pin
from tests.unit.payments.terminal_bench import QUICK, Hand, make_pad

SERIAL, HELD = "00001000000147", 5_000
LOAD_ED, DEBIT = 1, 0x54
WISH = LoadWish(2_000, verify_pin, UNLOAD, ACCOUNT)


class Counter:
    """A load counter without PSAM, on a host in this process; `hand` may pull the card."""

    def __init__(self, host: LabHost, home: Path) -> None:
        self.host, self.slot, self.hand = host, Slot(), lambda channel: channel
        self.chip = self._chip()
        elsewhere = host.terminal(1)
        elsewhere.sign_on()
        elsewhere.load(self.card, HELD)
        self.slot.insert(self.chip.card)
        here = host.terminal(2)
        identity = Identity(here.number, MERCHANT, here.psam)
        hardware = Hardware(
            self.slot, make_pad(), self, host.clock, pause=lambda _seconds: None,
            wrap=lambda channel: self.hand(channel),
        )  # fmt: skip
        self.terminal = Terminal(home, identity, hardware, QUICK)

    def _chip(self) -> chip_bench.Host:
        """The card's chip: its keys, its name, and on its deposit purse what the host knows it holds."""
        self.card = LabCard(SERIAL)
        keys = {0x3F: self.card.key("11"), 0x34: self.card.key("12"), 0x3D: self.card.key("13")}
        chip = chip_bench.bank(keys, version=0)
        today = NOON.astimezone(SHANGHAI).strftime("%Y%m%d")
        file = ApplicationFile(
            ISSUER, self.card.asn, bytes.fromhex(today), bytes.fromhex("20991231")
        )
        chip.protected_ok("04D69500", bytes(file), chip_bench.key("line"))
        chip.load(HELD, LOAD_ED, self.card.key("11"))
        return chip

    def open(self) -> None:
        """Always connected."""

    def close(self) -> None:
        """Nothing to hang up."""

    def exchange(self, frame: bytes, wanted: Wanted, timeout: int) -> bytes | None:
        answer = self.host.authorizer.answer(frame)
        return answer if answer is not None and wanted(answer) else None

    def deposit(self) -> int:
        self.chip.card.reset()
        self.chip.select(chip_bench.PURSE_AID)
        return self.chip.balance(LOAD_ED)

    def account(self) -> int:
        return self.host.bank.accounts.get(ACCOUNT, ACCOUNT_FEN)

    def purse(self) -> ledger.Balance:
        with self.host.db.read() as tx:
            return ledger.balance(tx, ledger.purse(self.card.asn.hex()))

    def lay_again(self) -> None:
        self.hand = lambda channel: channel
        self.slot.remove()
        self.slot.insert(self.chip.card)


@pytest.fixture
def counter(host: LabHost, tmp_path: Path) -> Iterator[Counter]:
    made = Counter(host, tmp_path)
    yield made
    made.terminal.close()


def test_an_unload_debits_the_card_then_pays_the_account(counter: Counter) -> None:
    case = counter.terminal.load(WISH)
    assert (case.state, case.request.balance_after) == (LoadState.CONFIRMED, 3_000)
    counter.host.authorizer.forward_orders()
    assert counter.deposit() == 3_000
    assert counter.purse() == ledger.Balance(3_000, 0)
    assert counter.account() == ACCOUNT_FEN + 2_000
    slip = str(load_receipt(counter.terminal.identity, case))
    assert "UNLOAD TO ACCOUNT" in slip
    assert "¥30.00" in slip
    settled = counter.terminal.settle()
    assert settled.totals.kinds["43"].amount == 2_000
    assert "Unloads" in str(settlement_receipt(counter.terminal.identity, settled))


def test_a_card_that_left_after_its_debit_is_paid_out_when_it_comes_back(counter: Counter) -> None:
    counter.hand = lambda channel: Hand(channel, DEBIT, executed=True)
    with pytest.raises(OutcomeUnknown):
        counter.terminal.load(WISH)
    assert counter.account() == ACCOUNT_FEN
    counter.lay_again()
    counter.terminal.settle_card(verify_pin)
    counter.terminal.loads.flush(at_once=True)
    counter.host.authorizer.forward_orders()
    assert counter.deposit() == 3_000
    assert counter.purse() == ledger.Balance(3_000, 0)
    assert counter.account() == ACCOUNT_FEN + 2_000


def test_a_card_that_left_before_its_debit_pays_nothing(counter: Counter) -> None:
    counter.hand = lambda channel: Hand(channel, DEBIT, executed=False)
    with pytest.raises(OutcomeUnknown):
        counter.terminal.load(WISH)
    counter.lay_again()
    counter.terminal.settle_card(verify_pin)
    counter.terminal.loads.flush(at_once=True)
    assert counter.deposit() == HELD
    assert counter.purse() == ledger.Balance(HELD, 0)
    assert counter.account() == ACCOUNT_FEN


def test_more_than_the_card_holds_is_refused_by_the_card(counter: Counter) -> None:
    with pytest.raises(ChipError, match="CHIP-9401"):
        counter.terminal.load(LoadWish(HELD + 1, verify_pin, UNLOAD, ACCOUNT))
    assert counter.purse() == ledger.Balance(HELD, 0)


def test_a_card_the_register_stopped_is_not_unloaded(counter: Counter) -> None:
    counter.host.gate.codes[SERIAL] = "41"
    with pytest.raises(Rejected, match="41"):
        counter.terminal.load(WISH)
    assert counter.deposit() == HELD
