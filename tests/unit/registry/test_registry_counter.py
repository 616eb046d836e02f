"""The counter with a real chip: hand-over, torn writes, sleep and wake, address, block (residence.md 6.6)."""

from datetime import date, timedelta

import pytest

from cardos import spec
from cardos.client import CardSession, ChipError
from cardos.purse_requests import InitializeForLoad
from cardos.requests import ReadRecord, SelectName, VerifyPin
from cardos.residence_records import (
    AddressRecord,
    Basis,
    ServiceEntry,
)  # fmt: skip
from core import events
from core.errors import DeviceFault, NotAllowed, Rejected
from registry.dormancy import chip, engine, status
from registry.employment import service as employment
from registry.rental import service as rental
from registry.residence import applications, cards, permits
from registry.residence.domain import ChipStatus, State
from tests import chip_bench
from tests.registry_bench import CLERK, REVIEWER, STATION, acceptance_of
from tests.registry_desk import PIN, SERIAL, SERVICES, Desk23, Tearing, pin_entry


def test_hand_over_activates_the_chip_and_closes_the_file() -> None:
    desk = Desk23()
    assert desk.record().status == ChipStatus.PENDING
    assert desk.gate() == "62"
    assert desk.counter.hand_over(SERIAL, pin_entry(), CLERK) == ChipStatus.ACTIVE
    record = desk.record()
    assert (record.status, record.ssn, record.writer) == (ChipStatus.ACTIVE, 2, b"\x00\x00\x01")
    assert record.mac == desk.desk.status_mac(record.body, SERIAL)
    assert desk.services() == SERVICES
    assert desk.basis() == Basis(1, bytes.fromhex("20070508"))
    assert desk.log(1).ssn == 2
    assert desk.gate() == "00"
    with desk.town.db.read() as tx:
        acc_no = acceptance_of(tx, desk.permit_no)
        assert applications.by_number(tx, acc_no).state == State.CLOSED
        assert cards.by_serial(tx, SERIAL).chip_ssn == 2
        (event,) = events.after(tx, 0, kinds_wanted=["card.handed_over"])
        assert event.data["permit_no"] == desk.permit_no


def test_only_the_holders_pin_opens_a_load() -> None:
    desk = Desk23()

    def load(card: CardSession, pin: str) -> None:
        card.send(SelectName(spec.AID_PURSE))
        card.send(VerifyPin(bytes.fromhex(pin)))
        card.send(InitializeForLoad(1, 10_000, bytes(6)))

    with pytest.raises(ChipError) as refusal:
        desk.look(lambda card: load(card, PIN))
    assert refusal.value.sw == spec.SW.LOCKED
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    with pytest.raises(ChipError) as refusal:
        desk.look(lambda card: load(card, "654321"))
    assert refusal.value.tries_left is not None
    desk.look(lambda card: load(card, PIN))


@pytest.mark.parametrize(
    "after", [pytest.param(n, marks=pytest.mark.slow if n % 4 else ()) for n in range(14)]
)
def test_a_card_torn_at_any_command_is_handed_over_by_the_next_try(after: int) -> None:
    desk = Desk23()
    desk.slot.remove()
    desk.slot.insert(Tearing(desk.chip, after))
    with pytest.raises(DeviceFault):
        desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    assert desk.gate() == "62"
    desk.slot.remove()
    desk.slot.insert(desk.chip)
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    assert (desk.record().ssn, desk.log(1).ssn, desk.log(2).ssn) == (2, 2, 1)
    assert desk.gate() == "00"


def test_another_card_on_the_reader_is_noticed_before_anything_is_written() -> None:
    desk = Desk23()
    desk.slot.remove()
    other = chip_bench.permit().card
    desk.slot.insert(other)
    with desk.town.db.write() as tx:
        cards.by_serial(tx, SERIAL).chip_serial = "00000000000000FF"
    with pytest.raises(Rejected, match="E-CARD-OTHER"):
        desk.counter.hand_over(SERIAL, pin_entry(), CLERK)


def test_nobody_else_hands_over_and_nothing_twice() -> None:
    desk = Desk23()
    with pytest.raises(NotAllowed, match="E-ROLE"):
        desk.counter.hand_over(SERIAL, pin_entry(), REVIEWER)
    desk.counter.hand_over(SERIAL, pin_entry(), STATION)
    with pytest.raises(Rejected, match="E-STATE"):
        desk.counter.hand_over(SERIAL, pin_entry(), STATION)


