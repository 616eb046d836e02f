"""Many commands of several roles at once: each gets its own answer or its own refusal."""

import os
from collections.abc import Iterator

import pytest

from core.errors import CityError
from hsm_sim.client import Role
from hsm_sim.generic_requests import GenerateWorkKey, MakeMac, VerifyMac
from hsm_sim.terminal_requests import MASK_TAK, MakeWorkKeys
from tests.unit.hsm_sim.test_hsm_server import Served

MANY = 150  # more than may be on their way at once


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("hsm"))
    yield made
    made.process.stop()


def test_refusals_and_answers_stay_apart_and_in_order(served: Served) -> None:
    with served.client(Role.TERMS, Role.SWITCH) as hsm:
        tmk, _ = hsm.call(GenerateWorkKey("K0"))
        (key,) = hsm.call(MakeWorkKeys(tmk, str(MASK_TAK)))
        messages = [os.urandom(20 + n % 7) for n in range(MANY)]
        macs = hsm.call_each([MakeMac(key.token, one, "C", "1") for one in messages])
        wrong = [mac[::-1] if n % 3 == 0 else mac for n, mac in enumerate(macs)]
        mixed = [VerifyMac(key.token, m, c, "C", "1") for m, c in zip(messages, wrong, strict=True)]
        mixed.insert(7, MakeWorkKeys(tmk, str(MASK_TAK)))  # another role in between
        found = hsm.call_each(mixed)
        assert len(found.pop(7)) == 1
        for n, outcome in enumerate(found):
            if n % 3 == 0 and macs[n] != macs[n][::-1]:
                assert isinstance(outcome, CityError)
                assert outcome.code == "HSM-01"
            else:
                assert outcome is None


def test_a_role_this_client_has_not_is_refused_alone(served: Served) -> None:
    with served.client(Role.TERMS) as hsm:
        first, second = hsm.call_each(
            [VerifyMac("K000", b"", b"00000000", "C", "1"), GenerateWorkKey("K0")]
        )
        assert isinstance(first, CityError)
        assert first.code == "HSM-ROLE"
        assert second[0].startswith("S")


def test_outcomes_nobody_fetches_are_read_over(served: Served) -> None:
    with served.client(Role.TERMS) as hsm:
        forsaken = hsm.begin_each([GenerateWorkKey("K0")] * 3)
        fetched = hsm.begin_each([GenerateWorkKey("M3")] * 3)
        tokens = [token for token, _ in fetched()]
        assert len(set(tokens)) == 3
        assert len(hsm.call(GenerateWorkKey("K0"))) == 2
        assert len(forsaken()) == 3  # and may still be fetched later


def test_an_hsm_that_is_gone_says_so_to_each(served: Served) -> None:
    with served.client(Role.TERMS) as hsm:
        hsm.call(GenerateWorkKey("K0"))
        served.process.stop()
        found = hsm.call_each([GenerateWorkKey("K0")] * 3)
        assert {outcome.code for outcome in found} == {"HSM-GONE"}
        served.process = served.start()
