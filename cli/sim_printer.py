"""``citycard sim printer``: a simulated card printer on a port, and the hands of its operator."""

import signal
import sys
from pathlib import Path
from threading import Event
from typing import Annotated, Any

import typer

from cli.output import json_object, note, result

app = typer.Typer(
    help="A card printer on a serial or TCP port; its world on a socket. 模拟制卡打印机。",
    no_args_is_help=True,
)
Serial = Annotated[str, typer.Option("--serial", help="Which machine: its serial number.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
DEFAULT = "CCS300-0001"


@app.command("start")
def start(
    serial: Serial = DEFAULT,
    cards: Annotated[int, typer.Option("--cards", min=0, max=200, help="Blanks to load.")] = 10,
    timing: Annotated[str, typer.Option("--timing", help="classic, fast or instant.")] = "classic",
    tcp: Annotated[
        bool, typer.Option("--tcp", help="A loopback port instead of a terminal.")
    ] = False,
    vpcd: Annotated[str, typer.Option("--vpcd", metavar="HOST:PORT", help="Reader's slot.")] = "",
    out: Annotated[Path | None, typer.Option("--out", help="Folder for pictures.")] = None,
    as_json: Json = False,
) -> None:
    """Run one until Ctrl-C. 启动。"""
    from runtime.printer_hands import control_path
    from runtime.simulated_printer import TIMINGS, SimulatedPrinter

    if timing not in TIMINGS:
        raise typer.BadParameter(f"{timing!r}: {', '.join(TIMINGS)}", param_hint="--timing")
    host, _, port = vpcd.rpartition(":")
    if vpcd and not port.isdigit():
        raise typer.BadParameter(f"{vpcd!r} is not HOST:PORT", param_hint="--vpcd")
    end = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: end.set())
    machine = SimulatedPrinter(
        serial, control_path(serial), cards=cards, timing=timing, tcp=tcp,
        slot=(host, int(port)) if vpcd else None, out=out,
    )  # fmt: skip
    try:
        _show(machine.status(), as_json)
        note(f"citycard station attach S1 --printer {machine.machine.url} --reader NAME ...")
        sys.stdout.flush()
        end.wait()
    finally:
        machine.close()


@app.command("fault")
def fault(
    script: Annotated[str, typer.Argument(help="For example: F7 during(m, 300)")],
    serial: Serial = DEFAULT, as_json: Json = False,
) -> None:  # fmt: skip
    """Arm a fault (docs/printer-faults.md lists all 28). 注入故障。"""
    _act({"do": "fault", "script": script}, serial, as_json)


@app.command("show")
def show(serial: Serial = DEFAULT, as_json: Json = False) -> None:
    """What a person sees who looks at the machine. 查看。"""
    _act({"do": "show"}, serial, as_json)


@app.command("hand")
def hand(
    act: Annotated[
        str,
        typer.Argument(
            help="ribbon, ribbon-out, open, close, take, hopper, reject, cool, clean-sensor, off, on."
        ),
    ],
    serial: Serial = DEFAULT, as_json: Json = False,
) -> None:  # fmt: skip
    """Do what an operator does at the machine. 操作员动作。"""
    _act({"do": act}, serial, as_json)


@app.command("load")
def load(
    cards: Annotated[int, typer.Argument(min=1, max=200)], serial: Serial = DEFAULT,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Put white blanks into the feeder. 装卡。"""
    _act({"do": "load", "cards": cards}, serial, as_json)


def _act(request: dict[str, Any], serial: str, as_json: bool) -> None:
    from runtime.printer_hands import ask, control_path

    _show(ask(control_path(serial), request), as_json)


def _show(status: dict[str, Any], as_json: bool) -> None:
    if as_json:
        json_object({"schema": "citycard/sim-printer/1", **status})
        return
    for name, value in status.items():
        result(f"{name}: {value}")
