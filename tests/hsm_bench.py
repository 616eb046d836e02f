"""An HSM with the city's keys for tests: the real ceremonies on the real engine, with a cheap password hash."""

import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from core.clock import Clock, SystemClock
from hsm_sim import clients
from hsm_sim.ceremony.actions import Birth
from hsm_sim.ceremony.city import CityCeremony, hold_city_ceremonies
from hsm_sim.certificates import make_certificates
from hsm_sim.client import KeySlots
from hsm_sim.device import Hsm
from hsm_sim.engine import Engine
from hsm_sim.keystore import Keystore, State
from hsm_sim.lmkfile import Argon2
from hsm_sim.local import LocalHsm

CHEAP = Argon2(memory_kib=64, passes=1, lanes=1)
LOT = "07001"
CARD = bytes.fromhex("0012345678901234")


def cheap_hsm(**wanted: Any) -> Hsm:
    """`ceremony.city.MakeHsm` with a hash that costs nothing."""
    return Hsm.make(**wanted, kdf=CHEAP)


@dataclass
class HsmCity:
    """The city's HSM after its ceremonies."""

    city: CityCeremony
    hsm: Hsm
    slots: KeySlots

    @property
    def local(self) -> LocalHsm:
        return LocalHsm(Engine(self.hsm))

    def restart(self, clock: Clock) -> None:
        """Close and open again with the unlock secrets."""
        self.hsm.close()
        self.hsm = Hsm.open(self.city.home, clock)
        self.hsm.unlock(self.city.unlock_secrets)


def hold(folder: Path, clock: Clock | None = None) -> HsmCity:
    """Make the HSM in `folder`/hsm, audit papers in `folder`/audit."""
    home = folder / "hsm"
    city = hold_city_ceremonies(home, clock or SystemClock(), 7, cheap_hsm, folder / "audit", LOT)
    hsm = city.hsm
    assert isinstance(hsm, Hsm)
    return HsmCity(city, hsm, KeySlots.load(home / "slots.json"))


def give_certificates(home: Path, folder: Path) -> None:
    """Certificates for all roles, entered in the policy; the HSM must not be open."""
    known = make_certificates(folder, SystemClock())
    clients.save(home, clients.load(home).with_clients(known))


class KnownKeys:
    """An HSM whose keys a test chose: for vectors. Its log has no ceremonies, so it cannot be reopened."""

    def __init__(self, home: Path, clock: Clock | None = None) -> None:
        self.hsm = Hsm.make(
            home, "hsm.test", clock or SystemClock(), [], {"quorum": {}}, (b"one", b"two"), CHEAP
        )
        self.engine = Engine(self.hsm)
        self.local = LocalHsm(self.engine)
        self.load("lmk-1", bytes(range(1, 33)), "A3", "K1", "N")

    def load(
        self, kid: str, material: bytes, alg: str, usage: str, mode: str, export: str = "N",
        scope: str = "test", version: str = "01",
    ) -> str:  # fmt: skip
        """Load a key from three components and make it active; its key field. The file is not written."""
        actions = self.hsm.actions
        parts = [secrets.token_bytes(len(material)) for _ in range(2)]
        parts.append(bytes(a ^ b ^ c for a, b, c in zip(material, *parts, strict=True)))
        actions.begin(self.hsm.log.size)
        for number, part in enumerate(parts, 1):
            actions.component(kid, number, bytearray(part))
        with mock.patch.object(Keystore, "hold"):
            actions.combine(Birth(kid, alg, usage, mode, version, export, scope, 1), 3)
        store = self.hsm.keystore
        assert store is not None
        store.put(replace(store.entries[kid], state=State.ACTIVE))
        slot = store.entries[kid].slot
        return f"K{slot:03X}" if slot >= 0 else ""

    def move(self, kid: str, action: str) -> None:
        """Change a key's state as a ceremony step would."""
        self.hsm.actions.begin(self.hsm.log.size)
        getattr(self.hsm.actions, action)(kid)
        self.hsm.actions.commit()
