"""Who speaks to the host: sign-on and off, keys, wrong MACs, unknown and closed terminals."""

import itertools
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from core.clock import SHANGHAI
from payments import batch_fill, frames, ledger, messages
from payments.enrolment import set_terminal
from payments.field_parts import KindTotal, Totals
from payments.limits import BATCH_MESSAGES
from payments.purse_data import PurseAnswer
from payments.tables import IncidentRow, TerminalRow
from tests.host_bench import Keys, LabCard, LabHost, LabTerminal, incidents, purse

# ---- who speaks


def test_a_stranger_cannot_use_up_the_hsms_patience(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    """The HSM serves nobody for a while after 200 wrong MACs in a minute."""
    stranger = LabTerminal("99999999", terminal.psam, host.authorizer_answer, mak=terminal.mak)
    asked = stranger.load_request(card, 100)[0]
    assert {stranger.ask(asked).response for _ in range(201)} == {"97"}
    assert terminal.load(card, 5000).response == "00"


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


@pytest.mark.parametrize(("ours", "strangers"), [("003", "004"), ("004", "003")])
def test_another_kind_of_sign_on_does_not_replace_the_waiting_set(
    host: LabHost, card: LabCard, ours: str, strangers: str
) -> None:
    terminal = host.terminal()
    given = terminal.sign_on(function=ours).octets(62)
    other = terminal.sign_on(take=False, function=strangers).octets(62)
    assert given[:40] == other[:40]
    assert {len(given), len(other)} == {40, 60}
    assert (
        terminal.load(card, 1000).response == "00"
    )  # the first message under the real sign-on's keys


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


@pytest.mark.parametrize(
    ("profile", "single"), [("unionpay", True), ("unionpay", False), ("x99", True), ("x919", False)]
)
def test_every_mac_profile_with_every_key_it_takes(
    host: LabHost, card: LabCard, profile: str, single: bool
) -> None:
    terminal = host.terminal(3, mac_profile=profile, single_mak=single)
    terminal.sign_on()
    assert len(terminal.mak) == (8 if single else 16)
    assert terminal.load(card, 1000).response == "00"


@pytest.mark.parametrize(("profile", "single"), [("x99", False), ("x919", True), ("cbc", False)])
def test_a_mak_that_the_profile_cannot_use_is_not_enrolled(
    host: LabHost, profile: str, single: bool
) -> None:
    with pytest.raises(ValueError, match="MAK"):
        host.terminal(3, mac_profile=profile, single_mak=single)


def test_a_single_length_mak_where_the_terminal_wants_one(host: LabHost, card: LabCard) -> None:
    terminal = host.terminal(4, single_mak=True)
    answer = terminal.sign_on(take=False)
    assert answer.octets(62)[28:36] == bytes(8)


# ---- a batch that is full, a day that changes, a terminal that puts no MAC on management messages


def test_a_batch_with_too_many_messages_is_77_and_a_sign_on_opens_the_next(
    keys: Keys, card: LabCard
) -> None:
    host = LabHost(keys, options={"batch_messages": 4})
    terminal = host.terminal()
    terminal.sign_on()
    terminal.traces = itertools.count(100)
    full = terminal.batch
    assert [terminal.load(card, 100).response for _ in range(2)] == ["00", "00"]
    last, purse = terminal.load_request(card, 100)
    issued = terminal.ask(last)  # the fifth: now it holds more than four
    proof = card.finish(purse, PurseAnswer.parse(issued.octets(58)))
    late = terminal.station.confirmation(
        terminal.trace(), last, issued.text(37), proof, issued.text(13)
    )
    refused = terminal.ask(late)
    assert refused.response == "77"
    assert frames.requirement_of(refused.header) == frames.SIGN_ON_AGAIN
    assert terminal.ask(last).response == "00"  # a repeat has its stored answer
    terminal.sign_on()
    assert int(terminal.batch) == int(full) + 1
    assert terminal.ask(late).response == "00"  # evidence of the old batch is taken
    assert terminal.load(card, 100).response == "00"
    assert incidents(host) == ["batch-full"]
    host.close()


def test_a_batch_is_counted_a_hundred_thousand_messages_before_its_traces_wrap(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    due = [n for n in range(1, 3_001) if batch_fill.is_due(numbered(terminal, n), BATCH_MESSAGES)]
    assert due == [1_000, 2_000, 3_000]
    assert not batch_fill.is_due(terminal.station.echo("001000"), BATCH_MESSAGES)


def numbered(terminal: LabTerminal, trace: int) -> messages.Message:
    """A message of a terminal's batch with this trace number."""
    return terminal.station.batch_end(f"{trace:06d}", 0, balanced=True)


def test_nothing_new_begins_while_the_day_changes(keys: Keys, card: LabCard) -> None:
    host = LabHost(keys, options={"day_change_seconds": 60})
    terminal = host.terminal()
    terminal.sign_on()
    request, _ = terminal.load_request(card, 1000)
    answered = terminal.ask(request)
    last_second = datetime(2026, 11, 29, 0, 0, 59, tzinfo=SHANGHAI)
    host.clock.advance(last_second - host.clock.now())
    terminal.sign_on()
    assert terminal.ask(request).text(37) == answered.text(37)
    other = terminal.load_request(card, 1000)[0]
    assert terminal.ask(other).response == "90"
    assert terminal.ask(terminal.purchase(card, 200)).response == "00"  # evidence waits for nothing
    host.clock.advance(timedelta(seconds=1))
    assert terminal.ask(other).response == "00"
    host.close()


def test_a_terminal_may_leave_the_mac_out_of_management_but_not_out_of_money(
    host: LabHost, card: LabCard
) -> None:
    terminal = host.terminal(5, plain_management=True)
    terminal.sign_on()
    terminal.load(card, 1000)
    for message in (
        terminal.station.parameters(terminal.trace()),
        terminal.station.settlement(terminal.trace(), Totals({"41": KindTotal(1, 1000)})),
        terminal.station.sign_off(terminal.trace()),
    ):
        answer = terminal.ask(message, sealed=False)
        assert (answer.response, answer.mac) == ("00", b"")
    load = terminal.load_request(card, 1000)[0]
    assert terminal.ask(load, sealed=False).response == "A0"
    assert terminal.ask(load).response == "00"  # the sign-off nobody signed left the keys
    assert terminal.ask(terminal.station.sign_off(terminal.trace())).response == "00"
    assert host.authorizer_answer(terminal.sealed(load)) is not None
    with host.db.read() as tx:
        assert not tx.scalars(select(TerminalRow.current_mak)).one()
