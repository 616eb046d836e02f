"""The terminal's line on real sockets: split answers, strays, keep-alives, hang-ups, silence."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from core.clock import SystemClock
from core.errors import Unavailable
from payments.frames import KEEP_ALIVE, Frame
from payments.terminal_link import TcpLink

REQUEST = bytes(Frame(bytes.fromhex("6000030000"), bytes(6), b"request---"))
ANSWER = bytes(Frame(bytes.fromhex("6000000003"), bytes(6), b"answer----"))
STRAY = bytes(Frame(bytes.fromhex("6000000003"), bytes(6), b"stray-----"))
Talk = Callable[[socket.socket], None]


@contextmanager
def host(*talks: Talk) -> Iterator[TcpLink]:
    """A host that has one conversation per connection, then hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            for talk in talks:
                line, _ = server.accept()
                with line:
                    line.settimeout(10)
                    talk(line)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        link = TcpLink("127.0.0.1", server.getsockname()[1], SystemClock())
        try:
            yield link
        finally:
            link.close()
            thread.join(10)


def reads_then(*chunks: bytes) -> Talk:
    def talk(line: socket.socket) -> None:
        assert line.recv(4096) == REQUEST
        for chunk in chunks:
            line.sendall(chunk)

    return talk


def wanted(frame: bytes) -> bool:
    return frame == ANSWER


def test_an_answer_may_come_in_pieces_behind_strays_and_keep_alives() -> None:
    bytewise = [bytes((one,)) for one in ANSWER]
    with host(reads_then(KEEP_ALIVE, STRAY, KEEP_ALIVE, *bytewise)) as link:
        assert link.exchange(REQUEST, wanted, 10) == ANSWER


@pytest.mark.parametrize(
    "chunks", [(), (STRAY,), (ANSWER[:-1],), (b"\xff\xff",), (b"\x00\x20\x61",)]
)
def test_a_cut_or_broken_line_is_silence_and_the_next_exchange_connects_again(
    chunks: tuple[bytes, ...],
) -> None:
    with host(reads_then(*chunks), reads_then(ANSWER)) as link:
        assert link.exchange(REQUEST, wanted, 10) is None
        assert link.exchange(REQUEST, wanted, 10) == ANSWER


def test_a_late_answer_dies_with_its_connection() -> None:
    def late(line: socket.socket) -> None:
        assert line.recv(4096) == REQUEST
        assert line.recv(4096) == b""  # the terminal hung up
        with pytest.raises(OSError):
            for _ in range(100):
                line.sendall(ANSWER)

    with host(late, reads_then(STRAY, ANSWER)) as link:
        assert link.exchange(REQUEST, wanted, 0) is None
        assert link.exchange(REQUEST, wanted, 10) == ANSWER


def test_a_line_the_host_closed_while_idle_is_not_taken_for_silence() -> None:
    with host(reads_then(ANSWER), reads_then(ANSWER)) as link:
        assert link.exchange(REQUEST, wanted, 10) == ANSWER
        while not link._hung_up():
            pass
        assert link.exchange(REQUEST, wanted, 10) == ANSWER


def test_without_a_host_nothing_is_sent_and_it_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    link = TcpLink("127.0.0.1", port, SystemClock())
    with pytest.raises(Unavailable, match="TERM-OFFLINE"):
        link.open()


def test_a_host_that_never_stops_babbling_is_silence() -> None:
    def babble(line: socket.socket) -> None:
        assert line.recv(4096) == REQUEST
        try:
            while True:
                line.sendall(STRAY)
        except OSError:
            return

    with host(babble) as link:
        assert link.exchange(REQUEST, wanted, 30) is None
