"""Field 64 and sign-on at the host: the HSM makes and checks, this side holds tokens (iso8583-host.md 7.1, 9).

A terminal has two key sets, *current* and *waiting*; the first good MAC under the waiting one makes it
current (I-10), so a lost sign-on answer does not lock the terminal out.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.errors import CityError
from hsm_sim.client import Hsm
from hsm_sim.client import Request as HsmRequest
from hsm_sim.generic_requests import MAC_4, MAC_8, MakeMac, VerifyMac
from hsm_sim.terminal_requests import MASK_TAK, MASK_TEK, MASK_TPK, MakeWorkKeys, WorkKey, field_62
from payments.iso_fields import MAC_LENGTH

UNIONPAY, X919, X99 = "unionpay", "x919", "x99"
WAITING_LIFE = timedelta(minutes=10)  # I-11: the same waiting set is given again for so long
_ALGORITHM = {UNIONPAY: ("C", MAC_8), X919: ("3", MAC_4), X99: ("1", MAC_4)}
Outcome = Any  # an HSM answer, or the CityError it gave instead


def ask_all(hsm: Hsm, requests: Sequence[HsmRequest[Any]], pool: Executor) -> list[Outcome]:
    """The answer or the error of each request; several travel together where the port can do that."""
    each = getattr(hsm, "call_each", None)
    if each is not None:
        outcomes: list[Outcome] = each(requests)
        return outcomes
    if len(requests) < 2:
        return [_ask(hsm, request) for request in requests]
    return list(pool.map(lambda request: _ask(hsm, request), requests))


def begin_all(
    hsm: Hsm, requests: Sequence[HsmRequest[Any]], pool: Executor
) -> Callable[[], list[Outcome]]:
    """As `ask_all`, but on their way already where the port can do that; the call gives the outcomes."""
    begin = getattr(hsm, "begin_each", None)
    if begin is not None:
        collect: Callable[[], list[Outcome]] = begin(requests)
        return collect
    return lambda: ask_all(hsm, requests, pool)


def _ask(hsm: Hsm, request: HsmRequest[Any]) -> Outcome:
    try:
        return hsm.call(request)
    except CityError as error:
        return error


@dataclass(frozen=True)
class MacKey:
    """A MAK as the HSM's token, and how this terminal's field 64 is computed."""

    token: str
    profile: str

    @property
    def algorithm(self) -> str:
        """As the HSM names it."""
        return _ALGORITHM[self.profile][0]

    def verify(self, mab: bytes, mac: bytes) -> VerifyMac | None:
        """The HSM request that checks field 64; None when its form alone is wrong (I-20: upper case only)."""
        algorithm, size = _ALGORITHM[self.profile]
        if algorithm == "C":
            return VerifyMac(self.token, mab, mac, algorithm, size)
        text = mac.decode("latin-1")
        if len(text) != MAC_LENGTH or any(c not in "0123456789ABCDEF" for c in text):
            return None
        return VerifyMac(self.token, mab, bytes.fromhex(text), algorithm, size)

    def make(self, mab: bytes) -> MakeMac:
        """The HSM request that makes field 64 (`field64` turns its answer into the field)."""
        algorithm, size = _ALGORITHM[self.profile]
        return MakeMac(self.token, mab, algorithm, size)

    def field64(self, mac: bytes) -> bytes:
        """Eight ASCII characters."""
        return mac if self.profile == UNIONPAY else mac.hex().upper().encode()


def keys_to_try(terminal: Any) -> list[MacKey]:
    """Waiting first, then current (I-10)."""
    tokens = (terminal.waiting_mak, terminal.current_mak)
    return [MacKey(token, terminal.mac_profile) for token in tokens if token]


def new_keys(terminal: Any) -> MakeWorkKeys:
    """HSM `50`: PIK, MAK and track key, wrapped with scheme X, with 8-digit check values."""
    return MakeWorkKeys(
        terminal.tmk,
        str(MASK_TPK | MASK_TAK | MASK_TEK),
        mac_algorithm="D1" if terminal.single_mak else "T2",
    )


def still_waiting(terminal: Any, now: datetime) -> bool:
    """Whether an unused set is young enough to be given again without an HSM call (I-11)."""
    return terminal.waiting_at is not None and now - terminal.waiting_at < WAITING_LIFE


def field_62_of(keys: tuple[WorkKey, ...]) -> bytes:
    """Field 62 of the answer, 60 bytes with the track key last."""
    return field_62(keys)
