"""The typed requests for a PSAM's generic crypto and for RELOAD PIN, against the chip itself."""

import pytest

from cardos.client import CardSession, ChipError
from cardos.psam_requests import DeriveSamKey, SamCrypt, SamCryptMode
from cardos.requests import ReloadPin, SelectName, VerifyPin
from cardos.spec import AID_PURSE
from core import crypto
from core.errors import DeviceFault
from tests.chip_bench import bank, key, psam

FACTOR = bytes(range(8))


@pytest.fixture
def sam() -> CardSession:
    return CardSession(psam().card)


def test_a_terminal_makes_a_line_mac_with_its_maintenance_master(sam):
    sam.send(DeriveSamKey(0x25, 1, (FACTOR,)))
    message = crypto.pad80(bytes.fromhex("04D6950005AA"))
    mac = sam.send(SamCrypt(SamCryptMode.MAC_ONLY, bytes(8) + message))
    card_key = crypto.diversify(key("maintenance"), FACTOR)
    assert mac == crypto.sm_mac(card_key, bytes(8), bytes.fromhex("04D6950005AA"))


def test_a_mac_in_parts_is_the_mac_of_the_whole(sam):
    blocks = bytes(range(24))
    sam.send(DeriveSamKey(0x25, 1, (FACTOR,)))
    whole = sam.send(SamCrypt(SamCryptMode.MAC_ONLY, bytes(8) + blocks))
    assert sam.send(SamCrypt(SamCryptMode.MAC_FIRST, bytes(8) + blocks[:8])) == b""
    assert sam.send(SamCrypt(SamCryptMode.MAC_NEXT, blocks[8:16])) == b""
    assert sam.send(SamCrypt(SamCryptMode.MAC_LAST, blocks[16:])) == whole
    with pytest.raises(ChipError, match="CHIP-6901"):
        sam.send(SamCrypt(SamCryptMode.MAC_LAST, blocks[16:]))  # the chain is over


def test_encryption_with_a_key_that_may_do_both(sam):
    sam.send(DeriveSamKey(0x28, 1, (FACTOR,)))
    cipher = sam.send(SamCrypt(SamCryptMode.ENCRYPT, bytes(16)))
    assert cipher == crypto.des_encrypt(crypto.diversify(key("both"), FACTOR), bytes(16))


def test_a_temporary_key_dies_with_the_next_and_with_select(sam):
    with pytest.raises(ChipError, match="CHIP-6901"):
        sam.send(SamCrypt(SamCryptMode.ENCRYPT, bytes(8)))
    sam.send(DeriveSamKey(0x28, 1, (FACTOR,)))
    with pytest.raises(ChipError, match="CHIP-9403"):
        sam.send(DeriveSamKey(0x28, 9, (FACTOR,)))
    with pytest.raises(ChipError, match="CHIP-6901"):
        sam.send(SamCrypt(SamCryptMode.ENCRYPT, bytes(8)))
    sam.send(DeriveSamKey(0x28, 1, (FACTOR,)))
    sam.send(SelectName(AID_PURSE))
    with pytest.raises(ChipError, match="CHIP-6901"):
        sam.send(SamCrypt(SamCryptMode.ENCRYPT, bytes(8)))


def test_factors_have_eight_bytes_and_as_many_as_the_usage_says(sam):
    with pytest.raises(ValueError, match="8 bytes"):
        DeriveSamKey(0x25, 1, (bytes(7),)).command()
    with pytest.raises(ChipError, match="CHIP-6700"):
        sam.send(DeriveSamKey(0x25, 1, (FACTOR, FACTOR)))
    with pytest.raises(ChipError, match="CHIP-6700"):
        sam.send(DeriveSamKey(0x25, 1))


def test_reload_pin_brings_a_new_pin_and_its_tries():
    session = CardSession(bank().card)
    new = bytes.fromhex("654321")
    session.send(ReloadPin(new, crypto.reload_pin_mac(key("reload"), new)))
    session.send(VerifyPin(new))
    with pytest.raises(ChipError, match="CHIP-9302"):
        session.send(ReloadPin(new, bytes(4)))
    assert "654321" not in repr(ReloadPin(new, bytes(4)))


class Nonsense:
    """A card that answers too much."""

    def transmit(self, apdu: bytes) -> bytes:
        return b"surplus\x90\x00"


def test_an_answer_where_none_belongs_is_a_device_fault():
    with pytest.raises(DeviceFault, match="CARD-ANSWER"):
        CardSession(Nonsense()).send(DeriveSamKey(0x25, 1, (FACTOR,)))
