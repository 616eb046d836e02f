"""The purse host of an installation: its database, its HSM over mutual TLS, its bank."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.clock import Clock
from core.db import Database
from hsm_sim.client import Hsm, KeySlots, Role
from hsm_sim.tcp import TcpHsm, roles_of
from payments.authorize import Authorizer
from payments.bank import SimulatedBank
from payments.judging import Judge
from payments.limits import HostProfile, Masters, Parameters
from runtime import services
from runtime.settings import Settings

ROLES = (Role.PURSE, Role.SWITCH, Role.TERMS)
SCOPE = "purse"
ZONE_KEY = "bank-zpk-01"
ACCOUNT_FEN = 10_000_000
BANK_BOOKS = "bank.jsonl"


@dataclass(frozen=True)
class HostSetup:
    """Where a host finds everything. `name` tells several hosts of one database apart; `hsm_bulk_port` is the HSM's
    listener for command `90`, None when it has none.
    """

    data: Path
    certificates: Path
    slots: Path
    hsm_host: str
    hsm_port: int
    name: str = "host-1"
    hsm_bulk_port: int | None = None


@dataclass
class PurseHost:
    """What a host consists of; clearing uses the same parts."""

    authorizer: Authorizer
    judge: Judge
    db: Database
    hsm: Hsm
    bank: SimulatedBank
    masters: Masters
    profile: HostProfile
    clock: Clock


def masters_of(slots: KeySlots) -> Masters:
    """The HSM's key directory by usage and card key version."""
    return lambda usage, version: slots.find(usage, SCOPE, version)


@contextmanager
def purse_host(setup: HostSetup) -> Iterator[PurseHost]:
    """A host for the length of a block. Raises NotFound HSM-SLOTS and the errors of HSM and database."""
    city = services.build(Settings(data=setup.data))
    slots = KeySlots.load(setup.slots)
    clients = roles_of(setup.certificates, ROLES)
    hsm = TcpHsm(setup.hsm_host, setup.hsm_port, clients, setup.hsm_bulk_port)
    bank = SimulatedBank(city.clock, books=setup.data / BANK_BOOKS, open_accounts_with=ACCOUNT_FEN)
    profile = HostProfile(
        name=setup.name,
        parameters=Parameters(purse_fen=city.settings.purse_limit_fen),
        zone_key=slots.get(ZONE_KEY, ""),
    )
    masters = masters_of(slots)
    authorizer = Authorizer(city.db, city.clock, hsm, bank, masters, profile)
    try:
        judge = Judge(city.db, city.clock, hsm, masters, profile)
        yield PurseHost(authorizer, judge, city.db, hsm, bank, masters, profile, city.clock)
    finally:
        authorizer.close()
        hsm.close()
        city.close()
