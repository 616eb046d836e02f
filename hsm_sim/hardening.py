"""Keep clear keys out of core files, debuggers and swap, and files from other users (R-33, R-34)."""

import ctypes
import os
import resource
import stat
import sys
from pathlib import Path

from hsm_sim.errors import HsmBusy, HsmRejected

PR_SET_DUMPABLE = 4
MCL_CURRENT, MCL_FUTURE = 1, 2


def harden() -> list[str]:
    """No core files, not dumpable, memory locked; what could not be done, in words for the operator."""
    gaps = []
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not sys.platform.startswith("linux"):
        return ["this system offers no way to keep other programs out of our memory"]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        gaps.append("the process stays open to debuggers")
    if libc.mlockall(MCL_CURRENT | MCL_FUTURE) != 0:
        gaps.append("memory cannot be locked: keys may reach the swap area")
    return gaps


def require_private(home: Path) -> None:
    """Refuse a folder that others may read or that is not ours, or such files in it (R-34): HSM-HOME."""
    try:
        found = [home, *(path for path in home.iterdir() if path.is_file())]
        for path in found:
            status = path.stat()
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
                raise HsmRejected("HSM-HOME", f"{path.name} is not private")
    except OSError as error:
        raise HsmBusy("HSM-HOME", f"the folder cannot be read: {error.strerror}") from None
