"""Fixtures of the purse network's tests: a host with known keys, a terminal signed on to it, a card."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import String, func, select

from core.db import metadata
from tests.host_bench import Keys, LabCard, LabHost, LabTerminal
from tests.unit.payments.terminal_bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A counter whose terminal has its lists."""
    made = Bench(tmp_path / "terminal")
    made.terminal.update_lists()
    return made


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """An HSM with the vectors' masters."""
    return Keys(tmp_path_factory.mktemp("host"))


@pytest.fixture
def host(keys: Keys) -> Iterator[LabHost]:
    """A host on a database in memory."""
    made = LabHost(keys)
    yield made
    assert too_long(made) == []
    made.close()


def too_long(host: LabHost) -> list[str]:
    """Columns that hold a text longer than they may: PostgreSQL refuses it, SQLite does not."""
    found = []
    with host.db.read() as tx:
        for name, table in metadata.tables.items():
            texts = [
                column
                for column in table.columns
                if isinstance(column.type, String) and column.type.length
            ]
            if not texts or not name.startswith(("purse_", "ledger_")):
                continue
            longest = tx.execute(select(*(func.max(func.length(one)) for one in texts))).one()
            for column, length in zip(texts, longest, strict=True):
                assert isinstance(column.type, String)
                if (length or 0) > (column.type.length or 0):
                    found.append(f"{name}.{column.name}: {length}")
    return found


@pytest.fixture
def terminal(host: LabHost) -> LabTerminal:
    """A terminal that has signed on."""
    made = host.terminal()
    assert made.sign_on().response == "00"
    return made


@pytest.fixture
def card() -> LabCard:
    """An empty purse."""
    return LabCard("00001000000147")
