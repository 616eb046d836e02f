"""``citycard sim card``: a chip in a slot, and the operator's hand on it over a socket."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cardos.client import CardSession
from cardos.purse_requests import GetBalance
from cardos.requests import SelectName
from cardos.spec import AID_PURSE
from cli import sim
from core.errors import DeviceFault, EvidenceMismatch, Rejected, Unavailable
from payments.purse import open_psam, open_purse
from runtime.simulated_card import SimulatedCard, ask, make_card

RUN = CliRunner()
SELECT = bytes.fromhex("00A40000023F00")


class Reader:
    """The reader's side of vpcd: a listening port, one card at a time."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(5)
        self.address = ("127.0.0.1", self.listener.getsockname()[1])
        self.card: socket.socket | None = None

    def accept(self) -> None:
        if self.card is not None:
            self.card.close()
        self.card, _ = self.listener.accept()
        self.card.settimeout(5)

    def send(self, message: bytes) -> bytes:
        assert self.card is not None
        self.card.sendall(len(message).to_bytes(2, "big") + message)
        head = self.card.recv(2, socket.MSG_WAITALL)
        return self.card.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL) if head else b""

    def close(self) -> None:
        if self.card is not None:
            self.card.close()
        self.listener.close()


@pytest.fixture
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    made.close()


@pytest.fixture
def control(tmp_path: Path) -> Path:
    return tmp_path / "hand.sock"


@pytest.fixture
def running(reader: Reader, control: Path) -> Iterator[SimulatedCard]:
    chip = SimulatedCard(make_card("permit", None), reader.address, control)
    chip.start()
    reader.accept()
    yield chip
    chip.stop()


def test_the_card_answers_and_the_socket_is_private(reader, running, control):
    assert reader.send(b"\x04") == bytes.fromhex(running.status()["atr"])
    assert reader.send(SELECT).endswith(b"\x90\x00")
    assert control.stat().st_mode & 0o077 == 0


def test_remove_and_insert_by_command(reader, running, control):
    done = RUN.invoke(sim.app, ["card", "remove", "--control", str(control), "--json"])
    assert json.loads(done.stdout)["inserted"] is False
    assert reader.card.recv(1) == b""
    with pytest.raises(DeviceFault, match="CARD-ABSENT"):
        ask(control, {"do": "remove"})
    done = RUN.invoke(sim.app, ["card", "insert", "--control", str(control)])
    assert done.stdout.startswith("card in")
    reader.accept()
    assert reader.send(SELECT).endswith(b"\x90\x00")
    with pytest.raises(Unavailable, match="CARD-OCCUPIED"):
        ask(control, {"do": "insert"})


@pytest.mark.parametrize(("at", "written"), [("before-command", False), ("before-reply", True)])
def test_a_tear_happens_inside_the_next_command(reader, running, control, at, written):
    assert reader.send(bytes.fromhex("00A4040009") + AID_PURSE).endswith(b"\x90\x00")
    before = ask(control, {"do": "status"})["writes"]
    done = RUN.invoke(sim.app, ["card", "tear", "--at", at, "--control", str(control)])
    assert done.exit_code == 0
    assert reader.send(bytes.fromhex("0020000003000000")) == b""  # a wrong PIN costs a try: a write
    assert (ask(control, {"do": "status"})["writes"] > before) is written


@pytest.mark.parametrize("request_", [{"do": "explode"}, {"do": "tear", "at": "never"}, {}])
def test_unknown_requests_are_rejected(running, control, request_):
    with pytest.raises(Rejected, match="CARD-SIM-REQUEST"):
        ask(control, request_)


@pytest.mark.parametrize("line", [b"{not json}\n", b"[1]\n", b"x" * 5000])
def test_garbage_on_the_socket_is_answered_and_survived(running, control, line):
    with socket.socket(socket.AF_UNIX) as talk:
        talk.settimeout(5)
        talk.connect(str(control))
        talk.sendall(line)
        assert json.loads(talk.recv(4096))["error"]["code"] == "CARD-SIM-REQUEST"
    assert ask(control, {"do": "status"})["inserted"]


