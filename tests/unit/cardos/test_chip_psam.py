"""The terminal's module: serials, locks, keys, generic crypto."""

import pytest

from core import crypto
from tests.chip_bench import PURSE_AID, key, psam, white


def test_psam_serials_are_never_used_twice():
    host = psam()
    init = "807000001C0BC5764200ED00000F360620071126093015" + "0100" + "5180484934206731"
    first = host.ok(init)
    second = host.ok(init)
    assert (first[:4].hex(), second[:4].hex()) == ("00000000", "00000001")
    assert host.sw("00D6980004FFFFFFFF") == 0x6982


def test_the_terminal_serial_is_kept_by_the_os_even_without_a_file():
    host = white("psam")
    assert host.create(0x16, bytes.fromhex("280006F0F0FFFF")) == 0x9000
    host.ok("00D6960006" + "328588251894")
    assert host.create(0xDF01, bytes.fromhex("380060F0F000FFFF") + PURSE_AID) == 0x9000
    host.select(PURSE_AID)
    assert host.create(0, bytes.fromhex("3F003095F0FFFF")) == 0x9000
    host.ok("80D4000013" + "220100" + key("master").hex())
    init = "807000001C0BC5764200ED00000F360620071126093015" + "0100" + "5180484934206731"
    assert [host.ok(init)[:4].hex() for _ in range(3)] == ["00000000", "00000001", "00000002"]
    host.card.reset()
    host.select(PURSE_AID)
    assert host.ok(init)[:4].hex() == "00000003"
    assert host.ok("00B0980004").hex() == "00000004"
    assert host.sw("00D6980004FFFFFFFF") == 0x6982


def test_psam_locks_its_purchase_key_after_three_false_cards():
    host = psam()
    init = "807000001C0BC5764200ED00000F360620071126093015" + "0100" + "5180484934206731"
    assert host.sw("807200000400000000") == 0x6901
    host.ok(init)
    assert [host.sw("807200000400000000") for _ in range(4)] == [0x9302, 0x9302, 0x9302, 0x9303]
    assert host.sw(init) == 0x9303


@pytest.mark.parametrize(
    ("tail", "sw"),
    [
        ("0620071126093015" + "0200" + "00" * 8, 0x9403),
        ("0620071126093015" + "0101" + "00" * 8, 0x9403),
        ("0120071126093015" + "0100" + "00" * 8, 0x6A80),
        ("0620071126093015" + "0100", 0x6700),
        ("0620071126093015" + "0100" + "00" * 16, 0x6700),
    ],
)
def test_psam_refuses(tail, sw):
    host = psam()
    body = bytes.fromhex("0BC5764200ED00000F36" + tail)
    assert host.sw(b"\x80\x70\x00\x00" + bytes((len(body),)) + body) == sw


def test_psam_checks_tacs_and_makes_line_macs():
    host = psam()
    factor = bytes(range(8))
    message = crypto.pad80(b"a transaction")
    host.ok("801A0401")  # usage 04 has no level: the key itself
    answer = host.ok(b"\x80\xfa\x05\x00" + bytes((8 + len(message),)) + bytes(8) + message)
    assert answer == crypto.tac(key("tac master"), b"a transaction")
    host.ok(b"\x80\x1a\x25\x01\x08" + factor)
    line = crypto.diversify(key("maintenance"), factor)
    text = bytes.fromhex("04D6950005AA")
    blocks = crypto.pad80(text)
    host.ok(b"\x80\xfa\x07\x00\x10" + b"\x11" * 8 + blocks)
    host.ok(b"\x80\xfa\x03\x00\x08" + bytes(8))
    last = host.ok(b"\x80\xfa\x01\x00\x08" + crypto.pad80(b""))
    assert last == crypto.sm_mac(line, b"\x11" * 8, blocks + bytes(8))
    assert host.sw("801A220108" + "00" * 8) == 0x6981  # a purchase key does nothing else


def test_psam_keys_in_the_form_of_card_keys():
    """P1 01 with the usage as type byte: purchase keys by version, others by key id (purse-card.md 9.2)."""
    host = psam()
    factor = bytes(range(8))
    for key_id, usage, version, label in ((5, 0x22, 4, "four"), (6, 0x28, 1, "six")):
        body = bytes((usage, 0xF0, 0xF0, version, 0)) + key(label)
        host.protected_ok(f"84D401{key_id:02X}", body, key("psam control"), cipher=True)
    init = "807000001C0BC5764200ED00000F360620071126093015" + "0400" + factor.hex()
    card_key = crypto.diversify(key("four"), factor)
    session = crypto.purse_session_key(card_key, bytes.fromhex("0BC57642"), b"\x00\xed", bytes(2))
    text = bytes.fromhex("00000F3606" + "328588251894" + "20071126093015")
    assert host.ok(init) == bytes(4) + crypto.purse_mac(session, text)
    host.ok(b"\x80\x1a\x28\x06\x08" + factor)
    expected = crypto.des_encrypt(crypto.diversify(key("six"), factor), factor)
    assert host.ok(b"\x80\xfa\x00\x00\x08" + factor) == expected
    record = bytes.fromhex("36F0F0FF33") + key(
        "a line key"
    )  # a card's key serves in a PSAM as well
    host.protected_ok("84D40100", record, key("psam control"), cipher=True)


def test_sm4_masters_do_not_compute_in_des():
    host = psam()
    host.protected_ok("84D40000", bytes.fromhex("280704") + key("sm4"), key("psam control"), True)
    assert host.sw("801A280708" + "00" * 8) == 0x6981
