"""Fixtures of the purse network's tests: a host with known keys, a terminal signed on to it, a card."""

from collections.abc import Iterator
from pathlib import Path

import pytest

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
    made.close()


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
