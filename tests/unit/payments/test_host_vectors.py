"""The shared vectors' frames, as they stand, spoken over TCP to the laboratory host of docs/host.md."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from hsm_sim import mac
from payments import messages
from payments.frames import requirement_of
from payments.host import serve
from payments.messages import Message
from runtime.purse_lab import laboratory
from runtime.purse_lab_file import Laboratory

VECTORS = {
    v["id"]: v for v in json.loads(Path("tests/vectors/iso8583.json").read_text("utf-8"))["vectors"]
}
LAB = Laboratory.load(Path("examples/purse-lab/lab.json"))
NOW = datetime.fromisoformat("2026-11-28T09:15:30+08:00")
MAK = bytes.fromhex("E668CEC751B580AD")
ASKED = (
    "balance-req", "load-req", "load-confirm", "load2-req", "reversal-req", "purchase-1-req",
    "purchase-2-req", "unload-req", "unload-confirm", "settle-req", "batch-end", "signon-req",
)  # fmt: skip


class Line:
    """A client of a few lines, nothing of ours in it but the socket."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 20)

    def ask(self, frame: bytes) -> bytes:
        self.socket.sendall(frame)
        head = self._read(2)
        return head + self._read(int.from_bytes(head, "big"))

    def _read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            part = self.socket.recv(size - len(found))
            if not part:
                return found
            found += part
        return found

    def close(self) -> None:
        self.socket.close()


@contextmanager
def lab_port() -> Iterator[int]:
    with (
        laboratory(LAB, now=NOW, still=True) as lab,
        serve(lab.authorizer, lab.clock) as running,
    ):
        yield running.port


@pytest.fixture
def fresh() -> Iterator[Line]:
    """A line to a laboratory of its own."""
    with lab_port() as port:
        client = Line(port)
        yield client
        client.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[int]:
    """A laboratory for all tests that leave nothing behind but one load."""
    with lab_port() as port:
        yield port


@pytest.fixture
def line(shared: int) -> Iterator[Line]:
    client = Line(shared)
    yield client
    client.close()


def frame(name: str) -> bytes:
    return bytes.fromhex(VECTORS[name]["inputs"]["frame"])


def sealed(message: Message) -> bool:
    return mac.unionpay(MAK, message.mab) == message.mac


def test_a_day_of_the_vectors_over_the_wire(fresh: Line) -> None:
    found: dict[str, Any] = {}
    for name in ASKED:
        answer = messages.parse(fresh.ask(frame(name)))
        assert messages.answers(messages.parse(frame(name)), answer), name
        assert sealed(answer) or name == "signon-req", name
        found[name] = answer
    codes = {name: answer.response for name, answer in found.items()}
    # The vector's unload was made at 15:03: under this clock its confirmation names another time.
    assert codes.pop("unload-confirm") == "63"
    assert set(codes.values()) == {"00"}
    assert found["balance-req"].text(54) == "0002156C000001234567"
    expected = VECTORS["load-rsp"]["expected"]["fields"]
    assert found["load-req"].octets(58).hex().upper() == expected["58"]  # MAC2 to the byte
    assert found["load-req"].text(44) == expected["44"]
    assert found["settle-req"].text(48)[30] == "1"
    assert requirement_of(found["batch-end"].header) == 3
    assert found["signon-req"].batch == "000043"


def test_repeats_are_byte_equal_and_a_reversed_load_is_22(fresh: Line) -> None:
    first = fresh.ask(frame("load-req"))
    assert fresh.ask(frame("load-req")) == first
    fresh.ask(frame("load2-req"))  # the same card, the next counter: proves the first one
    reversed_ = fresh.ask(frame("reversal-req"))
    assert fresh.ask(frame("reversal-req")) == reversed_
    late = messages.parse(fresh.ask(frame("load2-req")))
    assert (late.response, 58 in late) == ("22", False)


def test_frames_with_a_wrong_mac_are_a0(line: Line) -> None:
    for name in ("reject-mac-bit", "reject-mac-amount", "reject-mac-case"):
        answer = messages.parse(line.ask(frame(name)))
        assert (answer.response, answer.mac) == ("A0", b"")
    assert messages.parse(line.ask(frame("accept-mac-tpdu"))).response == "00"


@pytest.mark.parametrize("name", ["reject-tpdu", "reject-frame-long", "reject-frame-short"])
def test_what_is_no_frame_closes_the_connection(line: Line, name: str) -> None:
    assert line.ask(frame(name)) == b""


@pytest.mark.parametrize("name", [n for n, v in VECTORS.items() if v["op"] == "reject"])
def test_a_broken_body_is_answered_30_or_closed_and_never_harms(line: Line, name: str) -> None:
    body = bytes.fromhex(VECTORS[name]["inputs"]["body"])
    whole = bytes.fromhex("6000030000613100311101") + body
    raw = line.ask(len(whole).to_bytes(2, "big") + whole)
    if raw:
        answer = messages.parse(raw)
        assert answer.response in ("30", "A0", "97")
    again = Line(line.socket.getpeername()[1])
    assert messages.parse(again.ask(frame("load-req"))).response == "00"
    again.close()


def test_keep_alives_and_split_frames(line: Line) -> None:
    line.socket.sendall(b"\x00\x00")
    assert line._read(2) == b"\x00\x00"
    raw = frame("load-req")
    for at in range(0, len(raw), 7):
        line.socket.sendall(raw[at : at + 7])
    head = line._read(2)
    answer = messages.parse(head + line._read(int.from_bytes(head, "big")))
    assert answer.response == "00"
