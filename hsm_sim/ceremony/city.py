"""The pilot city's keys as ceremonies: LMK, every master, the PIN pads' transport key, an issuance batch.

All masters are local and derive at card level only (hsm-and-ceremony.md 8.1). A key's identifier is
``<scope>-<name>-<version>``. `hold_city_ceremonies` runs them unattended with people made for the
occasion: for tests, training and the demo, never for a real city.
"""

import json
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.clock import Clock
from hsm_sim.ceremony.actions import KeyActions
from hsm_sim.ceremony.bundle import export_bundle, trust_file
from hsm_sim.ceremony.console import Console
from hsm_sim.ceremony.people import Person
from hsm_sim.ceremony.room import UnattendedRoom
from hsm_sim.ceremony.run import CeremonyRun
from hsm_sim.ceremony.script import POLICY, Script, Step, component_steps
from hsm_sim.log import AuditLog
from hsm_sim.usage import UsageMeter

HSM_NAME = "hsm-01.city.example"
DOMAIN = "city.example"
ATTEND = ("ca1", "iw1", "ea1", "kc1", "kc2", "kc3")
STAFF = {
    "ca1": "CA",
    "iw1": "IW",
    "ea1": "EA",
    "kc1": "KC",
    "kc2": "KC",
    "kc3": "KC",
    "kc4": "KC",
    "so1": "SO",
}
LMK, PIN_PAD_KEY = "lmk-1", "pinpad-transport-01"
COMPONENTS = 3
UNLOCK_SECRETS = 2
BATCH_CARDS = 20_000
BATCH_DAYS = 90


@dataclass(frozen=True)
class PlannedKey:
    """A key the city needs: attributes of 8.1; export S lets `52` put it into a PSAM (R-44)."""

    scope: str
    name: str
    alg: str
    usage: str
    mode: str
    export: str = "N"
    version: str = "01"

    @property
    def kid(self) -> str:
        """The identifier."""
        return (
            f"{self.scope}-{self.name}-{self.version}"
            if self.name
            else f"{self.scope}-{self.version}"
        )

    def attributes(self) -> dict[str, str]:
        """What a script says of the key besides its identifier."""
        return {
            "alg": self.alg, "export": self.export, "mode": self.mode, "scope": self.scope,
            "usage": self.usage, "version": self.version,
        }  # fmt: skip


def city_keys() -> tuple[PlannedKey, ...]:
    """Every key generated for the city."""

    def master(
        scope: str, name: str, usage: str, export: str = "N", version: str = "01"
    ) -> PlannedKey:
        return PlannedKey(scope, name, "T2", usage, "X", export, version)

    return (
        master("purse", "dpk", "10", "S"),
        master(
            "purse", "dpk", "10", "S", "02"
        ),  # the reserve every PSAM carries for the next rotation
        master("purse", "dlk", "11"),
        master("purse", "dtk", "12"),
        master("purse", "damk", "15"),
        master("purse", "dpuk", "16"),
        master("purse", "dack", "18"),
        master("card", "dcck", "19"),
        master("card", "dcmk", "20"),
        master("residence", "dack", "18"),
        master("residence", "damk", "15"),
        master("residence", "irk", "21", "S"),
        master("residence", "drak", "22", "S"),
        master("psam", "dcck", "19"),
        PlannedKey("status", "", "A3", "23", "C"),
        PlannedKey("bank", "zpk", "T2", "P0", "B"),
        PlannedKey("registers", "data", "A3", "D0", "B"),
        PlannedKey("registers", "index", "H2", "M7", "C"),
        PlannedKey("events", "seal", "ED", "S0", "S"),
    )


def loaded_keys(lot: str) -> tuple[PlannedKey, ...]:
    """Keys that others have too, loaded from components: the PIN pads' transport key and the chip maker's
    lot master, from which the transport keys of the blank chips of `lot` derive (purse-card.md 12.6)."""
    return (
        PlannedKey("pinpad", "transport", "T2", "K0", "B"),
        PlannedKey(f"lot-{lot}", "", "T2", "19", "X"),
    )


