"""One command, one rule at a time: good and bad input, the status word, the state unchanged."""

import pytest

from cardos import spec
from cardos.memory import Eeprom, JournalFull
from core import crypto
from tests.chip_bench import PURSE_AID, TERMINAL, WHEN, WHITE, Host, bank, key, psam, white

T = TERMINAL.hex()


@pytest.fixture
def host() -> Host:
    return bank()


# -- order of checks and general rules --------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        ("", 0x6700),
        ("00", 0x6700),
        ("00A400", 0x6700),
        ("0084000004FF", 0x6700),  # Lc does not fit
        ("10A4000000", 0x6E00),
        ("00FF000000", 0x6D00),
        ("0050000000", 0x6E00),  # known instruction, other class
        ("E07A080000", 0x6D00),  # grey lock is not built
        ("E050000000", 0x6E00),
        ("80700000" + "14" + "00" * 20, 0x6D00),  # a permit chip is no PSAM
        ("00A4010000", 0x6A86),
        ("00A4040203414141", 0x6A86),
        ("00A4040003414141", 0x6700),
        ("0084000005", 0x6700),
        ("00840000", 0x6700),
        ("0084010004", 0x6A86),
        ("00C0000000", 0x6985),
        ("00C0010000", 0x6A86),
        ("805007020B0100000000" + T, 0x6A86),
        ("805000020A01000000" + T[:-2], 0x6700),
        ("805001020B0100000000" + T + "10", 0x6700),  # wrong Le
        ("805A0008020001", 0x6A86),
        ("805200000B" + "00" * 11, 0x6901),
        ("805401000F" + "00" * 15, 0x6901),
        ("80DC01CC0401020304", 0x6901),
        ("00B0950100", 0x6281),
        ("00B095FF00", 0x6B00),
        ("00B095001F", 0x6C1E),
        ("00B0950014", 0x6281),
        ("00B09500F0", 0x6700),  # more than an answer holds
        ("00A40000023F0005", 0x6C17),
        ("00B2AAD000", 0x6981),  # by tag: variable files only
        ("00B0A00000", 0x6A86),
        ("00B0800000", 0x6A86),
        ("00B0000000", 0x6A82),  # no current file
        ("00B0980000", 0x6981),  # the log is no binary file
        ("00B0810000", 0x6981),  # nor is the purse
        ("00B2010C00", 0x6981),
        ("00B201C400", 0x6A83),
        ("00B201C200", 0x6A86),
        ("00B201AC00", 0x6981),
        ("00D6950001AA", 0x6987),
        ("00E200C017" + "00" * 23, 0x6982),  # the log is the card's own
        ("04B0950001", 0x6987),
        ("04B09500041122334401", 0x6984),
        ("04B2019401", 0x6A82),
        ("04B201C400", 0x6900),
        ("80D4FEFF01AA", 0x6A86),
        ("80D40500" + "01AA", 0x6A86),
        ("80D43E0915" + "3EF0F00100" + "00" * 16, 0x6A88),
        ("80D4010915" + "3EF0F00102" + "00" * 16, 0x6A80),  # algorithm 02
        ("80D4010115" + "3EF0F00100" + "00" * 16, 0x6A80),  # the id is taken
        ("80D4010914" + "3EF0F00100" + "00" * 15, 0x6A80),
        ("80D43E010D" + "3EF0F00100" + "00" * 8, 0x6700),  # other length than before
        ("80D43E0115" + "3FF0F00100" + "00" * 16, 0x6A80),  # other type than before
        ("0082000908" + "00" * 8, 0x6A88),
        ("0082000008" + "00" * 8, 0x6984),
        ("0020000900", 0x6700),
        ("0020000903123456", 0x9403),
        ("0020000103123456", 0x6981),  # id 01 belongs to other types
        ("84240000" + "0B" + "00" * 11, 0x6700),
        ("84240000" + "0C" + "00" * 12, 0x6984),
        ("841E0002" + "04" + "00" * 4, 0x6A86),
        ("8418000004" + "00" * 4, 0x6984),
        ("80E000150728000AF0F0FFFF", 0x6A86),  # exists
        ("80E000220728000AF0F0FF", 0x6700),
        ("80E000220729000AF0F0FFFF", 0x6A80),
        ("80E00022072A0110F0F0FFFF", 0x6A80),  # one record only
        ("80E00022073F0100F0F0FFFF", 0x6A86),  # a second key file
        ("80E0002207284000F0F0FFFF", 0x6A84),
        ("80E00003072F0208F000FF18", 0x6A80),  # a purse is 0001 or 0002
    ],
)
def test_status_words(host, command, sw):
    before = host.card._memory.dump()[2048:]
    assert f"{host.sw(command):04X}" == f"{sw:04X}"
    assert host.card._memory.dump()[2048:] == before


