"""Keys, PINs and blocking: counters, locks, what protects what."""

import pytest

from cardos.memory import PowerCut
from core import crypto
from tests.chip_bench import PURSE_AID, WHITE, Host, bank, key, white


@pytest.fixture
def host() -> Host:
    return bank()


def test_wrong_authentications_lock_the_key_for_ever():
    host = white()
    assert [host.authenticate(bytes(8)) for _ in range(4)] == [0x63C2, 0x63C1, 0x63C0, 0x6983]
    host.card.reset()
    assert host.authenticate(b"\xff" * 8) == 0x6983


def test_a_key_that_protects_must_be_there_and_open():
    """6A88 without a control key or line key anywhere, 9303 for a line key written as locked."""
    host = white()
    host.ok("800E000000")
    assert host.create(0, bytes.fromhex("3F0080F0F0FFFF")) == 0x9000
    assert host.create(0x15, bytes.fromhex("A80010F0F0FFFF")) == 0x9000
    assert host.protected("84D40100", bytes(21), WHITE, cipher=True)[1] == 0x6A88
    assert host.protected("04D69500", b"\xaa", WHITE)[1] == 0x6A88
    host.ok("80D4010015" + "36F0F0FF30" + key("line").hex())
    assert host.protected("04D69500", b"\xaa", key("line"))[1] == 0x9303


def test_a_locked_control_key_is_told_before_a_right_that_is_not_met(host):
    for _ in range(3):
        host.protected("84D40105", bytes(21), bytes(16), cipher=True)
    host.ok("00A40000023F00")
    assert host.create(0x3F05, bytes.fromhex("380100F0F000FFFF") + b"BELOW") == 0x9000
    host.select(PURSE_AID)
    assert host.protected("84D40105", bytes(21), key("control"), cipher=True)[1] == 0x6983


def test_wrong_macs_on_write_key_lock_the_control_key(host):
    body = bytes.fromhex("3EF0F00100") + bytes(16)
    codes = [host.protected("84D40105", body, bytes(16), cipher=True)[1] for _ in range(4)]
    assert codes == [0x9302, 0x9302, 0x9302, 0x6983]


def test_a_full_key_file_refuses_another_key():
    host = white()
    assert host.create(0x3F01, bytes.fromhex("380100F0F000FFFF") + b"SMALL") == 0x9000
    host.select(b"SMALL")
    assert host.create(0, bytes.fromhex("3F003080F0FFFF")) == 0x9000  # two records of 24 bytes
    for key_id in (1, 2):
        host.ok(f"80D401{key_id:02X}15" + "3EF0F00100" + "00" * 16)
    before = host.card._memory.dump()
    assert host.sw("80D4010315" + "3EF0F00100" + "00" * 16) == 0x6A84
    assert host.card._memory.dump() == before


@pytest.mark.parametrize("pin", ["123456", "999999"])
def test_a_try_is_counted_before_it_is_made(host, pin):
    """Whoever pulls the card before the answer has used up a try, right or wrong (purse-card.md 8.10)."""
    before = host.card.writes
    assert host.sw("0020000003999999") == 0x63C2
    spent = host.card.writes - before
    host.ok("0020000003123456")
    for left in (2, 1):
        host.card.power_cut_after(spent)
        if pin == "123456":  # it writes more: the tries coming back
            with pytest.raises(PowerCut):
                host.sw("0020000003" + pin)
        else:
            assert host.sw("0020000003" + pin) == 0x63C0 | left
        host.card.keep_power()
        host.card.reset()
        host.select(PURSE_AID)
    assert host.sw("0020000003999999") == 0x63C0


def test_wrong_pins_and_the_way_back(host):
    wrong = "0020000003999999"
    assert [host.sw(wrong) for _ in range(4)] == [0x63C2, 0x63C1, 0x63C0, 0x6983]
    assert host.sw("0020000003123456") == 0x6983
    host.protected_ok("84240000", bytes.fromhex("654321"), key("unblock"), cipher=True)
    host.ok("0020000003654321")
    host.ok("0020000005654321FFFF")  # filler does not count


