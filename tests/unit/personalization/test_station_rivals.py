"""Rivals, sleepers and silence: two stations, an old token, the database away, a noisy line (production.md 6)."""

from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from cardos.slot import Slot
from core import leases
from core.errors import DeviceFault, Rejected, Unavailable
from personalization import floor as office
from personalization import journal_import, resolution
from personalization.station_outcome import End
from personalization.station_states import State
from personalization.tables import PlasticRow, StationRow, WorkOrderRow
from tests.floor_bench import SECOND, SUPERVISOR
from tests.station_bench import blank
from tests.station_floor import Bay, floor, nobody
from tests.station_operator import Floor


def test_two_stations_fight_for_one_order(tmp_path: Path) -> None:
    with floor(tmp_path, stations=2, people=1, tray=3, out=None) as bays:
        people = Floor(bays, 6)
        for bay in bays:
            bay.start()
            assert bay.station is not None
        first, second = bays
        assert first.station is not None
        assert second.station is not None
        ends = [first.station.run_once().end, second.station.run_once().end]
        assert ends == [End.MADE, End.IDLE]
        assert len(second.simulator.machine.feeder) == 3
        assert people.violations(orders=1) == []


def take_away(bay: Bay) -> None:
    """Somebody else got the work order: its token rises, as after a declared loss."""
    with bay.centre.db.write() as tx:
        row = tx.scalars(select(WorkOrderRow).where(WorkOrderRow.station == bay.name)).one()
        lease = tx.get(leases.LeaseRow, (row.batch, row.id))
        assert lease is not None
        lease.token += 1
        lease.holder = "S9"
        row.token, row.station, row.state = lease.token, "S9", "CLAIMED"


class Sleeper:
    """A printer that falls asleep before one act; the world goes on meanwhile."""

    def __init__(self, inner: Any, before: str, meanwhile: Any) -> None:
        self._inner, self._before, self._meanwhile = inner, before, meanwhile

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name == self._before and self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        return found


def test_asleep_before_the_feed_with_an_old_token(tmp_path: Path) -> None:
    """Waking minutes later it looks at its lease before it takes a blank, and takes none."""
    with floor(tmp_path, people=1, tray=3, out=None) as (bay,):

        def meanwhile() -> None:
            take_away(bay)
            bay.centre.clock.advance(timedelta(minutes=12))

        station = bay.start()
        real = station._accept

        def accept(task: Any) -> None:
            real(task)
            meanwhile()

        station._accept = accept  # type: ignore[method-assign]
        assert station.run_once().code == "LEASE-LOST"
        assert len(bay.simulator.machine.feeder) == 3
        with bay.centre.db.read() as tx:
            assert tx.scalars(select(PlasticRow)).all() == []


def test_asleep_with_a_card_inside_and_an_old_token(tmp_path: Path) -> None:
    """The finished card is not ours to give out any more: reject box, and the late report says so."""
    for act in ("load", "print"):
        folder = tmp_path / act
        folder.mkdir()
        with floor(folder, people=1, tray=3, out=None) as (bay,):
            station = bay.start(
                printer=lambda inner, bay=bay, act=act: Sleeper(inner, act, lambda: take_away(bay))
            )
            outcome = station.run_once()
            assert (outcome.end, outcome.code) == (End.SPOILED, "LEASE-LOST")
            machine = bay.simulator.machine
            assert (len(machine.hopper), len(machine.reject_box)) == (0, 1)
            with bay.centre.db.read() as tx:
                assert tx.scalars(select(WorkOrderRow.state)).one() == "CLAIMED"  # the rival's


