"""The server's loop in this process: frames of other shapes, clients that stall, strangers, bugs."""

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from core.errors import CityError
from hsm_sim import link, serve, server
from hsm_sim.certificates import make_certificates
from hsm_sim.clients import Policy
from hsm_sim.engine import Engine
from hsm_sim.serve import Serving
from hsm_sim.server import HsmServer
from hsm_sim.tcp import ClientTls
from tests.hsm_bench import KnownKeys

Start = Callable[..., int]
SECONDS = 10
TLS_RECORD = 16_384


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnownKeys]:
    folder = tmp_path_factory.mktemp("listening")
    made = KnownKeys(folder / "hsm")
    known = make_certificates(folder / "certificates", made.hsm._clock)
    made.hsm.policy = Policy().with_clients(known)
    made.certificates = folder / "certificates"  # type: ignore[attr-defined]
    yield made
    made.hsm.log.close()


@pytest.fixture
def start(bench: KnownKeys) -> Iterator[Start]:
    running: list[tuple[HsmServer, Thread]] = []

    def run(header_length: int = 4, frame_limit: int = 8192) -> int:
        bench.hsm.frame_limit = frame_limit
        made = HsmServer(Engine(bench.hsm), bench.certificates, header_length)  # type: ignore[attr-defined]
        port = made.start()
        thread = Thread(target=made.run)
        thread.start()
        running.append((made, thread))
        return port

    yield run
    for made, thread in running:
        made.stop()
        thread.join(SECONDS)
        assert not thread.is_alive()


def connect(bench: KnownKeys, port: int) -> ssl.SSLSocket:
    context = ClientTls.of(bench.certificates, "monitor").context()  # type: ignore[attr-defined]
    plain = socket.create_connection(("127.0.0.1", port), SECONDS)
    return context.wrap_socket(plain, server_hostname="hsm.local")


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(2, "big") + body


def answer(one: ssl.SSLSocket) -> bytes:
    """The next frame's body; b"" when the connection ends instead."""
    taken, wanted = b"", 2
    while len(taken) < wanted:
        piece = one.recv(wanted - len(taken))
        if not piece:
            return b""
        taken += piece
        if len(taken) == 2:
            wanted = 2 + int.from_bytes(taken, "big")
    return taken[2:]


@pytest.mark.parametrize("header", [b"", b"a header of 16 c"])
def test_a_header_has_the_length_of_its_listener(
    bench: KnownKeys, start: Start, header: bytes
) -> None:
    with connect(bench, start(len(header))) as one:
        one.sendall(frame(header + b"B20002hi\x19t"))
        assert answer(one) == header + b"B300hi\x19t"


def test_longer_frames_where_they_are_allowed(bench: KnownKeys, start: Start) -> None:
    long = frame(b"0001B2" + b"4E20" + b"x" * 20_000)
    with connect(bench, start(frame_limit=32_767)) as one:
        one.sendall(long)
        assert len(answer(one)) == 20_008
    with connect(bench, start(frame_limit=8192)) as one:
        one.sendall(long)
        assert answer(one) == b""


def test_who_does_not_read_waits_alone_and_loses_nothing(bench: KnownKeys, start: Start) -> None:
    port, count = start(), 120
    with connect(bench, port) as slow, connect(bench, port) as other:
        slow.sendall(b"".join(frame(b"%04dB21F40" % n + b"x" * 8000) for n in range(count)))
        for n in range(50):
            other.sendall(frame(b"%04dB20000" % n))
            assert answer(other) == b"%04dB300" % n
        for n in range(count):
            assert answer(slow)[:8] == b"%04dB300" % n


