"""Server, chip and terminal list agree after any interleaving and any tear (residence.md 6.6, 6.7)."""

import random
from contextlib import suppress
from datetime import timedelta

import pytest

from core.errors import DeviceFault, Rejected
from payments.terminal_lists import CardLists, Listed
from payments.terminal_verdict import Question, decide_service
from registry.dormancy import status_list
from registry.employment import service as employment
from registry.residence import permits
from registry.residence.domain import ChipStatus
from tests.registry_bench import CLERK, STATION
from tests.registry_desk import SERIAL, Desk23, Tearing, pin_entry

STEPS = 18
SLEEPING, AWAKE = ChipStatus.DORMANT, ChipStatus.ACTIVE


class Walk:
    """One card, one server and two terminals: one with the newest list, one that keeps an old one."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.desk = Desk23()
        self.desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
        self.job: str | None = self.desk.job
        self.lists: list[CardLists] = [self.take_list()]
        self.highest = self.desk.record().ssn

    def step(self) -> None:
        act = self.dice.choice(
            (self.lose_job, self.find_job, self.nights, self.write, self.torn_write, self.new_list)
        )
        act()
        self.check()

    def lose_job(self) -> None:
        if self.job is None:
            return
        town = self.desk.town
        with town.db.write() as tx:
            employment.end(tx, town.clock, self.job, town.today, "01")
            town.deliver(tx)
        self.job = None

    def find_job(self) -> None:
        if self.job is not None:
            return
        town, person = self.desk.town, self.desk.town.people[0]
        town.clock.advance(timedelta(days=1))
        with town.db.write() as tx:
            firm = self.dice.choice(town.employers)
            self.job = employment.hire(
                tx, town.clock, firm, person.citizen_id, person.name, town.today
            )
            town.deliver(tx)

    def nights(self) -> None:
        for _ in range(self.dice.randrange(1, 12)):
            self.desk.town.clock.advance(timedelta(days=1))
            self.desk.town.sweep()

    def write(self) -> None:
        self.desk.counter.update_status(SERIAL, STATION)

    def torn_write(self) -> None:
        self.desk.slot.remove()
        self.desk.slot.insert(Tearing(self.desk.chip, self.dice.randrange(13)))
        with suppress(DeviceFault):  # a write without a log entry is over before a late tear
            self.desk.counter.update_status(SERIAL, STATION)
        self.desk.slot.remove()
        self.desk.slot.insert(self.desk.chip)

    def new_list(self) -> None:
        self.lists.append(self.take_list())

    def take_list(self) -> CardLists:
        town = self.desk.town
        with town.db.write() as tx:
            status_list.publish(tx, town.clock)
            entries = status_list.delta(tx, 0).entries
        found = {e.card_hash: Listed(e.cause, e.ssn, str(e.since), str(e.expires)) for e in entries}
        now = town.clock.now()
        return CardLists(status=found, black_checked=now, status_checked=now)

    def server(self) -> tuple[int, int]:
        with self.desk.town.db.read() as tx:
            permit = permits.get(tx, self.desk.permit_no)
            return permit.ssn, permit.status

    def check(self) -> None:
        """The chip never runs ahead, never goes back, and holds a record the server once made."""
        chip = self.desk.record()
        ssn, _ = self.server()
        assert self.highest <= chip.ssn <= ssn
        assert chip.status in (SLEEPING, AWAKE)
        assert chip.mac == self.desk.desk.status_mac(chip.body, SERIAL)
        self.highest = chip.ssn

    def check_at_rest(self) -> None:
        """After one whole contact all three agree, and no list of any age refuses a woken card."""
        self.write()
        chip, (ssn, status) = self.desk.record(), self.server()
        assert (chip.ssn, chip.status) == (ssn, status)
        newest = self.take_list()
        now = self.desk.town.clock.now()
        for lists in (*self.lists, newest):
            fresh = CardLists(status=lists.status, black_checked=now, status_checked=now)
            assert self.allowed(fresh) == (status == AWAKE)

    def allowed(self, lists: CardLists) -> bool:
        card = Question(
            bytes.fromhex("000000" + SERIAL), self.desk.record(), self.desk.town.clock.now()
        )
        try:
            decide_service(lists, card, False)
        except Rejected as refusal:
            if refusal.code != "TERM-DORMANT":
                raise
            return False
        return True


@pytest.mark.parametrize("seed", range(2))
def test_any_interleaving_ends_in_agreement(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(STEPS):
        walk.step()
    walk.check_at_rest()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_many_interleavings_end_in_agreement(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(2 * STEPS):
        walk.step()
    walk.check_at_rest()
