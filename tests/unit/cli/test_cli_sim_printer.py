"""A simulated printer as a process of its own: start, trouble, an operator's hands (production.md 12)."""

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from core.clock import SystemClock
from printer.commands import EvolisPrinter
from printer.port import PrinterFault
from printer.timing import INSTANT

CITYCARD = (sys.executable, "-m", "cli.main", "sim", "printer")


@pytest.fixture
def machine() -> Iterator[dict[str, Any]]:
    serial = f"T-{uuid.uuid4().hex[:8].upper()}"
    started = subprocess.Popen(
        [*CITYCARD, "start", "--serial", serial, "--timing", "instant", "--cards", "2", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert started.stdout is not None
    text = ""
    for line in started.stdout:
        text += line
        if line.rstrip() == "}":
            break
    try:
        yield {**json.loads(text), "serial": serial}
    finally:
        started.send_signal(signal.SIGTERM)
        assert started.wait(20) == 0
        started.stdout.close()


def ask(machine: dict[str, Any], *words: str, ends: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [*CITYCARD, *words, "--serial", machine["serial"], "--json"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == ends, done.stderr
    return dict(json.loads(done.stdout))


def test_a_driver_meets_trouble_and_an_operator_ends_it(machine: dict[str, Any]) -> None:
    printer = EvolisPrinter(machine["url"], SystemClock(), timing=INSTANT, ribbon="ymckok")
    try:
        assert printer.identify().serial == machine["serial"]
        assert ask(machine, "fault", "F10")["cover_open"] is True
        with pytest.raises(PrinterFault, match="P-C01"):
            printer.feed()
        assert ask(machine, "hand", "close")["feeder"] == 2
        printer.feed()
        assert ask(machine, "show")["position"] == "contact station"
    finally:
        printer.close()
    assert ask(machine, "load", "3")["feeder"] == 4
    assert ask(machine, "fault", "F99", ends=3)["code"] == "P-X06"
    assert ask(machine, "hand", "dance", ends=3)["code"] == "P-X06"
