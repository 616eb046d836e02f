"""The same terminal code on a real pcscd: load, pay, a card pulled out of the reader, the end of the day."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cardos.pcsc import PcscReader
from cardos.vpcd import TearPoint, VirtualSlot
from core.apdu import CardChannel
from payments.purse_records import OutcomeUnknown, PurchaseStatus
from payments.terminal import Hardware, Terminal
from payments.terminal_loads import LoadWish
from payments.terminal_records import LoadState
from tests.unit.payments.purse_bench import make_permit, make_psam, verify_pin
from tests.unit.payments.terminal_bench import IDENTITY, QUICK, BenchHost, make_pad

SEEN = 5.0
CREDIT, DEBIT = 0x52, 0x54


@pytest.fixture
def reader(reader_name: str) -> Iterator[PcscReader]:
    made = PcscReader(reader_name)
    yield made
    made.close()


class Puller:
    """Arms the virtual reader just before one command; everything behind it is real."""

    def __init__(self, channel: CardChannel, slot: VirtualSlot, ins: int, point: TearPoint) -> None:
        self.channel, self.slot, self.ins, self.point = channel, slot, ins, point

    def __getattr__(self, name: str) -> object:
        return getattr(self.channel, name)

    def transmit(self, apdu: bytes) -> bytes:
        if apdu[1] == self.ins:
            self.slot.tear(self.point)
        return self.channel.transmit(apdu)


@pytest.mark.parametrize("point", [TearPoint.BEFORE_COMMAND, TearPoint.BEFORE_REPLY])
def test_a_terminal_survives_cards_pulled_out_of_a_real_reader(
    tmp_path: Path, slot: VirtualSlot, reader: PcscReader, point: TearPoint
) -> None:
    host, (psam, _), card = BenchHost(), make_psam(), make_permit()
    psam.reset()
    pull: list[int] = []

    def wrap(channel: CardChannel) -> CardChannel:
        return Puller(channel, slot, pull.pop(), point) if pull else channel  # type: ignore[return-value]

    def lay() -> None:
        slot.insert(card)
        assert reader.wait(True, SEEN)

    hardware = Hardware(reader, make_pad(), host, host.clock, psam, lambda _seconds: None, wrap)
    terminal = Terminal(tmp_path, IDENTITY, hardware, QUICK)
    terminal.update_lists()
    lay()
    pull.append(CREDIT)
    with pytest.raises(OutcomeUnknown):
        terminal.load(LoadWish(5_000, verify_pin))
    slot.join(SEEN)
    lay()
    _, (settled,) = terminal.settle_card(verify_pin)
    executed = point is TearPoint.BEFORE_REPLY
    assert settled.state is (LoadState.CREDITED if executed else LoadState.REVERSING)
    terminal.load(LoadWish(1_000, verify_pin))
    pull.append(DEBIT)
    with pytest.raises(OutcomeUnknown):
        terminal.pay(300, "till-1")
    slot.join(SEEN)
    lay()
    entry = terminal.pay(300, "till-1")
    assert entry.record.status is (PurchaseStatus.RECOVERED if executed else PurchaseStatus.DONE)
    assert terminal.balance() == (5_000 if executed else 0) + 1_000 - 300
    terminal.settle()
    assert sum(one.amount for one in host.purchases.values()) == 300
    assert [load.state for load in host.loads.values()] == [
        "confirmed" if executed else "reversed", "confirmed",
    ]  # fmt: skip
    terminal.close()
