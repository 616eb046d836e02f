"""One command, one rule at a time: lengths, classes, order, challenges, T=0, memory."""

import pytest

from cardos.memory import Eeprom, JournalFull
from core import crypto
from tests.chip_bench import PURSE_AID, TERMINAL, WHITE, Host, bank, key, white

T = TERMINAL.hex()


@pytest.fixture
def host() -> Host:
    return bank()


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
        ("04DC01D4" + "14" + "00" * 20, 0x6900),
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


def test_a_change_too_large_for_the_journal_leaves_memory_alone():
    memory = Eeprom(b"CCOS" + bytes(10_000))
    before = memory.dump()
    with pytest.raises(JournalFull):
        memory.commit([(4096, bytes(3000))])
    assert memory.dump() == before
