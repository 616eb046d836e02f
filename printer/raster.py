"""Pictures as the printer takes them: tone, levels, rotation, packing, run lengths (printer.md 2.4, 2.5, 7.3).

A line on the wire is the card's short side (648 pixels); the card travels long side first, so landscape
art is turned by 90 degrees before sending. `Db` carries packed values, `Dbc` compressed ones; `encode_panel`
takes the shorter. Decoding is strict, as a download has no checksum.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from printer.port import HEIGHT, WIDTH, Layers, Panel, Plane

LINES, LINE_PIXELS = WIDTH, HEIGHT
LINE_BYTES = LINE_PIXELS // 8
BITS = {2: 1, 32: 5, 64: 6, 128: 7}
FULL_INK, BLANK_LINE = 0xFF, 0x00
RUN = 0x80
# Counter bits above the counter byte: each set bit adds 256 to it (printer.md 2.5).
_ADD_MASK = {128: 0x00, 64: 0x40, 32: 0x60}
_LONGEST_RUN = {128: 255, 64: 511, 32: 767}
QUARTER_TURNS = 1  # counter-clockwise; the machine's view of the card (printer.md 2.5)
LIGHTEST_LEVEL = 2  # of 31: fainter than this is background and stays clean

Values = NDArray[np.int64]


@dataclass(frozen=True)
class Encoded:
    """One panel for the wire. `compressed` tells `Dbc` from `Db`."""

    panel: Panel
    levels: int
    compressed: bool
    data: bytes


def turn(plane: Plane) -> Plane:
    """Landscape art (648 x 1016) to wire lines (1016 x 648)."""
    return np.ascontiguousarray(np.rot90(plane, QUARTER_TURNS))


def turn_back(lines: Plane) -> Plane:
    """Wire lines (1016 x 648) to landscape art (648 x 1016)."""
    return np.ascontiguousarray(np.rot90(lines, -QUARTER_TURNS))


def identity_tone() -> Plane:
    """The tone curve that changes nothing: 256 densities."""
    return np.arange(256, dtype=np.uint8)


def quantise(plane: Plane, levels: int, tone: Plane | None = None) -> Plane:
    """Densities 0..255 to 0..levels-1 by rounding, no dither; the faintest two of 31 become 0 (printer.md 7.3)."""
    top = levels - 1
    densities = (identity_tone() if tone is None else tone).astype(np.int64)
    table = (densities * top * 2 + 255) // 510  # rounded to nearest
    table[table * 31 < LIGHTEST_LEVEL * top] = 0
    return np.asarray(table.astype(np.uint8)[plane])


def wire_lines(
    layers: Layers, panel: Panel, levels: int, tone: Plane | None = None
) -> tuple[Plane, int]:
    """One panel's lines as they will be sent, and the number of levels (2 for black and overlay)."""
    plane = layers.plane(panel)
    if panel in (Panel.BLACK, Panel.OVERLAY):
        return turn(plane), 2
    return turn(quantise(plane, levels, tone)), levels


def encode_panel(
    layers: Layers, panel: Panel, levels: int = 32, tone: Plane | None = None
) -> Encoded:
    """The shorter of `Db` and `Dbc` for one panel."""
    lines, depth = wire_lines(layers, panel, levels, tone)
    data = compress_bits(lines) if depth == 2 else compress_dye(lines, depth)
    if len(data) < packed_size(depth):
        return Encoded(panel, depth, True, data)
    return Encoded(panel, depth, False, pack(lines, depth))


def packed_size(levels: int) -> int:
    """Bytes of a `Db` payload."""
    return LINES * LINE_PIXELS * BITS[levels] // 8


def pack(lines: Plane, levels: int) -> bytes:
    """Values concatenated, most significant bit first, no gaps."""
    bits = np.unpackbits(lines.reshape(-1, 1), axis=1)[:, 8 - BITS[levels] :]
    return np.packbits(bits.reshape(-1)).tobytes()


