"""The attacks of hsm-and-ceremony.md 12.3 and further forgeries on an honest bundle: each fires its codes."""

import pytest

from hsm_sim.ceremony import verifier
from tests.verifier_attacks import ATTACKS, SIGNED_AGAIN
from tests.verifier_forged_keys import FAIR, KEY_FORGERIES, crashed_in_the_last_interval
from tests.verifier_forgeries import FORGERIES, exception_excuses_a_step, resigned
from tests.verifier_near_misses import FAIR_MISSES, NEAR_MISSES


def test_honest_control(attack):
    assert attack.codes() == set()
    attack.rebuild(SIGNED_AGAIN)
    assert attack.codes() == set()


@pytest.mark.parametrize(
    ("tamper", "codes"), [pytest.param(t, c, id=f"{n:02d}-{t.__name__}") for n, t, c in ATTACKS]
)
def test_attack(attack, tamper, codes):
    tamper(attack)
    assert set(codes.split()) <= attack.codes()


@pytest.mark.parametrize(
    ("tamper", "codes"),
    [pytest.param(t, c, id=t.__name__) for t, c in FORGERIES + KEY_FORGERIES + NEAR_MISSES],
)
def test_forgery(attack, tamper, codes):
    tamper(attack)
    assert set(codes.split()) <= attack.codes()


@pytest.mark.parametrize("change", FAIR + FAIR_MISSES, ids=lambda change: change.__name__)
def test_what_is_fair_passes(attack, change):
    change(attack)
    assert attack.codes() == set()


def test_a_witnessed_exception_turns_an_unscripted_step_into_a_warning(attack):
    exception_excuses_a_step(attack)
    verdict = verifier.verify(attack.folder, attack.trust)
    assert "CER-STEP" not in {entry["code"] for entry in verdict.findings}
    assert [entry["code"] for entry in verdict.warnings] == ["CER-STEP"]


def test_a_crash_that_is_owned_up_to_is_a_warning_with_its_bound(attack):
    crashed_in_the_last_interval(
        attack, {"clean": False, "firmware": "0001-SIM0", "unaccounted": 10_000}
    )
    verdict = verifier.verify(attack.folder, attack.trust)
    assert verdict.findings == []
    told = [(entry["code"], entry["found"]) for entry in verdict.warnings]
    assert told == [("USE-UNACC", "up to 10000 uses not counted")]


def test_a_roster_auditors_cosignature_is_welcome(attack):
    resigned(attack, attack.key.line, attack.people["ea1"].key.line)
    assert attack.codes() == set()
