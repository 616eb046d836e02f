"""Lanes: a bench with one reader each, where cards are laid down one after the other; work is shared among them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import TypeVar

from core.apdu import CardChannel, CardReader
from runtime.demo.slots import Hand

SEEN_SECONDS = 5.0
JOIN_SECONDS = 600.0
Item = TypeVar("Item")


@dataclass(frozen=True)
class Lane:
    """One bench: the hand that lays cards down, and the reader under it."""

    number: int
    hand: Hand
    reader: CardReader

    @contextmanager
    def holding(self, chip: CardChannel) -> Iterator[None]:
        """The card lies on the reader."""
        self.hand.insert(chip)
        try:
            self.reader.wait(True, SEEN_SECONDS)
            yield
        finally:
            self.hand.remove()

    @contextmanager
    def connected(self) -> Iterator[CardChannel]:
        """The powered card."""
        channel = self.reader.connect()
        try:
            yield channel
        finally:
            channel.close()


def share(lanes: Sequence[Lane], items: Sequence[Item], work: Callable[[Lane, Item], None]) -> None:
    """Every item once, lane by lane in turn, the lanes side by side; the first failure is raised."""
    failures: list[BaseException] = []

    def run(lane: Lane) -> None:
        try:
            for item in items[lane.number :: len(lanes)]:
                work(lane, item)
        except BaseException as failure:
            failures.append(failure)

    threads = [Thread(target=run, args=(lane,), daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(JOIN_SECONDS)
    if failures:
        raise failures[0]