def test_a_feed_nobody_read_of_is_not_given_away(tmp_path: Path) -> None:
    """I6, I9: the renewal before the feed announced a line; until it is read the order stays where it is."""

    class LineCut:
        """The network fails between the renewed claim and the next word."""

        def __init__(self, inner: Any) -> None:
            self._inner, self.writes_left = inner, 1_000

        @contextmanager
        def write(self) -> Any:
            if self.writes_left == 0:
                raise Unavailable("DB-UNAVAILABLE", "away")
            self.writes_left -= 1
            with self._inner.write() as tx:
                yield tx

        def read(self) -> Any:
            return self._inner.read()

    with floor(tmp_path, people=1, tray=3, out=None) as (bay,):
        blanks, bay.simulator.machine.feeder[:] = list(bay.simulator.machine.feeder), []
        lines: list[LineCut] = []

        def cut(inner: Any) -> LineCut:
            lines.append(LineCut(inner))
            return lines[-1]

        station = bay.start(db=cut)
        assert station.run_once().code == "P-F01"  # the board is told, the claim's line is read
        bay.simulator.machine.feeder[:] = blanks
        bay.centre.clock.advance(timedelta(minutes=1))
        lines[0].writes_left = 2  # the board, and the renewal before the feed
        assert station.run_once().end is End.WAITING
        assert len(bay.simulator.machine.hopper) == 1
        claim = station.job.claim if station.job is not None else None
        assert claim is not None
        city = bay.centre
        city.clock.advance(timedelta(minutes=12))
        with city.db.write() as tx, pytest.raises(Rejected, match="W-JOURNAL-UNREAD"):
            resolution.declare_lost(tx, city.clock, claim.work_order, SUPERVISOR, SECOND)
        with city.db.write() as tx:
            state = resolution.declare_lost(
                tx, city.clock, claim.work_order, SUPERVISOR, SECOND, journal_gone=True
            )
            assert state == "UNCERTAIN"
            assert not journal_import.unread(tx, "S1")


class Absent:
    """A database that is away while `away` is set."""

    def __init__(self, inner: Any) -> None:
        self._inner, self.away = inner, False

    @contextmanager
    def write(self) -> Any:
        if self.away:
            raise Unavailable("DB-UNAVAILABLE", "away")
        with self._inner.write() as tx:
            yield tx

    def read(self) -> Any:
        if self.away:
            raise Unavailable("DB-UNAVAILABLE", "away")
        return self._inner.read()


def test_the_database_is_away_for_a_minute(tmp_path: Path) -> None:
    """The card inside is finished from the journal and the leased numbers; the report waits."""
    with floor(tmp_path, people=2, tray=4, out=None) as bays:
        (bay,) = bays
        people = Floor(bays, 4)
        found: list[Absent] = []

        def absent(inner: Any) -> Absent:
            found.append(Absent(inner))
            return found[0]

        def leave() -> None:
            found[0].away = True

        station = bay.start(db=absent, printer=lambda inner: Sleeper(inner, "feed", leave))
        outcome = station.run_once()
        assert (outcome.end, outcome.code) == (End.WAITING, "DB-UNAVAILABLE")
        assert len(bay.simulator.machine.hopper) == 1
        for _ in range(3):
            assert station.run_once().end is End.WAITING
        assert len(bay.simulator.machine.hopper) == 1
        found[0].away = False
        assert [o.end for o in bay.turns(nobody)] == [End.MADE, End.MADE, End.IDLE]
        assert people.violations(orders=2) == []


def noisy(bay: Bay, one_in: int, count: int) -> None:
    """Flip a bit every so many bytes on the way to the machine, and some on the way back."""
    bay.simulator.inject("\n".join(f"F17 after({one_in * n})" for n in range(1, count + 1)))
    bay.simulator.inject("\n".join(f"F16 on(Rlr, {n})" for n in (7, 19, 31)))


def test_one_byte_in_ten_thousand_is_garbled(tmp_path: Path) -> None:
    """No panel of a portrait passes such a line twice: three cards are spoiled, the station stops itself."""
    with floor(tmp_path, people=1, tray=5, out=None) as bays:
        (bay,) = bays
        people = Floor(bays, 5)
        bay.start()
        noisy(bay, 10_000, 55)
        outcomes = bay.turns(people.help)
        assert [o.end for o in outcomes][-1] in (End.STOPPED, End.IDLE)
        made = [o.end for o in outcomes].count(End.MADE)
        assert people.violations(orders=made) == []
        assert people.close() == []


