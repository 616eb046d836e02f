"""Stations pull their work, so one that dies costs its share and no more (production.md 7 and 14, I24)."""

from sqlalchemy import func, select

from personalization.states import Place
from personalization.tables import PlasticRow
from tests.floor_bench import copied_centre
from tests.floor_stations import Cut, ModelStation, World

NAMES = ("S1", "S2", "S3")
BLANKS = 6
STEPS_A_CARD = 7  # claim, feed, bind, chip, print, eject, report: each takes one tick
CARDS_A_WINDOW = 2


class Shift:
    """Three stations in step: at every tick each that lives takes its next step."""

    def __init__(self) -> None:
        self.centre = copied_centre(people=12, ordered=12)
        self.centre.attach(*NAMES)
        batch, world = self.centre.release(), World()
        for name in NAMES:
            self.centre.issue(batch, name, BLANKS)
            world.load(self.centre, batch, name, BLANKS)
        self.stations = [ModelStation(self.centre, world, name) for name in NAMES]

    def window(self) -> int:
        """Good cards of so many ticks."""
        before = self._made()
        for _ in range(STEPS_A_CARD * CARDS_A_WINDOW):
            for one in self.stations:
                self._tick(one)
        return self._made() - before

    @staticmethod
    def _tick(one: ModelStation) -> None:
        if one.claim is None:
            one.take()
        elif one.next_step is not None:
            one.act(Cut.NONE)
        else:
            one.report()

    def _made(self) -> int:
        with self.centre.db.read() as tx:
            good = select(func.count()).where(PlasticRow.place == Place.EJECTED)
            return tx.scalar(good.select_from(PlasticRow)) or 0


def test_one_of_three_that_dies_with_a_card_inside_costs_a_third() -> None:
    shift = Shift()
    before = shift.window()
    assert before == len(NAMES) * CARDS_A_WINDOW
    dead = shift.stations[1]
    for _ in range(3):  # claimed, fed and bound: it keeps its work order and its lease
        shift._tick(dead)
    assert dead.body is not None
    dead.cut_power()
    assert shift.window() >= before * (len(NAMES) - 1) // len(NAMES)
