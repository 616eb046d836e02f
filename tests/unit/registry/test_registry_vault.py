"""Personal data at rest: sealed by the real HSM engine, bound to their row, found by an index of the register."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, select, text

from core.db import Database
from core.errors import EvidenceMismatch, NotAllowed, Rejected, Unavailable
from registry import vault
from registry.employment import accounts, batches, workers
from registry.employment import service as employment
from registry.employment.tables import WorkerRow
from registry.rental import occupants, patrols, units
from registry.rental.tables import OccupantRow
from registry.residence import applications, cards, persons
from registry.residence.domain import Basis
from registry.residence.tables import LinkRow, PersonRow, PhotoRow
from registry.roles import Actor, Role
from registry.synthetic import Resident
from registry.vault import Place, Vault
from tests.registry_bench import (
    CLERK,
    REVIEWER,
    STATION,
    City,
    acceptance_of,
    city,
    person_data,
)

OPERATOR = Actor.of("operator Bai", Role.EMPLOYER_OP)
SINCE = date(2007, 5, 7)
PHONES = ("10055501234", "10055509876")
GUARDIAN = "母亲欧阳守护"


@pytest.fixture
def kept() -> Iterator[Vault]:
    """The vault of the test run."""
    db = Database("sqlite://")
    db.create_tables()
    with db.read() as tx:
        yield vault.of(tx)
    db.close()


# -- the vault ----------------------------------------------------------------------------------------


def test_what_was_sealed_opens_in_its_place_only(kept: Vault) -> None:
    place = Place("residence_person", "p1")
    (sealed,) = kept.seal([(place, {"name": "张三丰"})])
    assert kept.open([(place, sealed)]) == [{"name": "张三丰"}]
    for other in (Place("residence_person", "p2"), Place("rental_occupant", "p1")):
        with pytest.raises(EvidenceMismatch, match="HSM-01"):
            kept.open([(other, sealed)])
    with pytest.raises(EvidenceMismatch, match="HSM-01"):
        kept.open([(place, sealed[:-1] + bytes((sealed[-1] ^ 1,)))])


def test_the_same_person_is_never_sealed_to_the_same_bytes(kept: Vault) -> None:
    row = (Place("residence_person", "p1"), {"name": "张三丰"})
    assert len(set(kept.seal([row] * 20))) == 20


def test_many_rows_travel_in_full_frames_and_keep_their_order(kept: Vault) -> None:
    rows = [(Place("t", str(n)), {"name": f"{n}" * (1 + n % 500)}) for n in range(60)]
    sealed = kept.seal(rows)
    places = [place for place, _ in rows]
    assert kept.open(list(zip(places, sealed, strict=True))) == [fields for _, fields in rows]
    numbers = [str(n) for n in range(60)]
    indexes = kept.index("residence", "citizen_id", numbers)
    assert [kept.index("residence", "citizen_id", [n])[0] for n in numbers] == indexes


def test_particulars_that_are_too_long_are_refused(kept: Vault) -> None:
    longest = {"remark": "x" * (1_024 - len('{"remark":""}'))}
    assert kept.seal([(Place("t", "1"), longest)])
    with pytest.raises(Rejected, match="E-SEAL-SIZE"):
        kept.seal([(Place("t", "1"), {"remark": longest["remark"] + "x"})])


def test_a_portrait_is_sealed_in_pieces_that_open_whole_and_in_order_only(kept: Vault) -> None:
    place = Place("residence_photo", "r1")
    picture = bytes(range(256)) * 90
    sealed = kept.seal_long(place, picture)
    assert picture[:64] not in sealed
    assert kept.open_long(place, sealed) == picture
    assert kept.open_long(place, kept.reseal([(place, sealed)])[0]) == picture
    piece = len(kept.seal_long(place, bytes(1_024)))
    swapped = sealed[piece : 2 * piece] + sealed[:piece] + sealed[2 * piece :]
    for other in (swapped, sealed[:-1], sealed[: 4 * piece], sealed[piece:]):
        with pytest.raises(EvidenceMismatch, match="HSM-01"):
            kept.open_long(place, other)
    with pytest.raises(Rejected, match="E-SEAL-SIZE"):
        kept.seal_long(place, bytes(65_537))


def test_a_registered_portrait_is_nowhere_in_clear_and_comes_back_for_the_card() -> None:
    town = city()
    with town.db.write() as tx:
        permit_no, _ = town.hold_permit(tx, 0, SINCE)
        acc_no = acceptance_of(tx, permit_no)
        jpeg = town.people[0].portrait()
        stored = tx.scalars(select(PhotoRow)).one()
        assert jpeg[2:34] not in stored.sealed
        assert cards.card_data(tx, acc_no).photo == jpeg


def test_without_a_vault_people_are_closed_and_everything_else_goes_on() -> None:
    town = city()
    town.db.info.clear()
    with town.db.write() as tx, pytest.raises(Unavailable, match="VAULT-NONE"):
        persons.by_citizen_id(tx, town.people[0].citizen_id)
    with town.db.write() as tx:
        assert employment.open_account(tx, town.employers[0]).code == town.employers[0]


# -- the registers ------------------------------------------------------------------------------------


def test_two_registers_lists_do_not_join_but_the_link_leads_home() -> None:
    town = city()
    with town.db.write() as tx:
        town.hold_permit(tx, 0, SINCE)
        worker, occupant = (
            tx.scalars(select(WorkerRow)).one(),
            tx.scalars(select(OccupantRow)).one(),
        )
        person = tx.scalars(select(PersonRow)).one()
        indexes = {row.citizen_index for row in (worker, occupant, person)}
        assert len(indexes) == 3
        links = {row.subject: row.citizen_index for row in tx.scalars(select(LinkRow))}
        assert links == dict.fromkeys((worker.id, occupant.id, person.id), person.citizen_index)
        assert workers.opened(tx, [worker])[0].citizen_id == town.people[0].citizen_id
        assert occupants.opened(tx, [occupant])[0].name == town.people[0].name


def test_a_number_finds_its_person_and_a_clerk_puts_particulars_right() -> None:
    town = city()
    with town.db.write() as tx:
        town.hold_permit(tx, 0, SINCE)
        row = persons.by_citizen_id(tx, town.people[0].citizen_id)
        assert row is not None
        assert persons.by_citizen_id(tx, town.people[1].citizen_id) is None
        before = persons.personal(tx, row)
        persons.correct(tx, town.clock, row.id, CLERK, phone=PHONES[0])
        after = persons.personal(tx, row)
        assert (after.phone, after.name) == (PHONES[0], before.name)
        with pytest.raises(NotAllowed, match="E-ROLE"):
            persons.correct(tx, town.clock, row.id, OPERATOR, name="李四")
        with pytest.raises(Rejected, match="E-NAME"):
            persons.correct(tx, town.clock, row.id, REVIEWER, name="李4")


# -- what a thief of the disk finds -------------------------------------------------------------------


def live(town: City) -> list[str]:
    """Every way personal data come in; returns what must not be readable afterwards."""
    first, second, third, fourth = town.people
    with town.db.write() as tx:
        town.live_and_work(tx, 0, SINCE)
    with town.db.write() as tx:
        town.deliver(tx)
    with town.db.write() as tx:
        town.approve(tx, town.apply(tx, 0))
        known = persons.by_citizen_id(tx, first.citizen_id)
        assert known is not None
        persons.correct(tx, town.clock, known.id, CLERK, phone=PHONES[0])
        company = town.employers[0]
        accounts.admit_operator(tx, company, OPERATOR, CLERK)
        draft = {"name": second.name, "id_no": second.citizen_id, "start_date": "2007-05-07"}
        batches.save_draft(tx, town.clock, company, draft | {"phone": PHONES[1]}, OPERATOR)
        lines = f"name,id_no,start_date\n{third.name},{third.citizen_id},2007-05-07\n"
        assert batches.import_hires(tx, town.clock, company, lines.encode(), OPERATOR).accepted == 1
        owner = units.register_responsible(
            tx, town.clock, fourth.citizen_id, fourth.name, PHONES[1]
        )
        units.open_unit(tx, town.homes[0], owner, "DWELLING", 4, "011")
        found = (patrols.Found(second.name, second.citizen_id, SINCE), patrols.Found("无名氏"))
        form = patrols.PatrolForm("V1", town.homes[0], town.clock.now(), found)
        patrols.upload(tx, town.clock, form, STATION)
        minor = persons.register(tx, town.clock, person_data(third))
        draft_of = applications.Draft(
            minor, Basis.DEPENDANT, town.homes[2], "001", guardian=GUARDIAN
        )
        applications.save(tx, town.clock, draft_of, CLERK)
    with town.db.write() as tx:
        town.deliver(tx)
    return [value for person in town.people for value in secrets_of(person)] + [
        *PHONES,
        GUARDIAN,
    ]


def secrets_of(person: Resident) -> tuple[str, ...]:
    return person.citizen_id, person.name, person.household_address, person.phone


def test_the_database_file_holds_no_number_name_address_or_telephone(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'city.db'}")
    db.create_tables()
    town = city(db=db)
    hidden = live(town)
    with (
        db.write() as tx
    ):  # the scan sees what is there: the account of an employer stands in clear
        seen = employment.open_account(tx, town.employers[0]).name
    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    db.close()
    assert seen.encode() in raw
    for value in hidden:
        for form in (value.encode(), value.encode("utf-16-le"), value.encode().hex().encode()):
            assert form not in raw


@pytest.mark.postgres
def test_a_dump_of_postgresql_holds_none_either(postgres: Database) -> None:
    town = city(db=postgres)
    hidden = live(town)
    with postgres.read() as tx:
        tables = inspect(tx.connection()).get_table_names()
        dump: list[Any] = []
        for table in tables:
            dump += tx.execute(text(f'SELECT t::text FROM "{table}" t')).scalars()
        seen = employment.open_account(tx, town.employers[0]).name
    whole = "\n".join(dump)
    assert seen in whole
    for value in hidden:
        assert value not in whole
        assert value.encode().hex() not in whole
