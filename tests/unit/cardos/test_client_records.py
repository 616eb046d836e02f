"""File layouts: what is written is what is read, and every length is checked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardos.records import (
    ApplicationFile,
    CardFile,
    IssuerData,
    PsamApplication,
    PsamInfo,
    PurseLogRecord,
    asn_of,
    card_factor,
)
from cardos.residence_records import (
    AddressRecord,
    Basis,
    Identity,
    ServiceEntry,
    StatusLogRecord,
    StatusRecord,
    build_services,
    parse_services,
)

D1, D2 = bytes.fromhex("20070618"), bytes.fromhex("20170501")

RECORDS = [
    (ApplicationFile(bytes(range(8)), asn_of("00001000000147"), D1, D2), 30),
    (PurseLogRecord(5, 0, 1250, 6, bytes(6), D1, bytes.fromhex("103000")), 23),
    (IssuerData("9156030800000010", 100_000), 64),
    (CardFile("00001000000147", b"LOT00001", D1, bytes.fromhex("00001C")), 64),
    (PsamInfo(bytes(range(10))), 14),
    (PsamApplication(1, bytes(8), bytes(8), D1, D2), 25),
    (StatusRecord(3, 1, 7, D1, D2, D2, 1, bytes.fromhex("00001C"), bytes(range(8))), 32),
    (AddressRecord("4403080030010100001002001", D1, "盐田区沙头角街道"), 87),
    (Basis(1, D1), 8),
    (StatusLogRecord(7, 3, bytes.fromhex("00001C"), D1), 12),
    (
        Identity(
            "张三", "994403197202290012", 1, 1, D1, "440308000000000012", 1, "深圳市公安局", D1, D2
        ),
        128,
    ),
]


@pytest.mark.parametrize(("record", "length"), RECORDS, ids=lambda r: type(r).__name__)
def test_a_record_reads_back_as_it_was_written(record, length) -> None:  # type: ignore[no-untyped-def]
    raw = bytes(record)
    assert len(raw) == length
    assert type(record).parse(raw) == record
    with pytest.raises(ValueError):
        type(record).parse(raw[:-1])


def test_the_status_record_of_the_specification() -> None:
    body = "010301000000072007061820070916201705010001" + "00001C"
    record = StatusRecord(
        status=3,
        causes=1,
        ssn=7,
        effective=D1,
        lease_until=bytes.fromhex("20070916"),
        valid_until=D2,
        policy=1,
        writer=bytes.fromhex("00001C"),
    )
    assert record.body.hex().upper() == body


def test_the_card_factor_is_the_card_serial_with_two_zeros_in_front() -> None:
    asn = asn_of("12345678901234")
    assert asn.hex() == "00000012345678901234"
    assert card_factor(asn).hex() == "0012345678901234"
    with pytest.raises(ValueError):
        asn_of("123")


def test_a_persons_data_do_not_show_in_a_repr() -> None:
    identity = RECORDS[-1][0]
    assert "张三" not in repr(identity)
    assert "994403" not in repr(identity)


services = st.builds(
    ServiceEntry, st.integers(1, 0xFFFE), st.integers(0, 0xFFFF), st.booleans(), st.booleans()
)


@given(st.lists(services, max_size=16).map(tuple))
def test_the_service_directory_keeps_every_entry(entries: tuple[ServiceEntry, ...]) -> None:
    assert parse_services(build_services(entries)) == entries


def test_a_fresh_service_directory_is_empty() -> None:
    assert parse_services(b"\xff" * 128) == ()
    with pytest.raises(ValueError):
        build_services((ServiceEntry(1, 1, True, False),) * 17)
