"""Loads at a terminal against a host that loses, garbles and refuses, and against pulled cards."""

from datetime import timedelta
from pathlib import Path

import pytest

from core.errors import EvidenceMismatch, Rejected, Unavailable
from payments.messages import Message
from payments.purse_records import OutcomeUnknown
from payments.terminal_records import LoadState
from tests.unit.payments.purse_bench import verify_pin
from tests.unit.payments.terminal_bench import Bench, Hand, permit
from tests.unit.payments.terminal_deeds import CREDIT, DEBIT, balance, losing, states, wish


def test_a_load_is_credited_and_confirmed(bench: Bench) -> None:
    card = permit()
    bench.lay(card)
    case = bench.terminal.load(wish())
    assert case.state is LoadState.CONFIRMED
    assert balance(card) == 5_000
    assert states(bench.host) == ["confirmed"]
    assert bench.terminal.store.empty()


@pytest.mark.parametrize(
    ("fate", "reason"), [("request", "98"), ("answer", "98"), ("garble", "A0")]
)
def test_without_a_good_answer_the_load_is_reversed(bench: Bench, fate: str, reason: str) -> None:
    card = permit()
    bench.lay(card)
    bench.host.lose = losing("0200", fate)
    with pytest.raises(Unavailable, match="TERM-SILENT"):
        bench.terminal.load(wish())
    (reversal,) = [m for m in bench.host.heard if m.mti == "0400"]
    assert reversal.text(39) == reason
    assert balance(card) == 0
    assert states(bench.host) in ([], ["reversed"])
    assert bench.terminal.store.empty()
    bench.terminal.load(wish())
    assert balance(card) == 5_000


def test_a_reversal_copies_its_original(bench: Bench) -> None:
    bench.lay(permit())
    bench.host.lose = losing("0200", "answer")
    with pytest.raises(Unavailable):
        bench.terminal.load(wish())
    original = next(m for m in bench.host.heard if m.mti == "0200")
    reversal = next(m for m in bench.host.heard if m.mti == "0400")
    for number in (3, 4, 11, 22, 25, 41, 42, 49, 58, 60):
        assert reversal.fields[number] == original.fields[number]
    assert reversal.text(61) == original.batch + original.trace


def test_an_unanswered_reversal_outlives_a_restart_and_goes_first(bench: Bench) -> None:
    bench.lay(permit())
    bench.host.lose = lambda m: (
        "answer" if m.mti == "0200" else "request" if m.mti == "0400" else ""
    )
    with pytest.raises(Unavailable, match="TERM-SILENT"):
        bench.terminal.load(wish())
    with pytest.raises(Unavailable, match="TERM-REVERSAL-WAITING"):
        bench.terminal.load(wish())
    bench.terminal.close()
    bench.start()
    bench.host.lose = lambda _m: ""
    bench.host.heard.clear()
    bench.terminal.load(wish())
    sent = [m.mti for m in bench.host.heard if m.mti != "0800"]
    assert sent[0] == "0400"
    assert states(bench.host) == ["reversed", "confirmed"]


def test_a_confirmation_is_repeated_until_it_is_answered(bench: Bench) -> None:
    card = permit()
    bench.lay(card)
    bench.host.lose = losing("0220", "answer", times=99)
    case = bench.terminal.load(wish())
    assert case.state is LoadState.CREDITED
    assert balance(card) == 5_000
    first = [m.body for m in bench.host.heard if m.mti == "0220"]
    assert len(set(first)) == 1
    bench.host.lose = lambda _m: ""
    bench.terminal.upload()
    assert bench.terminal.store.empty()


@pytest.mark.parametrize("code", ["51", "62", "04", "14", "41"])
def test_a_refusal_tells_the_hosts_code(bench: Bench, code: str) -> None:
    card = permit()
    bench.lay(card)
    bench.terminal.sign_on()
    bench.host.codes["0200"] = code
    with pytest.raises(Rejected) as refusal:
        bench.terminal.load(wish())
    assert refusal.value.facts["response"] == code
    assert bench.terminal.store.empty()
    assert not [m for m in bench.host.heard if m.mti == "0400"]


def test_an_answer_for_another_amount_never_reaches_the_card(bench: Bench) -> None:
    card = permit()
    bench.lay(card)
    honest = bench.host._load

    def lying(request: Message) -> dict[int, object]:
        return {**honest(request), 4: "000000009900"}

    bench.host._load = lying
    with pytest.raises(Unavailable, match="TERM-SILENT"):
        bench.terminal.load(wish())
    assert balance(card) == 0
    (reversal,) = [m for m in bench.host.heard if m.mti == "0400"]
    assert reversal.text(39) == "06"


