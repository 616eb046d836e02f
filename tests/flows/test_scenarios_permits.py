"""T01, T03, T04, T08, T09 and T10 of residence.md 19: the life of a permit at the counters."""

from datetime import date, datetime, timedelta

import pytest

from core import events
from core.clock import SHANGHAI
from core.errors import NotAllowed, Rejected
from registry.dormancy import engine, status_list
from registry.dormancy.tables import CancellationCaseRow
from registry.employment import service as employment
from registry.residence import applications, cards, domain, fees, losses, permits, watchdog
from registry.residence.domain import ALLOWED, Basis, ChipStatus, Hold, Kind, PermitType, State
from registry.residence.gate import purse_blacklist, purse_gate
from registry.residence.losses import Bearer, Found
from registry.roles import Actor, Role
from tests.registry_bench import CLERK, OFFICE, REVIEWER, SERIALS, STATION, City, city, holder_of
from tests.registry_desk import SERIAL, Desk23, pin_entry

SINCE = date(2007, 4, 2)


def taken(town: City) -> set[tuple[str, str]]:
    """Every transition the log of events shows."""
    with town.db.read() as tx:
        return {
            (event.kind, str(event.data.get("state", "")))
            for event in events.after(tx, 0)
            if event.kind.startswith(("application.", "card.", "production."))
        }


def state(tx, acc_no: str) -> State:
    return State(applications.by_number(tx, acc_no).state)


@pytest.mark.parametrize("division", ["440308", "440304"])  # the pilot's, and one by data only
def test_t01_window_application_to_activated_card_all_18_transitions(division: str) -> None:
    """The table of 5.3 line by line; what is not in the table is refused with the allowed steps."""
    desk = Desk23(division)  # lines 1 to 5, 9, 10, 11, 13 to 15 on the first person
    town, clock = desk.town, desk.town.clock
    assert desk.counter.hand_over(SERIAL, pin_entry(), CLERK) == ChipStatus.ACTIVE  # 16
    assert desk.gate() == "00"
    assert desk.permit_no.startswith(division)
    with town.db.write() as tx:
        town.live_and_work(tx, 1, SINCE)
        town.live_and_work(tx, 2, SINCE)
        town.deliver(tx)
        # 6 returned, 7 resubmitted, 8 refused with the fee given back
        returned = town.apply(tx, 1)
        applications.verify(tx, clock, returned)
        applications.send_back(tx, clock, returned, REVIEWER, "photo unclear")
        due = applications.by_number(tx, returned).due_on
        clock.advance(timedelta(days=7))
        applications.resubmit(tx, clock, returned, CLERK)
        assert applications.by_number(tx, returned).due_on == domain.add_working_days(due, 5)
        applications.refuse(tx, clock, returned, REVIEWER, "not the person in the picture")
        assert fees.balance(tx)[1] == 2_000
        with pytest.raises(Rejected, match="E-STATE") as refusal:
            applications.resubmit(tx, clock, returned, CLERK)
        assert refusal.value.facts["state"] == "REJECTED"
        # 12 quality fails, the next attempt is made
        remade = town.apply(tx, 2)
        permit_no = town.approve(tx, remade)
        for step in (
            State.DATA_PREP, State.IN_PRODUCTION, State.QC, State.REWORK, State.IN_PRODUCTION,
            State.QC, State.PACKED, State.IN_TRANSIT, State.AT_POINT,
        ):  # fmt: skip
            applications.advance(tx, clock, remade, step, "centre")
        cards.bind_card(tx, clock, remade, SERIALS[1], "00000000000000B2", "LOT1", "centre")
        # 17 not collected in 90 days, after two reminders
        for days, reminded in ((30, 1), (30, 1), (29, 0)):
            clock.advance(timedelta(days=days))
            assert watchdog.scan(tx, clock).reminded == reminded
        assert state(tx, remade) is State.AT_POINT
        clock.advance(timedelta(days=1))
        assert watchdog.scan(tx, clock).unclaimed == 1
        assert state(tx, remade) is State.UNCLAIMED
        assert cards.by_serial(tx, SERIALS[1]).void_reason == "RECALLED"
        assert permits.get(tx, permit_no).status == ChipStatus.PENDING
        # 18 withdrawn before the card is made
        withdrawn = town.apply(tx, 3)
        tracking = applications.by_number(tx, withdrawn).id
        stranger = Actor.of("somebody", Role.HOLDER)
        with pytest.raises(NotAllowed, match="E-OWN"):
            applications.withdraw(tx, clock, tracking, stranger)
        applicant = Actor.of(applications.applicant(tx, withdrawn).id, Role.HOLDER)
        applications.withdraw(tx, clock, tracking, applicant)
        assert state(tx, withdrawn) is State.WITHDRAWN
        assert fees.balance(tx)[1] == 4_000
    seen = taken(town)
    for kind in ("saved", "submitted", "accepted", "checked", "approved", "refused", "returned",
                 "resubmitted", "withdrawn"):  # fmt: skip
        assert (f"application.{kind}", "") in seen
    reached = {name for kind, name in seen if kind == "application.advanced"}
    assert reached == {
        "DATA_PREP", "IN_PRODUCTION", "QC", "REWORK", "PACKED", "IN_TRANSIT", "AT_POINT",
        "COLLECTED", "CLOSED", "UNCLAIMED",
    }  # fmt: skip


