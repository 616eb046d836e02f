"""What tests of several packages share: the two databases, quick schemas and the vault of the run."""

import os
import sqlite3
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import Dialect

import core.db
from core.db import Database, metadata
from tests.postgres_server import PrivatePostgres, programs

_numbers = count(1)
_build_schema = Database.create_tables
_build_engine = core.db._engine
_schemas: dict[frozenset[str], bytes] = {}
_templates: dict[frozenset[str], str] = {}
_statements: dict[type, tuple[Dialect, Any]] = {}


def _copy_schema(database: Database) -> None:
    """`Database.create_tables`, quicker: a new SQLite database gets a copy of an empty one made before.

    Every new database has the vault of the test run, so that people can be registered in it.
    """
    from tests.vault_bench import with_vault

    with_vault(database)
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


def _engine_with_known_statements(url: str) -> Engine:
    """`core.db._engine`, quicker: SQLite databases share compiled statements (a third of the time)."""
    engine = _build_engine(url)
    if engine.dialect.name != "sqlite":
        return engine
    pool = type(engine.pool)
    if pool not in _statements:
        engine.connect().close()  # lets the dialect find out what this SQLite can
        _statements[pool] = engine.dialect, engine._compiled_cache
    engine.dialect, engine._compiled_cache = _statements[pool]  # the cache's keys hold the dialect
    engine.pool._dialect = engine.dialect
    return engine


Database.create_tables = _copy_schema  # type: ignore[method-assign]
core.db._engine = _engine_with_known_statements


def pytest_unconfigure() -> None:
    """End the keys of the run's vault."""
    from tests import vault_bench

    vault_bench.close()


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
def postgres(postgres_server: PrivatePostgres) -> Iterator[Database]:
    """A new PostgreSQL database with all tables that have been imported, copied as the SQLite ones are."""
    name = f"test{next(_numbers)}"
    from tests.vault_bench import with_vault

    db = with_vault(Database(postgres_server.create(name, template=_template(postgres_server))))
    yield db
    db.close()
    postgres_server.drop(name)


def _template(server: PrivatePostgres) -> str:
    """The name of an empty database with the tables imported so far."""
    tables = frozenset(metadata.tables)
    if tables not in _templates:
        name = f"schema{len(_templates)}"
        db = Database(server.create(name))
        _build_schema(db)
        db.close()
        _templates[tables] = name
    return _templates[tables]


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
