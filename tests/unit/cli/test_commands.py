"""The command line as a whole: every noun is there, help costs nothing, usage errors are exit 2."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from cli.commands import NOUNS

CLI = Path(__file__).parents[3] / "cli"
SHELL = {"__init__", "main", "commands", "output"}


def citycard(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        capture_output=True,
        text=True,
        cwd=CLI.parent,
    )


def test_help_lists_every_noun_and_imports_none_of_them() -> None:
    script = (
        "import sys; sys.argv = ['citycard', '--help']\n"
        "from cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print('LOADED', sorted(m for m in sys.modules if m.split('.')[0] in "
        "('sqlalchemy', 'cryptography', 'fastapi', 'rich', 'numpy', 'PIL', 'cardos', 'payments')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=CLI.parent, check=True
    )
    assert all(f"  {noun} " in done.stdout for noun in NOUNS)
    assert "LOADED []" in done.stdout


def test_every_noun_answers_for_itself() -> None:
    """In one process, for its sake: each noun's help, and whatever did not end with 0."""
    script = (
        "import sys; from cli.main import main; from cli.commands import NOUNS\n"
        "for noun in sorted(NOUNS):\n"
        "    sys.argv = ['citycard', noun, '--help']\n"
        "    try: main()\n"
        "    except SystemExit as end: print('END', noun, end.code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=CLI.parent
    )
    assert re.findall(r"^END (.*)", done.stdout, re.M) == [f"{noun} 0" for noun in sorted(NOUNS)], (
        done.stderr
    )
    assert done.stdout.count("Usage: ") == len(NOUNS)


def test_the_version_is_the_packages() -> None:
    assert citycard("--version").stdout == f"citycard {version('citycard')}\n"


def test_every_module_of_commands_is_reachable() -> None:
    """A module is a noun's own or is imported by one that is."""
    modules = {file.stem for file in CLI.glob("*.py")} - SHELL
    named = {noun.module for noun in NOUNS.values()}
    imported = {
        module
        for module in modules
        for file in CLI.glob("*.py")
        if file.stem != module
        and re.search(rf"cli\.{module}\b|from cli import .*\b{module}\b", file.read_text("utf-8"))
    }
    assert modules <= named | imported


def test_an_unknown_word_is_a_usage_error() -> None:
    done = citycard("nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nonsense" in done.stderr
