"""T11, T12 and T13 of residence.md 19: addresses that change under people, planted errors, coverage."""

from datetime import date

import pytest

from core.db import Tx
from core.errors import Rejected
from registry import vault
from registry.rental import address, patrols, plates, quality, tasks, units
from registry.rental import service as rental
from registry.rental.plates import Finding
from registry.rental.tables import AddressRow, OccupancyRow, PlateRow
from registry.residence import facts, permits
from registry.residence.domain import Hold
from registry.residence.tables import PersonRow
from tests.registry_bench import STATION, City, city

NEW = ("4403080030010100777002001", "4403080030010100777002002")


def new_unit(town: City, tx, code: str, text: str) -> None:
    address.propose(tx, town.clock, code, text)
    address.activate(tx, town.clock, code)


def told_of(town: City, tx: Tx, number: int) -> list[facts.Fact]:
    """What the residence register heard of somebody, who need not have applied."""
    index = vault.citizen_index(tx, "residence", town.people[number].citizen_id)
    return facts.of_person(tx, PersonRow(citizen_index=index))


def dwelling(town: City, number: int) -> tuple[str, str]:
    """Where the residence register sees a person, and the shown verdict on RES."""
    with town.db.read() as tx:
        known = told_of(town, tx, number)
        (home,) = [fact.origin for fact in known if fact.kind == facts.DWELLING]
        return home, ",".join(permits.holds(tx, town.permit_no))


def settled() -> City:
    town = city(count=4)
    with town.db.write() as tx:
        town.permit_no, _ = town.hold_permit(tx, 0, date(2007, 4, 2))
    return town


def test_t11_a_renamed_address_keeps_its_people() -> None:
    town = settled()
    home = town.homes[0]
    with town.db.write() as tx:
        address.rename(tx, town.clock, home, "盐田区新深盐路8号101房")
        address.rename(tx, town.clock, home, "盐田区新深盐路8号101房")
        town.deliver(tx)
        assert facts.address(tx, home) == "盐田区新深盐路8号101房"
        hanging = tx.query(PlateRow).filter_by(code=home, state="HUNG").all()
        assert [plate.text for plate in hanging] == ["盐田区新深盐路8号101房"]
        assert tx.query(PlateRow).filter_by(code=home, state="REMOVED").count() == 1
    assert dwelling(town, 0) == (home, "")


def test_t11_a_merged_address_takes_its_people_along() -> None:
    town = settled()
    with town.db.write() as tx:
        new_unit(town, tx, NEW[0], "盐田区深盐路777号201房")
        address.merge(tx, town.clock, [town.homes[0], town.homes[1]], NEW[0])
        town.deliver(tx)
        with pytest.raises(Rejected, match="E-AC-RETIRED") as refusal:
            address.active(tx, town.homes[0])
        assert refusal.value.facts["successor"] == NEW[0]
        with pytest.raises(Rejected, match="E-AC-DUP"):
            address.propose(tx, town.clock, town.homes[0], "again")  # I4: never used again
    assert dwelling(town, 0) == (NEW[0], "")
    town.go_to(date(2007, 6, 20))
    town.sweep()
    assert dwelling(town, 0) == (NEW[0], "")


def test_t11_a_split_address_is_a_task_not_a_gap() -> None:
    town = settled()
    home = town.homes[0]
    with town.db.write() as tx:
        for number, code in enumerate(NEW):
            new_unit(town, tx, code, f"盐田区深盐路777号20{number + 1}房")
        with pytest.raises(Rejected, match="E-AC-SPLIT"):
            address.split(tx, town.clock, home, [NEW[0]])
        address.split(tx, town.clock, home, NEW)
        town.deliver(tx)
        (task,) = tasks.waiting(tx, tasks.UNRESOLVED)
        assert NEW[1] in task.detail
    town.go_to(date(2007, 6, 20))
    town.sweep()
    assert dwelling(town, 0)[1] == ""
    with town.db.write() as tx:
        row = tx.query(OccupancyRow).filter_by(unresolved=True).one()
        address.reassign(tx, town.clock, row, NEW[1])
        town.deliver(tx)
        assert tasks.waiting(tx, tasks.UNRESOLVED) == []
    assert dwelling(town, 0) == (NEW[1], "")


def test_t11_the_messages_of_a_move_work_in_any_order() -> None:
    """The retirement first, the stay at the retired code afterwards: the person lives at the successor."""
    town = city(count=4)
    person = town.people[0]
    with town.db.write() as tx:
        new_unit(town, tx, NEW[0], "盐田区深盐路777号201房")
        rental.move_in(
            tx, town.clock, town.homes[0], person.citizen_id, person.name, date(2007, 4, 2)
        )
        address.merge(tx, town.clock, [town.homes[0]], NEW[0])
        waiting = facts_messages(tx, town)
        for message in reversed(waiting):
            from registry.dormancy import engine
            from registry.exchange import delivery

            delivery.receive(tx, town.clock, "residence", message, engine.HANDLERS)
    assert dwelling_only(town, 0) == NEW[0]


