"""T24: an edit, a removal and a re-ordering of the event log are each found behind its seal."""

import pytest

from runtime.event_seals import EventSealer
from tests.unit.runtime.test_event_seals import (
    CLOCK,
    codes,
    happen,
    hsm,  # noqa: F401 - fixtures of the seals' own tests
    keys,  # noqa: F401
    services,  # noqa: F401
    spoil,
)

EDIT = ["UPDATE event SET subject = 'another' WHERE seq = 2"]
REMOVAL = ["DELETE FROM event WHERE seq = 3"]
RE_ORDER = [
    f"UPDATE event SET seq = {new} WHERE seq = {old}" for old, new in ((2, 99), (3, 2), (99, 3))
]


@pytest.mark.parametrize(
    "statements", [EDIT, REMOVAL, RE_ORDER], ids=["edit", "removal", "re-order"]
)
def test_t24_audit_tamper_detection(services, hsm, keys, statements) -> None:  # noqa: F811
    happen(services, 4)
    EventSealer(services.db, hsm, CLOCK).run_once()
    assert not codes(services, keys[1])
    for statement in statements:
        spoil(services, statement)
    assert codes(services, keys[1])
