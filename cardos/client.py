"""Host side of the chip: one typed request per command, one session per powered card.

A request is a frozen dataclass that knows its command APDU and how to read the answer; the requests
stand in `cardos.requests` (files, keys, PIN, life cycle), `cardos.purse_requests` and
`cardos.psam_requests`, the record layouts in `cardos.records` and `cardos.residence_records`::

    card = CardSession(reader.connect())
    fci = card.send(SelectName(purse_aid))
    card.send_protected(UpdateBinary(data, sfi=0x15), hsm_protector)

Nothing here computes: MACs and cryptograms come in through a `Protector`, so business code may
import this module without touching a key (architecture.md 3). Errors: `ChipError` for every status
word but 9000 (the raw word is kept), `DeviceFault` CARD-GONE when the card left, after which only the
card itself can say what it did.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, Protocol, TypeVar

from cardos.spec import CLA_ISO, MAC_LENGTH, SW, Ins, tries_left
from core.apdu import Command, Response
from core.errors import DeviceFault, Rejected

PROTECTED_CLASS = 0x04
MAX_RESPONSE_PARTS = 4
CHALLENGES = {
    length: Command(CLA_ISO, Ins.GET_CHALLENGE, 0x00, 0x00, le=length) for length in (4, 8)
}

A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)

Protector = Callable[[bytes, bytes, bytes], bytes]
"""``(challenge, header, data) -> command data``: makes the protected form of a command.

`challenge` is what the card gave (4 or 8 bytes), `header` is CLA INS P1 P2 with the protected class,
`data` the plain command data. The result is the whole data field, MAC last, cipher where the file
wants it (purse-card.md 5). An HSM client stands behind it (commands 14, 30, 34).
"""


class Transmitter(Protocol):
    """The one method a session needs; any `core.apdu.CardChannel` has it."""

    def transmit(self, apdu: bytes) -> bytes:
        """Send one APDU; the answer is data followed by SW1 SW2."""
        ...


class ChipError(Rejected):
    """The chip answered with a status word other than 9000.

    Attributes
    ----------
    sw : the raw status word, for example 0x6982.
    tries_left : for 63Cx the number of tries left, else None.
    command : CLA INS P1 P2 of the command (never its data).
    """

    def __init__(self, sw: int, command: bytes) -> None:
        self.sw = sw
        self.tries_left = tries_left(sw)
        self.command = command
        facts: dict[str, str | int] = {"sw": f"{sw:04X}", "command": command.hex().upper()}
        if self.tries_left is not None:
            facts["tries"] = self.tries_left
        super().__init__(f"CHIP-{sw:04X}", f"{command.hex().upper()} answered {sw:04X}", **facts)


class Request(ABC, Generic[A_co]):
    """One chip command and the form of its answer. `accepts` lists the good status words."""

    accepts: ClassVar[frozenset[int]] = frozenset({SW.OK})

    @abstractmethod
    def command(self) -> Command:
        """The plain command APDU."""

    @abstractmethod
    def parse(self, data: bytes) -> A_co:
        """The answer from the response data; ValueError when its length is wrong."""


class Order(Request[None]):
    """A command whose good answer carries no data."""

    def parse(self, data: bytes) -> None:
        if data:
            raise ValueError("no answer data was expected")


@dataclass(frozen=True)
class Protected(Generic[A]):
    """Answer of a protected command, with what is needed to check it (HSM command 38).

    `mac` is empty unless the command was a read; `data` is the answer data the MAC covers.
    """

    answer: A
    data: bytes
    mac: bytes
    challenge: bytes


class CardSession:
    """One powered card: sends requests, follows 61xx and 6Cxx, wraps line protection.

    Not for sharing between threads: the card itself is a conversation.
    """

    def __init__(self, channel: Transmitter) -> None:
        self._channel = channel

    def send(self, request: Request[A]) -> A:
        """Send a plain command. Raises ChipError, or DeviceFault CARD-GONE / CARD-ANSWER."""
        command = request.command()
        response = self._exchange(command)
        if (
            response.sw & 0xFF00 == 0x6C00
        ):  # wrong Le: the card did nothing and says how much there is
            response = self._exchange(replace(command, le=response.sw & 0xFF))
        return self._parsed(request, command, response)

    def send_protected(
        self, request: Request[A], protector: Protector, challenge_length: int = 8
    ) -> Protected[A]:
        """Send a command under line protection: GET CHALLENGE, then the form `protector` makes.

        A challenge serves one command only, so 6Cxx is not followed here but raised.
        """
        challenge = self.challenge(challenge_length)
        plain = request.command()
        cla = plain.cla | PROTECTED_CLASS
        head = bytes((cla, plain.ins, plain.p1, plain.p2))
        data = protector(challenge, head, plain.data)
        command = Command(cla, plain.ins, plain.p1, plain.p2, data, plain.le)
        response = self._exchange(command)
        if response.sw not in request.accepts:
            raise ChipError(response.sw, command.header)
        reads = plain.le is not None
        if reads and len(response.data) < MAC_LENGTH:
            raise DeviceFault("CARD-ANSWER", "the protected answer is too short for its MAC")
        cut = len(response.data) - MAC_LENGTH if reads else len(response.data)
        data, mac = response.data[:cut], response.data[cut:]
        answer = self._parsed(request, command, Response(data, response.sw))
        return Protected(answer, data, mac, challenge)

    def challenge(self, length: int = 8) -> bytes:
        """GET CHALLENGE ``00 84 00 00 Le``: 4 or 8 random bytes for the very next command."""
        command = CHALLENGES.get(length)
        if command is None:
            raise ValueError("a challenge has 4 or 8 bytes")
        response = self._exchange(command)
        if response.sw != SW.OK:
            raise ChipError(response.sw, command.header)
        if len(response.data) != length:
            raise DeviceFault("CARD-ANSWER", "the challenge has a wrong length")
        return response.data

    def exchange(self, command: Command) -> Response:
        """One raw command with any status word: for traces and explainers."""
        return self._exchange(command)

    def _exchange(self, command: Command) -> Response:
        response = self._transmit(command)
        if response.sw & 0xFF00 != 0x6100:
            return response
        data = response.data
        for _ in range(MAX_RESPONSE_PARTS):
            response = self._transmit(
                Command(CLA_ISO, Ins.GET_RESPONSE, 0x00, 0x00, le=response.sw & 0xFF)
            )
            data += response.data
            if response.sw & 0xFF00 != 0x6100:
                return Response(data, response.sw)
        raise DeviceFault("CARD-ANSWER", "the card never stopped announcing more data")

    def _transmit(self, command: Command) -> Response:
        raw = self._channel.transmit(bytes(command))
        if len(raw) < 2:
            raise DeviceFault("CARD-GONE", "fewer than two bytes came back")
        return Response.parse(raw)

    @staticmethod
    def _parsed(request: Request[A], command: Command, response: Response) -> A:
        if response.sw not in request.accepts:
            raise ChipError(response.sw, command.header)
        try:
            return request.parse(response.data)
        except ValueError as reason:
            raise DeviceFault(
                "CARD-ANSWER", f"{command.header.hex().upper()}: {reason}"
            ) from reason
