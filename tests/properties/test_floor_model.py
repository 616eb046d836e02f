"""Stations, operators, power and network at random; I1 to I25 of production.md 14 after every step.

``FLOOR_EXAMPLES`` and ``FLOOR_STEPS`` in the environment make a longer run; hypothesis prints and shrinks the
steps of a failure, and the run is the same every time.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from personalization.states import SpoilCode
from tests.floor_bench import KEEPER, OFFICER, OPERATOR, OTHER_KEEPER, SUPERVISOR
from tests.floor_model import FloorModel
from tests.floor_office import NAMES
from tests.floor_stations import Cut

ORDERS = 12
NUMBERS = st.integers(0, 7)
STATIONS = st.sampled_from(NAMES)
CUTS = st.sampled_from([*[Cut.NONE] * 9, *Cut])
FAILS = st.sampled_from([None] * 9 + [SpoilCode.PR1, SpoilCode.CH3])
RARELY = st.sampled_from([False] * 5 + [True])
SOMETIMES = st.booleans()


class Floor(RuleBasedStateMachine):
    """Random days on the floor."""

    def __init__(self) -> None:
        super().__init__()
        self.floor = FloorModel(ORDERS)

    @initialize(limit=st.integers(1, ORDERS), quantity=st.integers(1, 6))
    def begin(self, limit: int, quantity: int) -> None:
        self.floor.plan(limit, SUPERVISOR)
        self.floor.issue(0, NAMES[0], quantity, OTHER_KEEPER)

    @rule(limit=st.integers(1, 6), releaser=st.sampled_from([SUPERVISOR, OFFICER]))
    def plan(self, limit: int, releaser: object) -> None:
        self.floor.plan(limit, releaser)  # type: ignore[arg-type]

    @rule(number=NUMBERS)
    def release(self, number: int) -> None:
        self.floor.release(number, SUPERVISOR)

    @rule(
        number=NUMBERS, station=STATIONS, quantity=st.integers(1, 5),
        second=st.sampled_from([OTHER_KEEPER, OTHER_KEEPER, KEEPER]),
    )  # fmt: skip
    def issue(self, number: int, station: str, quantity: int, second: object) -> None:
        self.floor.issue(number, station, quantity, second)  # type: ignore[arg-type]

    @rule(number=NUMBERS)
    def double_click(self, number: int) -> None:
        self.floor.double_click(number)

    @rule(station=STATIONS)
    def claim(self, station: str) -> None:
        self.floor.stations[station].take()

    @rule(station=STATIONS, cut=CUTS, fails=FAILS)
    def act(self, station: str, cut: Cut, fails: SpoilCode | None) -> None:
        self.floor.stations[station].act(cut, fails)

    @rule(station=STATIONS, cut=CUTS, fails=FAILS)
    def work_on(self, station: str, cut: Cut, fails: SpoilCode | None) -> None:
        """Several acts in a row: most cards get to their end."""
        one = self.floor.stations[station]
        one.take()
        for _ in range(3):
            one.act(Cut.NONE)
        one.act(cut, fails)
        one.act(Cut.NONE)
        one.act(Cut.NONE)
        one.report()

    @rule(station=STATIONS, lost=RARELY)
    def report(self, station: str, lost: bool) -> None:
        self.floor.stations[station].report(answer_lost=lost)

    @rule(station=STATIONS)
    def give_up(self, station: str) -> None:
        self.floor.stations[station].give_up()

    @rule(station=STATIONS)
    def power(self, station: str) -> None:
        one = self.floor.stations[station]
        if one.powered:
            one.cut_power()
        else:
            one.wake()

    @rule(station=STATIONS)
    def network(self, station: str) -> None:
        one = self.floor.stations[station]
        one.online = not one.online

    @rule(station=STATIONS, gone=RARELY)
    def declare_lost(self, station: str, gone: bool) -> None:
        self.floor.declare_lost(station, gone)

    @rule(number=NUMBERS)
    def resolve(self, number: int) -> None:
        self.floor.resolve(number)

    @rule(number=NUMBERS)
    def resolve_stray(self, number: int) -> None:
        self.floor.resolve_stray(number)

    @rule(station=STATIONS)
    def clear(self, station: str) -> None:
        self.floor.clear(station)

    @rule(number=NUMBERS, good=st.sampled_from([True] * 4 + [False]), wrong=RARELY)
    def inspect(self, number: int, good: bool, wrong: bool) -> None:
        self.floor.inspect(number, good, wrong)

    @rule(number=NUMBERS)
    def pack(self, number: int) -> None:
        self.floor.pack(number)

    @rule()
    def send(self) -> None:
        self.floor.send()

    @rule(number=NUMBERS, lose=RARELY, wrong_seal=RARELY)
    def receive(self, number: int, lose: bool, wrong_seal: bool) -> None:
        self.floor.receive(number, lose, wrong_seal)

    @rule(number=NUMBERS)
    def end_dispute(self, number: int) -> None:
        self.floor.end_dispute(number)

    @rule(number=NUMBERS)
    def give_back(self, number: int) -> None:
        self.floor.give_back(number)

    @rule(number=NUMBERS)
    def pause_or_resume(self, number: int) -> None:
        self.floor.pause_or_resume(number)

    @rule(number=NUMBERS, really=RARELY)
    def steal(self, number: int, really: bool) -> None:
        if really:
            self.floor.steal_blank(number)

    @rule(number=NUMBERS)
    def finish(self, number: int) -> None:
        self.floor.finish(number)

    @rule(number=NUMBERS, slip=st.sampled_from([0, 0, 0, 1, -1]))
    def count(self, number: int, slip: int) -> None:
        self.floor.count(number, slip)

    @rule(number=NUMBERS, closer=st.sampled_from([SUPERVISOR, SUPERVISOR, OPERATOR]))
    def close(self, number: int, closer: object) -> None:
        self.floor.sign_differences()
        self.floor.close(number, closer)  # type: ignore[arg-type]

    @rule()
    def waste(self) -> None:
        self.floor.empty_boxes()
        self.floor.destroy()

    @rule()
    def replay(self) -> None:
        self.floor.replay()

    @invariant()
    def everything_holds(self) -> None:
        self.floor.check()

    def teardown(self) -> None:
        self.floor.bring_home()


def drive(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Floor,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        ),
    )


def test_a_random_day_breaks_no_rule() -> None:
    drive(examples=2, steps=20)


@pytest.mark.slow
def test_many_random_days_break_no_rule() -> None:
    drive(
        examples=int(os.environ.get("FLOOR_EXAMPLES", "25")),
        steps=int(os.environ.get("FLOOR_STEPS", "40")),
    )
