"""Card art: a template and a person's record become the layers a printer prints, and their proof (printer.md 7).

Everything here is pure: the same template and record give the same pixels, so the proof an approver sees
is what comes out of the machine. Coordinates in templates are millimetres from the card's top left corner.
"""

import hashlib
import io
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
import segno
from PIL import Image, UnidentifiedImageError

from core.errors import Rejected
from personalization import typeface
from personalization.cardstock import Preprint, preprinted
from personalization.typeface import Style
from printer.port import DPI, HEIGHT, WIDTH, Layers, Plane, Side
from printer.raster import printed

PIXELS_PER_MM = DPI / 25.4
CARD_MM = (85.60, 53.98)
PHOTO_SOURCE = (358, 441)  # GA 461: 26 x 32 mm at 350 dpi
PHOTO_CORNER = 24
PHOTO_WHITE = 245
QR_VERSION, QR_QUIET, QR_MODULE = 2, 4, 5
SYMBOLS = 64  # kept; they say card serials only
NAME_SHRINK = 0.7
SHRINK_STEP_PT = 0.25
MAX_TEMPLATE_BYTES = 65_536

# GB/T 3304, codes 01 to 56.
ETHNIC_GROUPS = (
    "汉", "蒙古", "回", "藏", "维吾尔", "苗", "彝", "壮", "布依", "朝鲜", "满", "侗", "瑶", "白",
    "土家", "哈尼", "哈萨克", "傣", "黎", "傈僳", "佤", "畲", "高山", "拉祜", "水", "东乡",
    "纳西", "景颇", "柯尔克孜", "土", "达斡尔", "仫佬", "羌", "布朗", "撒拉", "毛南", "仡佬",
    "锡伯", "阿昌", "普米", "塔吉克", "怒", "乌孜别克", "俄罗斯", "鄂温克", "德昂", "保安",
    "裕固", "京", "塔塔尔", "独龙", "鄂伦春", "赫哲", "门巴", "珞巴", "基诺",
)  # fmt: skip


@dataclass(frozen=True)
class Field:
    """One thing the printer prints. `box` is x, y, width, height in mm."""

    side: Side
    name: str
    layer: str
    kind: str
    box: tuple[float, float, float, float]
    source: str
    font: str = "regular"
    size_pt: float = 8
    min_pt: float = 6
    align: str = "left"
    valign: str = "middle"
    max_lines: int = 1

    def pixels(self) -> tuple[int, int, int, int]:
        """Left, top, width, height on the print area."""
        return box_pixels(self.box)


@dataclass(frozen=True)
class Template:
    """A released design. `sha256` of its file goes into the job record."""

    name: str
    version: int
    stock: str
    ribbon: str
    sides: tuple[Side, ...]
    preprints: tuple[Preprint, ...]
    fields: tuple[Field, ...]
    overlay_sides: tuple[Side, ...]
    keepouts: tuple[tuple[Side, tuple[float, float, float, float]], ...]
    sha256: str = field(repr=False)


@dataclass(frozen=True, repr=False)
class Record:
    """What a card shows of a person. Texts by source name; `photo` is the JPEG of the photo rule."""

    texts: Mapping[str, str]
    photo: bytes


def record(
    *,
    name: str,
    sex: int,
    ethnic: int,
    birth: tuple[int, int, int],
    citizen_id: str,
    household_address: str,
    residence_address: str,
    permit_no: str,
    issuer: str,
    valid: tuple[str, str],
    card_serial: str,
    photo: bytes,
) -> Record:
    """The texts of a card from the register's values.

    `sex` GB/T 2261.1, `ethnic` GB/T 3304 (1 to 56), `birth` year, month, day, `valid` two dates as
    ``2007.06.18``, `card_serial` 14 digits. Rejected A-FIELD when a code has no text.
    """
    if sex not in (1, 2) or not 1 <= ethnic <= len(ETHNIC_GROUPS):
        raise Rejected("A-FIELD", f"sex {sex}, ethnic {ethnic}", field="sex, ethnic")
    if len(card_serial) != 14 or not card_serial.isdigit():
        raise Rejected("A-FIELD", "the card serial has 14 digits", field="card serial")
    year, month, day = birth
    texts = {
        "name": name,
        "sex": "男" if sex == 1 else "女",
        "ethnic": ETHNIC_GROUPS[ethnic - 1],
        "birth": f"{year}年{month}月{day}日",
        "citizen_id": citizen_id,
        "household_address": household_address,
        "residence_address": residence_address,
        "permit_no": permit_no,
        "issuer": issuer,
        "validity": f"{valid[0]}-{valid[1]}",
        "card_serial_text": f"{card_serial[:5]} {card_serial[5:12]} {card_serial[12:]}",
        "qr": qr_text(card_serial),
    }
    return Record(texts, photo)


