"""A slot in the same process keeps the rules of a real reader."""

import threading

import pytest

from cardos.slot import Slot
from core.errors import DeviceFault, Unavailable

READ = bytes.fromhex("00B0000001")


class Counter:
    """A card that counts its power-ons and answers with that number."""

    atr = bytes.fromhex("3B00")

    def __init__(self) -> None:
        self.powered = 0
        self.answer = b"\x90\x00"

    def transmit(self, apdu: bytes) -> bytes:
        return self.answer

    def reset(self) -> bytes:
        self.powered += 1
        return self.atr

    def close(self) -> None:
        self.powered = 0


def test_each_connection_starts_with_a_power_on() -> None:
    slot, card = Slot("Contact station"), Counter()
    slot.insert(card)
    assert slot.card is card
    channel = slot.connect()
    assert (channel.atr, card.powered) == (card.atr, 1)
    assert channel.transmit(READ) == b"\x90\x00"
    channel.close()
    slot.connect().reset()
    assert card.powered == 3


def test_one_user_at_a_time() -> None:
    slot = Slot()
    slot.insert(Counter())
    first = slot.connect()
    with pytest.raises(Unavailable, match="CARD-BUSY"):
        slot.connect()
    first.close()
    slot.connect()


def test_a_channel_is_dead_once_its_card_left_even_with_the_card_back() -> None:
    slot, card = Slot(), Counter()
    slot.insert(card)
    channel = slot.connect()
    assert slot.remove() is card
    for act in (lambda: channel.transmit(READ), channel.reset):
        with pytest.raises(DeviceFault, match="CARD-GONE"):
            act()
    slot.insert(card)
    with pytest.raises(DeviceFault, match="CARD-GONE"):
        channel.transmit(READ)
    slot.connect()
    channel.close()  # an old channel cannot close the new one
    with pytest.raises(Unavailable, match="CARD-BUSY"):
        slot.connect()


def test_an_answer_without_status_word_is_a_card_that_left() -> None:
    slot, card = Slot(), Counter()
    slot.insert(card)
    card.answer = b""
    with pytest.raises(DeviceFault, match="CARD-GONE"):
        slot.connect().transmit(READ)


def test_empty_and_full_slots_say_so() -> None:
    slot = Slot()
    with pytest.raises(DeviceFault, match="CARD-ABSENT"):
        slot.connect()
    slot.insert(Counter())
    with pytest.raises(Unavailable, match="CARD-OCCUPIED"):
        slot.insert(Counter())
    slot.remove()
    assert slot.remove() is None


def test_waiting_for_a_card_and_for_an_empty_slot() -> None:
    slot = Slot()
    assert slot.wait(False, 0)
    assert not slot.wait(True, 0)
    hand = threading.Thread(target=slot.insert, args=(Counter(),))
    hand.start()
    assert slot.wait(True, 5)
    hand.join()
    assert slot.present()
