"""Files that a crash leaves whole: written beside, synced, renamed; and the error when the disk will not have them.

Whatever cannot be written is not done: `LogUnavailable` is error F3 (hsm-and-ceremony.md R-29, R-34).
"""

import os
from pathlib import Path

from core.errors import Unavailable


class LogUnavailable(Unavailable):
    """The log, or a file that stands beside it, cannot be written, so nothing may be done (error F3)."""


def check_same_file(descriptor: int, path: Path) -> None:
    """Raise LogUnavailable when an open file was replaced or unlinked (R-29)."""
    try:
        held, named = os.fstat(descriptor), path.stat()
    except OSError:
        raise LogUnavailable("HSM-F3", f"{path.name} is closed or gone") from None
    if (held.st_dev, held.st_ino) != (named.st_dev, named.st_ino):
        raise LogUnavailable("HSM-F3", f"{path.name} was replaced")


def write_whole(path: Path, data: bytes) -> None:
    """Write a private file so that a crash leaves the old or the new one; raises LogUnavailable."""
    fresh = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
        sync_folder(path.parent)
    except OSError as error:
        raise LogUnavailable("HSM-F3", f"writing {path.name} failed: {error.strerror}") from None


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
