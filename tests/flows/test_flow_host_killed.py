"""A real host process killed with SIGKILL after each answer of a day: the next one gives the same bytes again."""

import json
import signal
import sys
from pathlib import Path

import pytest

from tests.host_process import HostProcess

VECTORS = {
    v["id"]: v for v in json.loads(Path("tests/vectors/iso8583.json").read_text("utf-8"))["vectors"]
}
DAY = (
    "load-req", "load-confirm", "load2-req", "reversal-req", "purchase-1-req", "purchase-2-req",
    "settle-req",
)  # fmt: skip
TAKEN_BACK = "load2-req"  # reversed later in the day: its MAC2 is gone, a repeat is 22


def lab(data: Path) -> HostProcess:
    """``citycard host lab`` on a folder that outlives it."""
    command = [
        sys.executable, "-m", "cli.main", "host", "lab", "examples/purse-lab/lab.json",
        "--port", "0", "--data", str(data), "--now", "2026-11-28T09:15:30+08:00", "--still",
    ]  # fmt: skip
    return HostProcess(command)


@pytest.mark.slow
def test_a_killed_host_gives_the_same_bytes_again(tmp_path: Path) -> None:
    answers: dict[str, bytes] = {}
    for name in DAY:
        frame = bytes.fromhex(VECTORS[name]["inputs"]["frame"])
        host = lab(tmp_path)
        answers[name] = host.ask(frame)
        assert host.end(signal.SIGKILL) == -signal.SIGKILL
    host = lab(tmp_path)
    for name in DAY:
        again = host.ask(bytes.fromhex(VECTORS[name]["inputs"]["frame"]))
        if name == TAKEN_BACK:
            assert b"RP" not in again
        else:
            assert again == answers[name], name
    assert host.end(signal.SIGTERM) == 0
