"""The summary report to read, in English or Chinese: the same snapshot, the same rows, other words.

Words are data (``report_words.toml``); what has none, codes and names above all, stays as it is.
"""

import tomllib
from functools import cache
from importlib import resources
from itertools import groupby
from typing import Any

from registry.pilot.summary import Snapshot, columns, digest

Row = dict[str, Any]


@cache
def words() -> dict[str, dict[str, Any]]:
    """The tables of the file."""
    text = resources.files("registry.pilot").joinpath("report_words.toml").read_text("utf-8")
    return tomllib.loads(text)


def markdown(snapshot: Snapshot, lang: str = "en") -> str:
    """The report in Markdown; a section without rows says so."""
    zh = lang == "zh"
    title = "深圳市居住证试点总结报告" if zh else "Summary of the residence permit pilot"
    lines = [f"# {title}, {snapshot['as_of']}", ""]
    for heading, rows in snapshot["sections"].items():
        number = heading.split()[0]
        lines += [f"## {words()['title'][number] if zh else heading}", ""]
        for _, alike in groupby((_named(row, zh) for row in rows), tuple):
            lines += [*_table(list(alike), zh), ""]  # rows of another form get a table of their own
        if not rows:
            lines += ["无记录。" if zh else "Nothing was recorded.", ""]
    seal = "数据 SHA-256" if zh else "SHA-256 of the data"
    return "\n".join([*lines, f"{seal}: {digest(snapshot)}", ""])


def _named(row: Row, zh: bool) -> Row:
    """A row of the indicators with the name of its indicator."""
    code = row.get("indicator")
    if code is None:
        return row
    names = words()["indicator"].get(code, (code, code))
    rest = {name: value for name, value in row.items() if name != "indicator"}
    return {"indicator": code, "name": names[0 if zh else 1], **rest}


def _table(rows: list[Row], zh: bool) -> list[str]:
    names = columns(rows)
    shown = [words()["column"].get(name, name) if zh else name.replace("_", " ") for name in names]
    return [
        "| " + " | ".join(shown) + " |",
        "|" + " --- |" * len(names),
        *("| " + " | ".join(_cell(row.get(name), zh) for name in names) + " |" for row in rows),
    ]


def _cell(value: Any, zh: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        value = "yes" if value else "no"
    text = str(value).replace("|", "/").replace("\n", " ")
    return in_chinese(text) if zh else text


def in_chinese(text: str) -> str:
    """The Chinese words for a cell, as far as there are any.

    >>> in_chinese("NOT_MET"), in_chinese("sleeps EMP ENDED"), in_chinese("440308")
    ('未达标', '休眠 EMP ENDED', '440308')
    """
    exact = words()["value"].get(text)
    if exact is not None:
        return str(exact)
    for head, other in words()["begins"].items():
        if text.startswith(head):
            return f"{other}{text.removeprefix(head)}"
    return text
