"""Card centres that the tests of this folder begin with."""

import pytest

from tests.floor_bench import Centre, copied_centre, loaded_centre


@pytest.fixture
def town() -> Centre:
    """Three cards are ordered, station S1 is attached."""
    made = copied_centre(ordered=3)
    made.attach("S1")
    return made


@pytest.fixture
def busy() -> Centre:
    """Three cards are ordered and released, blanks lie in S1's tray."""
    return loaded_centre(copied_centre(ordered=3))