def test_a_locked_pin_is_not_opened_by_writing_it(host):
    """The counter is taken over only if the key is not locked (purse-card.md 4.1)."""
    assert host.create(0x4F01, bytes.fromhex("380100F0F000FFFF") + b"INNER") == 0x9000
    host.select(b"INNER")
    assert host.create(0, bytes.fromhex("3F004080F0FFFF")) == 0x9000
    host.ok("80D4010008" + "3AF0F01122123456")
    host.ok("80D43A0008" + "3AF0F01133654321")
    wrong = "0020000003999999"
    assert [host.sw(wrong) for _ in range(3)] == [0x63C2, 0x63C1, 0x63C0]  # three of the new record
    assert host.sw("80D43A0008" + "3AF0F01133654321") == 0x6983


def test_change_pin_to_another_length_keeps_the_other_keys(host):
    host.ok("805E0100" + "08" + "123456FF98765432")
    host.ok("0020000004" + "98765432")
    assert host.authenticate(key("control")) == 0x9000
    host.load(500)
    assert host.sw("805E010007" + "111111FF222222") == 0x63C2
    assert host.sw("805E010007" + "FF123456123456") == 0x6A80


def test_a_pin_that_grows_needs_room_in_the_key_file():
    host = white()
    assert host.create(0x3F01, bytes.fromhex("380100F0F000FFFF") + b"SMALL") == 0x9000
    host.select(b"SMALL")
    assert host.create(0, bytes.fromhex("3F000B80F0FFFF")) == 0x9000  # one PIN of three bytes
    host.ok("80D4010008" + "3AF0EF1133123456")
    assert host.sw("805E010008" + "123456FF12345678") == 0x6A84
    host.ok("0020000003123456")


def test_a_locked_pin_is_not_changed_with_the_right_one(host):
    for _ in range(3):
        host.sw("0020000003999999")
    assert host.sw("805E010007123456FF112233") == 0x6983


def test_a_pin_of_another_length_ends_a_begun_purchase(host):
    """Its records move in the key file: the session must not look for its key in the old place."""
    host.load(1000)
    answer, _ = host.initialize(1, 2, 100)
    host.ok("805E010008123456FF98765432")
    assert host.sw(host.debit_command(answer, 100, 6)) == 0x6901
    host.purchase(100)
    assert host.balance() == 900


def test_without_the_service_keys_a_pin_cannot_be_helped():
    host = white()
    host.ok("80D4010008" + "3AF0EF1130123456")
    assert host.sw("805E000007112233" + "00" * 4) == 0x9403
    host.challenge()
    assert host.sw("842400000C" + "00" * 12) == 0x9403


def test_reload_pin_counts_its_failures(host):
    mac = crypto.reload_pin_mac(key("reload"), bytes.fromhex("112233"))
    assert host.sw("805E000007112233" + "00" * 4) == 0x9302
    host.ok("805E000007112233" + mac.hex())
    host.ok("0020000003112233")
    bad = "805E000007112233" + "00" * 4
    assert [host.sw(bad) for _ in range(4)] == [0x9302, 0x9302, 0x9302, 0x9303]


def test_three_wrong_line_macs_lock_the_application_for_ever(host):
    codes = [host.protected("04D69500", b"\xaa", bytes(16))[1] for _ in range(4)]
    assert codes == [0x6988, 0x6988, 0x9303, 0x9303]
    assert host.sw("805C000204") == 0x6A81


def test_three_failed_unblocks_lock_for_ever_over_resets(host):
    host.protected_ok("841E0000", b"", key("line"))
    codes = []
    for _ in range(4):
        host.card.reset()
        host.sw(bytes((0, 0xA4, 4, 0, 9)) + PURSE_AID)
        codes.append(host.protected("84180000", b"", bytes(16))[1])
    assert codes == [0x6988, 0x6988, 0x9303, 0x9303]


def test_a_blocked_application_gives_no_file_away(host):
    host.protected_ok("841E0000", b"", key("line"))
    assert host.sw("00A40000020015") == 0x6A81


