"""Stations at work: one thread each, from start to drain (architecture.md 5).

A station that needs a person keeps asking its machine, so that it goes on by itself when the cause is gone. One
that meets a bug or false evidence stops, alone: the others never notice (production.md 7).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

from core.clock import SystemClock
from personalization.station import Station
from personalization.station_outcome import End, Outcome

IDLE_SECONDS = 0.5  # between two looks for work
PERSON_SECONDS = 0.5  # between two looks whether somebody has helped
JOIN_SECONDS = 120.0  # the longest card, and a margin

DRAINED = "W-DRAINING"

Heard = Callable[[str, Outcome], None]
"""``(station, outcome)``: hears every turn's end, in the station's thread."""


@dataclass
class Bench:
    """One running station. `failure` is what ended its thread before it was asked to end."""

    station: Station
    thread: Thread | None = None
    last: Outcome | None = None
    turns: int = 0
    failure: BaseException | None = field(default=None, repr=False)


class Supervisor:
    """Runs stations until they are drained.

    Parameters
    ----------
    until_idle : a station ends when it finds no more work or is stopped (a batch run); else it keeps
        looking, and ends when it is drained.
    heard : called after every turn; it may help the station, as a demonstration's operator does.
    """

    def __init__(
        self,
        stations: Sequence[Station],
        *,
        heard: Heard = lambda _station, _outcome: None,
        until_idle: bool = False,
        idle_seconds: float = IDLE_SECONDS,
        person_seconds: float = PERSON_SECONDS,
    ) -> None:
        names = [station.name for station in stations]
        if len(set(names)) != len(names):
            raise ValueError("every station has a name of its own")
        self._benches = {station.name: Bench(station) for station in stations}
        self._heard = heard
        self._until_idle = until_idle
        self._idle_seconds = idle_seconds
        self._person_seconds = person_seconds
        self._draining = Event()
        self._lock = Lock()

    def start(self) -> None:
        """One thread a station; each opens its devices in its own thread (a reader's context belongs to one)."""
        for bench in self._benches.values():
            bench.thread = Thread(
                target=self._run, args=(bench,), name=f"station-{bench.station.name}", daemon=True
            )
            bench.thread.start()

    def drain(self) -> None:
        """Finish the cards inside, then end."""
        self._draining.set()

    def join(self, timeout: float = JOIN_SECONDS) -> bool:
        """Wait `timeout` seconds for all threads together; False when one is still at work.

        A bug in a station is raised here.
        """
        ticks = SystemClock()
        until = ticks.monotonic() + timeout
        for bench in self._benches.values():
            if bench.thread is not None:
                bench.thread.join(max(0.0, until - ticks.monotonic()))
        for bench in self._benches.values():
            if bench.failure is not None:
                raise bench.failure
        return not any(
            bench.thread is not None and bench.thread.is_alive() for bench in self._benches.values()
        )

    def status(self) -> dict[str, tuple[str, Outcome | None]]:
        """State and last outcome by station, for a screen."""
        with self._lock:
            return {
                name: (bench.station.state.value, bench.last)
                for name, bench in self._benches.items()
            }

    def _run(self, bench: Bench) -> None:
        try:
            while not self._ended(bench):
                outcome = bench.station.run_once()
                with self._lock:
                    bench.last, bench.turns = outcome, bench.turns + 1
                self._heard(bench.station.name, outcome)
                if self._is_over(outcome):
                    return
                self._pause(outcome)
            bench.station.release()
        except (
            BaseException
        ) as failure:  # false evidence or a bug: told by `join`, felt by this station only
            bench.failure = failure

    def _ended(self, bench: Bench) -> bool:
        """Whether to stop now: drained, and no card inside."""
        job = bench.station.job
        return self._draining.is_set() and (job is None or job.fed == 0)

    def _is_over(self, outcome: Outcome) -> bool:
        if outcome.end is End.STOPPED:
            return self._until_idle or outcome.code == DRAINED
        return self._until_idle and outcome.end is End.IDLE

    def _pause(self, outcome: Outcome) -> None:
        if outcome.end is End.IDLE:
            self._draining.wait(self._idle_seconds)
        elif outcome.end in (End.NEEDS_PERSON, End.WAITING, End.STOPPED):
            self._draining.wait(self._person_seconds)
