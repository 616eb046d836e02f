"""The trace panes of a terminal: card left, host right, and nothing that holds a PIN or a key."""

import pytest

from core.errors import DeviceFault
from payments.messages import build
from payments.requests import Station
from payments.terminal_trace import CARD, HOST, Trace
from tests.unit.payments.terminal_bench import permit

SECRET = "1122334455667788"
COMMANDS = {
    "VERIFY": "0020000008" + SECRET,
    "CHANGE PIN": "805E010008" + SECRET,
    "RELOAD PIN": "805E000008" + SECRET,
    "PIN UNBLOCK": "8424000008" + SECRET,
    "WRITE KEY": "80D4390108" + SECRET,
    "WRITE KEY, protected": "84D4390108" + SECRET,
    "DES CRYPT": "80FA000008" + SECRET,
}


class Mute:
    """A card that takes a command and leaves."""

    atr = b""

    def transmit(self, apdu: bytes) -> bytes:
        raise DeviceFault("CARD-GONE", "pulled")


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("answers", [True, False])
def test_data_that_may_hold_a_pin_or_a_key_is_starred(name: str, answers: bool) -> None:
    trace = Trace()
    channel = trace.wrap(permit() if answers else Mute())
    try:
        channel.transmit(bytes.fromhex(COMMANDS[name]))
    except DeviceFault:
        assert not answers
    (step,) = trace.steps
    assert step.side == CARD
    assert "*" * 16 in step.sent
    assert SECRET not in repr(step)


def test_a_command_without_secrets_is_shown_with_its_answer() -> None:
    trace = Trace()
    trace.wrap(permit()).transmit(bytes.fromhex("00A40000023F00"))
    (step,) = trace.steps
    assert step.sent.startswith("00A40000 02 3F00")
    assert step.got.endswith("9000")


def test_a_message_shows_its_fields_without_account_and_pin_block() -> None:
    trace = Trace()
    block = bytes.fromhex("AA4BF92E1083CFAD")
    asked = Station("10000001", "898000000000001", "000042").balance(
        "000007", "6200000000042759", block
    )
    trace.tap(">", build(asked, lambda _mab: b"00000000"))
    (step,) = trace.steps
    assert (step.side, step.sent[:4], step.got) == (HOST, "0200", "")
    assert "11=000007" in step.sent
    assert "6200000000042759" not in step.sent
    assert block.hex() not in step.sent.lower()


def test_bytes_that_are_no_message_are_named_so() -> None:
    trace = Trace()
    trace.tap("<", b"\x00\x03abc")
    (step,) = trace.steps
    assert (step.sent, step.meaning_en) == ("<", "not a message")
