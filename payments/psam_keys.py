"""The PSAM desk's HSM: cryptograms for one new PSAM, by commands 14, 32 and 52 (hsm-and-ceremony.md 5.1, 5.3).

`HsmPsamKeys` is what `payments.psam.issue_psam` asks. Its HSM client needs roles ISSUE and TERMS (decision 26),
and an open issuance batch: every PSAM counts once in it.
"""

from collections.abc import Callable

from cardos.client import Protector
from cardos.spec import MAC_LENGTH
from hsm_sim.client import Hsm, KeySlots
from hsm_sim.issue_requests import AuthenticateExternally, ProtectCardKey, challenge
from hsm_sim.terminal_requests import ProtectPsamKey

CONTROL_USAGE, PURCHASE_USAGE = "19", "10"
PSAM_SCOPE, PURSE_SCOPE = "psam", "purse"
KEY_LENGTH = 16
BLOCK = 8


class HsmPsamKeys:
    """`payments.psam.PsamKeys` over an HSM; `lot` names the chips' delivered lot (``lot-07001``)."""

    def __init__(self, hsm: Hsm, slots: KeySlots, lot: str) -> None:
        """Raises NotFound HSM-NO-KEY when the lot's or the PSAM's control master is missing."""
        self._hsm = hsm
        self._slots = slots
        self._lot = slots.find(CONTROL_USAGE, lot)
        self._control = slots.find(CONTROL_USAGE, PSAM_SCOPE)

    def transport_answer(self, chip: bytes) -> Callable[[bytes], bytes]:
        """See `PsamKeys.transport_answer` (32)."""

        def answer(random: bytes) -> bytes:
            return self._hsm.call(AuthenticateExternally(self._lot, (chip,), challenge(random)))

        return answer

    def control_under_transport(self, chip: bytes, factor: bytes) -> Protector:
        """See `PsamKeys.control_under_transport` (14)."""
        return self._control_key(factor, self._lot, chip)

    def control_under_control(self, factor: bytes) -> Protector:
        """See `PsamKeys.control_under_control` (14)."""
        return self._control_key(factor, self._control, factor)

    def _control_key(self, factor: bytes, line: str, line_factor: bytes) -> Protector:
        def protect(random: bytes, header: bytes, prefix: bytes) -> bytes:
            request = ProtectCardKey(
                self._control, (factor,), line, (line_factor,), challenge(random),
                header + _data_length(prefix), prefix,
            )  # fmt: skip
            return self._hsm.call(request)

        return protect

    def purchase_master(self, version: int, factor: bytes) -> Protector:
        """See `PsamKeys.purchase_master` (52). NotFound HSM-NO-KEY when that version was never born."""
        master = self._slots.find(PURCHASE_USAGE, PURSE_SCOPE, version)

        def protect(random: bytes, header: bytes, prefix: bytes) -> bytes:
            request = ProtectPsamKey(
                master, (), self._control, (factor,), challenge(random),
                header + _data_length(prefix), prefix,
            )  # fmt: skip
            return self._hsm.call(request)

        return protect


def _data_length(prefix: bytes) -> bytes:
    """Lc of WRITE KEY: a length byte, prefix and key in whole blocks, and the MAC."""
    plain = 1 + len(prefix) + KEY_LENGTH
    return bytes((plain + -plain % BLOCK + MAC_LENGTH,))
