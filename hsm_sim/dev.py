"""An HSM for developers: ready at once, with a fixed LMK and known unlock secrets, and no limits (section 14).

It says so wherever it can: firmware ``0001-DEV0``, `config` lines with ``dev: true`` that an audit reports as
DEV-MODE, a warning at the start and at each connection. Whoever reads this file can read every key under its LMK.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from core.clock import Clock
from hsm_sim.ceremony.city import ATTEND, BATCH_DAYS, STAFF, city_scripts, make_people
from hsm_sim.ceremony.console import Console
from hsm_sim.ceremony.room import UnattendedRoom
from hsm_sim.ceremony.run import CeremonyRun
from hsm_sim.ceremony.script import POLICY
from hsm_sim.certificates import make_certificates
from hsm_sim.clients import Policy
from hsm_sim.device import Hsm
from hsm_sim.errors import HsmForbidden

DEV_NAME = "hsm-dev.city.example"
DEV_SECRETS = (b"development", b"not a secret")
DEV_LMK = "lmk-1"
DEV_LOT = "07001"
WARNING = "DEVELOPMENT MODE: known LMK and unlock secrets, no rate limits. Its audits are findings."


class DevRoom(UnattendedRoom):
    """A room where the LMK's envelopes always hold the same."""

    def component(self, custodian: str, kid: str, n: int, length: int) -> bytearray:
        """Component `n`; the LMK's are known to everybody."""
        if kid == DEV_LMK:
            return bytearray((17 * n + 31 * at) % 256 for at in range(length))
        return super().component(custodian, kid, n, length)


def prepare(home: Path, certificates: Path, clock: Clock, tell: Callable[[str], None]) -> None:
    """Make the HSM and its certificates in empty folders; leave those of an earlier run as they are."""
    if (home / "lmk.json").exists():
        return
    tell("making a development HSM")
    people = make_people(0)
    roster = [person.entry() for person in people.values()]
    hsm = Hsm.make(home, DEV_NAME, clock, roster, POLICY, DEV_SECRETS)
    try:
        known = make_certificates(certificates, clock)
        hsm.set_policy(Policy(dev=True).with_clients(known))
        console, room = Console(hsm.log, hsm.actions, home, clock), DevRoom(people)
        expires = (clock.now() + timedelta(days=BATCH_DAYS)).date().isoformat()
        for script in city_scripts(DEV_LOT, expires):
            CeremonyRun(console, script, {who: STAFF[who] for who in ATTEND}, room).run()
    finally:
        hsm.close()


def require_dev(hsm: Hsm) -> None:
    """Refuse to treat an HSM in earnest as one for developers, and the other way round: HSM-UNLOCK."""
    if not hsm.policy.dev:
        raise HsmForbidden("HSM-UNLOCK", "this is not a development HSM")
