"""Files: space, directories, names, records, line protection, damage."""

import pytest

from cardos import spec
from core import crypto
from tests.chip_bench import PURSE_AID, WHITE, Host, bank, key, white


@pytest.fixture
def host() -> Host:
    return bank()


def test_a_short_id_makes_its_file_the_current_one_and_select_ends_that(host):
    host.protected_ok("04D69500", bytes(range(30)), key("line"))
    host.ok("00B0950001")
    assert host.ok("00B0000404") == bytes((4, 5, 6, 7))
    host.select(PURSE_AID)
    assert host.sw("00B0000404") == 0x6A82


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


def test_the_same_file_id_inside_its_own_directory_cannot_be_reached():
    """SELECT by id looks at the current directory itself first (purse-card.md 2.3)."""
    host = white()
    assert host.create(0x3F01, bytes.fromhex("380200F0F000FFFF") + b"OUTER") == 0x9000
    host.select(b"OUTER")
    assert host.create(0x3F01, bytes.fromhex("380100F0F000FFFF") + b"INNER") == 0x9000
    assert b"OUTER" in host.ok("00A40000023F01")
    assert b"INNER" in host.select(b"INNER")


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


def test_protected_reading_of_plain_and_encrypted_files(host):
    for fid, kind in ((0x1B, "A8"), (0x1C, "E8")):
        assert host.create(fid, bytes.fromhex(kind + "0020F0F0FF7F")) == 0x9000
        host.protected_ok(f"04D6{fid | 0x80:02X}00", b"secret data", key("line"), kind == "E8")
        assert host.sw(bytes((0, 0xB0, fid | 0x80, 0, 11))) == 0x6987
        answer = host.protected_ok(f"04B0{fid | 0x80:02X}00", b"", key("line"), le=11)
        body = answer[:-4]
        assert (crypto.sm_decrypt(key("line"), body) if kind == "E8" else body) == b"secret data"


def test_a_protected_read_wants_its_mac_and_counts_wrong_ones(host):
    assert host.create(0x1B, bytes.fromhex("A80010F0F0FF7F")) == 0x9000
    host.challenge()
    assert host.sw("04B09B0004") == 0x6987
    codes = [host.protected("04B09B00", b"", bytes(16), le=4) for _ in range(3)]
    assert codes == [(b"", 0x6988), (b"", 0x6988), (b"", 0x9303)]


def test_a_protected_write_of_nothing_but_a_mac_has_no_protection(host):
    host.challenge()
    assert host.sw("04D6950004" + "00" * 4) == 0x6987


def test_nothing_is_written_beyond_the_end_of_a_file():
    host = white()
    assert host.create(0x15, bytes.fromhex("280008F0F0FFFF")) == 0x9000
    assert host.create(0x16, bytes.fromhex("280008F0F0FFFF")) == 0x9000
    host.ok("00D6950008" + "11" * 8)
    before = host.card._memory.dump()
    for command in ("00D6950009" + "22" * 9, "00D6950702" + "22" * 2, "00D6950801" + "22",
                    "00D6100001" + "22"):  # fmt: skip
        assert host.sw(command) == 0x6B00
    assert host.card._memory.dump() == before
    host.ok("00D6950701" + "22")


def test_records_are_added_and_replaced_in_their_own_way_only(host):
    host.ok("00A4000000")
    assert host.create(0x1B, bytes.fromhex("2E0204F0F0FFFF")) == 0x9000
    assert host.create(0x1C, bytes.fromhex("2A0204F0F0FFFF")) == 0x9000
    assert host.create(0x1D, bytes.fromhex("2C0020F0F0FFFF")) == 0x9000
    host.ok("00DC00DB04" + "11" * 4)
    assert host.sw("00DC01DC04" + "22" * 4) == 0x6981  # a ring is added to, not written in
    assert host.sw("00DC00E304" + "22" * 4) == 0x6981  # 011 is for rings
    assert host.sw("00DC00E204" + "22" * 4) == 0x6981  # 010 is for variable records
    assert host.sw("00E200DB04" + "22" * 4) == 0x6A86
    assert host.sw("00E200D803" + "22" * 3) == 0x6700
    assert host.sw("00DC05E404" + "22" * 4) == 0x6A83  # a gap
    host.ok("00DC01E404" + "22" * 4)
    assert host.sw("00E200E802AA05") == 0x6A80  # the record's own length byte lies
    assert host.sw("00E200E801AA") == 0x6A80
    assert host.ok("00B201DC00") == b"\x11" * 4


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


@pytest.mark.parametrize("plain", ["20" + "00" * 7, "FF" + "00" * 15])
def test_a_length_byte_beyond_the_cipher_is_bad_data(host, plain):
    assert host.create(0x1B, bytes.fromhex("680020F0F0FFFF")) == 0x9000
    cipher = crypto.des_encrypt(key("line"), bytes.fromhex(plain))
    before = host.card._memory.dump()
    assert host.sw(b"\x04\xd6\x9b\x00" + bytes((len(cipher),)) + cipher) == 0x6A80
    assert host.sw(b"\x04\xd6\x9b\x00\x07" + cipher[:7]) == 0x6A80  # no whole block
    assert host.card._memory.dump() == before