def facts_messages(tx, town: City):
    from core import events
    from registry.exchange import catalogue, delivery

    found = events.after(
        tx, events.cursor(tx, "exchange.residence"), kinds_wanted=catalogue.event_kinds()
    )
    return [delivery.load(tx, event.data["msg_id"]) for event in found]


def dwelling_only(town: City, number: int) -> str:
    with town.db.read() as tx:
        known = told_of(town, tx, number)
        return next(fact.origin for fact in known if fact.kind == facts.DWELLING)


def test_t12_the_numbering_audit_finds_every_planted_error_and_nothing_else() -> None:
    town = city()
    road = "深盐路"
    with town.db.write() as tx:
        for number in [*range(1, 30, 2), *range(2, 31, 2)]:
            plate = plates.make_plate(tx, town.clock, "DOOR", road, number, f"c{number}")
            plates.hang(tx, town.clock, plate, "installer")
        sub = plates.make_plate(tx, town.clock, "DOOR", road, 7, "c7-1", 1)
        plates.hang(tx, town.clock, sub, "installer")
        assert plates.audit_road(tx, road) == []
        with pytest.raises(Rejected, match="E-PLATE-DUP"):
            plates.make_plate(tx, town.clock, "DOOR", road, 7, "x")
        with pytest.raises(Rejected, match="E-PLATE-SUB"):
            plates.make_plate(tx, town.clock, "DOOR", road, 41, "x", 1)
        for row in tx.query(PlateRow).filter_by(road=road).all():  # planted in the street
            if row.number == 11:
                row.number = 13
            if row.number in (20, 24):
                plates.remove(tx, row.id)
        plates.reserve(tx, road, 24, "empty plot")
        assert plates.audit_road(tx, road) == [
            Finding("GAP", 11), Finding("DUPLICATE", 13), Finding("GAP", 20),
        ]  # fmt: skip


def test_t12_wrong_sides_and_orphans() -> None:
    doors = [
        plates.Door(1, side=1), plates.Door(3, side=1), plates.Door(4, side=1),
        plates.Door(2, side=0), plates.Door(5, 1, side=1), plates.Door(3, 1, side=1),
        plates.Door(3, 1, side=1),
    ]  # fmt: skip
    assert plates.numbering_audit(doors) == [
        Finding("DOUBLE_SUB_NUMBER", 3, 1), Finding("WRONG_SIDE", 4),
        Finding("SUB_NUMBER_WITHOUT_NUMBER", 5, 1),
    ]  # fmt: skip


def census_of(town: City, tx) -> list[tuple[str, str, bool]]:
    return [(row.code, row.text, True) for row in tx.query(AddressRow)]


def test_t13_coverage_is_exactly_100_on_the_clean_town_and_falls_by_what_is_missing() -> None:
    town = city(count=40)
    with town.db.write() as tx:
        assert quality.measure(tx).plates.shown == quality.NO_DENOMINATOR
        quality.load_census(tx, census_of(town, tx), date(2007, 5, 8))
        clean = quality.measure(tx)
        assert {
            clean.plates.shown, clean.codes.shown, clean.cards.shown, clean.correspondence.shown,
        } == {"100.00 %"}  # fmt: skip
        assert clean.orphans == ()


def test_t13_two_swapped_plates_cost_exactly_two_codes() -> None:
    town = city(count=40)
    with town.db.write() as tx:
        quality.load_census(tx, census_of(town, tx), date(2007, 5, 8))
        first, second = (tx.query(PlateRow).filter_by(code=code).one() for code in town.homes[:2])
        first.text, second.text = second.text, first.text
        dirty = quality.measure(tx)
        assert (dirty.correspondence.numerator, dirty.correspondence.denominator) == (38, 40)
        assert set(dirty.correspondence.missing) == set(town.homes[:2])
        assert dirty.plates.shown == "100.00 %"


def test_t13_a_missing_plate_an_uncounted_unit_and_an_orphan_are_each_seen() -> None:
    town = city(count=40)
    with town.db.write() as tx:
        census = census_of(town, tx)
        quality.load_census(
            tx, [*census, ("4403080030010100888001001", "盐田区深盐路888号101房", True)], town.today
        )
        tx.query(PlateRow).filter_by(code=town.homes[3]).one().state = "REMOVED"
        tx.add(
            PlateRow(
                id="orphan", kind="ROOM", text="x", key="x", road="", number=0, sub_no=0,
                code="4403080030010100999001001", made_on=town.today, state="HUNG",
            )
        )  # fmt: skip
        tx.flush()
        dirty = quality.measure(tx)
        assert (dirty.plates.numerator, dirty.plates.denominator) == (39, 41)
        assert (dirty.codes.numerator, dirty.codes.denominator) == (40, 41)
        assert dirty.codes.hundredths == 9756  # 97.56 %: floored, never rounded up
        assert dirty.orphans == ("4403080030010100999001001",)


