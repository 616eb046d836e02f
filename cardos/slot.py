"""A reader in the same process: a slot that holds any `CardChannel`.

Tests, the demo and the printer's contact station use it where a real station has PC/SC. It keeps the
rules a PC/SC reader keeps: one user at a time, a new power-on for each connection, and a channel that
stays dead once its card has left, even when another card comes in (pcsc-and-serial.md 7).
"""

from threading import Condition

from core.apdu import CardChannel
from core.errors import CityError, DeviceFault, Unavailable


class Slot:
    """One slot (`core.apdu.CardReader`). `insert` and `remove` are the operator's or printer's hand."""

    def __init__(self, name: str = "Slot 00") -> None:
        self._name = name
        self._changed = Condition()
        self._card: CardChannel | None = None
        self._user: SlotChannel | None = None

    @property
    def name(self) -> str:
        """The reader's name."""
        return self._name

    @property
    def card(self) -> CardChannel | None:
        """The card that lies in the slot."""
        return self._card

    def insert(self, card: CardChannel) -> None:
        """Put a card in. Unavailable CARD-OCCUPIED when one is in already."""
        with self._changed:
            if self._card is not None:
                raise Unavailable("CARD-OCCUPIED", f"{self._name} holds a card", reader=self._name)
            self._card = card
            self._changed.notify_all()

    def remove(self) -> CardChannel | None:
        """Take the card out, powered or not; the channel in use is dead from now on."""
        with self._changed:
            card, self._card, self._user = self._card, None, None
            self._changed.notify_all()
            return card

    def present(self) -> bool:
        """Whether a card is in."""
        return self._card is not None

    def wait(self, present: bool, timeout: float) -> bool:
        """Wait until the slot is occupied (or empty); False when `timeout` seconds passed first."""
        with self._changed:
            return self._changed.wait_for(lambda: self.present() == present, timeout)

    def connect(self) -> "SlotChannel":
        """Power the card on. DeviceFault CARD-ABSENT, Unavailable CARD-BUSY."""
        with self._changed:
            if self._card is None:
                raise DeviceFault("CARD-ABSENT", f"{self._name} is empty", reader=self._name)
            if self._user is not None:
                raise Unavailable("CARD-BUSY", f"{self._name} is in use", reader=self._name)
            channel = SlotChannel(self, self._card)
            self._user = channel
        try:
            channel.reset()
        except CityError:
            channel.close()
            raise
        return channel

    def holds(self, channel: "SlotChannel") -> bool:
        """Whether this channel's card still lies in the slot and is powered by it."""
        return self._user is channel

    def release(self, channel: "SlotChannel") -> None:
        """Power down after use; nothing happens when the card left before."""
        with self._changed:
            if self._user is channel:
                self._user = None


class SlotChannel:
    """One powered card in a `Slot` (`core.apdu.CardChannel`)."""

    def __init__(self, slot: Slot, card: CardChannel) -> None:
        self._slot = slot
        self._card = card

    @property
    def atr(self) -> bytes:
        """Answer to reset."""
        return self._card.atr

    def transmit(self, apdu: bytes) -> bytes:
        """Send one APDU. DeviceFault CARD-GONE when the card left or gave fewer than two bytes."""
        self._alive()
        answer = self._card.transmit(apdu)
        self._alive()  # it may have been pulled while it worked: what came back then counts for nothing
        if len(answer) < 2:
            raise DeviceFault("CARD-GONE", "fewer than two bytes came back", reader=self._slot.name)
        return answer

    def reset(self) -> bytes:
        """Warm reset; returns the ATR."""
        self._alive()
        return self._card.reset()

    def close(self) -> None:
        """Let go of the slot; the next user starts with a reset."""
        self._slot.release(self)

    def _alive(self) -> None:
        if not self._slot.holds(self):
            raise DeviceFault("CARD-GONE", "the card left the slot", reader=self._slot.name)
