"""One private pcscd for the session (libpcsclite keeps the first socket it was told)."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cardos.vpcd import VirtualSlot
from runtime.pcscd import PrivatePcscd, missing

READERS = 2
sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "payments"))  # purse_bench


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/pcsc" in item.path.as_posix():
            item.add_marker(pytest.mark.pcsc)


@pytest.fixture(scope="session")
def daemon() -> Iterator[PrivatePcscd]:
    absent = missing()
    if absent is not None:
        if os.environ.get("CITYCARD_REQUIRE_PCSC"):
            pytest.fail(f"{absent} is not installed, and this run demands real PC/SC")
        pytest.skip(f"real PC/SC needs pcscd, vsmartcard-vpcd and pyscard: {absent} is missing")
    running = PrivatePcscd(readers=READERS).start()
    try:
        yield running
    finally:
        code = running.stop()
    assert code == 0


@pytest.fixture
def reader_name(daemon: PrivatePcscd) -> str:
    return next(iter(daemon.slots))


@pytest.fixture(scope="session")
def slots(daemon: PrivatePcscd) -> dict[str, VirtualSlot]:
    """One host per slot for the session: it remembers when the slot was emptied."""
    return {name: VirtualSlot(("127.0.0.1", port)) for name, port in daemon.slots.items()}


@pytest.fixture
def slot(slots: dict[str, VirtualSlot], reader_name: str) -> Iterator[VirtualSlot]:
    """The first slot, empty; its card is taken out again at the end."""
    yield slots[reader_name]
    slots[reader_name].remove()