def test_only_one_runs_at_a_socket(reader, running, control):
    second = SimulatedCard(make_card("blank", None), reader.address, control)
    with pytest.raises(Unavailable, match="CARD-SIM-TWICE"):
        second.start()


def test_a_socket_left_by_a_killed_process_does_not_disturb(reader, control):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(control))
    chip = SimulatedCard(make_card("blank", None), reader.address, control)
    chip.start()
    assert ask(control, {"do": "status"})["inserted"]
    chip.stop()
    assert not control.exists()


def test_nobody_there(control):
    with pytest.raises(Unavailable, match="CARD-SIM-NONE"):
        ask(control, {"do": "status"})


def test_an_address_that_is_none_is_a_usage_error():
    for text in ("here", "host:", ":1", "h:0", "h:99999"):
        assert RUN.invoke(sim.app, ["card", "status", "--vpcd", text]).exit_code == 2


def test_the_kinds_of_chips():
    permit, psam, blank = (make_card(kind, None) for kind in ("permit", "psam", "blank"))
    session = CardSession(permit)
    session.send(SelectName(AID_PURSE))
    assert session.send(GetBalance()) == 8750
    assert open_psam(CardSession(psam)).application.key_index == 1
    assert CardSession(blank).exchange(SelectName(AID_PURSE).command()).sw == 0x6A82


@pytest.mark.parametrize("kind", ["permit", "psam", "blank"])
def test_chips_of_either_protocol(kind):
    for t0, answer in ((False, 0x90), (True, 0x61)):
        chip = make_card(kind, None, t0)
        assert chip.atr.startswith(bytes.fromhex("3B6C" if t0 else "3BEC"))
        assert chip.transmit(SELECT)[-2] == answer


def test_sample_permit_and_sample_psam_pay_each_other():
    from datetime import UTC, datetime

    from payments.purse import pay

    card = CardSession(make_card("permit", None))
    psam = open_psam(CardSession(make_card("psam", None)))
    record = pay(
        card, open_purse(card), psam, 750, datetime(2007, 9, 1, tzinfo=UTC), lambda _: None
    )
    assert record.mac2_checked
    assert card.send(GetBalance()) == 8000


def test_an_image_is_made_once_and_then_kept(tmp_path):
    image = tmp_path / "chip.img"
    first = make_card("permit", image)
    session = CardSession(first)
    session.send(SelectName(AID_PURSE))
    assert session.exchange(session_verify()).sw == 0x63C2
    again = CardSession(make_card("blank", image))
    again.send(SelectName(AID_PURSE))
    assert again.exchange(session_verify()).sw == 0x63C1
    image.write_bytes(image.read_bytes()[:-1] + b"\x00")
    with pytest.raises(EvidenceMismatch, match="CHIP-IMAGE"):
        make_card("permit", image)


def session_verify():
    from cardos.requests import VerifyPin

    return VerifyPin(b"\x00\x00\x00").command()


def test_a_card_that_the_reader_does_not_notice_is_seated_again(reader, control):
    looks = [False, True]
    chip = SimulatedCard(
        make_card("blank", None), reader.address, control, noticed=lambda: looks.pop(0)
    )
    chip.start()
    reader.accept()  # the first seat, left again
    assert reader.card.recv(1) == b""
    reader.accept()
    assert reader.send(SELECT).endswith(b"\x90\x00")
    assert looks == []
    chip.stop()


@pytest.mark.parametrize(
    "words",
    [
        ["--image", "{tmp}/no/such/folder/chip.img"],
        ["--image", "{tmp}"],
        ["--control", "{tmp}/" + "x" * 120],
        ["--kind", "passport"],
    ],
)
def test_bad_paths_and_kinds_are_usage_errors(tmp_path, words):
    words = [word.replace("{tmp}", str(tmp_path)) for word in words]
    assert RUN.invoke(sim.app, ["card", *words, "--vpcd", "127.0.0.1:1"]).exit_code == 2
