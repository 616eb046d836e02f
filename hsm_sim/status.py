"""What an HSM's folder tells without unlocking anything, and what a simulator must say of itself (section 14)."""

from pathlib import Path
from typing import Any

from hsm_sim import clients, lmkfile
from hsm_sim.client import SLOTS_FILE, KeySlots
from hsm_sim.device import DEV_FIRMWARE, FIRMWARE
from hsm_sim.notice import banner

SCHEMA = "citycard/hsm-status/1"


def folder_status(home: Path) -> dict[str, Any]:
    """Name, firmware, LMK check value, clients, keys and states, the notice. Raises HSM-STORE."""
    header, _, _ = lmkfile.read_header(home)
    policy = clients.load(home)
    path = home / SLOTS_FILE
    keys = KeySlots.load(path).keys_known if path.exists() else ()
    return {
        "schema": SCHEMA,
        "hsm": header.hsm,
        "firmware": DEV_FIRMWARE if policy.dev else FIRMWARE,
        "lmk_check": header.lmk_kcv,
        "unlock_secrets": len(header.salts),
        "signed_lines": header.log_size,
        "clients": [vars(client) for client in policy.clients.values()],
        "policy_sha256": policy.digest,
        "keys": [vars(key) for key in keys],
        "notice": banner().splitlines(),
    }
