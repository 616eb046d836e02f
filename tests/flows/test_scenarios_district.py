"""A second district: its people apply with its own address codes; nothing but data differs."""

from datetime import date

from registry.identifiers import validate_address_code, validate_permit_no
from registry.pilot import rollout
from registry.rental import address
from registry.residence import applications, permits
from registry.residence.domain import State
from tests.registry_bench import city

FUTIAN = next(one for one in rollout.districts() if one.code == "440304")


def test_a_second_districts_people_apply_and_are_approved() -> None:
    town = city(date(2007, 5, 8), count=2)
    codes = [FUTIAN.code + home[6:] for home in town.homes]
    with town.db.write() as tx:
        for number, code in enumerate(codes, 1):
            assert validate_address_code(code).ok
            address.propose(tx, town.clock, code, f"福田区金田路{number}号101房")
            address.activate(tx, town.clock, code)
        town.homes = codes
        permit_no, _ = town.hold_permit(tx, 0, date(2007, 4, 2))
        permit = permits.get(tx, permit_no)
        assert permit.address_code.startswith("440304")
        assert permit_no.startswith("44030407")  # the number names the district of the address
        assert validate_permit_no(permit_no).ok
        (row,) = tx.query(applications.ApplicationRow).filter_by(permit_no=permit_no).all()
        assert row.state == State.APPROVED
