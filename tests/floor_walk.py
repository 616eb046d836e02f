"""A seeded random walk over the floor's model: the same seed gives the same days.

Run it for longer by hand: ``python -m tests.floor_walk --seed 1 --steps 5000``.
"""

import argparse
import random
import sys
from collections import Counter
from collections.abc import Callable

from sqlalchemy import func, select

from personalization.states import SpoilCode
from personalization.tables import IncidentRow, PlasticRow
from tests.floor_bench import KEEPER, OFFICER, OPERATOR, OTHER_KEEPER, SUPERVISOR, Centre
from tests.floor_model import FloorModel
from tests.floor_office import NAMES
from tests.floor_stations import Cut

ORDERS = 24
EPOCH = 150  # steps until everything is brought home and a new floor begins
FAILURES = (SpoilCode.PR1, SpoilCode.CH3, SpoilCode.PR2)


class Walk:
    """One seeded walk; `trace` tells every step, so that a failure can be read and repeated."""

    def __init__(self, seed: int, fresh: Callable[[], Centre] | None = None) -> None:
        """`fresh` makes the centre of every new floor, on another database for example."""
        self.dice = random.Random(seed)
        self.seen: Counter[str] = Counter()
        self.trace: list[str] = []
        self._fresh = fresh
        self._begin()

    def _begin(self) -> None:
        self.floor = FloorModel(ORDERS, self._fresh() if self._fresh else None)
        self.trace = []
        self.floor.plan(self.dice.randrange(4, 13), SUPERVISOR)
        for name in NAMES:
            self.floor.issue(0, name, self.dice.randrange(4, 9), OTHER_KEEPER)

    def run(self, steps: int) -> Counter[str]:
        """So many steps, every invariant after each; what was met, by name."""
        for number in range(1, steps + 1):
            name = self._step()
            self.seen["steps"] += 1
            try:
                self.floor.check()
            except AssertionError as broken:
                raise AssertionError(
                    f"{broken} after {name}:\n" + "\n".join(self.trace)
                ) from broken
            if number % EPOCH == 0 or number == steps:
                self._home()
                if number < steps:
                    self._begin()
        return self.seen

    def _home(self) -> None:
        try:
            self.floor.bring_home()
        except AssertionError as broken:
            raise AssertionError(f"{broken} at the end of:\n" + "\n".join(self.trace)) from broken
        with self.floor.centre.db.read() as tx:
            for column in (PlasticRow.place, IncidentRow.kind):
                for value, count in tx.execute(select(column, func.count()).group_by(column)):
                    self.seen[str(value)] += count
        self.seen["floors"] += 1
        for code, count in self.floor.refused.items():
            self.seen[f"refused {code}"] += count

    def _step(self) -> str:
        """Draw a step by weight and take it."""
        found = self.dice.choices(STEPS, weights=[weight for _, weight in STEPS])[0]
        name = found[0].__name__.lstrip("_")
        self.trace.append(name)
        found[0](self)
        return name

    def _any(self) -> int:
        return self.dice.randrange(8)

    def _station(self) -> str:
        return self.dice.choice(NAMES)

    def _rarely(self, one_in: int = 6) -> bool:
        return self.dice.randrange(one_in) == 0

    def _cut(self) -> Cut:
        return self.dice.choice(list(Cut)) if self._rarely() else Cut.NONE

    def _fails(self) -> SpoilCode | None:
        return self.dice.choice(FAILURES) if self._rarely(8) else None


def _plan(walk: Walk) -> None:
    releaser = OFFICER if walk._rarely() else SUPERVISOR
    walk.floor.plan(walk.dice.randrange(1, 9), releaser)


def _release(walk: Walk) -> None:
    walk.floor.release(walk._any(), SUPERVISOR)


def _issue(walk: Walk) -> None:
    second = KEEPER if walk._rarely() else OTHER_KEEPER
    walk.floor.issue(walk._any(), walk._station(), walk.dice.randrange(3, 9), second)


def _double_click(walk: Walk) -> None:
    walk.floor.double_click(walk._any())


