"""From the window to the approved permit (residence.md 5)."""

from datetime import date

import pytest

from core import events
from core.errors import NotAllowed, Rejected
from core.faults import catalogue
from registry.dormancy import engine
from registry.identifiers import validate_acceptance_no, validate_permit_no
from registry.residence import applications, cards, domain, permits, persons
from registry.residence.domain import Basis, Hold, Kind, PermitType, State
from registry.residence.gate import purse_blacklist, purse_gate
from registry.roles import Actor, Role
from tests.registry_bench import (
    CLERK,
    OFFICE,
    REVIEWER,
    SERIALS,
    STATION,
    acceptance_of,
    city,
    person_data,
)

SINCE = date(2007, 4, 2)


def test_a_worker_gets_a_permit_and_production_is_ordered() -> None:
    town = city()
    with town.db.write() as tx:
        permit_no, _ = town.hold_permit(tx, 0, SINCE)
        assert validate_permit_no(permit_no).ok
        permit = permits.get(tx, permit_no)
        assert (permit.type, permit.ssn, permit.status) == ("RP", 1, domain.ChipStatus.PENDING)
        assert permit.valid_until == date(2017, 5, 7)
        order = events.after(tx, 0, kinds_wanted=["production.ordered"])[0]
        assert validate_acceptance_no(order.subject).ok
        assert (order.data["permit_no"], order.data["point"]) == (permit_no, "001")
        assert order.data["due_on"] == "2007-05-29"  # 15 working days after 8 May


def test_a_second_application_of_the_same_person_is_refused() -> None:
    town = city()
    with town.db.write() as tx:
        town.live_and_work(tx, 0, SINCE)
        town.deliver(tx)
        first = town.apply(tx, 0)
        with pytest.raises(Rejected) as refusal:
            town.apply(tx, 0)
        assert (refusal.value.code, refusal.value.facts["other"]) == ("E-DUP-APP", first)
        town.approve(tx, first)


def test_who_accepted_does_not_review() -> None:
    town = city()
    both = Actor.of(CLERK.name, Role.REVIEWER)
    with town.db.write() as tx:
        town.live_and_work(tx, 0, SINCE)
        town.deliver(tx)
        acc_no = town.apply(tx, 0)
        applications.verify(tx, town.clock, acc_no)
        with pytest.raises(NotAllowed) as refusal:
            applications.approve(tx, town.clock, acc_no, both)
        assert refusal.value.code == "E-SOD"
        with pytest.raises(NotAllowed) as refusal:
            applications.refuse(tx, town.clock, acc_no, STATION, "no")
        assert refusal.value.code == "E-ROLE"


def test_without_the_employers_record_only_a_temporary_permit_is_possible() -> None:
    town = city()
    with town.db.write() as tx:
        acc_no = town.apply(tx, 0)
        checked = applications.verify(tx, town.clock, acc_no)
        assert (checked.labour_answer, checked.rental_answer) == ("UNKNOWN", "UNKNOWN")
        with pytest.raises(Rejected, match="E-NOTE"):
            applications.approve(tx, town.clock, acc_no, REVIEWER)
        with pytest.raises(Rejected, match="E-BASIS"):
            applications.approve(tx, town.clock, acc_no, REVIEWER, note="papers seen")
        permit_no = applications.approve(
            tx, town.clock, acc_no, REVIEWER, PermitType.TRP, note="papers seen"
        )
        assert permits.get(tx, permit_no).valid_until == date(2007, 11, 7)


def test_a_refusal_needs_a_reason_and_ends_the_file() -> None:
    town = city()
    with town.db.write() as tx:
        acc_no = town.apply(tx, 0)
        applications.verify(tx, town.clock, acc_no)
        with pytest.raises(Rejected, match="E-REASON"):
            applications.refuse(tx, town.clock, acc_no, REVIEWER, " ")
        with pytest.raises(Rejected, match="E-PERSONAL"):
            applications.refuse(tx, town.clock, acc_no, REVIEWER, "not her: 994300198502130012")
        applications.refuse(tx, town.clock, acc_no, REVIEWER, "no ground")
        row = applications.by_number(tx, acc_no)
        assert (row.state, row.open, row.reason) == (State.REJECTED, False, "no ground")
        with pytest.raises(Rejected) as refusal:
            applications.approve(tx, town.clock, acc_no, REVIEWER)
        assert refusal.value.code == "E-STATE"
        town.apply(tx, 0)  # the person may try again


def test_an_application_returns_twice_and_then_somebody_calls() -> None:
    town = city()
    with town.db.write() as tx:
        acc_no = town.apply(tx, 0)
        for _ in range(2):
            applications.verify(tx, town.clock, acc_no)
            applications.send_back(tx, town.clock, acc_no, REVIEWER, "address unclear")
        applications.verify(tx, town.clock, acc_no)
        with pytest.raises(Rejected, match="E-RETURNS"):
            applications.send_back(tx, town.clock, acc_no, REVIEWER, "again")