def test_a_challenge_serves_the_next_command_only():
    host = white()
    block = host.challenge().ljust(8, b"\x00")
    host.sw("00A40000023F00")
    cryptogram = crypto.des_encrypt(b"\xff" * 8, block)
    assert host.sw(b"\x00\x82\x00\x00\x08" + cryptogram) == 0x6984
    whole = host.challenge(8)  # eight bytes are used whole
    assert host.sw(b"\x00\x82\x00\x00\x08" + crypto.des_encrypt(b"\xff" * 8, whole)) == 0x9000


def test_a_command_that_is_none_takes_the_challenge_too():
    host = white()
    block = host.challenge().ljust(8, b"\x00")
    assert host.sw("00A4") == 0x6700
    assert host.sw(b"\x00\x82\x00\x00\x08" + crypto.des_encrypt(WHITE, block)) == 0x6984


def test_a_short_id_makes_its_file_the_current_one_and_select_ends_that(host):
    host.protected_ok("04D69500", bytes(range(30)), key("line"))
    host.ok("00B0950001")
    assert host.ok("00B0000404") == bytes((4, 5, 6, 7))
    host.select(PURSE_AID)
    assert host.sw("00B0000404") == 0x6A82


def test_a_blocked_application_gives_no_file_away(host):
    host.protected_ok("841E0000", b"", key("line"))
    assert host.sw("00A40000020015") == 0x6A81


def test_protected_answers_leave_room_for_their_mac(host):
    assert host.create(0x1B, bytes.fromhex("A800FFF0F0FF7F")) == 0x9000
    host.protected_ok("04D69B00", bytes(range(235)), key("line"))
    answer = host.protected_ok("04B09B00", b"", key("line"), le=235)
    assert answer[:-4] == bytes(range(235))
    assert host.protected("04B09B00", b"", key("line"), le=236)[1] == 0x6700
    assert len(host.protected_ok("04B09B00", b"", key("line"), le=0)) == 239
    assert host.create(0x1C, bytes.fromhex("EC00FFF0F0FFFF")) == 0x9000
    record = b"\xaa\xe2" + bytes(226)  # as much as an encrypted write carries
    host.protected_ok("04E200E0", record, key("line"), cipher=True)
    answer = host.protected_ok("04B201E4", b"", key("line"), le=0)
    assert crypto.sm_decrypt(key("line"), answer[:-4]) == record


def test_damaged_content_is_given_with_a_warning(host):
    from cardos.filesystem import Node

    host.protected_ok("04D69500", bytes(range(30)), key("line"))
    host.ok("00E200D010" + "11" * 16)
    directory = Node(host.card._memory, host.card._chip.session.df)
    for fid in (0x15, 0x1A):
        at = directory.child(fid).body + 3
        host.card._memory.program(at, bytes((host.card._memory.byte(at) ^ 1,)))
    data, sw = host.send("00B0950000")
    assert (sw, data[:4]) == (0x6281, bytes((0, 1, 2, 2)))
    data, sw = host.send("00B201D400")
    assert (sw, data[:4].hex()) == (0x6281, "11111110")


def test_state_is_a_level_and_a_later_pin_lowers_it(host):
    assert host.authenticate(key("control")) == 0x9000
    assert host.card._chip.session.state == 2
    host.ok("0020000003123456")
    assert host.card._chip.session.state == 1
    host.select(PURSE_AID)
    assert host.card._chip.session.state == 0