def _work_on(walk: Walk) -> None:
    """Most cards come to their end in one go; a cut or a failure in between is common enough."""
    name = walk._station()
    one = walk.floor.stations[name]
    if not one.powered and walk._rarely(2):  # most outages are short
        one.wake()
    one.online = one.online or walk._rarely(2)
    took = one.take()
    walk.trace[-1] += f" {name} {took}"
    for _ in range(walk.dice.randrange(1, 7)):
        cut, fails = walk._cut(), walk._fails()
        walk.trace[-1] += f" {one.next_step}/{cut.name}/{fails}"
        one.act(cut, fails)
    walk.trace[-1] += f" -> {one.report(answer_lost=walk._rarely(12))}"


def _report(walk: Walk) -> None:
    name = walk._station()
    walk.trace[-1] += f" {name} {walk.floor.stations[name].report()}"


def _give_up(walk: Walk) -> None:
    walk.floor.stations[walk._station()].give_up()


def _power(walk: Walk) -> None:
    one = walk.floor.stations[walk._station()]
    walk.trace[-1] += f" {one.name} {'off' if one.powered else 'on'}"
    if one.powered:
        one.cut_power()
    else:
        one.wake()


def _network(walk: Walk) -> None:
    one = walk.floor.stations[walk._station()]
    one.online = not one.online
    walk.trace[-1] += f" {one.name} {'on' if one.online else 'off'} line"


def _declare_lost(walk: Walk) -> None:
    name, gone = walk._station(), walk._rarely(3)
    walk.trace[-1] += f" {name} journal gone {gone}"
    walk.floor.declare_lost(name, gone)


def _resolve(walk: Walk) -> None:
    walk.floor.resolve(walk._any())


def _resolve_stray(walk: Walk) -> None:
    walk.floor.resolve_stray(walk._any())


def _clear(walk: Walk) -> None:
    walk.floor.clear(walk._station())


def _inspect(walk: Walk) -> None:
    walk.floor.inspect(walk._any(), not walk._rarely(5), walk._rarely(8))


def _pack(walk: Walk) -> None:
    walk.floor.pack(walk._any())


def _send(walk: Walk) -> None:
    walk.floor.send()


def _receive(walk: Walk) -> None:
    walk.floor.receive(walk._any(), walk._rarely(4), walk._rarely(4))


def _end_dispute(walk: Walk) -> None:
    walk.floor.end_dispute(walk._any())


def _give_back(walk: Walk) -> None:
    walk.floor.give_back(walk._any())


def _pause(walk: Walk) -> None:
    walk.floor.pause_or_resume(walk._any())


def _steal(walk: Walk) -> None:
    walk.floor.steal_blank(walk._any())


def _finish(walk: Walk) -> None:
    walk.floor.finish(walk._any())


def _count(walk: Walk) -> None:
    walk.floor.count(walk._any(), walk.dice.choice((0, 0, 0, 1, -1)))


def _close(walk: Walk) -> None:
    walk.floor.sign_differences()
    walk.floor.close(walk._any(), OPERATOR if walk._rarely(4) else SUPERVISOR)


def _waste(walk: Walk) -> None:
    walk.floor.empty_boxes()
    walk.floor.destroy()


def _replay(walk: Walk) -> None:
    walk.floor.replay()


STEPS: tuple[tuple[Callable[[Walk], None], int], ...] = (
    (_plan, 4), (_release, 2), (_issue, 8), (_double_click, 3), (_work_on, 50), (_report, 8),
    (_give_up, 2), (_power, 5), (_network, 4), (_declare_lost, 8), (_resolve, 4),
    (_resolve_stray, 2), (_clear, 3), (_inspect, 16), (_pack, 10), (_send, 3), (_receive, 4),
    (_end_dispute, 2), (_give_back, 2), (_pause, 2), (_steal, 1), (_finish, 3), (_count, 4),
    (_close, 3), (_waste, 2), (_replay, 1),
)  # fmt: skip


def main() -> int:
    """From the command line: walk and print what was met."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--steps", type=int, default=1_000)
    given = options.parse_args()
    for name, count in sorted(Walk(given.seed).run(given.steps).items()):
        sys.stdout.write(f"{name:<30} {count}\n")
    sys.stdout.write("violations                     0\n")  # the first one raises, with its trace
    return 0


if __name__ == "__main__":
    sys.exit(main())
