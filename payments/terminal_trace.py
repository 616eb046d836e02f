"""What a terminal says to card and host, side by side, with secrets left out (console.md 5).

A `Trace` takes APDUs from a wrapped channel and frames from the line's tap, in the order they happened. PINs and
keys are starred before they are kept; account numbers, PIN blocks and purse data show by the message's own masking.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from cardos.explain import explain_apdu
from cardos.spec import Ins, sw_text
from core.apdu import CardChannel, Command, Response
from core.errors import CityError, Rejected
from payments import responses
from payments.iso_fields import FIELDS, MTI_NAMES
from payments.messages import Message, masked, parse

KEPT = 2_000
CARD, HOST = "card", "host"
SECRET_DATA = frozenset(
    int(ins) for ins in (Ins.VERIFY, Ins.CHANGE_PIN, Ins.PIN_UNBLOCK, Ins.WRITE_KEY, Ins.CRYPT)
)
"""Instructions whose data may hold a PIN or a key, in the clear or enciphered: none of it is shown."""
SHOWN_DATA = 24  # bytes of an APDU's data on one line


@dataclass(frozen=True)
class Step:
    """One exchange: `side` card or host, `sent` and `got` for the eye, `meaning` in both languages."""

    side: str
    sent: str
    got: str
    meaning_en: str
    meaning_zh: str


@dataclass
class Trace:
    """The newest `KEPT` steps; `on_step` hears each one as it happens."""

    steps: deque[Step] = field(default_factory=lambda: deque(maxlen=KEPT))
    on_step: Callable[[Step], None] = field(default=lambda _step: None)
    messages: dict[str, int] = field(default_factory=dict)

    def add(self, step: Step) -> None:
        """Keep and tell a step."""
        self.steps.append(step)
        self.on_step(step)

    def wrap(self, channel: CardChannel) -> CardChannel:
        """The channel with its exchanges traced."""
        return TracedChannel(channel, self)

    def tap(self, direction: str, frame: bytes) -> None:
        """A frame of the line (`payments.terminal_link.Tap`)."""
        try:
            message = parse(frame)
        except Rejected as fault:
            self.add(Step(HOST, direction, fault.detail, "not a message", "非报文"))
            return
        self.messages[message.mti] = self.messages.get(message.mti, 0) + 1
        self.add(_host_step(direction, message))


class TracedChannel:
    """A `CardChannel` that tells what passes through it."""

    def __init__(self, channel: CardChannel, trace: Trace) -> None:
        self._channel = channel
        self._trace = trace

    @property
    def atr(self) -> bytes:
        """Answer to reset."""
        return self._channel.atr

    def transmit(self, apdu: bytes) -> bytes:
        """One command, traced with its answer or with the way it got lost."""
        try:
            answer = self._channel.transmit(apdu)
        except CityError as lost:
            self._trace.add(_card_step(apdu, f"-- {lost.code}", "no answer", "无应答"))
            raise
        self._trace.add(_card_exchange(apdu, answer))
        return answer

    def reset(self) -> bytes:
        """Reset the card."""
        return self._channel.reset()

    def close(self) -> None:
        """Power the card down."""
        self._channel.close()


def _card_exchange(apdu: bytes, answer: bytes) -> Step:
    if len(answer) < 2:
        return _card_step(apdu, answer.hex().upper(), "no answer", "无应答")
    response = Response.parse(answer)
    name_en, name_zh = sw_text(response.sw)
    shown = response.data.hex().upper()
    return _card_step(apdu, f"{shown} {response.sw:04X}".strip(), name_en, name_zh)


def _card_step(apdu: bytes, got: str, end_en: str, end_zh: str) -> Step:
    try:
        command = Command.parse(apdu)
        lines = explain_apdu(apdu)
        name_en, name_zh = lines[1].meaning_en, lines[1].meaning_zh
    except ValueError:
        return Step(CARD, "not an APDU", got, end_en, end_zh)
    data = command.data[:SHOWN_DATA].hex().upper()
    if len(command.data) > SHOWN_DATA:
        data += "…"
    if command.ins in SECRET_DATA:
        data = "**" * len(command.data)
    le = "" if command.le is None else f"{command.le:02X}"
    lc = f"{len(command.data):02X}" if command.data else ""
    sent = " ".join(part for part in (command.header.hex().upper(), lc, data, le) if part)
    return Step(CARD, sent, got, f"{name_en}: {end_en}", f"{name_zh}：{end_zh}")


def _host_step(direction: str, message: Message) -> Step:
    parts = [f"{n}={masked(n, v)}" for n, v in sorted(message.fields.items())]
    name_en, name_zh = MTI_NAMES[message.mti]
    if message.response:
        name_en += f", {message.response} {responses.reads(message.response)}"
        name_zh += f"，{message.response} {responses.reads(message.response, 'zh')}"
    told = " ".join(parts)
    sent, got = (f"{message.mti} {told}", "") if direction == ">" else ("", f"{message.mti} {told}")
    return Step(HOST, sent, got, name_en, name_zh)


def field_names(message: Message) -> dict[int, tuple[str, str]]:
    """English and Chinese names of a message's fields."""
    return {n: (FIELDS[n].name_en, FIELDS[n].name_zh) for n in sorted(message.fields)}
