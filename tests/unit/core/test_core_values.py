"""Small values everybody uses: money, check digits, identifiers, dates, APDUs, TLV."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import checks, ids, money, telemetry, tlv
from core.apdu import Command, Response
from core.clock import FixedClock, OffsetClock, SystemClock, business_date, purse_date_time
from core.errors import CityError, Rejected
from core.faults import catalogue, explain


@given(st.integers(-(10**12), 10**12))
def test_yuan_text_round_trips(fen: int) -> None:
    assert money.parse_yuan(money.format_yuan(fen)) == fen


@pytest.mark.parametrize("text", ["1.234", "", "1e3", "0x1", "1,00", "--1", "\u0661"])
def test_other_amounts_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        money.parse_yuan(text)


def test_a_fee_is_rounded_half_up() -> None:
    assert money.fee(10_000, 50) == 50
    assert money.fee(150, 33) == 0
    assert money.fee(100, 50) == 1


@pytest.mark.parametrize(
    ("body", "check"),
    [("11010519491231002", "X"), ("99430019850213001", "2"), ("99510019900704002", "2")],
)
def test_citizen_number_check_of_the_standard(body: str, check: str) -> None:
    assert checks.mod_11_2(body) == check


@pytest.mark.parametrize(
    ("body", "check"),
    [
        ("4403080030010100001002001", "75"),
        ("4403080020030200012015003", "29"),
        ("4403080010020900017", "60"),
        ("0010705010000001", "80"),
        ("0280709150004211", "95"),
        ("4403080700000001", "54"),
        ("070010000001", "02"),
    ],
)
def test_mod_97_10(body: str, check: str) -> None:
    assert checks.mod_97_10(body) == check
    assert checks.mod_97_10_valid(body + check)


@given(st.text("0123456789", min_size=19, max_size=25), st.data())
def test_mod_97_10_finds_every_single_mistake(body: str, data: st.DataObject) -> None:
    number = body + checks.mod_97_10(body)
    at = data.draw(st.integers(0, len(number) - 1))
    wrong = data.draw(st.sampled_from([d for d in "0123456789" if d != number[at]]))
    assert not checks.mod_97_10_valid(number[:at] + wrong + number[at + 1 :])
    if at + 1 < len(number) and number[at] != number[at + 1]:
        swapped = number[:at] + number[at + 1] + number[at] + number[at + 2 :]
        assert not checks.mod_97_10_valid(swapped)


def test_luhn_of_the_purse_account() -> None:
    assert checks.luhn("915603080000001") == "0"
    assert checks.luhn_valid("9156030800000010")
    assert not checks.luhn_valid("9156030800000011")


def test_uuid7_sorts_by_time_and_says_its_version() -> None:
    clock = FixedClock(datetime(2007, 6, 10, tzinfo=UTC))
    first = ids.uuid7(clock.now())
    clock.advance(timedelta(milliseconds=1))
    second = ids.uuid7(clock.now())
    assert first < second
    assert uuid.UUID(first).version == 7


def test_the_business_day_turns_at_midnight_in_shenzhen() -> None:
    assert str(business_date(datetime(2007, 6, 10, 15, 59, tzinfo=UTC))) == "2007-06-10"
    assert str(business_date(datetime(2007, 6, 10, 16, 0, tzinfo=UTC))) == "2007-06-11"
    assert purse_date_time(datetime(2007, 6, 10, 16, 0, 5, tzinfo=UTC)) == (
        bytes.fromhex("20070611"),
        bytes.fromhex("000005"),
    )


def test_an_offset_clock_runs_on_from_its_start() -> None:
    base = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    clock = OffsetClock(base, datetime(2007, 5, 8, tzinfo=UTC))
    base.advance(timedelta(minutes=3))
    clock.advance(timedelta(days=1))
    assert clock.now() == datetime(2007, 5, 9, 0, 3, tzinfo=UTC)
    with pytest.raises(ValueError):
        clock.advance(timedelta(seconds=-1))
    assert SystemClock().now().tzinfo is UTC


@given(
    st.binary(min_size=4, max_size=4),
    st.binary(max_size=255),
    st.none() | st.integers(0, 255),
)
def test_commands_round_trip(header: bytes, data: bytes, le: int | None) -> None:
    command = Command(*header, data=data, le=le)
    assert Command.parse(bytes(command)) == command


@pytest.mark.parametrize(
    "raw", ["", "00A404", "00A4040000AA", "00A4040003AABB", "00A4040001AABBCC"]
)
def test_commands_whose_lengths_do_not_fit(raw: str) -> None:
    with pytest.raises(ValueError):
        Command.parse(bytes.fromhex(raw))


def test_an_answer_has_a_status_word() -> None:
    assert Response.parse(bytes.fromhex("01029000")) == Response(b"\x01\x02", 0x9000)
    with pytest.raises(ValueError):
        Response.parse(b"\x90")


def test_the_manuals_fci_reads_as_tlv() -> None:
    fci = bytes.fromhex("6F15840E315041592E5359532E4444463031A503880101")
    assert tlv.find(fci, 0x6F, 0x84) == b"1PAY.SYS.DDF01"
    assert tlv.find(fci, 0x6F, 0xA5, 0x88) == b"\x01"
    assert tlv.find(fci, 0x6F, 0x9F0C) is None
    assert bytes(tlv.parse(fci)) == fci
    assert [child.tag for child in tlv.parse(fci).children()] == [0x84, 0xA5]


@given(st.sampled_from([0x4F, 0x50, 0x84, 0x9F0C, 0x9F08]), st.binary(max_size=400))
def test_tlv_round_trips(tag: int, value: bytes) -> None:
    assert tlv.parse(bytes(tlv.Tlv(tag, value))) == tlv.Tlv(tag, value)


@given(st.binary(max_size=40))
def test_any_bytes_are_tlv_or_a_value_error(data: bytes) -> None:
    try:
        objects = list(tlv.parse_all(data))
    except ValueError:
        return
    assert b"".join(bytes(item) for item in objects) == data


def test_long_numbers_are_masked_in_logs() -> None:
    assert telemetry.mask("card 07001000000102 ok 12345") == "card 070010****0102 ok 12345"


def test_every_fault_speaks_both_languages_and_quotes_facts() -> None:
    assert "DB-BUSY" in catalogue()
    title, action = explain(Rejected("LEASE-LOST"), "zh")
    assert "任务" in title
    assert action
    assert explain(CityError("X-UNKNOWN", "detail")) == ("X-UNKNOWN", "detail")
