"""A simulated chip in a virtual reader, with an operator's hand on a socket: insert, remove, tear, status.

``citycard sim card`` runs one; the other verbs speak to it over a UNIX socket that only its owner may
open. One request and one answer per connection, each a line of JSON of at most 4096 bytes::

    {"do": "tear", "at": "before-reply"}    ->   {"inserted": true, "atr": "3B...", ...}
    anything wrong                          ->   {"error": {"code": ..., "detail": ..., "facts": {...}}}
"""

import json
import os
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Literal

from cardos import samples
from cardos.card import Card
from cardos.vpcd import TearPoint, VirtualSlot
from core.errors import CityError, DeviceFault, Rejected, Unavailable
from payments.psam import PsamOrder, issue_psam

Kind = Literal["permit", "psam", "blank"]
DEFAULT_ADDRESS = ("127.0.0.1", 35_963)  # vpcd's own default port
MAX_LINE = 4096
TALK_SECONDS = 15.0  # longer than an insertion with all its re-seats
BACKLOG = 4
MAX_RESEATS = 2
TEAR_POINTS = {point.name.lower().replace("_", "-"): point for point in TearPoint}


def make_card(kind: Kind, image: Path | None, t0: bool = False) -> Card:
    """The chip in `image` when the file is there; else a new one of `kind`, kept in `image` if given.

    `t0` makes a new chip speak T=0 (61xx and 6Cxx), else T=1. A blank is a white card; permit and PSAM
    carry published test keys (purse-card.md 12.6).
    Raises EvidenceMismatch CHIP-IMAGE for a damaged image.
    """
    if image is not None and image.exists():
        return Card.load(image)
    if kind == "blank":
        return Card.blank(t0=t0, image=image)
    make = samples.permit if kind == "permit" else samples.psam_blank
    card = make(os.urandom, t0)
    if kind == "psam":
        order = PsamOrder(
            number=(1).to_bytes(10, "big"),
            terminal=samples.TERMINAL,
            acceptor=bytes(8),
            start=samples.FIRST_DAY,
            end=samples.LAST_DAY,
        )
        issue_psam(card, order, samples.SampleKeys())
    if image is None:
        return card
    card.save(image)
    return Card.load(image)


def control_path(address: tuple[str, int]) -> Path:
    """Where the hand on the card at this virtual slot is found, per user and port."""
    return Path(tempfile.gettempdir()) / f"citycard-sim-card-{os.getuid()}-{address[1]}.sock"


