"""The photo rule of GA 461-2004 as checks, and the small picture for the chip (residence.md 3.7)."""

import io

from PIL import Image, ImageStat, UnidentifiedImageError

from core.errors import Rejected

WIDTH, HEIGHT = 358, 441
DPI = 350
MIN_BYTES, MAX_BYTES = 8 * 1024, 40 * 1024
CHIP_MAX_BYTES = 4096
CORNER = 24  # side of the background squares, pixels
WHITE_MEAN = 240.0
WHITE_SIGMA = 8.0
BLANK_SIGMA = 12.0


def check(jpeg: bytes) -> None:
    """Raises Rejected E-PHOTO-SIZE, -MODE, -DIM, -DPI, -BG or -FACE (nothing to see)."""
    if not MIN_BYTES <= len(jpeg) <= MAX_BYTES:
        raise Rejected("E-PHOTO-SIZE", f"{len(jpeg)} bytes", bytes=len(jpeg))
    image = _open(jpeg)
    if image.format != "JPEG" or image.mode != "RGB":
        raise Rejected("E-PHOTO-MODE", "24-bit RGB JPEG is wanted")
    if image.size != (WIDTH, HEIGHT):
        raise Rejected("E-PHOTO-DIM", f"{image.size[0]} x {image.size[1]} pixels")
    dpi = image.info.get("dpi", (0, 0))
    if (round(dpi[0]), round(dpi[1])) != (DPI, DPI):
        raise Rejected("E-PHOTO-DPI", "350 dpi is wanted")
    for left in (0, WIDTH - CORNER):  # the upper corners: shoulders reach the lower ones
        stat = ImageStat.Stat(image.crop((left, 0, left + CORNER, CORNER)))
        if min(stat.mean) < WHITE_MEAN or max(stat.stddev) > WHITE_SIGMA:
            raise Rejected("E-PHOTO-BG", "the background is not plain white")
    middle = image.crop((WIDTH // 4, HEIGHT // 4, WIDTH * 3 // 4, HEIGHT * 3 // 4))
    if max(ImageStat.Stat(middle).stddev) < BLANK_SIGMA:
        raise Rejected("E-PHOTO-FACE", "the picture is blank")


def for_chip(jpeg: bytes) -> bytes:
    """The portrait re-encoded to at most 4096 bytes for EF.PHOTO: smaller and coarser until it fits."""
    image = _open(jpeg)
    for width in (179, 143, 119):
        small = image.resize((width, width * HEIGHT // WIDTH), Image.Resampling.LANCZOS)
        for quality in (70, 55, 40):
            packed = io.BytesIO()
            small.save(packed, "JPEG", quality=quality, optimize=True)
            if len(packed.getvalue()) <= CHIP_MAX_BYTES:
                return packed.getvalue()
    raise Rejected("E-PHOTO-SIZE", "the picture does not fit the chip", bytes=len(jpeg))


def _open(jpeg: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(jpeg))
        image.load()
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as reason:
        raise Rejected("E-PHOTO-MODE", "not a picture") from reason
    return image
