"""Power may go at every byte any command writes: old or new, never a mixture.

``python -m tests.chip_cuts`` prints the table of cuts tried.
"""

import pytest

from tests.chip_cuts import COMMANDS, TORN, sweep


@pytest.mark.parametrize("name", COMMANDS)
def test_cut_at_every_write(name):
    row = sweep(name, (0xA5,))
    assert row.cuts >= row.writes
    assert row.violations == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_cut_at_every_write_with_every_torn_value(name):
    row = sweep(name, TORN)
    assert row.cuts >= row.writes * len(TORN)
    assert row.violations == 0