class SimulatedCard:
    """One chip and one virtual slot. `start` puts the chip in and listens; `stop` ends both.

    `noticed` waits until the reader service has seen the card and says whether it has. A card put in right
    after a client let go of a torn one may stay unseen for ever (pcsc-and-serial.md 7, stuck reader); then
    it is taken out and put in again, as a person would.
    """

    def __init__(
        self,
        card: Card,
        address: tuple[str, int],
        control: Path,
        noticed: Callable[[], bool] | None = None,
    ) -> None:
        self._card = card
        self._noticed = noticed or (lambda: True)
        self._slot = VirtualSlot(address)
        self._control = control
        self._lock = Lock()
        self._ending = Event()
        self._listener: socket.socket | None = None
        self._thread = Thread(target=self._serve, name="sim-card", daemon=True)

    def start(self) -> None:
        """Insert the card and open the control socket.

        Unavailable CARD-NO-VPCD when no virtual reader listens, CARD-SIM-TWICE when one runs already.
        """
        if _answers(self._control):
            raise Unavailable(
                "CARD-SIM-TWICE", f"{self._control} answers", socket=str(self._control)
            )
        self._insert()
        self._control.unlink(missing_ok=True)  # left by a killed process
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(self._control))
            self._control.chmod(0o600)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            self._slot.remove()
            raise
        self._listener = listener
        self._thread.start()

    def stop(self) -> None:
        """Take the card out and close the socket."""
        self._ending.set()
        if self._listener is not None:
            with suppress(OSError):  # wakes accept()
                self._listener.shutdown(socket.SHUT_RDWR)
            self._thread.join(TALK_SECONDS)
            self._listener.close()
            self._control.unlink(missing_ok=True)
        with self._lock:
            self._slot.remove()

    def status(self) -> dict[str, Any]:
        """What the operator sees: whether the card is in, its ATR, bytes written so far."""
        return {
            "inserted": self._slot.occupied,
            "atr": self._card.atr.hex().upper(),
            "writes": self._card.writes,
        }

    def do(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request of the operator. Rejected CARD-SIM-REQUEST for what it does not know."""
        actions: dict[str, Callable[[], None]] = {
            "insert": self._insert,
            "remove": self._remove,
            "status": lambda: None,
        }
        verb = str(request.get("do"))
        if verb == "tear":
            point = TEAR_POINTS.get(str(request.get("at")))
            if point is None:
                raise Rejected(
                    "CARD-SIM-REQUEST", "no such tear point", request=str(request.get("at"))
                )
            actions["tear"] = lambda: self._slot.tear(point)
        action = actions.get(verb)
        if action is None:
            raise Rejected("CARD-SIM-REQUEST", "insert, remove, tear or status", request=verb)
        with self._lock:
            action()
            return self.status()

    def _insert(self) -> None:
        self._slot.insert(self._card)
        for _ in range(MAX_RESEATS):
            if self._noticed():
                return
            self._slot.remove()
            self._slot.insert(self._card)

    def _remove(self) -> None:
        if not self._slot.occupied:
            raise DeviceFault("CARD-ABSENT", "the slot is empty", reader="sim")
        self._slot.remove()

    def _serve(self) -> None:
        listener = self._listener
        assert listener is not None
        while not self._ending.is_set():
            try:
                talk, _ = listener.accept()
            except OSError:  # closed by `stop`
                return
            with talk:
                talk.settimeout(TALK_SECONDS)
                with suppress(OSError):  # a client that left before its answer
                    _write(talk, self._answer(_read(talk)))

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise Rejected("CARD-SIM-REQUEST", "a request is one JSON object", request="?")
            return self.do(request)
        except ValueError:
            return _error(Rejected("CARD-SIM-REQUEST", "the line is no JSON", request="?"))
        except CityError as fault:
            return _error(fault)


def ask(control: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Send one request to a running `SimulatedCard`.

    Raises Unavailable CARD-SIM-NONE when none runs there, else the error it answered, code and facts kept.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as talk:
        talk.settimeout(TALK_SECONDS)
        try:
            talk.connect(str(control))
            _write(talk, request)
            answer: dict[str, Any] = json.loads(_read(talk))
        except (OSError, ValueError) as reason:
            raise Unavailable(
                "CARD-SIM-NONE", f"nobody answers at {control}: {reason}", socket=str(control)
            ) from reason
    fault = answer.get("error")
    if fault is not None:
        kind = next((k for k in _FAULTS if k.__name__ == fault["class"]), DeviceFault)
        raise kind(fault["code"], fault["detail"], **fault["facts"])
    return answer


_FAULTS: tuple[type[CityError], ...] = (Rejected, DeviceFault, Unavailable)


def _error(fault: CityError) -> dict[str, Any]:
    return {
        "error": {
            "class": type(fault).__name__,
            "code": fault.code,
            "detail": fault.detail,
            "facts": fault.facts,
        }
    }


def _answers(control: Path) -> bool:
    try:
        ask(control, {"do": "status"})
    except Unavailable:
        return False
    return True


def _write(talk: socket.socket, value: dict[str, Any]) -> None:
    talk.sendall(json.dumps(value).encode("utf-8") + b"\n")


def _read(talk: socket.socket) -> bytes:
    """One line; ValueError-free, but cut at MAX_LINE, which then is no JSON."""
    line = b""
    while not line.endswith(b"\n") and len(line) < MAX_LINE:
        part = talk.recv(MAX_LINE - len(line))
        if not part:
            break
        line += part
    return line
