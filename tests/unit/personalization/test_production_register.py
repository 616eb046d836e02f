"""Orders follow the register: approved, changed, withdrawn, cancelled, handed over (production.md 4.1, 14)."""

import pytest

from core import events
from core.errors import Rejected
from personalization import batches, orders, plastic, work
from personalization.states import Place, WorkState
from personalization.tables import IncidentRow, WorkOrderRow
from registry.points.places import by_code
from registry.residence import applications, cards, permits, persons
from registry.residence.domain import ChipStatus, State
from registry.roles import Actor, Role
from registry.settlers import clerk_at
from tests.floor_bench import OFFICER, OPERATOR, Centre, copied_centre

REVIEWER = Actor.of("reviewer Lin", Role.REVIEWER)


@pytest.fixture
def town() -> Centre:
    return copied_centre()


def test_an_approved_application_becomes_an_order_once(town: Centre) -> None:
    (acc_no,) = town.order(0)
    with town.db.write() as tx:
        assert orders.take_in(tx, town.clock) == orders.Taken(0, 0, 0, 0)
        work_order = orders.live_work(tx, acc_no)
        assert work_order is not None
        assert (work_order.state, work_order.attempt) == (WorkState.READY, 1)
        assert len(work_order.data_sha256 or "") == 64
        assert applications.by_number(tx, acc_no).state == State.DATA_PREP


def test_a_name_without_glyphs_goes_to_a_person_and_comes_back(town: Centre) -> None:
    with town.db.write() as tx:
        acc_no = town.approve(tx, 0)
        person = applications.applicant(tx, acc_no)
        name = persons.personal(tx, person).name
        persons.correct(tx, town.clock, person.id, REVIEWER, name="\U000e0001\U000e0002")
    with town.db.write() as tx:
        assert orders.take_in(tx, town.clock).to_a_person == 1
        row = orders.get(tx, acc_no)
        assert (row.state, row.trouble) == (orders.HUMAN, "A-GLYPH")
        with pytest.raises(Rejected, match="W-NOTHING"):
            batches.plan(tx, town.clock, OFFICER)
        assert not orders.recheck(tx, town.clock, acc_no, OFFICER)
        persons.correct(tx, town.clock, person.id, REVIEWER, name=name)
        assert orders.recheck(tx, town.clock, acc_no, OFFICER)
        assert orders.get(tx, acc_no).state == orders.OPEN


def test_data_that_changed_after_release_needs_a_new_release(busy: Centre) -> None:
    with busy.db.write() as tx:
        row = tx.query(WorkOrderRow).order_by(WorkOrderRow.id).first()
        assert row is not None
        acc_no, before = row.acc_no, row.id
        person_id = applications.applicant(tx, acc_no).id
        persons.correct(tx, busy.clock, person_id, REVIEWER, household_address="湖南省另一县二号")
    claimed = {busy.make(busy.claim()).card_serial for _ in range(2)}
    assert len(claimed) == 2
    with busy.db.write() as tx:
        assert work.claim(tx, busy.clock, "S1", OPERATOR) is None
        assert work.by_id(tx, before).state == WorkState.CANCELLED
        fresh = orders.live_work(tx, acc_no)
        assert fresh is not None
        assert (fresh.state, fresh.attempt, fresh.batch) == (WorkState.READY, 1, None)


def test_a_withdrawn_application_leaves_the_queue(busy: Centre) -> None:
    with busy.db.write() as tx:
        row = tx.query(WorkOrderRow).order_by(WorkOrderRow.id).first()
        assert row is not None
        tracking = applications.by_number(tx, row.acc_no).id
        applications.withdraw(tx, busy.clock, tracking, clerk_at(by_code("001")))
    with busy.db.write() as tx:
        assert orders.take_in(tx, busy.clock).withdrawn == 1
        assert work.by_id(tx, row.id).state == WorkState.CANCELLED
    assert len(busy.run_all()) == 2


def test_the_permit_and_person_of_a_card_are_those_of_its_order(busy: Centre) -> None:
    claim = busy.claim()
    made = busy.make(claim)
    with busy.db.read() as tx:
        permit = permits.get(tx, cards.by_serial(tx, made.card_serial).permit_no)
        person = applications.applicant(tx, claim.acc_no)
        assert persons.get(tx, permit.person_id).id == person.id


def test_an_application_withdrawn_before_it_is_read_makes_no_work(town: Centre) -> None:
    with town.db.write() as tx:
        acc_no = town.approve(tx, 0)
        tracking = applications.by_number(tx, acc_no).id
        applications.withdraw(tx, town.clock, tracking, clerk_at(by_code("001")))
        other = town.approve(tx, 1)
    with town.db.write() as tx:
        assert orders.take_in(tx, town.clock).ordered == 1
        assert orders.get(tx, acc_no).state == orders.WITHDRAWN
        assert orders.live_work(tx, acc_no) is None
        assert orders.live_work(tx, other) is not None


def test_a_cancelled_permit_gets_no_card(busy: Centre) -> None:
    with busy.db.write() as tx:
        row = tx.query(WorkOrderRow).order_by(WorkOrderRow.id).first()
        assert row is not None
        acc_no = row.acc_no
        permits.get(tx, orders.get(tx, acc_no).permit_no).status = ChipStatus.CANCELLED
    assert len(busy.run_all()) == 2
    with busy.db.read() as tx:
        assert orders.get(tx, acc_no).trouble == "W-PERMIT"


def test_a_card_handed_over_early_is_followed_and_waste_in_a_hand_is_an_incident(
    busy: Centre,
) -> None:
    claim = busy.claim()
    busy.spoil(claim)
    made = busy.make(busy.claim())
    with busy.db.write() as tx:
        (waste,) = plastic.of_work_order(tx, claim.work_order)
        for serial in (made.card_serial, waste.card_serial or "", "00000000000097"):
            events.append(
                tx, busy.clock, "card.handed_over", serial, actor="clerk", permit_no="1",
                acc_no="2", point="001",
            )  # fmt: skip
    with busy.db.write() as tx:
        assert orders.take_in(tx, busy.clock).handed_over == 1
        assert plastic.by_serial(tx, made.card_serial).place == Place.HANDED_OVER
        (incident,) = tx.query(IncidentRow).all()
        assert (incident.kind, incident.subject) == ("FOREIGN", waste.id)
