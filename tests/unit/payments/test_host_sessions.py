"""Who speaks to the host: sign-on and off, keys, wrong MACs, unknown and closed terminals."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from payments import frames, ledger, messages
from payments.enrolment import set_terminal
from payments.tables import IncidentRow, TerminalRow
from tests.host_bench import LabCard, LabHost, LabTerminal, incidents, purse

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
