"""The committer: one thread that takes what waits, decides it in one transaction, and hands the answers back.

At most 64 requests a batch, one a terminal and card; it flushes at once when nothing more waits, so a lone
request is not delayed and a crowd shares one commit (iso8583-host.md 16). Bank legs run in a bounded pool and come
back here to be finished.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import structlog

from core.clock import Clock
from core.errors import CityError
from payments.authorize import MAX_BATCH, Authorizer
from payments.decisions import BankAnswer
from payments.host_log import unexpected
from payments.host_metrics import HostMetrics
from payments.work import Act, Arrival, Job, Reply, Work, open_work

MAX_WAIT_SECONDS = 5.0  # a request older than this is dropped, so that the terminal's reversal wins
BANK_THREADS = 16
LEG_SECONDS = 1.0
STOP_SECONDS = 30.0
_log = structlog.get_logger("purse.host")


@dataclass(frozen=True)
class Ticket:
    """A request in the queue: who sent it (opaque here) and since when it waits."""

    arrival: Arrival
    sender: Any
    since: float


Deliver = Callable[[list[tuple[Any, Reply]]], None]


class Committer:
    """Feeds an `Authorizer` from one thread. `deliver` is called from it with each batch's replies."""

    def __init__(
        self, authorizer: Authorizer, clock: Clock, metrics: HostMetrics, deliver: Deliver
    ) -> None:
        self._authorizer, self._clock, self._metrics = authorizer, clock, metrics
        self._deliver = deliver
        self._wake = threading.Condition()
        self._queue: deque[Ticket] = deque()
        self._banked: deque[tuple[Job, BankAnswer]] = deque()
        self._waiters: dict[str, list[Any]] = {}
        self._stopping = False
        self._bank = ThreadPoolExecutor(BANK_THREADS, "bank-leg")
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)

    def start(self) -> None:
        """Void what a stopped host held, then begin."""
        self._authorizer.recover()
        self._thread.start()

    def stop(self) -> None:
        """Finish what was taken in, then end all threads."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(STOP_SECONDS)
        self._bank.shutdown()

    def put(self, tickets: list[Ticket]) -> None:
        """Take requests in; the caller bounds how many may wait."""
        with self._wake:
            self._queue.extend(tickets)
            self._wake.notify()

    # -- the thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._queue or self._banked or self._stopping):
                    self._wake.wait()
                banked = [self._banked.popleft() for _ in range(min(len(self._banked), MAX_BATCH))]
                if self._stopping and not self._queue and not banked and not self._waiters:
                    return
                if self._stopping and not self._queue and not banked:
                    self._wake.wait(LEG_SECONDS)  # bank legs are still under way
                    continue
            if banked:
                self._finish(banked)
            self._batch()

    def _batch(self) -> None:
        """Take a batch from the queue; what shares a terminal or card with it waits for the next one."""
        chosen: list[tuple[Ticket, Work]] = []
        replies: list[tuple[Any, Reply]] = []
        lanes: set[str] = set()
        left: list[Ticket] = []
        now = self._clock.monotonic()
        with self._wake:
            taken = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_BATCH))]
        for ticket in taken:
            if now - ticket.since > MAX_WAIT_SECONDS:
                self._metrics.dropped.labels("waited").inc()
                replies.append((ticket.sender, Reply(Act.DROP)))
                continue
            work = open_work(len(chosen), ticket.arrival)
            if work is None:
                replies.append((ticket.sender, Reply(Act.CLOSE)))
            elif lanes.isdisjoint(work.lanes):
                lanes.update(work.lanes)
                self._metrics.messages.labels(work.message.mti).inc()
                chosen.append((ticket, work))
            else:
                left.append(ticket)
        if left:
            with self._wake:
                self._queue.extendleft(reversed(left))
        if chosen:
            self._metrics.batches.observe(len(chosen))
            decided = self._decide([work for _, work in chosen])
            replies += zip((ticket.sender for ticket, _ in chosen), decided, strict=True)
        self._hand_over(replies)

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
        for sender, reply in replies:
            if reply.act is Act.ATTACH:
                self._waiters.setdefault(reply.key, []).append(sender)
            elif reply.job is not None:
                self._waiters.setdefault(reply.key, []).append(sender)
                self._bank.submit(self._ask_bank, reply.job)
            else:
                ready.append((sender, reply))
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
        ready: list[tuple[Any, Reply]] = []
        for (job, _), reply in zip(banked, replies, strict=True):
            waiting = self._waiters.pop(job.request.key, [])
            ready += [(sender, reply) for sender in waiting]
        self._deliver(ready)
