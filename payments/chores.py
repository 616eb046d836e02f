"""What a host does beside answering: tell the bank, judge purchases, publish lists, forget old messages.

Each chore runs in one thread, in turn, every so many seconds; one that fails is logged, counted and tried again.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import delete, select

from core.clock import Clock, business_date
from core.db import Database, Tx
from core.errors import CityError
from payments import downloads
from payments.authorize import Authorizer
from payments.host_log import unexpected
from payments.host_metrics import HostMetrics
from payments.judging import Judge
from payments.tables import BatchRow, ClearingDayRow, MessageRow, TerminalRow
from payments.writing import beaten
from registry.dormancy import status_list

BANK_SECONDS = 1.0
JUDGE_SECONDS = 5.0
LISTS_SECONDS = 3_600.0
FORGET_SECONDS = 86_400.0
KEEP_DAYS = 30
STOP_SECONDS = 30.0
_log = structlog.get_logger("purse.host")


@dataclass(frozen=True)
class Chore:
    """Something to be done every `seconds`."""

    name: str
    seconds: float
    run: Callable[[], object]


class Chores:
    """Runs chores in a thread until stopped."""

    def __init__(self, clock: Clock, metrics: HostMetrics, chores: Sequence[Chore]) -> None:
        self._clock, self._metrics = clock, metrics
        self._chores = list(chores)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chores", daemon=True)

    def start(self) -> None:
        """Begin; every chore runs once soon."""
        self._thread.start()

    def stop(self) -> None:
        """End after the chore that is running."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        pause = min((chore.seconds for chore in self._chores), default=BANK_SECONDS)
        due = dict.fromkeys(range(len(self._chores)), self._clock.monotonic())
        while not self._ended.wait(pause):
            now = self._clock.monotonic()
            for index, chore in enumerate(self._chores):
                if now >= due[index] and not self._ended.is_set():
                    due[index] = now + chore.seconds
                    self._do(chore)

    def _do(self, chore: Chore) -> None:
        try:
            with beaten():  # what another host of this database did just now needs no doing
                chore.run()
        except CityError as away:
            _log.warning("chore waits", chore=chore.name, code=away.code)
        except Exception as error:  # the thread must live on; the next turn tries again
            self._metrics.failures.inc()
            unexpected(f"{chore.name} failed", error)


def host_chores(authorizer: Authorizer, judge: Judge | None = None) -> list[Chore]:
    """What every host does; `judge` for the one that owns an HSM connection for TACs."""
    chores = [Chore("bank orders", BANK_SECONDS, authorizer.forward_orders)]
    if judge is None:
        return chores
    chores.append(Chore("judging", JUDGE_SECONDS, judge.run))
    if authorizer.profile.publishes_lists:
        chores.append(Chore("lists", LISTS_SECONDS, lambda: publish_lists(judge.db, judge.clock)))
    chores.append(Chore("old messages", FORGET_SECONDS, lambda: forget(judge.db, judge.clock)))
    return chores


def publish_lists(db: Database, clock: Clock) -> None:
    """New versions of status list and blacklist, where something changed."""
    with db.write() as tx:
        status_list.publish(tx, clock)
        downloads.publish_blacklist(tx, clock)


def forget(db: Database, clock: Clock) -> int:
    """Drop messages that can be repeated no more: batch closed, its day cleared, at least 30 days old (8.1)."""
    with db.write() as tx:
        return _forget(tx, clock)


def _forget(tx: Tx, clock: Clock) -> int:
    limit = business_date(clock.now()) - timedelta(days=KEEP_DAYS)
    closed = (
        select(BatchRow.number)
        .where(
            BatchRow.terminal == MessageRow.terminal,
            BatchRow.number == MessageRow.batch,
            BatchRow.closed_at.is_not(None),
        )
        .exists()
    )
    cleared = (
        select(ClearingDayRow.day)
        .where(ClearingDayRow.day == MessageRow.day, ClearingDayRow.state == "CLOSED")
        .exists()
    )
    known = select(TerminalRow.number).where(TerminalRow.number == MessageRow.terminal).exists()
    gone = tx.execute(
        delete(MessageRow)
        .where(MessageRow.day < limit, closed, cleared, known, MessageRow.state != "WORKING")
        .returning(MessageRow.key)
    ).all()
    return len(gone)
