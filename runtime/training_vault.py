"""A vault for invented people: an HSM in this process, whose keys end with the run.

What it sealed stays closed for ever afterwards. For rehearsals, training and tests, never for real people.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from core.clock import SystemClock
from hsm_sim.client import SLOTS_FILE, KeySlots
from registry.vault import SCOPE, USAGE_DATA, USAGE_INDEX, Vault
from runtime.purse_lab import LabHsm

INDEXES_PER_DAY = 5_000_000  # section 7: what runs in compressed time are given
KEY_BYTES = 32


@contextmanager
def training_vault() -> Iterator[Vault]:
    """A vault for the length of a block."""
    with TemporaryDirectory(prefix="vault-") as folder:
        home = Path(folder) / "hsm"
        hsm = LabHsm(home, SystemClock(), index_values_per_day=INDEXES_PER_DAY)
        try:
            for name, algorithm, usage, mode in (
                ("data", "A3", USAGE_DATA, "B"),
                ("index", "H2", USAGE_INDEX, "C"),
            ):
                key = secrets.token_bytes(KEY_BYTES)
                hsm.load(f"{SCOPE}-{name}-01", key, algorithm, usage, mode, SCOPE)
            yield Vault(hsm.hsm, KeySlots.load(home / SLOTS_FILE))
        finally:
            hsm.close()