# -- patrols (SD-19, SD-45) ----------------------------------------------------------------------------


def patrol_town() -> City:
    town = settled()
    with town.db.write() as tx:
        owner = units.register_responsible(tx, town.clock, "PDY00001X", "房东公司")
        for code in town.homes[:2]:
            units.open_unit(tx, code, owner, "DWELLING", 2, "011")
    return town


def form(town: City, number: str, people, day: date) -> patrols.PatrolForm:
    town.go_to(day)
    return patrols.PatrolForm(number, town.homes[0], town.clock.now(), tuple(people))


def found(town: City, number: int) -> patrols.Found:
    person = town.people[number]
    return patrols.Found(person.name, person.citizen_id, date(2007, 5, 1))


def test_a_patrol_confirms_adds_and_misses() -> None:
    town = patrol_town()
    first = form(town, "V-1", [found(town, 0), found(town, 1)], date(2007, 5, 10))
    with town.db.write() as tx:
        assert patrols.upload(tx, town.clock, first, STATION) == patrols.VisitResult(1, 1, 0)
        again = patrols.upload(tx, town.clock, first, STATION)
        assert (again.repeated, again.added) == (True, 1)
        assert tx.query(OccupancyRow).count() == 2
        other = patrols.PatrolForm("V-1", first.code, first.at, ())
        with pytest.raises(Rejected, match="E-CONFLICT"):
            patrols.upload(tx, town.clock, other, STATION)
        assert patrols.keep_conflict(tx, town.clock, other)


def test_a_ghost_is_proposed_after_two_visits_and_leaves_only_by_a_person() -> None:
    town = patrol_town()
    with town.db.write() as tx:
        record = tx.query(OccupancyRow).one().id
        for number, day in (("V-1", date(2007, 5, 10)), ("V-2", date(2007, 5, 20))):
            patrols.upload(tx, town.clock, form(town, number, [], day), STATION)
            ghosts = len(tasks.waiting(tx, tasks.GHOST))
            assert ghosts == (number == "V-2")
        patrols.confirm_ghost(tx, town.clock, record, date(2007, 5, 9), STATION)
        town.deliver(tx)
        with pytest.raises(Rejected, match="E-NOT-GHOST"):
            patrols.confirm_ghost(tx, town.clock, record, date(2007, 5, 9), STATION)
    for day in range(21, 30):
        town.go_to(date(2007, 5, day))
        town.sweep()
    assert dwelling(town, 0)[1] == Hold.RES


def test_a_person_found_again_is_no_ghost() -> None:
    town = patrol_town()
    with town.db.write() as tx:
        patrols.upload(tx, town.clock, form(town, "V-1", [], date(2007, 5, 10)), STATION)
        back = form(town, "V-2", [found(town, 0)], date(2007, 5, 20))
        patrols.upload(tx, town.clock, back, STATION)
        patrols.upload(tx, town.clock, form(town, "V-3", [], date(2007, 5, 30)), STATION)
        assert tasks.waiting(tx, tasks.GHOST) == []


def test_an_occupancy_is_verified_only_by_both_offices() -> None:
    from tests.registry_bench import CLERK

    town = patrol_town()
    with town.db.write() as tx:
        record = tx.query(OccupancyRow).one().id
        assert not patrols.verify(tx, town.clock, record, STATION)
        assert not patrols.verify(tx, town.clock, record, STATION)
        patrols.dispute(tx, town.clock, record, CLERK, "another floor")
        town.go_to(date(2007, 5, 14))
        assert len(tasks.overdue(tx, town.clock)) == 1  # five days
        assert patrols.verify(tx, town.clock, record, CLERK)
        assert tasks.waiting(tx, tasks.MISMATCH) == []
        assert town.deliver(tx).taken == 1


def test_too_many_contracts_or_people_are_flagged_not_blocked() -> None:
    town = patrol_town()
    with town.db.write() as tx:
        tenant = tx.query(OccupancyRow).one().occupant_id
        first = date(2007, 5, 1)
        contracts = [
            units.sign_contract(tx, town.clock, town.homes[0], tenant, first, date(2008, 4, last))
            for last in (28, 29, 30, 30)
        ]
        assert len(set(contracts)) == 3  # the last came twice
        assert [task.kind for task in tasks.waiting(tx)] == ["CROWDED"]
        for number in (1, 2):
            person = town.people[number]
            rental.move_in(
                tx, town.clock, town.homes[0], person.citizen_id, person.name, date(2007, 5, 1)
            )
        (crowd,) = units.crowded(tx, town.today)
        assert (crowd.capacity, crowd.people) == (2, 3)
