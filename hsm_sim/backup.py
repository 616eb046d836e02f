"""An HSM's folder copied whole: key file, LMK file, log and their company always together (R-42).

A backup and its way back are the same copy. It is made while the HSM is not serving, checked before it gets its
name, and never written over anything. Whoever restores one that is older than the HSM was loses lines: an auditor
who saw more of them will find CHK-ROLLBACK, which is right, and a ceremony of kind `restore` says why.
"""

import fcntl
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from core.clock import Clock
from hsm_sim import lmkfile
from hsm_sim.errors import HsmBusy, HsmMismatch, HsmRejected
from hsm_sim.hardening import require_private
from hsm_sim.log import LOG, AuditLog

UNFINISHED = ".unfinished"


@dataclass(frozen=True)
class Copied:
    """What was copied: the HSM's name, how many lines its log has, and their root (hex)."""

    hsm: str
    lines: int
    root: str


def copy_hsm(source: Path, target: Path, clock: Clock) -> Copied:
    """Copy the HSM in `source` to the new folder `target`.

    Raises HSM-HOME (source not private, target exists, disk), HSM-F3 (the HSM is serving), HSM-STORE, LOG-DAMAGED,
    LOG-ROLLBACK (the files do not belong together); then there is no `target`.
    """
    require_private(source)
    if target.exists():
        raise HsmRejected("HSM-HOME", f"{target.name} is there already")
    unfinished = target.with_name(target.name + UNFINISHED)
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        with (source / LOG).open("rb") as log:
            _require_idle(log.fileno())
            shutil.copytree(source, unfinished, symlinks=True)
        _sync(unfinished)
        copied = _checked(unfinished, clock)
        unfinished.rename(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise HsmBusy("HSM-HOME", f"the folder cannot be copied: {error.strerror}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return copied


def _require_idle(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise HsmBusy("HSM-F3", "the HSM is serving: stop it first") from None


def _checked(home: Path, clock: Clock) -> Copied:
    """Read the copy as a start would: log, chain, and what the LMK file remembers of it."""
    require_private(home)
    header, _, _ = lmkfile.read_header(home)
    bound = (header.log_size, header.log_root) if header.log_size else None
    log = AuditLog.open(home, clock, None, bound)
    try:
        if log.name != header.hsm:
            raise HsmMismatch("HSM-STORE", "the LMK file is another HSM's")
        return Copied(log.name, log.size, log.root().hex())
    finally:
        log.close()


def _sync(folder: Path) -> None:
    for place, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(Path(place) / name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _sync_folder(Path(place))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
