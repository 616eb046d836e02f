"""Loads and unloads at the host: promised, debited, proved, refused."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from hsm_sim.client import Hsm, NotSupportedByDevice
from hsm_sim.client import Request as HsmRequest
from payments import frames, ledger, messages
from payments import requests as r
from payments.exchange_files import export_day
from payments.field_parts import parse_field54
from payments.purse_data import PurseAnswer
from payments.requests import reversal, unknown_outcome
from payments.tables import IncidentRow, LoadRow
from payments.work import Act, Arrival
from tests.host_bench import (
    ACCOUNT,
    ACCOUNT_FEN,
    PIN_BLOCK,
    Keys,
    LabCard,
    LabHost,
    LabTerminal,
    incidents,
    purse,
    states,
)

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


@dataclass
class Overheard:
    """The HSM as the host sees it; `deaf` to one command, as an HSM that does not know it."""

    hsm: Hsm
    deaf: str = ""
    asked: list[str] = field(default_factory=list)

    def call(self, request: HsmRequest[Any]) -> Any:
        self.asked.append(request.code)
        if request.code == self.deaf:
            raise NotSupportedByDevice("HSM-DEVICE", "unknown")
        return self.hsm.call(request)


@pytest.mark.parametrize(
    ("deaf", "mac1", "asked", "response"),
    [
        ("", True, ["4G"], "00"),
        ("", False, ["4G", "M6"], "63"),
        ("4G", True, ["4G", "M8", "40", "M6"], "00"),
        ("4G", False, ["4G", "M8", "40", "M6"], "63"),
    ],
)
def test_a_cash_load_takes_one_hsm_command_where_the_hsm_has_it(
    host: LabHost, card: LabCard, deaf: str, mac1: bool, asked: list[str], response: str
) -> None:
    terminal = host.terminal(7)
    terminal.sign_on()
    terminal.load(LabCard("00001000000155"), 100)  # the waiting key set is in force after this
    ears = host.keys.hsm = Overheard(host.keys.hsm, deaf)  # type: ignore[assignment]
    try:
        host.restart()
        request, _ = terminal.load_request(card, 5000)
        raw = bytearray(request.octets(58))
        raw[-3] ^= not mac1
        frame = terminal.sealed(messages.Message.of("0200", {**request.fields, 58: bytes(raw)}))
        first = host.authorizer.answer(frame)
        assert ears.asked == asked
        assert first is not None
        assert terminal.read(first).response == response  # and its field 64 is right
        assert host.authorizer.answer(frame) == first
    finally:
        host.keys.hsm = ears.hsm  # type: ignore[assignment]


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


def test_an_issuer_that_gave_no_answer_may_have_debited_and_is_undone(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    host.bank.plan.append("done:98")
    answer = terminal.ask(terminal.load_request(card, 5000, r.LOAD)[0])
    assert (answer.response, 58 in answer) == ("98", False)
    assert host.bank.net_debited() == 5000
    assert host.authorizer.forward_orders() == 1
    assert (host.bank.net_debited(), states(host)) == (0, ["REVERSED"])


@pytest.mark.parametrize("code", ["A2", "A4", "A5", "A6"])
def test_an_approval_with_a_defect_is_an_approval(
    host: LabHost, terminal: LabTerminal, card: LabCard, code: str
) -> None:
    host.bank.plan.append(f"done:{code}")
    answer = terminal.ask(terminal.load_request(card, 5000, r.LOAD)[0])
    assert (answer.response, 58 in answer) == ("00", True)
    assert (host.bank.net_debited(), states(host)) == (5000, ["ISSUED"])


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


def test_a_wrong_tac_stays_evidence_and_never_becomes_a_proof(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    """Not even when the counter shows that the load happened: a partner is told no TAC until the right one came."""
    request, asked = terminal.load_request(card, 5000)
    answer = terminal.ask(request)
    proof = card.finish(asked, PurseAnswer.parse(answer.octets(58)))
    forged = replace(proof, tac=b"\xde\xad\xbe\xef")
    terminal.confirm(request, answer, forged)
    terminal.load(card, 100)
    for given, proven in ((forged, False), (proof, True)):
        if proven:
            assert terminal.confirm(request, answer, given).response == "00"
        with host.db.read() as tx:
            row = tx.scalars(select(LoadRow).order_by(LoadRow.key)).first()
            assert row is not None
            assert (row.state, row.reason) == ("CONFIRMED", "by counter")
            assert (row.evidence, row.proven) == (bytes(given), proven)
            file = export_day(tx, host.clock, host.profile, row.day)[1]
        assert (given.tac.hex().upper().encode() in file) is proven


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


# ---- a merchant's day limit, whoever loads at the same moment


@pytest.fixture
def limited(keys: Keys, tmp_path: Path) -> Iterator[LabHost]:
    host = LabHost(
        keys, url=f"sqlite:///{tmp_path / 'limited.db'}", options={"merchant_day_fen": 1_200}
    )
    yield host
    host.close()


def loads_of(host: LabHost, count: int) -> list[tuple[LabTerminal, bytes]]:
    """Sealed loads of 5 yuan, each at a terminal and with a card of its own."""
    made = []
    for number in range(1, count + 1):
        terminal, card = host.terminal(number), LabCard(f"0000100000{number:04d}")
        terminal.sign_on()
        made.append((terminal, terminal.sealed(terminal.load_request(card, 500)[0])))
    return made


def test_loads_of_one_batch_do_not_pass_the_limit_together(limited: LabHost) -> None:
    loads = loads_of(limited, 3)
    replies = limited.authorizer.handle([Arrival(raw) for _, raw in loads])
    answers = [
        terminal.read(reply.frame) for (terminal, _), reply in zip(loads, replies, strict=True)
    ]
    assert sorted(answer.response for answer in answers) == ["00", "00", "61"]
    with limited.db.read() as tx:
        assert tx.scalar(select(func.sum(LoadRow.amount))) == 1_000


def test_a_load_that_was_quicker_counts_for_the_limit(
    limited: LabHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, early), (_, quick), (terminal, slow) = loads_of(limited, 3)
    limited.authorizer.answer(early)
    write = limited.authorizer._write

    def write_late(*given: Any) -> None:
        monkeypatch.setattr(limited.authorizer, "_write", write)
        limited.authorizer.answer(quick)  # decided and committed after `slow` was read
        write(*given)

    monkeypatch.setattr(limited.authorizer, "_write", write_late)
    assert terminal.read(limited.authorizer.answer(slow) or b"").response == "61"
    with limited.db.read() as tx:
        assert tx.scalar(select(func.sum(LoadRow.amount))) == 1_000