@pytest.mark.parametrize(
    ("right", "state", "mf", "met"),
    [
        (0xF0, 0, 0, True), (0xF1, 0, 0, False), (0xF1, 1, 0, True), (0x44, 4, 0, True),
        (0x44, 5, 0, False), (0xEF, 15, 15, False), (0x0F, 15, 14, False), (0x0F, 0, 15, True),
    ],
)  # fmt: skip
def test_rights(host, right, state, mf, met):
    chip = host.card._chip
    chip.session.free, chip.session.state, chip.session.mf_state = False, state, mf
    assert chip.allowed(right) is met


def test_the_empty_directory_is_free_until_it_is_left():
    host = white()
    assert host.create(0x3F01, bytes.fromhex("380200EFEF00FFFF") + b"CLOSED") == 0x9000
    host.select(b"CLOSED")
    assert host.create(0x15, bytes.fromhex("280008EFEFFFFF")) == 0x9000
    host.ok("00D6950001AA")
    host.select(b"CLOSED")
    assert host.create(0x16, bytes.fromhex("280008EFEFFFFF")) == 0x6982
    assert host.sw("00D6950001AA") == 0x6982
    assert host.sw("00B0950001") == 0x6982


def test_space_of_the_manuals_script():
    """879 bytes hold its purse directory, but not the 1500-byte file 0017 as well."""
    host = white()
    assert host.sw("80E03F011138036FF0F095FFFFA00000000386980701") == 0x9000
    host.select(PURSE_AID)
    for command in (
        "80E00000073F018F95F0FFFF", "80E0001507A8001EF0F0FFFF", "80E0001607A80027F0F0FFFF",
        "80E00018072E0A17F1EFFFFF", "80E00001072F0208F100FF18", "80E00002072F0208F000FF18",
    ):  # fmt: skip
        assert host.sw(command) == 0x9000
    assert host.sw("80E0001707A805DCF0F0FFFF") == 0x6A84


@pytest.mark.parametrize(("space", "sw"), [(838, 0x9000), (837, 0x6A84)])
def test_a_directory_pays_for_its_own_header_and_name(space, sw):
    """The manual's files need 838 bytes with 11 + 9 for the directory itself (purse-card.md 2.2)."""
    host = white()
    body = b"\x38" + space.to_bytes(2, "big") + bytes.fromhex("F0F095FFFF") + PURSE_AID
    assert host.create(0x3F01, body) == 0x9000
    host.select(PURSE_AID)
    for command in (
        "80E00000073F018F95F0FFFF", "80E0001507A8001EF0F0FFFF", "80E0001607A80027F0F0FFFF",
        "80E00018072E0A17F1EFFFFF", "80E00001072F0208F100FF18",
    ):  # fmt: skip
        assert host.sw(command) == 0x9000
    assert host.sw("80E00002072F0208F000FF18") == sw


def test_the_mf_is_the_whole_chip_and_gives_back_what_is_erased():
    host = white()
    room = spec.CHIP_MEMORY - spec.EF_HEADER - len(spec.MF_NAME) - (0x80 + spec.EF_HEADER)
    whole = (room - spec.EF_HEADER).to_bytes(2, "big").hex()
    more = (room - spec.EF_HEADER + 1).to_bytes(2, "big").hex()
    assert host.sw("80E00015 0728".replace(" ", "") + more + "F0F0FFFF") == 0x6A84
    assert host.sw("80E00015 0728".replace(" ", "") + whole + "F0F0FFFF") == 0x9000
    assert host.sw("80E0001607280001F0F0FFFF") == 0x6A84
    host.ok("800E000000")
    assert host.sw("80E00015 0728".replace(" ", "") + whole + "F0F0FFFF") == 0x9000


def test_the_order_of_checks_in_create_file():
    """Length, then existence, then right, then content, then space (purse-card.md 17)."""
    host = white()
    assert host.create(0x3F01, bytes.fromhex("380100EFEF00FFFF") + b"CLOSED") == 0x9000
    host.select(b"CLOSED")
    assert host.create(0x15, bytes.fromhex("280008F0F0FFFF")) == 0x9000
    host.select(b"CLOSED")  # the rights count: nothing may be created
    assert host.sw("80E000150828000AF0F0FFFF00") == 0x6700
    assert host.sw("80E000150728000AF0F0FFFF") == 0x6A86
    assert host.sw("80E000160729000AF0F0FFFF") == 0x6982
    assert host.sw("80E0001607287FFFF0F0FFFF") == 0x6982


