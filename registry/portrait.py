"""Drawn portraits for synthetic people: no photograph of anybody is needed or used (residence.md 3.7, 18).

358 x 441 pixels, 350 dpi, RGB JPEG on pure white; the same seed gives the same bytes with the same
Pillow. Proportions follow GA 461-2004: face about 207 wide, hair top 7 to 21 from the upper edge, eyes
at least 207 above the lower one.
"""

import io
import random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

WIDTH, HEIGHT, DPI = 358, 441, 350
SCALE = 2  # drawn twice as large and reduced: smooth edges
QUALITY = 90
MIDDLE = WIDTH // 2

Colour = tuple[int, int, int]

_SKIN: tuple[Colour, ...] = (
    (247, 219, 193), (240, 205, 175), (232, 194, 160), (224, 182, 147), (250, 225, 205),
)  # fmt: skip
_HAIR: tuple[Colour, ...] = ((24, 20, 20), (38, 30, 27), (52, 38, 30), (20, 22, 28))
_GREY: tuple[Colour, ...] = ((122, 120, 118), (168, 166, 164))
_CLOTH: tuple[Colour, ...] = (
    (52, 73, 110), (104, 62, 72), (62, 95, 80), (84, 84, 96), (140, 110, 72), (40, 44, 58),
    (96, 124, 150), (128, 88, 120),
)  # fmt: skip


def _shade(colour: Colour, by: float) -> Colour:
    red, green, blue = (max(0, min(255, round(part * by))) for part in colour)
    return red, green, blue


