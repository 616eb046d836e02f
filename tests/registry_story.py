"""One holder with one job, one home and one card, followed day by day (the golden cases of residence.md 6.4)."""

from collections.abc import Callable
from datetime import date, timedelta

from core.db import Database, Tx
from registry.dormancy import engine
from registry.dormancy.tables import SpellRow
from registry.employment import service as employment
from registry.residence import cards, permits
from registry.residence.domain import shown_status
from tests.registry_bench import SERIALS, City, city

LAST_DAY = date(2007, 6, 10)
MOVED_IN = date(2007, 4, 2)
START = date(2007, 5, 28)


def june(day: int) -> date:
    return date(2007, 6, day)


class Story:
    """One holder with one job, followed day by day."""

    def __init__(self, db: Database | None = None) -> None:
        self.town: City = city(START, db=db)
        with self.town.db.write() as tx:
            self.permit_no, self.job = self.town.hold_permit(tx, 0, MOVED_IN)
            self.town.make_card(tx, self.permit_no, SERIALS[0], "00000000000000A1")
            permit = permits.get(tx, self.permit_no)
            permit.handed_over = True
            permits.restate(tx, self.town.clock, permit, permits.Cause("clerk", "collected"))
            card = cards.by_serial(tx, SERIALS[0])
            card.state, card.issued_at = "ISSUED", self.town.clock.now()

    def on(self, day: date, act: Callable[[Tx], object] | None = None) -> str:
        """Nightly sweeps up to `day`, then what is reported that day; the status shown."""
        while self.town.today < day:
            self.town.go_to(self.town.today + timedelta(days=1))
            self.town.sweep()
        if act is not None:
            with self.town.db.write() as tx:
                act(tx)
                self.town.deliver(tx)
        return self.status()

    def status(self) -> str:
        with self.town.db.read() as tx:
            watch = engine.explain(tx, self.town.clock, self.permit_no).status == "WATCH"
            return shown_status(permits.holds(tx, self.permit_no), watch)

    def end(self, tx: Tx) -> None:
        employment.end(tx, self.town.clock, self.job, LAST_DAY, "01")

    def hire(self, start: date) -> Callable[[Tx], None]:
        return self.hire_at(1, start)

    def hire_at(self, employer: int, start: date) -> Callable[[Tx], None]:
        person = self.town.people[0]

        def act(tx: Tx) -> None:
            employment.hire(
                tx, self.town.clock, self.town.employers[employer], person.citizen_id,
                person.name, start,
            )  # fmt: skip

        return act

    def spells(self) -> list[SpellRow]:
        with self.town.db.read() as tx:
            found = tx.query(SpellRow).order_by(SpellRow.server_from).all()
            tx.expunge_all()  # keep the values beyond the transaction
            return found
