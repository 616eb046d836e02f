"""Keep clear keys out of core files, debuggers and swap as far as the system lets us (R-33)."""

import ctypes
import resource
import sys

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
