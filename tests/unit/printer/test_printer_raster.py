"""Pictures on the wire: packing and run lengths as guide and captured streams have them (printer.md 2.4, 2.5)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from printer import raster
from printer.port import HEIGHT, WIDTH, Layers, Panel

PIXELS = raster.LINE_PIXELS


def one_line(value: int) -> np.ndarray:
    return np.full((1, PIXELS), value, np.uint8)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [(128, "FFFF FFFF FF8A"), (64, "FFFF BF89"), (32, "FF88")],
)
def test_golden_a_line_of_full_dye(levels: int, expected: str) -> None:
    """Source: printer.md 2.5, golden vectors."""
    assert raster.compress_dye(one_line(levels - 1), levels) == bytes.fromhex(expected)


@pytest.mark.parametrize("levels", [32, 64, 128])
def test_golden_a_blank_line(levels: int) -> None:
    """Source: printer.md 2.5, golden vectors."""
    assert raster.compress_dye(one_line(0), levels) == bytes.fromhex("8000")


def test_golden_black_lines() -> None:
    """White, full, and nine inked pixels. Source: printer.md 2.5, golden vectors."""
    nine = np.zeros((1, PIXELS), np.uint8)
    nine[0, :9] = 1
    assert raster.compress_bits(one_line(0)) == bytes.fromhex("00")
    assert raster.compress_bits(one_line(1)) == bytes.fromhex("FF")
    assert raster.compress_bits(nine) == bytes.fromhex("02FF80")


@pytest.mark.parametrize("levels", [32, 64])
def test_a_run_of_256_never_becomes_a_counter_of_zero(levels: int) -> None:
    """256 goes as 255 and 1: real firmware might read a zero counter as a blank line."""
    line = np.zeros((1, PIXELS), np.uint8)
    line[0, :256] = 3
    data = raster.compress_dye(line, levels)
    assert data[:3] == bytes([0x83, 0xFF, 0x03])
    assert (raster.expand_dye(data, levels, 1) == line).all()


def test_runs_of_one_or_two_are_literals() -> None:
    line = np.zeros((1, PIXELS), np.uint8)
    line[0, :6] = (1, 2, 2, 3, 3, 3)
    assert raster.compress_dye(line, 128)[:5] == bytes([1, 2, 2, 0x83, 3])


@pytest.mark.parametrize(
    ("levels", "size"), [(2, 82_296), (32, 411_480), (64, 493_776), (128, 576_072)]
)
def test_packed_sizes(levels: int, size: int) -> None:
    """Source: printer.md 2.4, table."""
    assert raster.packed_size(levels) == size


def test_packing_is_most_significant_bit_first_without_gaps() -> None:
    lines = np.zeros((raster.LINES, PIXELS), np.uint8)
    lines[0, :3] = (0b10101, 0b01010, 0b11111)
    assert raster.pack(lines, 32)[:2] == bytes([0b10101010, 0b10111110])
    assert raster.unpack(raster.pack(lines, 32), 32)[0, :3].tolist() == [21, 10, 31]


lines_of_dye = st.lists(
    st.lists(st.tuples(st.integers(0, 31), st.integers(1, 400)), min_size=1, max_size=30),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(lines_of_dye, st.sampled_from([32, 64, 128]))
def test_what_is_compressed_comes_back(runs: list[list[tuple[int, int]]], levels: int) -> None:
    rows = [np.repeat([v for v, _ in row], [n for _, n in row])[:PIXELS] for row in runs]
    picture = np.stack([np.pad(row, (0, PIXELS - len(row))) for row in rows]).astype(np.uint8)
    data = raster.compress_dye(picture, levels)
    assert (raster.expand_dye(data, levels, len(picture)) == picture).all()


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=81 * 3, max_size=81 * 3))
def test_black_lines_come_back(data: bytes) -> None:
    picture = np.unpackbits(np.frombuffer(data, np.uint8)).reshape(3, PIXELS)
    assert (raster.expand_bits(raster.compress_bits(picture), 3) == picture).all()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([32, 64, 128]))
def test_no_payload_breaks_the_decoder(data: bytes, levels: int) -> None:
    """Either the lines are complete, or ValueError: never another error, never half a picture."""
    try:
        picture = raster.expand_dye(data, levels, 2)
    except ValueError:
        return
    assert picture.shape == (2, PIXELS)
    assert picture.max() < levels


@pytest.mark.parametrize(
    "data",
    [
        "FF87",  # 647 pixels
        "FF89",  # 649
        "FF88 8001 9F",  # a run without its counter
        "8A05 8000",  # a blank line that does not start a line
        "C000",  # counter 0 with an added 256
        "",
    ],
)
def test_malformed_dye_is_refused(data: str) -> None:
    with pytest.raises(ValueError):
        raster.expand_dye(bytes.fromhex(data), 32, 1)


@pytest.mark.parametrize("data", ["52", "01", "FF FF", ""])
def test_malformed_black_is_refused(data: str) -> None:
    """A count above 81, a cut line, a line too many, none at all."""
    with pytest.raises(ValueError):
        raster.expand_bits(bytes.fromhex(data), 1)


def test_the_card_is_turned_a_quarter_counter_clockwise() -> None:
    """Line 0 on the wire is the art's right edge; its first pixel the upper right corner (printer.md 2.5)."""
    art = np.zeros((HEIGHT, WIDTH), np.uint8)
    art[0, WIDTH - 1] = 1  # upper right
    art[HEIGHT - 1, WIDTH - 1] = 2  # lower right
    art[0, 0] = 3  # upper left
    wire = raster.turn(art)
    assert wire.shape == (1016, 648)
    assert (wire[0, 0], wire[0, -1], wire[-1, 0]) == (1, 2, 3)
    assert (raster.turn_back(wire) == art).all()


