"""The blanks' own design, as the printing house delivers them: background, title, labels (residence.md 12.1).

Drawn from formulas: guilloche lines, a bay with hills, one header. The card printer adds only the person,
which keeps colour on the slow line to the portrait (printer.md 2.4).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw

from core.errors import NotFound
from personalization import typeface
from personalization.typeface import Style
from printer.port import DPI, HEIGHT, WIDTH, Plane, Side

SCALE = 2  # drawn larger and reduced: smooth edges
PIXELS_PER_MM = DPI / 25.4
CARD_MM = (85.60, 53.98)
Floats = NDArray[np.float64]

PAPER_TOP, PAPER_BOTTOM = (242, 250, 250), (223, 239, 243)
HEADER_LEFT, HEADER_RIGHT = (9, 84, 112), (26, 138, 140)
GOLD = (204, 166, 84)
HILLS = ((203, 228, 232), (186, 218, 225), (168, 207, 216))
SEA = (150, 196, 210)
FINE = ((120, 190, 200), (150, 176, 214), (206, 178, 140))
HEADER_MM = 10.4
GUILLOCHE_LINES = 14
PORTRAIT_MM = (56.6, 12.4, 26.0, 32.0)
SYMBOL_MM = (66.8, 14.2, 13.98, 13.98)
FRAME = (138, 182, 194)


@dataclass(frozen=True)
class Preprint:
    """A line of type on the blank. `spacing` is extra space between characters in parts of the size."""

    side: Side
    text: str
    box: tuple[float, float, float, float]
    font: str
    size_pt: float
    colour: str
    align: str = "left"
    spacing: float = 0.0


def preprinted(stock: str, side: Side, lines: tuple[Preprint, ...]) -> Plane:
    """One face of a blank, 648 x 1016 x 3. NotFound A-STOCK for a stock nobody delivers."""
    if stock != "harbour":
        raise NotFound("A-STOCK", f"no stock {stock!r}", stock=stock)
    return _face(side, lines)


@cache
def _face(side: Side, lines: tuple[Preprint, ...]) -> Plane:
    sheet = Image.fromarray(_paper())
    sheet = _blend(sheet, _hills(), 0.55 if side is Side.FRONT else 0.8)
    sheet = _blend(sheet, _guilloche(side), 0.5)
    draw = ImageDraw.Draw(sheet)
    _header(sheet, draw)
    _frame(draw, PORTRAIT_MM if side is Side.FRONT else SYMBOL_MM)
    small = sheet.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    for line in lines:
        _type(small, line)
    pixels = np.asarray(small, np.uint8).copy()
    pixels.setflags(write=False)
    return pixels


def _at(x_mm: float, y_mm: float) -> tuple[float, float]:
    """Millimetres on the card to pixels of the enlarged sheet."""
    over_x = (WIDTH / PIXELS_PER_MM - CARD_MM[0]) / 2
    over_y = (HEIGHT / PIXELS_PER_MM - CARD_MM[1]) / 2
    return (x_mm + over_x) * PIXELS_PER_MM * SCALE, (y_mm + over_y) * PIXELS_PER_MM * SCALE


def _paper() -> Plane:
    """A soft gradient from top to bottom."""
    share = np.linspace(0, 1, HEIGHT * SCALE)[:, None, None]
    top, bottom = np.array(PAPER_TOP), np.array(PAPER_BOTTOM)
    column = top * (1 - share) + bottom * share
    return np.broadcast_to(column, (HEIGHT * SCALE, WIDTH * SCALE, 3)).astype(np.uint8)


def _blend(ground: Image.Image, ink: Image.Image, strength: float) -> Image.Image:
    """Lay a transparent drawing over the ground."""
    alpha = ink.getchannel("A").point([round(value * strength) for value in range(256)])
    ground.paste(ink.convert("RGB"), mask=alpha)
    return ground


def _sheet() -> Image.Image:
    return Image.new("RGBA", (WIDTH * SCALE, HEIGHT * SCALE), (255, 255, 255, 0))


def _hills() -> Image.Image:
    """Three ridges over a bay, and ripples on the water."""
    sheet = _sheet()
    draw = ImageDraw.Draw(sheet)
    x = np.arange(0, WIDTH * SCALE + 1, 4, dtype=np.float64)
    unit = x / (WIDTH * SCALE)
    for level, colour in enumerate(HILLS):
        ridge = (
            np.sin(unit * (5.1 + level) + level * 1.7) * 0.055
            + np.sin(unit * (11.3 + 3 * level) + level) * 0.022
            + np.sin(unit * 31.0 + level * 2.3) * 0.006
        )
        y = (0.74 + 0.055 * level - ridge) * HEIGHT * SCALE
        _fill_below(draw, x, y, colour)
    for row in range(9):
        y = (0.90 + 0.013 * row + 0.002 * np.sin(unit * (60 - 3 * row) + row)) * HEIGHT * SCALE
        _stroke(draw, x, y, (*SEA, 150), 2)
    return sheet


def _guilloche(side: Side) -> Image.Image:
    """Two bands of crossing lines between envelopes, and a rosette, as on banknotes."""
    sheet = _sheet()
    draw = ImageDraw.Draw(sheet)
    x = np.arange(0, WIDTH * SCALE + 1, 2, dtype=np.float64)
    unit = x / (WIDTH * SCALE) * 2 * np.pi
    for middle, swing, waves in ((0.47, 0.16, 3), (0.80, 0.10, 5)):
        envelope = swing * (0.45 + 0.55 * np.cos(unit * 1.5 + middle * 9) ** 2)
        for number in range(GUILLOCHE_LINES):
            phase = 2 * np.pi * number / GUILLOCHE_LINES
            y = (middle + envelope * np.sin(waves * unit + phase)) * HEIGHT * SCALE
            _stroke(draw, x, y, (*FINE[number % 3], 130), 2)
    _rosette(draw, (15.75, 24.4) if side is Side.FRONT else (73.8, 42.0))
    return sheet


def _rosette(draw: ImageDraw.ImageDraw, centre_mm: tuple[float, float]) -> None:
    """Two rings of petals that cross each other."""
    angle = np.linspace(0, 2 * np.pi, 1441)
    x_centre, y_centre = _at(*centre_mm)
    millimetre = PIXELS_PER_MM * SCALE
    for radius, depth, petals in ((9.6, 2.4, 9), (6.0, 1.6, 7), (3.0, 1.0, 5)):
        for number in range(GUILLOCHE_LINES):
            phase = 2 * np.pi * number / GUILLOCHE_LINES
            reach = (radius + depth * np.cos(petals * angle + phase)) * millimetre
            x, y = x_centre + reach * np.cos(angle), y_centre + reach * np.sin(angle)
            _stroke(draw, x, y, (*FINE[number % 3], 150), 2)


def _fill_below(
    draw: ImageDraw.ImageDraw, x: Floats, y: Floats, colour: tuple[int, int, int]
) -> None:
    points = list(zip(x.tolist(), y.tolist(), strict=True))
    draw.polygon(
        [*points, (WIDTH * SCALE, HEIGHT * SCALE), (0, HEIGHT * SCALE)], fill=(*colour, 255)
    )


def _stroke(
    draw: ImageDraw.ImageDraw, x: Floats, y: Floats, colour: tuple[int, int, int, int], width: int
) -> None:
    draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=colour, width=width)


def _header(sheet: Image.Image, draw: ImageDraw.ImageDraw) -> None:
    """A band from deep to light teal, and a gold rule under it."""
    _x, bottom = _at(0, HEADER_MM)
    rows = round(bottom)
    share = np.linspace(0, 1, WIDTH * SCALE)[None, :, None]
    left, right = np.array(HEADER_LEFT), np.array(HEADER_RIGHT)
    row = left * (1 - share) + right * share
    band = np.broadcast_to(row, (rows, WIDTH * SCALE, 3)).astype(np.uint8)
    sheet.paste(Image.fromarray(band), (0, 0))
    draw.rectangle((0, rows, WIDTH * SCALE, rows + 4 * SCALE), fill=GOLD)
    ripple = np.linspace(0, 2 * np.pi, WIDTH * SCALE // 4)
    x = np.linspace(0, WIDTH * SCALE, WIDTH * SCALE // 4)
    for number in range(7):
        y = rows * (0.62 + 0.22 * np.sin(3 * ripple + number * 0.35) * np.cos(number * 0.2))
        _stroke(draw, x, y, (46, 152, 158, 255), 1)


def _frame(draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float]) -> None:
    """White paper for the portrait or the symbol, with a thin line round it."""
    left, top = _at(box[0], box[1])
    right, bottom = _at(box[0] + box[2], box[1] + box[3])
    edge = 4 * SCALE
    draw.rectangle(
        (left - edge, top - edge, right + edge, bottom + edge),
        fill=(255, 255, 255),
        outline=FRAME,
        width=2 * SCALE,
    )


def _type(sheet: Image.Image, line: Preprint) -> None:
    """Set one line in offset ink: smooth, in colour."""
    style = Style(line.font, line.size_pt)
    left, top = (value / SCALE for value in _at(line.box[0], line.box[1]))
    width, height = (value * PIXELS_PER_MM for value in line.box[2:])
    gap = line.spacing * line.size_pt * DPI / typeface.POINTS_PER_INCH
    length = typeface.width(line.text, style) + gap * (len(line.text) - 1)
    x = left + {"left": 0.0, "center": (width - length) / 2, "right": width - length}[line.align]
    draw = ImageDraw.Draw(sheet)
    loaded = typeface.font(style)
    colour = ImageColor.getrgb(line.colour)
    pieces = list(line.text) if gap else [line.text]
    for piece in pieces:
        draw.text((x, top + height / 2), piece, colour, font=loaded, anchor="lm")
        x += typeface.width(piece, style) + gap
