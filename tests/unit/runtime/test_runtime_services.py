"""The composition root: the whole schema, on both databases, and settings from one tree."""

import ast
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import inspect

from core.clock import SystemClock
from core.db import Database, metadata
from core.errors import NotFound, Unavailable
from core.faults import PACKAGES
from hsm_sim.certificates import make_certificates
from hsm_sim.client import KeySlot, KeySlots
from registry.residence import persons
from runtime.services import build, declare_tables
from runtime.settings import Settings

ROOT = Path(__file__).parents[3]


def declared_in_code() -> set[str]:
    """Every ``__tablename__`` written anywhere in our packages."""
    names = set()
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                    targets = [t.id for t in node.targets if isinstance(t, ast.Name)]
                    if targets == ["__tablename__"]:
                        names.add(node.value.value)
    return names


def test_the_schema_has_every_table_that_the_code_declares() -> None:
    declare_tables()
    assert declared_in_code() <= set(metadata.tables)


def test_a_new_installation_is_made_and_found_again(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "city")
    build(settings).close()
    services = build(settings)
    tables = set(inspect(services.db.engine).get_table_names())
    services.close()
    assert tables == set(metadata.tables)


@pytest.mark.postgres
def test_the_same_schema_stands_on_postgresql(postgres_url: str) -> None:
    declare_tables()
    db = Database(postgres_url)
    db.create_tables()
    inspector = inspect(db.engine)
    found = {name: {c["name"] for c in inspector.get_columns(name)} for name in metadata.tables}
    db.close()
    assert found == {name: set(table.c.keys()) for name, table in metadata.tables.items()}


def test_the_environment_overrules_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYCARD_API_PORT", "9999")
    assert Settings().api_port == 9999
    assert Settings(api_port=1).api_port == 1


def test_an_installation_names_the_hsm_of_its_personal_data(tmp_path: Path) -> None:
    keys = [
        KeySlot("registers-data-01", 5, "D0", "registers", "01", "A3", "ACTIVE", "ABCDEF"),
        KeySlot("registers-index-01", 6, "M7", "registers", "01", "H2", "ACTIVE", "ABCDEF"),
    ]
    slots = tmp_path / "slots.json"
    settings = Settings(
        data=tmp_path, hsm="127.0.0.1:1", hsm_slots=slots, hsm_certificates=tmp_path / "tls"
    )
    with pytest.raises(NotFound, match="HSM-SLOTS"):
        build(settings)
    make_certificates(tmp_path / "tls", SystemClock())
    slots.write_bytes(KeySlots(tuple(keys[:1])).text())
    with pytest.raises(NotFound, match="HSM-NO-KEY"):
        build(settings)
    slots.write_bytes(KeySlots(tuple(keys)).text())
    services = build(settings)
    with services.db.read() as tx, pytest.raises(Unavailable, match="HSM-GONE"):
        persons.by_citizen_id(tx, "994300198502130012")
    services.close()


@pytest.mark.parametrize("place", ["localhost", "localhost:", ":1", "localhost:123456"])
def test_an_hsm_without_host_and_port_is_no_setting(place: str) -> None:
    with pytest.raises(ValidationError):
        Settings(hsm=place)
