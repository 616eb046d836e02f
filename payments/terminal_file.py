"""A small JSON object in a file that is replaced in one step: lists and parameters of a terminal.

``crc32 (8 hex) SP JSON LF``. What stands in such files can be fetched again, so a damaged one counts as missing.
"""

import json
import os
from pathlib import Path
from typing import Any
from zlib import crc32

from core.errors import DeviceFault


def save_object(path: Path, value: dict[str, Any]) -> None:
    """Write beside the file, sync, rename, sync the folder. DeviceFault TERM-STORE-WRITE."""
    body = json.dumps(value, separators=(",", ":")).encode()
    beside = path.with_suffix(".new")
    try:
        with open(beside, "wb") as file:
            file.write(b"%08x %s\n" % (crc32(body), body))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as reason:
        raise DeviceFault(
            "TERM-STORE-WRITE", f"{reason.strerror or reason}", store=path.name
        ) from reason


def load_object(path: Path) -> dict[str, Any] | None:
    """The object, None when the file is missing or damaged."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    body = raw[9:-1]
    if raw[:9] != b"%08x " % crc32(body):
        return None
    value = json.loads(body)
    return value if isinstance(value, dict) else None
