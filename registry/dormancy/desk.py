"""What a counter or terminal asks the HSM for (role DESK, commands 30 to 38): results only, never a key.

A port of five methods; behind it stands the HSM's client (`hsm_desk`). Card serials are 14 digits; `random`
is the card's challenge, 8 bytes.
"""

from enum import StrEnum
from typing import Protocol

from cardos.client import Protector


class Scope(StrEnum):
    """Whose line key protects a command: of the purse, of the residence application, or of the card."""

    PURSE = "purse"
    RESIDENCE = "residence"
    CARD = "card"


class Desk(Protocol):
    """Port. Refusals of the HSM come as the errors of `core.errors`."""

    def status_mac(self, record: bytes, card_serial: str) -> bytes:
        """Command 36 mode 0: 8 bytes over the 24-byte record and the card serial."""
        ...

    def authenticate_reader(self, card_serial: str, random: bytes) -> bytes:
        """Command 32, usage 22: the 8-byte cryptogram that opens the F1 files."""
        ...

    def protect(
        self, scope: Scope, card_serial: str, random: bytes, header: bytes, data: bytes
    ) -> bytes:
        """Command 30 mode 1: `data` and its 4-byte MAC."""
        ...

    def check_answer(
        self, scope: Scope, card_serial: str, random: bytes, data: bytes, mac: bytes
    ) -> None:
        """Command 38: raises EvidenceMismatch when the card did not make this answer."""
        ...

    def unblock_pin(self, card_serial: str, random: bytes, pin_key: str, pin_block: bytes) -> bytes:
        """Command 34: cipher and MAC that open the PIN and set it to the one inside the PIN block."""
        ...


def protector(desk: Desk, scope: Scope, card_serial: str) -> Protector:
    """Line protection for one card, as `CardSession.send_protected` wants it."""

    def protect(challenge: bytes, header: bytes, data: bytes) -> bytes:
        return desk.protect(scope, card_serial, challenge, header, data)

    return protect
