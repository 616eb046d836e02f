"""A second copy of the log in another folder, for somebody who does not trust this disk (R-41).

``copy.json`` in the HSM's folder names the other one: ``{"folder": "/media/auditor"}``. A broken copy is an alarm,
not a stop: the log gets one `limit` line, and the copy is taken up again at the next start. A copy that is not a
beginning of this log is left as it is.
"""

import os
from pathlib import Path

from core.errors import Rejected
from hsm_sim import canonical

COPY_FILE = "copy.json"
ALARM = "copy of the log"


class LogCopy:
    """The copy as a file ``<name of the HSM>.log.jsonl``; `broken` says why nothing is copied any more."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name.replace('/', '_')}.log.jsonl"
        self.broken = ""

    def follow(self, data: bytes) -> None:
        """Bring the copy up to `data`, the whole log; sets `broken` when it cannot be or is another log's."""
        try:
            known = self.path.read_bytes() if self.path.exists() else b""
            if not data.startswith(known):
                self.broken = "the copy is not a beginning of this log"
                return
        except OSError as error:
            self.broken = error.strerror or "unreadable"
            return
        self.broken = ""
        self.write(data[len(known) :])

    def write(self, data: bytes) -> None:
        """Append to the copy; nothing while it is broken."""
        if self.broken or not data:
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path, flags, 0o640)
            try:
                if os.write(descriptor, data) != len(data):
                    self.broken = "the disk took only part of a line"
            finally:
                os.close(descriptor)
        except OSError as error:
            self.broken = error.strerror or "not writable"


def configured(home: Path, name: str) -> LogCopy | None:
    """The copy this HSM was told to keep; None for none. Raises Rejected (LOG-COPY) for a file that is none."""
    path = home / COPY_FILE
    if not path.exists():
        return None
    try:
        said = canonical.decode(path.read_bytes())
    except (OSError, canonical.NotCanonical):
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("folder"), str):
        raise Rejected("LOG-COPY", f"{COPY_FILE} names no folder")
    return LogCopy(Path(said["folder"]), name)
