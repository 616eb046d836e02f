"""What becomes of a load: reversals, and what the next counter proves (iso8583-host.md 8.2, 11.2)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from payments import ledger, messages
from payments import requests as r
from payments.authorize import Authorizer
from payments.purse_data import PurseAnswer
from payments.requests import reversal
from payments.resolution import Deciders, close_incident
from payments.tables import IncidentRow, LoadRow, MessageRow
from tests.host_bench import (
    ACCOUNT,
    ACCOUNT_FEN,
    LabCard,
    LabHost,
    LabTerminal,
    incidents,
    purse,
    states,
)

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


def set_back(terminal: LabTerminal, card: LabCard) -> None:
    """The card asks at a counter it has left behind, and is refused."""
    card.online = 0
    assert terminal.ask(terminal.load_request(card, 1000)[0]).response == "63"


def test_a_counter_that_goes_back_blocks_the_card(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    terminal.load(card, 5000)
    set_back(terminal, card)
    assert incidents(host) == ["counter-back"]
    card.online = 5
    assert terminal.ask(terminal.load_request(card, 1000)[0]).response == "04"


def test_a_late_proof_does_not_lift_a_cards_block(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    terminal.load(card, 5000)
    request, asked = terminal.load_request(card, 700)
    answer = terminal.ask(request)
    set_back(terminal, card)  # the RQ of a clone comes in between
    card.online = 1
    proof = card.finish(asked, PurseAnswer.parse(answer.octets(58)))
    assert terminal.confirm(request, answer, proof).response == "00"
    assert (states(host)[1], purse(host, card)) == ("CONFIRMED", ledger.Balance(5700, 0))
    assert terminal.ask(terminal.load_request(card, 1000)[0]).response == "04"


def test_a_request_that_was_late_blocks_the_card_until_its_terminal_reverses_it(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    late, _ = terminal.load_request(card, 1000)  # it waits in the network
    other = host.terminal(2)
    assert other.sign_on().response == "00"
    other.load(card, 5000)
    assert terminal.ask(late).response == "63"  # and nobody at the terminal hears that
    assert other.ask(other.load_request(card, 700)[0]).response == "04"
    assert terminal.ask(reversal(late, "98")).response == "00"
    assert other.load(card, 700).response == "00"
    assert (incidents(host), purse(host, card)) == (["counter-back"], ledger.Balance(5700, 0))


def test_another_requests_reversal_lifts_no_block(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    terminal.load(card, 5000)
    set_back(terminal, card)
    again, _ = terminal.load_request(card, 1000)  # the same counter, another random
    assert terminal.ask(again).response == "04"
    assert terminal.ask(reversal(again, "98")).response == "00"
    card.online = 1
    assert terminal.ask(terminal.load_request(card, 700)[0]).response == "04"


def test_two_people_who_close_the_incident_unblock_the_card(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    terminal.load(card, 5000)
    set_back(terminal, card)
    with host.db.write() as tx:
        number = tx.scalars(select(IncidentRow.id)).one()
        close_incident(tx, host.clock, number, Deciders("ann", "bob"), "the reader was at fault")
    card.online = 1
    assert terminal.load(card, 700).response == "00"


def test_no_mac2_leaves_a_host_after_another_host_has_reversed_its_load(
    host: LabHost, terminal: LabTerminal, card: LabCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, _ = terminal.load_request(card, 5000)
    back = terminal.sealed(reversal(request, "98"))
    profile = replace(host.profile, name="host-2")
    other = Authorizer(
        host.db, host.clock, host.keys.hsm, host.bank, host.keys.masters, profile, host.gate
    )
    line = host.authorizer._line
    seal = line.begin_seal

    def reversed_once_written(answered: Sequence[Any]) -> Callable[[], list[bytes | None]]:
        collect = seal(answered)

        def late() -> list[bytes | None]:
            assert terminal.read(other.answer(back) or b"").response == "00"
            return collect()

        return late

    monkeypatch.setattr(line, "begin_seal", reversed_once_written)
    assert host.authorizer.answer(terminal.sealed(request)) is None
    monkeypatch.undo()
    assert terminal.ask(request).response == "22"
    assert (states(host), purse(host, card)) == (["REVERSED"], ledger.Balance(0, 0))
    other.close()
