"""Fixtures of the terminal's tests."""

from pathlib import Path

import pytest

from tests.unit.payments.terminal_bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A counter whose terminal has its lists."""
    made = Bench(tmp_path / "terminal")
    made.terminal.update_lists()
    return made
