"""An operator's hands at a simulated printer of another process (printer.md 4.1).

A UNIX socket that only its owner may open; one line of JSON each way, at most 4,096 bytes::

    {"do": "fault", "script": "F7 during(m, 300)"}    ->   {"url": ..., "position": ..., "feeder": 3, ...}

Apart from `runtime.simulated_printer`, so that a hand need not load a chip, a printer and its pictures.
"""

import json
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

from core.errors import Rejected, Unavailable

MAX_LINE = 4096


def control_path(serial: str) -> Path:
    """Where the hands on this machine are found, per user and machine."""
    return Path(tempfile.gettempdir()) / f"citycard-sim-printer-{os.getuid()}-{serial}.sock"


def ask(control: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Send one request to a running machine. Unavailable P-L05 when none runs, Rejected with its own code."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as talk:
        try:
            talk.connect(str(control))
        except OSError as reason:
            raise Unavailable("P-L05", str(reason), port=str(control)) from reason
        talk.sendall(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(talk.makefile("rb").readline(MAX_LINE))
    problem = answer.get("error")
    if problem is not None:
        raise Rejected(problem["code"], problem["detail"], **problem["facts"])
    return answer
