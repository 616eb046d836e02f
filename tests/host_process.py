"""A purse host as a process of its own, and a client that knows its frames only."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence

SECONDS = 60
LENGTH = 2  # bytes of the length before each frame, big-endian


class HostProcess:
    """A ``citycard host`` command; `port` is the one it printed first."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        env = {**os.environ, **(environment or {})}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
        assert self.process.stdout is not None
        self.port = json.loads(self.process.stdout.readline())["port"]

    def ask(self, frame: bytes) -> bytes:
        """The whole answer; what came so far when the host hangs up."""
        with socket.create_connection(("127.0.0.1", self.port), SECONDS) as line:
            line.sendall(frame)
            found = b""
            while len(found) < LENGTH or len(found) < LENGTH + int.from_bytes(found[:2], "big"):
                part = line.recv(4096)
                if not part:
                    return found
                found += part
            return found

    def end(self, how: signal.Signals) -> int:
        """Send a signal; the exit status."""
        self.process.send_signal(how)
        code = self.process.wait(SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code
