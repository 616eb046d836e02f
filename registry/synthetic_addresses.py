"""Written addresses as people write them, with the code each one means: gold samples for matching (7.5 A6).

`town` makes coded rooms of all kinds (village houses, compounds with buildings and units); `gold_sample` writes
them down with other widths, numerals, unit words, prefixes, aliases and slips of the pen. Seeded.
"""

import random
from collections.abc import Callable

from registry.rental.normalise import ALIASES, number_value

ROADS = (
    ("440308003", ("深盐路", "沙盐路", "金融路", "官下路")),
    ("440308004", ("海景路", "海山路", "梧桐路", "鹏湾路")),
    ("440308002", ("东海道", "北山道", "盐田路", "永安路")),
    ("440308001", ("梅沙路", "环梅路", "彩陶路", "大梅沙村", "小梅沙村")),
)
COMPOUNDS = ("海涛花园", "东埔福苑", "碧海名峰", "翡翠岛", "半山悦海", "蓝郡广场", "鹏湾花园")
_NUMERALS = "零一二三四五六七八九"
_WRONG = {
    "深": "身",
    "盐": "延",
    "海": "每",
    "景": "井",
    "山": "三",
    "梅": "悔",
    "东": "冬",
    "北": "背",
}
GOLD_KINDS = ("plain", "style", "alias", "misspelt", "short", "unknown")


def town(rooms: int, seed: int = 1) -> list[tuple[str, str]]:
    """(code, text) of about `rooms` coded rooms; every key occurs once."""
    dice = random.Random(f"town:{seed}")  # noqa: S311 - invented places
    found: dict[str, str] = {}
    building_no = 0
    while len(found) < rooms:
        street, roads = dice.choice(ROADS)
        road, plate = dice.choice(roads), dice.randrange(1, 400)
        compound = dice.choice(COMPOUNDS) if dice.random() < 0.4 else ""
        buildings = range(1, dice.randrange(2, 6)) if compound else range(1)
        for building in buildings:
            building_no += 1
            base = f"{street}{1 + building_no % 5:03d}{1 + building_no % 6:02d}{building_no % 100_000:05d}"
            head = f"盐田区{road}{plate}号{compound}" + (f"{building}栋" if building else "")
            for floor in range(1, dice.randrange(3, 9)):
                for room in range(1, dice.randrange(2, 6)):
                    found[f"{base}{floor:03d}{room:03d}"] = f"{head}{floor}{room:02d}房"
    unique = {text: code for code, text in sorted(found.items(), reverse=True)}
    return [(code, text) for text, code in unique.items()][:rooms]


def gold_sample(places: list[tuple[str, str]], size: int, seed: int = 1) -> dict[str, str | None]:
    """`size` written texts and the code each means, None for a place that does not exist."""
    dice = random.Random(f"gold:{seed}")  # noqa: S311 - invented texts
    known = {text for _, text in places}
    found: dict[str, str | None] = {}
    while len(found) < size:
        code, text = dice.choice(places)
        kind = dice.choices(GOLD_KINDS, weights=(25, 45, 10, 10, 5, 5))[0]
        written, meant = _write(kind, text, code, dice, known)
        found.setdefault(written, meant)
    return found


def _write(
    kind: str, text: str, code: str, dice: random.Random, known: set[str]
) -> tuple[str, str | None]:
    if kind == "plain":
        return text, code
    if kind == "style":
        return styled(text, dice), code
    if kind == "alias":
        for alias, road in ALIASES.items():
            if road in text:
                return text.replace(road, alias), code
        return styled(text, dice), code
    if kind == "misspelt":
        head, tail = text[:3], text[3:]
        for right, wrong in _WRONG.items():
            if right in tail[:2]:
                return head + tail.replace(right, wrong, 1), code
        return styled(text, dice), code
    if kind == "short":  # no room: nobody can tell which
        return text[: text.rindex("号") + 1], None
    ghost = text.replace("号", f"{dice.randrange(10)}号", 1)
    return (ghost, None) if ghost not in known else (text, code)


def styled(text: str, dice: random.Random) -> str:
    """The same place in another hand."""
    styles: tuple[Callable[[str], str], ...] = (
        lambda t: "广东省深圳市" + t,
        lambda t: t.replace("盐田区", "深圳市盐田区沙头角街道", 1),
        lambda t: t.removeprefix("盐田区"),
        lambda t: t.replace("房", "室"),
        lambda t: t.replace("房", "号房"),
        lambda t: t.replace("栋", dice.choice(("座", "幢", "号楼"))),
        lambda t: "".join(chr(ord(c) + 0xFEE0) if c.isascii() and c.isdigit() else c for c in t),
        lambda t: t.replace("号", "号 ").replace("栋", "栋，"),
        _in_numerals,
    )
    for style in dice.sample(styles, dice.randrange(1, 4)):
        text = style(text)
    return text


def _in_numerals(text: str) -> str:
    """Building numbers as Chinese numerals: 3栋 as 三栋."""
    at = text.find("栋")
    if at > 0 and text[at - 1] in "123456789" and not text[at - 2].isdigit():
        numeral = _NUMERALS[int(text[at - 1])]
        if number_value(numeral) != text[at - 1]:
            raise AssertionError("a numeral and its value differ")
        return text[: at - 1] + numeral + text[at:]
    return text
