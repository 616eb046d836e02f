"""Data preparation: what a card holds and shows, from one register record (production.md 2.1)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardos import spec
from cardos.records import ApplicationFile, CardFile, IssuerData
from cardos.residence_records import AddressRecord, Basis, Identity, StatusRecord
from core.errors import Rejected
from personalization import artwork, orders, records
from personalization.chip import DataGroup
from tests.station_bench import ClearKeys, bound, card_data

TEMPLATE = artwork.released()


def content(made: records.Bound, directory: int, file: int) -> bytes:
    return next(g.data for g in made.chip.groups if (g.directory, g.file) == (directory, file))


def test_files_hold_what_the_register_says() -> None:
    data, made = card_data(5), bound(5)
    serial = made.chip.card_serial
    purse, residence = spec.FID_PURSE_ADF, spec.FID_RESIDENCE_ADF
    application = ApplicationFile.parse(content(made, purse, 0x15))
    assert application.asn.hex() == "000000" + serial
    assert (application.start.hex(), application.end.hex()) == ("20070618", "20170617")
    assert IssuerData.parse(content(made, purse, 0x17)).account == data.purse_account
    holder = content(made, purse, 0x16)
    assert holder == b"\x01" + bytes(54)  # no name and no number: every till reads it
    card = CardFile.parse(content(made, spec.FID_MF, 0x05))
    assert (card.card_serial, card.chip_lot.lstrip(b"\0"), card.point) == (
        serial,
        b"07001",
        b"\0\0\x0b",
    )
    identity = Identity.parse(content(made, residence, 1))
    assert (identity.name, identity.citizen_id) == (data.name, data.citizen_id)
    assert identity.permit_no == data.permit_no
    address = AddressRecord.parse(content(made, residence, 2))
    assert (address.code, address.text) == (data.address_code, data.address_text)
    status = StatusRecord.parse(content(made, residence, 3))
    assert (status.status, status.causes, status.writer) == (1, 0, bytes(3))
    assert status.mac == ClearKeys().status_mac(status.body, serial)
    assert Basis.parse(content(made, residence, 6)).kind == data.basis.number
    assert len(content(made, residence, 7)) <= 4096
    assert made.art.texts["qr"] == f"R1{serial}"
    assert made.data_sha256 == orders.data_digest(data)


def test_the_lot_and_the_chip_change_nothing_that_was_approved() -> None:
    first, second = bound(5), bound(5, serial=b"CHIP0009")
    assert first.data_sha256 == second.data_sha256
    assert first.chip.groups == second.chip.groups


def test_a_text_that_does_not_fit_is_refused_before_the_feed() -> None:
    long = card_data(1, address_text="深" * 36)
    with pytest.raises(Rejected) as refused:
        records.prepare(long, TEMPLATE)
    assert refused.value.code in ("D-TEXT", "A-FIT")


def test_the_longest_data_of_both_kinds_fit() -> None:
    records.prepare(card_data(1, address_text="深" * 35), TEMPLATE)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(records.APPLICATIONS), st.integers(0, 255), st.binary(max_size=600)
        ),
        max_size=8,
    )
)
def test_data_groups_come_back(groups: list[tuple[int, int, bytes]]) -> None:
    made = tuple(DataGroup(*group) for group in groups)
    assert records.decode(records.encode(made)) == made


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.binary(max_size=40))
def test_a_damaged_record_is_a_value_error_or_a_record(raw: bytes) -> None:
    try:
        groups = records.decode(raw)
    except ValueError:
        return
    assert records.decode(records.encode(groups)) == groups


def test_no_person_shows_in_a_repr() -> None:
    data, made = card_data(1), bound(1)
    prepared = records.prepare(data, TEMPLATE)
    for thing in (prepared, made, made.chip, made.chip.groups, made.art):
        assert data.name not in repr(thing)
        assert data.citizen_id not in repr(thing)
