"""Stations at the prompt: attach a machine, look, hold back, maintain, settle a doubt (production.md 12)."""

import json
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cardos.slot import Slot
from cli import main as command_line
from core.clock import SystemClock
from core.db import Database
from core.errors import DeviceFault
from personalization import artwork
from personalization.floor import SILENT_AFTER
from personalization.station_states import State
from personalization.tables import StationRow
from printer.sim.control import PrinterSimulator
from printer.sim.plastic import SimCard
from runtime.station_line import Setup, attached, pair
from tests.floor_bench import Centre, centre_in
from tests.station_floor import floor
from tests.station_operator import Floor

OPERATOR = ("--as", "operator Deng:card_operator")
SUPERVISOR = ("--as", "supervisor Gao:card_supervisor")
SECOND = ("--with", "keeper Song:stock_keeper")
Run = Callable[..., Any]


@pytest.fixture
def machine() -> Iterator[PrinterSimulator]:
    """A printer with three test cards in its feeder."""
    with PrinterSimulator(slot=Slot("front"), ribbon=artwork.released().ribbon) as simulator:
        simulator.load_cards(SimCard(f"T{number}", chip=_Mute()) for number in range(3))
        yield simulator


class _Mute:
    atr = b"\x3b\x00"

    def reset(self) -> bytes:
        return self.atr


@pytest.fixture
def town(tmp_path: Path) -> Centre:
    return centre_in(tmp_path / "city", ordered=1)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """One command on the installation; its JSON, or its exit code when that was expected."""

    def call(*words: str, ends: int = 0, folder: Path = tmp_path / "city") -> Any:
        line = ["citycard", "station", *words, "--data", str(folder), "--json"]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        answer = capsys.readouterr()
        assert ended.value.code == ends, answer
        return json.loads(answer.out) if answer.out else answer.err

    return call


def test_from_attach_to_drain(town: Centre, run: Run, machine: PrinterSimulator) -> None:
    del town
    printer = ("--printer", machine.url, "--reader", "front", "--timing", "instant")
    seen = run("attach", "S1", *OPERATOR, *printer)
    assert (seen["printer_serial"], seen["position"]) == ("CCS300-0001", "no card")
    shown = run("status")["stations"]
    assert [(row["station"], row["reader"]) for row in shown] == [("S1", "front")]
    run("stop", "S1", *OPERATOR, "--reason", "smell of smoke")
    held = run("status", "S1")["stations"][0]
    assert held["stopped"] == "smell of smoke"
    assert held["sentence"].startswith("Station S1 is stopped (smell of smoke). A supervisor")
    run("start", "S1", *OPERATOR, ends=4)  # a supervisor must clear it
    run("start", "S1", *SUPERVISOR)
    run("drain", "S1", *OPERATOR)
    held = run("status", "S1")["stations"][0]
    assert held["draining"] is True
    assert "citycard station attach S1" in held["sentence"]
    run("start", "S1", *OPERATOR)
    assert run("status", "S1")["stations"][0]["draining"] is False
    run("status", "S7", ends=3)


def test_a_silent_station_says_what_to_do(
    town: Centre, run: Run, machine: PrinterSimulator
) -> None:
    run("attach", "S1", *OPERATOR, "--printer", machine.url, "--reader", "front")
    with town.db.write() as tx:
        station = tx.get_one(StationRow, "S1")
        station.seen_at = SystemClock().now() - SILENT_AFTER - timedelta(seconds=1)
    seen = run("status", "S1")["stations"][0]
    assert seen["state"] == "SILENT"
    assert "citycard station run S1" in seen["sentence"]
    assert "declare-lost" in seen["sentence"]


def test_maintenance(town: Centre, run: Run, machine: PrinterSimulator) -> None:
    del town
    run(
        "attach",
        "S1",
        *OPERATOR,
        "--printer",
        machine.url,
        "--reader",
        "front",
        "--timing",
        "instant",
    )
    run("test-card", "S1", *OPERATOR)
    assert [card.card_id for card in machine.machine.reject_box] == ["T0"]
    run("clean", "S1", *OPERATOR, ends=5)  # the ribbon is in
    machine.take_ribbon_out()
    run("clean", "S1", *OPERATOR)
    run("clean", "S9", *OPERATOR, ends=3)
    run("attach", "S2", *OPERATOR, "--printer", "/dev/absent", "--reader", "x", ends=5)


def test_pairing_wants_exactly_one_reader(machine: PrinterSimulator) -> None:
    near, far = machine.machine.bench.slot, Slot("far")
    assert isinstance(near, Slot)
    setup = Setup(machine.url, "", "instant")
    with attached(setup, SystemClock()) as (printer, _identity):
        # the card leaves its reader again, so the change is read while it lies at the contacts
        assert pair(printer, [far, near], "S1", lambda: None).name == "front"
        with pytest.raises(DeviceFault, match="S-UNPAIRED"):
            pair(printer, [far], "S1", lambda: None)


def test_an_uncertain_card_is_settled_at_the_prompt(tmp_path: Path, run: Run) -> None:
    with floor(tmp_path, people=1, tray=3, out=None) as bays:
        (bay,) = bays
        bay.start()
        assert bay.station is not None
        bay.simulator.inject("F3")
        outcome = bay.station.run_once()
        assert bay.station.state is State.UNCERTAIN
        folder = tmp_path
        words = ("resolve", outcome.work_order, *SUPERVISOR, *SECOND)
        run(*words, ends=2, folder=folder)
        answer = run(*words, "--bad", "S1-reject", folder=folder)
        assert (answer["outcome"], bool(answer["remake"])) == ("bad", True)
        bay.station.run_once()
        assert Floor(bays, 3).helped == {}
        assert isinstance(bay.centre.db, Database)