def test_quantising_rounds_and_cleans_the_background() -> None:
    """The faintest of 31 steps is background: a white that JPEG made 250 stays clean (printer.md 7.3)."""
    densities = np.array([[0, 4, 8, 12, 13, 128, 255]], np.uint8)
    assert raster.quantise(densities, 32).tolist() == [[0, 0, 0, 0, 2, 16, 31]]


def test_a_tone_curve_is_applied_before_quantising() -> None:
    darker = np.minimum(np.arange(256) * 2, 255).astype(np.uint8)
    assert raster.quantise(np.array([[60]], np.uint8), 32, darker)[0, 0] == 15


def test_the_shorter_of_packed_and_compressed_is_sent() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    nothing = np.zeros((HEIGHT, WIDTH), np.uint8)
    noisy = raster.encode_panel(Layers.separate(noise, nothing, nothing), Panel.CYAN, 128)
    plain = raster.encode_panel(
        Layers.separate(np.full_like(noise, 90), nothing, nothing), Panel.CYAN, 128
    )
    assert (noisy.compressed, len(noisy.data)) == (False, 576_072)
    assert (plain.compressed, len(plain.data)) == (True, 1016 * 6)


def test_overlay_with_the_keep_out_of_the_contact_plate_has_the_published_size() -> None:
    """165 mixed lines of 82 bytes and 851 of one byte: 14,381. Source: printer.md 2.4, table."""
    overlay = np.ones((HEIGHT, WIDTH), np.uint8)
    overlay[206:371, 103:268] = 0
    layers = Layers.separate(
        np.full((HEIGHT, WIDTH, 3), 255, np.uint8), np.zeros_like(overlay), overlay
    )
    assert len(raster.encode_panel(layers, Panel.OVERLAY).data) == 14_381


def test_ink_takes_light_away() -> None:
    """Cyan removes red, magenta green, yellow blue; resin all; the stock shines through."""
    stock = np.full((1, 4, 3), (200, 180, 160), np.uint8)
    full = np.array([[255, 0, 0, 0]], np.uint8)
    seen = raster.composite(
        stock,
        np.roll(full, 2),
        np.roll(full, 1),
        full,
        (np.roll(full, 3) > 0).astype(np.uint8),
    )
    assert seen[0].tolist() == [[0, 180, 160], [200, 0, 160], [200, 180, 0], [0, 0, 0]]