def test_names_are_looked_up_here_beside_and_below():
    host = white()
    for fid, name in ((0x3F01, b"FIRST"), (0x3F02, b"OTHER")):
        assert host.create(fid, bytes.fromhex("380200F0F000FFFF") + name) == 0x9000
    host.select(b"FIRST")
    assert host.create(0x4F01, bytes.fromhex("380100F0F000FFFF") + b"OTHER") == 0x9000
    host.select(b"OTHER")  # the sibling goes before the child of the same name
    assert host.sw("00A40000024F01") == 0x6A82
    host.select(b"FIRST")
    host.ok("00A40000024F01")


def test_directories_nest_two_levels_below_the_mf():
    host = white()
    for fid, name in ((0x3F01, b"FIRST"), (0x3F02, b"SECOND")):
        assert host.create(fid, bytes.fromhex("380300F0F000FFFF") + name) == 0x9000
        if fid == 0x3F01:
            host.select(name)
            assert host.create(0x4F01, bytes.fromhex("380100F0F000FFFF") + b"INNER") == 0x9000
            host.ok("00A40000023F00")
    host.select(b"FIRST")
    host.select(b"SECOND")  # a sibling
    host.ok("00A40000023F01")
    host.select(b"INNER")
    assert host.create(0x5F01, bytes.fromhex("380020F0F000FFFF") + b"DEEPER") == 0x6A80
    assert host.sw("00A40000025F01") == 0x6A82


# -- keys and PINs ----------------------------------------------------------------------------------


def test_wrong_authentications_lock_the_key_for_ever():
    host = white()
    assert [host.authenticate(bytes(8)) for _ in range(4)] == [0x63C2, 0x63C1, 0x63C0, 0x6983]
    host.card.reset()
    assert host.authenticate(b"\xff" * 8) == 0x6983


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


def test_wrong_pins_and_the_way_back(host):
    wrong = "0020000003999999"
    assert [host.sw(wrong) for _ in range(4)] == [0x63C2, 0x63C1, 0x63C0, 0x6983]
    assert host.sw("0020000003123456") == 0x6983
    host.protected_ok("84240000", bytes.fromhex("654321"), key("unblock"), cipher=True)
    host.ok("0020000003654321")
    host.ok("0020000005654321FFFF")  # filler does not count


def test_change_pin_to_another_length_keeps_the_other_keys(host):
    host.ok("805E0100" + "08" + "123456FF98765432")
    host.ok("0020000004" + "98765432")
    assert host.authenticate(key("control")) == 0x9000
    host.load(500)
    assert host.sw("805E010007" + "111111FF222222") == 0x63C2
    assert host.sw("805E010007" + "FF123456123456") == 0x6A80


def test_reload_pin_counts_its_failures(host):
    mac = crypto.reload_pin_mac(key("reload"), bytes.fromhex("112233"))
    assert host.sw("805E000007112233" + "00" * 4) == 0x9302
    host.ok("805E000007112233" + mac.hex())
    host.ok("0020000003112233")
    bad = "805E000007112233" + "00" * 4
    assert [host.sw(bad) for _ in range(4)] == [0x9302, 0x9302, 0x9302, 0x9303]


def test_wrong_macs_on_write_key_lock_the_control_key(host):
    body = bytes.fromhex("3EF0F00100") + bytes(16)
    codes = [host.protected("84D40105", body, bytes(16), cipher=True)[1] for _ in range(4)]
    assert codes == [0x9302, 0x9302, 0x9302, 0x6983]


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


def test_protected_reading_of_plain_and_encrypted_files(host):
    for fid, kind in ((0x1B, "A8"), (0x1C, "E8")):
        assert host.create(fid, bytes.fromhex(kind + "0020F0F0FF7F")) == 0x9000
        host.protected_ok(f"04D6{fid | 0x80:02X}00", b"secret data", key("line"), kind == "E8")
        assert host.sw(bytes((0, 0xB0, fid | 0x80, 0, 11))) == 0x6987
        answer = host.protected_ok(f"04B0{fid | 0x80:02X}00", b"", key("line"), le=11)
        body = answer[:-4]
        assert (crypto.sm_decrypt(key("line"), body) if kind == "E8" else body) == b"secret data"


