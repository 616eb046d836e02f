"""Sent twice: every write of every register, repeated, has no second effect (issue 7, residence.md 10.3)."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from sqlalchemy import select

from core.db import Tx, metadata
from core.errors import CityError
from registry.dormancy import engine, objections, status, status_list
from registry.employment import accounts, batches, feeds, inspections
from registry.employment import service as employment
from registry.exchange import catalogue, delivery
from registry.exchange.messages import Envelope, Type
from registry.exchange.tables import MessageRow
from registry.rental import address, patrols, plates, quality, units
from registry.rental import service as rental
from registry.residence import applications, cards, facts, fees, losses, permits, persons, watchdog
from registry.residence.domain import Hold, Kind, State
from registry.roles import Actor, Role
from runtime import post
from tests.registry_bench import (
    CLERK,
    OFFICE,
    REVIEWER,
    SERIALS,
    STATION,
    City,
    city,
    person_data,
)

OPERATOR = Actor.of("operator Fu", Role.EMPLOYER_OP)
INSPECTOR = Actor.of("inspector Hu", Role.LABOUR_INSPECTOR)
DAY = date(2007, 5, 8)
APRIL = date(2007, 4, 2)
HIRES = "name,id_no,start_date\n"
FEED = "line,code,reg_no,name,kind,address_code27,active\n1,PDY00001X,,海晖公司,,,Y\n"
KEPT_FOR_THE_RECORD = {"employment_batch", "registry_sequence"}
"""A file that came twice is noted twice, and numbers may be skipped: neither is an effect."""


class Scene:
    """A small city in the middle of things; what the writes need is at hand."""

    def __init__(self) -> None:
        self.town: City = city(count=6)
        town, clock = self.town, self.town.clock
        with town.db.write() as tx:
            accounts.admit_operator(tx, town.employers[0], OPERATOR, CLERK)
            self.permit_no, self.job = town.hold_permit(tx, 0, APRIL)
            town.make_card(tx, self.permit_no, SERIALS[0], "00000000000000A1")
            card = cards.by_serial(tx, SERIALS[0])
            card.state, card.issued_at = "ISSUED", clock.now()
            permit = permits.get(tx, self.permit_no)
            permit.handed_over = True
            permits.restate(tx, clock, permit, permits.Cause("clerk", "collected"))
            stay = tx.query(rental.OccupancyRow).one()
            self.stay, self.occupant, self.holder = stay.id, stay.occupant_id, permit.person_id
            self.stranger = persons.register(tx, clock, person_data(town.people[3]))
            self.waiting = town.apply(tx, 1)
            self.ready = town.apply(tx, 2)
            applications.verify(tx, clock, self.ready)
            owner = units.register_responsible(tx, clock, "PDY00001X", "房东")
            units.open_unit(tx, town.homes[0], owner, "DWELLING", 2, "011")
            self.owner = owner
            self.draft = batches.save_draft(
                tx, clock, town.employers[0],
                {"name": town.people[3].name, "id_no": town.people[3].citizen_id,
                 "start_date": "2007-05-08"}, OPERATOR,
            )  # fmt: skip
            self.case = inspections.open_case(tx, clock, town.employers[0], INSPECTOR)
            self.plate = plates.make_plate(tx, clock, "DOOR", "深盐路", 1, "c1")
            self.ticket = status.issue_ticket(tx, clock, SERIALS[0], "001")

    def person(self, number: int) -> tuple[str, str]:
        return self.town.people[number].citizen_id, self.town.people[number].name


Write = Callable[[Scene, Tx], Any]


WRITES: dict[str, Write] = {
    "employment.hire": (lambda s, tx: employment.hire(
        tx, s.town.clock, s.town.employers[0], *s.person(4), APRIL)),
    "employment.end": (lambda s, tx: employment.end(tx, s.town.clock, s.job, DAY, "01")),
    "employment.correct": (lambda s, tx: employment.correct(
        tx, s.town.clock, s.job, date(2007, 4, 3))),
    "employment.withdraw": (lambda s, tx: employment.withdraw(tx, s.town.clock, s.job)),
    "employment.close": (lambda s, tx: employment.close_employer(
        tx, s.town.clock, s.town.employers[0], DAY)),
    "employment.open": (lambda s, tx: employment.open_employer(
        tx, s.town.clock, "PDY042172", "新公司", s.town.homes[0], 3)),
    "employment.file": (lambda s, tx: batches.import_hires(
        tx, s.town.clock, s.town.employers[0],
        (HIRES + f"{s.person(5)[1]},{s.person(5)[0]},2007-05-08").encode(), OPERATOR)),
    "employment.save": (lambda s, tx: batches.save_draft(
        tx, s.town.clock, s.town.employers[0],
        {"name": s.person(4)[1], "id_no": s.person(4)[0], "start_date": "2007-05-08"}, OPERATOR)),
    "employment.submit": (lambda s, tx: batches.submit_draft(tx, s.town.clock, s.draft, OPERATOR)),
    "employment.feed": (lambda s, tx: feeds.load_feed(tx, feeds.GSJ, FEED.encode(), DAY)),
    "employment.dispute": (lambda s, tx: inspections.dispute(tx, s.town.clock, s.job, "no")),
    "employment.close_case": (lambda s, tx: inspections.close_case(
        tx, s.town.clock, s.case, 1, INSPECTOR)),
    "rental.move_in": (lambda s, tx: rental.move_in(
        tx, s.town.clock, s.town.homes[4], *s.person(4), APRIL)),
    "rental.move_out": (lambda s, tx: rental.move_out(tx, s.town.clock, s.stay, DAY)),
    "rental.withdraw": (lambda s, tx: rental.withdraw(tx, s.town.clock, s.stay)),
    "rental.propose": (lambda s, tx: address.propose(
        tx, s.town.clock, "4403080030010100777002001", "深盐路777号201房")),
    "rental.rename": (lambda s, tx: address.rename(
        tx, s.town.clock, s.town.homes[0], "深盐路9号101房")),
    "rental.merge": (lambda s, tx: address.merge(
        tx, s.town.clock, [s.town.homes[0]], s.town.homes[1])),
    "rental.unit": (lambda s, tx: units.open_unit(
        tx, s.town.homes[1], s.owner, "DWELLING", 2, "011")),
    "rental.plate": (lambda s, tx: plates.make_plate(
        tx, s.town.clock, "DOOR", "深盐路", 3, "c3")),
    "rental.hang": (lambda s, tx: plates.hang(tx, s.town.clock, s.plate, "installer")),
    "rental.census": (lambda s, tx: quality.load_census(tx, [(s.town.homes[0], "x", True)], DAY)),
    "rental.visit": (lambda s, tx: patrols.upload(
        tx, s.town.clock, patrols.PatrolForm("V-1", s.town.homes[0], s.town.clock.now(), ()), STATION)),
    "rental.verify": (lambda s, tx: patrols.verify(tx, s.town.clock, s.stay, STATION)),
    "residence.verify": (lambda s, tx: applications.verify(tx, s.town.clock, s.waiting)),
    "residence.approve": (lambda s, tx: applications.approve(
        tx, s.town.clock, s.ready, REVIEWER, applications.PermitType.TRP, note="seen")),
    "residence.refuse": (lambda s, tx: applications.refuse(
        tx, s.town.clock, s.ready, REVIEWER, "no ground")),
    "residence.return": (lambda s, tx: applications.send_back(
        tx, s.town.clock, s.ready, REVIEWER, "unclear")),
    "residence.withdraw": (lambda s, tx: applications.withdraw(
        tx, s.town.clock, applications.by_number(tx, s.waiting).id, CLERK)),
    "residence.accept": (lambda s, tx: applications.accept(
        tx, s.town.clock, applications.by_number(tx, s.waiting).id, CLERK, "R-1")),
    "residence.advance": (lambda s, tx: applications.advance(
        tx, s.town.clock, applications.by_number(tx, s.ready).acc_no or "", State.WITHDRAWN, "x")),
    "residence.price": (lambda s, tx: fees.set_price(
        tx, Kind.NEW, 1_000, DAY, "doc", OFFICE, REVIEWER)),
    "residence.refund": (lambda s, tx: fees.refund(tx, s.town.clock, s.waiting, "test", "clerk")),
    "residence.hold": (lambda s, tx: permits.add_hold(
        tx, s.town.clock, s.permit_no, Hold.ADMIN, permits.Cause("r", "e"))),
    "residence.loss": (lambda s, tx: losses.report(tx, s.town.clock, s.permit_no, CLERK)),
    "residence.cancel": (lambda s, tx: permits.cancel(
        tx, s.town.clock, s.permit_no, REVIEWER, "fraud")),
    "residence.bind": (lambda s, tx: cards.bind_card(
        tx, s.town.clock, cards.by_serial(tx, SERIALS[0]).acc_no, SERIALS[0], "00000000000000A1",
        "LOT1", "centre")),
    "residence.void": (lambda s, tx: cards.void_card(
        tx, s.town.clock, SERIALS[0], "SUSPECT", "centre")),
    "residence.scan": (lambda s, tx: watchdog.scan(tx, s.town.clock)),
    "dormancy.sweep": (lambda s, tx: engine.sweep(tx, s.town.clock)),
    "dormancy.ticket": (lambda s, tx: status.issue_ticket(tx, s.town.clock, SERIALS[0], "002")),
    "dormancy.confirm": (lambda s, tx: status.confirm(
        tx, s.town.clock, s.ticket.id, bytes(status.signed(s.ticket, bytes(8))), "clerk")),
    "dormancy.publish": (lambda s, tx: status_list.publish(tx, s.town.clock)),
    "dormancy.object": (lambda s, tx: objections.file_objection(
        tx, s.town.clock, s.permit_no, Hold.EMP, CLERK, "no")),
    "exchange.deliver": (lambda s, tx: s.town.deliver(tx)),
    "employment.confirm_list": (lambda s, tx: accounts.confirm_list(
        tx, s.town.clock, s.town.employers[0], OPERATOR)),
    "employment.declare_zero": (lambda s, tx: accounts.declare_zero(
        tx, s.town.clock, s.town.employers[1], CLERK)),
    "employment.leavers": (lambda s, tx: batches.import_leavers(
        tx, s.town.clock, s.town.employers[0],
        f"id_no,end_date,end_reason\n{s.person(0)[0]},2007-05-08,01\n".encode(), OPERATOR)),
    "employment.open_case": (lambda s, tx: inspections.open_case(
        tx, s.town.clock, s.town.employers[1], INSPECTOR)),
    "employment.find_worker": (lambda s, tx: inspections.find_worker(
        tx, s.town.clock, s.case, *s.person(4), APRIL, INSPECTOR)),
    "employment.count_heads": (lambda s, tx: inspections.count_heads(
        tx, s.town.clock, s.case, 9, INSPECTOR)),
    "rental.responsible": (lambda s, tx: units.register_responsible(
        tx, s.town.clock, "PDY042172", "业主", "10000000001")),
    "rental.contract": (lambda s, tx: units.sign_contract(
        tx, s.town.clock, s.town.homes[0], s.occupant, APRIL, DAY)),
    "rental.mismatch": (lambda s, tx: patrols.dispute(
        tx, s.town.clock, s.stay, STATION, "another room")),
    "residence.register": (lambda s, tx: persons.register(
        tx, s.town.clock, person_data(s.town.people[5]))),
    "residence.correct": (lambda s, tx: persons.correct(
        tx, s.town.clock, s.holder, CLERK, phone="10000000002")),
    "residence.photo": (lambda s, tx: persons.store_photo(
        tx, s.town.clock, s.holder, s.town.people[0].portrait())),
    "residence.save": (lambda s, tx: applications.save(
        tx, s.town.clock, applications.Draft(
            s.stranger, applications.Basis.STUDY, s.town.homes[3], "001"), CLERK)),
    "residence.ground": (lambda s, tx: facts.add_ground(
        tx, s.town.clock, persons.get(tx, s.holder), applications.Basis.STUDY, APRIL)),
    "residence.loss_by_permit": (lambda s, tx: permits.report_loss(
        tx, s.town.clock, s.permit_no, CLERK, evidence="telephone")),
    "residence.lease": (lambda s, tx: permits.renew_lease(
        tx, s.town.clock, s.permit_no, "terminal 1")),
}  # fmt: skip


def everything(tx: Tx) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all registers, events and messages included."""
    tx.flush()
    return {
        table.name: sorted(map(repr, tx.execute(select(table)).all()))
        for table in metadata.sorted_tables
        if table.name not in KEPT_FOR_THE_RECORD
    }


