"""What the bytes mean, said to a person."""

import pytest

from cardos.explain import explain_apdu, explain_sw, explain_tlv


def test_an_initialize_for_purchase_is_taken_apart():
    lines = explain_apdu(bytes.fromhex("805001020B01000000640011223344550F"))
    named = {line.name_en: line.meaning_en for line in lines}
    assert named["INS"] == "INITIALIZE"
    assert named["P1 P2"] == "purchase, purse EP"
    assert named["amount"] == "1.00 CNY"
    assert named["terminal"] == "001122334455"
    assert named["Le"] == "15 bytes"
    assert {line.rule for line in lines if line.name_en == "INS"} == {"purse-card.md 8"}
    assert next(line for line in lines if line.name_en == "P1 P2").meaning_zh == "消费,电子钱包"


def test_the_mac_of_a_protected_command_stands_apart():
    lines = explain_apdu(bytes.fromhex("04D6950005AAF2F62231"))
    assert [line.hex for line in lines] == ["04", "D6", "9500", "05", "AA", "F2F62231"]
    assert "line protection" in lines[0].meaning_en


def test_the_bytes_of_a_command_are_all_accounted_for():
    raw = "807000001C0BC5764200ED00000F36062007112609301501005180484934206731"
    assert "".join(line.hex for line in explain_apdu(bytes.fromhex(raw))) == raw


def test_a_pin_is_not_shown():
    lines = explain_apdu(bytes.fromhex("0020000003123456"))
    assert "123456" not in repr(lines)


@pytest.mark.parametrize(
    ("command", "meanings"),
    [
        ("80E03F011138036FF0F095FFFFA00000000386980701",
         ["directory", "879", "always", "always", "file 0015 is shown in tag 9F0C", "FFFF",
          "A00000000386980701"]),
        ("80E00000073F018F95F0FFFF",
         ["key file", "399", "file 0015 is shown in tag 9F0C", "always", "FFFF"]),
        ("80E0001507A8001EF0F0FF7F",
         ["binary file, MAC", "30", "always", "always", "FF",
          "protected reading only, line key 00 to read, 00 to write"]),
        ("80E00018072E0A17F1EFFFFF",
         ["cyclic records", "10", "23", "state 1 or more", "never", "FF",
          "plain reading, line key 00 to read, 00 to write"]),
        ("80E0000307E800200344FFEB",
         ["binary file, MAC, encrypted", "32", "MF state 3 or more", "only in state 4", "FF",
          "plain reading, line key 01 to read, 00 to write, bytes 3-6 must not decrease"]),
        ("80E00002072F0208F000FF18", ["purse", "0208", "always", "0", "FF", "24"]),
        ("80D4010115FFF1F00100" + "11" * 16,
         ["load DLK; may be changed encrypted with MAC only", "state 1 or more", "always", "1", "0",
          "hidden"]),
        ("80D40100083AF0EF1133123456",
         ["PIN", "always", "never", "11", "3 of 3 tries", "hidden"]),
    ],
)  # fmt: skip
def test_what_create_file_and_write_key_carry(command, meanings):
    lines = explain_apdu(bytes.fromhex(command))
    assert [line.meaning_en for line in lines[4:]] == meanings
    assert all(line.meaning_zh for line in lines)
    assert "123456" not in repr(lines[3:])


@pytest.mark.parametrize(
    ("command", "meaning"),
    [
        ("00A4040009A00000000386980701", "by name"),
        ("00B0950004", "short id 15, offset 0"),
        ("00B0010004", "current file, offset 256"),
        ("00B201C400", "short id 18, record 1"),
        ("00B2AA0000", "current file, record with tag AA"),
        ("00DC00C203AA0101", "short id 18, new record"),
        ("805C000104", "purse ED"),
        ("805403000B" + "00" * 11, "unload"),
        ("841E000104" + "00" * 4, "for good"),
        ("84D43900" + "14" + "00" * 20, "change external authentication, id 00"),
    ],
)
def test_p1_and_p2_say_where(command, meaning):
    assert explain_apdu(bytes.fromhex(command))[2].meaning_en == meaning


def test_unknown_and_broken_commands():
    assert explain_apdu(bytes.fromhex("00FF0000"))[1].meaning_en == "unknown instruction"
    with pytest.raises(ValueError):
        explain_apdu(bytes.fromhex("00A40400FF00"))


def test_status_words_in_both_languages():
    line = explain_sw(0x63C2)
    assert (line.meaning_en, line.meaning_zh) == (
        "wrong PIN or key, 2 tries left",
        "PIN或密钥错误,剩余2次",
    )
    assert "error" not in explain_sw(0x9000).name_en


def test_an_fci_is_a_tree():
    lines = explain_tlv(bytes.fromhex("6F15840E315041592E5359532E4444463031A503880101"))
    assert [line.hex for line in lines] == ["6F", "84", "A5", "88"]
    assert [len(line.name_en) - len(line.name_en.lstrip()) for line in lines] == [0, 2, 2, 4]


def test_the_label_stands_inside_the_directory_entry():
    """The manual prints it outside; by length it is inside (purse-card.md 11.3)."""
    lines = explain_tlv(bytes.fromhex("61114F09A00000000386980701500450424F43"))
    assert [line.name_en.strip() for line in lines] == [
        "directory entry",
        "application identifier",
        "application label",
    ]
