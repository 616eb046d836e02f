"""kill -9 of the terminal at every moment of a day: no double charge, no lost purchase, replays byte-equal.

Every stop of a whole day (load, two purchases, upload, settlement) is tried, once with the card coming back and
once without it. Run with ``-s`` to see the table.
"""

import sys
from collections import Counter
from pathlib import Path

import pytest

from core.errors import CityError
from payments.purse_data import UNKNOWN_TAC
from payments.terminal_loads import LoadWish
from tests.unit.payments.purse_bench import make_permit, verify_pin
from tests.unit.payments.terminal_bench import Bench, BenchHost
from tests.unit.payments.terminal_deeds import balance
from tests.unit.payments.terminal_stops import (
    Fuse,
    FusedChannel,
    FusedDisk,
    FusedLink,
    PowerLoss,
)

LOADED, SALES = 5_000, (("till-1", 250), ("till-2", 300))
MAX_MOMENTS = 2_000


class StoppedBench(Bench):
    """A bench whose disk, line, card and PSAM pass the fuse."""

    def __init__(self, home: Path, fuse: Fuse) -> None:
        self.fuse = fuse
        super().__init__(home, disk=FusedDisk(fuse))

    def start(self):
        self.psam.reset()
        self.psam_channel = FusedChannel(self.psam, self.fuse, "PSAM")
        self.wrap = lambda channel: FusedChannel(channel, self.fuse, "card")
        real = self.host
        self.host = FusedLink(real, self.fuse)
        try:
            return super().start()
        finally:
            self.host = real

    def stop(self) -> None:
        """The process is gone: the store's lock with it, the card still on the reader."""
        self.fuse.blown, self.fuse.at = False, -1
        self.terminal.store.close()
        card = self.slot.remove()
        if card is not None:
            self.slot.insert(card)


def day(bench: StoppedBench) -> None:
    """The day's work; each step may be done again and changes nothing twice."""
    terminal = bench.terminal
    if not sum(load.state in ("issued", "confirmed") for load in bench.host.loads.values()):
        terminal.load(LoadWish(LOADED, verify_pin))
    for sale, amount in SALES:
        terminal.pay(amount, sale)
    terminal.upload()
    terminal.settle()


def run_to(home: Path, at: int) -> tuple[StoppedBench, object]:
    fuse = Fuse()
    bench = StoppedBench(home, fuse)
    card = make_permit()
    bench.lay(card)
    bench.terminal.update_lists()
    fuse.at, fuse.now = at, 0
    fuse.seen.clear()
    try:
        day(bench)
    except PowerLoss:
        bench.stop()
    return bench, card


def replays_equal(host: BenchHost) -> bool:
    """Whether every repeated key came with the same bytes (the MAC aside)."""
    first: dict[tuple[str, ...], bytes] = {}
    for message in host.heard:
        key = (message.mti, message.trace, message.batch, message.function)
        if first.setdefault(key, message.mab) != message.mab:
            return False
    return True


def settle_everything(bench: StoppedBench) -> None:
    for _ in range(5):
        try:
            bench.terminal.settle()
            return
        except CityError:
            continue
    raise AssertionError("the day does not end")


@pytest.mark.slow
@pytest.mark.parametrize("card_returns", [True, False])
def test_a_stop_at_any_moment_loses_nothing_and_charges_nothing_twice(
    tmp_path: Path, card_returns: bool
) -> None:
    table: Counter[str] = Counter()
    for at in range(MAX_MOMENTS):
        bench, card = run_to(tmp_path / str(at), at)
        if not bench.fuse.where:
            break
        table[bench.fuse.where] += 1
        _recover(bench, card_returns)
        _check(bench, card, card_returns)
        bench.terminal.close()
    else:
        raise AssertionError("the day has more moments than were tried")
    title = "card comes back" if card_returns else "card never comes back"
    lines = [f"  {count:4d}  {where}" for where, count in sorted(table.items())]
    head = f"\nterminal stopped, {title}: {sum(table.values())} moments, all settled\n"
    sys.stdout.write(head + "\n".join(lines) + "\n")
    assert sum(table.values()) > 100


def _recover(bench: StoppedBench, card_returns: bool) -> None:
    bench.start()
    if not card_returns:
        bench.slot.remove()
        bench.terminal.selling().set_aside()
        settle_everything(bench)
        return
    bench.terminal.settle_card(verify_pin)
    bench.terminal.loads.flush(at_once=True)
    settle_everything(bench)


def _check(bench: StoppedBench, card: object, card_returns: bool) -> None:
    host = bench.host
    assert replays_equal(host), bench.fuse.where
    proven = [one for one in host.purchases.values() if one.tac != UNKNOWN_TAC]
    spent = sum(one.amount for one in proven)
    assert len({one.terminal_counter for one in proven}) == len(proven)
    credited = dict.fromkeys(("confirmed", "reversed", "unresolved", "issued"), 0)
    for load in host.loads.values():
        credited[load.state] += load.request.amount
    torn = bench.terminal.store.torn()
    held = balance(card)
    if card_returns:
        assert not torn
        assert credited["issued"] == credited["unresolved"] == 0
        assert held == credited["confirmed"] - spent, bench.fuse.where
        return
    # Without the card: a doubtful load is unresolved, never reversed; a torn sale stays in the store.
    doubtful = credited["unresolved"] + credited["issued"]
    pending = sum(entry.record.amount for entry in torn)
    low = credited["confirmed"] - spent - pending
    assert low <= held <= credited["confirmed"] + doubtful - spent, bench.fuse.where


def test_a_few_stops_in_every_run(tmp_path: Path) -> None:
    """Every seventh moment, so that the default run notices a broken promise as well."""
    for at in range(0, MAX_MOMENTS, 7):
        bench, card = run_to(tmp_path / str(at), at)
        if not bench.fuse.where:
            return
        _recover(bench, True)
        _check(bench, card, True)
        bench.terminal.close()


@pytest.mark.slow
def test_a_second_stop_while_the_first_is_being_settled(tmp_path: Path) -> None:
    second: Counter[str] = Counter()
    for at in range(0, MAX_MOMENTS, 2):
        for later in (0, 2, 5, 9, 14, 20, 27, 35):
            bench, card = run_to(tmp_path / f"{at}-{later}", at)
            if not bench.fuse.where:
                assert sum(second.values()) > 200
                return
            first = bench.fuse.where
            bench.fuse.at = bench.fuse.now + later
            try:
                _recover(bench, True)
            except PowerLoss:
                second[bench.fuse.where] += 1
                bench.stop()
                _recover(bench, True)
            bench.fuse.where = f"{first}, then {bench.fuse.where}"
            _check(bench, card, True)
            bench.terminal.close()
