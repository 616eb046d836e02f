"""What answers hold and which code comes first when several would do (iso8583-host.md 6.2, 7.4, 8, 10)."""

from dataclasses import replace
from datetime import timedelta

import pytest
import structlog.testing
from sqlalchemy import select, update

from payments import messages
from payments import requests as r
from payments.field_parts import KindTotal, Totals, field60, parse_field48
from payments.messages import Message
from payments.purse_data import PurseAnswer
from payments.requests import reversal
from payments.settlement import Claim
from payments.tables import BatchRow, IncidentRow, LoadRow, MerchantRow, TerminalRow
from payments.work import Act, Arrival
from tests.host_bench import ACCOUNT, Keys, LabCard, LabHost, LabTerminal

FOUR = {11, 41, 42, 60}


def changed(message: Message, fields: dict[int, str | bytes]) -> Message:
    return Message.of(message.mti, {**message.fields, **fields})


def broken(host: LabHost, terminal: LabTerminal, card: LabCard, seal: bool) -> Message:
    """A load whose amount holds a hex digit; with its MAC made over that, or with the old one."""
    message = terminal.load_request(card, 5000)[0]
    frame = bytearray(terminal.sealed(message))
    at = frame.index(bytes.fromhex("000000005000"))
    frame[at + 5] = 0x0A
    if seal:
        frame[-8:] = terminal.mac(bytes(frame[13:-8]))
    return messages.parse(host.authorizer.answer(bytes(frame)) or b"")


@pytest.mark.parametrize("number", [41, 42])
def test_a_broken_message_that_cannot_be_answered_closes_the_connection(
    host: LabHost, terminal: LabTerminal, card: LabCard, number: int
) -> None:
    message = terminal.load_request(card, 5000)[0]
    frame = bytearray(terminal.sealed(message))
    amount = frame.index(bytes.fromhex("000000005000"))
    frame[amount + 5] = 0x0A  # the first field that is wrong is not the one that cannot be echoed
    frame[frame.index(message.text(number).encode()) + 2] = 0x07
    assert host.authorizer.handle([Arrival(bytes(frame))])[0].act is Act.CLOSE


# ---- the fields of an answer


@pytest.mark.parametrize("code", ["62", "14"])
def test_a_refusal_has_the_fields_of_an_answer(
    host: LabHost, terminal: LabTerminal, card: LabCard, code: str
) -> None:
    host.gate.codes[card.serial] = code
    if code == "14":
        host.gate.strangers.add(card.serial)
    answer = terminal.ask(terminal.load_request(card, 500)[0])
    assert answer.response == code
    assert {12, 13, 32, 37, 64} <= answer.fields.keys()
    assert 58 not in answer


@pytest.mark.parametrize("seal", [True, False])
def test_a_field_that_breaks_a_rule_is_30_with_four_fields_echoed(
    host: LabHost, terminal: LabTerminal, card: LabCard, seal: bool
) -> None:
    answer = broken(host, terminal, card, seal)
    assert answer.response == "30"
    assert answer.fields.keys() - {12, 13, 39, 64} == FOUR
    assert bool(answer.mac) is seal  # a MAC answers a MAC (I-23)
    with host.db.read() as tx:
        assert tx.scalars(select(TerminalRow.wrong_macs)).one() == 0  # noise, not an attempt


# ---- which code


def test_the_psam_is_looked_at_before_the_amount(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    purse = card.begin(500, bytes.fromhex("100000000999"))
    message = terminal.station.load(terminal.trace(), purse, r.CASH_LOAD)
    assert terminal.ask(changed(message, {4: "000000000600"})).response == "97"


def test_a_key_version_nobody_has_is_62_whatever_the_amount(
    terminal: LabTerminal, card: LabCard
) -> None:
    purse = replace(card.begin(50_001, terminal.psam), key_version=9)
    message = terminal.station.load(terminal.trace(), purse, r.CASH_LOAD)
    assert terminal.ask(message).response == "62"


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ({"card_day_count": 2}, "65"),
        ({"card_day_fen": 1_200}, "61"),
        ({"terminal_day_fen": 1_200}, "61"),
        ({"merchant_day_fen": 1_200}, "61"),
        ({"burst_count": 2}, "59"),
    ],
)
def test_a_limit_on_what_was_loaded_before(
    keys: Keys, card: LabCard, limit: dict[str, int], code: str
) -> None:
    host = LabHost(keys, options=limit)
    terminal = host.terminal()
    terminal.sign_on()
    assert [terminal.load(card, 500).response for _ in range(2)] == ["00", "00"]
    assert terminal.ask(terminal.load_request(card, 500)[0]).response == code
    host.clock.advance(timedelta(days=1))
    terminal.sign_on()
    assert terminal.load(card, 500).response == "00"
    host.close()


def test_a_financial_message_with_a_network_code_is_40(
    terminal: LabTerminal, card: LabCard
) -> None:
    message, _ = terminal.load_request(card, 500)
    strange = changed(message, {60: field60(r.CASH_LOAD, terminal.batch, "301")})
    assert terminal.ask(strange).response == "40"


