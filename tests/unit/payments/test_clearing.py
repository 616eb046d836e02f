"""Purchases uploaded, judged and cleared: every rule of iso8583-host.md 11.3, settlement, the day's equations."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import select

from core.errors import NotFound, Rejected
from payments import frames, ledger, messages, resolution
from payments import requests as r
from payments.field_parts import KindTotal, Totals
from payments.purse_data import PurchaseEvidence, PurseAnswer
from payments.requests import reversal
from payments.tables import (
    BatchRow,
    BlacklistEntryRow,
    BlacklistVersionRow,
    DifferenceRow,
    IncidentRow,
    MerchantDayRow,
    PurchaseRow,
)
from tests.host_bench import ACCOUNT, MERCHANT, LabCard, LabHost, LabTerminal

DAY = date(2026, 11, 28)


@pytest.fixture
def card(terminal: LabTerminal) -> LabCard:
    made = LabCard("00001000000147")
    assert terminal.load(made, 10_000).response == "00"
    return made


def found(host: LabHost) -> list[tuple[str, str]]:
    with host.db.read() as tx:
        rows = tx.execute(select(PurchaseRow.state, PurchaseRow.flags).order_by(PurchaseRow.id))
        return [(row[0], row[1]) for row in rows]


def incidents(host: LabHost) -> list[str]:
    with host.db.read() as tx:
        return list(tx.scalars(select(IncidentRow.kind).order_by(IncidentRow.id)))


def balance(host: LabHost, card: LabCard) -> int:
    with host.db.read() as tx:
        return ledger.balance(tx, ledger.purse(card.asn.hex())).posted


def upload(terminal: LabTerminal, evidence: PurchaseEvidence, amount: int | None = None) -> str:
    message = terminal.station.purchase(terminal.trace(), evidence)
    if amount is not None:
        message = messages.Message.of("0200", {**message.fields, 4: f"{amount:012d}"})
    return terminal.ask(message).response


def test_a_good_purchase_is_posted_and_paid(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    assert terminal.ask(terminal.purchase(card, 1350)).response == "00"
    assert host.judge.run() == 1
    assert found(host) == [("POSTED", "")]
    report = host.clearing.close(DAY, {card.asn.hex(): card.balance})
    assert (report.purchases, report.amount, report.fees, report.paid) == (1, 1350, 5, 1345)
    assert (report.tac_good, report.tac_bad, report.unexplained) == (1, 0, 0)
    assert report.float_fen == report.chips_fen == card.balance == 8650
    with host.db.read() as tx:
        assert ledger.balance(tx, ledger.merchant(MERCHANT)).posted == 0
        assert ledger.balance(tx, ledger.FEES).posted == 5
        assert sum(ledger.trial(tx).values()) == 0


def test_the_same_record_twice_is_posted_once(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    purchase = terminal.purchase(card, 500)
    assert terminal.ask(purchase).response == "00"
    again = messages.Message.of("0200", {**purchase.fields, 11: terminal.trace()})
    assert terminal.ask(again).response == "00"
    report = host.clearing.close(DAY, {card.asn.hex(): card.balance})
    assert found(host) == [("POSTED", ""), ("REPEATED", "D")]
    assert (report.purchases, report.repeated, report.amount) == (1, 1, 500)
    assert (report.unexplained, balance(host, card)) == (0, 9500)
    with host.db.read() as tx:
        first, second = tx.scalars(select(PurchaseRow).order_by(PurchaseRow.id))
        assert (first.purse_key is None, second.first_id) == (False, first.id)


def test_a_card_counter_is_used_once(host: LabHost, terminal: LabTerminal, card: LabCard) -> None:
    first = card.pay(500, terminal.psam, 1, "20261128100000")
    card.offline -= 1  # a cloned card: another purchase at the same counter, with a good TAC
    second = card.pay(700, terminal.psam, 2, "20261128100100")
    assert upload(terminal, first) == upload(terminal, second) == "00"
    host.judge.run()
    assert found(host) == [("POSTED", ""), ("HELD", "C")]
    assert incidents(host) == ["purchase-c"]
    assert balance(host, card) == 9500


def test_a_psam_counter_belongs_to_one_card(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    other = LabCard("00001000000155")
    terminal.load(other, 1000)
    upload(terminal, card.pay(500, terminal.psam, 1, "20261128100000"))
    upload(terminal, other.pay(500, terminal.psam, 1, "20261128100100"))
    host.judge.run()
    assert found(host) == [("POSTED", ""), ("HELD", "P")]


@pytest.mark.parametrize("together", [True, False])
def test_a_record_whose_card_counter_was_changed_is_not_paid_again(
    host: LabHost, terminal: LabTerminal, card: LabCard, together: bool
) -> None:
    """The TAC covers the PSAM's counter and not the card's: the copy has a good TAC and another purse key."""
    sold = card.pay(500, terminal.psam, 1, "20261128100000")
    assert upload(terminal, sold) == "00"
    if not together:
        host.judge.run()
    assert upload(terminal, replace(sold, counter=7)) == "00"
    report = host.clearing.close(DAY, {card.asn.hex(): card.balance})
    assert found(host) == [("POSTED", ""), ("HELD", "P")]
    assert (report.purchases, report.tac_good, balance(host, card)) == (1, 2, 9500)


def test_a_wrong_tac_is_kept_not_paid_and_the_good_record_still_counts(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    good = card.pay(500, terminal.psam, 1, "20261128100000")
    assert upload(terminal, replace(good, tac=bytes(4))) == "00"
    assert upload(terminal, good) == "00"
    report = host.clearing.close(DAY, {card.asn.hex(): card.balance})
    assert found(host) == [("HELD", "T"), ("POSTED", "")]
    assert (report.tac_bad, report.purchases, report.unexplained) == (1, 1, 0)
    assert incidents(host) == ["purchase-t"]
    with host.db.read() as tx:
        evidence = tx.scalars(select(IncidentRow.evidence)).one()
        assert PurchaseEvidence.parse(evidence).tac == bytes(4)


def test_amounts_that_cannot_be(host: LabHost, terminal: LabTerminal, card: LabCard) -> None:
    upload(terminal, card.pay(30_001, terminal.psam, 1, "20261128100000"))
    card.balance += 30_001
    upload(terminal, card.pay(0, terminal.psam, 2, "20261128100100"))
    upload(terminal, card.pay(500, terminal.psam, 3, "20261128100200"), amount=400)
    upload(terminal, card.pay(500, bytes(6), 4, "20261128100300"))
    upload(terminal, card.pay(0xFFFFFFFF, terminal.psam, 5, "20261128100400"))
    host.judge.run()
    flags = ("A", "A", "A", "P", "A")
    assert found(host) == [("HELD", flag) for flag in flags]
    assert balance(host, card) == 10_000


def test_a_foreign_card_goes_to_the_centre(host: LabHost, terminal: LabTerminal) -> None:
    stranger = LabCard("00001000000155", balance=5000, issuer=bytes(8))
    upload(terminal, stranger.pay(500, terminal.psam, 1, "20261128100000"))
    host.gate.strangers.add("00001000000163")
    unknown = LabCard("00001000000163", balance=5000)
    upload(terminal, unknown.pay(500, terminal.psam, 2, "20261128100100"))
    host.judge.run()
    assert found(host) == [("FOREIGN", "N"), ("FOREIGN", "N")]
    assert incidents(host) == []


@pytest.mark.parametrize(
    ("made", "flags"),
    [("20261128115900", ""), ("20261129120000", "Z"), ("20261001120000", "L"), ("20261399", "")],
)
def test_a_terminal_clock_that_is_wrong_is_warned_about(
    host: LabHost, terminal: LabTerminal, card: LabCard, made: str, flags: str
) -> None:
    made = made.ljust(14, "0")
    upload(terminal, card.pay(500, terminal.psam, 1, made))
    host.judge.run()
    expected = "Z" if made.startswith("202613") else flags
    assert found(host) == [("POSTED", expected)]
    assert balance(host, card) == 9500


@pytest.mark.parametrize("together", [True, False])
def test_a_record_far_out_of_order_is_warned_about_whenever_it_is_judged(
    host: LabHost, terminal: LabTerminal, card: LabCard, together: bool
) -> None:
    times = ("20261128115900", "20261201090000", "20261127115800", "20261127120000")
    for number, made in enumerate(times, 1):  # noon; a clock far ahead; a day and a minute before
        upload(terminal, card.pay(100, terminal.psam, number, made))
        if not together:
            host.judge.run()
    host.judge.run()
    assert [flags for _, flags in found(host)] == ["", "Z", "Z", ""]


def test_gaps_and_spending_more_than_was_loaded_are_flagged(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    upload(terminal, card.pay(500, terminal.psam, 1, "20261128100000"))
    card.offline += 2
    upload(terminal, card.pay(500, terminal.psam, 2, "20261128100100"))
    upload(terminal, card.pay(9_500, terminal.psam, 3, "20261128100200"))
    host.judge.run()
    assert found(host) == [("POSTED", ""), ("POSTED", "G"), ("POSTED", "O")]
    assert incidents(host) == ["purchase-o"]


def test_a_listed_card_is_paid_and_flagged(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    before = card.pay(500, terminal.psam, 1, "20261128080000")
    after = card.pay(500, terminal.psam, 2, "20261128130000")
    with host.db.write() as tx:
        tx.add(BlacklistVersionRow(version=1, entries=1, digest="", at=host.clock.now()))
        tx.flush()
        tx.add(BlacklistEntryRow(version=1, asn=card.asn.hex(), reason="01"))
    host.clock.advance(timedelta(hours=2))
    upload(terminal, before)
    upload(terminal, after)
    host.judge.run()
    assert found(host) == [("POSTED", ""), ("POSTED", "B")]


def test_judging_again_changes_nothing(host: LabHost, terminal: LabTerminal, card: LabCard) -> None:
    terminal.ask(terminal.purchase(card, 500))
    assert (host.judge.run(), host.judge.run()) == (1, 0)
    assert balance(host, card) == 9500


# ---- settlement


def totals(loads: list[int], purchases: list[int]) -> Totals:
    kinds = {"41": KindTotal(len(loads), sum(loads))}
    if purchases:
        kinds["36"] = KindTotal(len(purchases), sum(purchases))
    return Totals(kinds)


def test_a_balanced_batch_is_closed_and_the_next_number_given(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    terminal.ask(terminal.purchase(card, 200))
    answer = terminal.settle(totals([10_000], [200]))
    assert (answer.response, answer.text(48)[30], answer.text(48)[61]) == ("00", "1", "1")
    end = terminal.ask(terminal.station.batch_end(terminal.trace(), 0, balanced=True))
    assert end.response == "00"
    assert frames.requirement_of(end.header) == frames.SIGN_ON_AGAIN
    assert terminal.ask(terminal.load_request(card, 100)[0]).response == "77"
    terminal.sign_on()
    assert terminal.batch == "000002"
    with host.db.read() as tx:
        row = tx.get(BatchRow, (terminal.number, 1))
        assert row is not None
        assert row.state == "CLOSED"


def test_a_missing_record_is_found_and_made_good_by_the_upload(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    sent, lost = terminal.purchase(card, 200), terminal.purchase(card, 300)
    terminal.ask(sent)
    assert terminal.settle(totals([10_000], [200, 300])).text(48)[30] == "2"
    for original in (sent, lost, lost):  # the last one twice: a lost answer
        assert terminal.ask(terminal.station.detail(original)).response == "00"
    wrong = terminal.station.batch_end(terminal.trace(), 5, balanced=False)
    assert terminal.ask(wrong).response == "95"
    end = terminal.station.batch_end(terminal.trace(), 2, balanced=False)
    assert terminal.ask(end).response == "00"
    report = host.clearing.close(DAY, {card.asn.hex(): card.balance})
    assert (report.purchases, report.amount, report.repeated) == (2, 500, 1)
    assert report.unexplained == 0


def test_after_three_unequal_ends_the_batch_goes_to_people(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    codes = [
        terminal.ask(terminal.station.batch_end(terminal.trace(), 9, balanced=False)).response
        for _ in range(3)
    ]
    assert codes == ["95", "95", "00"]
    assert incidents(host) == ["batch-different"]
    report = host.clearing.close(DAY, {card.asn.hex(): card.balance})
    assert (report.differences, report.unexplained) == (1, 1)
    host.clock.advance(timedelta(days=1))
    assert host.clearing.close(DAY + timedelta(days=1)).unexplained == 1  # nobody has looked yet
    with host.db.write() as tx:
        number = tx.scalars(select(IncidentRow.id)).one()
        two = resolution.Deciders("Chen", "Li")
        resolution.close_incident(tx, host.clock, number, two, "the terminal was reset")
    host.clock.advance(timedelta(days=1))
    assert host.clearing.close(DAY + timedelta(days=2)).differences == 0


def test_a_claim_of_the_same_sum_and_another_count_is_unequal(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    claim = Totals({"36": KindTotal(1000, 1000), "41": KindTotal(1, 10_000)})
    assert claim.field48()[12:15] == "999"
    terminal.ask(terminal.purchase(card, 1000))
    answer = terminal.settle(claim)  # same sum, another count
    assert answer.text(48)[30] == "2"


def test_sums_and_totals_by_type_must_both_agree(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    terminal.ask(terminal.purchase(card, 200))
    right, wrong = totals([10_000], [200]), totals([10_000], [300])
    message = terminal.station.settlement(terminal.trace(), right)
    lying = messages.Message.of("0500", {**message.fields, 48: wrong.field48()})
    assert terminal.ask(lying).text(48)[30] == "2"
    assert terminal.settle(wrong).text(48)[30] == "2"
    assert terminal.settle(right).text(48)[30] == "1"


# ---- closing


def test_closing_twice_gives_the_same_report(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    terminal.ask(terminal.purchase(card, 500))
    first = host.clearing.close(DAY)
    terminal.ask(terminal.purchase(card, 300))
    assert host.clearing.close(DAY) == first
    host.clock.advance(timedelta(days=1))
    second = host.clearing.close(DAY + timedelta(days=1))
    assert (second.purchases, second.amount) == (1, 300)


def test_a_day_that_is_not_there_yet(host: LabHost) -> None:
    from payments.clearing import read_report

    with pytest.raises(Rejected, match="CLEARING-FUTURE"):
        host.clearing.close(DAY + timedelta(days=1))
    with host.db.read() as tx, pytest.raises(NotFound, match="CLEARING-DAY"):
        read_report(tx, DAY)


def test_open_loads_and_waiting_purchases_are_explained_differences(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, asked = terminal.load_request(card, 2000)
    answer = terminal.ask(request)
    card.finish(asked, PurseAnswer.parse(answer.octets(58)))  # its confirmation never came
    kept = card.pay(500, terminal.psam, 1, "20261128100000")
    upload(terminal, kept, amount=400)
    report = host.clearing.close(DAY, {card.asn.hex(): card.balance})
    assert (report.differences, report.unexplained) == (2, 0)
    with host.db.read() as tx:
        kinds = tx.scalars(select(DifferenceRow.kind).order_by(DifferenceRow.kind)).all()
    assert kinds == ["card", "open-load"]


def test_a_chip_that_lies_about_its_balance_is_unexplained(host: LabHost, card: LabCard) -> None:
    report = host.clearing.close(DAY, {card.asn.hex(): card.balance + 1})
    assert report.unexplained == 1


def test_the_bank_that_took_too_much_is_found(host: LabHost, terminal: LabTerminal) -> None:
    host.bank.plan.append("wrong")
    card = LabCard("00001000000155")
    terminal.load(card, 2000, r.LOAD)
    report = host.clearing.close(DAY, {card.asn.hex(): card.balance})
    assert report.unexplained == 1


def test_a_load_around_midnight_is_no_difference_on_either_day(
    host: LabHost, terminal: LabTerminal
) -> None:
    """The host's day is that of the request, the bank's that of the debit; and it is given back a day later."""
    card = LabCard("00001000000155")
    host.clock.advance(timedelta(hours=12, seconds=-1))
    host.bank.delay = lambda _: host.clock.advance(timedelta(seconds=2))
    request, _ = terminal.load_request(card, 2000, r.LOAD)
    assert terminal.ask(request).response == "00"
    assert terminal.sign_on().response == "00"
    host.bank.delay = None
    assert host.bank.check_file(DAY) == []
    assert host.clearing.close(DAY).unexplained == 0
    host.clock.advance(timedelta(days=1))
    terminal.sign_on()
    assert terminal.ask(reversal(request, "98")).response == "00"
    host.bank.down = True
    host.authorizer.forward_orders()
    assert host.clearing.close(DAY + timedelta(days=1)).unexplained == 0
    host.bank.down = False
    host.authorizer.forward_orders()
    assert host.clearing.close(DAY + timedelta(days=2)).unexplained == 0
    assert host.bank.net_debited() == 0


def test_what_the_bank_has_not_been_told_yet_is_explained(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    terminal.load(card, 500, r.UNLOAD)
    request, _ = terminal.load_request(card, 2000, r.LOAD)
    terminal.ask(request)
    terminal.ask(reversal(request, "98"))
    host.clearing.close(DAY)
    with host.db.read() as tx:
        rows = tx.scalars(select(DifferenceRow).where(DifferenceRow.kind == "bank"))
        found = {(row.amount, row.reason, row.explained) for row in rows}
    assert found == {
        (500, "the bank has not been told yet to pay it", True),
        (2000, "the bank has not been told yet to give it back", True),
    }


def test_money_the_bank_gave_back_or_paid_unasked_or_not_at_all_is_found(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    terminal.load(card, 2000, r.LOAD)
    terminal.load(card, 500, r.UNLOAD)
    (debit,) = host.bank.check_file(DAY)
    host.bank.reverse(debit.reference)
    host.bank.credit = lambda *_: None  # type: ignore[method-assign]  # says yes and does nothing
    host.authorizer.forward_orders()
    host.clearing.close(DAY)
    with host.db.read() as tx:
        rows = tx.scalars(select(DifferenceRow).where(DifferenceRow.kind == "bank"))
        assert sorted((row.amount, row.explained) for row in rows) == [(-2000, False), (500, False)]


def test_a_payment_to_an_account_without_its_unload_is_found(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    terminal.load(card, 2000)
    terminal.load(card, 500, r.UNLOAD)
    host.authorizer.forward_orders()
    host.bank.credit("633299999999", ACCOUNT, 700)
    report = host.clearing.close(DAY, {card.asn.hex(): card.balance})
    assert (report.differences, report.unexplained) == (1, 1)


def test_a_closing_that_was_killed_is_run_again(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    """Stop it at each of its commits in turn: the totals are the same and nobody is paid twice."""
    from sqlalchemy import event

    class Killed(Exception):
        pass

    terminal.ask(terminal.purchase(card, 500))
    left = [0]

    def before(_connection: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    event.listen(host.db.engine, "commit", before)
    stops = 0
    for stop in range(1, 10):
        left[0] = stop
        try:
            report = host.clearing.close(DAY, {card.asn.hex(): card.balance})
        except Killed:
            stops += 1
            continue
        break
    event.remove(host.db.engine, "commit", before)
    assert stops >= 3
    assert (report.purchases, report.paid, report.unexplained) == (1, 498, 0)
    with host.db.read() as tx:
        assert len(tx.scalars(select(MerchantDayRow)).all()) == 1
        assert ledger.balance(tx, ledger.merchant(MERCHANT)).posted == 0


def test_a_purchase_decided_between_a_killed_closing_and_the_next_waits_for_the_next_day(
    host: LabHost, terminal: LabTerminal, card: LabCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.ask(terminal.purchase(card, 500))
    upload(terminal, card.pay(300, terminal.psam, 9, "20261128100000"), amount=400)
    monkeypatch.setattr(host.bank, "check_file", lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        host.clearing.close(DAY)
    monkeypatch.undo()
    with host.db.write() as tx:
        number = tx.scalars(select(PurchaseRow.id).where(PurchaseRow.state == "HELD")).one()
        two = resolution.Deciders("Chen", "Li")
        resolution.decide_purchase(tx, host.clock, number, True, two, "the till roll says so")
    first = host.clearing.close(DAY)
    host.clock.advance(timedelta(days=1))
    second = host.clearing.close(DAY + timedelta(days=1))
    assert [(one.purchases, one.amount) for one in (first, second)] == [(1, 500), (1, 300)]
    with host.db.read() as tx:
        assert ledger.balance(tx, ledger.merchant(MERCHANT)).posted == 0


def test_two_differences_of_one_reference_are_two_rows(host: LabHost) -> None:
    host.bank.debit("633299999999", ACCOUNT, 900, None)
    host.bank.credit("633299999999", ACCOUNT, 700)
    assert host.clearing.close(DAY).unexplained == 2
    with host.db.read() as tx:
        rows = tx.scalars(select(DifferenceRow).order_by(DifferenceRow.subject))
        assert [(row.subject, row.amount) for row in rows] == [
            ("633299999999", 900), ("633299999999 (2)", -700),
        ]  # fmt: skip
