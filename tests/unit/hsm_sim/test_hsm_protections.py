"""Each protection of the HSM is taken out in turn, in a copy of the source, and a test has to notice (13).

``protections.toml`` says where a protection stands, what the source becomes without it, and which test fails then.
A protection that moved is an error here: the text must stand in the file exactly once.
"""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TESTS = "tests/unit/hsm_sim"
SECONDS = 180


@dataclass(frozen=True)
class Protection:
    """`name` for people, `file` in hsm_sim, its text there, what that becomes, and the tests (file, -k)."""

    name: str
    file: str
    text: str
    without: str
    tests: str
    select: str


PROTECTIONS = [
    Protection(**row)
    for row in tomllib.loads((Path(__file__).parent / "protections.toml").read_text("utf-8"))[
        "protection"
    ]
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with a copy of `hsm_sim` and of its tests; everything else is linked."""
    folder = tmp_path_factory.mktemp("copy")
    ignore = shutil.ignore_patterns("__pycache__", "golden", "browser", "pcsc")
    for one in ROOT.iterdir():
        if one.name in ("hsm_sim", "tests"):
            shutil.copytree(one, folder / one.name, ignore=ignore)
        elif not one.name.startswith("."):
            (folder / one.name).symlink_to(one)
    return folder


def run(folder: Path, files: Sequence[str], select: str) -> int:
    """pytest's exit code for these tests of the copy: 0 passed, 1 failed, 5 none of that name."""
    options = ["-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m"]
    command = [sys.executable, *options, "not slow", "--basetemp", str(folder / "run")]
    command += [*(f"{TESTS}/{file}" for file in files), "-k", select]
    found = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True,
        check=False, timeout=SECONDS,
    )  # fmt: skip
    return found.returncode


@pytest.mark.slow
@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda one: one.name)
def test_without_it_a_test_fails(copy: Path, protection: Protection) -> None:
    path = copy / "hsm_sim" / protection.file
    source = path.read_text("utf-8")
    assert source.count(protection.text) == 1, "the protection moved"
    path.write_text(source.replace(protection.text, protection.without), "utf-8")
    try:
        assert run(copy, [protection.tests], protection.select) == 1
    finally:
        path.write_text(source, "utf-8")


@pytest.mark.slow
def test_with_all_of_them_the_same_tests_pass(copy: Path) -> None:
    files = sorted({one.tests for one in PROTECTIONS})
    assert run(copy, files, " or ".join(f"({one.select})" for one in PROTECTIONS)) == 0


SECRET_NAMES = {
    "mac", "mac1", "mac2", "mac3", "tac", "response", "tag", "cryptogram", "kcv", "check_value", "hmac",
}  # fmt: skip


def _names(node: ast.AST) -> set[str]:
    """The last names in an expression: `request.mac1` is mac1."""
    return {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)} | {
        one.id for one in ast.walk(node) if isinstance(one, ast.Name)
    }


def test_nothing_secret_is_compared_with_an_equal_sign() -> None:
    """R-38: MACs, TACs, tags and check values by `hmac.compare_digest` alone."""
    found = []
    for path in [*ROOT.glob("hsm_sim/*.py"), *ROOT.glob("hsm_sim/commands/*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
                if any(isinstance(one, ast.Constant) for one in (node.left, *node.comparators)):
                    continue  # a length or a letter
                if _names(node) & SECRET_NAMES and "len" not in _names(node):
                    found.append(f"{path.name}:{node.lineno}")
    assert found == []