@pytest.mark.parametrize("missing", [3, 4, 22, 25, 49, 58])
def test_a_message_without_a_field_it_must_have_is_30(
    terminal: LabTerminal, card: LabCard, missing: int
) -> None:
    message, _ = terminal.load_request(card, 500)
    fields = {number: value for number, value in message.fields.items() if number != missing}
    assert terminal.ask(Message.of("0200", fields)).response == "30"


@pytest.mark.parametrize(
    ("field", "value"),
    [(11, "000000"), (22, "999"), (22, "030"), (25, "00"), (49, "840"), (62, b"no"), (63, "01 ")],
)
def test_a_field_that_says_what_it_cannot_or_does_not_belong_is_30(
    terminal: LabTerminal, card: LabCard, field: int, value: str | bytes
) -> None:
    message, _ = terminal.load_request(card, 500)
    assert terminal.ask(changed(message, {field: value})).response == "30"


@pytest.mark.parametrize("function", [r.PARAMETERS, r.PARAMETERS_DONE, r.SIGN_OFF])
@pytest.mark.parametrize(("field", "value"), [(62, b"BL"), (63, "01 ")])
def test_a_network_message_has_62_and_63_only_where_its_flow_says_so(
    terminal: LabTerminal, function: str, field: int, value: str | bytes
) -> None:
    mti = "0820" if function == r.SIGN_OFF else "0800"
    fields = {60: field60("00", terminal.batch, function, ""), field: value}
    message = terminal.station.message(mti, terminal.trace(), f"00{terminal.batch}", fields)
    assert terminal.ask(message).response == "30"


@pytest.mark.parametrize(
    "item",
    [{"70": "0"}, {"71": "00000A"}, {"73": "XX0000000000"}, {"74": "00"}, {"75": "20261399091530"}],
)
def test_a_status_item_of_another_form_is_30(terminal: LabTerminal, item: dict[str, str]) -> None:
    assert terminal.ask(terminal.station.status(terminal.trace(), item)).response == "30"


def test_the_end_of_a_list_names_the_list_of_its_code(terminal: LabTerminal) -> None:
    done = terminal.station.list_done(terminal.trace(), "BL", 1)
    assert terminal.ask(done).response == "00"
    fields = {60: field60("00", terminal.batch, r.STATUS_LIST_DONE, ""), 62: done.octets(62)}
    crossed = terminal.station.message("0800", terminal.trace(), str(fields[60]), fields)
    assert terminal.ask(crossed).response == "30"


def test_an_operator_has_three_characters(terminal: LabTerminal) -> None:
    long = terminal.station.sign_on(terminal.trace(), operator="operator")
    assert terminal.ask(long, sealed=False).response == "30"


def test_a_request_does_not_say_the_result_of_its_settlement(terminal: LabTerminal) -> None:
    message = terminal.station.settlement(terminal.trace(), Totals({}))
    told = changed(message, {48: Totals({}).field48(domestic=1)})
    assert terminal.ask(told).response == "30"
    assert terminal.settle(Totals({})).response == "00"


def test_field_48_must_be_right_whatever_the_totals_by_type_say(terminal: LabTerminal) -> None:
    message = terminal.station.settlement(terminal.trace(), Totals({}))
    claimed = Totals({"41": KindTotal(1, 100)}).field48()
    answer = terminal.ask(changed(message, {48: claimed}))
    assert (answer.response, answer.text(48)) == ("00", f"{claimed[:30]}2{claimed[31:61]}1")


def test_from_999_on_the_totals_by_type_decide() -> None:
    held, more = (Totals({"36": KindTotal(count, 5000)}) for count in (1000, 1001))
    assert held.field48() == more.field48()
    assert Claim(parse_field48(more.field48()), None).agrees(held)
    assert Claim(parse_field48(held.field48()), held).agrees(held)
    assert not Claim(parse_field48(more.field48()), more).agrees(held)


