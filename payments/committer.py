"""The committer: two threads that take what waits, decide a batch in one transaction, and hand the answers back.

At most 64 requests a batch. A terminal or card is in one batch at a time, and its requests keep their order. A lone
request is not delayed and a crowd shares one commit (iso8583-host.md 16); while one batch waits for HSM or disk
another full one is begun on by the second thread. Bank legs run in a bounded pool and come back to be finished.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from core.clock import Clock
from core.errors import CityError
from payments.authorize import MAX_BATCH, Authorizer
from payments.decisions import BankAnswer
from payments.host_log import unexpected
from payments.host_metrics import HostMetrics
from payments.work import Act, Arrival, Job, Reply, Work, open_work

MAX_WAIT_SECONDS = 5.0  # a request older than this is dropped, so that the terminal's reversal wins
THREADS = 2
CROWD = MAX_BATCH  # with fewer waiting, the second thread leaves them to the batch after this one
# Whom one batch answered ask again together: the first of them waits so long for the others.
GATHER_SECONDS = 0.001
BANK_THREADS = 16
LEG_SECONDS = 1.0
STOP_SECONDS = 30.0
_log = structlog.get_logger("purse.host")


@dataclass(eq=False)
class Ticket:
    """A request in the queue: who sent it (opaque here), since when it waits, and its message once it was read."""

    arrival: Arrival
    sender: Any
    since: float
    work: Work | None = None


T = TypeVar("T")
Deliver = Callable[[list[tuple[Any, Reply]]], None]


class Committer:
    """Feeds an `Authorizer`. `deliver` is called from its threads with each batch's replies."""

    def __init__(
        self, authorizer: Authorizer, clock: Clock, metrics: HostMetrics, deliver: Deliver
    ) -> None:
        self._authorizer, self._clock, self._metrics = authorizer, clock, metrics
        self._deliver = deliver
        self._wake = threading.Condition()  # guards everything below
        self._queue: deque[Ticket] = deque()
        self._blocked: list[Ticket] = []  # they share a terminal or card with a batch at work
        self._lanes: set[str] = set()
        self._banked: deque[tuple[Job, BankAnswer]] = deque()
        self._waiters: dict[str, list[Any]] = {}  # who waits for a bank leg, by the request's key
        self._at_work = 0
        self._answered = 0  # by the last batch
        self._gathering = False
        self._stopping = False
        self._bank = ThreadPoolExecutor(BANK_THREADS, "bank-leg")
        self._threads = [
            threading.Thread(target=self._run, name=f"committer-{n}", daemon=True)
            for n in range(1, THREADS + 1)
        ]

    def start(self) -> None:
        """Void what a stopped host held, then begin."""
        self._authorizer.recover()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what was taken in, then end all threads."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join(STOP_SECONDS)
        self._bank.shutdown()

    def put(self, tickets: list[Ticket]) -> None:
        """Take requests in; the caller bounds how many may wait."""
        with self._wake:
            self._queue.extend(tickets)
            if len(self._queue) >= self._answered if self._gathering else self._due():
                self._wake.notify()

    def _due(self) -> bool:
        """Whether the queue is reason enough to begin a batch now."""
        return bool(self._queue) and (not self._at_work or len(self._queue) >= CROWD)

    # -- the threads ----------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            banked, tickets = self._take()
            if banked:
                self._finish(banked)
            if tickets:
                self._batch(tickets)
            with self._wake:
                self._at_work -= 1
                self._answered = len(tickets)
                ended = not (banked or tickets)
                if ended or self._stopping:
                    self._wake.notify_all()
            if ended:
                return

    def _take(self) -> tuple[list[tuple[Job, BankAnswer]], list[Ticket]]:
        """What to do next; nothing at all when the committer has ended."""
        with self._wake:
            while True:
                if self._due() and not (self._banked or self._at_work):
                    self._gather()
                banked = _first(self._banked)
                tickets = _first(self._queue) if self._due() else []
                if banked or tickets or (self._stopping and self._empty()):
                    self._at_work += 1
                    if self._due():  # a crowd is left for the other thread
                        self._wake.notify()
                    return banked, tickets
                self._wake.wait(LEG_SECONDS if self._stopping else None)

    def _gather(self) -> None:
        """Let those come who were answered together; a lone terminal waits for nobody."""
        if len(self._queue) < self._answered and not self._gathering:
            self._gathering = True
            self._wake.wait(GATHER_SECONDS)
            self._gathering = False

    def _empty(self) -> bool:
        return not (self._queue or self._blocked or self._banked or self._waiters)

    def _batch(self, tickets: list[Ticket]) -> None:
        replies: list[tuple[Any, Reply]] = []
        now = self._clock.monotonic()
        readable: list[Ticket] = []
        for ticket in tickets:
            if now - ticket.since > MAX_WAIT_SECONDS:
                self._metrics.dropped.labels("waited").inc()
                replies.append((ticket.sender, Reply(Act.DROP)))
                continue
            ticket.work = ticket.work or open_work(len(readable), ticket.arrival)
            if ticket.work is None:
                replies.append((ticket.sender, Reply(Act.CLOSE)))
            else:
                readable.append(ticket)
        entered = self._enter(readable)
        try:
            self._hand_over(replies + self._decided(entered))
        finally:
            self._leave(entered)

    def _decided(self, entered: list[tuple[Work, Any]]) -> list[tuple[Any, Reply]]:
        if not entered:
            return []
        self._metrics.batches.observe(len(entered))
        for mti, count in Counter(work.message.mti for work, _ in entered).items():
            self._metrics.messages.labels(mti).inc(count)
        replies = self._decide([work for work, _ in entered])
        return list(zip((sender for _, sender in entered), replies, strict=True))

    def _enter(self, tickets: list[Ticket]) -> list[tuple[Work, Any]]:
        """The requests whose terminal and card are free; the others wait, and in their order."""
        entered: list[tuple[Work, Any]] = []
        behind: set[str] = set()
        with self._wake:
            for ticket in tickets:
                assert ticket.work is not None
                lanes = ticket.work.lanes
                if self._lanes.isdisjoint(lanes) and behind.isdisjoint(lanes):
                    self._lanes.update(lanes)
                    entered.append((ticket.work, ticket.sender))
                else:
                    behind.update(lanes)
                    self._blocked.append(ticket)
        return entered

    def _leave(self, entered: list[tuple[Work, Any]]) -> None:
        """Free the lanes; what was blocked comes first again. (Who entered nothing frees nothing.)"""
        if not entered:
            return
        with self._wake:
            for work, _ in entered:
                self._lanes.difference_update(work.lanes)
            self._queue.extendleft(reversed(self._blocked))
            self._blocked.clear()

    def _decide(self, works: list[Work]) -> list[Reply]:
        """A batch that fails is decided one by one, so that one bad request harms nobody else."""
        try:
            return self._authorizer.decide(works)
        except CityError as away:
            _log.warning("batch failed", code=away.code)
        except Exception as error:  # the thread must live on
            self._metrics.failures.inc()
            unexpected("batch failed", error)
        if len(works) == 1:
            self._metrics.dropped.labels("failed").inc()
            return [Reply(Act.DROP)]
        return [reply for work in works for reply in self._decide([work])]

    def _hand_over(self, replies: list[tuple[Any, Reply]]) -> None:
        ready: list[tuple[Any, Reply]] = []
        jobs: list[Job] = []
        with self._wake:
            for sender, reply in replies:
                if reply.job is not None:
                    self._waiters[reply.key] = [sender]
                    jobs.append(reply.job)
                elif reply.act is not Act.ATTACH:
                    ready.append((sender, reply))
                elif reply.key in self._waiters:
                    self._waiters[reply.key].append(sender)
                else:  # it was finished meanwhile, or another host works on it: the terminal repeats
                    ready.append((sender, Reply(Act.DROP)))
        for job in jobs:
            self._bank.submit(self._ask_bank, job)
        if ready:
            self._deliver(ready)

    def _ask_bank(self, job: Job) -> None:
        try:
            answer = self._authorizer.ask_bank(job.leg)
        except Exception as error:  # whatever the bank's adapter did: the money may have moved
            unexpected("bank leg failed", error)
            answer = BankAnswer("68")
        with self._wake:
            self._banked.append((job, answer))
            self._wake.notify()

    def _finish(self, banked: list[tuple[Job, BankAnswer]]) -> None:
        try:
            replies = self._authorizer.finish(banked)
        except CityError as away:
            _log.warning("finishing failed", code=away.code)
            replies = [Reply(Act.DROP, key=job.request.key) for job, _ in banked]
        except Exception as error:  # as above; the held loads are voided at the next start
            self._metrics.failures.inc()
            unexpected("finishing failed", error)
            replies = [Reply(Act.DROP, key=job.request.key) for job, _ in banked]
        with self._wake:
            waiting = [self._waiters.pop(job.request.key, []) for job, _ in banked]
        self._deliver(
            [
                (sender, reply)
                for senders, reply in zip(waiting, replies, strict=True)
                for sender in senders
            ]
        )


def _first(queue: deque[T]) -> list[T]:
    return [queue.popleft() for _ in range(min(len(queue), MAX_BATCH))]
