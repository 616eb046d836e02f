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


def test_a_usage_key_needs_a_key_file():
    host = white("psam")
    assert host.create(0xDF01, bytes.fromhex("380080F0F000FFFF") + PURSE_AID) == 0x9000
    host.select(PURSE_AID)
    assert host.sw("80D4000013" + "220100" + "00" * 16) == 0x6A82
    assert host.sw("80D4010515" + "22F0F00100" + "00" * 16) == 0x6A82


@pytest.mark.parametrize(
    ("plain", "sw"),
    [
        ("220800" + "00" * 15, 0x6A80),  # a key has 16 bytes
        ("220802" + "00" * 16, 0x6A80),  # algorithm 02
        ("020800" + "00" * 16, 0x6A80),  # a purchase key has one level at least
        ("220800" + "00" * 16, 0x9000),
    ],
)
def test_usage_records_are_checked(plain, sw):
    host = psam()
    before = host.card._memory.dump()[2048:]
    body = bytes.fromhex(plain)
    assert host.protected("84D40000", body, key("psam control"), cipher=True)[1] == sw
    assert (host.card._memory.dump()[2048:] == before) is (sw != 0x9000)


def test_the_control_key_in_usage_form_replaces_the_old_one():
    host = psam()
    plain = bytes.fromhex("000000") + key("new control")
    host.protected_ok("84D40000", plain, key("psam control"), cipher=True)
    assert host.authenticate(key("psam control")) == 0x63C2
    assert host.authenticate(key("new control")) == 0x9000


def test_a_usage_key_is_replaced_under_protection_only_and_opens_again():
    host = psam()
    init = "807000001C0BC5764200ED00000F360620071126093015" + "0100" + "5180484934206731"
    host.ok(init)
    for _ in range(3):
        host.sw("807200000400000000")
    assert host.sw(init) == 0x9303
    plain = bytes.fromhex("220100") + key("another master")
    assert host.sw(b"\x80\xd4\x00\x00\x13" + plain) == 0x6987
    host.protected_ok("84D40000", plain, key("psam control"), cipher=True)
    assert host.sw(init) == 0x9000


def test_the_terminal_serial_ends():
    from cardos.filesystem import Node, binary_changes

    host = psam()
    node = Node(host.card._memory, host.card._chip.session.df).child(0x18)
    host.card._memory.commit(binary_changes(node, 0, b"\xff" * 4))
    init = "807000001C0BC5764200ED00000F360620071126093015" + "0100" + "5180484934206731"
    assert host.sw(init) == 0x9402
    assert host.ok("00B0980004") == b"\xff" * 4


def test_a_blocked_psam_makes_no_mac():
    host = psam()
    record = bytes.fromhex("36F0F0FF33") + key("line")
    host.protected_ok("84D40100", record, key("psam control"), cipher=True)
    host.protected_ok("841E0000", b"", key("line"))
    init = "807000001C0BC5764200ED00000F360620071126093015" + "0100" + "5180484934206731"
    assert host.sw(init) == 0x6A81
    host.protected_ok("84180000", b"", key("line"))
    host.ok(init)


@pytest.mark.parametrize(
    ("usage", "command", "sw"),
    [
        (0x06, "80FA000008" + "00" * 8, 0x6981),  # a MAC key does not encrypt
        (0x07, "80FA050010" + "00" * 16, 0x6981),  # an encryption key makes no MAC
        (0x0E, "80FA050010" + "00" * 16, 0x6981),
        (0x08, "80FA000008" + "00" * 8, 0x9000),
        (0x08, "80FA050010" + "00" * 16, 0x9000),
        (0x08, "80FA050008" + "00" * 8, 0x6700),  # an IV and nothing to make a MAC of
        (0x08, "80FA000009" + "00" * 9, 0x6700),  # padding is the caller's
        (0x08, "80FA040008" + "00" * 8, 0x6A86),
        (0x08, "80FA010008" + "00" * 8, 0x6901),  # no chain was begun
    ],
)
def test_what_a_temporary_key_may_do(usage, command, sw):
    host = psam()
    plain = bytes((usage, 9, 0)) + key("temporary")
    host.protected_ok("84D40000", plain, key("psam control"), cipher=True)
    host.ok(bytes((0x80, 0x1A, usage, 9)))
    assert host.sw(command) == sw


INIT = "807000001C0BC5764200ED00000F36{type}20071126093015" + "0100" + "5180484934206731"


def test_usage_keys_need_the_right_to_add():
    host = white("psam")
    assert host.create(0xDF01, bytes.fromhex("380100F0F000FFFF") + PURSE_AID) == 0x9000
    host.select(PURSE_AID)
    assert host.create(0, bytes.fromhex("3F008080F2FFFF")) == 0x9000
    host.ok("80D4010015" + "39F0F02233" + key("control").hex())
    host.select(PURSE_AID)
    assert host.sw("80D4000013" + "220100" + "00" * 16) == 0x6982
    assert host.authenticate(key("control")) == 0x9000
    assert host.sw("80D4000013" + "220100" + "00" * 16) == 0x9000


def test_a_control_key_keeps_its_length_in_usage_form():
    host = white("psam")  # its control key has eight bytes
    assert host.sw("80D4000013" + "000000" + "00" * 16) == 0x6700
    assert host.authenticate(b"\xff" * 8) == 0x9000


def test_a_failed_8070_ends_the_one_before():
    host = psam()
    host.ok(INIT.format(type="06"))
    assert host.sw(INIT.format(type="01")) == 0x6A80
    assert host.sw("807200000400000000") == 0x6901


def test_a_terminal_serial_in_a_file_of_another_kind_is_not_found():
    host = white("psam")
    assert host.create(0x16, bytes.fromhex("280006F0F0FFFF")) == 0x9000
    assert host.create(0xDF01, bytes.fromhex("380100F0F000FFFF") + PURSE_AID) == 0x9000
    host.select(PURSE_AID)
    assert host.create(0, bytes.fromhex("3F008080F0FFFF")) == 0x9000
    host.ok("80D4000013" + "220100" + "00" * 16)
    assert host.create(0x18, bytes.fromhex("280003F0F0FFFF")) == 0x9000  # too small
    assert host.sw(INIT.format(type="06")) == 0x6A82