def test_an_unlisted_step_names_the_allowed_ones() -> None:
    town = city()
    with town.db.write() as tx:
        acc_no = town.apply(tx, 0)
        with pytest.raises(Rejected) as refusal:
            applications.advance(tx, town.clock, acc_no, State.PACKED, "centre")
        assert refusal.value.facts["allowed"] == "VERIFYING, WITHDRAWN"


def test_acceptance_asks_for_fee_address_and_identity() -> None:
    town = city()
    with town.db.write() as tx:
        person = town.people[0]
        known = persons.register(tx, town.clock, person_data(person))
        draft = applications.Draft(known, Basis.EMPLOYMENT, "4403080030010100001002001", "001")
        tracking = applications.save(tx, town.clock, draft, CLERK)
        with pytest.raises(Rejected, match="E-MISSING"):
            applications.submit(tx, town.clock, tracking, CLERK)
        persons.store_photo(tx, town.clock, known, person.portrait())
        applications.submit(tx, town.clock, tracking, CLERK)
        with pytest.raises(Rejected, match="E-AC-UNKNOWN"):
            applications.accept(tx, town.clock, tracking, CLERK, "R-1")
        applications.get(tx, tracking).address_code = town.homes[0]
        with pytest.raises(Rejected, match="E-FEE"):
            applications.accept(tx, town.clock, tracking, CLERK, "")
        number = applications.accept(tx, town.clock, tracking, CLERK, "R-1")
        assert applications.accept(tx, town.clock, tracking, CLERK, "R-1") == number


def test_one_portrait_belongs_to_one_person() -> None:
    town = city()
    with town.db.write() as tx:
        first, second = (persons.register(tx, town.clock, person_data(p)) for p in town.people[:2])
        jpeg = town.people[0].portrait()
        ref = persons.store_photo(tx, town.clock, first, jpeg)
        assert persons.store_photo(tx, town.clock, first, jpeg) == ref
        with pytest.raises(Rejected, match="E-PHOTO-DUP"):
            persons.store_photo(tx, town.clock, second, jpeg)


def test_what_the_centre_gets_for_a_card() -> None:
    town = city()
    with town.db.write() as tx:
        permit_no, _ = town.hold_permit(tx, 0, SINCE)
        data = cards.card_data(tx, acceptance_of(tx, permit_no))
        assert (data.name, data.permit_no) == (town.people[0].name, permit_no)
        assert data.address_code == town.homes[0]
        assert data.photo == town.people[0].portrait()
        assert data.name not in repr(data)


def test_a_plastic_is_bound_once() -> None:
    town = city()
    with town.db.write() as tx:
        one, _ = town.hold_permit(tx, 0, SINCE)
        two, _ = town.hold_permit(tx, 1, SINCE)
        first, other = acceptance_of(tx, one), acceptance_of(tx, two)
        bind = lambda acc, serial, chip: cards.bind_card(  # noqa: E731
            tx, town.clock, acc, serial, chip, "LOT1", "centre"
        )
        card = bind(first, SERIALS[0], "00000000000000a1")
        assert bind(first, SERIALS[0], "00000000000000A1") is card
        for acc, serial, chip in (
            (other, SERIALS[0], "00000000000000A2"),  # the serial is taken
            (other, SERIALS[1], "00000000000000A1"),  # the chip is taken
            (first, SERIALS[1], "00000000000000A3"),  # the permit has a card in the making
        ):
            with pytest.raises(Rejected, match="E-BOUND"):
                bind(acc, serial, chip)
        cards.void_card(tx, town.clock, SERIALS[0], "SPOILED", "centre")
        assert bind(first, SERIALS[1], "00000000000000A3").issue_no == 2


def issued(tx, town, number: int) -> str:
    """A permit whose card was handed over."""
    permit_no, _ = town.hold_permit(tx, number, SINCE)
    town.make_card(tx, permit_no, SERIALS[number], f"{number + 1:016X}")
    card = cards.by_serial(tx, SERIALS[number])
    card.state, card.issued_at = "ISSUED", town.clock.now()
    permit = permits.get(tx, permit_no)
    permit.handed_over = True
    permits.restate(tx, town.clock, permit, permits.Cause("clerk", "collected"))
    return permit_no


def test_the_purse_gate_answers_by_hold() -> None:
    town = city()
    with town.db.write() as tx:
        permit_no = issued(tx, town, 0)
        gate = purse_gate(tx, SERIALS[0])
        assert (gate.status, gate.response_code, gate.may_debit) == ("ACTIVE", "00", True)
        assert gate.purse_account.startswith("9156")
        unknown = purse_gate(tx, SERIALS[2])
        assert (unknown.found, unknown.response_code, unknown.may_debit) == (False, "14", False)
        cause = permits.Cause("test", "evidence")
        for hold, code, debit in (
            (Hold.EMP, "62", True),
            (Hold.RES, "62", True),
            (Hold.ADMIN, "62", False),
            (Hold.EXPIRED, "54", False),
            (Hold.LOSS, "41", False),
        ):
            permits.add_hold(tx, town.clock, permit_no, hold, cause)
            gate = purse_gate(tx, SERIALS[0])
            assert (hold, gate.response_code, gate.may_debit) == (hold, code, debit)
            permits.clear_hold(tx, town.clock, permit_no, hold, cause)
        permits.cancel(tx, town.clock, permit_no, REVIEWER, "left for good")
        assert purse_gate(tx, SERIALS[0]).response_code == "04"
        assert purse_blacklist(tx) == [("000000" + SERIALS[0], "03")]


