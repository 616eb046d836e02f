"""T19: a burst is simulated from its first day to its last; work, fairness and promises are checked every day."""

import math
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction

import pytest

from registry.points import burst
from registry.points.burst import Line, Mode, Switch, Waiting

START = date(2007, 5, 8)
SLA_DAYS = 21
KINDS = ("employer", "individual", "urgent")


@dataclass
class Simulated:
    """A city's days: arrivals decay, machines are switched on with the mode."""

    seed: int
    days: int = 140
    normal_machines: int = 1
    burst_machines: int = 4
    first_day: int = 2_200
    waiting: list[Waiting] = field(default_factory=list)
    made: list[tuple[Waiting, date]] = field(default_factory=list)
    switches: list[tuple[date, Mode]] = field(default_factory=list)
    idle_days: int = 0
    starved: list[tuple[date, str]] = field(default_factory=list)
    arrived: int = 0
    in_system: list[int] = field(default_factory=list)

    def run(self) -> None:
        dice, switch = random.Random(self.seed), Switch()
        normal = self.normal_machines * Line().cards_a_day
        taken_by: list[tuple[int, Counter[str], Counter[str]]] = []
        for number in range(self.days):
            today = START + timedelta(days=number)
            came = round(self.first_day * math.exp(-number / 30) * dice.uniform(0.8, 1.2))
            self._arrive(dice, today, came)
            count = self.burst_machines if switch.mode is Mode.BURST else self.normal_machines
            capacity = count * Line().cards_a_day
            chosen = burst.turn(today, self.waiting, capacity)
            self.idle_days += len(chosen) < min(capacity, len(self.waiting))
            done = {one.acc_no for one in chosen}
            self.waiting = [one for one in self.waiting if one.acc_no not in done]
            self.made += [(one, today) for one in chosen]
            left = Counter(one.kind for one in self.waiting)
            taken_by.append((capacity, Counter(one.kind for one in chosen), left))
            self._look_for_starving(today, taken_by[-3:])
            self.in_system.append(len(self.waiting))
            switch = switch.observe(len(self.waiting), came, normal)
            if switch.asked is not None:
                switch = switch.confirm()
                self.switches.append((today, switch.mode))

    def _arrive(self, dice: random.Random, today: date, came: int) -> None:
        for _ in range(came):
            self.arrived += 1
            kind = dice.choices(KINDS, (70, 20, 10))[0]
            point = f"{dice.choice((*range(1, 6), *range(11, 29))):03d}"
            due = today + timedelta(days=3 if kind == "urgent" else SLA_DAYS)
            self.waiting.append(Waiting(f"{self.arrived:08d}", kind, point, due, today))

    def _look_for_starving(
        self, today: date, last: list[tuple[int, Counter[str], Counter[str]]]
    ) -> None:
        """Over three days a class that never emptied gets nine tenths of its reserved share."""
        capacity = sum(day for day, _, _ in last)
        late = any(one.due < today for one in self.waiting)
        for kind, share in burst.SHARES.items():
            waited = len(last) == 3 and all(left[kind] for _, _, left in last)
            got = sum(taken[kind] for _, taken, _ in last)
            if waited and not late and got < Fraction(90, 100) * share * capacity:
                self.starved.append((today, kind))


@pytest.fixture(scope="module", params=[1, 2, 3])
def city(request: pytest.FixtureRequest) -> Simulated:
    made = Simulated(seed=request.param)
    made.run()
    return made


def test_t19_no_machine_idles_while_a_card_waits(city: Simulated) -> None:
    assert city.idle_days == 0


def test_t19_what_came_in_came_out_or_is_there(city: Simulated) -> None:
    assert city.arrived == len(city.made) + len(city.waiting)
    assert len({one.acc_no for one, _ in city.made}) == len(city.made)


def test_t19_the_switch_goes_once_each_way(city: Simulated) -> None:
    assert [mode for _, mode in city.switches] == [Mode.BURST, Mode.NORMAL]


def test_t19_no_class_starves(city: Simulated) -> None:
    assert city.starved == []


def test_t19_little_s_law_holds(city: Simulated) -> None:
    stay = sum((day - one.accepted).days for one, day in city.made)
    stay += sum(
        (START + timedelta(days=city.days - 1) - one.accepted).days + 1 for one in city.waiting
    )
    assert sum(city.in_system) == pytest.approx(stay, rel=0.05)


def test_t19_promises_are_kept_where_the_capacity_was_planned(city: Simulated) -> None:
    late = [one for one, day in city.made if day > one.due + timedelta(days=1)]
    assert len(late) <= city.arrived // 100


def test_t19_sizing_reproduces_the_pilot() -> None:
    share = Fraction(85, 100)
    assert burst.cards_a_day(183_900, share, 60) == 2_605
    assert burst.cards_a_day(183_900, share, 60) // 23 == 113
    assert burst.cards_a_day(183_900, share, 98) == 1_595
    assert 960 <= Line().cards_a_day <= 970
    assert burst.machines(2_605, Line()) == 3


def test_t19_batches_hold_one_point_and_500_cards_at_most() -> None:
    many = [Waiting(f"{n:08d}", "employer", f"{n % 2 + 1:03d}", START, START) for n in range(1_200)]
    made = burst.batches(many)
    assert [(point, len(members)) for point, members in made] == [
        ("001", 500), ("001", 100), ("002", 500), ("002", 100),
    ]  # fmt: skip


def test_t19_waves_call_by_promise_and_send_teams_to_the_large() -> None:
    called = burst.waves(
        [
            burst.Employer("A", "003", 60, START), burst.Employer("B", "003", 60, START),
            burst.Employer("C", "004", 30, START), burst.Employer("D", "003", 400, START),
        ],
        {"003": 100, "004": 100},
    )  # fmt: skip
    assert called == {"mobile": ["D"], "003": ["A"], "004": ["C"]}
    assert burst.slots(2, 480, 8) == (102, 18)


def test_a_single_busy_day_switches_nothing() -> None:
    switch = Switch().observe(4_000, 100, 1_000).observe(2_000, 100, 1_000)
    assert (switch.asked, switch.days) == (None, 0)
    with pytest.raises(ValueError, match="nothing asks"):
        switch.confirm()
