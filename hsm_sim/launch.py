"""Start the HSM's server as a process of its own and hand over the unlock secrets (tests, demo, benchmarks).

Secrets go through the child's standard input, never through arguments or the environment. The pipe stays open:
when this process ends, however it ends, the child sees it close and ends cleanly too.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

from hsm_sim.errors import HsmBusy

STOP_SECONDS = 20
READY = "citycard/hsm-ready/1"  # as `serve` prints it


@dataclass
class HsmProcess:
    """A running server. Stop it, or use it as a context manager."""

    port: int
    bulk_port: int
    process: subprocess.Popen[bytes] = field(repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """End it cleanly (counts summed up, log closed); its exit code. Harmless when it has ended."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None:
                    stream.close()


def start_hsm(
    home: Path,
    certificates: Path,
    unlock_secrets: Sequence[bytes],
    log: IO[bytes] | None = None,
    bulk_socket: Path | None = None,
) -> HsmProcess:
    """Start `hsm_sim.serve` on free loopback ports and wait until it is ready.

    `log` gets what it says on standard error. Raises HsmBusy (HSM-GONE) when it ends instead.
    """
    command = [sys.executable, "-m", "hsm_sim.serve"]
    command += ["--home", str(home), "--certificates", str(certificates)]
    if bulk_socket is not None:
        command += ["--bulk-socket", str(bulk_socket)]
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log if log is not None else subprocess.DEVNULL,
        cwd=Path(__file__).resolve().parent.parent,
        start_new_session=True,  # the terminal's interrupt is for the parent, which stops the child
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(b"".join(one.hex().encode("ascii") + b"\n" for one in unlock_secrets))
        process.stdin.write(b"\n")
        process.stdin.flush()
        ready = json.loads(process.stdout.readline())
        if ready["schema"] != READY:
            raise ValueError("schema")
    except (OSError, ValueError, KeyError):
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        raise HsmBusy("HSM-GONE", "the HSM's server did not start") from None
    return HsmProcess(int(ready["port"]), int(ready["bulk_port"]), process)