def test_t01_no_step_outside_the_table() -> None:
    town = city()
    with town.db.write() as tx:
        acc_no = town.apply(tx, 0)
        row = applications.by_number(tx, acc_no)
        for before in State:
            row.state = before
            for after in set(State) - ALLOWED[before] - {before}:
                with pytest.raises(Rejected, match="E-STATE") as refusal:
                    applications.advance(tx, town.clock, acc_no, after, "somebody")
                assert set(str(refusal.value.facts["allowed"]).split(", ")) == (
                    {str(step) for step in ALLOWED[before]} or {"-"}
                )


def test_t03_returned_twice_then_a_person_calls() -> None:
    town = city()
    with town.db.write() as tx:
        acc_no = town.apply(tx, 0)
        applications.verify(tx, town.clock, acc_no)
        for _ in range(2):
            applications.send_back(tx, town.clock, acc_no, REVIEWER, "address unclear")
            applications.resubmit(tx, town.clock, acc_no, CLERK)
        with pytest.raises(Rejected, match="E-RETURNS"):
            applications.send_back(tx, town.clock, acc_no, REVIEWER, "again")
        assert state(tx, acc_no) is State.IN_REVIEW


def test_t04_trp_then_convert_after_the_employers_record() -> None:
    town = city()
    with town.db.write() as tx:
        acc_no = town.apply(tx, 0)
        permit_no = town.approve(tx, acc_no, PermitType.TRP)
        for step in (State.DATA_PREP, State.IN_PRODUCTION, State.QC, State.PACKED, State.IN_TRANSIT,
                     State.AT_POINT, State.COLLECTED, State.CLOSED):  # fmt: skip
            applications.advance(tx, town.clock, acc_no, step, "centre")
        with pytest.raises(Rejected, match="E-HAS"):
            town.apply(tx, 0)
        draft = applications.Draft(
            permits.get(tx, permit_no).person_id, Basis.EMPLOYMENT, town.homes[0], "001",
            Kind.CONVERT,
        )  # fmt: skip
        early = applications.save(tx, town.clock, draft, CLERK)
        applications.submit(tx, town.clock, early, CLERK)
        first = applications.accept(tx, town.clock, early, CLERK, "R-2")
        applications.verify(tx, town.clock, first)
        with pytest.raises(Rejected, match="E-BASIS"):
            applications.approve(tx, town.clock, first, REVIEWER, note="seen")
        town.live_and_work(tx, 0, SINCE)
        town.deliver(tx)
        town.deliver(tx)
        offers = events.after(tx, 0, kinds_wanted=["permit.convert_offered"])
        assert [event.subject for event in offers] == [permit_no]
        applications.send_back(tx, town.clock, first, REVIEWER, "the record arrived")
        applications.resubmit(tx, town.clock, first, CLERK)
        assert applications.approve(tx, town.clock, first, REVIEWER) == permit_no
        permit = permits.get(tx, permit_no)
        assert (permit.type, permit.ssn, permit.valid_until) == ("RP", 2, date(2017, 5, 7))


