"""The station's HSM, seen card by card: challenges in, cryptograms out (hsm-and-ceremony.md 5.1, role ISSUE)."""

from collections.abc import Callable

from cardos.client import Protector
from cardos.spec import MAC_LENGTH
from hsm_sim.client import Hsm, KeySlots
from hsm_sim.issue_requests import (
    AuthenticateExternally,
    CardKeyCheckValue,
    CheckCardAnswer,
    CheckInternalAuthentication,
    ProtectCardKey,
    ProtectCommand,
    StatusMac,
    challenge,
)
from personalization.chip import CardKey

KEY_LENGTH = 16
BLOCK = 8
MAC_ONLY = "1"
STATUS_USAGE, STATUS_SCOPE = "23", "status"


class HsmCardKeys:
    """`personalization.chip.CardKeys` and `records.StatusMac` over an HSM. Safe to share between stations.

    `slots` is the HSM's key directory. All calls raise NotFound HSM-NO-KEY and what the HSM answers.
    """

    def __init__(self, hsm: Hsm, slots: KeySlots) -> None:
        self._hsm = hsm
        self._slots = slots

    def _master(self, key: CardKey) -> str:
        return self._slots.find(f"{key.usage:02d}", key.scope, key.version)

    def answer(self, key: CardKey) -> Callable[[bytes], bytes]:
        """See `CardKeys.answer` (32)."""
        master = self._master(key)

        def respond(random: bytes) -> bytes:
            request = AuthenticateExternally(master, (key.factor,), challenge(random))
            return self._hsm.call(request)

        return respond

    def load(self, key: CardKey, under: CardKey) -> Protector:
        """See `CardKeys.load` (14)."""
        master, line = self._master(key), self._master(under)

        def protect(random: bytes, header: bytes, prefix: bytes) -> bytes:
            plain = 1 + len(prefix) + KEY_LENGTH  # a length byte, the record
            length = plain + -plain % BLOCK + MAC_LENGTH
            request = ProtectCardKey(
                master, (key.factor,), line, (under.factor,), challenge(random),
                header + bytes((length,)), prefix,
            )  # fmt: skip
            return self._hsm.call(request)

        return protect

    def protect(self, key: CardKey) -> Protector:
        """See `CardKeys.protect` (30)."""
        master = self._master(key)

        def protect(random: bytes, header: bytes, data: bytes) -> bytes:
            request = ProtectCommand(
                master, (key.factor,), challenge(random), MAC_ONLY, header, data
            )
            shown, mac = self._hsm.call(request)
            return shown + mac

        return protect

    def check_answer(self, key: CardKey, random: bytes, data: bytes, mac: bytes) -> None:
        """See `CardKeys.check_answer` (38)."""
        factors = (key.factor,)
        self._hsm.call(CheckCardAnswer(self._master(key), factors, challenge(random), data, mac))

    def check_proof(self, key: CardKey, data: bytes, answer: bytes) -> None:
        """See `CardKeys.check_proof` (3A)."""
        self._hsm.call(CheckInternalAuthentication(self._master(key), (key.factor,), data, answer))

    def check_value(self, key: CardKey) -> str:
        """See `CardKeys.check_value` (10)."""
        return self._hsm.call(CardKeyCheckValue(self._master(key), (key.factor,))).hex().upper()

    def status_mac(self, body: bytes, card_serial: str) -> bytes:
        """MAC of a status record for `records.bind` (36)."""
        slot = self._slots.find(STATUS_USAGE, STATUS_SCOPE)
        return self._hsm.call(StatusMac(slot, body, card_serial))
