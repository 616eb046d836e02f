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