def test_card_block_with_the_key_of_the_mf():
    """A directory without a line key uses the MF's; its last failure locks the MF, not the directory."""
    host = white()
    host.ok("80D4010015" + "36F0F0FF33" + key("mf line").hex())
    assert host.create(0x3F01, bytes.fromhex("380100F0F000FFFF") + b"EMPTY") == 0x9000
    host.select(b"EMPTY")
    codes = [host.protected("84160000", b"", bytes(16))[1] for _ in range(4)]
    assert codes == [0x6988, 0x6988, 0x9303, 0x9303]
    assert host.sw("00A40000023F00") == 0x6A81


def test_card_block_is_the_end(host):
    host.protected_ok("84160000", b"", key("line"))
    atr = host.card.atr
    assert host.card.reset() == atr
    for command in ("00A40000023F00", "0084000004", "00C0000000", "FFFFFFFF"):
        assert host.sw(command) == 0x6A81


@pytest.mark.parametrize(
    "command",
    [
        "80D4010008" + "3AF0EF1133123456",
        "0082000008" + "00" * 8,
        "0088000008" + "00" * 8,
        "0020000003123456",
        "805E000007112233" + "00" * 4,
        "842400000C" + "00" * 12,
    ],
)
def test_a_directory_without_a_key_file(command):
    host = white()
    host.ok("800E000000")
    host.challenge()
    assert host.sw(command) == 0x6A82


@pytest.mark.parametrize(
    "record",
    [
        "3EF0F00100",  # no key at all
        "35F0F00100" + "00" * 16,  # a type the table does not know
        "3BF0F00100" + "00" * 16,
        "3AF0EF113312",  # a PIN has 2 to 8 bytes
        "3AF0EF1133" + "12" * 9,
        "3EF0F00100" + "00" * 12,  # a key has 8 or 16
        "3EF0F00104" + "00" * 8,  # SM4 has 16
        "3EF0F00103" + "00" * 16,  # no such algorithm
    ],
)
def test_records_that_are_no_keys(host, record):
    before = host.card._memory.dump()[2048:]
    assert host.sw(f"80D40109{len(record) // 2:02X}" + record) == 0x6A80
    assert host.card._memory.dump()[2048:] == before


def test_an_update_is_checked_like_a_new_key(host):
    assert host.sw("80D43E0115" + "3EF0F00102" + "00" * 16) == 0x6A80
    assert host.sw("80D43E0105" + "3EF0F00100") == 0x6A80


def test_the_right_to_add_and_the_right_to_change():
    """Right before MAC: a stranger cannot burn the control key where the right is closed (17)."""
    host = white()
    assert host.create(0x3F01, bytes.fromhex("380200F0F000FFFF") + b"CLOSED") == 0x9000
    host.select(b"CLOSED")
    assert host.create(0, bytes.fromhex("3F010080F2FFFF")) == 0x9000  # state 2 to add
    host.ok("80D4010015" + "39F0EF2233" + key("control").hex())  # never to be changed
    host.ok("80D4010115" + "3EF0EF0100" + "00" * 16)
    host.ok("80D4010215" + "3EF0F10100" + "00" * 16)
    host.select(b"CLOSED")
    new = "3EF0F00100" + "11" * 16
    assert host.sw("80D4010315" + new) == 0x6982
    assert host.sw("80D43E0115" + new) == 0x6982
    for _ in range(4):
        assert host.protected("84D40103", bytes.fromhex(new), bytes(16), cipher=True)[1] == 0x6982
        assert host.protected("84D43900", bytes(21), bytes(16), cipher=True)[1] == 0x6982
    assert host.sw("80D43E0215" + new) == 0x6982
    assert host.authenticate(key("control")) == 0x9000
    assert host.sw("80D4010315" + new) == 0x9000
    assert host.sw("80D43E0215" + new) == 0x9000
    assert host.sw("80D43E0115" + new) == 0x6982


def test_a_protected_write_key_without_data_has_no_protection(host):
    host.challenge()
    assert host.sw("84D4010904" + "00" * 4) == 0x6987


@pytest.fixture
def reserved() -> Host:
    """A directory whose every key is for use in state 2 only, reached by the external key 01."""
    host = white()
    assert host.create(0x3F01, bytes.fromhex("380300F0F000FFFF") + b"STATE2") == 0x9000
    host.select(b"STATE2")
    assert host.create(0, bytes.fromhex("3F018080F0FFFF")) == 0x9000
    host.ok("80D4010115" + "39F0F02233" + key("entry").hex())
    host.ok("80D4010015" + "39F2F02233" + key("control").hex())
    for kind in ("36", "37", "38"):
        host.ok("80D4010015" + kind + "F2F0FF33" + key("service").hex())
    for kind in ("30", "31", "32"):
        host.ok("80D4010015" + kind + "F2F00100" + key("internal").hex())
    host.ok("80D4010008" + "3AF2EF2233123456")
    host.select(b"STATE2")
    return host