def test_on_a_new_day_even_an_unknown_function_is_told_to_sign_on(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    message, _ = terminal.load_request(card, 500)
    host.clock.advance(timedelta(days=1))
    strange = changed(message, {60: field60("22", terminal.batch)})
    assert terminal.ask(strange).response == "77"


# ---- evidence in advices that are refused


def kept(host: LabHost) -> list[tuple[str, bytes]]:
    with host.db.read() as tx:
        rows = tx.execute(select(IncidentRow.kind, IncidentRow.evidence)).all()
        return [(row.kind, row.evidence) for row in rows if row.kind != "balance-above-ledger"]


@pytest.mark.parametrize("wrong", [{49: "840"}, {39: "00"}])
def test_a_purchase_with_a_wrong_field_is_30_and_its_evidence_is_kept(
    host: LabHost, terminal: LabTerminal, card: LabCard, wrong: dict[int, str | bytes]
) -> None:
    purchase = terminal.purchase(card, 200)
    for _ in range(3):  # once, however often the terminal asks
        assert terminal.ask(changed(purchase, wrong)).response == "30"
    assert kept(host) == [("advice-broken", purchase.octets(58))]


def test_a_confirmation_of_another_type_is_40_and_its_evidence_is_kept(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, asked = terminal.load_request(card, 5000)
    answer = terminal.ask(request)
    proof = card.finish(asked, PurseAnswer.parse(answer.octets(58)))
    confirmation = terminal.station.confirmation(
        terminal.trace(), request, answer.text(37), proof, answer.text(13)
    )
    assert terminal.ask(changed(confirmation, {3: "600000"})).response == "40"
    assert kept(host) == [("advice-broken", bytes(proof))]


def test_a_closed_merchant_is_03_and_its_evidence_is_kept(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    load, _ = terminal.load_request(card, 500)
    purchase = terminal.purchase(card, 200)
    with host.db.write() as tx:
        tx.execute(update(MerchantRow).values(open=False))
    assert terminal.ask(load).response == "03"
    assert terminal.ask(purchase).response == "03"
    assert kept(host) == [("merchant-refused", purchase.octets(58))]


# ---- reversals of what is no load


def test_a_purchase_cannot_be_reversed(terminal: LabTerminal, card: LabCard) -> None:
    card.balance = 1000
    purchase = terminal.purchase(card, 200)
    assert terminal.ask(purchase).response == "00"
    assert terminal.ask(reversal(purchase, "98")).response == "12"


def test_a_reversal_that_names_a_purchase_is_12_not_done(
    terminal: LabTerminal, card: LabCard
) -> None:
    card.balance = 1000
    purchase = terminal.purchase(card, 200)
    terminal.ask(purchase)
    load, _ = terminal.load_request(card, 200)
    named = {11: purchase.trace, 61: f"{terminal.batch}{purchase.trace}"}
    assert terminal.ask(changed(reversal(load, "98"), named)).response == "12"


# ---- batches


def test_a_load_detail_in_field_62_proves_the_load(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, asked = terminal.load_request(card, 5000)
    answer = terminal.ask(request)
    proof = bytes(card.finish(asked, PurseAnswer.parse(answer.octets(58))))
    detail = changed(terminal.station.detail(request), {62: proof[2:]})
    without = Message.of("0320", {**detail.fields, 58: None})
    assert terminal.ask(without).response == "00"
    with host.db.read() as tx:
        assert tx.scalars(select(LoadRow.state)).one() == "CONFIRMED"
        assert tx.scalars(select(IncidentRow.kind)).all() == []


def test_the_repeat_of_an_unequal_end_is_no_second_try(
    host: LabHost, terminal: LabTerminal
) -> None:
    end = terminal.sealed(terminal.station.batch_end(terminal.trace(), 7, balanced=False))
    first = host.authorizer.answer(end)
    assert messages.parse(first or b"").response == "95"
    assert [host.authorizer.answer(end) for _ in range(3)] == [first] * 3
    with host.db.read() as tx:
        assert tx.scalars(select(BatchRow.tries)).one() == 1


def test_another_end_does_not_settle_a_batch_that_was_closed_unequal(
    host: LabHost, terminal: LabTerminal
) -> None:
    def end(count: int, balanced: bool) -> str:
        return terminal.ask(terminal.station.batch_end(terminal.trace(), count, balanced)).response

    assert [end(7, balanced=False) for _ in range(3)] == ["95", "95", "00"]
    assert end(0, balanced=True) == "00"
    with host.db.read() as tx:
        assert tx.scalars(select(BatchRow.state)).one() == "DIFFERENT"


def test_reused_keys_are_counted_by_day(
    host: LabHost, terminal: LabTerminal, card: LabCard
) -> None:
    request, _ = terminal.load_request(card, 500)
    terminal.ask(request)
    other = terminal.station.load(request.trace, card.begin(600, terminal.psam), r.CASH_LOAD)
    assert terminal.ask(other).response == "94"
    host.clock.advance(timedelta(days=1))
    terminal.sign_on()
    with host.db.read() as tx:
        assert tx.scalars(select(TerminalRow.key_reuses)).one() == 0


@pytest.mark.parametrize(
    ("clock", "code", "logged"),
    [("20261128120130", "00", 0), ("20261129120000", "00", 1), ("20261301120000", "30", 0)],
)
def test_a_terminal_clock_that_is_off_is_logged(
    terminal: LabTerminal, clock: str, code: str, logged: int
) -> None:
    with structlog.testing.capture_logs() as lines:
        status = terminal.station.status(terminal.trace(), {"70": "0000", "75": clock})
        assert terminal.ask(status).response == code
    assert [one["seconds"] for one in lines if one["event"] == "terminal clock off"] == (
        [86_400] * logged
    )


@pytest.mark.parametrize(
    ("track", "code"), [("1" * 37, "30"), ("D2512", "30"), (f"{ACCOUNT}D2512", "00")]
)
def test_a_track_without_an_account_number_is_30(
    terminal: LabTerminal, card: LabCard, track: str, code: str
) -> None:
    terminal.load(card, 5000)
    request, _ = terminal.load_request(card, 1000, r.UNLOAD)
    with_track = Message.of("0200", {**request.fields, 2: None, 35: track})
    assert terminal.ask(with_track).response == code
