"""Single DES over many records at once, each under its own key: CBC-MACs by the ten thousand with numpy.

Every operation works on a whole column of records ("lanes"). A half is kept as the expansion E makes it: 48 bits
in four fields of 16, twelve used. So a round is an XOR with the round key, four look-ups (a pair of S-boxes with P
and E behind it, 4,096 entries each) and four XORs. IP, FP and the key schedule are tables by byte, since they only
move bits. Between the blocks of a message FP and IP cancel, so halves are chained as they are. Look-ups by secret
numbers leak through the cache: no claim is made against whoever shares the machine (section 14).
Source of the constants: FIPS 46-3.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

BLOCK = 8
LANES = 8192  # records at a time: their columns stay in the processor's second cache
ROUNDS = 16
Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]

IP = [58 - 8 * (n % 8) + 2 * (n // 8) - (0 if n < 32 else 9) for n in range(64)]
FP = [IP.index(n) + 1 for n in range(1, 65)]
E = [(4 * (n // 6) + n % 6 + 31) % 32 + 1 for n in range(48)]
P = [16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10,
     2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4, 25]  # fmt: skip
PC1 = [57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36,
       63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4,
       ]  # fmt: skip
PC2 = [14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2, 41, 52, 31, 37, 47,
       55, 30, 40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32]  # fmt: skip
SHIFTS = [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1]
S_BOXES = [  # each as 64 hex digits, four rows of sixteen
    "E4D12FB83A6C59070F74E2D1A6CB953841E8D62BFC973A50FC8249175B3EA06D",
    "F18E6B34972DC05A3D47F28EC01A69B50E7BA4D158C6932FD8A13F42B67C05E9",
    "A09E63F51DC7B428D709346A285ECBF1D6498F30B12C5AE71AD069874FE3B52C",
    "7DE3069A1285BC4FD8B56F03472C1AE9A690CB7DF13E52843F06A1D8945BC72E",
    "2C417AB6853FD0E9EB2C47D150FA3986421BAD78F9C5630EB8C71E2D6F09A453",
    "C1AF92680D34E75BAF427C9561DE0B389EF528C3704A1DB6432C95FABE17608D",
    "4B2EF08D3C975A61D0B7491AE35C2F8614BDC37EAF6805926BD814A7950FE23C",
    "D2846FB1A93E50C71FD8A374C56B0E927B419CE206ADF35821E74A8DFC90356B",
]


def _move(value: int, table: list[int], width: int) -> int:
    """Bits of `value` (of so many bits, the first is 1) in the order of the table."""
    moved = 0
    for place in table:
        moved = moved << 1 | value >> (width - place) & 1
    return moved


def _fields(bits: int) -> int:
    """48 bits as four fields of sixteen, the first the highest."""
    return sum((bits >> 12 * n & 0xFFF) << 16 * n for n in range(4))


def _expanded(half: int) -> int:
    return _fields(_move(half, E, 32))


def _round_keys(key: int) -> list[int]:
    """The schedule of one key, in fields."""
    chosen = _move(key, PC1, 64)
    left, right, keys = chosen >> 28, chosen & 0xFFFFFFF, []
    for shift in SHIFTS:
        left = (left << shift | left >> 28 - shift) & 0xFFFFFFF
        right = (right << shift | right >> 28 - shift) & 0xFFFFFFF
        keys.append(_fields(_move(left << 28 | right, PC2, 56)))
    return keys


def _s_box(number: int, six: int) -> int:
    row, column = (six >> 4 & 2) | six & 1, six >> 1 & 15
    return int(S_BOXES[number][16 * row + column], 16) << 28 - 4 * number


@dataclass(frozen=True)
class _Tables:
    """By byte: `first` gives the halves after IP, `final` FP, `schedule` the round keys; `pairs` of S-boxes."""

    first: Words
    final: Words
    schedule: Words
    pairs: Words


@cache
def tables() -> _Tables:
    """Made at first use, in half a second."""
    bytes_at = [[value << 56 - 8 * at for value in range(256)] for at in range(8)]
    moved = [[_move(one, IP, 64) for one in row] for row in bytes_at]
    first = [[(_expanded(m >> 32), _expanded(m & 0xFFFFFFFF)) for m in row] for row in moved]
    after = [
        [_expanded(_move(_s_box(number, six), P, 32)) for six in range(64)] for number in range(8)
    ]
    pairs = [
        [after[2 * pair][index >> 6] | after[2 * pair + 1][index & 63] for index in range(4096)]
        for pair in range(4)
    ]
    return _Tables(
        np.array(first, np.uint64),
        np.array([[_move(one, FP, 64) for one in row] for row in bytes_at], np.uint64),
        np.array([[_round_keys(one) for one in row] for row in bytes_at], np.uint64),
        np.array(pairs, np.uint64),
    )


def _look_up(table: Words, rows: Bytes) -> Words:
    """XOR of what each of a row's eight bytes contributes."""
    found: Words = table[0].take(rows[:, 0], axis=0)
    for at in range(1, 8):
        found ^= table[at].take(rows[:, at], axis=0)
    return found


def _crypt(left: Words, right: Words, keys: Words, pairs: Words) -> tuple[Words, Words]:
    """Sixteen rounds; the halves come out exchanged, as FP wants them."""
    for round_key in keys:
        fields = (right ^ round_key).view(np.uint16).reshape(-1, 4)
        for pair in range(4):
            left = left ^ pairs[pair].take(fields[:, 3 - pair])
        left, right = right, left
    return right, left


def _contracted(half: Words) -> Bytes:
    """The four bytes of a half: of each six bits the middle four."""
    fields = half.view(np.uint16).reshape(-1, 4)[:, ::-1]
    found: Bytes = (fields >> 3 & 0xF0 | fields >> 1 & 0x0F).astype(np.uint8)
    return found


def cbc_macs(keys: Bytes, blocks: Bytes) -> NDArray[np.uint32]:
    """First four bytes, as a number, of each record's CBC-MAC from zero.

    `keys` has eight bytes a record, `blocks` whole blocks of eight: the message padded as the caller wants it.
    """
    known, macs = tables(), []
    for start in range(0, len(keys), LANES):
        part = blocks[start : start + LANES]
        round_keys = np.ascontiguousarray(_look_up(known.schedule, keys[start : start + LANES]).T)
        left = right = np.zeros(len(part), np.uint64)
        for at in range(0, part.shape[1], BLOCK):
            halves = _look_up(known.first, part[:, at : at + BLOCK])
            left, right = _crypt(left ^ halves[:, 0], right ^ halves[:, 1], round_keys, known.pairs)
        ended = np.concatenate([_contracted(left), _contracted(right)], axis=1)
        macs.append((_look_up(known.final, ended) >> np.uint64(32)).astype(np.uint32))
    return np.concatenate(macs)
