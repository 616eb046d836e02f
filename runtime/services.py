"""The composition root: settings in, one frozen set of services out. The only place that knows concrete things."""

import importlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from core.clock import Clock, SystemClock
from core.db import Database
from core.errors import CityError
from core.faults import PACKAGES
from hsm_sim.client import KeySlots, Role
from hsm_sim.tcp import TcpHsm, roles_of
from registry import vault
from runtime.settings import Settings

OTHER_TABLES = (
    "core.events",
    "core.leases",
    "registry.repeats",
    "registry.sequences",
)  # one table beside its functions


@dataclass(frozen=True)
class Services:
    """What screens and commands work with."""

    settings: Settings
    db: Database
    clock: Clock
    hsm: TcpHsm | None = None  # for the registers' personal data

    def close(self) -> None:
        """Let go of the database and of the HSM."""
        self.db.close()
        if self.hsm is not None:
            self.hsm.close()


def declare_tables() -> None:
    """Import every ``tables.py`` below our packages, so that the schema is whole."""
    for module in OTHER_TABLES:
        importlib.import_module(module)
    for package in PACKAGES:
        _import_tables(package, Path(str(resources.files(package))))


def _import_tables(package: str, folder: Path) -> None:
    for entry in sorted(folder.iterdir()):
        if entry.name == "tables.py":
            importlib.import_module(f"{package}.tables")
        elif entry.is_dir() and (entry / "__init__.py").exists():
            _import_tables(f"{package}.{entry.name}", entry)


def build(settings: Settings, clock: Clock | None = None) -> Services:
    """Open the installation in ``settings.data``; what is missing there is made."""
    if settings.database.startswith("sqlite:///"):
        settings.data.mkdir(parents=True, exist_ok=True)
    declare_tables()
    db = Database(settings.database)
    try:
        db.create_tables()
        hsm = _personal_data(settings, db) if settings.hsm else None
    except CityError:
        db.close()
        raise
    return Services(settings, db, clock or SystemClock(), hsm)


def _personal_data(settings: Settings, db: Database) -> TcpHsm:
    """Connect the registers' vault; the HSM is asked when first needed.

    Raises NotFound HSM-SLOTS, HSM-NO-KEY (the directory), NotAllowed HSM-TLS (the certificate).
    """
    slots = KeySlots.load(settings.hsm_slots)
    host, _, port = settings.hsm.rpartition(":")
    hsm = TcpHsm(host, int(port), roles_of(settings.hsm_certificates, (Role.DATA,)))
    vault.attach(db, vault.Vault(hsm, slots))
    return hsm
