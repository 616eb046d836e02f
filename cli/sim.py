"""``citycard sim``: simulated devices that other programs use like real ones."""

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli import sim_printer
from cli.output import json_object, note, result

if TYPE_CHECKING:
    from runtime.pcscd import PrivatePcscd
    from runtime.simulated_card import SimulatedCard

app = typer.Typer(help="Simulated devices: the chip card. 模拟设备。", no_args_is_help=True)
card = typer.Typer(
    help="A chip card in a virtual PC/SC reader; insert, remove and tear act on a running one. 模拟卡片。",
    invoke_without_command=True,
)
app.add_typer(card, name="card")
app.add_typer(sim_printer.app, name="printer")

DEFAULT = "127.0.0.1:35963"
MAX_SOCKET_PATH = 107  # of a UNIX socket, in bytes
NOTICED_SECONDS = 2.0  # pcscd looks for new cards every 0.4 s
Vpcd = Annotated[
    str, typer.Option("--vpcd", metavar="HOST:PORT", help="The virtual reader's slot (vpcd).")
]
Control = Annotated[
    Path | None,
    typer.Option("--control", help="Control socket; by default one per user and vpcd port."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
TearAt = Literal["before-command", "before-reply", "after-length", "in-body"]


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 0x10000:
        raise typer.BadParameter(f"{text!r} is not HOST:PORT", param_hint="--vpcd")
    return host, int(port)


def _image(path: Path | None) -> Path | None:
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise typer.BadParameter(f"{path} is no file in a folder that exists", param_hint="--image")
    return path


def _socket(path: Path | None) -> Path | None:
    if path is not None and (
        len(str(path).encode()) > MAX_SOCKET_PATH or not path.absolute().parent.is_dir()
    ):
        raise typer.BadParameter(
            f"{path} is no socket in a folder that exists, {MAX_SOCKET_PATH} bytes at most",
            param_hint="--control",
        )
    return path


@card.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    kind: Annotated[
        Literal["permit", "psam", "blank"],
        typer.Option("--kind", help="Which chip when there is no image; permit, psam: test keys."),
    ] = "permit",
    image: Annotated[
        Path | None, typer.Option("--image", help="The chip's file: made if absent, kept current.")
    ] = None,
    t0: Annotated[
        bool, typer.Option("--t0", help="A new chip speaks T=0 (61xx, 6Cxx) instead of T=1.")
    ] = False,
    vpcd: Vpcd = DEFAULT,
    private: Annotated[
        bool, typer.Option("--private-pcscd", help="Start a pcscd of its own and use its reader.")
    ] = False,
    control: Control = None,
    as_json: Json = False,
) -> int | None:
    """Plug a chip in and stay until Ctrl-C; without a verb."""
    if context.invoked_subcommand is not None:
        return None
    address, hand = _address(vpcd), _socket(control)
    from runtime.simulated_card import SimulatedCard, make_card

    plugged = partial(SimulatedCard, make_card(kind, _image(image), t0))
    return _run(plugged, address, private, hand, as_json)


def _run(
    plugged: "Callable[..., SimulatedCard]",
    address: tuple[str, int],
    private: bool,
    control: Path | None,
    as_json: bool,
) -> int:
    from runtime.pcscd import PrivatePcscd
    from runtime.readers import seen_in
    from runtime.simulated_card import control_path

    daemon = PrivatePcscd(name="Sim").start() if private else None
    noticed = None
    try:
        if daemon is not None:
            reader, port = next(iter(daemon.slots.items()))
            address, noticed = ("127.0.0.1", port), lambda: seen_in(reader, NOTICED_SECONDS)
        chosen = control or control_path(address)
        chip = plugged(address, chosen, noticed)
        end = Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: end.set())
        chip.start()
        try:
            _announce(chip.status(), address, chosen, daemon, as_json)
            end.wait()
        finally:
            chip.stop()
    finally:
        if daemon is not None:
            daemon.stop()
    return 0


def _announce(
    status: dict[str, Any],
    address: tuple[str, int],
    control: Path,
    daemon: "PrivatePcscd | None",
    as_json: bool,
) -> None:
    import sys

    facts = {
        "schema": "citycard/sim-card/1",
        **status,
        "vpcd": f"{address[0]}:{address[1]}",
        "control": str(control),
        "reader": next(iter(daemon.slots)) if daemon else None,
        "pcscd_socket": str(daemon.socket_path) if daemon else None,
    }
    if as_json:
        json_object(facts)
    else:
        result(f"card in {facts['vpcd']}  ATR {facts['atr']}")
        if daemon is not None:
            result(f"export PCSCLITE_CSOCK_NAME={facts['pcscd_socket']}")
        note(f"Ctrl-C takes it out; citycard sim card remove|insert|tear --control {control}")
    sys.stdout.flush()


def _act(request: dict[str, Any], vpcd: str, control: Path | None, as_json: bool) -> None:
    from runtime.simulated_card import ask, control_path

    status = ask(control or control_path(_address(vpcd)), request)
    if as_json:
        json_object({"schema": "citycard/sim-card/1", **status})
    else:
        result(f"card {'in' if status['inserted'] else 'out'}  ATR {status['atr']}")


@card.command("insert")
def insert(vpcd: Vpcd = DEFAULT, control: Control = None, as_json: Json = False) -> None:
    """Put the running chip back into its reader. 插卡。"""
    _act({"do": "insert"}, vpcd, control, as_json)


@card.command("remove")
def remove(vpcd: Vpcd = DEFAULT, control: Control = None, as_json: Json = False) -> None:
    """Take the running chip out of its reader. 拔卡。"""
    _act({"do": "remove"}, vpcd, control, as_json)


@card.command("tear")
def tear(
    at: Annotated[
        TearAt, typer.Option("--at", help="Where in the next command the card is pulled.")
    ] = "before-reply",
    vpcd: Vpcd = DEFAULT,
    control: Control = None,
    as_json: Json = False,
) -> None:
    """Pull the running chip out in the middle of its next command. 交易中拔卡。"""
    _act({"do": "tear", "at": at}, vpcd, control, as_json)


@card.command("status")
def status(vpcd: Vpcd = DEFAULT, control: Control = None, as_json: Json = False) -> None:
    """Say whether the running chip is in its reader. 卡片状态。"""
    _act({"do": "status"}, vpcd, control, as_json)