def test_records_of_every_kind(host):
    for value in (1, 2, 3):
        host.ok("00E200D010" + f"{value:02X}" * 16)
    assert host.sw("00E200D010" + "04" * 16) == 0x6A84
    host.ok("00DC02D410" + "0A" * 16)
    assert host.ok("00B202D400") == b"\x0a" * 16
    assert host.sw("00B202D405") == 0x6C10
    assert host.sw("00DC02D40F" + "0A" * 15) == 0x6700
    host.ok("00DC01CC03AA0101")  # number = count + 1 makes the next
    host.ok("00DC00CA04BB020102")  # the form "new record"
    assert host.ok("00B2BBC800").hex() == "bb020102"
    assert host.sw("00DC02CC03BB0101") == 0x6700
    assert host.sw("00DC02CC04BB030102") == 0x6A80
    assert host.sw("00B2CCC800") == 0x6A83
    host.ok("00DCBBC804BC020304")
    assert host.ok("00B202CC00").hex() == "bc020304"


# -- purse ------------------------------------------------------------------------------------------


def test_without_a_tac_key_nothing_is_committed():
    """INITIALIZE asks for the session's key only; the commit needs the TAC key (9403)."""
    host = bank()
    from cardos.filesystem import Node
    from cardos.security import find_key

    found = find_key(Node(host.card._memory, host.card._chip.session.df), 0x34)
    host.card._memory.program(found.at + 1, b"\x09")  # it has another id than the purses ask for
    answer, sw = host.initialize(1, 2, 0)
    assert sw == 0x9000
    before = host.card._memory.dump()[2048:]
    assert host.sw(host.debit_command(answer, 0, 6)) == 0x9403
    assert host.card._memory.dump()[2048:] == before


def test_a_second_initialize_forgets_the_first(host):
    host.load(1000)
    first, _ = host.initialize(1, 2, 100)
    host.initialize(1, 2, 100)
    assert host.sw(host.debit_command(first, 100, 6)) == 0x9302
    assert host.balance() == 1000


def test_every_failed_second_command_ends_the_session(host):
    host.load(1000)
    for spoiled in ("8054010000", "805401000F" + "00" * 15, "805200000B" + "00" * 11, "805802000E"):
        answer, _ = host.initialize(1, 2, 100)
        assert host.sw(spoiled) != 0x9000
        assert host.sw(host.debit_command(answer, 100, 6)) == 0x6901
    assert host.balance() == 1000


def test_reads_keep_the_session_select_and_reset_end_it(host):
    host.load(1000)
    answer, _ = host.initialize(1, 2, 100)
    host.balance()
    host.sw("00B0950001")
    host.sw("805A0002020001")
    host.ok(host.debit_command(answer, 100, 6))
    answer, _ = host.initialize(1, 2, 100)
    host.select(PURSE_AID)
    assert host.sw(host.debit_command(answer, 100, 6)) == 0x6901
    assert host.balance() == 900


def test_limits_of_the_purse(host):
    assert host.initialize(0, 2, 100_001)[1] == 0x6985
    host.load(100_000)
    assert host.initialize(0, 2, 1)[1] == 0x6985
    assert host.initialize(0, 2, 0)[1] == 0x9000  # the recovery probe
    assert host.initialize(1, 2, 100_001)[1] == 0x9401
    host.load(0xFFFF_FFFF, purse=1)
    assert host.initialize(0, 1, 1)[1] == 0x6985


def test_counters_end(host):
    memory = host.card._memory
    from cardos.filesystem import Node

    node = Node(memory, host.card._chip.session.df).child(2)
    memory.program(node.body + 9, b"\xff\xfe")
    host.purchase(0)
    assert host.initialize(1, 2, 0)[1] == 0x9402
    host.load(1)


def test_proofs_tell_type_and_serial(host):
    tac = host.load(1000)
    assert host.ok("805A000202000108") == bytes(4) + tac
    assert host.sw("805A000202000008") == 0x9406
    assert host.sw("805A000602000108") == 0x9406
    answer = host.purchase(10)
    assert host.ok("805A000602000108") == answer[4:] + answer[:4]
    assert host.ok("805A000202000108") == bytes(4) + tac  # the other counter's proof stays
    host.initialize(1, 2, 0)
    host.card.reset()
    host.select(PURSE_AID)
    assert host.ok("805A000602000108") == answer[4:] + answer[:4]


