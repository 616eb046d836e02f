"""Power may go at every byte any command writes: old or new, never a mixture."""

import os

import pytest

from tests.chip_cuts import COMMANDS, TORN, sweep

ALL = os.environ.get("CHIP_CUTS") == "all"


@pytest.mark.parametrize("name", COMMANDS)
def test_cut_at_every_write(name):
    row = sweep(name, TORN if ALL else (0xA5,))
    assert row.cuts >= row.writes
    assert row.violations == 0
