"""What an applicant must bring, told once and completely 一次性告知 (residence.md 5.1)."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from core.errors import Rejected
from registry.parameters import PILOT, Policy
from registry.residence.domain import REPLACEMENTS, Basis, Kind

IDENTITY, PHOTO, ADDRESS, FEE = "identity", "photo", "address", "fee"
GUARDIAN, OLD_CARD = "guardian", "old_card"


@dataclass(frozen=True)
class Paper:
    """One item of the list with what it is called."""

    item: str
    zh: str
    en: str


_TEXTS = {
    IDENTITY: ("居民身份证", "identity card"),
    PHOTO: ("数码照相回执", "photo receipt"),
    ADDRESS: ("居住地址编码卡", "address-code card of the dwelling"),
    FEE: ("工本费缴费凭证", "receipt of the card fee"),
    GUARDIAN: ("监护人或近亲属证件", "document of a guardian or near relative"),
    OLD_CARD: ("旧居住证", "the old card"),
    Basis.EMPLOYMENT: ("用人单位用工登记", "the employer's record of the job"),
    Basis.BUSINESS: ("营业执照", "business licence"),
    Basis.PROPERTY: ("房产证明", "proof of the owned home"),
    Basis.STUDY: ("学籍证明", "proof of study"),
    Basis.TALENT: ("人才引进证明", "talent certificate"),
    Basis.DEPENDANT: ("随迁亲属关系证明及持证人居住证", "proof of kinship and the holder's permit"),
}


def required(
    kind: Kind, basis: Basis, birth: date, day: date, policy: Policy = PILOT
) -> tuple[Paper, ...]:
    """Everything this application needs, in the order of the counter."""
    items: list[str] = [IDENTITY, PHOTO, ADDRESS]
    if kind in (Kind.NEW, Kind.RENEW, Kind.CONVERT):
        items.append(basis)
    if kind not in (Kind.NEW, Kind.REPLACE_LOST):
        items.append(OLD_CARD)
    if under_age(birth, day, policy):
        items.append(GUARDIAN)
    items.append(FEE)
    return tuple(Paper(item, *_TEXTS[item]) for item in items)


def missing(needed: Collection[Paper], brought: Collection[str]) -> tuple[Paper, ...]:
    """What is not there yet. Raises Rejected E-PAPER for something that is on no list."""
    for item in brought:
        if item not in _TEXTS:
            raise Rejected("E-PAPER", "unknown paper", item=item)
    return tuple(paper for paper in needed if paper.item not in brought)


def notice(needed: Collection[Paper], brought: Collection[str], lang: str = "zh") -> str:
    """The printed list: every item with a mark, so that nobody comes a third time."""
    lacking = {paper.item for paper in missing(needed, brought)}
    head = "一次性告知单" if lang == "zh" else "Complete list of what is needed"
    lines = [
        ("□ " if paper.item in lacking else "■ ") + (paper.zh if lang == "zh" else paper.en)
        for paper in needed
    ]
    return "\n".join((head, *lines))


def under_age(birth: date, day: date, policy: Policy = PILOT) -> bool:
    """Whether a guardian must apply."""
    years = day.year - birth.year - ((day.month, day.day) < (birth.month, birth.day))
    return years < policy.adult_age


def replaces(kind: Kind) -> bool:
    """Whether the old card is dead from the order on."""
    return kind in REPLACEMENTS
