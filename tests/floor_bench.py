"""A production centre for tests: a settled city, its people, blanks, stations that only keep a journal."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from core.clock import FixedClock
from core.db import Database, Tx
from personalization import batches, floor, journal_import, orders, serials, stock, work
from personalization.plastic import Spoil
from personalization.states import SpoilCode
from personalization.station_journal import FIRST_HASH, Entry, Phase, Step
from personalization.tables import WorkOrderRow
from personalization.work import Claim, Made, Seen
from registry import settlers
from registry.points.places import by_code
from registry.residence import applications
from registry.roles import Actor, Role
from tests.registry_bench import points_are_open
from tests.vault_bench import with_vault

SUPERVISOR = Actor.of("supervisor Gao", Role.CARD_SUPERVISOR)
SECOND = Actor.of("supervisor Tang", Role.CARD_SUPERVISOR)
OFFICER = Actor.of("officer Luo", Role.DATA_OFFICER)
OPERATOR = Actor.of("operator Deng", Role.CARD_OPERATOR)
OTHER_OPERATOR = Actor.of("operator Qin", Role.CARD_OPERATOR)
KEEPER = Actor.of("keeper Song", Role.STOCK_KEEPER)
OTHER_KEEPER = Actor.of("keeper Xu", Role.STOCK_KEEPER)
QC = Actor.of("inspector Han", Role.CARD_QC)
REVIEWER = Actor.of("reviewer Lin", Role.REVIEWER)
LOT = "07001"
START = datetime(2007, 6, 18, 1, 0, tzinfo=UTC)
CHIP_TYPE = "PERMIT-16K"


@dataclass
class Diary:
    """A station's journal in memory: the lines a real one writes, in the same chain."""

    station: str
    entries: list[Entry] = field(default_factory=list)

    def write(self, step: Step, phase: Phase, claim: Claim | None, **facts: str | int) -> None:
        order, token = ("", 0) if claim is None else (claim.work_order, claim.token)
        previous = self.entries[-1].hash if self.entries else FIRST_HASH
        draft = Entry(
            self.station, len(self.entries) + 1, START.isoformat(), step, phase, order, token,
            facts, previous,
        )  # fmt: skip
        self.entries.append(Entry(**{**vars(draft), "hash": draft.digest()}))

    def cycle(self, claim: Claim, seen: Seen, until: Step = Step.EJECT) -> None:
        """Lines of a card that went as far as the result of `until`."""
        self.write(Step.CLAIM, Phase.RESULT, claim)
        numbers = {"chip": seen.chip_serial or "", "card": seen.card_serial or ""}
        for step in (Step.FEED, Step.BIND, Step.CHIP, Step.PRINT, Step.EJECT):
            facts: dict[str, str | int] = dict(numbers) if step is Step.BIND else {}
            if step is Step.EJECT:
                facts = {"to": "hopper"}
            self.write(step, Phase.INTENT, claim, **facts)
            if step is Step.FEED:
                facts = {"fed": seen.fed}
            self.write(step, Phase.RESULT, claim, **facts)
            if step is until:
                return