def at_night(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=SHANGHAI)


def test_t08_loss_by_phone_at_night_replacement_and_the_found_card() -> None:
    desk = Desk23()
    town, clock = desk.town, desk.town.clock
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    clock.advance(at_night(date(2007, 5, 20), 23) - clock.now())
    with town.db.write() as tx:
        holder = holder_of(tx, desk.permit_no)
        report = losses.report(tx, clock, desk.permit_no, holder)
        assert losses.report(tx, clock, desk.permit_no, holder).id == report.id
        assert report.confirm_by == date(2007, 6, 4)
        reported = clock.now()
        bearer = [
            losses.bearer(tx, desk.permit_no, reported + timedelta(hours=hours), with_list)
            for hours, with_list in ((23, True), (25, True), (25, False))
        ]
        assert bearer == [Bearer.HOLDER, Bearer.ACQUIRER, Bearer.NOBODY]
        assert purse_gate(tx, SERIAL).response_code == "41"
        assert not purse_gate(tx, SERIAL).may_debit
        assert purse_blacklist(tx) == [("000000" + SERIAL, "01")]
        # fifteen days pass without a written confirmation: the hold stays, somebody calls
        town.go_to(date(2007, 6, 5))
        (late,) = losses.call_backs(tx, clock)
        assert Hold.LOSS in permits.holds(tx, desk.permit_no)
        losses.called_back(tx, clock, late.id)
        assert losses.call_backs(tx, clock) == []
        new_card = order_replacement(town, tx, desk)
        assert losses.found_card(tx, clock, SERIAL, STATION) is Found.DESTROY
        with pytest.raises(Rejected, match="E-REPLACED"):
            losses.withdraw(tx, clock, desk.permit_no, CLERK, "found it")
        assert purse_blacklist(tx) == [("000000" + SERIAL, "03")]
        status_list.publish(tx, clock)
        (entry,) = status_list.delta(tx, 0).entries
        assert entry.cause & status_list.CANCELLED_BIT
        assert entry.card_hash == status_list.card_hash(SERIAL)
    with pytest.raises(Rejected, match="E-HOT"):  # refused for ever, also in person
        desk.counter.update_status(SERIAL, CLERK)
    assert new_card == SERIALS[1]


def order_replacement(town: City, tx, desk: Desk23) -> str:
    """A replacement through to the bound card; the old one is dead from the approval on."""
    person = permits.get(tx, desk.permit_no).person_id
    draft = applications.Draft(person, Basis.EMPLOYMENT, town.homes[0], "001", Kind.REPLACE_LOST)
    tracking = applications.save(tx, town.clock, draft, CLERK)
    applications.submit(tx, town.clock, tracking, CLERK)
    acc_no = applications.accept(tx, town.clock, tracking, CLERK, "R-9")
    applications.verify(tx, town.clock, acc_no)
    assert applications.approve(tx, town.clock, acc_no, REVIEWER, note="seen") == desk.permit_no
    assert cards.by_serial(tx, SERIAL).state == "VOID"
    card = cards.bind_card(tx, town.clock, acc_no, SERIALS[1], "00000000000000B2", "LOT1", "centre")
    assert card.issue_no == 2
    return card.card_serial


def test_t09_loss_withdrawn_in_person_before_replacement() -> None:
    desk = Desk23()
    town = desk.town
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    with town.db.write() as tx:
        holder = holder_of(tx, desk.permit_no)
        losses.report(tx, town.clock, desk.permit_no, holder)
        assert losses.found_card(tx, town.clock, SERIAL, STATION) is Found.TELL_HOLDER
        for actor in (holder, STATION):
            with pytest.raises(NotAllowed, match="E-ROLE"):
                losses.withdraw(tx, town.clock, desk.permit_no, actor, "by telephone")
        losses.withdraw(tx, town.clock, desk.permit_no, CLERK, "in person, document seen")
        assert purse_blacklist(tx) == []
    assert desk.gate() == "00"
    assert desk.counter.update_status(SERIAL, CLERK) == ChipStatus.ACTIVE


