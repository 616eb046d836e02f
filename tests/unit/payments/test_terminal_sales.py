"""Off-line purchases at a terminal: pay, tear, come back, upload; lists."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from cardos.client import ChipError
from cardos.status import SW
from core.errors import EvidenceMismatch, Rejected, Unavailable
from payments.capp import LOCKED, CappRecord, read_capp
from payments.field_parts import ListPage, black_entry
from payments.limits import Parameters
from payments.purse import open_purse
from payments.purse_records import OutcomeUnknown
from payments.terminal_sales import SaleRules
from tests.unit.payments.purse_bench import tac_of_purchase
from tests.unit.payments.terminal_bench import Bench, Hand, permit
from tests.unit.payments.terminal_deeds import DEBIT, balance, loaded, losing, wish


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


def test_a_sales_id_is_of_one_amount(bench: Bench) -> None:
    """Whoever gives goods for 9 yuan must not be told that a sale of 2.50 is paid."""
    card = loaded(bench)
    bench.terminal.pay(250, "till-1")
    with pytest.raises(Rejected, match="TERM-SALE-USED"):
        bench.terminal.pay(900, "till-1")
    assert balance(card) == 4_750


def test_before_any_parameters_a_terminal_sells_no_more_than_its_host_pays(bench: Bench) -> None:
    loaded(bench, 50_000)
    assert SaleRules().largest == Parameters().purchase_fen
    for amount in (0, Parameters().purchase_fen + 1):
        with pytest.raises(Rejected, match="TERM-AMOUNT"):
            bench.terminal.pay(amount)


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


@pytest.mark.parametrize("index", [0, 1])
def test_nothing_new_ends_no_list_of_another_version(bench: Bench, index: int) -> None:
    entry = black_entry("00000000001000000147", "03")
    last = ListPage("BL", 0, 20070618, 0, index, ())
    bench.host.pages["BL"] = [ListPage("BL", 2, 20070618, 0, 0, (entry,)), last][1 - index :]
    before = bench.terminal.care.lists
    with pytest.raises(EvidenceMismatch, match="TERM-LIST"):
        bench.terminal.update_lists()
    assert bench.terminal.care.lists == before


def test_what_waits_goes_up_before_a_list_comes_down_and_before_the_session_ends(
    bench: Bench,
) -> None:
    loaded(bench)
    bench.terminal.pay(250)
    heard = len(bench.host.heard)
    bench.terminal.update_lists()
    assert [m.mti for m in bench.host.heard[heard:]] == ["0200", "0800", "0800"]
    assert bench.terminal.store.waiting() == []
    bench.terminal.pay(300)
    bench.terminal.sign_off()
    assert len(bench.host.purchases) == 2


def test_parameters_outlive_a_restart_and_bad_ones_change_nothing(bench: Bench) -> None:
    bench.host.parameters = {"12": "20", "83": "002", "87": "000000000300", "88": "0024"}
    bench.terminal.update_parameters()
    bench.terminal.store.close()
    bench.start()
    rules = bench.terminal.selling().rules
    assert (rules.upload_records, rules.largest, rules.oldest_list) == (2, 300, timedelta(hours=24))
    assert bench.terminal.session.waits.load == 20
    bench.host.parameters = {"83": "009", "87": "30000"}  # one of them is too short
    bench.host.answers.clear()
    with pytest.raises(Rejected, match="TERM-PARAMETER"):
        bench.terminal.update_parameters()
    assert bench.terminal.selling().rules == rules
    loaded(bench)
    with pytest.raises(Rejected, match="TERM-AMOUNT"):
        bench.terminal.pay(301)


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
