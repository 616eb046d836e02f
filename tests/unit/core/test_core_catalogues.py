"""Texts people read: every code that is raised has its entry, every event its sentence, in both languages."""

import ast
import runpy
from functools import cache
from pathlib import Path

import pytest

from core import events
from core.faults import PACKAGES, catalogue

ROOT = Path(__file__).parents[3]
ERRORS = {"Rejected", "NotFound", "NotAllowed", "DeviceFault", "Unavailable", "EvidenceMismatch"}


def test_the_page_of_faults_is_what_the_catalogue_says() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "make_docs.py"))
    wanted = script["page"]().rstrip("\n") + "\n"
    assert (ROOT / "docs" / "faults.md").read_text("utf-8") == wanted, "run scripts/make_docs.py"


@cache
def calls(packages: tuple[str, ...]) -> list[tuple[Path, ast.Call]]:
    return [
        (file, node)
        for package in packages
        for file in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call)
    ]


def name_of(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def test_every_code_that_is_raised_is_in_the_catalogue() -> None:
    known = catalogue()
    missing = {
        f"{file.relative_to(ROOT)}: {node.args[0].value}"
        for file, node in calls((*PACKAGES, "api", "cli"))
        if name_of(node.func) in ERRORS and node.args
        and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
        and node.args[0].value not in known
    }  # fmt: skip
    assert missing == set()


def test_every_event_that_is_appended_has_its_sentence() -> None:
    known = events.kinds()
    missing = {
        f"{file.relative_to(ROOT)}: {node.args[2].value}"
        for file, node in calls((*PACKAGES, "api", "cli"))
        if name_of(node.func) == "append" and len(node.args) >= 3
        and isinstance(node.args[2], ast.Constant) and isinstance(node.args[2].value, str)
        and "." in node.args[2].value and node.args[2].value not in known
    }  # fmt: skip
    assert missing == set()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_fault_says_what_to_do_next(lang: str) -> None:
    for fault in catalogue().values():
        title, action = fault.texts(lang, {})
        assert title.strip()
        assert action.strip()
        if lang == "zh":
            assert any("一" <= char <= "鿿" for char in title + action), fault.code