@pytest.mark.slow
def test_a_line_ten_times_better_costs_little(tmp_path: Path) -> None:
    with floor(tmp_path, people=2, tray=8, out=None) as bays:
        (bay,) = bays
        people = Floor(bays, 8)
        bay.start()
        noisy(bay, 100_000, 10)
        outcomes = bay.turns(people.help, resume=True)
        assert [o.end for o in outcomes].count(End.MADE) == 2
        assert people.violations(orders=2) == []
        assert people.close() == []


def test_a_card_at_the_neighbours_reader_stops_both(tmp_path: Path) -> None:
    with floor(tmp_path, stations=2, people=1, tray=3, out=None) as bays:
        first, second = bays
        first.start()
        with first.centre.db.write() as tx:
            row = tx.get(StationRow, "S2")
            assert row is not None
            row.reader = second.reader.name
        first.simulator.machine.bench.neighbour = second.slot
        first.simulator.inject("F6")
        assert first.station is not None
        outcome = first.station.run_once()
        assert (outcome.end, outcome.code) == (End.NEEDS_PERSON, "S-READER")
        assert first.station.state is State.OFFLINE
        with first.centre.db.read() as tx:
            reasons = {row.name: row.stop_reason for row in tx.scalars(select(StationRow))}
        assert reasons == {"S1": "S-READER", "S2": "S-READER"}


def test_a_card_in_our_reader_before_the_feed_stops_the_station(tmp_path: Path) -> None:
    """Swapped cables: another station's card would be written with this person's data (printer.md 3.4)."""
    with floor(tmp_path, people=1, tray=3, out=None) as (bay,):
        bay.start()
        bay.slot.insert(blank(b"FOREIGN1"))
        assert bay.station is not None
        outcome = bay.station.run_once()
        assert (outcome.end, outcome.code) == (End.NEEDS_PERSON, "S-READER")
        assert len(bay.simulator.machine.feeder) == 3
        bay.slot.remove()
        bay.centre.clock.advance(timedelta(seconds=10))
        assert bay.station.run_once().end is End.STOPPED  # whatever it holds, nothing is fed
        with bay.centre.db.write() as tx:
            office.clear(tx, bay.centre.clock, "S1", SUPERVISOR)
        assert bay.station.run_once().end is End.MADE


def test_a_reader_that_is_gone_is_told_and_no_blank_is_spent(tmp_path: Path) -> None:
    class Gone(Slot):
        def wait(self, present: bool, timeout: float) -> bool:
            raise DeviceFault("CARD-READER", "unplugged", reader=self.name)

    with floor(tmp_path, people=1, tray=3, out=None) as (bay,):
        bay.start(reader=lambda inner: Gone(inner.name))
        assert bay.station is not None
        for _ in range(2):
            outcome = bay.station.run_once()
            assert (outcome.end, outcome.code) == (End.NEEDS_PERSON, "CARD-READER")
        assert len(bay.simulator.machine.feeder) == 3
        bay.die()
        bay.start()
        assert bay.turns(nobody)[0].end is End.MADE


def test_a_foreign_card_is_thrown_out_before_work(tmp_path: Path) -> None:
    with floor(tmp_path, people=1, tray=3, out=None) as bays:
        (bay,) = bays
        bay.start()
        assert bay.printer is not None
        bay.printer.identify()
        bay.printer.feed()  # a hand at the machine, without a work order
        bay.printer.close()
        assert bay.station is not None
        assert bay.station.run_once().end is End.MADE
        assert len(bay.simulator.machine.reject_box) == 1


def test_pictures_are_cleared_between_people(tmp_path: Path) -> None:
    """I17: only one person's picture is in the machine, and none before the feed."""
    with floor(tmp_path, people=2, tray=3, out=None) as (bay,):
        bay.start()
        bay.turns(nobody)
        assert bay.printer is not None
        sent = [line.text for line in bay.printer.transcript]
        feeds = [at for at, text in enumerate(sent) if text.startswith("Sis")]
        assert len(feeds) == 2
        for at in feeds:
            assert "Wcb;a" in sent[at - 2]  # its acknowledgement lies between
