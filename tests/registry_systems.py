"""Three registers, each with a database of its own, and ways between them that lose, repeat and mix messages."""

import random
from dataclasses import dataclass, field
from datetime import date, timedelta

from core.clock import FixedClock
from core.db import Database
from core.errors import Unavailable
from registry import synthetic
from registry.dormancy import engine
from registry.employment import service as employment
from registry.exchange import reconcile
from registry.exchange.transport import Answer, Carried, Courier, Doorman, Link
from registry.rental import address
from registry.rental import service as rental
from registry.residence import applications, persons
from registry.residence.domain import Basis
from registry.residence.tables import FactRow, HoldRow, PermitRow, StatusEventRow
from tests.registry_bench import CLERK, REVIEWER, person_data, points_are_open

SOURCES = ("employment", "rental")
MAX_ROUNDS = 400


@dataclass(frozen=True)
class Faults:
    """Shares per thousand (residence.md 10.6, 18.7)."""

    lose: int = 0
    lose_answer: int = 0
    repeat: int = 0
    hold_back: int = 0
    corrupt: int = 0


@dataclass
class FaultyLink:
    """A way with faults in front of a doorman; seeded, so that a run repeats."""

    doorman: Link
    faults: Faults
    dice: random.Random
    down: bool = False
    held: list[str] = field(default_factory=list)
    count: int = 0

    def hand_over(self, envelope: str) -> Answer:
        self.count += 1
        if self.down or self._hits(self.faults.lose):
            raise Unavailable("LINK-DOWN", "no answer")
        if self._hits(self.faults.corrupt):
            envelope = envelope.replace("2007", "2006", 1)
        if self._hits(self.faults.hold_back):
            self.held.append(envelope)  # the network takes its time; the sender hears nothing
            raise Unavailable("LINK-DOWN", "no answer in time")
        answer = self.doorman.hand_over(envelope)
        if self._hits(self.faults.repeat):
            answer = self.doorman.hand_over(envelope)
        while self.held and self.dice.random() < 0.5:
            self.doorman.hand_over(self.held.pop(0))
        if self._hits(self.faults.lose_answer):
            raise Unavailable("LINK-DOWN", "the answer was lost")
        return answer

    def _hits(self, per_mille: int) -> bool:
        return self.dice.randrange(1_000) < per_mille


class Systems:
    """The three systems with couriers from employment and rental to residence."""

    def __init__(self, clock: FixedClock, faults: Faults = Faults(), seed: int = 1) -> None:
        self.clock = clock
        self.dbs = {name: Database("sqlite://") for name in ("employment", "rental", "residence")}
        for db in self.dbs.values():
            db.create_tables()
        self.doorman = Doorman(self.dbs["residence"], clock, "residence", engine.HANDLERS)
        dice = random.Random(seed)
        self.links = {name: FaultyLink(self.doorman, faults, dice) for name in SOURCES}
        self.couriers = {
            name: Courier(self.dbs[name], clock, name, "residence", self.links[name])
            for name in SOURCES
        }

    def carry(self) -> Carried:
        """Run both couriers once."""
        runs = [self.couriers[name].run_once() for name in SOURCES]
        return Carried(*(sum(getattr(run, key) for run in runs) for key in Carried.__annotations__))

    def settle(self) -> None:
        """Carry until nothing waits; time passes between the tries."""
        for _ in range(MAX_ROUNDS):
            run = self.carry()
            self.doorman.release_overdue()
            if run == Carried():
                if not self._open_postings():
                    return
                self.clock.advance(timedelta(minutes=5))
        raise AssertionError("the exchange does not come to rest")

    def _open_postings(self) -> int:
        from registry.exchange.tables import PostingRow, WaitingRow

        count = 0
        for name in SOURCES:
            with self.dbs[name].read() as tx:
                count += tx.query(PostingRow).filter_by(state="WAITING").count()
        with self.dbs["residence"].read() as tx:
            count += tx.query(WaitingRow).count()
        return count

    def reconcile(self) -> dict[str, reconcile.Outcome]:
        """The nightly comparison of both pairs; the sender repairs."""
        outcomes = {}
        for name in SOURCES:
            with self.dbs["residence"].read() as tx:
                theirs = reconcile.taken(tx, "residence", name)
            with self.dbs[name].write() as tx:
                ours = reconcile.sent(tx, name, "residence")
                outcomes[name] = reconcile.repair(tx, self.clock, name, "residence", ours, theirs)
        return outcomes

    def found(self, count: int, since: date) -> list[str]:
        """`count` people with homes and jobs; returns the employment records."""
        places = synthetic.addresses(count)
        company = synthetic.employers(1, places)[0]
        people = synthetic.residents(count)
        with self.dbs["rental"].write() as tx:
            for place, person in zip(places, people, strict=True):
                address.propose(tx, self.clock, place.code, place.text)
                address.activate(tx, self.clock, place.code)
                rental.move_in(tx, self.clock, place.code, person.citizen_id, person.name, since)
        with self.dbs["employment"].write() as tx:
            employment.open_employer(
                tx, self.clock, company.code, company.name, company.address_code, count
            )
            return [
                employment.hire(tx, self.clock, company.code, person.citizen_id, person.name, since)
                for person in people
            ]

    def issue_permits(self, count: int) -> list[str]:
        """Everybody applies and is approved; needs their messages delivered."""
        numbers = []
        with self.dbs["residence"].write() as tx:
            points_are_open(tx, self.clock)
            for place, person in zip(
                synthetic.addresses(count), synthetic.residents(count), strict=True
            ):
                known = persons.register(tx, self.clock, person_data(person))
                persons.store_photo(tx, self.clock, known, person.portrait())
                draft = applications.Draft(known, Basis.EMPLOYMENT, place.code, "001")
                tracking = applications.save(tx, self.clock, draft, CLERK)
                applications.submit(tx, self.clock, tracking, CLERK)
                acc_no = applications.accept(tx, self.clock, tracking, CLERK, "R")
                applications.verify(tx, self.clock, acc_no)
                numbers.append(applications.approve(tx, self.clock, acc_no, REVIEWER, note="seen"))
        return numbers

    def state(self) -> dict[str, list[tuple[object, ...]]]:
        """What the residence register holds, without keys that differ between runs."""
        with self.dbs["residence"].read() as tx:
            return {
                "facts": sorted(
                    (row.source, row.kind, str(row.start), str(row.end), row.seq)
                    for row in tx.query(FactRow).filter(FactRow.superseded_at.is_(None))
                ),
                "permits": sorted((r.permit_no, r.status, r.causes) for r in tx.query(PermitRow)),
                "holds": sorted((r.permit_no, r.kind) for r in tx.query(HoldRow)),
                "ssn": sorted((r.permit_no, r.after) for r in tx.query(StatusEventRow)),
            }
