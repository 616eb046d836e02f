"""Mutation test of the verifier: weaken any of its rules, and some bundle is judged otherwise."""

import pytest

from tests.verifier_mutants import EQUAL, GOLDEN, all_cases, mutants, noticed, survivors, table

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return all_cases(tmp_path_factory.mktemp("cases"))


def test_every_case_raises_the_codes_of_the_table_and_no_others(cases):
    assert table(cases) == GOLDEN
    assert all(case.codes <= set(GOLDEN[case.name]) for case in cases)


def test_a_rule_that_examines_nothing_is_noticed(cases):
    emptied = [mutant for mutant in mutants() if mutant.edit == "examines nothing"]
    assert len(emptied) == 45
    assert [str(mutant) for mutant in emptied if not noticed(mutant, cases)] == []


def test_every_weakening_is_noticed_or_known_to_change_nothing(cases):
    left = {(mutant.function, mutant.edit) for mutant in survivors(cases)}
    assert left == EQUAL
