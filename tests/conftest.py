"""What tests of several packages share: the two databases, and one worker for each shared daemon."""

import os
import sqlite3
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from core.db import Database, metadata
from tests.postgres_server import PrivatePostgres, programs

_numbers = count(1)
_build_schema = Database.create_tables
_schemas: dict[frozenset[str], bytes] = {}


def _copy_schema(database: Database) -> None:
    """`Database.create_tables`, quicker: a new SQLite database gets a copy of an empty one made before."""
    tables = frozenset(metadata.tables)
    place = database.engine.url.database
    if not database.sqlite or not _is_new(database, place):
        _build_schema(database)
        return
    if tables not in _schemas:
        first = Database("sqlite://")
        _build_schema(first)
        _schemas[tables] = _sqlite(first).serialize()
        first.close()
    if place in (None, "", ":memory:"):
        _sqlite(database).deserialize(_schemas[tables])
    else:
        Path(place).write_bytes(_schemas[tables])


def _is_new(database: Database, place: str | None) -> bool:
    if place not in (None, "", ":memory:"):
        return not Path(place).exists() and Path(place).parent.is_dir()
    return not _sqlite(database).execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()


def _sqlite(database: Database) -> sqlite3.Connection:
    raw = database.engine.raw_connection()
    try:
        found = raw.driver_connection
        assert isinstance(found, sqlite3.Connection)
        return found
    finally:
        raw.close()


Database.create_tables = _copy_schema  # type: ignore[method-assign]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a daemon run on one worker, so that it is started once."""
    for item in items:
        for daemon in ("pcsc", "postgres", "browser"):
            if item.get_closest_marker(daemon) or f"tests/{daemon}/" in item.path.as_posix():
                item.add_marker(pytest.mark.xdist_group(daemon))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PrivatePostgres]:
    """A private server; skips loudly where none is installed, fails where the run demands one."""
    if programs() is None:
        if os.environ.get("CITYCARD_REQUIRE_POSTGRES"):
            pytest.fail("no PostgreSQL server is installed, and this run demands one")
        pytest.skip("no PostgreSQL server is installed (apt-get install postgresql)")
    with PrivatePostgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PrivatePostgres) -> Iterator[str]:
    """The URL of a new empty database on a real PostgreSQL."""
    name = f"test{next(_numbers)}"
    yield postgres_server.create(name)
    postgres_server.drop(name)


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Database]:
    """A new PostgreSQL database with all tables that have been imported."""
    db = Database(postgres_url)
    db.create_tables()
    yield db
    db.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def db(request: pytest.FixtureRequest) -> Iterator[Database]:
    """The same test on SQLite in memory and on PostgreSQL."""
    if request.param == "postgres":
        yield request.getfixturevalue("postgres")
        return
    database = Database("sqlite://")
    database.create_tables()
    yield database
    database.close()
