"""The public page as one HTML file for any server or printer: no script, no link to elsewhere, nobody named.

Everything on it comes from `publicity.page`; the words stand beside the data there.
"""

from html import escape
from typing import Any

from registry.pilot.publicity import STATES, WORDS, hours, terms

STYLE = """
body{font-family:"Noto Sans CJK SC","Noto Sans SC",system-ui,sans-serif;line-height:1.6;color:#1c2733;
max-width:52rem;margin:0 auto;padding:1.5rem}
h1{font-size:1.7rem;border-bottom:3px solid #9b1c1c;padding-bottom:.4rem}
h2{font-size:1.2rem;margin-top:1.8rem;color:#7a1616}
table{border-collapse:collapse;width:100%}
th,td{border:1px solid #c5ccd3;padding:.3rem .6rem;text-align:left}
th{background:#f2f4f6}table th:last-child,table td:last-child{text-align:right}
dt{font-weight:600;margin-top:.8rem}dd{margin:.2rem 0 0 0}
footer{margin-top:2rem;font-size:.85rem;color:#49545f}
@media print{body{max-width:none;padding:0}h2{break-after:avoid}tr,dd{break-inside:avoid}}
"""


def html(data: dict[str, Any], lang: str = "zh") -> str:
    """The page in one language, from the data of `publicity.page` in that language."""
    words = WORDS[lang]
    title = escape(words["title"])
    papers = "".join(f"<li>{escape(text)}</li>" for text in data["papers"])
    rows = [(one["code"], one["name"], one["street"], one["windows"]) for one in data["points"]]
    counters = [(STATES[lang][name], count) for name, count in data["counters"].items()]
    answers = "".join(
        f"<dt>{escape(one['q'])}</dt><dd>{escape(one['a'])}</dd>" for one in data["questions"]
    )
    sections = (
        (words["papers"], f"<ol>{papers}</ol>"),
        (words["terms"], f"<p>{escape(terms(data, lang))}</p>"),
        (
            words["points"],
            f"<p>{escape(hours(data, lang))}</p>"
            + _table([words[name] for name in ("code", "point", "street", "windows")], rows),
        ),
        (words["counters"], _table([words["status"], words["count"]], counters)),
        (words["questions"], f"<dl>{answers}</dl>"),
    )
    body = "".join(f"<section><h2>{escape(name)}</h2>{text}</section>" for name, text in sections)
    note = escape(words["note"].format(as_of=data["as_of"]))
    return (
        f'<!DOCTYPE html>\n<html lang="{"zh-CN" if lang == "zh" else "en"}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body><main><h1>{title}</h1>{body}</main>"
        f"<footer>{note}</footer></body></html>\n"
    )


def _table(names: list[str], rows: list[tuple[Any, ...]]) -> str:
    """Rows under their names; the last column holds numbers."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
