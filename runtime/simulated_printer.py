"""A simulated card printer to plug a station into; an operator's hands reach it over a socket (printer.md 4.1).

``citycard sim printer start`` runs one behind a pseudo-terminal or a TCP port; `runtime.printer_hands` says how
the other verbs speak to it.
"""

import json
import os
import socketserver
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

from cardos.card import Card
from cardos.vpcd import VirtualSlot
from core.errors import CityError, Rejected, Unavailable
from personalization import artwork
from printer.sim.control import PrinterSimulator
from printer.sim.plastic import SimCard
from printer.timing import CLASSIC, FAST, INSTANT
from runtime.printer_hands import MAX_LINE, ask

TIMINGS = {"classic": CLASSIC, "fast": FAST, "instant": INSTANT}
SERIAL_BYTES = 8


class SimulatedPrinter:
    """One machine and its control socket. `close` ends both."""

    def __init__(
        self, serial: str, control: Path, *, cards: int, timing: str, tcp: bool,
        slot: tuple[str, int] | None, out: Path | None,
    ) -> None:  # fmt: skip
        template = artwork.released()
        place: Any = None if slot is None else VirtualSlot(slot)
        self.machine = PrinterSimulator(
            slot=place, timing=TIMINGS[timing], ribbon=template.ribbon,
            stock=artwork.stock(template), out=out, serial=serial, tcp=tcp,
        )  # fmt: skip
        self._loaded = 0
        self._load(cards)
        self._control = control
        self._server = _serve(control, self.do)

    def close(self) -> None:
        """Let go of port and socket."""
        self._server.shutdown()
        self._server.server_close()
        self._control.unlink(missing_ok=True)
        self.machine.close()

    def status(self) -> dict[str, Any]:
        """What a person sees who looks at the machine."""
        world = self.machine.machine
        return {
            "url": self.machine.url, "position": "none" if world.inside is None else world.inside.place.value,
            "feeder": len(world.feeder), "hopper": len(world.hopper),
            "reject_box": len(world.reject_box), "cards": world.counters.cards,
            "panels": world.counters.panels,
            "ribbon_left": 0 if world.ribbon is None else world.ribbon.left,
            "powered": world.powered, "cover_open": world.switches.cover_open,
            "armed": [f"F{number}" for number in world.faults.waiting],
        }  # fmt: skip

    def do(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request of the operator. Rejected P-X06 for what it does not know."""
        machine = self.machine
        acts: dict[str, Callable[[], object]] = {
            "show": lambda: None,
            "fault": lambda: machine.inject(str(request.get("script", ""))),
            "load": lambda: self._load(int(request.get("cards", 0))),
            "ribbon": lambda: machine.replace_ribbon(artwork.released().ribbon),
            "ribbon-out": machine.take_ribbon_out,
            "open": machine.open_cover,
            "close": machine.close_cover,
            "take": machine.remove_card,
            "hopper": machine.empty_hopper,
            "reject": machine.empty_reject_box,
            "cool": machine.cool_head,
            "clean-sensor": machine.clean_sensor,
            "off": machine.power_off,
            "on": machine.power_on,
        }
        act = acts.get(str(request.get("do")))
        if act is None:
            raise Rejected("P-X06", f"one of {', '.join(acts)}", line=str(request.get("do")))
        act()
        return self.status()

    def _load(self, cards: int) -> None:
        """White blanks, each with a chip of its own."""
        fresh = []
        for _ in range(cards):
            self._loaded += 1
            serial = os.urandom(SERIAL_BYTES)
            chip = Card.blank("permit", os.urandom, serial)
            fresh.append(SimCard(f"W{self._loaded:04d}", "white", chip, serial.hex().upper()))
        self.machine.load_cards(fresh)


def _serve(
    control: Path, do: Callable[[dict[str, Any]], dict[str, Any]]
) -> socketserver.ThreadingUnixStreamServer:
    class Hand(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(
                json.dumps(_answer(self.rfile.readline(MAX_LINE), do)).encode() + b"\n"
            )

    if control.exists():
        try:
            ask(control, {"do": "show"})
        except Unavailable:
            control.unlink()  # left by a killed process
        else:
            raise Unavailable("P-L06", f"{control} answers", port=str(control))
    server = socketserver.ThreadingUnixStreamServer(str(control), Hand)
    control.chmod(0o600)
    Thread(target=server.serve_forever, name="sim-printer", daemon=True).start()
    return server


def _answer(line: bytes, do: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    try:
        request = json.loads(line)
        return do(request if isinstance(request, dict) else {})
    except ValueError:
        fault: CityError = Rejected("P-X06", "no JSON", line="?")
    except CityError as refused:
        fault = refused
    return {"error": {"code": fault.code, "detail": fault.detail, "facts": fault.facts}}