def test_a_card_not_yet_handed_over_loads_nothing() -> None:
    town = city()
    with town.db.write() as tx:
        permit_no, _ = town.hold_permit(tx, 0, SINCE)
        town.make_card(tx, permit_no, SERIALS[0], "00000000000000A1")
        gate = purse_gate(tx, SERIALS[0])
        assert (gate.status, gate.response_code, gate.may_debit) == ("PENDING", "62", False)


def test_loss_and_replacement() -> None:
    town = city()
    with town.db.write() as tx:
        permit_no = issued(tx, town, 0)
        permits.report_loss(tx, town.clock, permit_no, CLERK, stolen=True, evidence="telephone")
        assert purse_gate(tx, SERIALS[0]).response_code == "43"
        assert purse_blacklist(tx) == [("000000" + SERIALS[0], "02")]
        with pytest.raises(NotAllowed, match="E-ROLE"):
            permits.withdraw_loss(tx, town.clock, permit_no, STATION, "in person")
        permits.withdraw_loss(tx, town.clock, permit_no, CLERK, "in person")
        assert purse_gate(tx, SERIALS[0]).response_code == "00"

        permits.report_loss(tx, town.clock, permit_no, CLERK, evidence="window")
        applications.advance(tx, town.clock, acceptance_of(tx, permit_no), State.COLLECTED, "c")
        applications.advance(tx, town.clock, acceptance_of(tx, permit_no), State.CLOSED, "c")
        person = permits.get(tx, permit_no).person_id
        draft = applications.Draft(
            person, Basis.EMPLOYMENT, town.homes[0], "001", Kind.REPLACE_LOST
        )
        tracking = applications.save(tx, town.clock, draft, CLERK)
        applications.submit(tx, town.clock, tracking, CLERK)
        acc_no = applications.accept(tx, town.clock, tracking, CLERK, "R-2")
        assert town.approve(tx, acc_no) == permit_no
        with pytest.raises(Rejected, match="E-REPLACED"):
            permits.withdraw_loss(tx, town.clock, permit_no, CLERK, "found it")
        assert purse_gate(tx, SERIALS[0]).response_code == "04"
        bound = cards.bind_card(
            tx, town.clock, acc_no, SERIALS[1], "00000000000000B1", "LOT1", "centre"
        )
        assert bound.issue_no == 2


def test_who_gave_up_after_the_approval_may_apply_again() -> None:
    """5.3 line 18: the permit that was never on a card ends, and the next one has a number of its own."""
    town = city()
    with town.db.write() as tx:
        permit_no, _ = town.hold_permit(tx, 0, SINCE)
        tracking = applications.by_number(tx, acceptance_of(tx, permit_no)).id
        applications.withdraw(tx, town.clock, tracking, CLERK)
        assert permits.get(tx, permit_no).status == domain.ChipStatus.CANCELLED
        assert town.approve(tx, town.apply(tx, 0)) != permit_no


def test_status_numbers_rise_by_one_and_carry_evidence() -> None:
    town = city()
    with town.db.write() as tx:
        permit_no = issued(tx, town, 0)
        cause = permits.Cause("test", "evidence")
        permits.add_hold(tx, town.clock, permit_no, Hold.EMP, cause)
        assert not permits.add_hold(tx, town.clock, permit_no, Hold.EMP, cause)
        permits.clear_hold(tx, town.clock, permit_no, Hold.EMP, cause)
        rows = tx.query(permits.StatusEventRow).order_by(permits.StatusEventRow.ssn).all()
        assert [row.ssn for row in rows] == [1, 2, 3, 4]
        assert [row.after for row in rows] == [1, 2, 3, 2]
        assert all(row.evidence for row in rows)


def test_every_event_kind_has_a_sentence_and_every_code_a_text() -> None:
    town = city()
    with town.db.write() as tx:
        issued(tx, town, 0)
        town.heartbeats(tx)
        for event in events.newest(tx, 200):
            assert event.sentence("en")
            assert event.sentence("zh")
    assert {"E-SOD", "E-STATE", "E-BASIS", "E-BREAKER"} <= set(catalogue())


def test_two_office_people_release_the_breaker_not_one() -> None:
    town = city()
    with town.db.write() as tx, pytest.raises(NotAllowed, match="E-SOD"):
        engine.release(tx, town.clock, town.today, OFFICE, OFFICE)
