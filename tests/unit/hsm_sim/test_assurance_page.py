"""docs/assurance.md names tests; each of them exists, and each claim has one."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "assurance.md").read_text("utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_the_evidence_exists(path, name):
    assert name in names_in(path)


def test_every_claim_has_evidence():
    claims = re.split(r"\n(?=\*\*\d\.\d )", PAGE.split("## What is not claimed")[0])[1:]
    assert len(claims) >= 15
    for claim in claims:
        assert re.search(r"`tests/[\w/]+\.py::\w+`", claim), claim.splitlines()[0]