@pytest.fixture(scope="module")
def scene() -> Scene:
    """One scene for all: every write is taken back afterwards."""
    return Scene()


@pytest.mark.parametrize("name", list(WRITES))
def test_a_write_that_is_sent_twice_has_one_effect(scene: Scene, name: str) -> None:
    act, town = WRITES[name], scene.town
    with town.db.write() as tx:
        before = tx.begin_nested()
        if name == "dormancy.object":
            employment.end(tx, town.clock, scene.job, date(2007, 5, 7), "01")
            town.deliver(tx)
        first = act(scene, tx)
        after_one = everything(tx)
        try:
            with tx.begin_nested():
                second = act(scene, tx)
        except CityError:  # a clear refusal is as good as a repeat, if nothing changed
            second = first
        if isinstance(first, str):
            assert second == first
        assert everything(tx) == after_one
        before.rollback()


# -- every interface of the catalogue -----------------------------------------------------------------------


def a_message_of_every_type(town: City) -> list[Envelope]:
    """What the three registers say in a busy week, in the order they said it."""
    clock, (code, *_) = town.clock, town.homes
    with town.db.write() as tx:
        permit_no, job = town.hold_permit(tx, 0, APRIL)
        other = town.live_and_work(tx, 1, APRIL)
        stays = [row.id for row in tx.query(rental.OccupancyRow).order_by(rental.OccupancyRow.id)]
        employment.correct(tx, clock, job, date(2007, 4, 3))
        employment.end(tx, clock, job, DAY, "01")
        employment.withdraw(tx, clock, other)
        employment.close_employer(tx, clock, town.employers[2], DAY)
        address.rename(tx, clock, code, "深盐路9号101房")
        for officer in (STATION, CLERK):
            patrols.verify(tx, clock, stays[0], officer)
        address.merge(tx, clock, [code], town.homes[2])
        rental.move_out(tx, clock, stays[0], DAY)
        rental.withdraw(tx, clock, stays[1])
        permits.add_hold(tx, clock, permit_no, Hold.ADMIN, permits.Cause("r", "e"))
        employment.heartbeat(tx, clock)
    with town.db.read() as tx:
        rows = tx.query(MessageRow).order_by(MessageRow.recorded_at, MessageRow.msg_id)
        return [delivery.load(tx, row.msg_id) for row in rows]


def test_every_interface_of_the_catalogue_repeated_and_reordered_has_one_effect() -> None:
    """By the inbox, which knows the ids; and by the handlers alone, as if the inbox had been lost."""
    town = city(count=4)
    messages = a_message_of_every_type(town)
    assert {message.type for message in messages} == set(catalogue.all_interfaces()) == set(Type)
    post.carry(town.db, town.clock)
    with town.db.write() as tx:
        before = everything(tx)
        for consumer, handlers in post.CONSUMERS.items():
            mine = [
                one
                for one in messages
                if one.source != consumer and catalogue.concerns(one, consumer)
            ]
            assert mine, consumer
            for message in (*reversed(mine), *mine):
                assert not delivery.receive(tx, town.clock, consumer, message, handlers)
            for message in (*reversed(mine), *mine):
                if message.type in handlers:
                    handlers[message.type](tx, town.clock, message)
        assert everything(tx) == before
