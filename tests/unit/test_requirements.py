"""Every sentence of the order has something that shows it, and what is named exists (docs/requirements.md)."""

import ast
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import typer

from cli.commands import NOUNS
from registry.pilot.tasks import duties

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "requirements.md"
ROW = re.compile(r"^\| (SD-\d\d) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)


def rows() -> dict[str, list[str]]:
    """What shows each row, by its number."""
    found = ROW.findall(PAGE.read_text("utf-8"))
    assert len(found) == len({one[0] for one in found}), "a row stands twice"
    return {number: re.findall(r"`([^`]+)`", shown) for number, _, _, shown in found}


@cache
def functions(path: Path) -> frozenset[str]:
    """The names of a test file's functions."""
    tree = ast.parse(path.read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, kinds))


def problem(shown: str) -> str:
    """Why something that is named does not count; empty when it does."""
    if shown.startswith("citycard "):
        return _command_problem(shown.split()[1:])
    path, _, name = shown.partition("::")
    if not path.startswith("tests/") or not name.startswith("test_"):
        return "neither a test nor a command"
    if not (ROOT / path).is_file():
        return "no such file"
    return "" if name in functions(ROOT / path) else "no such test"


def _command_problem(words: list[str]) -> str:
    if words[0] not in NOUNS:
        return "no such noun"
    noun = NOUNS[words[0]]
    found = getattr(import_module(f"cli.{noun.module}"), noun.name)
    verbs = [word for word in words[1:] if not word.startswith("-")]
    if not isinstance(found, typer.Typer):
        return "takes no verb" if verbs else ""
    known = typer.main.get_group(found).commands
    return "" if verbs and verbs[0] in known else "no such verb"


def test_every_sentence_of_the_order_has_something_that_shows_it() -> None:
    found = rows()
    assert sorted(found) == [duty.id for duty in duties()]
    assert len(found) == 60
    assert [number for number, shown in found.items() if not shown] == []


def test_what_is_named_exists() -> None:
    wrong = {
        f"{number}: {one}": why
        for number, shown in rows().items()
        for one in shown
        if (why := problem(one))
    }
    assert wrong == {}


def test_the_check_itself_notices() -> None:
    me = "tests/unit/test_requirements.py"
    assert problem(f"{me}::test_the_check_itself_notices") == ""
    assert problem(f"{me}::test_of_nothing") == "no such test"
    assert problem("tests/unit/nowhere.py::test_x") == "no such file"
    assert problem("a nice idea") == "neither a test nor a command"
    assert problem("citycard pilot run") == problem("citycard doctor") == ""
    assert problem("citycard pilot fly") == "no such verb"
    assert problem("citycard weather") == "no such noun"
    assert problem("citycard doctor run") == "takes no verb"
