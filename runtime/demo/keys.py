"""Chapter 1, the ceremony: an HSM is initialised, every key is born by script, and a stranger's program checks it.

Afterwards the HSM runs as a process of its own behind mutual TLS. The chip maker and the PIN pads get the two
keys that others have too from the same envelopes; nothing else ever leaves the HSM in the clear.
"""

import json
import secrets
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cardos.chipmaker import ChipMaker
from core.clock import SystemClock
from hsm_sim.ceremony import verifier
from hsm_sim.ceremony.city import PIN_PAD_KEY, CityCeremony, hold_city_ceremonies
from hsm_sim.certificates import make_certificates
from hsm_sim.client import KeySlots, Role
from hsm_sim.device import Hsm, make_hsm
from hsm_sim.launch import HsmProcess, start_hsm
from hsm_sim.pinpad import SimPinPad
from hsm_sim.tcp import TcpHsm, roles_of
from runtime.demo.city import LOT, City
from runtime.event_seals import EventSealer

VERIFY_SECONDS = 120
SEAL_KEY = "event-seal.vkey"


@dataclass(frozen=True)
class Ceremony:
    """What the auditor takes home, and the verdict of the verifier that ran alone."""

    bundle: Path
    trust: Path
    verdict: dict[str, Any]


@dataclass(frozen=True)
class KeyRoom:
    """The HSM at work."""

    process: HsmProcess
    city: CityCeremony = field(repr=False)
    slots: KeySlots
    certificates: Path
    ceremony: Ceremony
    chip_maker: ChipMaker = field(repr=False)
    pads: tuple[SimPinPad, ...] = field(repr=False)

    def client(self, city: City, *roles: Role) -> TcpHsm:
        """A connection for a program that holds one certificate for each of these roles."""
        hsm = TcpHsm("127.0.0.1", self.process.port, roles_of(self.certificates, roles))
        city.closing.callback(hsm.close)
        return hsm


def hold_ceremonies(city: City, pads: int) -> KeyRoom:
    """The whole chapter; `pads` PIN pads get the transport key."""
    home, audit = city.out / "hsm", city.folder("ceremony")
    made = hold_city_ceremonies(home, SystemClock(), city.options.seed, make_hsm, audit, LOT)
    assert isinstance(made.hsm, Hsm)
    city.progress("ceremonies held", 1)
    certificates = city.out / "certificates"
    clients = make_certificates(certificates, SystemClock())
    made.hsm.set_policy(made.hsm.policy.with_clients(clients))
    slots = KeySlots.load(home / "slots.json")
    chip_maker = ChipMaker(city.dice.randbytes)
    made.room.hand_over(f"lot-{LOT}-01", chip_maker.install)
    new_pads = tuple(SimPinPad() for _ in range(pads))
    check_value = next(key.kcv for key in slots.keys_known if key.kid == PIN_PAD_KEY)
    made.room.hand_over(PIN_PAD_KEY, lambda key: _enter(key, check_value, new_pads))
    made.hsm.close()
    ceremony = Ceremony(made.bundle_dir, made.trust_path, verify(made.bundle_dir, made.trust_path))
    city.progress("ceremonies verified", 1)
    log = city.closing.enter_context((city.folder("logs") / "hsm.log").open("wb"))
    process = city.closing.enter_context(
        start_hsm(home, certificates, made.unlock_secrets, log=log)
    )
    return KeyRoom(process, made, slots, certificates, ceremony, chip_maker, new_pads)


def _enter(key: bytearray, check_value: str, pads: Sequence[SimPinPad]) -> None:
    """Custodians enter the pad's transport key as two fresh components at each pad."""
    for pad in pads:
        first = secrets.token_bytes(len(key))
        second = bytes(a ^ b for a, b in zip(key, first, strict=True))
        pad.load_transport_key((first, second), check_value)


def seal_events(city: City, room: KeyRoom) -> int:
    """Let the HSM seal the event log as it stands (command 72); the number of events under seal."""
    return EventSealer(city.db, room.client(city, Role.SEAL), city.clock).run_once()


def audit_the_day(city: City, room: KeyRoom) -> Ceremony:
    """Stop the HSM, export a second bundle with everything it did since, and verify that one too.

    Beside it lies the seal key's verifier key, for ``citycard audit verify``.
    """
    room.process.stop()
    hsm = Hsm.open(room.city.home, SystemClock())
    try:
        hsm.unlock(room.city.unlock_secrets)
        audit = city.folder("ceremony")
        day = replace(room.city, hsm=hsm, trust_path=audit / "day-trust.json")
        bundle = day.audit(audit / "day-bundle", secrets.token_hex(16))
        vkey = next(str(row["vkey"]) for row in hsm.directory() if "vkey" in row)
        (audit / SEAL_KEY).write_text(vkey + "\n", "ascii")
    finally:
        hsm.close()
    city.progress("day audited", 1)
    return Ceremony(bundle, day.trust_path, verify(bundle, day.trust_path))


def verify(bundle: Path, trust: Path) -> dict[str, Any]:
    """Run the verifier as an auditor does, as a program alone; its JSON verdict."""
    command = [sys.executable, "-I", str(Path(verifier.__file__)), "verify", str(bundle)]
    command += ["--trust", str(trust), "--json"]
    done = subprocess.run(  # noqa: S603 - our own interpreter and file
        command, capture_output=True, text=True, check=False, timeout=VERIFY_SECONDS
    )
    if done.returncode not in (0, 1):
        raise AssertionError(f"the verifier ended with {done.returncode}: {done.stderr[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