class _Canvas:
    """Draws in final coordinates on the enlarged picture."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), (255, 255, 255))
        self._draw = ImageDraw.Draw(self.image)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        box = [(x - rx) * SCALE, (y - ry) * SCALE, (x + rx) * SCALE, (y + ry) * SCALE]
        self._draw.ellipse(box, fill=fill)

    def polygon(self, points: list[tuple[float, float]], fill: Colour) -> None:
        self._draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=fill)

    def arc(
        self, box: tuple[float, float, float, float], start: int, end: int, fill: Colour, width: int
    ) -> None:
        left, top, right, bottom = (value * SCALE for value in box)
        self._draw.arc((left, top, right, bottom), start, end, fill=fill, width=width * SCALE)

    def chord(
        self, box: tuple[float, float, float, float], start: int, end: int, fill: Colour
    ) -> None:
        left, top, right, bottom = (value * SCALE for value in box)
        self._draw.chord((left, top, right, bottom), start, end, fill=fill)


def draw(seed: str, sex: int, age: int) -> bytes:
    """A portrait as JPEG. `sex` 1 male, 2 female; `age` in years turns the hair grey."""
    dice = random.Random(f"portrait:{seed}")  # noqa: S311 - a picture, not a secret
    canvas = _Canvas()
    skin = dice.choice(_SKIN)
    hair = dice.choice(_GREY if age > 55 + dice.randrange(12) else _HAIR)
    cloth = dice.choice(_CLOTH)
    half = dice.randrange(98, 106)
    woman = sex == 2
    long_hair = woman and dice.random() < 0.7
    _behind(canvas, hair, half, long_hair)
    _shoulders(canvas, skin, cloth, woman, dice)
    _head(canvas, skin, half)
    _hair(canvas, hair, skin, half, woman, dice)
    _features(canvas, skin, hair, half, woman, dice)
    if dice.random() < 0.25:
        _glasses(canvas, half)
    return _finish(canvas.image, dice)


def _behind(canvas: _Canvas, hair: Colour, half: int, long_hair: bool) -> None:
    if long_hair:
        canvas.ellipse(MIDDLE, 190, half + 24, 178, hair)
        canvas.polygon(
            [(MIDDLE - half - 22, 200), (MIDDLE + half + 22, 200), (MIDDLE + half + 14, 388),
             (MIDDLE - half - 14, 388)],
            hair,
        )  # fmt: skip


def _shoulders(
    canvas: _Canvas, skin: Colour, cloth: Colour, woman: bool, dice: random.Random
) -> None:
    width = 150 if woman else 170
    canvas.ellipse(MIDDLE, 470, width, 110, cloth)
    canvas.polygon(
        [(MIDDLE - 44, 300), (MIDDLE + 44, 300), (MIDDLE + 52, 396), (MIDDLE - 52, 396)],
        _shade(skin, 0.90),
    )
    if dice.random() < 0.5:  # shirt and lapels
        canvas.polygon([(MIDDLE - 56, 376), (MIDDLE, 436), (MIDDLE + 56, 376),
                        (MIDDLE + 34, 441), (MIDDLE - 34, 441)], (244, 244, 246))  # fmt: skip
        for side in (-1, 1):
            canvas.polygon([(MIDDLE + side * 60, 364), (MIDDLE + side * 82, 380),
                            (MIDDLE + side * 20, 441), (MIDDLE + side * 8, 441)],
                           _shade(cloth, 0.78))  # fmt: skip
    else:  # round collar
        canvas.ellipse(MIDDLE, 378, 58, 26, _shade(cloth, 0.82))
        canvas.ellipse(MIDDLE, 372, 51, 21, _shade(skin, 0.93))


def _head(canvas: _Canvas, skin: Colour, half: int) -> None:
    for side in (-1, 1):
        canvas.ellipse(MIDDLE + side * half, 208, 13, 27, _shade(skin, 0.94))
        canvas.ellipse(MIDDLE + side * (half - 1), 208, 7, 17, _shade(skin, 0.85))
    canvas.ellipse(MIDDLE, 172, half, 142, skin)
    canvas.ellipse(MIDDLE, 232, half - 10, 114, skin)


def _hair(
    canvas: _Canvas, hair: Colour, skin: Colour, half: int, woman: bool, dice: random.Random
) -> None:
    brow_line = dice.randrange(96, 118)
    canvas.chord((MIDDLE - half - 9, 12, MIDDLE + half + 9, 330), 180, 360, hair)
    parting = dice.choice((-30, -15, 15, 30)) if dice.random() < 0.7 else 0
    canvas.ellipse(MIDDLE + parting, brow_line + 98, half - 14, 98, skin)
    side_bottom = 236 if woman else 196
    for side in (-1, 1):
        outer = MIDDLE + side * (half + 8)
        canvas.polygon(
            [(outer, 130), (MIDDLE + side * (half - 16), 118),
             (MIDDLE + side * (half - 7), side_bottom), (outer - side * 3, side_bottom)],
            hair,
        )  # fmt: skip
    if woman and dice.random() < 0.5:  # fringe
        canvas.chord((MIDDLE - half + 6, 52, MIDDLE + half - 6, brow_line + 84), 180, 360, hair)


def _features(
    canvas: _Canvas, skin: Colour, hair: Colour, half: int, woman: bool, dice: random.Random
) -> None:
    eye_y, apart = 206, dice.randrange(42, 49)
    wide, high = dice.randrange(17, 21), dice.randrange(8, 11)
    for side in (-1, 1):
        x = MIDDLE + side * apart
        canvas.ellipse(x, eye_y + 2, wide + 4, high + 5, _shade(skin, 0.96))
        canvas.ellipse(x, eye_y, wide, high, (252, 252, 252))
        canvas.ellipse(x, eye_y, high - 1, high - 1, (58, 40, 30))
        canvas.ellipse(x, eye_y, high - 5, high - 5, (12, 10, 10))
        canvas.ellipse(x + 3, eye_y - 3, 2, 2, (255, 255, 255))
        lid = 3 if woman else 2
        canvas.arc((x - wide - 1, eye_y - high - 2, x + wide + 1, eye_y + high + 6), 195, 345,
                   _shade(hair, 0.8), lid)  # fmt: skip
        canvas.arc((x - wide - 6, eye_y - 34, x + wide + 6, eye_y + 6), 212, 328, hair,
                   3 if woman else 6)  # fmt: skip
        canvas.ellipse(MIDDLE + side * (half - 34), 258, 20, 12, _blush(skin))
    nose = dice.randrange(252, 262)
    canvas.arc((MIDDLE - 15, nose - 16, MIDDLE + 15, nose + 6), 25, 155, _shade(skin, 0.72), 3)
    canvas.arc((MIDDLE - 12, eye_y - 2, MIDDLE + 2, nose), 110, 170, _shade(skin, 0.86), 2)
    mouth, smile = nose + 33, dice.randrange(10, 20)
    lips: Colour = (196, 92, 92) if woman else (184, 108, 98)
    canvas.chord((MIDDLE - 30, mouth - smile, MIDDLE + 30, mouth + smile), 8, 172, lips)
    canvas.arc((MIDDLE - 32, mouth - smile, MIDDLE + 32, mouth + smile), 10, 170,
               _shade(lips, 0.7), 2)  # fmt: skip
    canvas.arc((MIDDLE - 18, mouth + 14, MIDDLE + 18, mouth + 30), 200, 340, _shade(skin, 0.88), 2)


def _blush(skin: Colour) -> Colour:
    return min(255, skin[0] + 4), max(0, skin[1] - 10), max(0, skin[2] - 8)


def _glasses(canvas: _Canvas, half: int) -> None:
    frame: Colour = (46, 46, 52)
    for side in (-1, 1):
        x = MIDDLE + side * 46
        canvas.arc((x - 34, 182, x + 34, 232), 0, 360, frame, 3)
        canvas.arc((MIDDLE + side * 70 - 20, 190, MIDDLE + side * half + 20, 220), 240, 300,
                   frame, 2)  # fmt: skip
    canvas.arc((MIDDLE - 14, 198, MIDDLE + 14, 216), 190, 350, frame, 3)


def _finish(image: Image.Image, dice: random.Random) -> bytes:
    """Reduce, add a little grain to all but the white background, and pack."""
    small = image.filter(ImageFilter.GaussianBlur(1)).resize(
        (WIDTH, HEIGHT), Image.Resampling.LANCZOS
    )
    ink = small.convert("L").point([255 if value < 250 else 0 for value in range(256)])
    grain = Image.frombytes("L", (WIDTH, HEIGHT), dice.randbytes(WIDTH * HEIGHT)).point(
        [value * 10 // 255 for value in range(256)]
    )
    textured = ImageChops.subtract(small, Image.merge("RGB", (grain, grain, grain)))
    small.paste(textured, mask=ink)
    packed = io.BytesIO()
    small.save(packed, "JPEG", quality=QUALITY, dpi=(DPI, DPI), optimize=True)
    return packed.getvalue()
