"""The host's rules, message by message: sign-on, loads, confirmations, reversals, next counter, replay."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from payments import frames, ledger, messages
from payments import requests as r
from payments.enrolment import set_terminal
from payments.field_parts import parse_field54
from payments.purse_data import PurseAnswer
from payments.requests import reversal, unknown_outcome
from payments.tables import IncidentRow, LoadRow, MessageRow, TerminalRow
from payments.work import Act, Arrival
from tests.host_bench import ACCOUNT, ACCOUNT_FEN, PIN_BLOCK, Keys, LabCard, LabHost, LabTerminal


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("host"))


@pytest.fixture
def host(keys: Keys) -> Iterator[LabHost]:
    made = LabHost(keys)
    yield made
    made.close()


@pytest.fixture
def terminal(host: LabHost) -> LabTerminal:
    made = host.terminal()
    assert made.sign_on().response == "00"
    return made


@pytest.fixture
def card() -> LabCard:
    return LabCard("00001000000147")


def states(host: LabHost) -> list[str]:
    with host.db.read() as tx:
        return list(tx.scalars(select(LoadRow.state).order_by(LoadRow.trace)))


def incidents(host: LabHost) -> list[str]:
    with host.db.read() as tx:
        return list(tx.scalars(select(IncidentRow.kind).order_by(IncidentRow.id)))


def purse(host: LabHost, card: LabCard) -> ledger.Balance:
    with host.db.read() as tx:
        return ledger.balance(tx, ledger.purse(card.asn.hex()))


# ---- a load


def test_a_cash_load_is_promised_then_proved(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, purse_request = terminal.load_request(card, 5000)
    answer = terminal.ask(request)
    assert (answer.response, answer.text(4), answer.text(37)[:4]) == ("00", "000000005000", "6332")
    assert purse(host, card) == ledger.Balance(0, 5000)
    proof = card.finish(purse_request, PurseAnswer.parse(answer.octets(58)))
    assert terminal.confirm(request, answer, proof).response == "00"
    assert purse(host, card) == ledger.Balance(5000, 0)
    assert states(host) == ["CONFIRMED"]
    assert incidents(host) == []


def test_a_bank_load_is_debited_once_and_answered_after_it(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    assert terminal.load(card, 5000, r.LOAD).response == "00"
    assert host.bank.accounts[ACCOUNT] == ACCOUNT_FEN - 5000
    with host.db.read() as tx:
        assert ledger.trial(tx)["bank"] == -5000
    assert host.bank.net_debited() == 5000


def test_the_same_bytes_get_the_same_bytes(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, _ = terminal.load_request(card, 5000, r.LOAD)
    frame = terminal.sealed(request)
    first = host.authorizer.answer(frame)
    assert first is not None
    host.restart()
    assert host.authorizer.answer(frame) == first
    assert (host.bank.calls, states(host)) == (1, ["ISSUED"])


def test_a_used_key_with_other_content_is_a_duplicate(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, _ = terminal.load_request(card, 5000)
    terminal.ask(request)
    other = terminal.station.load(request.trace, card.begin(6000, terminal.psam), r.CASH_LOAD)
    assert terminal.ask(other).response == "94"
    assert purse(host, card) == ledger.Balance(0, 5000)
    assert incidents(host) == ["key-reused"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({4: "000000009999"}, "13"),
        ({3: "600000"}, "40"),
        ({22: None}, "30"),
        ({38: "123456"}, "30"),
        ({49: "840"}, "30"),
        ({42: "898000000000002"}, "03"),
        ({60: "4100004200060"}, "77"),
    ],
)
def test_a_request_that_breaks_a_rule_gets_its_code_and_moves_nothing(
    host: LabHost, terminal: LabTerminal, card: LabCard, change: dict[int, str], code: str
) -> None:
    request, _ = terminal.load_request(card, 5000)
    changed = messages.Message.of("0200", {**request.fields, **change})
    answer = terminal.ask(changed)
    assert answer.response == code
    assert states(host) == []
    assert purse(host, card) == ledger.Balance(0, 0)
    if code == "77":
        assert frames.requirement_of(answer.header) == frames.SIGN_ON_AGAIN


@pytest.mark.parametrize(
    ("fen", "balance", "code"), [(0, 0, "13"), (50_001, 0, "61"), (40_000, 60_001, "61")]
)
def test_an_absurd_amount_is_refused_whatever_its_macs(
    host: LabHost, terminal: LabTerminal, fen: int, balance: int, code: str
) -> None:
    card = LabCard("00001000000147", balance=balance)
    request, _ = terminal.load_request(card, fen)
    assert terminal.ask(request).response == code
    assert purse(host, card) == ledger.Balance(0, 0)


@pytest.mark.parametrize("code", ["62", "54", "41", "43", "04"])
def test_the_register_decides_who_may_load(
    host: LabHost, terminal: LabTerminal, card: LabCard, code: str
) -> None:
    host.gate.codes[card.serial] = code
    request, _ = terminal.load_request(card, 5000)
    assert terminal.ask(request).response == code


def test_an_unknown_card_and_a_foreign_issuer_are_14(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    host.gate.strangers.add(card.serial)
    assert terminal.ask(terminal.load_request(card, 500)[0]).response == "14"
    foreign = LabCard("00001000000155", issuer=bytes(8))
    assert terminal.ask(terminal.load_request(foreign, 500)[0]).response == "14"


def test_a_wrong_mac1_is_63_and_counted(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, _ = terminal.load_request(card, 5000)
    raw = bytearray(request.octets(58))
    raw[-3] ^= 1
    broken = messages.Message.of("0200", {**request.fields, 58: bytes(raw)})
    assert terminal.ask(broken).response == "63"
    assert incidents(host) == ["mac1-wrong"]
    assert purse(host, card) == ledger.Balance(0, 0)


def test_a_chip_that_claims_more_than_it_can_hold_is_an_alarm(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    terminal.load(card, 5000)
    card.balance = 9000
    request, _ = terminal.load_request(card, 1000)
    assert terminal.ask(request).response == "00"
    assert incidents(host) == ["balance-above-ledger"]


# ---- the bank


def test_a_refusal_of_the_bank_is_passed_on_and_voided(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    host.bank.plan.append("refuse:51")
    request, _ = terminal.load_request(card, 5000, r.LOAD)
    answer = terminal.ask(request)
    assert (answer.response, 58 in answer) == ("51", False)
    assert (states(host), purse(host, card)) == (["DECLINED"], ledger.Balance(0, 0))
    assert terminal.ask(reversal(request, "98")).response == "00"


@pytest.mark.parametrize("fault", ["silent", "late"])
def test_a_silent_bank_is_68_and_undone_there(
    host: LabHost, terminal: LabTerminal, card: LabCard, fault: str
) -> None:
    host.bank.plan.append(fault)
    request, _ = terminal.load_request(card, 5000, r.LOAD)
    answer = terminal.ask(request)
    assert (answer.response, 58 in answer) == ("68", False)
    assert host.authorizer.forward_orders() == 1
    assert (host.bank.net_debited(), purse(host, card)) == (0, ledger.Balance(0, 0))


def test_a_bank_that_is_down_is_91_and_its_orders_wait(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, _ = terminal.load_request(card, 5000, r.LOAD)
    terminal.ask(request)
    host.bank.down = True
    assert terminal.ask(reversal(request, "98")).response == "00"
    assert host.authorizer.forward_orders() == 0
    host.bank.down = False
    assert host.authorizer.forward_orders() == 1
    assert host.bank.net_debited() == 0


def test_a_host_that_stops_while_the_bank_is_asked_voids_the_load(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, _ = terminal.load_request(card, 5000, r.LOAD)
    reply = host.authorizer.handle([Arrival(terminal.sealed(request))])[0]
    assert reply.act is Act.WAIT
    assert reply.job is not None
    host.authorizer.ask_bank(reply.job.leg)
    assert host.bank.net_debited() == 5000
    host.restart()  # MAC2 never left: void, and the debit goes back (I-31)
    host.authorizer.forward_orders()
    assert (host.bank.net_debited(), states(host)) == (0, ["REVERSED"])
    assert terminal.ask(request).response == "22"


def test_the_account_balance_comes_from_the_bank(keys: Keys, card: LabCard) -> None:
    made = LabHost(
        keys, options={"zone_key": keys.known.load("zpk-1", bytes(range(16)), "T2", "P0", "E")}
    )
    terminal = made.terminal()
    terminal.sign_on()
    answer = terminal.ask(terminal.station.balance(terminal.trace(), ACCOUNT, PIN_BLOCK))
    assert answer.response in ("99", "00")  # this block is under another PIK: the HSM says so
    assert parse_field54("0002156C000001234567") == 1_234_567
    made.close()


# ---- confirmation


def test_a_wrong_tac_keeps_the_money_pending_and_the_evidence(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, asked = terminal.load_request(card, 5000)
    answer = terminal.ask(request)
    proof = card.finish(asked, PurseAnswer.parse(answer.octets(58)))
    forged = replace(proof, tac=bytes(4))
    assert terminal.confirm(request, answer, forged).response == "63"
    assert (states(host), incidents(host)) == (["UNRESOLVED"], ["load-evidence-wrong"])
    assert purse(host, card) == ledger.Balance(0, 5000)
    with host.db.read() as tx:
        assert tx.scalars(select(IncidentRow.evidence)).one() == bytes(forged)


def test_a_confirmation_without_its_load_is_kept_and_answered_25(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, asked = terminal.load_request(card, 5000)
    answer = terminal.ask(request)
    proof = card.finish(asked, PurseAnswer.parse(answer.octets(58)))
    other = host.terminal(2)
    other.sign_on()
    stranger = LabCard("00001000000155", online=7)
    _, lost = other.load_request(stranger, 5000)
    orphan = replace(proof, asn=stranger.asn, random=lost.random, counter=9)
    message = other.station.confirmation("000777", request, "633200000001", orphan, "1128")
    assert other.ask(message).response == "25"
    assert incidents(host) == ["confirmation-orphan"]


def test_an_unknown_outcome_waits_for_the_next_counter(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, asked = terminal.load_request(card, 5000)
    answer = terminal.ask(request)
    given = PurseAnswer.parse(answer.octets(58))
    unknown = unknown_outcome(asked, given.date, given.time)
    assert terminal.confirm(request, answer, unknown).response == "00"
    assert states(host) == ["UNRESOLVED"]
    card.finish(asked, given)  # it had worked, nobody knew
    terminal.load(card, 1000)
    assert states(host) == ["CONFIRMED", "CONFIRMED"]
    assert purse(host, card) == ledger.Balance(6000, 0)


# ---- reversal


def test_a_reversal_voids_and_its_repeat_is_byte_equal(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, _ = terminal.load_request(card, 5000, r.LOAD)
    terminal.ask(request)
    frame = terminal.sealed(reversal(request, "98"))
    first = host.authorizer.answer(frame)
    assert first is not None
    assert terminal.read(first).response == "00"
    assert host.authorizer.answer(frame) == first
    host.authorizer.forward_orders()
    assert (states(host), purse(host, card)) == (["REVERSED"], ledger.Balance(0, 0))
    assert host.bank.net_debited() == 0


def test_after_a_reversal_mac2_is_gone_for_good(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, _ = terminal.load_request(card, 5000)
    mac2 = PurseAnswer.parse(terminal.ask(request).octets(58)).mac2
    terminal.ask(reversal(request, "98"))
    answer = terminal.ask(request)
    assert (answer.response, 58 in answer) == ("22", False)
    with host.db.read() as tx:
        stored = tx.scalars(select(MessageRow.answer)).all()
    assert not any(mac2 in (answer or b"") for answer in stored)


def test_a_reversal_that_overtakes_its_request_stops_it(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, _ = terminal.load_request(card, 5000)
    assert terminal.ask(reversal(request, "98")).response == "25"
    assert terminal.ask(request).response == "22"
    assert (states(host), purse(host, card)) == ([], ledger.Balance(0, 0))


def test_a_reversal_in_a_batch_that_was_never_opened_leaves_a_tombstone(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    right, terminal.batch = terminal.batch, "000046"  # as a garbled sign-on answer told it
    request, _ = terminal.load_request(card, 5000)
    assert terminal.ask(request).response == "77"
    assert terminal.ask(reversal(request, "A0")).response == "25"
    terminal.batch = right
    late, _ = terminal.load_request(card, 5000)
    assert terminal.ask(late).response == "00"


def test_what_was_credited_cannot_be_reversed(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, asked = terminal.load_request(card, 5000)
    answer = terminal.ask(request)
    proof = card.finish(asked, PurseAnswer.parse(answer.octets(58)))
    terminal.confirm(request, answer, proof)
    assert terminal.ask(reversal(request, "98")).response == "22"
    assert (states(host), incidents(host)) == (["CONFIRMED"], ["reversal-refused"])


def test_a_reversal_of_another_amount_is_64(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, _ = terminal.load_request(card, 5000)
    terminal.ask(request)
    wrong = reversal(request, "98")
    wrong = messages.Message.of("0400", {**wrong.fields, 4: "000000004000"})
    assert terminal.ask(wrong).response == "64"
    assert states(host) == ["ISSUED"]


def test_a_terminal_that_broke_its_promise_is_found_out(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, asked = terminal.load_request(card, 5000, r.LOAD)
    answer = terminal.ask(request)
    terminal.ask(reversal(request, "98"))
    card.finish(asked, PurseAnswer.parse(answer.octets(58)))  # MAC2 reached the card all the same
    terminal.load(card, 1000)
    assert states(host) == ["UNRESOLVED", "CONFIRMED"]
    assert "reversed-but-loaded" in incidents(host)


# ---- the next counter


def test_a_lost_confirmation_is_made_good_by_the_next_load(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, asked = terminal.load_request(card, 5000)
    answer = terminal.ask(request)
    card.finish(asked, PurseAnswer.parse(answer.octets(58)))
    other = host.terminal(2)
    other.sign_on()
    assert other.load(card, 1000).response == "00"
    assert states(host) == ["CONFIRMED", "CONFIRMED"]
    assert purse(host, card) == ledger.Balance(6000, 0)


def test_the_same_counter_again_takes_the_load_back_on_watch(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    first, _ = terminal.load_request(card, 5000, r.LOAD)
    terminal.ask(first)
    assert terminal.load(card, 1000).response == "00"
    host.authorizer.forward_orders()
    assert states(host) == ["REVERSED", "CONFIRMED"]
    assert host.bank.accounts[ACCOUNT] == ACCOUNT_FEN
    with host.db.read() as tx:
        watched = tx.scalars(select(LoadRow.watched).order_by(LoadRow.trace)).all()
    assert watched == [False, False]  # the TAC of another load at this counter made it final


def test_a_late_tac_clears_the_load_that_its_counter_seemed_to_prove(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    terminal.ask(terminal.load_request(card, 5000)[0])  # never credited
    second, asked = terminal.load_request(card, 1000)
    answer = terminal.ask(second)
    proof = card.finish(asked, PurseAnswer.parse(answer.octets(58)))
    terminal.load(card, 200)  # the next counter comes before that proof
    assert states(host) == ["UNRESOLVED", "CONFIRMED", "CONFIRMED"]
    terminal.confirm(second, answer, proof)
    assert states(host) == ["REVERSED", "CONFIRMED", "CONFIRMED"]
    assert purse(host, card) == ledger.Balance(1200, 0)


def test_a_counter_that_goes_back_blocks_the_card(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    terminal.load(card, 5000)
    card.online = 0
    assert terminal.ask(terminal.load_request(card, 1000)[0]).response == "63"
    assert incidents(host) == ["counter-back"]
    card.online = 5
    assert terminal.ask(terminal.load_request(card, 1000)[0]).response == "04"


# ---- unload


def test_an_unload_pays_the_account_after_its_proof(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    terminal.load(card, 5000, r.LOAD)
    request, asked = terminal.load_request(card, 2000, r.UNLOAD)
    answer = terminal.ask(request)
    assert answer.response == "00"
    host.authorizer.forward_orders()
    assert host.bank.accounts[ACCOUNT] == ACCOUNT_FEN - 5000
    proof = card.finish(asked, PurseAnswer.parse(answer.octets(58)))
    assert terminal.confirm(request, answer, proof).response == "00"
    host.authorizer.forward_orders()
    assert host.bank.accounts[ACCOUNT] == ACCOUNT_FEN - 3000
    assert purse(host, card) == ledger.Balance(3000, 0)
    assert terminal.ask(terminal.load_request(card, 3001, r.UNLOAD)[0]).response == "51"


# ---- who speaks


def test_an_unknown_terminal_is_97_and_a_closed_one_58(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    stranger = LabTerminal("99999999", terminal.psam, host.authorizer_answer, mak=terminal.mak)
    assert stranger.sign_on().response == "97"
    assert stranger.ask(stranger.load_request(card, 100)[0]).response == "97"
    load, _ = terminal.load_request(card, 100)
    purchase = terminal.purchase(card, 200)
    with host.db.write() as tx:
        set_terminal(tx, host.clock, terminal.number, open_=False)
    assert terminal.ask(load).response == "58"
    assert terminal.ask(purchase).response == "58"
    with host.db.read() as tx:
        kept = tx.scalars(select(IncidentRow.evidence)).one()
    assert kept == purchase.octets(58)
    assert purse(host, card) == ledger.Balance(0, 0)


def test_wrong_macs_are_a0_and_the_third_raises_an_alarm(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, _ = terminal.load_request(card, 5000)
    frame = terminal.sealed(request)
    forged = frame[:-1] + bytes((frame[-1] ^ 0x20,))  # lower case, or another digit
    nibbles = []
    for _ in range(3):
        answer = messages.parse(host.authorizer.answer(forged) or b"")
        assert (answer.response, answer.mac) == ("A0", b"")
        nibbles.append(frames.requirement_of(answer.header))
    assert nibbles == [0, 0, frames.SIGN_ON_AGAIN]
    assert incidents(host) == ["mac-wrong"]
    assert terminal.ask(request).response == "00"  # the keys stay valid (I-22)
    with host.db.read() as tx:
        assert tx.scalars(select(TerminalRow.wrong_macs)).one() == 0


def test_a_lost_sign_on_answer_does_not_lock_the_terminal_out(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    terminal.load(card, 1000)
    old = terminal.mak
    lost = terminal.sign_on(take=False)
    assert terminal.load(card, 1000).response == "00"  # old keys still work
    again = terminal.sign_on()
    assert again.octets(62) == lost.octets(62)  # the same waiting set, without an HSM call
    assert terminal.load(card, 1000).response == "00"
    terminal.mak = old
    request, _ = terminal.load_request(card, 1000)
    assert messages.parse(host.authorizer.answer(terminal.sealed(request)) or b"").response == "A0"


def test_a_waiting_set_grows_old(host: LabHost, terminal: LabTerminal) -> None:
    first = terminal.sign_on(take=False)
    host.clock.advance(timedelta(minutes=11))
    assert terminal.sign_on(take=False).octets(62) != first.octets(62)


def test_new_key_sets_are_rationed_per_connection(host: LabHost) -> None:
    codes = [host.terminal(n).sign_on(take=False).response for n in range(1, 63)]
    assert codes == ["00"] * 60 + ["91"] * 2


@pytest.mark.parametrize(("function", "code"), [("001", "40"), ("005", "40"), ("004", "00")])
def test_other_kinds_of_sign_on(host: LabHost, function: str, code: str) -> None:
    answer = host.terminal().sign_on(take=False, function=function)
    assert answer.response == code
    assert len(answer.octets(62)) == (60 if code == "00" else 0)


def test_a_new_day_begins_with_a_sign_on(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    host.clock.advance(timedelta(days=1))
    answer = terminal.ask(terminal.load_request(card, 1000)[0])
    assert answer.response == "77"
    assert frames.requirement_of(answer.header) == frames.SIGN_ON_AGAIN
    terminal.sign_on()
    assert terminal.load(card, 1000).response == "00"


def test_a_sign_off_destroys_the_keys(host: LabHost, terminal: LabTerminal, card: LabCard) -> None:
    assert terminal.ask(terminal.station.sign_off(terminal.trace())).response == "00"
    answer = messages.parse(
        host.authorizer.answer(terminal.sealed(terminal.load_request(card, 1000)[0])) or b""
    )
    assert (answer.response, answer.mac) == ("77", b"")


def test_echo_needs_no_key(host: LabHost) -> None:
    terminal = host.terminal()
    assert terminal.ask(terminal.station.echo("000001"), sealed=False).response == "00"


def test_a_double_length_mak_under_x919(host: LabHost, card: LabCard) -> None:
    terminal = host.terminal(3, mac_profile="x919")
    terminal.sign_on()
    assert len(terminal.mak) == 16
    assert terminal.load(card, 1000).response == "00"


def test_a_single_length_mak_where_the_terminal_wants_one(host: LabHost, card: LabCard) -> None:
    terminal = host.terminal(4, single_mak=True)
    answer = terminal.sign_on(take=False)
    assert answer.octets(62)[28:36] == bytes(8)
