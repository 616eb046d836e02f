"""What a finished or torn card looks like: PNGs of both faces and the overlay, and its story (printer.md 4.1)."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from printer.port import DPI, HEIGHT, WIDTH, Panel, Plane, Side
from printer.raster import composite, turn_back
from printer.sim.plastic import Face, SimCard

PIXELS_PER_MM = DPI / 25.4
CARD_MM = (85.60, 53.98)
CORNER_MM = 3.18
# Contacts of ISO/IEC 7816-2 as most modules draw them, mm from the card's top left corner.
PLATE_MM = (9.6, 18.2, 21.9, 30.6)
GOLD, GOLD_EDGE, GOLD_LINE = (212, 178, 104), (150, 118, 56), (120, 96, 52)
PNG_EFFORT = 3  # zlib level: small enough, and half the time of the default

Stock = Mapping[Side, Plane]


def to_pixels(millimetres: float, axis: int) -> int:
    """From the card's edge (axis 0 left, 1 top) to pixels of the print area, which overlaps the card evenly."""
    overscan = ((WIDTH, HEIGHT)[axis] / PIXELS_PER_MM - CARD_MM[axis]) / 2
    return round((millimetres + overscan) * PIXELS_PER_MM)


def white_stock() -> Stock:
    """Plain white plastic."""
    white = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    return dict.fromkeys(Side, white)


def face_picture(face: Face, stock: Plane, plate: bool) -> Image.Image:
    """One face as a person sees it, with the card's round corners; `plate` draws the chip's contacts."""
    planes = {
        panel: turn_back(face.planes[panel])
        if panel in face.planes
        else np.zeros((HEIGHT, WIDTH), np.uint8)
        for panel in (Panel.YELLOW, Panel.MAGENTA, Panel.CYAN, Panel.BLACK)
    }
    ground = Image.fromarray(stock)
    if plate:
        draw_plate(ground)
    seen = composite(
        np.asarray(ground),
        planes[Panel.YELLOW],
        planes[Panel.MAGENTA],
        planes[Panel.CYAN],
        planes[Panel.BLACK],
    )
    picture = Image.fromarray(seen).convert("RGBA")
    picture.putalpha(_outline())
    return picture


def overlay_picture(face: Face) -> Image.Image:
    """Where the clear overlay lies: white is covered."""
    plane = face.planes.get(Panel.OVERLAY)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8) if plane is None else turn_back(plane) * 255
    return Image.fromarray(mask.astype(np.uint8))


def draw_plate(picture: Image.Image) -> None:
    """The eight contacts of the chip module."""
    left, top, right, bottom = (to_pixels(value, axis % 2) for axis, value in enumerate(PLATE_MM))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((left, top, right, bottom), 22, GOLD, GOLD_EDGE, 3)
    third, width, height = (right - left) // 3, right - left, bottom - top
    inner = (left + third, top + height // 5, right - third, bottom - height // 5)
    for row in (1, 2, 3):
        y = top + height * row // 4
        draw.line((left + 3, y, inner[0], y), GOLD_LINE, 3)
        draw.line((inner[2], y, right - 3, y), GOLD_LINE, 3)
    draw.rounded_rectangle(inner, 14, None, GOLD_LINE, 3)
    draw.line((left + width // 2, top + 3, left + width // 2, inner[1]), GOLD_LINE, 3)
    draw.line((left + width // 2, inner[3], left + width // 2, bottom - 3), GOLD_LINE, 3)


def story(card: SimCard) -> dict[str, object]:
    """The card's life in the printer."""
    return {
        "card_id": card.card_id,
        "lot": card.lot,
        "chip_serial": card.chip_serial,
        "destination": card.place.value,
        "panels": {
            side.value: "".join(panel.value for panel in card.faces[side].inked()) for side in Side
        },
        "panels_used": card.panels_used,
        "events": [[round(when, 3), what] for when, what in card.history],
    }


def save(card: SimCard, stock: Stock, folder: Path) -> None:
    """Write front.png, back.png, front-overlay.png and card.json into the card's own folder."""
    place = folder / card.card_id
    place.mkdir(parents=True, exist_ok=True)
    for side in Side:
        picture = face_picture(card.faces[side], stock[side], plate=side is Side.FRONT)
        picture.save(place / f"{side.value}.png", compress_level=PNG_EFFORT, dpi=(DPI, DPI))
    overlay_picture(card.faces[Side.FRONT]).save(
        place / "front-overlay.png", compress_level=PNG_EFFORT, dpi=(DPI, DPI)
    )
    text = json.dumps(story(card), ensure_ascii=False, indent=1, sort_keys=True)
    (place / "card.json").write_text(text + "\n", "utf-8")


def _outline() -> Image.Image:
    mask = Image.new("L", (WIDTH, HEIGHT), 0)
    box = (to_pixels(0, 0), to_pixels(0, 1), to_pixels(CARD_MM[0], 0), to_pixels(CARD_MM[1], 1))
    ImageDraw.Draw(mask).rounded_rectangle(box, round(CORNER_MM * PIXELS_PER_MM), 255)
    return mask