def test_a_flood_of_small_frames_waits_outside(
    bench: KnownKeys, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames that cannot be done yet are not read: what the server holds of a client stays small."""
    held, real = [0], link.Link.work

    def watched(self: link.Link) -> None:
        held.append(len(self._taken))
        real(self)

    monkeypatch.setattr(link.Link, "work", watched)
    monkeypatch.setattr(link, "RECEIVE", 4096)
    count = 10_000
    with connect(bench, start()) as one:
        one.sendall(b"".join(frame(b"%04dZZ" % n) for n in range(count)))
        for n in range(count):
            assert answer(one) == b"%04dZ[68" % n
    assert max(held) <= 2 * TLS_RECORD  # of 80,000 bytes


def test_who_asks_much_and_reads_late_gets_all_of_it(
    bench: KnownKeys, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small requests with long answers: their turns are held back until the client reads, and then go on."""
    monkeypatch.setattr(link, "MAX_UNSENT", 20_000)
    held, real = Event(), link.Link.work

    def watched(self: link.Link) -> None:
        if self._behind and len(self._unsent) > link.MAX_UNSENT:
            held.set()
        real(self)

    monkeypatch.setattr(link.Link, "work", watched)
    count = 30_000
    with connect(bench, start()) as one:
        one.sendall(b"".join(frame(b"%04dN0256" % (n % 10_000)) for n in range(count)))
        assert held.wait(SECONDS)
        for n in range(count):
            assert answer(one)[:8] == b"%04dN100" % (n % 10_000)


def test_a_bug_in_a_bulk_frame_ends_its_connection_only(
    bench: KnownKeys, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = start()
    real = Engine.execute_many

    def broken(self: Engine, *arguments: object) -> list[bytes]:
        if arguments[-1] is True:
            raise ValueError("inside")
        return real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "execute_many", broken)
    with connect(bench, port) as other:
        made = HsmServer(Engine(bench.hsm), bench.certificates)  # type: ignore[attr-defined]
        bulk = made.start_bulk()
        thread = Thread(target=made.run)
        thread.start()
        with connect(bench, bulk) as one:
            one.sendall((6).to_bytes(4, "big") + b"000190")
            assert one.recv(10) == b""
        made.stop()
        thread.join(SECONDS)
        other.sendall(frame(b"0002B20000"))
        assert answer(other) == b"0002B300"


def test_strangers_in_their_handshake_are_few_and_not_for_long(
    bench: KnownKeys, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_HANDSHAKES", 3)
    monkeypatch.setattr(server, "HANDSHAKE_SECONDS", 3600)
    monkeypatch.setattr(server, "TICK_SECONDS", 0.05)
    port = start()
    silent = [socket.create_connection(("127.0.0.1", port), SECONDS) for _ in range(3)]
    with socket.create_connection(("127.0.0.1", port), SECONDS) as fourth:
        assert fourth.recv(1) == b""  # at once
    monkeypatch.setattr(server, "HANDSHAKE_SECONDS", 0)
    for one in silent:  # when their time is over
        assert one.recv(1) == b""
        one.close()
    monkeypatch.setattr(server, "HANDSHAKE_SECONDS", 5)
    with connect(bench, port) as one:
        one.sendall(frame(b"0001B20000"))
        assert answer(one) == b"0001B300"


def test_a_bug_ends_its_connection_and_no_other(
    bench: KnownKeys,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    port, real = start(), link.Link.answer

    def broken(self: link.Link, answers: list[bytes], asked: int) -> None:
        if b"bug!" in answers[0]:
            raise ValueError("key 0123456789ABCDEF is bad")
        real(self, answers, asked)

    monkeypatch.setattr(link.Link, "answer", broken)
    with connect(bench, port) as one, connect(bench, port) as other:
        one.sendall(frame(b"0001B20004bug!"))
        assert answer(one) == b""
        other.sendall(frame(b"0002B20000"))
        assert answer(other) == b"0002B300"
    assert "ValueError" in caplog.text
    assert "0123456789" not in caplog.text


def test_a_port_that_is_taken_is_said_so(bench: KnownKeys, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = Serving(tmp_path, bench.certificates, port=taken.getsockname()[1])  # type: ignore[attr-defined]
        with pytest.raises(CityError, match="HSM-PORT"):
            serve._listen(bench.hsm, wanted, lambda _: None)


def test_the_socket_of_an_earlier_run_is_replaced(bench: KnownKeys, tmp_path: Path) -> None:
    path = tmp_path / "bulk"
    for _ in range(2):
        made = HsmServer(Engine(bench.hsm), bench.certificates)  # type: ignore[attr-defined]
        made.start_bulk_socket(path)
        made.stop()
        made.run()
    assert path.stat().st_mode & 0o077 == 0
