"""The data plane's policy: which certificate has which role, what is switched on, which limits hold.

``policy.json``, canonical JSON: ``{"clients": {"<sha256 of the public key>": {"name","role"}}, "dev"?, "limits",
"on"}``. It is changed on the HSM's own machine only, never over the port (R-1); each unlock and each change
writes its digest into the log (`config`), so an auditor sees when it changed.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core.errors import Rejected
from hsm_sim import canonical
from hsm_sim.client import Role
from hsm_sim.durable import write_whole
from hsm_sim.errors import HsmMismatch
from hsm_sim.limits import Limits

POLICY_FILE = "policy.json"
SWITCHABLE = frozenset({"46", "48"})
MAX_CLIENTS = 256


@dataclass(frozen=True)
class KnownClient:
    """A certificate's owner: a name for the log, and exactly one role."""

    name: str
    role: Role


@dataclass(frozen=True)
class Policy:
    """What is in force."""

    clients: Mapping[str, KnownClient] = field(default_factory=dict)
    switched_on: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)
    limits_given: Mapping[str, int] = field(default_factory=dict)
    dev: bool = False

    def text(self) -> bytes:
        """The file."""
        value: dict[str, Any] = {
            "clients": {
                key: {"name": client.name, "role": client.role.value}
                for key, client in self.clients.items()
            },
            "limits": dict(self.limits_given),
            "on": sorted(self.switched_on),
        }
        return canonical.encode({**value, "dev": True} if self.dev else value)

    @property
    def digest(self) -> str:
        """SHA-256 of the file, hex, for the `config` line."""
        return hashlib.sha256(self.text()).hexdigest()

    @classmethod
    def parse(cls, text: bytes) -> "Policy":
        """Read the file; raises HsmMismatch (HSM-STORE)."""
        try:
            value = canonical.decode(text)
            clients = {
                str(key): KnownClient(str(one["name"]), Role(one["role"]))
                for key, one in value["clients"].items()
            }
            on = frozenset(value["on"])
            if on - SWITCHABLE or len(clients) > MAX_CLIENTS:
                raise ValueError("clients, or commands that are not switched")
            if set(value) - {"clients", "dev", "limits", "on"}:
                raise ValueError("unknown member")
            given = dict(value["limits"])
            return cls(clients, on, Limits.of(given), given, value.get("dev") is True)
        except (ValueError, KeyError, TypeError, AttributeError, Rejected):
            raise HsmMismatch("HSM-STORE", "the policy file is not one") from None

    def with_clients(self, clients: Mapping[str, KnownClient]) -> "Policy":
        """The same with other clients."""
        return replace(self, clients=dict(clients))

    def with_limits(self, **limits: int) -> "Policy":
        """The same with other limits; ValueError for unknown ones."""
        given = {**self.limits_given, **limits}
        return replace(self, limits=Limits.of(given), limits_given=given)


def load(home: Path) -> Policy:
    """The policy of a folder; an empty one when there is none yet."""
    path = home / POLICY_FILE
    return Policy.parse(path.read_bytes()) if path.exists() else Policy()


def save(home: Path, policy: Policy) -> None:
    """Replace the file atomically."""
    write_whole(home / POLICY_FILE, policy.text())
