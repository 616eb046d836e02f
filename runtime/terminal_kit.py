"""A terminal with everything round it: its folder, its reader, a card that can be pulled, a line that can be cut.

A terminal's folder holds ``terminal.json`` (who it is, where its host listens), ``pad.json`` (the pad's memory),
``psam.chip`` (its PSAM, when it sells), the store and the lists. Programs that fit a terminal out write it with
`TerminalFolder.write`; ``citycard terminal`` works in it.
"""

import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cardos.card import Card
from cardos.slot import Slot
from core.apdu import CardChannel, CardReader
from core.clock import Clock
from core.errors import DeviceFault, NotFound, Rejected, Unavailable
from hsm_sim.pinpad import SimPinPad
from payments.terminal import Hardware, Terminal, wait_seconds
from payments.terminal_host import Identity, Waits
from payments.terminal_link import HostLink, TcpLink, Wanted
from payments.terminal_trace import Trace

FILE, PAD_FILE, PSAM_FILE = "terminal.json", "pad.json", "psam.chip"
SCHEMA = "citycard/terminal-folder/1"
PURSE_COMMITS = frozenset({0x52, 0x54})  # CREDIT FOR LOAD, DEBIT: where a pulled card leaves doubt


@dataclass(frozen=True)
class TerminalFolder:
    """Who a terminal is. `host` is ``address:port`` of its purse host, `ca` a certificate file for TLS."""

    path: Path
    terminal: str
    merchant: str
    psam: bytes
    host: str
    ca: str = ""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises NotFound TERM-FOLDER when it is not a terminal's folder."""
        try:
            value = json.loads((path / FILE).read_text("utf-8"))
            if value.pop("schema") != SCHEMA:
                raise KeyError("schema")
            return cls(path, **{**value, "psam": bytes.fromhex(value["psam"])})
        except (OSError, ValueError, KeyError, TypeError):
            raise NotFound("TERM-FOLDER", "no terminal lives there", folder=str(path)) from None

    def write(self, pad: SimPinPad, psam: Card | None = None) -> None:
        """Make the folder, with the pad's memory and the PSAM's image."""
        self.path.mkdir(parents=True, exist_ok=True)
        value = {
            "schema": SCHEMA, "terminal": self.terminal, "merchant": self.merchant,
            "psam": self.psam.hex(), "host": self.host, "ca": self.ca,
        }  # fmt: skip
        (self.path / FILE).write_text(json.dumps(value, indent=1) + "\n", "utf-8")
        pad.save(self.path / PAD_FILE)
        if psam is not None:
            psam.save(self.path / PSAM_FILE)

    @property
    def address(self) -> tuple[str, int]:
        """Where the host listens. Rejected TERM-HOST when it is no ``address:port``."""
        host, _, port = self.host.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 0x10000:
            raise Rejected("TERM-HOST", f"{self.host!r} is not ADDRESS:PORT", host=self.host)
        return host, int(port)


class Switch:
    """A line with a switch (`HostLink`): off, nothing goes through, as when the network is away."""

    def __init__(self, line: HostLink) -> None:
        self._line = line
        self.on = True

    def open(self) -> None:
        """Unavailable TERM-OFFLINE while switched off."""
        if not self.on:
            raise Unavailable("TERM-OFFLINE", "the line is switched off", host="-", port=0)
        self._line.open()

    def exchange(self, frame: bytes, wanted: Wanted, timeout: int) -> bytes | None:
        """Silence while switched off."""
        return self._line.exchange(frame, wanted, timeout) if self.on else None

    def close(self) -> None:
        """Hang up."""
        self._line.close()


class PulledCard:
    """A chip in a slot that an armed hand pulls at the next debit or credit.

    `before`: the chip never sees the command. Else it does it and only the answer is lost. The reader's
    channel dies as with any card that is taken out, so the terminal cannot tell a test from a customer.
    """

    def __init__(self, chip: CardChannel, slot: Slot) -> None:
        self._chip = chip
        self._slot = slot
        self.armed = ""

    @property
    def atr(self) -> bytes:
        """Answer to reset."""
        return self._chip.atr

    def transmit(self, apdu: bytes) -> bytes:
        """One command; when armed and it is a commit, the card leaves."""
        how = self.armed if len(apdu) > 1 and apdu[1] in PURSE_COMMITS else ""
        if not how:
            return self._chip.transmit(apdu)
        self.armed = ""
        answer = b"" if how == "before" else self._chip.transmit(apdu)
        self._slot.remove()
        return answer

    def reset(self) -> bytes:
        """Reset the chip."""
        return self._chip.reset()

    def close(self) -> None:
        """Power down."""
        self._chip.close()


@dataclass
class TerminalKit:
    """A terminal at work with its hands: `insert`, `pull`, and the line's `switch`."""

    terminal: Terminal
    reader: CardReader
    pad: SimPinPad
    switch: Switch
    trace: Trace
    slot: Slot | None = None
    held: PulledCard | None = None
    images: dict[str, CardChannel] = field(default_factory=dict)

    def insert(self, card: str) -> None:
        """Put a chip's image file into the slot. DeviceFault CARD-HAND for a real reader: that takes a hand."""
        slot = self._slot()
        if card not in self.images:
            path = Path(card)
            if not path.exists():
                raise NotFound("TERM-CARD", "no chip image", card=card)
            self.images[card] = Card.load(path)
        slot.remove()
        self.held = PulledCard(self.images[card], slot)
        slot.insert(self.held)

    def remove(self) -> None:
        """Take the card out now."""
        self._slot().remove()

    def arm(self, how: str) -> None:
        """Pull the card at the next debit or credit: ``before`` the chip sees it, or ``after`` it did it."""
        if self.held is None or not self.reader.present():
            raise DeviceFault("CARD-ABSENT", "no card to pull", reader=self.reader.name)
        self.held.armed = how

    def _slot(self) -> Slot:
        if self.slot is None:
            raise DeviceFault("CARD-HAND", "a real reader takes a hand", reader=self.reader.name)
        return self.slot

    def close(self) -> None:
        """End the terminal; store and lists stay in its folder."""
        self.terminal.close()


def open_kit(
    folder: TerminalFolder,
    clock: Clock,
    reader: CardReader | None = None,
    waits: Waits | None = None,
    pause: Callable[[int], None] = wait_seconds,
) -> TerminalKit:
    """The terminal of a folder, on a PC/SC `reader` or on a slot in process. Raises what its parts raise."""
    slot = Slot(f"Terminal {folder.terminal}") if reader is None else None
    trace = Trace()
    tls = ssl.create_default_context(cafile=folder.ca) if folder.ca else None
    host, port = folder.address
    switch = Switch(TcpLink(host, port, clock, tls, trace.tap))
    pad = SimPinPad.load(folder.path / PAD_FILE)
    psam_path = folder.path / PSAM_FILE
    psam = Card.load(psam_path) if psam_path.exists() else None
    if psam is not None:
        psam.reset()
    used = slot if reader is None else reader
    assert used is not None
    identity = Identity(folder.terminal, folder.merchant, folder.psam)
    hardware = Hardware(used, pad, switch, clock, psam, pause, trace.wrap)
    terminal = Terminal(folder.path, identity, hardware, waits)
    return TerminalKit(terminal, used, pad, switch, trace, slot)
