"""One spelling for free-text Chinese addresses, and their parts (residence.md 7.4).

`normalise` brings widths, numerals, unit words and prefixes to one form; `parse` cuts that form into
road, plate, compound, building, unit and room. Numbers are never guessed: what is not there stays empty.

>>> normalise("广东省深圳市盐田区沙头角街道深盐路２０８８号海涛花园三幢一门五百零二室")
'深盐路2088号海涛花园3栋1单元502房'
"""

import re
import unicodedata
from dataclasses import dataclass

MAX_TEXT = 120
_DIGITS = "零一二三四五六七八九"
_NUMERALS = {**{char: value for value, char in enumerate(_DIGITS)}, "〇": 0, "两": 2}
_POWERS = {"十": 10, "百": 100, "千": 1_000}
_UNIT_WORDS = "号楼栋幢座层门室房附之"
_NUMERAL = f"[{_DIGITS}〇两十百千]+"
_SUB_NUMERAL = re.compile(rf"([附之])({_NUMERAL})号?")  # before digits join on: 之三201房
_NUMBER = re.compile(rf"{_NUMERAL}(?=[{_UNIT_WORDS}]|单元|$|-)")
_PREFIXES = re.compile(
    r"^(?:中国|广东省?|深圳市?|盐田区|(?:沙头角|海山|盐田|梅沙)(?:街道办事处|街道|街办|镇)"
    r"|[一-鿿]{2,4}?(?:社区|居委会))+"
)
_DROPPED = re.compile(r"[\s,，.。、;；:：()（）\[\]【】'\"“”·#]+")
ALIASES = {
    "沙深路": "沙盐路",
    "深盐公路": "深盐路",
    "沙头角路": "沙盐路",
    "环梅沙路": "环梅路",
    "海山大道": "海山路",
    "北山大道": "北山道",
    "东海大道": "东海道",
}
_REWRITES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(\d+)号(?:附|之)(\d+)号?"), r"\1-\2号"),
    (re.compile(r"(\d+)附(\d+)号"), r"\1-\2号"),
    (re.compile(r"号(?:楼|栋|幢|座)"), "栋"),
    (re.compile(r"([0-9a-z])(?:幢|座|栋楼)"), r"\1栋"),
    (re.compile(r"([0-9a-z])门(?!牌)"), r"\1单元"),
    (re.compile(r"(\d)(?:号房|室|房间|号室)"), r"\1房"),
    (re.compile(r"(\d)(?:楼|f(?=\d|$))"), r"\1层"),
    (re.compile(r"(?<=[栋元层])0+(?=\d)"), ""),
)


@dataclass(frozen=True)
class Parts:
    """An address in parts. `plate` is the number and, with a hyphen, the sub-number 附号."""

    road: str = ""
    plate: str = ""
    compound: str = ""
    building: str = ""
    unit: str = ""
    room: str = ""

    @property
    def key(self) -> tuple[str, str, str, str, str, str]:
        """Everything: two texts with the same key name the same place."""
        return (self.road, self.plate, self.compound, self.building, self.unit, self.room)

    def __str__(self) -> str:
        return "".join(
            (
                self.road,
                f"{self.plate}号" if self.plate else "",
                self.compound,
                f"{self.building}栋" if self.building else "",
                f"{self.unit}单元" if self.unit else "",
                f"{self.room}房" if self.room else "",
            )
        )


def number_value(numeral: str) -> str:
    """Digits of a Chinese numeral, positional (二〇一) or with powers (二百零一).

    >>> number_value("一百零二"), number_value("二〇一"), number_value("十五"), number_value("二十")
    ('102', '201', '15', '20')
    """
    if not any(char in _POWERS for char in numeral):
        return "".join(str(_NUMERALS[char]) for char in numeral)
    total, digit = 0, 0
    for char in numeral:
        if char in _POWERS:
            total += (digit or 1) * _POWERS[char]
            digit = 0
        else:
            digit = _NUMERALS[char]
    return str(total + digit)


def normalise(text: str) -> str:
    """The one spelling; at most 120 characters are looked at."""
    plain = _DROPPED.sub("", unicodedata.normalize("NFKC", text[:MAX_TEXT])).lower()
    plain = plain.replace("—", "-").replace("–", "-").replace("~", "-")
    plain = _PREFIXES.sub("", plain, count=1)
    plain = _SUB_NUMERAL.sub(lambda found: f"{found[1]}{number_value(found[2])}号", plain)
    plain = _NUMBER.sub(lambda found: number_value(found.group()), plain)
    for pattern, wanted in _REWRITES:
        plain = pattern.sub(wanted, plain)
    for alias, name in ALIASES.items():
        if plain.startswith(alias):
            plain = name + plain[len(alias) :]
    return str(_cut(plain)) or plain


_GRAMMAR = re.compile(
    r"^(?P<road>[^\d]*?)"
    r"(?:(?P<plate>\d+(?:-\d+)?)号)?"
    r"(?P<compound>[^\d]*?)"
    r"(?:(?P<building>\d+|[a-z])栋)?"
    r"(?:(?P<unit>\d+|[a-z])单元)?"
    r"(?:(?P<floor>\d+)层)?"
    r"(?:(?P<room>\d+[a-z]?)房?)?$"
)
_DASHED = re.compile(r"^(?P<head>.*?\D)?(?P<building>\d+)-(?P<unit>\d+)-(?P<room>\d+)房?$")


def parse(text: str) -> Parts:
    """The parts of any text; empty parts when the grammar does not fit."""
    return _cut(normalise(text))


def _cut(plain: str) -> Parts:
    dashed = _DASHED.match(plain)
    if dashed:  # 3-1-502: building, unit, room
        head = dashed["head"] or ""
        plain = f"{head}{dashed['building']}栋{dashed['unit']}单元{dashed['room']}房"
    found = _GRAMMAR.match(plain)
    if not found:
        return Parts()
    floor, room = found["floor"] or "", found["room"] or ""
    if floor and room and len(room) <= 2:
        room = f"{int(floor)}{room:0>2}"
    plate = "-".join(str(int(part)) for part in (found["plate"] or "").split("-") if part)
    return Parts(
        found["road"], plate, found["compound"], (found["building"] or "").lstrip("0"),
        found["unit"] or "", room.lstrip("0"),
    )  # fmt: skip
