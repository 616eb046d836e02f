"""One command in hand: who asks, the keys the table let through, what the answer will be counted as.

Command functions register here with `handles`; a form without a row in the policy table cannot (R-43).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from hsm_sim.client import Request, Role
from hsm_sim.derive import CardKey, card_key, require_factors
from hsm_sim.policy import RULES
from hsm_sim.secret import SecretKey

if TYPE_CHECKING:
    from hsm_sim.device import Hsm

BARE_EXPORT = "bare-export"  # label of a TMK token under which wrap X is allowed
TERMINAL_SCOPE = "terminal"  # scope of a resident TMK that may do the same


@dataclass(frozen=True)
class Client:
    """Who is at the other end: its role by its certificate, and the connection handles belong to."""

    name: str
    role: Role
    connection: int = 0


@dataclass(frozen=True)
class Key:
    """A key the policy table allowed for this command. `kid` is "" for a token, `partner` its optional blocks."""

    kid: str
    alg: str
    usage: str
    mode: str
    version: str
    export: str
    scope: str
    bare: bool
    secret: SecretKey = field(repr=False)
    partner: tuple[tuple[str, str], ...] = ()

    @property
    def lineage(self) -> str:
        """What wrong MACs are counted by: all versions of a key, or the token's usage."""
        return f"{self.usage}/{self.scope}"

    @property
    def strength(self) -> int:
        """Order of strength for wrapping: TDES below AES and SM4 below AES-256 (R-23)."""
        return {"D1": 0, "T2": 1, "T3": 2, "S4": 3, "A1": 3, "A2": 4, "A3": 5}.get(self.alg, 5)


@dataclass(slots=True)
class Work:
    """What a command function gets. `good` and `bad` are counted, one each for a plain command."""

    hsm: "Hsm"
    client: Client
    code: str
    keys: dict[str, Key]
    good: int = 1
    bad: int = 0

    @property
    def kid(self) -> str:
        """The key that does the work, the first the rule names; "" for a token or none."""
        for key in self.keys.values():
            return key.kid
        return ""

    @property
    def lineage(self) -> str:
        """Its lineage, which wrong MACs are counted by."""
        for key in self.keys.values():
            return key.lineage
        return ""

    def key(self, name: str) -> Key:
        """The key of this field of the request."""
        return self.keys[name]

    def secret(self, name: str) -> SecretKey:
        """Its material."""
        return self.keys[name].secret

    def card_key(self, name: str, factors: Sequence[bytes], least: int = 1) -> CardKey:
        """The card key under a master; HSM-22 for factors that are not allowed (R-11, R-44)."""
        require_factors(factors, least)
        return card_key(self.keys[name].secret, factors)


R = TypeVar("R", bound=Request[Any])
Handler = Callable[[Work, Any], bytes]
HANDLERS: dict[type[Request[Any]], Handler] = {}


def handles(
    request: type[R],
) -> Callable[[Callable[[Work, R], bytes]], Callable[[Work, R], bytes]]:
    """Register the function that does this form of a command."""

    def register(function: Callable[[Work, R], bytes]) -> Callable[[Work, R], bytes]:
        if request not in RULES or request in HANDLERS:
            raise RuntimeError(
                f"{request.__name__} has no row in the policy table, or two functions"
            )
        HANDLERS[request] = function
        return function

    return register
