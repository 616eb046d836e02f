"""Chinese type for the card: the font files, which characters they have, how a line breaks (printer.md 7.5).

Noto Sans CJK, simplified Chinese faces, chosen by file and face index: index 0 would silently print
Japanese shapes. The files come with the operating system (Debian: fonts-noto-cjk), not with this project.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTCollection
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from core.errors import NotFound
from printer.port import DPI

POINTS_PER_INCH = 72
OVERSAMPLE = 4  # drawn larger and reduced, which leaves no trace of hinting
THRESHOLD = 128
FACE_INDEX = {"regular": 2, "bold": 2, "mono": 7, "mono-bold": 7}
FACE_NAME = {
    "regular": ("Noto Sans CJK SC", "Regular"),
    "bold": ("Noto Sans CJK SC", "Bold"),
    "mono": ("Noto Sans Mono CJK SC", "Regular"),
    "mono-bold": ("Noto Sans Mono CJK SC", "Bold"),
}
FOLDERS = (
    "/usr/share/fonts/opentype/noto",
    "/usr/share/fonts/noto-cjk",
    "/usr/share/fonts/google-noto-cjk",
    "/usr/share/fonts/noto",
    "/Library/Fonts",
)
NOT_FIRST = frozenset("，。、；：？！）》」』】〉·,.;:?!)]}-")  # never at the start of a line
NOT_LAST = frozenset("（《「『【〈([{")

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Style:
    """A face and a size in points."""

    face: str
    size_pt: float


def font_file(face: str) -> Path:
    """The collection that holds a face. NotFound A-FONT, naming the package to install."""
    name = "NotoSansCJK-Bold.ttc" if face.endswith("bold") else "NotoSansCJK-Regular.ttc"
    for folder in FOLDERS:
        path = Path(folder) / name
        if path.is_file():
            return path
    raise NotFound("A-FONT", f"looked in {', '.join(FOLDERS)}", file=name)


@cache
def font(style: Style, oversample: int = 1) -> ImageFont.FreeTypeFont:
    """The font at 300 dpi, times `oversample`. NotFound A-FONT when the file holds another face there."""
    pixels = style.size_pt * DPI / POINTS_PER_INCH * oversample
    path = font_file(style.face)
    loaded = ImageFont.truetype(path, pixels, index=FACE_INDEX[style.face])
    if loaded.getname() != FACE_NAME[style.face]:
        raise NotFound("A-FONT", f"face {loaded.getname()}", file=path.name)
    return loaded


@cache
def covered(face: str) -> frozenset[int]:
    """Code points the face has a glyph for."""
    with TTCollection(font_file(face), lazy=True) as collection:
        return frozenset(collection.fonts[FACE_INDEX[face]].getBestCmap())


def missing(text: str, face: str) -> str:
    """Characters of `text` that would print as an empty box, each once, in order."""
    glyphs = covered(face)
    return "".join(dict.fromkeys(char for char in text if ord(char) not in glyphs))


def width(text: str, style: Style) -> float:
    """Pixels a line takes at 300 dpi."""
    return float(font(style, OVERSAMPLE).getlength(text)) / OVERSAMPLE


def line_height(style: Style) -> float:
    """Pixels from line to line: 1.25 of the size."""
    return style.size_pt * DPI / POINTS_PER_INCH * 1.25


def break_lines(text: str, style: Style, room: float) -> list[str]:
    """East Asian line breaking: anywhere, but not inside a word or number and not before closing marks."""
    lines: list[str] = []
    line = ""
    for piece in _pieces(text):
        if line and width(line + piece, style) > room:
            lines.append(line)
            piece = piece.lstrip()
            line = ""
        line += piece
    return [*lines, line] if line else lines


def _pieces(text: str) -> list[str]:
    """The smallest parts that stay together."""
    pieces: list[str] = []
    for char in text:
        joins = bool(pieces) and (
            char in NOT_FIRST
            or pieces[-1][-1] in NOT_LAST
            or (_wordly(char) and _wordly(pieces[-1][-1]))
        )
        if joins:
            pieces[-1] += char
        else:
            pieces.append(char)
    return pieces


def _wordly(char: str) -> bool:
    return char.isascii() and char.isalnum()


def draw(lines: list[str], style: Style, room: tuple[int, int], align: str) -> Mask:
    """Black and white pixels (0 or 1) of lines set into a box of (width, height), centred vertically."""
    box_width, box_height = room
    sheet = Image.new("L", (box_width * OVERSAMPLE, box_height * OVERSAMPLE), 0)
    pen = ImageDraw.Draw(sheet)
    loaded = font(style, OVERSAMPLE)
    pitch = line_height(style) * OVERSAMPLE
    first = (box_height * OVERSAMPLE - pitch * (len(lines) - 1)) / 2
    anchor, x = {
        "left": ("lm", 0.0),
        "center": ("mm", box_width * OVERSAMPLE / 2),
        "right": ("rm", float(box_width * OVERSAMPLE)),
    }[align]
    for number, line in enumerate(lines):
        pen.text((x, first + number * pitch), line, 255, font=loaded, anchor=anchor)
    small = sheet.resize(room, Image.Resampling.BOX)
    return (np.asarray(small) >= THRESHOLD).astype(np.uint8)
