"""The committer's two threads: a crowd is begun on at once, a terminal is in one batch only and keeps its order."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytest

from core.clock import SystemClock
from payments import committer as committer_module
from payments import messages
from payments.authorize import Authorizer
from payments.committer import CROWD, Committer, Ticket
from payments.host_metrics import HostMetrics
from payments.requests import Station
from payments.work import Act, Arrival, Reply, Work

SECONDS = 20
MERCHANT = "898000000000001"


class Slow:
    """An authorizer whose first batch waits at a gate; it notes what each batch held."""

    def __init__(self) -> None:
        self.gate, self.begun = threading.Event(), threading.Semaphore(0)
        self.batches: list[list[tuple[str, str]]] = []
        self._lock = threading.Lock()

    def recover(self) -> int:
        return 0

    def decide(self, works: Sequence[Work]) -> list[Reply]:
        with self._lock:
            first = not self.batches
            self.batches.append([(w.message.terminal, w.message.trace) for w in works])
        self.begun.release()
        if first:
            assert self.gate.wait(SECONDS)
        return [Reply(Act.SEND, key=work.key) for work in works]


class Desk:
    """Takes the replies, and says when all have come."""

    def __init__(self, expected: int) -> None:
        self.replies: list[Any] = []
        self.all_here = threading.Event()
        self._expected = expected

    def deliver(self, replies: list[tuple[Any, Reply]]) -> None:
        self.replies += replies
        if len(self.replies) >= self._expected:
            self.all_here.set()


def ticket(terminal: int, trace: int) -> Ticket:
    station = Station(f"{10_000_000 + terminal}", MERCHANT, "000001")
    frame = messages.build(station.echo(f"{trace:06d}"))
    return Ticket(Arrival(frame), (terminal, trace), SystemClock().monotonic())


@contextmanager
def running(
    slow: Slow, *desks: Desk, wake: threading.Condition | None = None
) -> Iterator[Committer]:
    """A committer; every desk sees every reply."""

    def deliver(replies: list[tuple[Any, Reply]]) -> None:
        for desk in desks:
            desk.deliver(replies)

    clock, metrics = SystemClock(), HostMetrics()
    made = Committer(cast(Authorizer, slow), clock, metrics, deliver)
    if wake is not None:
        made._wake = wake
    made.start()
    try:
        yield made
    finally:
        slow.gate.set()
        made.stop()


def test_a_crowd_is_begun_on_while_the_first_batch_waits() -> None:
    slow, desk = Slow(), Desk(1 + CROWD)
    with running(slow, desk) as committer:
        committer.put([ticket(0, 1)])
        assert slow.begun.acquire(timeout=SECONDS)
        committer.put([ticket(n, 1) for n in range(1, 1 + CROWD)])
        assert slow.begun.acquire(timeout=SECONDS)  # although the first still waits
        slow.gate.set()
        assert desk.all_here.wait(SECONDS)
    assert [len(batch) for batch in slow.batches] == [1, CROWD]


def test_a_few_requests_wait_for_the_batch_after_this_one() -> None:
    slow, desk = Slow(), Desk(3)
    with running(slow, desk) as committer:
        committer.put([ticket(0, 1)])
        assert slow.begun.acquire(timeout=SECONDS)
        committer.put([ticket(1, 1), ticket(2, 1)])
        assert len(slow.batches) == 1
        slow.gate.set()
        assert desk.all_here.wait(SECONDS)
    assert slow.batches[1] == [("10000001", "000001"), ("10000002", "000001")]


def test_who_was_answered_together_is_decided_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer_module, "GATHER_SECONDS", 2 * SECONDS)
    slow, desk, again = Slow(), Desk(3), Desk(6)
    slow.gate.set()
    with running(slow, desk, again) as committer:
        committer.put([ticket(n, 1) for n in range(3)])
        assert desk.all_here.wait(SECONDS)
        for n in range(3):  # one after the other, as their links bring them
            committer.put([ticket(n, 2)])
        assert again.all_here.wait(SECONDS)
    assert [len(batch) for batch in slow.batches] == [3, 3]


class Hurried(threading.Condition):
    """A condition in which gathering is over at once; it notes how long it was to take."""

    def __init__(self) -> None:
        super().__init__()
        self.gathered: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        if timeout != committer_module.GATHER_SECONDS:
            return super().wait(timeout)
        self.gathered.append(timeout)
        return False


def test_who_stays_away_is_waited_for_once_and_briefly() -> None:
    slow, desks = Slow(), [Desk(3), Desk(4), Desk(5)]
    slow.gate.set()
    hurried = Hurried()
    with running(slow, *desks, wake=hurried) as committer:
        committer.put([ticket(n, 1) for n in range(3)])
        assert desks[0].all_here.wait(SECONDS)
        for trace in (2, 3):  # of the three answered together one goes on, then alone
            committer.put([ticket(0, trace)])
            assert desks[trace - 1].all_here.wait(SECONDS)
    assert [len(batch) for batch in slow.batches] == [3, 1, 1]
    assert hurried.gathered == [0.001]


def test_a_lone_terminal_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer_module, "GATHER_SECONDS", 2 * SECONDS)
    slow, desk, again = Slow(), Desk(1), Desk(2)
    slow.gate.set()
    with running(slow, desk, again) as committer:
        committer.put([ticket(0, 1)])
        assert desk.all_here.wait(SECONDS)
        committer.put([ticket(0, 2)])
        assert again.all_here.wait(SECONDS)
    assert [len(batch) for batch in slow.batches] == [1, 1]


def test_a_terminal_is_in_one_batch_and_keeps_its_order() -> None:
    slow, desk = Slow(), Desk(4 + CROWD)
    with running(slow, desk) as committer:
        committer.put([ticket(0, 1)])
        assert slow.begun.acquire(timeout=SECONDS)
        others = [ticket(n, 1) for n in range(1, 1 + CROWD)]
        committer.put([ticket(0, 2), ticket(0, 3), *others, ticket(0, 4)])
        assert slow.begun.acquire(timeout=SECONDS)
        slow.gate.set()
        assert desk.all_here.wait(SECONDS)
    assert "10000000" not in {terminal for terminal, _ in slow.batches[1]}
    mine = [trace for batch in slow.batches for terminal, trace in batch if terminal == "10000000"]
    assert mine == ["000001", "000002", "000003", "000004"]
    assert all(len({terminal for terminal, _ in one}) == len(one) for one in slow.batches)


def test_a_repeat_of_what_nobody_here_works_on_is_dropped() -> None:
    slow, desk = Slow(), Desk(1)
    slow.gate.set()
    slow.decide = lambda works: [Reply(Act.ATTACH, key=w.key) for w in works]  # type: ignore[method-assign]
    with running(slow, desk) as committer:
        committer.put([ticket(0, 1)])
        assert desk.all_here.wait(SECONDS)
    assert [reply.act for _, reply in desk.replies] == [Act.DROP]
