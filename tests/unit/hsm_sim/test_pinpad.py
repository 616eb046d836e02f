"""The PIN pad against published and derived vectors, and what it refuses (iso8583-host.md 7.1, 9)."""

import json
from pathlib import Path
from typing import Any

import pytest

from core import crypto
from core.errors import DeviceFault, EvidenceMismatch, Rejected
from hsm_sim.keyblock import BlockHeader, wrap
from hsm_sim.pinpad import MacProfile, SimPinPad

VECTORS = {
    vector["id"]: vector
    for vector in json.loads(
        (Path(__file__).parents[2] / "vectors" / "iso8583.json").read_text("utf-8")
    )["vectors"]
}
TRANSPORT = bytes.fromhex("89E3C1A7B6D5F4029BC2A8D6E5F40123")
PARTS = (bytes(range(16)), bytes(range(16, 32)))
TMK = bytes.fromhex("25168989738F13AEF8BACDFE73EFD65E")


def exported(tmk: bytes, usage: str = "K0", mode: str = "B") -> str:
    return "R" + wrap(TRANSPORT, BlockHeader(usage, "T", mode, version="B"), tmk)


def pad_with(tmk: bytes = TMK, profile: MacProfile = MacProfile.UNIONPAY) -> SimPinPad:
    pad = SimPinPad(profile)
    last = crypto.xor(crypto.xor(TRANSPORT, PARTS[0]), PARTS[1])
    pad.load_transport_key((*PARTS, last), crypto.des_kcv(TRANSPORT).hex())
    pad.load_master_key(exported(tmk), crypto.des_kcv(tmk).hex().upper())
    return pad


def field_62(pik: bytes, mak: bytes) -> bytes:
    wrapped = crypto.des_encrypt(TMK, mak).ljust(16, b"\x00")
    return crypto.des_encrypt(TMK, pik) + crypto.des_kcv(pik, 4) + wrapped + crypto.des_kcv(mak, 4)


def inputs(name: str) -> dict[str, Any]:
    return VECTORS[name]["inputs"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("name", "profile"),
    [("mac-ecb-steps", "unionpay"), ("mac-x99", "x99"), ("mac-x919", "x919")],
)
def test_field_64_is_the_vectors(name: str, profile: str) -> None:
    pad = pad_with(profile=MacProfile(profile))
    mak, mab = bytes.fromhex(inputs(name)["mak"]), bytes.fromhex(inputs(name)["mab"])
    pad.load_work_keys(field_62(bytes.fromhex("B662013EF49D34B6ADEC76CDA17043E6"), mak))
    expected = bytes.fromhex(VECTORS[name]["expected"]["field64"])
    assert pad.make_mac(mab) == expected
    pad.check_mac(mab, expected)
    for wrong in (expected.lower(), expected[:-1], bytes(8)):
        with pytest.raises(EvidenceMismatch, match="PAD-MAC"):
            pad.check_mac(mab, wrong)


@pytest.mark.parametrize("name", ["p-work-keys", "work-keys"])
def test_work_keys_of_the_vectors_open(name: str) -> None:
    pad = pad_with(bytes.fromhex(inputs(name)["tmk"]))
    pad.load_work_keys(bytes.fromhex(inputs(name)["field62"]))
    mak = bytes.fromhex(VECTORS[name]["expected"]["mak"])
    pik = bytes.fromhex(VECTORS[name]["expected"]["pik"])
    folded = crypto.des_encrypt(mak, crypto.xor(crypto.des_encrypt(mak, b"00000000"), b"00000001"))
    assert pad.make_mac(bytes(7) + b"\x01") == folded.hex().upper()[:8].encode()
    pad.type_pin("123456")
    clear = bytes.fromhex("06123456FFFFFFFF")
    account = "000000004275"
    block = crypto.xor(clear, bytes.fromhex("0000" + account))
    assert pad.pin_block(account) == crypto.des_encrypt(pik, block)


def test_a_wrong_check_value_keeps_the_old_keys() -> None:
    pad = pad_with()
    pad.load_work_keys(bytes.fromhex(inputs("work-keys")["field62"]))
    before = pad.make_mac(b"message")
    with pytest.raises(EvidenceMismatch, match="PAD-KCV"):
        pad.load_work_keys(bytes.fromhex(inputs("work-keys-badkcv")["field62"]))
    good = bytearray.fromhex(inputs("work-keys")["field62"])
    good[-1] ^= 1  # the MAK's check value: the PIK before it is right
    with pytest.raises(EvidenceMismatch, match="PAD-KCV"):
        pad.load_work_keys(bytes(good))
    assert pad.make_mac(b"message") == before


def test_the_pin_block_is_the_vectors() -> None:
    pad = pad_with()
    case = VECTORS["pin-encrypted"]
    pik = bytes.fromhex(case["inputs"]["pik"])
    pad.load_work_keys(field_62(pik, bytes.fromhex("E668CEC751B580AD")))
    pad.type_pin(case["inputs"]["pin"])
    account = case["inputs"]["pan"][:-1][-12:]
    assert pad.pin_block(account).hex().upper() == case["expected"]["field52"]
    with pytest.raises(Rejected, match="no PIN was typed"):
        pad.pin_block(account)


