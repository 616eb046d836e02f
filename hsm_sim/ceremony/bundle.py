"""What the auditor takes home: the audit bundle as a folder, and the trust file they keep (11.7).

The bundle ends with an `audit.export` line that answers the auditor's nonce and names the key directory,
and with a checkpoint over it. The trust file never travels with a bundle.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core import merkle
from core.errors import Rejected
from hsm_sim import canonical
from hsm_sim.ceremony.console import SCRIPTS
from hsm_sim.log import LOG, AuditLog
from hsm_sim.usage import OPS, UsageMeter

ENTRY = ("alg", "cid", "export", "fp", "kcv", "kid", "mode", "state", "usage", "version")
DAYS = ("from", "until")  # only of a key that has such a day
MIN_NONCE, MAX_NONCE = 20, 64


def directory_bytes(entries: Sequence[Mapping[str, Any]], usage: UsageMeter) -> bytes:
    """keys.json: canonical, sorted by kid, the attributes of 11.7 and the counted uses."""
    rows = []
    for entry in entries:
        told = {name: entry[name] for name in (*ENTRY, *DAYS) if name in ENTRY or name in entry}
        rows.append({**told, "uses": usage.uses(entry["kid"])})
    return canonical.encode(sorted(rows, key=lambda row: str(row["kid"])))


def export_bundle(
    log: AuditLog,
    usage: UsageMeter,
    entries: Sequence[Mapping[str, Any]],
    home: Path,
    target: Path,
    nonce: str,
) -> Path:
    """Write a bundle for an audit; `nonce` is the auditor's, 20 to 64 lower-case hex digits (command 6A).

    `entries` is the key directory. Raises Rejected (AUDIT-NONCE, AUDIT-TARGET) and LogUnavailable.
    """
    if not MIN_NONCE <= len(nonce) <= MAX_NONCE or set(nonce) - set("0123456789abcdef"):
        raise Rejected("AUDIT-NONCE", "a nonce has 20 to 64 hex digits")
    if target.exists() and any(target.iterdir()):
        raise Rejected("AUDIT-TARGET", "the folder for the bundle is not empty")
    usage.close_interval()
    keys = directory_bytes(entries, usage)
    log.append("audit.export", {"keys": hashlib.sha256(keys).hexdigest(), "nonce": nonce})
    log.checkpoint()
    for folder in ("checkpoints", "scripts", "ops"):
        (target / folder).mkdir(parents=True)
    (target / "keys.json").write_bytes(keys)
    (target / "log.jsonl").write_bytes((home / LOG).read_bytes())
    _copy_checkpoints(log, target / "checkpoints")
    for event in log.events("ceremony.open"):
        name = f"{event['body']['script']}.json"
        shutil.copyfile(home / SCRIPTS / name, target / "scripts" / name)
    for event in log.events("use"):
        name = f"{event['body']['interval']}.jsonl"
        shutil.copyfile(home / OPS / name, target / "ops" / name)
    return target


def _copy_checkpoints(log: AuditLog, folder: Path) -> None:
    """Those of closes and exports, all cosigned ones, and the newest (11.7)."""
    ends = {event["seq"] + 1 for event in log.events("ceremony.close", "audit.export")} | {log.size}
    kept = [
        (size, text)
        for size, text in log.checkpoints().items()
        if size in ends or text.count("\u2014") > 1
    ]
    for number, (_, text) in enumerate(kept, 1):
        (folder / f"{number:03d}.txt").write_text(text, "utf-8")


def trust_file(
    log: AuditLog, nonce: str, last_seen: tuple[int, bytes] | None = None
) -> dict[str, Any]:
    """What the auditor keeps after the init ceremony; the genesis hash was read aloud there."""
    seen = {"root": last_seen[1].hex(), "size": last_seen[0]} if last_seen else None
    genesis = merkle.leaf_hash(log.lines(0, 1)[0]).hex()
    return {"genesis": genesis, "last_seen": seen, "nonce": nonce, "vkey": log.vkey}