def city_scripts(lot: str, expires: str) -> tuple[Script, ...]:
    """The four ceremonies, in order. `expires` is the last day (YYYY-MM-DD) of the issuance batch."""
    lmk = {"alg": "A3", "export": "N", "mode": "N", "usage": "K1", "version": "01"}
    keys, loaded = city_keys(), loaded_keys(lot)
    batch = {
        "batch": f"lot-{lot}",
        "cards": BATCH_CARDS,
        "expires": expires,
        "masters": [key.kid for key in (*keys, *loaded) if key.mode == "X"],
        "methods": ["12", "14", "52"],
    }
    return (
        Script(1, "init", (*component_steps(LMK, COMPONENTS, lmk), _activate(LMK))),
        Script(
            2,
            "key-generate",
            (
                *(Step("generate", {"kid": key.kid, **key.attributes()}) for key in keys),
                *(_activate(key.kid) for key in keys),
            ),
        ),
        Script(
            3,
            "key-load",
            tuple(
                step
                for key in loaded
                for step in (
                    *component_steps(key.kid, COMPONENTS, key.attributes()),
                    _activate(key.kid),
                )
            ),
        ),
        Script(4, "batch-open", (Step("batch-open", batch),)),
    )


def _activate(kid: str) -> Step:
    return Step("activate", {"kid": kid})


class CeremonyHsm(Protocol):
    """The HSM as ceremonies and audits see it; `directory` has the entries of command 70."""

    @property
    def log(self) -> AuditLog: ...
    @property
    def usage(self) -> UsageMeter: ...
    @property
    def actions(self) -> KeyActions: ...
    def directory(self) -> Sequence[dict[str, Any]]: ...


class MakeHsm(Protocol):
    """How a new HSM is made in a folder: genesis and boot line written, LMK still to come."""

    def __call__(
        self,
        *,
        home: Path,
        name: str,
        clock: Clock,
        roster: Sequence[dict[str, str]],
        policy: dict[str, Any],
        unlock_secrets: Sequence[bytes],
    ) -> CeremonyHsm: ...


@dataclass
class CityCeremony:
    """What is there after the ceremonies. `unlock_secrets` open the HSM after a restart."""

    hsm: CeremonyHsm
    home: Path
    people: dict[str, Person]
    room: UnattendedRoom = field(repr=False)
    unlock_secrets: tuple[bytes, ...] = field(repr=False)
    bundle_dir: Path
    trust_path: Path

    def audit(self, target: Path, nonce: str) -> Path:
        """A fresh bundle for a new nonce; the trust file is set to expect it."""
        bundle = export_bundle(
            self.hsm.log, self.hsm.usage, self.hsm.directory(), self.home, target, nonce
        )
        write_trust(self.trust_path, self.hsm.log, nonce)
        return bundle


def make_people(seed: int) -> dict[str, Person]:
    """The city's staff with keys that follow from a seed: repeatable rehearsals, nothing to protect."""
    dice = random.Random(seed)  # noqa: S311 - people of a rehearsal, never key material of the HSM
    return {
        id: Person.of(id, role, DOMAIN, Ed25519PrivateKey.from_private_bytes(dice.randbytes(32)))
        for id, role in STAFF.items()
    }


def write_trust(
    path: Path, log: AuditLog, nonce: str, last_seen: tuple[int, bytes] | None = None
) -> None:
    """The auditor's trust file."""
    path.write_text(json.dumps(trust_file(log, nonce, last_seen), indent=1) + "\n", "utf-8")


def hold_city_ceremonies(
    home: Path, clock: Clock, seed: int, make_hsm: MakeHsm, audit: Path, lot: str = "07001"
) -> CityCeremony:
    """Make an HSM in `home` and hold all ceremonies; bundle and trust file go to `audit`.

    `seed` makes the people only: the HSM's keys and the components are random every time.
    """
    people = make_people(seed)
    unlock = tuple(secrets.token_bytes(16) for _ in range(UNLOCK_SECRETS))
    hsm = make_hsm(
        home=home,
        name=HSM_NAME,
        clock=clock,
        roster=[person.entry() for person in people.values()],
        policy=POLICY,
        unlock_secrets=unlock,
    )
    room = UnattendedRoom(people)
    console = Console(hsm.log, hsm.actions, home, clock)
    expires = (clock.now() + timedelta(days=BATCH_DAYS)).date().isoformat()
    for script in city_scripts(lot, expires):
        CeremonyRun(console, script, {who: STAFF[who] for who in ATTEND}, room).run()
    audit.mkdir(parents=True, exist_ok=True)
    city = CityCeremony(hsm, home, people, room, unlock, audit / "bundle", audit / "trust.json")
    city.audit(city.bundle_dir, secrets.token_hex(16))
    return city
