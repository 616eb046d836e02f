"""The terminal against a host that loses, garbles and refuses, and against cards that are pulled."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from cardos.client import CardSession, ChipError
from cardos.purse_requests import GetBalance
from cardos.status import SW
from core.errors import EvidenceMismatch, Rejected, Unavailable
from payments.capp import LOCKED, CappRecord, read_capp
from payments.field_parts import ListPage, black_entry
from payments.messages import Message
from payments.purse import open_purse
from payments.purse_records import OutcomeUnknown
from payments.terminal_loads import LoadWish
from payments.terminal_records import LoadState
from tests.unit.payments.purse_bench import tac_of_purchase, verify_pin
from tests.unit.payments.terminal_bench import Bench, BenchHost, Hand, permit

CREDIT, DEBIT = 0x52, 0x54


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path / "terminal")
    made.terminal.update_lists()
    return made


def wish(amount: int = 5_000) -> LoadWish:
    return LoadWish(amount, verify_pin)


def balance(card: object) -> int:
    card.reset()
    session = CardSession(card)
    open_purse(session)
    return session.send(GetBalance())


def losing(mti: str, fate: str, times: int = 1) -> object:
    left = [times]

    def lose(message: Message) -> str:
        if message.mti == mti and left[0]:
            left[0] -= 1
            return fate
        return ""

    return lose


def states(host: BenchHost) -> list[str]:
    return [load.state for load in host.loads.values()]


# -- loads ------------------------------------------------------------------------------------------


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


# -- sign-on ----------------------------------------------------------------------------------------


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
    bench.terminal.pay(250)
    with pytest.raises(Rejected, match="TERM-NOT-EMPTY"):
        bench.terminal.session.sign_off()
    bench.terminal.upload()
    bench.terminal.session.sign_off()
    assert bench.host.heard[-1].function == "002"


# -- purchases --------------------------------------------------------------------------------------


def loaded(bench: Bench, amount: int = 5_000) -> object:
    card = permit()
    bench.lay(card)
    bench.terminal.load(wish(amount))
    return card


def test_a_purchase_needs_no_host_and_is_proven_by_its_tac(bench: Bench) -> None:
    card = loaded(bench)
    bench.host.offline = True
    entry = bench.terminal.pay(250, sale="till-1")
    assert balance(card) == 4_750
    assert entry.record.tac == tac_of_purchase(entry.record)
    assert entry.record.mac2_checked
    assert bench.terminal.pay(250, sale="till-1") == entry
    assert balance(card) == 4_750
    with pytest.raises(Unavailable, match="TERM-OFFLINE"):
        bench.terminal.upload()
    bench.host.offline = False
    assert bench.terminal.upload() == 1
    assert len(bench.host.purchases) == 1
    assert bench.terminal.upload() == 0


def test_an_upload_repeated_after_silence_or_restart_is_the_same_message(bench: Bench) -> None:
    loaded(bench)
    bench.terminal.pay(250)
    bench.host.lose = losing("0200", "answer")
    with pytest.raises(Unavailable, match="TERM-SILENT"):
        bench.terminal.upload()
    bench.terminal.close()
    bench.start()
    bench.terminal.upload()
    sent = {m.mab for m in bench.host.heard if m.mti == "0200" and m.kind == "36"}
    assert len(sent) == 1
    assert len(bench.host.purchases) == 1


def test_sales_go_up_by_themselves_when_enough_or_old_enough(bench: Bench) -> None:
    loaded(bench)
    for _ in range(9):
        bench.terminal.pay(1)
        assert bench.terminal.upload_if_due() == 0
    bench.terminal.pay(1)
    bench.host.offline = True
    assert bench.terminal.upload_if_due() == 0
    bench.host.offline = False
    assert bench.terminal.upload_if_due() == 10
    bench.terminal.pay(1)
    bench.clock.advance(timedelta(minutes=30))
    assert bench.terminal.upload_if_due() == 1


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("executed", [True, False])
def test_a_torn_purchase_is_settled_by_the_same_card(
    bench: Bench, executed: bool, restart: bool
) -> None:
    card = loaded(bench)
    bench.wrap = lambda channel: Hand(channel, DEBIT, executed)
    with pytest.raises(OutcomeUnknown):
        bench.terminal.pay(250, sale="till-1")
    bench.wrap = lambda channel: channel
    if restart:
        bench.terminal.close()
        bench.start()
    bench.lay(permit("00001000000222"))
    with pytest.raises(Rejected, match="PURSE-OTHER-CARD"):
        bench.terminal.pay(100)
    bench.lay(card)
    entry = bench.terminal.pay(250, sale="till-1")
    assert balance(card) == 4_750
    assert entry.record.tac == tac_of_purchase(entry.record)
    assert [e.sale for e in bench.terminal.store.waiting()] == ["till-1"]


def test_others_are_served_after_a_torn_purchase_is_set_aside(bench: Bench) -> None:
    first = loaded(bench)
    bench.wrap = lambda channel: Hand(channel, DEBIT, True)
    with pytest.raises(OutcomeUnknown):
        bench.terminal.pay(250)
    bench.wrap = lambda channel: channel
    other = permit("00001000000222")
    bench.lay(other)
    bench.terminal.selling().set_aside()
    bench.terminal.load(wish(800))
    bench.terminal.pay(100)
    bench.lay(first)
    paid, _ = bench.terminal.settle_card()
    assert [e.record.amount for e in paid if e.spent] == [250]
    assert (balance(first), balance(other)) == (4_750, 700)
    assert bench.terminal.upload() == 2


def test_a_ride_debits_and_writes_its_record_together(bench: Bench) -> None:
    card = loaded(bench)
    entry, exit_ = CappRecord(0xAA, b"in  station 3"), CappRecord(0xAA, b"out station 9")
    bench.terminal.pay(0, "ride-1", (entry,))
    bench.terminal.pay(250, "ride-1-out", (exit_,))
    with bench.terminal.card() as session:
        open_purse(session)
        assert read_capp(session, 0xAA) == exit_
    assert balance(card) == 4_750
    kinds = {e.record.type for e in bench.terminal.store.waiting()}
    assert kinds == {0x09}
    assert all(e.record.tac == tac_of_purchase(e.record) for e in bench.terminal.store.waiting())


def test_a_torn_ride_changes_both_or_neither(bench: Bench) -> None:
    for executed in (True, False):
        card = loaded(bench)
        bench.terminal.pay(0, f"in-{executed}", (CappRecord(0xAA, b"in "),))
        bench.wrap = lambda channel, executed=executed: Hand(channel, DEBIT, executed)
        with pytest.raises(OutcomeUnknown):
            bench.terminal.pay(250, f"out-{executed}", (CappRecord(0xAA, b"out"),))
        bench.wrap = lambda channel: channel
        bench.terminal.settle_card()
        with bench.terminal.card() as session:
            open_purse(session)
            shown = read_capp(session, 0xAA)
        assert shown is not None
        assert (shown.data, balance(card)) == ((b"out", 4_750) if executed else (b"in ", 5_000))


def test_a_record_locked_by_others_is_left_alone(bench: Bench) -> None:
    card = loaded(bench)
    bench.terminal.pay(0, "", (CappRecord(0xAA, b"parked", lock=LOCKED),))
    with pytest.raises(Rejected, match="TERM-CAPP"):
        bench.terminal.pay(100, "", (CappRecord(0xAA, b"riding"),))
    assert balance(card) == 5_000


def test_a_torn_sale_is_told_at_the_days_end_and_proven_when_the_card_returns(bench: Bench) -> None:
    card = loaded(bench)
    bench.wrap = lambda channel: Hand(channel, DEBIT, True)
    with pytest.raises(OutcomeUnknown):
        bench.terminal.pay(250, "till-1")
    bench.wrap = lambda channel: channel
    assert bench.terminal.settle().totals.kinds["36"].amount == 250
    (told,) = bench.host.purchases.values()
    assert told.tac == bytes(4)
    bench.lay(card)
    paid, _ = bench.terminal.settle_card()
    assert [entry.spent for entry in paid] == [True]
    bench.terminal.settle()
    proven = [one for one in bench.host.purchases.values() if one.tac != bytes(4)]
    assert [(one.amount, one.counter) for one in proven] == [(250, told.counter)]
    assert bench.terminal.store.empty()


def test_a_sale_no_card_can_prove_any_more_is_told_once(bench: Bench, tmp_path: Path) -> None:
    card = loaded(bench)
    bench.wrap = lambda channel: Hand(channel, DEBIT, True)
    with pytest.raises(OutcomeUnknown):
        bench.terminal.pay(250, "till-1")
    bench.wrap = lambda channel: channel
    other = Bench(tmp_path / "other", bench.host)
    other.terminal.update_lists()
    other.lay(card)
    other.terminal.pay(100)
    bench.lay(card)
    paid, _ = bench.terminal.settle_card()
    assert [(entry.record.status, entry.record.log_seen) for entry in paid] == [("uncertain", True)]
    bench.terminal.settle()
    assert [one.tac for one in bench.host.purchases.values()] == [bytes(4)]
    assert bench.terminal.store.purchases == {}


def test_not_enough_money_debits_nothing(bench: Bench) -> None:
    card = loaded(bench, 100)
    with pytest.raises(ChipError) as refusal:
        bench.terminal.pay(250)
    assert refusal.value.sw == SW.NOT_ENOUGH_MONEY
    assert balance(card) == 100
    assert bench.terminal.store.empty()


def test_a_sale_stays_paid_after_the_batch_is_closed(bench: Bench) -> None:
    card = loaded(bench)
    bench.terminal.pay(250, "till-1")
    bench.terminal.settle()
    assert bench.terminal.pay(250, "till-1").settled
    assert balance(card) == 4_750
    assert bench.terminal.settle().totals.kinds == {}


# -- lists ------------------------------------------------------------------------------------------


def test_a_listed_card_does_not_pay(bench: Bench) -> None:
    card = loaded(bench)
    entry = black_entry("00000000001000000147", "03")
    bench.host.pages["BL"] = [ListPage("BL", 1, 20070618, 0, 0, (entry,))]
    bench.terminal.update_lists()
    with pytest.raises(Rejected, match="TERM-LISTED"):
        bench.terminal.pay(100)
    assert balance(card) == 5_000
    bench.terminal.close()
    bench.start()
    assert bench.terminal.care.lists.black_version == 20070618


def test_half_a_list_is_thrown_away(bench: Bench) -> None:
    entry = black_entry("00000000001000000147", "03")
    first = ListPage("BL", 2, 20070618, 0, 0, (entry,))
    second = replace(first, flag=1, index=1, version=20070619)
    bench.host.pages["BL"] = [first, second]
    with pytest.raises(EvidenceMismatch, match="TERM-LIST"):
        bench.terminal.update_lists()
    assert bench.terminal.care.lists.black == {}


@pytest.mark.parametrize(
    ("hours", "amount", "code"),
    [(47, 5_000, ""), (49, 4_999, ""), (49, 5_000, "TERM-LIST-OLD"), (169, 1, "TERM-LIST-EXPIRED")],
)
def test_old_lists_allow_small_amounts_only_and_then_nothing(
    bench: Bench, hours: int, amount: int, code: str
) -> None:
    card = loaded(bench, 9_000)
    bench.clock.advance(timedelta(hours=hours))
    if not code:
        bench.terminal.pay(amount)
        assert balance(card) == 9_000 - amount
        return
    with pytest.raises(Rejected, match=code):
        bench.terminal.pay(amount)
    assert balance(card) == 9_000


# -- the end of the day -----------------------------------------------------------------------------


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
