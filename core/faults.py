"""The fault catalogue: what a person reads when something goes wrong, in both languages.

Each package may hold a ``faults.toml``; a table per code::

    [P-F01]
    title_en = "The card feeder is empty."
    title_zh = "进卡盒已空。"
    action_en = "Load blank cards and press Enter."
    action_zh = "请装入空白卡后按回车键。"
    who = "card_operator"

``title`` says what happened, ``action`` what to do next, ``who`` who may do it. Texts may quote the
error's facts in braces. The command line, the API's problem documents and ``docs/faults.md`` are
made from this catalogue alone.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from core.errors import CityError

PACKAGES = (
    "core", "cardos", "hsm_sim", "printer", "registry", "personalization", "payments", "runtime",
)  # fmt: skip
FIELDS = {"title_en", "title_zh", "action_en", "action_zh", "who"}


@dataclass(frozen=True)
class Fault:
    """One catalogue entry."""

    code: str
    title_en: str
    title_zh: str
    action_en: str
    action_zh: str
    who: str

    def texts(self, lang: str, facts: Mapping[str, str | int]) -> tuple[str, str]:
        """Title and action in `lang` ("en" or "zh") with the facts filled in."""
        title, action = (
            (self.title_zh, self.action_zh) if lang == "zh" else (self.title_en, self.action_en)
        )
        return _fill(title, facts), _fill(action, facts)


class _Missing(dict[str, str | int]):
    def __missing__(self, key: str) -> str:
        return f"{{{key}}}"


def _fill(text: str, facts: Mapping[str, str | int]) -> str:
    return text.format_map(_Missing(facts))


@cache
def catalogue(only: str = "") -> dict[str, Fault]:
    """All faults of all packages (or of one) by code. A duplicate or incomplete entry is a bug."""
    found: dict[str, Fault] = {}
    for package in (only,) if only else PACKAGES:
        try:
            text = resources.files(package).joinpath("faults.toml").read_text("utf-8")
        except (FileNotFoundError, ModuleNotFoundError):
            continue
        for code, entry in tomllib.loads(text).items():
            if code in found:
                raise AssertionError(f"fault {code} is defined twice, again in {package}")
            if set(entry) != FIELDS:
                raise AssertionError(f"fault {code} in {package} needs exactly {sorted(FIELDS)}")
            found[code] = Fault(code, **entry)
    return found


def explain(error: CityError, lang: str = "en") -> tuple[str, str]:
    """Title and next step for a person; an uncatalogued code falls back to the bare code."""
    fault = catalogue().get(error.code)
    if fault is None:
        return (error.code, error.detail)
    return fault.texts(lang, error.facts)
