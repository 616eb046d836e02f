"""The counter's `Desk` on the HSM: role DESK, commands 30 to 38 (hsm-and-ceremony.md 5.1).

Holds key names only. Every card key is derived inside the HSM from a master of the key directory and the
card factor: the last 8 bytes of the application serial number, ``00`` and the card serial (README
decision 13). Refusals are the errors of `hsm_sim.errors`; a false answer of a card is HSM-01.
"""

from hsm_sim.client import Hsm, KeySlots
from hsm_sim.issue_requests import (
    AuthenticateExternally,
    CheckCardAnswer,
    ProtectCommand,
    StatusMac,
    UnblockPin,
    challenge,
)
from registry.dormancy.desk import Desk, Scope

USAGE_MAINTENANCE, USAGE_CARD_MAINTENANCE = "15", "20"
USAGE_PIN_UNLOCK, USAGE_READER, USAGE_STATUS = "16", "22", "23"
LINE_USAGE = {
    Scope.PURSE: USAGE_MAINTENANCE,
    Scope.RESIDENCE: USAGE_MAINTENANCE,
    Scope.CARD: USAGE_CARD_MAINTENANCE,
}
MAC_ONLY = "1"
PIN_ACCOUNT_DIGITS = 12


def card_factor(card_serial: str) -> bytes:
    """8 bytes that diversify every key of a card.

    >>> card_factor("07001000000102").hex()
    '0007001000000102'
    """
    return bytes.fromhex("00" + card_serial)


class HsmDesk(Desk):
    """A desk that asks the HSM. Safe to share between threads when the port is."""

    def __init__(self, hsm: Hsm, slots: KeySlots) -> None:
        self._hsm = hsm
        self._slots = slots

    def status_mac(self, record: bytes, card_serial: str) -> bytes:
        key = self._slots.find(USAGE_STATUS, "status")
        return self._hsm.call(StatusMac(key, record, card_serial))

    def authenticate_reader(self, card_serial: str, random: bytes) -> bytes:
        master = self._slots.find(USAGE_READER, Scope.RESIDENCE)
        return self._hsm.call(AuthenticateExternally(master, (card_factor(card_serial),), random))

    def protect(
        self, scope: Scope, card_serial: str, random: bytes, header: bytes, data: bytes
    ) -> bytes:
        cipher, mac = self._hsm.call(
            ProtectCommand(
                self._line(scope), (card_factor(card_serial),), challenge(random), MAC_ONLY,
                header, data,
            )
        )  # fmt: skip
        return cipher + mac

    def check_answer(
        self, scope: Scope, card_serial: str, random: bytes, data: bytes, mac: bytes
    ) -> None:
        self._hsm.call(
            CheckCardAnswer(
                self._line(scope), (card_factor(card_serial),), challenge(random), data, mac
            )
        )

    def unblock_pin(self, card_serial: str, random: bytes, pin_key: str, pin_block: bytes) -> bytes:
        master = self._slots.find(USAGE_PIN_UNLOCK, Scope.PURSE)
        cipher, mac = self._hsm.call(
            UnblockPin(
                master, (card_factor(card_serial),), challenge(random), pin_key,
                card_serial[-PIN_ACCOUNT_DIGITS:], pin_block,
            )
        )  # fmt: skip
        return cipher + mac

    def _line(self, scope: Scope) -> str:
        return self._slots.find(LINE_USAGE[scope], scope)
