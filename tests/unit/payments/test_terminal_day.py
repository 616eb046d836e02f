"""The end of a terminal's day: settlement, repair, what waits."""

from datetime import timedelta
from pathlib import Path

import pytest

from core.errors import Unavailable
from payments.purse_records import OutcomeUnknown
from payments.terminal_loads import LoadWish
from tests.unit.payments.purse_bench import verify_pin
from tests.unit.payments.terminal_bench import Bench, Hand, permit
from tests.unit.payments.terminal_deeds import CREDIT, loaded, wish


def test_a_day_that_agrees_is_closed_without_details(bench: Bench) -> None:
    loaded(bench)
    bench.terminal.pay(250)
    bench.terminal.pay(300)
    settled = bench.terminal.settle()
    assert (settled.batch, settled.result, settled.details) == (42, 1, 0)
    assert settled.totals.kinds["36"].amount == 550
    assert bench.terminal.session.batch == 43
    assert bench.terminal.store.purchases == {}
    assert bench.terminal.store.loads == {}


def test_a_day_that_differs_is_uploaded_under_the_old_numbers(bench: Bench) -> None:
    loaded(bench)
    bench.terminal.pay(250)
    bench.terminal.upload()
    bench.host.result = 2
    settled = bench.terminal.settle()
    assert (settled.result, settled.details, settled.differences) == (2, 2, False)
    first = next(m for m in bench.host.heard if m.mti == "0200" and m.kind == "36")
    again = next(m for m in bench.host.heard if m.mti == "0320" and m.kind == "36")
    assert (again.trace, again.octets(58)) == (first.trace, first.octets(58))
    assert len(bench.host.purchases) == 1


def test_a_host_that_answers_95_to_the_totals_means_not_equal(bench: Bench) -> None:
    loaded(bench)
    bench.terminal.pay(250)
    bench.host.codes["0500201"] = "95"
    settled = bench.terminal.settle()
    assert (settled.result, settled.details, settled.differences) == (2, 2, False)


def test_a_wrong_count_repeats_the_upload_three_times_and_then_lets_go(bench: Bench) -> None:
    loaded(bench)
    bench.host.result, bench.host.count_lies = 2, 3
    settled = bench.terminal.settle()
    assert settled.differences
    assert len([m for m in bench.host.heard if m.function == "202"]) == 3


def test_nothing_is_settled_while_a_reversal_waits(bench: Bench) -> None:
    bench.lay(permit())
    bench.host.lose = lambda m: (
        "answer" if m.mti == "0200" else "request" if m.mti == "0400" else ""
    )
    with pytest.raises(Unavailable):
        bench.terminal.load(wish())
    with pytest.raises(Unavailable, match="TERM-WAITING"):
        bench.terminal.settle()
    assert not [m for m in bench.host.heard if m.mti == "0500"]


def test_the_account_is_not_asked_while_a_reversal_waits(bench: Bench) -> None:
    bench.lay(permit())
    bench.host.lose = lambda m: "request" if m.mti in ("0200", "0400") else ""
    with pytest.raises(Unavailable):
        bench.terminal.load(wish())
    bench.pad.type_pin("123456")
    with pytest.raises(Unavailable, match="TERM-REVERSAL-WAITING"):
        bench.terminal.account_balance("6200000000042759")


def test_the_first_message_of_a_day_is_a_sign_on(bench: Bench) -> None:
    loaded(bench)
    bench.clock.advance(timedelta(days=1))
    heard = len(bench.host.heard)
    bench.terminal.load(wish(100))
    assert [(m.mti, m.function) for m in bench.host.heard[heard:]][:2] == [
        ("0800", "003"), ("0200", "000"),
    ]  # fmt: skip


def test_a_load_of_unknown_outcome_counts_on_both_sides(bench: Bench) -> None:
    loaded(bench)
    bench.wrap = lambda channel: Hand(channel, CREDIT, executed=False)
    with pytest.raises(OutcomeUnknown):
        bench.terminal.load(wish(700))
    settled = bench.terminal.settle()
    assert (settled.result, settled.totals.kinds["41"].amount) == (1, 5_700)


def garbled_sign_on(bench: Bench) -> None:
    """A sign-on whose answer, which has no MAC, names batch 46 instead of 42."""
    bench.host.batch = 46
    bench.terminal.sign_on()
    bench.host.batch = 42


def test_a_garbled_batch_number_makes_the_terminal_forget_nothing(bench: Bench) -> None:
    loaded(bench)
    bench.terminal.pay(250, "till-1")
    bench.terminal.upload()
    garbled_sign_on(bench)
    bench.terminal.pay(300)
    bench.terminal.upload()  # answered 77, signs on again, goes under the right batch
    assert {entry.batch for entry in bench.terminal.store.purchases.values()} == {42}
    settled = bench.terminal.settle()
    assert (settled.batch, settled.result, settled.totals.kinds["36"].amount) == (42, 1, 550)


def test_a_new_batch_is_believed_when_a_good_mac_speaks_of_it(bench: Bench) -> None:
    loaded(bench)
    bench.terminal.pay(250)
    bench.terminal.upload()
    bench.host.batch = 43  # closed at the host, by people
    bench.terminal.sign_on()
    assert len(bench.terminal.store.loads) == 1
    bench.terminal.report()
    assert (bench.terminal.store.loads, bench.terminal.store.purchases) == ({}, {})


def test_a_load_from_an_account_carries_a_pin_block_and_never_stores_it(
    bench: Bench, tmp_path: Path
) -> None:
    bench.lay(permit())
    bench.terminal.sign_on()
    bench.pad.type_pin("123456")
    asked = LoadWish(5_000, verify_pin, kind="40", account="6200000000042759")
    bench.terminal.load(asked)
    request = next(m for m in bench.host.heard if m.mti == "0200")
    assert request.octets(52).hex().upper() == "AA4BF92E1083CFAD"
    assert (request.text(22), request.text(26)) == ("051", "12")
    assert b"aa4bf92e1083cfad" not in (bench.home / "terminal.log").read_bytes().lower()