@pytest.mark.parametrize("executed", [True, False])
def test_a_card_torn_at_the_credit_is_settled_when_it_comes_back(
    bench: Bench, executed: bool
) -> None:
    card = permit()
    bench.lay(card)
    bench.wrap = lambda channel: Hand(channel, CREDIT, executed)
    with pytest.raises(OutcomeUnknown):
        bench.terminal.load(wish())
    assert not [m for m in bench.host.heard if m.mti in ("0400", "0220")]
    bench.terminal.close()
    bench.start()
    bench.wrap = lambda channel: channel
    case = bench.terminal.load(wish(700))
    assert case.state is LoadState.CONFIRMED
    assert balance(card) == (5_700 if executed else 700)
    assert states(bench.host) == ["confirmed" if executed else "reversed", "confirmed"]


def test_a_card_loaded_elsewhere_meanwhile_does_not_prove_our_load(
    bench: Bench, tmp_path: Path
) -> None:
    card = permit()
    bench.lay(card)
    bench.wrap = lambda channel: Hand(channel, CREDIT, False)
    with pytest.raises(OutcomeUnknown):
        bench.terminal.load(wish())
    bench.wrap = lambda channel: channel
    other = Bench(tmp_path / "other")
    other.lay(card)
    other.terminal.load(wish(800))
    bench.lay(card)
    _, (settled,) = bench.terminal.settle_card(verify_pin)
    assert settled.state is LoadState.REVERSING
    bench.terminal.settle()
    assert states(bench.host) == ["reversed"]
    assert balance(card) == 800


def test_a_card_that_never_comes_back_is_reported_unknown_not_reversed(bench: Bench) -> None:
    bench.lay(permit())
    bench.wrap = lambda channel: Hand(channel, CREDIT, True)
    with pytest.raises(OutcomeUnknown):
        bench.terminal.load(wish())
    bench.wrap = lambda channel: channel
    bench.terminal.settle()
    assert states(bench.host) == ["unresolved"]
    assert not [m for m in bench.host.heard if m.mti == "0400"]


def test_a_new_batch_at_the_host_makes_the_terminal_sign_on_and_try_again(bench: Bench) -> None:
    card = permit()
    bench.lay(card)
    bench.host.batch = 77
    case = bench.terminal.load(wish())
    assert (case.state, case.batch) == (LoadState.CONFIRMED, 77)
    assert balance(card) == 5_000


def test_new_work_keys_at_the_host_are_fetched_before_the_next_try(bench: Bench) -> None:
    card = permit()
    bench.lay(card)
    bench.host.mak = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
    assert bench.terminal.load(wish()).state is LoadState.CONFIRMED
    assert balance(card) == 5_000


def test_no_second_try_while_the_reversal_of_the_first_waits(bench: Bench) -> None:
    bench.terminal.sign_on()
    bench.lay(permit())
    bench.host.mak = bytes.fromhex("25168989738F13AEF8BACDFE73EFD65E")
    bench.host.lose = losing("0400", "request", times=9)
    with pytest.raises(Unavailable, match="TERM-REVERSAL-WAITING"):
        bench.terminal.load(wish())
    assert [m.mti for m in bench.host.heard].count("0200") == 1


def test_wrong_check_values_are_tried_three_times_and_keep_the_old_keys(bench: Bench) -> None:
    bench.terminal.sign_on()
    before = bench.pad.make_mac(b"x")
    bench.host.answers.clear()
    bench.host.heard.clear()
    real = bench.host._decide
    bench.host._decide = lambda request: {**real(request), 62: bytes(40)}
    with pytest.raises(EvidenceMismatch, match="PAD-KCV"):
        bench.terminal.sign_on()
    assert len(bench.host.heard) == 3
    assert bench.pad.make_mac(b"x") == before


def test_the_hosts_clock_is_taken_over(bench: Bench) -> None:
    bench.host.clock = type(bench.clock)(bench.clock.now() + timedelta(minutes=7))
    bench.terminal.sign_on()
    assert bench.terminal.session.now() - bench.clock.now() == timedelta(minutes=7)
    assert bench.terminal.session.clock_warning == 420


def test_signing_off_needs_an_empty_store(bench: Bench) -> None:
    card = permit()
    bench.lay(card)
    bench.terminal.load(wish())
    bench.wrap = lambda channel: Hand(channel, DEBIT, executed=True)
    with pytest.raises(OutcomeUnknown):
        bench.terminal.pay(250)
    with pytest.raises(Rejected, match="TERM-NOT-EMPTY"):
        bench.terminal.sign_off()
    bench.wrap = lambda channel: channel
    bench.lay(card)
    bench.terminal.settle_card()
    bench.terminal.sign_off()
    assert bench.host.heard[-1].function == "002"
    assert len(bench.host.purchases) == 1
