"""After a key rotation: rows move to the newest version in short transactions, also when stopped in between."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cli.vault
from cli.output import EXIT_NO
from core import events
from core.errors import EvidenceMismatch
from hsm_sim.client import KeySlot, KeySlots
from registry import resealing, vault
from registry.employment import service as employment
from registry.employment import workers
from registry.employment.tables import WorkerRow
from registry.residence import persons
from registry.residence.tables import PersonRow
from registry.vault import SCOPE, USAGE_DATA, USAGE_INDEX, Vault
from runtime.services import Services, declare_tables
from runtime.settings import Settings
from tests.hsm_bench import KnownKeys
from tests.registry_bench import City, city, person_data

DATA, INDEX = bytes(range(32)), bytes(range(7, 39))


class Rotating:
    """A city's vault whose data key gets a second version."""

    def __init__(self, home: Path, town: City) -> None:
        self.keys, self.town = KnownKeys(home), town
        self.slots = [
            self._slot("data-01", DATA, "A3", USAGE_DATA, "B", "01"),
            self._slot("index-01", INDEX, "H2", USAGE_INDEX, "C", "01"),
        ]
        self._use()

    def _slot(
        self, kid: str, material: bytes, alg: str, usage: str, mode: str, version: str
    ) -> KeySlot:
        field = self.keys.load(kid, material, alg, usage, mode, scope=SCOPE, version=version)
        return KeySlot(kid, int(field[1:], 16), usage, SCOPE, version, alg, "ACTIVE", "")

    def _use(self) -> None:
        vault.attach(self.town.db, Vault(self.keys.local, KeySlots(tuple(self.slots))))

    def rotate(self) -> None:
        self.slots.append(self._slot("data-02", DATA[::-1], "A3", USAGE_DATA, "B", "02"))
        self.keys.move("data-01", "deactivate")
        self.slots[0] = replace(self.slots[0], state="DEACTIVATED")
        self._use()


@pytest.fixture
def rotating(tmp_path: Path) -> Iterator[Rotating]:
    """Four workers and two applicants, sealed under the first version."""
    town = city()
    made = Rotating(tmp_path / "hsm", town)
    with town.db.write() as tx:
        for person in town.people:
            employment.hire(
                tx, town.clock, town.employers[0], person.citizen_id, person.name, town.today
            )
        for person in town.people[:2]:
            persons.register(tx, town.clock, person_data(person))
    yield made
    made.keys.hsm.log.close()


def old(town: City) -> dict[str, int]:
    with town.db.read() as tx:
        return {one.table: one.old for one in resealing.standing(tx) if one.old}


def test_everything_moves_to_the_newest_version_and_opens_as_before(rotating: Rotating) -> None:
    town = rotating.town
    assert old(town) == {}
    rotating.rotate()
    assert old(town) == {"employment_worker": 4, "residence_person": 2}
    with town.db.read() as tx:  # until then both versions open
        assert persons.personal(tx, tx.query(PersonRow).first()).name
    told: list[tuple[str, int]] = []
    assert resealing.reseal_all(town.db, town.clock, "admin", lambda *step: told.append(step)) == 6
    assert told == [("employment_worker", 4), ("residence_person", 2)]
    assert old(town) == {}
    rotating.keys.move("data-01", "destroy")
    with town.db.write() as tx:
        found = workers.opened(tx, tx.query(WorkerRow).all())
        assert {one.citizen_id for one in found} == {one.citizen_id for one in town.people}
        assert persons.by_citizen_id(tx, town.people[0].citizen_id) is not None
        assert [one.subject for one in events.after(tx, 0, kinds_wanted=["vault.resealed"])] == [
            "employment_worker", "residence_person",
        ]  # fmt: skip
    assert resealing.reseal_all(town.db, town.clock, "admin") == 0


def test_stopped_in_between_it_goes_on_where_it_was(
    rotating: Rotating, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = rotating.town
    rotating.rotate()
    monkeypatch.setattr(resealing, "BATCH", 3)

    def stop(_table: str, _rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resealing.reseal_all(town.db, town.clock, "admin", stop)
    assert old(town) == {"employment_worker": 1, "residence_person": 2}
    assert resealing.reseal_all(town.db, town.clock, "admin") == 3


def test_an_altered_row_stops_it_and_is_not_sealed_again(rotating: Rotating) -> None:
    town = rotating.town
    rotating.rotate()
    with town.db.write() as tx:
        row = tx.query(PersonRow).first()
        row.sealed = row.sealed[:-1] + bytes((row.sealed[-1] ^ 1,))
    with pytest.raises(EvidenceMismatch, match="HSM-01"):
        resealing.reseal_all(town.db, town.clock, "admin")
    assert old(town) == {"residence_person": 2}


def test_the_commands_show_what_is_old_and_renew_it(
    rotating: Rotating, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the same database; the programs of an installation name the HSM in their settings."""
    town = rotating.town
    services = Services(Settings(data=tmp_path), town.db, town.clock)
    monkeypatch.setattr(Services, "close", lambda self: None)
    monkeypatch.setattr("runtime.services.build", lambda settings: services)
    rotating.rotate()
    shown = CliRunner().invoke(cli.vault.app, ["show", "--json"], standalone_mode=False)
    assert shown.return_value == EXIT_NO
    done = CliRunner().invoke(cli.vault.app, ["reseal", "--by", "admin", "--json"])
    assert json.loads(done.stdout)["rows"] == 6
    shown = CliRunner().invoke(cli.vault.app, ["show", "--json"], standalone_mode=False)
    assert shown.return_value == 0
    assert {one["old"] for one in json.loads(shown.stdout)["tables"]} == {0}


def test_every_table_with_personal_data_is_among_them() -> None:
    declare_tables()
    assert {table.name for table in resealing.sealed_tables()} >= {
        "employment_draft", "employment_worker", "rental_occupant", "residence_person",
    }  # fmt: skip
