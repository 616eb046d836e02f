"""Publicity 宣传: the public page and the leaflet from one set of data, and the log of what was told where.

No personal data: counts below `FEWEST` people are shown as such, and the texts are the catalogue's own. The
points, papers, fee and due days come from where the counters take them.
"""

import tomllib
from collections import Counter
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

from sqlalchemy import func, select

from core.clock import Clock, business_date
from core.db import Tx
from core.errors import Rejected
from core.ids import uuid7
from registry.pilot.parameters import policy_on
from registry.pilot.tables import PublicityRow
from registry.points.places import all_points
from registry.residence import fees, papers
from registry.residence.domain import Basis, ChipStatus, Kind
from registry.residence.tables import PermitRow

FEWEST = 10
ADULT = date(1985, 2, 13)  # a birth: the papers of the page are those of adults
CHANNELS = ("PAGE", "LEAFLET", "PRESS", "RADIO", "POSTER", "MEETING")


@dataclass(frozen=True)
class Question:
    """One of the page's questions."""

    zh: str
    en: str
    answer_zh: str
    answer_en: str


@cache
def questions() -> tuple[Question, ...]:
    """All of them, in order."""
    text = resources.files("registry.pilot").joinpath("faq.toml").read_text("utf-8")
    return tuple(Question(**entry) for entry in tomllib.loads(text)["question"])


def counter(count: int) -> str:
    """A count that tells nobody apart.

    >>> counter(9), counter(10), counter(0)
    ('<10', '10', '<10')
    """
    return str(count) if count >= FEWEST else f"<{FEWEST}"


def page(tx: Tx, day: date, lang: str = "zh") -> dict[str, Any]:
    """The page's data in one language: 23 points, papers, fee in fen, due days, counters, questions."""
    zh = lang == "zh"
    policy = policy_on(tx, day)
    needed = papers.required(Kind.NEW, Basis.EMPLOYMENT, ADULT, day, policy)
    found = tx.execute(select(PermitRow.status, func.count()).group_by(PermitRow.status)).all()
    counts = {ChipStatus(status).name: count for status, count in found}
    return {
        "points": [
            {"code": one.code, "name": one.name_zh if zh else one.name_en} for one in all_points()
        ],
        "papers": [paper.zh if zh else paper.en for paper in needed],
        "fee_fen": fees.price(tx, Kind.NEW, day, policy),
        "due_working_days": policy.working_days,
        "counters": {one.name: counter(counts.get(one.name, 0)) for one in ChipStatus},
        "questions": [
            {"q": one.zh if zh else one.en, "a": one.answer_zh if zh else one.answer_en}
            for one in questions()
        ],
    }


def leaflet(data: dict[str, Any], lang: str = "zh") -> str:
    """The leaflet in Markdown, from the page's data and nothing else."""
    zh = lang == "zh"
    yuan, fen = divmod(data["fee_fen"], 100)
    lines = ["# 深圳市居住证办理须知" if zh else "# How to get a residence permit", ""]
    lines += [f"- {text}" for text in data["papers"]]
    fee = f"{yuan}.{fen:02d}"
    days = data["due_working_days"]
    if zh:
        lines += ["", f"工本费 {fee} 元；{days} 个工作日内办结。", ""]
    else:
        lines += ["", f"Fee {fee} yuan; issued within {days} working days.", ""]
    lines += [f"- {one['code']} {one['name']}" for one in data["points"]]
    for one in data["questions"]:
        lines += ["", f"## {one['q']}", "", one["a"]]
    return "\n".join([*lines, ""])


def log(tx: Tx, clock: Clock, channel: str, title: str) -> None:
    """Something was told to the public today. Raises Rejected E-CHANNEL for an unknown channel or no title."""
    if channel not in CHANNELS or not title.strip():
        raise Rejected("E-CHANNEL", "a channel and a title", channel=channel)
    tx.add(
        PublicityRow(
            id=uuid7(clock.now()), channel=channel, told_on=business_date(clock.now()),
            title=title.strip()[:200],
        )
    )  # fmt: skip
    tx.flush()


def by_channel(tx: Tx) -> dict[str, int]:
    """How often each channel was used, for the summary."""
    counts = Counter(tx.scalars(select(PublicityRow.channel)))
    return {channel: counts[channel] for channel in CHANNELS}