def unpack(data: bytes, levels: int) -> Plane:
    """Inverse of `pack`. ValueError when the length is wrong."""
    if len(data) != packed_size(levels):
        raise ValueError(f"{len(data)} bytes, not {packed_size(levels)}")
    bits = np.unpackbits(np.frombuffer(data, np.uint8)).reshape(-1, BITS[levels])
    weights = 1 << np.arange(BITS[levels] - 1, -1, -1)
    return np.asarray((bits @ weights).astype(np.uint8)).reshape(LINES, LINE_PIXELS)


# -- black and overlay ------------------------------------------------------------------------------


def compress_bits(lines: Plane) -> bytes:
    """Per line: 00 white, FF full, else N and N bytes, the rest of the line white."""
    packed = np.packbits(lines, axis=1)
    out = bytearray()
    for row in packed:
        inked = np.flatnonzero(row)
        if not len(inked):
            out.append(BLANK_LINE)
        elif (row == FULL_INK).all():
            out.append(FULL_INK)
        else:
            count = int(inked[-1]) + 1
            out.append(count)
            out += row[:count].tobytes()
    return bytes(out)


def expand_bits(data: bytes, line_count: int = LINES) -> Plane:
    """Inverse of `compress_bits`. ValueError for counts of 82..254, too few or too many lines."""
    packed = np.zeros((line_count, LINE_BYTES), np.uint8)
    at = 0
    for row in packed:
        if at >= len(data):
            raise ValueError("lines are missing")
        count = data[at]
        at += 1
        if count == FULL_INK:
            row[:] = FULL_INK
        elif count > LINE_BYTES:
            raise ValueError(f"a line cannot have {count} bytes")
        else:
            chunk = data[at : at + count]
            if len(chunk) != count:
                raise ValueError("the last line is cut")
            row[:count] = np.frombuffer(chunk, np.uint8)
            at += count
    if at != len(data):
        raise ValueError("there are bytes behind the last line")
    return np.unpackbits(packed, axis=1)


# -- dyes --------------------------------------------------------------------------------------------


def compress_dye(lines: Plane, levels: int) -> bytes:
    """Runs within each line: literals for one or two pixels, value and counter for more, 80 00 for a blank line."""
    values, counts = _runs(lines)
    values, counts = _split_runs(values, counts, levels)
    blank = (values == 0) & (counts == LINE_PIXELS)
    pair = counts >= 3
    sizes = np.where(pair | (counts == 2), 2, 1)
    ends = np.cumsum(sizes)
    starts = ends - sizes
    out = np.zeros(int(ends[-1]), np.uint8)
    adds, low = counts >> 8, counts & 0xFF
    flags = np.select([adds == 1, adds == 2], [0x40, 0x60], 0)
    out[starts] = np.where(pair, RUN | flags | values, values)
    out[starts[pair] + 1] = low[pair]
    twice = counts == 2
    out[starts[twice] + 1] = values[twice]
    out[starts[blank]] = RUN
    out[starts[blank] + 1] = 0
    return out.tobytes()


def _runs(lines: Plane) -> tuple[Values, Values]:
    """Values and lengths of equal neighbours; a run never crosses a line."""
    flat = lines.reshape(-1).astype(np.int64)
    first = np.ones(len(flat), bool)
    first[1:] = flat[1:] != flat[:-1]
    first[::LINE_PIXELS] = True
    starts = np.flatnonzero(first)
    return flat[starts], np.diff(np.append(starts, len(flat)))