@dataclass
class Centre:
    """Everything on one database and one clock."""

    db: Database
    clock: FixedClock
    settled: list[settlers.Settler]
    diaries: dict[str, Diary] = field(default_factory=dict)
    chips: int = 0

    def approve(self, tx: Tx, number: int, point: str = "001") -> str:
        """A resident applies at a point and is approved; returns the acceptance number."""
        acc_no = settlers.apply_for_permit(tx, self.clock, self.settled[number], by_code(point))
        applications.verify(tx, self.clock, acc_no)
        applications.approve(tx, self.clock, acc_no, REVIEWER, note="seen")
        return acc_no

    def order(self, *numbers: int, point: str = "001") -> list[str]:
        """Approved applications taken in as production orders."""
        with self.db.write() as tx:
            found = [self.approve(tx, number, point) for number in numbers]
        with self.db.write() as tx:
            orders.take_in(tx, self.clock)
        return found

    def fill_vault(self, quantity: int = 200, lot: str = LOT) -> None:
        with self.db.write() as tx:
            stock.announce_lot(
                tx, self.clock, lot, supplier="Card works", stock="residence-1",
                chip_type=CHIP_TYPE, transport_key=f"lot-{lot}", quantity=quantity, actor=KEEPER,
            )  # fmt: skip
            stock.receive_lot(tx, self.clock, lot, quantity, KEEPER, OTHER_KEEPER)

    def attach(self, *names: str) -> None:
        with self.db.write() as tx:
            for name in names:
                floor.attach(tx, self.clock, name, OPERATOR, printer_serial=f"P-{name}")
                self.diaries[name] = Diary(name)

    def release(self, point: str | None = None) -> str:
        with self.db.write() as tx:
            number = batches.plan(tx, self.clock, OFFICER, point=point)
            batches.release(tx, self.clock, number, SUPERVISOR)
        return number

    def issue(self, batch: str, station: str, quantity: int) -> str:
        with self.db.write() as tx:
            return stock.issue(tx, self.clock, batch, station, LOT, quantity, KEEPER, OTHER_KEEPER)

    def claim(self, station: str = "S1", operator: Actor = OPERATOR) -> Claim:
        with self.db.write() as tx:
            found = work.claim(tx, self.clock, station, operator)
        assert found is not None
        return found

    def next_chip(self) -> str:
        self.chips += 1
        return f"{0xC0FFEE0000000000 + self.chips:016X}"

    def numbers(self, claim: Claim) -> Seen:
        """A chip and the next card serial of the station's block."""
        with self.db.write() as tx:
            block = serials.lease_block(tx, self.clock, claim.station, claim.lot)
        return Seen(self.next_chip(), block[0])

    def import_journal(self, tx: Tx, station: str) -> None:
        newest = journal_import.mark(tx, station).seq
        journal_import.take_in(tx, self.clock, self.diaries[station].entries[newest:])

    def make(self, claim: Claim, seen: Seen | None = None) -> Made:
        """The whole cycle of a good card, reported in one commit."""
        seen = seen or self.numbers(claim)
        assert seen.chip_serial
        assert seen.card_serial
        self.diaries[claim.station].cycle(claim, seen)
        self.clock.advance(timedelta(seconds=38))
        made = Made(seen.chip_serial, seen.card_serial, 38.0, "R-1")
        with self.db.write() as tx:
            self.import_journal(tx, claim.station)
            work.made(tx, self.clock, claim, made)
        return made

    def spoil(
        self, claim: Claim, code: SpoilCode = SpoilCode.PR1, until: Step = Step.CHIP
    ) -> WorkOrderRow | None:
        """A card that failed at the head; returns the remake."""
        seen = self.numbers(claim)
        self.diaries[claim.station].cycle(claim, seen, until)
        self.clock.advance(timedelta(seconds=20))
        with self.db.write() as tx:
            self.import_journal(tx, claim.station)
            return work.failed(
                tx, self.clock, claim, Spoil(code, "print", f"box-{claim.station}"), seen
            )

    def run_all(self, station: str = "S1") -> list[Made]:
        """Every claimable work order made well."""
        found = []
        while True:
            with self.db.write() as tx:
                claim = work.claim(tx, self.clock, station, OPERATOR)
            if claim is None:
                return found
            found.append(self.make(claim))


def centre(db: Database, people: int = 4, blanks: int = 200, ordered: int = 0) -> Centre:
    """A centre with a settled city and a full vault; `db` has its tables. `ordered` of its people applied."""
    clock = FixedClock(START)
    with db.write() as tx:
        made = Centre(db, clock, settlers.settle(tx, clock, people))
        points_are_open(tx, clock)
    with db.write() as tx:  # on PostgreSQL a reader sees only what is committed
        settlers.deliver_all(tx, clock)
    made.fill_vault(blanks)
    if ordered:
        made.order(*range(ordered))
    return made


@cache
def _shared() -> Database:
    """One database in memory for all tests: its statements are compiled once."""
    db = with_vault(Database("sqlite://"))
    db.create_tables()
    return db


@cache
def _ready(people: int, ordered: int) -> tuple[sqlite3.Connection, list[settlers.Settler]]:
    """A centre built once a run and kept aside: `ordered` of its people have an order."""
    db = with_vault(Database("sqlite://"))
    db.create_tables()
    made = centre(db, people, ordered=ordered)
    kept = sqlite3.connect(":memory:")
    _raw(db).backup(kept)
    db.close()
    return kept, made.settled


def _raw(db: Database) -> sqlite3.Connection:
    found = db.engine.raw_connection().driver_connection
    assert isinstance(found, sqlite3.Connection)
    return found


def copied_centre(people: int = 4, ordered: int = 0) -> Centre:
    """The same centre as `centre`, put back in a moment. One at a time."""
    kept, settled = _ready(people, ordered)
    db = _shared()
    kept.backup(_raw(db))
    return Centre(db, FixedClock(START), settled)


def centre_in(folder: Path, people: int = 4, ordered: int = 0) -> Centre:
    """The same centre as an installation in a folder, for commands."""
    kept, settled = _ready(people, ordered)
    folder.mkdir()
    with closing(sqlite3.connect(folder / "city.db")) as file:
        kept.backup(file)
    db = with_vault(Database(f"sqlite:///{folder / 'city.db'}"))
    return Centre(db, FixedClock(START), settled)


def loaded_centre(town: Centre) -> Centre:
    """Three orders released to station S1 with ten blanks."""
    town.attach("S1", "S2")
    town.issue(town.release(), "S1", 10)
    return town
