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