def test_every_key_has_a_right_of_use(reserved):
    mac = crypto.reload_pin_mac(key("service"), bytes.fromhex("112233")).hex()
    for command in (
        "0020000003123456", "805E010007123456FF112233", "805E000007112233" + mac,
        "0088000008" + "00" * 8, "0088010008" + "00" * 8, "0088020008" + "00" * 8,
    ):  # fmt: skip
        assert reserved.sw(command) == 0x6982
    assert reserved.authenticate(key("control")) == 0x6982
    for header in ("841E0000", "84180000", "84160000"):
        assert reserved.protected(header, b"", key("service"))[1] == 0x6982
    unblock = bytes.fromhex("112233")
    assert reserved.protected("84240000", unblock, key("service"), cipher=True)[1] == 0x6982
    assert reserved.authenticate(key("entry"), 1) == 0x9000
    reserved.protected_ok("84240000", unblock, key("service"), cipher=True)
    reserved.ok("805E010007112233FF445566")
    reserved.ok("805E000007112233" + mac)
    reserved.ok("0020000003112233")
    assert reserved.authenticate(key("control")) == 0x9000


def test_internal_authentication(reserved):
    assert reserved.authenticate(key("entry"), 1) == 0x9000
    value, data = key("internal"), bytes(range(11))
    padded = crypto.pad80(data)
    sent = bytes((len(data),)) + data
    assert reserved.ok(b"\x00\x88\x00\x00" + sent) == crypto.des_encrypt(value, padded)
    assert reserved.ok(b"\x00\x88\x01\x00" + sent) == crypto.des_decrypt(value, padded)
    assert reserved.ok(b"\x00\x88\x02\x00" + sent) == crypto.sm_mac(value, bytes(8), data)
    assert reserved.sw(b"\x00\x88\x00\x00\xe8" + bytes(232)) == 0x9000
    assert reserved.sw(b"\x00\x88\x00\x00\xe9" + bytes(233)) == 0x6700  # 240 bytes of answer
    assert reserved.sw(b"\x00\x88\x03\x00" + sent) == 0x6A86
    assert reserved.sw(b"\x00\x88\x00\x07" + sent) == 0x6A88
    assert reserved.card._chip.session.state == 2  # it never changes the state


def test_authentication_in_the_mf_sets_both_states():
    host = white()
    assert host.create(0x3F01, bytes.fromhex("3801000202FFFFFF") + b"BELOW") == 0x9000
    assert host.authenticate(WHITE) == 0x9000
    host.select(b"BELOW")
    session = host.card._chip.session
    assert (session.mf_state, session.state) == (2, 0)
    host.ok("00A4000000")
    assert (session.mf_state, session.state) == (2, 2)


def test_an_unblock_where_nothing_is_blocked_is_fine(host):
    host.protected_ok("84180000", b"", key("line"))
    assert host.balance() == 0


def test_a_pin_that_never_was_cannot_be_unblocked_or_reloaded(host):
    assert host.protected("84240900", b"\x11\x22\x33", key("unblock"), cipher=True)[1] == 0x9403
    assert host.sw("805E0009" + "07" + "112233" + "00" * 4) == 0x9403
    too_long = b"\x99" * 9
    assert host.protected("84240000", too_long, key("unblock"), cipher=True)[1] == 0x6A80
    host.ok("0020000003123456")


def test_the_unblock_key_dies_after_its_failures(host):
    pin = bytes.fromhex("112233")
    codes = [host.protected("84240000", pin, bytes(16), cipher=True)[1] for _ in range(3)]
    assert codes == [0x6988, 0x6988, 0x6988]
    assert host.protected("84240000", pin, key("unblock"), cipher=True)[1] == 0x9303
    host.ok("0020000003123456")  # the PIN itself is as it was
