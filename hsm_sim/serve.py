"""The HSM's server process: unlock with what comes on standard input, listen, end cleanly.

``python -m hsm_sim.serve --home DIR --certificates DIR`` is what `citycard hsm serve` runs. Unlock secrets are hex
lines on standard input and an empty line. It prints one JSON line with its ports when ready, and ends on
SIGTERM, SIGINT, and, unless told to stay, when standard input ends: whoever started it is gone then.
"""

import argparse
import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.clock import SystemClock
from core.errors import CityError
from hsm_sim import dev
from hsm_sim.device import Hsm
from hsm_sim.engine import Engine
from hsm_sim.errors import HsmBusy
from hsm_sim.frame import HEADER_LENGTH, MAX_FRAME
from hsm_sim.hardening import harden
from hsm_sim.lmkfile import MAX_SECRETS, NotUnlocked
from hsm_sim.notice import banner
from hsm_sim.server import HsmServer

READY = "citycard/hsm-ready/1"


@dataclass(frozen=True)
class Serving:
    """Where to listen; port 0 takes a free one. Header 0 to 16 characters, frames 8,192 to 32,767 bytes."""

    home: Path
    certificates: Path
    host: str = "127.0.0.1"
    port: int = 0
    bulk_port: int = 0
    bulk_socket: Path | None = None
    stay: bool = False
    dev: bool = False
    header_length: int = HEADER_LENGTH
    frame_limit: int = MAX_FRAME


def serve(serving: Serving, tell: Callable[[str], None]) -> None:
    """Serve until told to end; `tell` takes notes for the operator.

    Raises HSM-UNLOCK, HSM-HOME, HSM-STORE, LOG-DAMAGED, LOG-ROLLBACK, HSM-PORT before it listens.
    """
    tell(banner())
    for gap in harden():
        tell(f"note: {gap}")
    if serving.dev:
        tell(dev.WARNING)
        dev.prepare(serving.home, serving.certificates, SystemClock(), tell)
    hsm = Hsm.open(serving.home, SystemClock())
    try:
        if serving.dev:
            dev.require_dev(hsm)
        hsm.unlock(dev.DEV_SECRETS if serving.dev else read_secrets())
        hsm.frame_limit = serving.frame_limit
        gc.collect()
        gc.freeze()  # what is here stays: the collector need not look at it again at each turn
        _listen(hsm, serving, tell)
    finally:
        hsm.close()


def read_secrets() -> list[bytes]:
    """The unlock secrets: hex lines up to an empty one. Nothing of them is ever shown."""
    found: list[bytes] = []
    for line in iter(sys.stdin.readline, ""):
        text = line.strip()
        if not text:
            break
        try:
            found.append(bytes.fromhex(text))
        except ValueError:
            raise NotUnlocked("HSM-UNLOCK", "a secret is not hex") from None
        if len(found) > MAX_SECRETS:
            raise NotUnlocked("HSM-UNLOCK", "too many secrets")
    return found


def _listen(hsm: Hsm, serving: Serving, tell: Callable[[str], None]) -> None:
    server = HsmServer(Engine(hsm), serving.certificates, serving.header_length)
    ready: dict[str, str | int] = {
        "schema": READY, "hsm": hsm.log.name, "firmware": hsm.firmware,
    }  # fmt: skip
    try:
        ready["port"] = server.start(serving.host, serving.port)
        ready["bulk_port"] = server.start_bulk(serving.host, serving.bulk_port)
        if serving.bulk_socket is not None:
            server.start_bulk_socket(serving.bulk_socket)
    except OSError as error:
        server.close()
        raise HsmBusy("HSM-PORT", f"cannot listen: {error.strerror}") from None
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: server.stop())
    if not serving.stay:
        _end_with_input(server, tell)
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    server.run()


def _end_with_input(server: HsmServer, tell: Callable[[str], None]) -> None:
    """Stop when standard input ends: whoever started us is gone then. A file has ended before it began."""
    source = sys.stdin.fileno()

    def said() -> None:
        if not os.read(source, 4096):
            server.unwatch(source)
            server.stop()

    try:
        server.watch(source, said)
    except PermissionError:
        tell("note: standard input is a file and has ended; --stay keeps the server")
        server.stop()


def main() -> None:
    """The process; ends with the exit code of the error, if there was one."""
    parser = argparse.ArgumentParser(prog="hsm_sim.serve")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--certificates", type=Path, required=True)
    parser.add_argument("--bulk-socket", type=Path)
    options = parser.parse_args()
    serving = Serving(options.home, options.certificates, bulk_socket=options.bulk_socket)
    try:
        serve(serving, lambda text: print(text, file=sys.stderr))  # noqa: T201 - the operator's notes
    except CityError as fault:
        print(fault, file=sys.stderr)  # noqa: T201 - a code and a sentence, never a value
        sys.exit(fault.exit_code)


if __name__ == "__main__":
    main()
