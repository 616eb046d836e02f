"""The port under fire: random frames, split frames, clients that stall, a thousand connections.

No crash, every well-formed frame answered with its own header, limits hold, others go on.
"""

import random
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsm_sim import generic_requests as generic
from hsm_sim.client import Role
from hsm_sim.errors import MEANINGS
from hsm_sim.frame import answer_code
from hsm_sim.launch import HsmProcess, start_hsm
from hsm_sim.policy import FORMS
from hsm_sim.server import MAX_CONNECTIONS
from hsm_sim.tcp import ClientTls, TcpHsm, roles_of
from hsm_sim.work import Client
from tests.hsm_bench import KnownKeys, give_certificates, hold
from tests.unit.hsm_sim.test_hsm_requests import EVERY

SAMPLES = [request.code + request.encode().decode("latin-1") for request in EVERY]
KNOWN_CODES = {"00", *MEANINGS}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnownKeys]:
    made = KnownKeys(tmp_path_factory.mktemp("fuzz") / "hsm")
    made.load("dlk", bytes(range(60, 76)), "T2", "11", "X")
    made.hsm.limiter.off = True
    yield made
    made.hsm.log.close()


def mutated(data: st.DataObject) -> str:
    """A real request with some characters changed, cut or doubled."""
    text = data.draw(st.sampled_from(SAMPLES))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(text)))
        kind = data.draw(st.sampled_from("scid"))
        piece = data.draw(st.text(st.characters(max_codepoint=255), min_size=1, max_size=4))
        text = {"s": text[:at], "c": text[:at] + piece + text[at + 1 :],
                "i": text[:at] + piece + text[at:], "d": text[:at] + text[at:] * 2}[kind]  # fmt: skip
    return text[:8000]


@given(st.data(), st.sampled_from(Role))
@settings(max_examples=400, deadline=None, derandomize=True)
def test_changed_requests_are_answered(bench: KnownKeys, data: st.DataObject, role: Role) -> None:
    text = mutated(data)
    body = b"hdr1" + text.encode("latin-1")
    for bulk in (False, True):
        answer = bench.engine.execute(Client("fuzz", role), body, bulk=bulk)
        code = text[:2]
        if len(code) < 2 or not (code.isascii() and code.isprintable()):
            assert answer is None
            continue
        assert answer is not None
        assert answer[:6] == b"hdr1" + answer_code(code).encode()
        assert answer[6:8].decode() in KNOWN_CODES - {"41"}


@given(st.binary(max_size=300), st.sampled_from(Role))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_random_bytes_are_answered_or_end_the_connection(
    bench: KnownKeys, body: bytes, role: Role
) -> None:
    answer = bench.engine.execute(Client("fuzz", role), body)
    assert answer is None or (len(answer) >= 8 and answer[:4] == body[:4])


# -- over the network -------------------------------------------------------------------------------


class Fortress:
    """A server process under attack, and ways in."""

    def __init__(self, folder: Path) -> None:
        bench = hold(folder)
        bench.hsm.close()
        self.certificates = folder / "certificates"
        give_certificates(folder / "hsm", self.certificates)
        self.process: HsmProcess = start_hsm(
            folder / "hsm", self.certificates, bench.city.unlock_secrets
        )
        self._context = ClientTls.of(self.certificates, "monitor").context()

    def connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.process.port), 20)
        try:
            return self._context.wrap_socket(plain, server_hostname="hsm.local")
        except OSError:
            plain.close()
            raise

    def friend(self) -> TcpHsm:
        return TcpHsm("127.0.0.1", self.process.port, roles_of(self.certificates, (Role.MONITOR,)))

    def alive(self) -> None:
        with self.friend() as hsm:
            assert hsm.call(generic.Echo(b"alive")) == b"alive"
        assert self.process.process.poll() is None


@pytest.fixture(scope="module")
def fortress(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fortress]:
    made = Fortress(tmp_path_factory.mktemp("fortress"))
    yield made
    assert made.process.stop() == 0


def exactly(link: ssl.SSLSocket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        piece = link.recv(count - len(found))
        if not piece:
            raise EOFError
        found += piece
    return found


def read_answer(link: ssl.SSLSocket) -> bytes:
    return exactly(link, int.from_bytes(exactly(link, 2), "big"))


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(2, "big") + body


def test_frames_in_pieces_and_in_lumps(fortress: Fortress) -> None:
    frames = [framed(b"%04dB2%04X" % (n, n) + bytes(n)) for n in range(1, 130)]
    with fortress.connect() as link:
        for byte in frames[3]:
            link.sendall(bytes((byte,)))
        assert read_answer(link) == b"0004B300" + bytes(4)
        link.sendall(b"".join(frames))  # more than may be under way: all are answered, in order
        for n in range(1, 130):
            assert read_answer(link) == b"%04dB300" % n + bytes(n)


@pytest.mark.slow
def test_ten_thousand_random_frames(fortress: Fortress) -> None:
    dice = random.Random(20261127)
    codes = [*FORMS, "ZZ", "00", "M7", "XX"]
    with fortress.connect() as link:
        for start in range(0, 10_000, 50):
            bodies = []
            for n in range(start, start + 50):
                rest = dice.randbytes(dice.randrange(60))
                if dice.random() < 0.5:
                    rest = dice.choice(SAMPLES)[2:].encode("latin-1")[: dice.randrange(200)]
                bodies.append(b"%04d" % (n % 10_000) + dice.choice(codes).encode() + rest)
            link.sendall(b"".join(framed(body) for body in bodies))
            for body in bodies:
                answer = read_answer(link)
                assert answer[:6] == body[:4] + answer_code(body[4:6].decode()).encode()
                assert answer[6:8].decode() in KNOWN_CODES - {"41"}
    fortress.alive()


@pytest.mark.slow
def test_random_streams_are_closed(fortress: Fortress) -> None:
    dice = random.Random(7)
    for _ in range(60):
        with fortress.connect() as link:
            link.settimeout(20)
            try:
                link.sendall(b"\xff\xff" + dice.randbytes(dice.randrange(2000)))
                while link.recv(4096):
                    pass
            except OSError:
                continue
    fortress.alive()


@pytest.mark.slow
def test_clients_that_stall_or_do_not_listen(fortress: Fortress) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            link = stack.enter_context(fortress.connect())
            link.sendall(b"\x00")  # half a length, and then nothing
        deaf = stack.enter_context(fortress.connect())
        deaf.setblocking(False)
        echo, sent = framed(b"0000B21F00" + bytes(0x1F00)), 0
        try:
            while sent < 2000:
                deaf.send(echo)
                sent += 1
        except (ssl.SSLWantWriteError, BlockingIOError):
            pass
        assert sent < 2000  # the server stopped taking from a client that does not take its answers
        for _ in range(50):
            fortress.alive()


@pytest.mark.slow
def test_a_thousand_connections(fortress: Fortress) -> None:
    """At most 64 stay; a client that was there before keeps being served through all of it."""
    with ExitStack() as stack:
        friend = stack.enter_context(fortress.friend())
        assert friend.call(generic.Echo(b"before")) == b"before"
        served = 0
        for number in range(1000):
            try:
                link = stack.enter_context(fortress.connect())
                link.settimeout(20)
                link.sendall(framed(b"0000B20002hi"))
                served += read_answer(link) == b"0000B300hi"
            except (OSError, EOFError):
                pass
            if number % 50 == 0:
                assert friend.call(generic.Echo(b"during")) == b"during"
        assert served == MAX_CONNECTIONS - 1
    fortress.alive()
