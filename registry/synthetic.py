"""A synthetic city: residents, employers, addresses (residence.md 18). Zero real people.

Every identifier passes its check but lies in a range nobody was ever given: citizen ids start with 99,
organisation codes with PDY, telephones with 100, purses with 9156. The same seed gives the same city.
"""

import random
from dataclasses import dataclass
from datetime import date, timedelta

from registry import portrait
from registry.identifiers import make_citizen_id, make_organisation_code
from registry.points.places import all_points

SEED = 20070501
MAX_RESIDENTS = 200_000  # the whole district of residence.md 18 and a margin
PRESENT_DAY = date(2007, 5, 1)

_PROVINCES = (
    ("43", "湖南省", 21), ("44", "广东省", 19), ("51", "四川省", 11), ("42", "湖北省", 9),
    ("45", "广西壮族自治区", 9), ("36", "江西省", 8), ("41", "河南省", 8), ("52", "贵州省", 4),
    ("61", "陕西省", 3), ("34", "安徽省", 8),
)  # fmt: skip
_TOWNS = (
    "安平县",
    "和顺县",
    "长乐县",
    "清河县",
    "永宁县",
    "新兴县",
    "南华县",
    "东明县",
    "西林县",
    "北流县",
)
_SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程"
    "苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严"
)
_LONG_SURNAMES = ("欧阳", "司马", "上官", "诸葛")
_GIVEN_MALE = "伟强磊军勇杰涛明超辉刚平健波鹏斌宇浩凯峰志文建国海龙飞林东俊"
_GIVEN_FEMALE = "芳娜敏静丽艳娟霞玲桂英梅兰红燕萍雪婷慧莹倩秀珍琳云洁佳欣怡月"
_STREETS = {
    "440308003": ("深盐路", "沙盐路", "金融路"),
    "440308004": ("海景路", "海山路"),
    "440308002": ("东海道", "北山道"),
    "440308001": ("梅沙路", "环梅路"),
}
_SECTORS = ("物流", "珠宝", "电子", "玩具", "餐饮", "酒店", "商贸", "建筑", "物业", "港务")
_FANCIES = ("海晖", "东港", "盐海", "明星", "永泰", "鹏程", "新洲", "瑞丰", "恒安", "金沙")


@dataclass(frozen=True, repr=False, slots=True)
class Resident:
    """One synthetic person. `sex` GB/T 2261.1, `ethnic` GB/T 3304."""

    citizen_id: str
    name: str
    sex: int
    ethnic: int
    birth: date
    household_address: str
    phone: str

    def portrait(self) -> bytes:
        """The drawn JPEG."""
        age = PRESENT_DAY.year - self.birth.year
        return portrait.draw(self.citizen_id, self.sex, age)


@dataclass(frozen=True, slots=True)
class Employer:
    """One synthetic employer at one of the addresses."""

    code: str
    name: str
    address_code: str
    headcount: int


@dataclass(frozen=True, slots=True)
class Address:
    """One coded dwelling; `station` is the rental station that looks after it."""

    code: str
    text: str
    station: str


def residents(count: int, seed: int = SEED) -> list[Resident]:
    """`count` people with different citizen ids."""
    if not 0 <= count <= MAX_RESIDENTS:
        raise ValueError(f"at most {MAX_RESIDENTS} residents")
    dice = random.Random(f"residents:{seed}")  # noqa: S311 - invented people, not secrets
    found: dict[str, Resident] = {}
    while len(found) < count:
        person = _resident(dice)
        found.setdefault(person.citizen_id, person)
    return list(found.values())


def _resident(dice: random.Random) -> Resident:
    province, province_name, _ = dice.choices(
        _PROVINCES, weights=[weight for *_, weight in _PROVINCES]
    )[0]
    sex = 2 if dice.random() < 0.52 else 1
    birth = _birth(dice)
    sequence = dice.randrange(0, 500) * 2 + (1 if sex == 1 else 0)
    return Resident(
        citizen_id=make_citizen_id(f"99{province}00", birth, sequence),
        name=_name(dice, sex),
        sex=sex,
        ethnic=8 if province == "45" and dice.random() < 0.3 else 1,  # 08 Zhuang, 01 Han
        birth=birth,
        household_address=f"{province_name}{dice.choice(_TOWNS)}{dice.randrange(1, 90)}号",
        phone=f"100{dice.randrange(10**8):08d}",
    )


def _birth(dice: random.Random) -> date:
    mean, spread = (24, 4) if dice.random() < 0.6 else (35, 8)
    age = min(60, max(17, round(dice.gauss(mean, spread))))
    return date(PRESENT_DAY.year - age - 1, 5, 2) + timedelta(days=dice.randrange(364))


def _name(dice: random.Random, sex: int) -> str:
    surname = dice.choice(_LONG_SURNAMES) if dice.random() < 0.03 else dice.choice(_SURNAMES)
    pool = _GIVEN_MALE if sex == 1 else _GIVEN_FEMALE
    return surname + "".join(dice.sample(pool, 2 if dice.random() < 0.75 else 1))


def addresses(count: int, seed: int = SEED) -> list[Address]:
    """`count` rooms with different codes and texts, spread over the 18 communities in turn."""
    dice = random.Random(f"addresses:{seed}")  # noqa: S311 - invented places
    stations = [point for point in all_points() if point.kind == "rental"]
    per_street: dict[str, int] = {}
    community: dict[str, int] = {}
    for point in stations:
        per_street[point.street] = per_street.get(point.street, 0) + 1
        community[point.code] = per_street[point.street]
    found: dict[str, Address] = {}
    texts = set[str]()
    while len(found) < count:
        point = stations[len(found) % len(stations)]
        building, floor, room = dice.randrange(1, 900), dice.randrange(1, 8), dice.randrange(1, 9)
        grid = building % 6 + 1
        code = f"{point.street}{community[point.code]:03d}{grid:02d}{building:05d}{floor:03d}{room:03d}"
        road = dice.choice(_STREETS[point.street])
        text = f"盐田区{road}{building}号{floor}{room:02d}房"
        if code not in found and text not in texts:  # one road runs through several communities
            texts.add(text)
            found[code] = Address(code, text, point.code)
    return list(found.values())


def employers(count: int, places: list[Address], seed: int = SEED) -> list[Employer]:
    """`count` employers at the given addresses in turn."""
    dice = random.Random(f"employers:{seed}")  # noqa: S311 - invented companies
    found = []
    for index in range(count):
        name = f"深圳{dice.choice(_FANCIES)}{dice.choice(_SECTORS)}{index + 1}有限公司"
        headcount = min(4_000, max(1, round(dice.lognormvariate(2.5, 1.4))))
        found.append(
            Employer(
                make_organisation_code(f"PDY{index + 1:05d}"),
                name,
                places[index % len(places)].code,
                headcount,
            )
        )
    return found
