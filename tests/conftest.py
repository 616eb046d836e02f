"""What tests of several packages share: the two databases, and one worker for each shared daemon."""

import os
from collections.abc import Iterator
from itertools import count

import pytest

from core.db import Database
from tests.postgres_server import PrivatePostgres, programs

_numbers = count(1)


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
