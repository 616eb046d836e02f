"""The host killed at every commit boundary: nothing doubled, nothing lost, equal repeats (tests/host_kills.py)."""

import pytest

from tests.host_bench import Keys
from tests.host_kills import SCENARIOS, every_boundary, table


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("kills"))


def test_a_load_survives_a_kill_at_every_boundary(keys: Keys) -> None:
    outcomes = every_boundary(keys, "bank load")
    assert len(outcomes) > 5
    assert [one.problems for one in outcomes] == [[]] * len(outcomes), table(outcomes)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_every_boundary_of_every_scenario(
    keys: Keys, scenario: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = every_boundary(keys, scenario)
    with capsys.disabled():
        print("\n" + table(outcomes))  # noqa: T201
    assert not any(one.problems for one in outcomes)
