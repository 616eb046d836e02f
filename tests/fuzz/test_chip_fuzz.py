"""A short run of the chip's fuzz target."""

import pytest

from tests.fuzz.chip_fuzz import images, play


@pytest.fixture(scope="module")
def bases():
    return images()


@pytest.mark.parametrize("seed", range(40))
def test_random_commands(bases, seed):
    play(bases[seed % len(bases)], seed)