def test_cancel_forgets_the_pin_until_another_is_typed() -> None:
    pad = pad_with()
    pad.load_work_keys(bytes.fromhex(inputs("work-keys")["field62"]))
    pad.type_pin("123456")
    before = pad.pin_block("000000004275")
    pad.type_pin("123456")
    pad.cancel()
    with pytest.raises(Rejected, match="PAD-CANCEL"):
        pad.pin_block("000000004275")
    with pytest.raises(Rejected, match="PAD-PIN"):
        pad.pin_block("000000004275")
    pad.cancel()
    pad.type_pin("123456")
    assert pad.pin_block("000000004275") == before


@pytest.mark.parametrize("digits", ["", "123", "1234567890123", "12a4", "１２３４"])
def test_only_digits_are_a_pin(digits: str) -> None:
    pad = pad_with()
    with pytest.raises(Rejected, match="PAD-PIN"):
        pad.type_pin(digits)


def test_an_account_of_another_length_makes_no_block() -> None:
    pad = pad_with()
    pad.load_work_keys(bytes.fromhex(inputs("work-keys")["field62"]))
    pad.type_pin("123456")
    with pytest.raises(Rejected, match="PAD-PIN"):
        pad.pin_block("42759")


def test_only_a_terminal_master_key_becomes_one() -> None:
    pad = pad_with()
    check = crypto.des_kcv(TMK).hex()
    for text in (exported(TMK, usage="P0", mode="B"), exported(TMK, mode="C"), "X" + TMK.hex()):
        with pytest.raises(Rejected, match="PAD-KEY"):
            pad.load_master_key(text, check)
    broken = exported(TMK)
    with pytest.raises(Rejected, match="PAD-KEY"):
        pad.load_master_key(broken[:-1] + ("0" if broken[-1] != "0" else "1"), check)
    with pytest.raises(EvidenceMismatch, match="PAD-KCV"):
        pad.load_master_key(exported(TMK), "000000")
    weak = bytes.fromhex("0101010101010101FEFEFEFEFEFEFEFE")
    with pytest.raises(Rejected, match="PAD-KEY"):
        pad.load_master_key(exported(weak), crypto.des_kcv(weak).hex())


def test_components_must_give_the_announced_key() -> None:
    pad = SimPinPad()
    with pytest.raises(EvidenceMismatch, match="PAD-KCV"):
        pad.load_transport_key(PARTS, "000000")
    with pytest.raises(Rejected, match="PAD-KEY"):
        pad.load_transport_key(PARTS[:1], "000000")
    with pytest.raises(Rejected, match="no transport key"):
        pad.load_master_key(exported(TMK), "000000")
    with pytest.raises(Rejected, match="no master key"):
        pad.load_work_keys(bytes(40))
    with pytest.raises(Rejected, match="sign on first"):
        pad.make_mac(b"")


def test_x919_refuses_a_single_length_mak() -> None:
    pad = pad_with(profile=MacProfile.X919)
    with pytest.raises(Rejected, match="double-length"):
        pad.load_work_keys(bytes.fromhex(inputs("work-keys")["field62"]))


def test_an_opened_pad_has_nothing_left() -> None:
    pad = pad_with()
    pad.load_work_keys(bytes.fromhex(inputs("work-keys")["field62"]))
    pad.tamper()
    with pytest.raises(DeviceFault, match="PAD-TAMPERED"):
        pad.make_mac(b"message")
    with pytest.raises(DeviceFault, match="PAD-TAMPERED"):
        pad.load_transport_key(PARTS, "000000")


def test_no_key_shows_in_a_repr_or_an_error() -> None:
    pad = pad_with()
    assert TMK.hex().upper()[:8] not in repr(pad).upper() + repr(vars(pad)).upper()


def test_the_pads_memory_outlives_the_power_but_work_keys_do_not(tmp_path: Path) -> None:
    pad = pad_with()
    pad.load_work_keys(bytes.fromhex(inputs("work-keys")["field62"]))
    pad.save(tmp_path / "pad.json")
    assert (tmp_path / "pad.json").stat().st_mode & 0o777 == 0o600
    again = SimPinPad.load(tmp_path / "pad.json")
    with pytest.raises(Rejected, match="sign on first"):
        again.make_mac(b"message")
    again.load_work_keys(bytes.fromhex(inputs("work-keys")["field62"]))
    assert again.make_mac(b"message") == pad.make_mac(b"message")


@pytest.mark.parametrize(
    "content", ["", "{}", '{"schema": "x"}', "[]", '{"schema": "citycard/pin-pad/1"}']
)
def test_a_file_that_is_no_pad_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "pad.json").write_text(content)
    with pytest.raises(DeviceFault, match="PAD-MEMORY"):
        SimPinPad.load(tmp_path / "pad.json")
    with pytest.raises(DeviceFault, match="PAD-MEMORY"):
        SimPinPad.load(tmp_path / "absent.json")