def qr_text(card_serial: str) -> str:
    """What the symbol says: `R1` and the card serial, no personal data (printer.md 7.6)."""
    return f"R1{card_serial}"


def box_pixels(box: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    """Millimetres on the card to pixels on the print area, which overlaps the card evenly."""
    over = [(size / PIXELS_PER_MM - CARD_MM[axis]) / 2 for axis, size in enumerate((WIDTH, HEIGHT))]
    left = round((box[0] + over[0]) * PIXELS_PER_MM)
    top = round((box[1] + over[1]) * PIXELS_PER_MM)
    return left, top, round(box[2] * PIXELS_PER_MM), round(box[3] * PIXELS_PER_MM)


# -- templates --------------------------------------------------------------------------------------------


def released(name: str = "residence-permit-1") -> Template:
    """A template that ships with the system."""
    text = resources.files("personalization").joinpath(f"templates/{name}.toml").read_bytes()
    return parse_template(text)


def parse_template(data: bytes) -> Template:
    """Read a template file. Rejected A-TEMPLATE when it is malformed or a field covers a keep-out."""
    if len(data) > MAX_TEMPLATE_BYTES:
        raise Rejected("A-TEMPLATE", "the file is too long", problem="size")
    try:
        parsed = tomllib.loads(data.decode("utf-8"))
        card = parsed["card"]
        template = Template(
            name=card["name"],
            version=card["version"],
            stock=card["stock"],
            ribbon=card["ribbon"],
            sides=tuple(Side(side) for side in card["sides"]),
            preprints=tuple(Preprint(**_placed(item)) for item in parsed.get("preprint", ())),
            fields=tuple(Field(**_placed(item)) for item in parsed["field"]),
            overlay_sides=tuple(Side(side) for side in parsed["overlay"]["sides"]),
            keepouts=tuple((Side(item["side"]), tuple(item["box"])) for item in parsed["keepout"]),
            sha256=hashlib.sha256(data).hexdigest(),
        )
    except (KeyError, TypeError, ValueError) as reason:
        raise Rejected("A-TEMPLATE", str(reason), problem="structure") from reason
    _check_template(template)
    return template


def _placed(item: Mapping[str, Any]) -> dict[str, Any]:
    return {**item, "side": Side(item["side"]), "box": tuple(item["box"])}


def _check_template(template: Template) -> None:
    layers = {"text": "k", "qr": "k", "line": "k", "photo": "colour"}
    for item in template.fields:
        x, y, width, height = item.box
        inside = x >= 0 and y >= 0 and x + width <= CARD_MM[0] and y + height <= CARD_MM[1]
        if not inside or item.layer != layers.get(item.kind):
            raise Rejected("A-TEMPLATE", f"field {item.name}", problem=item.name)
        for side, (left, top, wide, high) in template.keepouts:
            apart = x >= left + wide or left >= x + width or y >= top + high or top >= y + height
            if side is item.side and not apart:
                raise Rejected("A-TEMPLATE", f"{item.name} on a keep-out", problem=item.name)


# -- checks before release ---------------------------------------------------------------------------------


def preflight(template: Template, person: Record) -> None:
    """Everything that can be known before a blank is spent (printer.md 7.2, 7.5).

    Raises Rejected A-GLYPH (no glyph: manual queue), A-FIT (too long), A-FIELD (nothing to print), A-PHOTO.
    """
    for item in template.fields:
        if item.kind == "photo":
            _open_photo(person.photo)
            continue
        text = person.texts.get(item.source, "")
        if not text.strip():
            raise Rejected("A-FIELD", f"{item.name} is empty", field=item.name)
        if item.kind == "text":
            lost = typeface.missing(text, item.font)
            if lost:
                points = " ".join(f"U+{ord(char):04X}" for char in lost)
                raise Rejected("A-GLYPH", points, field=item.name, characters=points)
            _set_text(item, text)


def _set_text(item: Field, text: str) -> tuple[list[str], Style]:
    """Lines and size that fit: shrink in small steps, then wrap. Rejected A-FIT."""
    _left, _top, width, height = item.pixels()
    for line_count in range(1, item.max_lines + 1):
        floor = max(item.min_pt, item.size_pt * NAME_SHRINK)
        size = item.size_pt
        while size >= floor:
            style = Style(item.font, size)
            lines = typeface.break_lines(text, style, width)
            fits = all(typeface.width(line, style) <= width for line in lines)
            tall = typeface.line_height(style) * len(lines)
            if fits and len(lines) <= line_count and tall <= height * 1.1:
                return lines, style
            size -= SHRINK_STEP_PT
    raise Rejected("A-FIT", f"{item.name}: {len(text)} characters", field=item.name)


def _open_photo(jpeg: bytes) -> Image.Image:
    """The portrait of the photo rule: size, RGB, white background. Rejected A-PHOTO."""
    try:
        image = Image.open(io.BytesIO(jpeg))
        image.load()
    except (UnidentifiedImageError, OSError) as reason:
        raise Rejected("A-PHOTO", "not a picture", problem="format") from reason
    if image.size != PHOTO_SOURCE or image.mode != "RGB":
        size = f"{image.size[0]} x {image.size[1]} {image.mode}"
        raise Rejected("A-PHOTO", size, problem="size")
    pixels = np.asarray(image)
    # The upper corners only: shoulders reach the lower ones.
    for patch in (
        pixels[:PHOTO_CORNER, :PHOTO_CORNER],
        pixels[:PHOTO_CORNER, -PHOTO_CORNER:],
    ):
        if patch.mean() < PHOTO_WHITE:
            raise Rejected("A-PHOTO", "the background is not white", problem="background")
    return image


# -- drawing ---------------------------------------------------------------------------------------------


def render(template: Template, person: Record) -> dict[Side, Layers]:
    """The layers of every face, ready for a printer. Raises what `preflight` raises."""
    preflight(template, person)
    return {side: render_side(template, person, side) for side in template.sides}


def render_side(template: Template, person: Record, side: Side) -> Layers:
    """One face; `preflight` has been passed."""
    colour = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    black = np.zeros((HEIGHT, WIDTH), np.uint8)
    for item in template.fields:
        if item.side is not side:
            continue
        left, top, width, height = item.pixels()
        if item.kind == "photo":
            colour[top : top + height, left : left + width] = _photo(person.photo, width, height)
        elif item.kind == "line":
            black[top : top + max(1, height), left : left + width] = 1
        else:
            mask = _qr(item, person) if item.kind == "qr" else _text(item, person)
            black[top : top + mask.shape[0], left : left + mask.shape[1]] |= mask
    overlay = np.full((HEIGHT, WIDTH), side in template.overlay_sides, np.uint8)
    for keepout_side, box in template.keepouts:
        if keepout_side is side:
            left, top, width, height = box_pixels(box)
            area = np.s_[top : top + height, left : left + width]
            overlay[area] = 0
            black[area] = 0
            colour[area] = 255
    return Layers.separate(colour, black, overlay)


def _text(item: Field, person: Record) -> Plane:
    _left, _top, width, height = item.pixels()
    lines, style = _set_text(item, person.texts[item.source])
    if item.valign == "top":
        height = min(height, round(typeface.line_height(style) * len(lines)))
    return typeface.draw(lines, style, (width, height), item.align)


def _photo(jpeg: bytes, width: int, height: int) -> Plane:
    """Resampled once; never any resin inside it (printer.md 7.2, 7.3)."""
    picture = _open_photo(jpeg).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(picture, np.uint8)


def _qr(item: Field, person: Record) -> Plane:
    """Modules on whole pixels, with the quiet zone."""
    modules = symbol(person.texts[item.source])
    return np.kron(modules, np.ones((QR_MODULE, QR_MODULE), np.uint8)).astype(np.uint8)


@lru_cache(SYMBOLS)
def symbol(text: str) -> Plane:
    """The symbol with its quiet zone, a cell a module. The newest are kept, so that one may be made ahead."""
    made = segno.make(text, error="q", version=QR_VERSION, boost_error=False, micro=False)
    modules = np.array([list(row) for row in made.matrix_iter(border=QR_QUIET)], np.uint8)
    modules.setflags(write=False)
    return modules


def stock(template: Template) -> dict[Side, Plane]:
    """What is on the blanks before the card printer: 648 x 1016 x 3 per side."""
    return {
        side: preprinted(
            template.stock, side, tuple(p for p in template.preprints if p.side is side)
        )
        for side in Side
    }


def proof(template: Template, person: Record) -> dict[Side, Image.Image]:
    """Both faces exactly as they will be printed, for the approver's eye."""
    blanks = stock(template)
    return {
        side: Image.fromarray(printed(layers, blanks[side]))
        for side, layers in render(template, person).items()
    }
