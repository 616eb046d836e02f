"""An honest audit bundle, made once, and copies of it to attack."""

import pytest

from tests.ceremony_bench import Attack, Honest


@pytest.fixture(scope="session")
def honest_bundle(tmp_path_factory):
    return Honest.make(tmp_path_factory.mktemp("honest"))


@pytest.fixture
def attack(honest_bundle, tmp_path):
    return Attack(honest_bundle, tmp_path / "bundle")