def test_sleep_and_wake_is_the_identity_but_for_status_and_log() -> None:
    desk = Desk23()
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    before = desk.services(), desk.basis()
    desk.town.go_to(date(2007, 6, 12))
    with desk.town.db.write() as tx:
        employment.end(tx, desk.town.clock, desk.job, date(2007, 6, 10), "01")
        desk.town.deliver(tx)
    desk.town.go_to(date(2007, 6, 18))
    assert desk.town.sweep().slept == 1
    assert desk.gate() == "62"
    assert desk.counter.update_status(SERIAL, STATION) == ChipStatus.DORMANT
    assert desk.record().causes == 1
    assert desk.services() == (ServiceEntry(101, 1, False, False), ServiceEntry(102, 1, True, True))
    assert desk.basis() == Basis(0)
    person = desk.town.people[0]
    with desk.town.db.write() as tx:
        employment.hire(
            tx, desk.town.clock, desk.town.employers[1], person.citizen_id, person.name,
            date(2007, 6, 17),
        )  # fmt: skip
        desk.town.deliver(tx)
    assert desk.gate() == "00"
    assert desk.counter.update_status(SERIAL, STATION) == ChipStatus.ACTIVE
    assert (desk.services(), desk.basis()) == before


def test_a_visit_renews_a_lease_that_is_running_out() -> None:
    desk = Desk23()
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    desk.counter.update_status(SERIAL, CLERK)
    assert desk.record().ssn == 2
    desk.town.clock.advance(timedelta(days=60))
    desk.counter.update_status(SERIAL, CLERK)
    assert (desk.record().ssn, desk.record().lease_until.hex()) == (3, "20071005")


def test_the_chip_refuses_an_older_status() -> None:
    desk = Desk23()
    with desk.town.db.read() as tx:
        data = cards.card_data(tx, acceptance_of(tx, desk.permit_no))
    old = chip.ChipContent(status.pending_record(data, "001"), Basis(0))
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    with pytest.raises(ChipError) as refusal:
        desk.look(lambda card: chip.write_status(card, desk.desk, SERIAL, old))
    assert refusal.value.sw == spec.SW.NOT_SATISFIED


def test_a_move_reaches_the_address_ring() -> None:
    desk = Desk23()
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    person, home = desk.town.people[0], desk.town.homes[1]
    with pytest.raises(Rejected, match="E-NOT-THERE"):
        desk.counter.write_address(SERIAL, home, CLERK)
    with desk.town.db.write() as tx:
        rental.move_in(tx, desk.town.clock, home, person.citizen_id, person.name, desk.town.today)
        desk.town.deliver(tx)
    desk.counter.write_address(SERIAL, home, CLERK)
    shown = desk.residence(
        lambda card: AddressRecord.parse(card.send(ReadRecord(1, sfi=spec.FID_ADDRESS)))
    )
    assert (shown.code, shown.since.hex()) == (home, "20070508")


def test_a_lost_card_is_blocked_and_comes_back_only_in_person() -> None:
    desk = Desk23()
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    with pytest.raises(Rejected, match="E-NOT-HOT"):
        desk.counter.block(SERIAL, CLERK)
    with desk.town.db.write() as tx:
        permits.report_loss(tx, desk.town.clock, desk.permit_no, CLERK, evidence="telephone")
    with pytest.raises(Rejected, match="E-HOT"):
        desk.counter.update_status(SERIAL, CLERK)
    desk.counter.block(SERIAL, CLERK)
    with pytest.raises(ChipError) as refusal:
        desk.look(lambda card: card.send(SelectName(spec.AID_PURSE)))
    assert refusal.value.sw == spec.SW.BLOCKED
    with pytest.raises(Rejected, match="E-HOT"):
        desk.counter.unblock(SERIAL, CLERK)
    with desk.town.db.write() as tx:
        permits.withdraw_loss(tx, desk.town.clock, desk.permit_no, CLERK, "in person")
    with pytest.raises(NotAllowed, match="E-ROLE"):
        desk.counter.unblock(SERIAL, STATION)
    desk.counter.unblock(SERIAL, CLERK)
    desk.counter.update_status(SERIAL, CLERK)
    assert desk.record().status == ChipStatus.ACTIVE


def test_a_cancelled_card_is_dead_for_ever() -> None:
    desk = Desk23()
    desk.counter.hand_over(SERIAL, pin_entry(), CLERK)
    with desk.town.db.write() as tx:
        permits.cancel(tx, desk.town.clock, desk.permit_no, REVIEWER, "obtained by fraud")
    desk.counter.block(SERIAL, CLERK)
    with pytest.raises(Rejected, match="E-HOT"):
        desk.counter.unblock(SERIAL, CLERK)


def test_a_card_of_a_sleeping_permit_is_handed_over_asleep() -> None:
    desk = Desk23()
    desk.town.go_to(date(2007, 6, 12))
    with desk.town.db.write() as tx:
        employment.end(tx, desk.town.clock, desk.job, date(2007, 6, 10), "01")
        desk.town.deliver(tx)
    desk.town.go_to(date(2007, 6, 18))
    desk.town.sweep()
    assert desk.counter.hand_over(SERIAL, pin_entry(), CLERK) == ChipStatus.DORMANT
    assert desk.gate() == "62"
    with desk.town.db.read() as tx:
        assert engine.explain(tx, desk.town.clock, desk.permit_no).status == "DORMANT"
