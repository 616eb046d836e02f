"""A PSAM is issued by commands, once, and is closed to strangers afterwards."""

import pytest
from purse_bench import (
    CHIP,
    LOT_MASTER,
    TestKeys,
    make_psam,
    psam_order,
)

from cardos.card import Card
from cardos.client import CardSession, ChipError
from cardos.requests import CreateFile, EraseDf, SelectFile, UpdateBinary, WriteKey
from core import crypto
from core.errors import DeviceFault
from payments.psam import issue_psam
from payments.purse import open_psam


def test_a_psam_is_issued_by_commands_and_opens_like_any_other() -> None:
    chip, psam = make_psam(42)
    order = psam_order(42)
    chip.reset()
    again = open_psam(CardSession(chip))
    assert (again.serial, again.terminal) == (order.number, order.terminal)
    assert again.application == psam.application
    assert again.application.key_index == 1


def test_an_issued_psam_is_closed_to_strangers() -> None:
    chip, _ = make_psam()
    chip.reset()
    card = CardSession(chip)
    card.send(SelectFile(0x3F00))
    for write in (
        UpdateBinary(bytes(6), sfi=0x16),
        CreateFile(0x0002, bytes.fromhex("280008F0F0FFFF")),
        EraseDf(),
    ):
        with pytest.raises(ChipError, match="CHIP-6982"):
            card.send(write)
    card.send(SelectFile(0xDF01))
    for write in (
        UpdateBinary(bytes(4), sfi=0x18),
        EraseDf(),
        WriteKey(0, bytes.fromhex("220100") + bytes(16), replaces=0),
    ):
        with pytest.raises(ChipError, match="CHIP-6982"):
            card.send(write)


def test_a_chip_of_another_lot_is_refused() -> None:
    foreign = crypto.diversify(bytes(range(16)), CHIP)
    chip = Card.blank(kind="psam", serial=CHIP, transport_key=foreign)
    with pytest.raises(ChipError, match="CHIP-63C2"):
        issue_psam(chip, psam_order(), TestKeys())


def test_a_psam_is_not_issued_twice() -> None:
    transport = crypto.diversify(LOT_MASTER, CHIP)
    chip = Card.blank(kind="psam", serial=CHIP, transport_key=transport)
    issue_psam(chip, psam_order(1), TestKeys())
    with pytest.raises(ChipError, match="CHIP-63C2"):
        issue_psam(chip, psam_order(2), TestKeys())


def test_a_permit_chip_does_not_become_a_psam() -> None:
    transport = crypto.diversify(LOT_MASTER, CHIP)
    chip = Card.blank(kind="permit", serial=CHIP, transport_key=transport)
    with pytest.raises(ChipError):
        issue_psam(chip, psam_order(), TestKeys())


def test_a_chip_without_our_atr_is_refused() -> None:
    class Foreign:
        atr = bytes.fromhex("3B00")

        def reset(self) -> bytes:
            return self.atr

        def transmit(self, apdu: bytes) -> bytes:
            raise AssertionError("nothing is sent to a foreign chip")

        def close(self) -> None:
            """Nothing to let go of."""

    with pytest.raises(DeviceFault, match="PSAM-CHIP"):
        issue_psam(Foreign(), psam_order(), TestKeys())
