"""Publicity 宣传: data of the public page, the leaflet from the same data, and the log of what was told where.

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
from registry.points.places import CLOSES, OPENS, STREETS, all_points
from registry.residence import fees, papers
from registry.residence.domain import Basis, ChipStatus, Kind
from registry.residence.tables import PermitRow

FEWEST = 10
ADULT = date(1985, 2, 13)  # a birth: the papers of the page are those of adults
CHANNELS = ("PAGE", "LEAFLET", "PRESS", "RADIO", "POSTER", "MEETING")


WORDS = {
    "zh": {
        "title": "深圳市居住证办理须知（盐田区试点）", "papers": "需要带的材料", "terms": "费用与时限",
        "points": "在哪里办", "counters": "目前进展", "questions": "常见问题",
        "terms_text": "工本费 {fee} 元；自受理之日起 {days} 个工作日内办结。",
        "hours": "全部受理点工作日 {opens}:00 至 {closes}:00 办公，可就近任选一处。",
        "code": "编号", "point": "受理点", "street": "街道", "windows": "窗口数",
        "status": "居住证状态", "count": "张数",
        "note": "数据截至 {as_of}。少于 10 的数字显示为 <10，页面不含个人信息。",
    },
    "en": {
        "title": "How to get a Shenzhen residence permit (Yantian pilot)", "papers": "What to bring",
        "terms": "Fee and time", "points": "Where to apply", "counters": "How far we are",
        "questions": "Questions",
        "terms_text": "Fee {fee} yuan; issued within {days} working days of acceptance.",
        "hours": "All points are open on working days from {opens}:00 to {closes}:00; go to any of them.",
        "code": "No.", "point": "Point", "street": "Street", "windows": "Windows",
        "status": "Permits that are", "count": "Number",
        "note": "Figures of {as_of}. Numbers below 10 are shown as <10; this page names nobody.",
    },
}  # fmt: skip
STATES = {
    "zh": {"PENDING": "待领取", "ACTIVE": "有效", "DORMANT": "休眠", "SUSPENDED": "挂失或暂停",
           "CANCELLED": "已注销"},
    "en": {"PENDING": "waiting for collection", "ACTIVE": "active", "DORMANT": "asleep",
           "SUSPENDED": "suspended or lost", "CANCELLED": "cancelled"},
}  # fmt: skip


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
        "as_of": day.isoformat(),
        "points": [
            {
                "code": one.code,
                "name": one.name_zh if zh else one.name_en,
                "street": STREETS[one.street][0 if zh else 1],
                "windows": one.windows,
            }
            for one in all_points()
        ],
        "opens": OPENS,
        "closes": CLOSES,
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
    words = WORDS[lang]
    lines = [f"# {words['title']}", "", f"## {words['papers']}", ""]
    lines += [f"- {text}" for text in data["papers"]]
    lines += ["", f"## {words['terms']}", "", terms(data, lang)]
    lines += ["", f"## {words['points']}", "", hours(data, lang), ""]
    lines += [f"- {one['code']} {one['name']} ({one['street']})" for one in data["points"]]
    for one in data["questions"]:
        lines += ["", f"## {one['q']}", "", one["a"]]
    return "\n".join([*lines, ""])


def terms(data: dict[str, Any], lang: str) -> str:
    """Fee and time in a sentence."""
    yuan, fen = divmod(data["fee_fen"], 100)
    return WORDS[lang]["terms_text"].format(fee=f"{yuan}.{fen:02d}", days=data["due_working_days"])


def hours(data: dict[str, Any], lang: str) -> str:
    """When the points are open, in a sentence."""
    return WORDS[lang]["hours"].format(opens=data["opens"], closes=data["closes"])


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
