"""How commands answer: results to stdout, notes to stderr, one JSON object with ``--json``, stable exit codes.

Exit codes: 0 done, 1 ran well and the answer is no, 2 usage, 3 rejected, 4 not allowed, 5 a device wants
a person, 6 try again, 7 evidence mismatch, 70 bug (architecture.md 7).
"""

import json
import os
import sys
from typing import Any

from core.errors import CityError
from core.faults import explain

EXIT_NO = 1
EXIT_USAGE = 2
EXIT_BUG = 70


def language() -> str:
    """ "zh" when CITYCARD_LANG or the locale asks for Chinese, else "en"."""
    wanted = os.environ.get("CITYCARD_LANG") or os.environ.get("LANG", "")
    return "zh" if wanted.lower().startswith("zh") else "en"


def result(text: str) -> None:
    """One line of the command's answer."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Something the person may like to know; never part of the answer."""
    sys.stderr.write(text + "\n")


def json_object(value: Any) -> None:
    """The command's answer as one JSON object. Money is integer fen, identifiers are strings."""
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def error(fault: CityError, as_json: bool) -> None:
    """What went wrong and what to do next, with the code for colleagues."""
    lang = language()
    title, action = explain(fault, lang)
    if as_json:
        json_object(
            {
                "schema": "citycard/error/1",
                "code": fault.code,
                "title": title,
                "action": action,
                "facts": fault.facts,
            }
        )
        return
    note(f"{title}\n  → {action}\n  [{fault.code}]")
    if fault.detail:
        note(f"  {fault.detail}")
