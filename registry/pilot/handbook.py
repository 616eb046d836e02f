"""Operations handbook 推行操作方案: workflow, parameters, forms, training, all from configuration (SD-60).

Versioned by the digest of its own text: another configuration is another handbook.
"""

import hashlib
from datetime import date

from core.db import Tx
from registry.pilot.parameters import rule_export
from registry.pilot.publicity import ADULT
from registry.pilot.stages import stages
from registry.pilot.workflow import version_on
from registry.points.readiness import Item
from registry.points.training import NEEDED, PASS_SCORE
from registry.residence import papers
from registry.residence.domain import Basis, Kind

CHAPTERS = ("Stages", "Workflow", "Parameters", "Forms", "Readiness of a point", "Training")


def handbook(tx: Tx, day: date) -> str:
    """The handbook of a day in Markdown; its last line is the digest of what stands above it."""
    version, limits = version_on(tx, day)
    chapters = (
        [f"{one.name} {one.name_zh}: {one.first} to {one.last}" for one in stages()],
        [f"version {version}", *(f"{state}: {days} working days" for state, days in limits.items())],
        [f"{row['page']} {row['parameter']} = {row['value']} ({row['rule']})" for row in rule_export(tx, day)],
        _forms(day),
        [str(item) for item in Item],
        [f"{who}: {', '.join(sorted(what))}, at least {PASS_SCORE}" for who, what in NEEDED.items()],
    )  # fmt: skip
    lines = [f"# Operations handbook 推行操作方案, {day}", ""]
    for number, (title, rows) in enumerate(zip(CHAPTERS, chapters, strict=True), 1):
        lines += [f"## {number} {title}", "", *(f"- {row}" for row in rows), ""]
    text = "\n".join(lines)
    return f"{text}\nVersion {hashlib.sha256(text.encode()).hexdigest()[:12]}\n"


def _forms(day: date) -> list[str]:
    """The papers of every kind of application and ground."""
    return [
        f"{kind} / {basis}: "
        + "; ".join(f"{paper.zh} {paper.en}" for paper in papers.required(kind, basis, ADULT, day))
        for kind in Kind
        for basis in Basis
    ]
