"""Every fault of printer.md 4.2 under a working station: what it does, and that nothing is lost."""

from pathlib import Path

import pytest

from personalization.states import SpoilCode
from personalization.station_outcome import End
from personalization.tables import SpoilRow
from tests.station_floor import Bay, floor
from tests.station_operator import Floor

# script, spoilage codes that follow, codes a person was told
CASES = [
    ("F1", [], ["P-F01"]),
    ("F2", [], []),
    ("F2\nF2", [], []),
    ("F4", ["PR2"], ["P-M04"]),
    ("F5", [], []),
    ("F5\nF5 on(Sis, 2)", ["CH1"], []),
    ("F7 during(m, 300)", ["PR1"], ["P-R01"]),
    ("F8 during(y, 10)", ["PR1"], ["P-R01"]),
    ("F9", [], ["P-R04"]),
    ("F10", [], ["P-C01"]),
    ("F10 during(c, 500)", ["OP1"], ["P-C02"]),
    ("F11 on(Se)", [], ["P-H01"]),
    ("F12\nF7 during(m, 3)", ["PR1"], ["P-H04"]),
    ("F13 during(k, 100)", ["PR3"], []),
    ("F13", [], ["P-T01"]),
    ("F14 on(Sis)", [], ["P-L05"]),
    ("F14 done(Sis)", [], ["P-L05"]),
    ("F14 during(y, 400)", ["PR4"], ["P-L05"]),
    ("F14 on(Se)", [], ["P-L05"]),
    ("F15 during(y, 400)", ["PR4"], []),
    ("F16 on(Sis)", [], []),
    ("F17 on(Sp, 2)", ["PR5"], []),
    ("F18 on(Sis)\nF18 on(Sp, 3)\nF18 on(Se)", [], []),
    ("F19 on(Sp)\nF19 on(Sis)", [], []),
    ("F23", [], []),
    ("F24", [], ["P-K02"]),
]


def spoils(bay: Bay) -> list[str]:
    with bay.centre.db.read() as tx:
        rows = tx.query(SpoilRow).order_by(SpoilRow.at)
        return [row.code for row in rows]


QUICK = frozenset({"F4", "F10 during(c, 500)", "F14 during(y, 400)"})


@pytest.mark.parametrize(
    ("script", "codes", "told"),
    [
        pytest.param(*case, id=case[0], marks=() if case[0] in QUICK else pytest.mark.slow)
        for case in CASES
    ],
)
def test_a_fault_has_a_way_out(
    tmp_path: Path, script: str, codes: list[str], told: list[str]
) -> None:
    with floor(tmp_path, people=1, tray=5, out=None) as bays:
        (bay,) = bays
        people = Floor(bays, 5)
        bay.start()
        bay.simulator.inject(script)
        outcomes = bay.turns(people.help)
        assert [outcome.end for outcome in outcomes].count(End.MADE) == 1
        assert spoils(bay) == codes
        assert set(told) <= set(people.helped)
        assert people.violations(orders=1) == []
        assert people.close() == []


def test_a_double_feed_is_looked_for_by_two(tmp_path: Path) -> None:
    with floor(tmp_path, people=1, tray=5, out=None) as bays:
        (bay,) = bays
        people = Floor(bays, 5)
        bay.start()
        bay.simulator.inject("F3")
        outcomes = bay.turns(people.help)
        assert outcomes[0].end is End.UNCERTAIN
        assert outcomes[0].code == "P-F03"
        assert spoils(bay).count(SpoilCode.UN1) == 2
        assert people.violations(orders=1) == []


@pytest.mark.slow
def test_a_chip_that_comes_back_is_rejected(tmp_path: Path) -> None:
    with floor(tmp_path, people=2, tray=5, out=None) as bays:
        (bay,) = bays
        people = Floor(bays, 5)
        bay.start()
        assert bay.station is not None
        assert bay.station.run_once().end is End.MADE
        bay.simulator.inject("F27")
        outcomes = bay.turns(people.help)
        assert [outcome.end for outcome in outcomes] == [End.SPOILED, End.MADE, End.IDLE]
        assert spoils(bay) == ["CH6"]


def test_three_spoiled_in_a_row_stop_the_station(tmp_path: Path) -> None:
    with floor(tmp_path, people=2, tray=6, out=None) as bays:
        (bay,) = bays
        bay.load(3, first=10, lot="07002")
        bay.simulator.machine.feeder[:] = (
            bay.simulator.machine.feeder[6:] + bay.simulator.machine.feeder[:6]
        )
        people = Floor(bays, 9)
        bay.start()
        outcomes = bay.turns(people.help, limit=20)
        assert [outcome.end for outcome in outcomes][:4] == [End.SPOILED] * 3 + [End.STOPPED]
        assert outcomes[3].code == "W-STOPPED"
        assert spoils(bay) == ["CH5", "CH5", "CH5"]