def test_t09_a_loss_does_not_clear_a_sleep() -> None:
    desk = Desk23()
    town = desk.town
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    with town.db.write() as tx:
        permits.add_hold(tx, town.clock, desk.permit_no, Hold.EMP, permits.Cause("t", "gap"))
        holder = holder_of(tx, desk.permit_no)
        losses.report(tx, town.clock, desk.permit_no, holder)
        losses.withdraw(tx, town.clock, desk.permit_no, CLERK, "in person")
        assert permits.holds(tx, desk.permit_no) == {Hold.EMP}  # I10
    assert desk.gate() == "62"


def test_t10_cancellation_after_24_months_dormant() -> None:
    desk = Desk23()
    town, clock = desk.town, desk.town.clock
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    town.go_to(date(2007, 6, 12))
    with town.db.write() as tx:
        employment.end(tx, clock, desk.job, date(2007, 6, 10), "01")
        town.deliver(tx)
    town.go_to(date(2007, 6, 18))
    assert town.sweep().slept == 1
    town.go_to(date(2009, 6, 18))
    assert town.sweep().proposed == 1
    with town.db.write() as tx:
        (case,) = tx.query(CancellationCaseRow).all()
        assert (case.permit_no, case.kind) == (desk.permit_no, "DORMANT")
        with pytest.raises(NotAllowed, match="E-ROLE"):
            permits.cancel(tx, clock, desk.permit_no, OFFICE, "24 months")
        permits.cancel(tx, clock, desk.permit_no, REVIEWER, "24 months dormant, notice sent")
        assert purse_gate(tx, SERIAL).response_code == "04"
        with pytest.raises(Rejected, match="E-STATE"):
            permits.clear_hold(
                tx, clock, desk.permit_no, Hold.CANCELLED, permits.Cause("t", "never")
            )
    desk.counter.block(SERIAL, CLERK)
    assert town.sweep().looked_at == 0
    with town.db.read() as tx:
        assert engine.explain(tx, clock, desk.permit_no).status == "ACTIVE"  # no verdict any more


def test_a_renewed_card_replaces_the_old_one_only_at_the_hand_over() -> None:
    desk = Desk23()
    town, clock = desk.town, desk.town.clock
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    with town.db.write() as tx:
        person = permits.get(tx, desk.permit_no).person_id
        draft = applications.Draft(person, Basis.EMPLOYMENT, town.homes[0], "001", Kind.RENEW)
        with pytest.raises(Rejected, match="E-RENEW-EARLY") as refusal:
            applications.save(tx, clock, draft, CLERK)
        assert refusal.value.facts["first_day"] == "2017-03-08"
    town.go_to(date(2017, 3, 8))
    with town.db.write() as tx:
        tracking = applications.save(tx, clock, draft, CLERK)
        applications.submit(tx, clock, tracking, CLERK)
        acc_no = applications.accept(tx, clock, tracking, CLERK, "R-10")
        applications.verify(tx, clock, acc_no)
        applications.approve(tx, clock, acc_no, REVIEWER)
        assert permits.get(tx, desk.permit_no).valid_until == date(2027, 5, 7)
        assert cards.by_serial(tx, SERIAL).state == "ISSUED"
        for step in (State.DATA_PREP, State.IN_PRODUCTION, State.QC, State.PACKED,
                     State.IN_TRANSIT, State.AT_POINT):  # fmt: skip
            applications.advance(tx, clock, acc_no, step, "centre")
        second = cards.bind_card(
            tx, clock, acc_no, SERIALS[1], b"CHIP0002".hex().upper(), "LOT1", "centre"
        )
    new_chip = desk.another_card(b"CHIP0002", second.card_serial)
    desk.slot.remove()
    desk.slot.insert(new_chip)
    assert (
        desk.counter.hand_over(SERIALS[1], pin_entry(card=SERIALS[1]), CLERK) == ChipStatus.ACTIVE
    )
    with town.db.read() as tx:
        assert cards.by_serial(tx, SERIAL).void_reason == "REPLACED"
        assert cards.live_card(tx, desk.permit_no).card_serial == SERIALS[1]