def test_composite_purchase_writes_money_and_records_together(host):
    host.load(1000)
    host.ok("00E200C804AA020000")
    answer, _ = host.initialize(3, 2, 300)
    assert host.sw("80DCAAC803AA0100") == 0x6700
    assert host.sw("80DCBBC804BB020000") == 0x6A83
    host.ok("80DCAAC804AA021234")
    host.ok("80DC01CC04AA025678")  # the same record again
    assert host.ok("00B201CC00").hex() == "aa020000"
    host.ok(host.debit_command(answer, 300, 9))
    assert host.ok("00B201CC00").hex() == "aa025678"
    assert host.balance() == 700


def test_composite_cache_is_limited(host):
    for number in range(4):
        host.ok(f"00E200C804A{number}020000")
    host.initialize(3, 2, 0)
    for number in range(3):
        host.ok(f"80DCA{number}C804A{number}020001")
    assert host.sw("80DCA3C804A3020001") == 0x6A84


def test_two_terminals_on_one_card(host):
    host.load(1000)
    for serial in range(6):
        host.purchase(10, serial=serial * 0x10001)
    assert host.balance() == 940
    assert [int.from_bytes(host.ok(bytes((0, 0xB2, n, 0xC4, 0)))[:2]) for n in (1, 2)] == [6, 5]


def test_sm4_purse_is_our_own_profile():
    host = bank(alg=4)
    answer, sw = host.initialize(0, 2, 500)
    assert (sw, answer[7]) == (0x9000, 4)
    session = crypto.sm4_purse_session_key(key("load"), answer[8:12], answer[4:6], b"\x80\x00")
    text = (500).to_bytes(4, "big") + b"\x02" + TERMINAL
    assert answer[12:] == crypto.sm4_mac(session, bytes(4) + text)
    tac = host.ok(bytes.fromhex("805200000B") + WHEN + crypto.sm4_mac(session, text + WHEN))
    assert tac == crypto.sm4_mac(key("tac"), (500).to_bytes(4, "big") + bytes(2) + text + WHEN)


# -- T=0 --------------------------------------------------------------------------------------------


def test_t0_uses_get_response_and_6c():
    host = bank(t0=True)
    assert host.sw("805001020B0100000000" + T) == 0x610F
    assert len(host.ok("00C000000F")) == 15
    assert host.sw("805C000205") == 0x6C04
    assert host.sw("00A40000023F00") == 0x6117
    assert host.sw("00C0000020") == 0x6C17
    host.sw("0084000004")  # any other command drops what waited
    assert host.sw("00C0000000") == 0x6985
    assert host.sw("00A40000023F00") == 0x6117
    part, sw = host.send("00C0000010")
    assert (len(part), sw) == (16, 0x6107)
    assert len(host.ok("00C0000007")) == 7


# -- PSAM -------------------------------------------------------------------------------------------


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


# -- full ---------------------------------------------------------------------------------------------


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


def test_a_full_variable_file_refuses_another_record():
    host = white()
    assert host.create(0x19, bytes.fromhex("2C000AF0F0FFFF")) == 0x9000
    host.ok("00E200C805AA03010203")
    host.ok("00E200C805BB03010203")
    before = host.card._memory.dump()
    assert host.sw("00E200C803CC0101") == 0x6A84
    assert host.card._memory.dump() == before


def test_a_pin_that_grows_needs_room_in_the_key_file():
    host = white()
    assert host.create(0x3F01, bytes.fromhex("380100F0F000FFFF") + b"SMALL") == 0x9000
    host.select(b"SMALL")
    assert host.create(0, bytes.fromhex("3F000B80F0FFFF")) == 0x9000  # one PIN of three bytes
    host.ok("80D4010008" + "3AF0EF1133123456")
    assert host.sw("805E010008" + "123456FF12345678") == 0x6A84
    host.ok("0020000003123456")


# -- memory -----------------------------------------------------------------------------------------


def test_a_change_too_large_for_the_journal_leaves_memory_alone():
    memory = Eeprom(b"CCOS" + bytes(10_000))
    before = memory.dump()
    with pytest.raises(JournalFull):
        memory.commit([(4096, bytes(3000))])
    assert memory.dump() == before