def test_sm4_line_protection_is_our_own_profile():
    """04 in the third byte of a key 36: SM4-CBC MAC under the challenge, SM4-ECB cipher (14)."""
    host = white()
    line = key("sm4 line")
    host.ok("80D4010015" + "36F0F00433" + line.hex())
    assert host.create(0x15, bytes.fromhex("E80020F0F0FF7F")) == 0x9000
    for plain, block in (
        (b"secret", b"\x06secret\x80" + bytes(8)),
        (b"f" * 15, b"\x0f" + b"f" * 15),
    ):
        cipher = crypto.sm4_encrypt(line, block)
        challenge = host.challenge()
        head = b"\x04\xd6\x95\x00" + bytes((len(cipher) + 4,)) + cipher
        host.ok(head + crypto.sm4_mac(line, head, challenge.ljust(16, b"\x00")))
        challenge = host.challenge(8)
        read = b"\x04\xb0\x95\x00\x04"
        iv = challenge.ljust(16, b"\x00")
        answer = host.ok(read + crypto.sm4_mac(line, read, iv) + bytes((len(plain),)))
        assert crypto.sm4_decrypt(line, answer[:-4])[1 : 1 + len(plain)] == plain
        assert answer[-4:] == crypto.sm4_mac(line, answer[:-4], iv)
    for bad in (crypto.sm4_encrypt(line, b"\x10" + bytes(15)), bytes(8)):
        challenge = host.challenge()
        head = b"\x04\xd6\x95\x00" + bytes((len(bad) + 4,)) + bad
        assert host.sw(head + crypto.sm4_mac(line, head, challenge.ljust(16, b"\x00"))) == 0x6A80


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


def test_a_full_variable_file_refuses_another_record():
    host = white()
    assert host.create(0x19, bytes.fromhex("2C000AF0F0FFFF")) == 0x9000
    host.ok("00E200C805AA03010203")
    host.ok("00E200C805BB03010203")
    before = host.card._memory.dump()
    assert host.sw("00E200C803CC0101") == 0x6A84
    assert host.card._memory.dump() == before


@pytest.mark.parametrize(
    ("fid", "body", "sw"),
    [
        (0x3F05, "380040F0F000FFFF" + "41" * 4, 0x6700),  # names have 5 to 16 bytes
        (0x3F05, "380040F0F000FFFF" + "41" * 17, 0x6700),
        (0x3F05, "380040F0F000FFFF" + "41" * 16, 0x9000),
        (0x3F05, "380040F0F000FFFF" + PURSE_AID.hex(), 0x6A86),  # the name is taken
        (0x3F05, "38000AF0F000FFFF" + "41" * 5, 0x6A84),  # too small for its own header
        (0x3F00, "380040F0F000FFFF" + "41" * 5, 0x6A86),  # there is one MF
        (0x0020, "3F0040F0F0FFFF", 0x6A80),  # a key file comes first
        (0x0001, "2F0208F000FF", 0x6700),
        (0x0001, "2F0308F000FF18", 0x6A80),
        (0x0020, "280000F0F0FFFF", 0x6A80),  # nothing in it
        (0x0020, "2A0201F0F0FFFF", 0x6A80),  # a record has 2 to 248 bytes
        (0x0020, "2A02F9F0F0FFFF", 0x6A80),
        (0x0020, "2E02F8F0F0FFFF", 0x9000),
    ],
)
def test_create_file_refuses(fid, body, sw):
    host = white()
    host.ok("800E000000")
    assert host.create(0x0001 if fid != 1 else 0x0021, bytes.fromhex("280004F0F0FFFF")) == 0x9000
    assert host.create(0x3F01, bytes.fromhex("380040F0F000FFFF") + PURSE_AID) == 0x9000
    before = host.card._memory.dump()[2048:]
    assert f"{host.create(fid, bytes.fromhex(body)):04X}" == f"{sw:04X}"
    assert (host.card._memory.dump()[2048:] == before) is (sw != 0x9000)


@pytest.mark.parametrize(
    ("body", "sw"),
    [
        ("38FFFFF0F001" + "FF" * 7, 0x9000),  # the manual's example
        ("38FFFFF0F001" + "FF" * 8, 0x9000),  # and its text
        ("38FFFFF0F001" + "FF" * 6, 0x6A80),
        ("38FFFFF0F001" + "FF" * 9, 0x6A80),
        ("38FFFFF0F001" + "FF" * 6 + "FE", 0x6982),
        ("28FFFFF0F001" + "FF" * 7, 0x6A80),
        ("380018F0F001" + "FF" * 7, 0x6A84),
    ],
)
def test_the_transport_code_of_a_white_card(body, sw):
    host = white()
    assert f"{host.create(0x3F00, bytes.fromhex(body)):04X}" == f"{sw:04X}"
    assert host.authenticate(WHITE) == (0x6A82 if sw == 0x9000 else 0x9000)


def test_the_mf_is_made_anew_before_anything_else_is_on_the_card():
    host = white()
    assert host.create(0x15, bytes.fromhex("280004F0F0FFFF")) == 0x9000
    assert host.create(0x3F00, bytes.fromhex("38FFFFF0F001" + "FF" * 7)) == 0x6A86
    host.ok("800E000000")
    assert host.create(0x3F00, bytes.fromhex("380040F0F001" + "FF" * 7)) == 0x9000
    assert host.create(0x15, bytes.fromhex("280020F0F0FFFF")) == 0x6A84  # the rest is lost
    assert host.create(0x15, bytes.fromhex("28001CF0F0FFFF")) == 0x9000  # 64 = 25 + 11 + 28
    assert host.create(0x16, bytes.fromhex("280001F0F0FFFF")) == 0x6A84
