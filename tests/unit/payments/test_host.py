"""The listener: bounds, slow senders, a slow bank, repeats that attach, wrong MACs; and any bytes at all."""

import json
import random
import resource
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import SystemClock
from core.errors import Unavailable
from hsm_sim.certificates import SERVER, make_certificates
from hsm_sim.tcp import CA_FILE, SERVER_NAME
from payments import frames, messages
from payments import requests as r
from payments.frames import FrameFault, FrameReader
from payments.host import READ_BYTES, HostThread, Limits, Running, serve
from payments.messages import Message, MessageFault
from payments.requests import reversal
from payments.tls import server_context
from tests.host_bench import Keys, LabCard, LabHost, LabTerminal

SECONDS = 30
FRAMES_A_READ = READ_BYTES // 60


@pytest.fixture
def host(keys: Keys, tmp_path: Path) -> Iterator[LabHost]:
    made = LabHost(keys, url=f"sqlite:///{tmp_path / 'purse.db'}")
    yield made
    made.close()


class Line:
    """One TCP connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), SECONDS)

    def send(self, frame: bytes) -> None:
        self.socket.sendall(frame)

    def receive(self) -> bytes:
        head = self.read(2)
        return head + self.read(int.from_bytes(head, "big")) if head else b""

    def read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            try:
                part = self.socket.recv(size - len(found))
            except ConnectionResetError:
                return b""
            if not part:
                return b""
            found += part
        return found

    def ask(self, frame: bytes) -> bytes:
        self.send(frame)
        return self.receive()

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def running(host: LabHost) -> Iterator[Running]:
    limits = Limits(frame_seconds=0.2, idle_seconds=600, per_address=40, wrong_macs=5)
    with serve(host.authorizer, SystemClock(), limits=limits) as found:
        yield found


@pytest.fixture
def line(running: Running) -> Iterator[Line]:
    made = Line(running.port)
    yield made
    made.close()


@pytest.fixture
def terminal(host: LabHost, line: Line) -> LabTerminal:
    made = host.terminal(send=line.ask)
    made.sign_on()
    return made


def test_many_requests_ahead_on_one_line_are_all_answered(
    host: LabHost, terminal: LabTerminal, line: Line
) -> None:
    cards = [LabCard(f"{n:014d}") for n in range(1, 31)]
    sent = [terminal.load_request(card, 1000)[0] for card in cards]
    for message in sent:
        line.send(terminal.sealed(message))
    answers = [terminal.read(line.receive()) for _ in sent]
    assert {answer.trace for answer in answers} == {message.trace for message in sent}
    assert {answer.response for answer in answers} == {"00"}


def test_a_slow_bank_holds_up_nobody_and_a_repeat_attaches(
    host: LabHost, terminal: LabTerminal, line: Line, running: Running
) -> None:
    opened, asked = threading.Event(), threading.Event()

    def slow(_reference: str) -> None:
        asked.set()
        assert opened.wait(SECONDS)

    host.bank.delay = slow
    request, _ = terminal.load_request(LabCard("00001000000147"), 1000, r.LOAD)
    frame = terminal.sealed(request)
    line.send(frame)
    assert asked.wait(SECONDS)
    second = Line(running.port)
    terminal.send = second.ask
    assert terminal.load(LabCard("00001000000155"), 1000).response == "00"  # cash: not held up
    second.send(frame)  # the terminal reconnected and repeats while the bank is thinking
    third = Line(running.port)
    third.send(terminal.sealed(terminal.load_request(LabCard("00001000000163"), 500)[0]))
    assert third.receive()
    opened.set()
    first = line.receive()
    assert terminal.read(first).response == "00"
    assert second.receive() == first
    assert host.bank.calls == 1
    for one in (second, third):
        one.close()


def test_a_reversal_during_the_bank_leg_wins_and_mac2_never_leaves(
    host: LabHost, terminal: LabTerminal, line: Line, running: Running
) -> None:
    opened, asked = threading.Event(), threading.Event()

    def slow(_reference: str) -> None:
        asked.set()
        assert opened.wait(SECONDS)

    host.bank.delay = slow
    request, _ = terminal.load_request(LabCard("00001000000147"), 1000, r.LOAD)
    line.send(terminal.sealed(request))
    assert asked.wait(SECONDS)
    second = Line(running.port)
    answer = terminal.read(second.ask(terminal.sealed(reversal(request, "98"))))
    assert answer.response == "00"
    opened.set()
    late = terminal.read(second.ask(terminal.sealed(request)))
    assert (late.response, 58 in late) == ("22", False)
    line.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        line.socket.recv(1)
    second.close()


def test_a_slow_sender_is_cut_and_a_keep_alive_answered(running: Running, line: Line) -> None:
    line.send(frames.KEEP_ALIVE)
    assert line.read(2) == frames.KEEP_ALIVE
    line.send(b"\x00\x9b\x60\x00")  # and then nothing
    assert line.receive() == b""
    assert running.metrics.closed.labels("slow sender")._value.get() == 1


def test_a_flood_on_one_line_is_worked_on_eight_at_a_time(
    host: LabHost, line: Line, running: Running
) -> None:
    terminal = host.terminal(send=line.ask)
    echo = messages.build(terminal.station.echo("000001"))
    count = 8 * FRAMES_A_READ
    sender = threading.Thread(target=line.send, args=(echo * count,))
    sender.start()
    answers = [messages.parse(line.receive()).response for _ in range(count)]
    sender.join()
    assert answers == ["00"] * count
    figure = running.metrics.registry.get_sample_value
    small = figure("purse_batch_requests_bucket", {"le": "8.0"})
    assert small == figure("purse_batch_requests_count")


def test_a_peer_that_takes_no_answers_is_read_no_further(
    host: LabHost, terminal: LabTerminal, running: Running
) -> None:
    deaf = Line(running.port)
    echo = messages.build(terminal.station.echo("000001")) * 500
    deaf.socket.settimeout(1.0)
    with pytest.raises(TimeoutError):  # its window fills: nobody reads behind it
        for _ in range(400):
            deaf.socket.sendall(echo)
    assert terminal.load(LabCard("00001000000147"), 1000).response == "00"
    deaf.close()


def test_terminals_speak_tls_when_the_host_has_a_certificate(host: LabHost, tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    make_certificates(folder, SystemClock(), {})
    pem = folder / "host.pem"
    pem.write_bytes(
        (folder / f"{SERVER}.pem").read_bytes() + (folder / f"{SERVER}.key").read_bytes()
    )
    trusting = ssl.create_default_context(cafile=str(folder / CA_FILE))
    with serve(host.authorizer, SystemClock(), tls=server_context(pem)) as running:
        secure = Line(running.port)
        secure.socket = trusting.wrap_socket(secure.socket, server_hostname=SERVER_NAME)
        terminal = host.terminal(send=secure.ask)
        terminal.sign_on()
        assert terminal.load(LabCard("00001000000147"), 1000).response == "00"
        echo = messages.build(terminal.station.echo("000001"))
        secure.send(echo * FRAMES_A_READ * 2)  # more than the host takes at once
        answers = [messages.parse(secure.receive()).response for _ in range(2 * FRAMES_A_READ)]
        assert set(answers) == {"00"}
        secure.close()
        plain = Line(running.port)
        assert plain.ask(echo)[:1] != echo[:1]  # a TLS alert, or nothing
        plain.close()


def test_too_many_lines_from_one_address_are_closed(running: Running) -> None:
    lines = [Line(running.port) for _ in range(45)]
    alive = 0
    for one in lines:
        try:
            one.send(frames.KEEP_ALIVE)
            alive += one.read(2) == frames.KEEP_ALIVE
        except (BrokenPipeError, ConnectionResetError):
            continue
    assert alive <= 40
    for one in lines:
        one.close()


def test_an_address_with_too_many_wrong_macs_waits(
    terminal: LabTerminal, line: Line, running: Running
) -> None:
    frame = bytearray(terminal.sealed(terminal.load_request(LabCard("00001000000147"), 1000)[0]))
    frame[-1] ^= 1
    codes = [messages.parse(line.ask(bytes(frame))).response for _ in range(5)]
    assert codes == ["A0"] * 5
    line.ask(bytes(frame))  # the sixth: this address is refused for a minute
    refused = Line(running.port)
    assert refused.receive() == b""
    refused.close()
    assert running.metrics.closed.labels("address refused")._value.get() >= 1


def test_a_peer_that_has_said_all_is_answered_and_let_go(terminal: LabTerminal, line: Line) -> None:
    frames = [
        terminal.sealed(terminal.load_request(LabCard(f"0000100000{n}"), 1000)[0])
        for n in range(1100, 1112)
    ]
    line.socket.sendall(b"".join(frames))
    line.socket.shutdown(socket.SHUT_WR)
    codes = [
        messages.parse(line.receive()).response for _ in frames
    ]  # more than 8, so some had to wait
    assert codes == ["00"] * 12
    assert line.receive() == b""


def test_two_hosts_cannot_have_one_port(host: LabHost, running: Running) -> None:
    with pytest.raises(Unavailable, match="HOST-LISTEN"):
        HostThread(host.authorizer, SystemClock(), port=running.port).start()


# ---- any bytes


def accepted(body: bytes) -> Message | None:
    """The message, or None when our own error said no; anything else escapes and fails the test."""
    try:
        return messages.parse_body(body)
    except MessageFault:
        return None


BODY = next(
    bytes.fromhex(v["inputs"]["frame"])[frames.BODY_OFFSET :]
    for v in json.loads(Path("tests/vectors/iso8583.json").read_text("utf-8"))["vectors"]
    if v["id"] == "load-req"
)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_our_error(raw: bytes) -> None:
    message = accepted(raw)
    if message is not None:
        assert messages.encode_body(message) == raw


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_mutated_message_is_read_as_it_stands_or_refused(edits: list[tuple[int, int]]) -> None:
    raw = bytearray(BODY)
    for at, value in edits:
        raw[at % len(raw)] = value
    message = accepted(bytes(raw))
    if message is not None:
        assert messages.encode_body(message) == bytes(raw)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.binary(max_size=64), max_size=40))
def test_the_frame_reader_keeps_at_most_one_frame(chunks: list[bytes]) -> None:
    reader = FrameReader()
    for chunk in chunks:
        try:
            found = reader.feed(chunk)
        except FrameFault:
            return
        assert len(reader._rest) <= frames.FRAME_MAX + 2
        assert all(frames.cut(frame) for frame in found if frame != frames.KEEP_ALIVE)


def test_noise_on_the_line_harms_nobody(terminal: LabTerminal, running: Running) -> None:
    dice = random.Random(7)
    for _ in range(40):
        noisy = Line(running.port)
        frame = bytearray(terminal.sealed(terminal.station.echo(terminal.trace())))
        for _ in range(dice.randint(1, 6)):
            frame[dice.randrange(len(frame))] = dice.randrange(256)
        noisy.send(bytes(frame))
        noisy.close()
    assert terminal.load(LabCard("00001000000147"), 1000).response == "00"
    assert running.metrics.failures._value.get() == 0


@pytest.mark.slow
def test_two_thousand_connections_are_held(host: LabHost) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4500:
        pytest.skip("this machine allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4500, hard))
    terminal = host.terminal()
    terminal.sign_on()
    limits = Limits(trusted=frozenset({"127.0.0.1"}))
    try:
        with serve(host.authorizer, SystemClock(), limits=limits) as running:
            lines = [Line(running.port) for _ in range(2000)]
            for one in lines:
                one.send(frames.KEEP_ALIVE)
            assert all(one.read(2) == frames.KEEP_ALIVE for one in lines)
            over = Line(running.port)
            assert over.receive() == b""
            terminal.send = lines[-1].ask
            assert terminal.load(LabCard("00001000000147"), 1000).response == "00"
            for one in [*lines, over]:
                one.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