def _split_runs(values: Values, counts: Values, levels: int) -> tuple[Values, Values]:
    """Cut runs longer than the counter, and never leave a counter byte of 0: 256 becomes 255 and 1.

    Whole blank lines stay whole; they have a code of their own.
    """
    longest = _LONGEST_RUN[levels]
    out_values: list[Values] = []
    out_counts: list[Values] = []
    order: list[Values] = []
    rank = np.arange(len(counts)) * 8
    blank = (values == 0) & (counts == LINE_PIXELS)
    left = counts.copy()
    for step in range(8):
        piece = np.where(blank, left, np.minimum(left, longest))
        piece = np.where((piece % 256 == 0) & (piece > 0) & ~blank, piece - 1, piece)
        some = piece > 0
        out_values.append(values[some])
        out_counts.append(piece[some])
        order.append(rank[some] + step)
        left = left - piece
    sequence = np.argsort(np.concatenate(order), kind="stable")
    return np.concatenate(out_values)[sequence], np.concatenate(out_counts)[sequence]


def expand_dye(data: bytes, levels: int, line_count: int = LINES) -> Plane:
    """Inverse of `compress_dye`. ValueError when a line is not exactly 648 pixels or the end is cut."""
    raw = np.frombuffer(data, np.uint8).astype(np.int64)
    is_start = _token_starts(raw)
    starts = np.flatnonzero(is_start)
    first = raw[starts]
    run = first >= RUN
    if run.any() and starts[run][-1] + 1 >= len(raw):
        raise ValueError("the last run has no counter")
    counter = np.zeros(len(starts), np.int64)
    counter[run] = raw[starts[run] + 1]
    mask = _ADD_MASK[levels]
    adds = ((first & mask & 0x40) >> 6) + ((first & mask & 0x20) >> 5)
    counts = np.where(run, counter + 256 * adds, 1)
    values = np.where(run, first & ~(RUN | mask), first)
    if values.size and values[~run].max(initial=0) >= levels:
        raise ValueError("a value is above the levels")
    blank = run & (counter == 0)
    if (adds[blank] != 0).any():
        raise ValueError("a counter of 0 with an added 256")
    counts[blank] = LINE_PIXELS
    values[blank] = 0
    ends = np.cumsum(counts)
    edges = np.arange(1, line_count + 1) * LINE_PIXELS
    if not len(ends) or ends[-1] != edges[-1] or not np.isin(edges, ends).all():
        raise ValueError("lines are not 648 pixels long")
    return np.repeat(values, counts).astype(np.uint8).reshape(line_count, LINE_PIXELS)


def _token_starts(raw: NDArray[np.int64]) -> NDArray[Any]:
    """Which bytes begin a token. Behind a byte below 80 one always does; stretches of high bytes alternate."""
    high = raw >= RUN
    index = np.arange(len(raw))
    last_low = np.maximum.accumulate(np.where(high, -1, index))
    depth = index - last_low  # 1, 2, 3... within a stretch of high bytes, 0 on low ones
    before = np.concatenate(([0], depth[:-1]))
    return np.asarray(np.where(high, depth % 2 == 1, before % 2 == 0))


# -- what ink looks like -------------------------------------------------------------------------------


def composite(stock: Plane, y: Plane, m: Plane, c: Plane, k: Plane) -> Plane:
    """Ink on stock: each dye takes its colour of light away, resin takes all (printer.md 4.1).

    `stock` is 648 x 1016 x 3; `y`, `m`, `c` are densities 0..255 (255 is full), `k` 0 or 1.
    """
    inks = np.stack((c, m, y), axis=2).astype(np.uint16)
    light = (stock.astype(np.uint16) * (255 - inks) + 127) // 255
    light[k != 0] = 0
    return np.asarray(light.astype(np.uint8))


def printed(layers: Layers, stock: Plane, levels: int = 32) -> Plane:
    """The card's face as the printer will leave it: the proof shown to the approver (printer.md 7.7)."""
    y, m, c = (
        densities(quantise(layers.plane(panel), levels), levels)
        for panel in (Panel.YELLOW, Panel.MAGENTA, Panel.CYAN)
    )
    return composite(stock, y, m, c, layers.k)


def densities(values: Plane, levels: int) -> Plane:
    """Levels back to densities 0..255."""
    top = levels - 1
    return np.asarray(((values.astype(np.uint16) * 510 + top) // (2 * top)).astype(np.uint8))
