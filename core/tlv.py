"""BER-TLV, the strict subset cards use (ISO/IEC 7816-4 annex D): definite lengths only.

Tags are one or two bytes, lengths up to 65535 in the shortest form, nesting at most `MAX_DEPTH`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

MAX_DEPTH = 8
MAX_LENGTH = 0xFFFF


@dataclass(frozen=True)
class Tlv:
    """One data object. `tag` as a number (0x84, 0x9F0C)."""

    tag: int
    value: bytes

    @property
    def constructed(self) -> bool:
        """Whether the value is itself a list of data objects (bit 6 of the first tag byte)."""
        first = self.tag >> 8 if self.tag > 0xFF else self.tag
        return bool(first & 0x20)

    def __bytes__(self) -> bytes:
        tag = self.tag.to_bytes(2 if self.tag > 0xFF else 1, "big")
        return tag + _length(len(self.value)) + self.value

    def children(self) -> list[Self]:
        """The data objects inside a constructed one."""
        return list(parse_all(self.value))  # type: ignore[arg-type]


def _length(size: int) -> bytes:
    if size > MAX_LENGTH:
        raise ValueError("value too long")
    if size < 0x80:
        return bytes((size,))
    if size <= 0xFF:
        return bytes((0x81, size))
    return b"\x82" + size.to_bytes(2, "big")


def _read_tag(data: bytes, at: int) -> tuple[int, int]:
    first = data[at]
    if first & 0x1F != 0x1F:
        return first, at + 1
    if at + 1 >= len(data):
        raise ValueError(f"tag is cut at offset {at}")
    second = data[at + 1]
    if second & 0x80:  # values below 1F are against ISO/IEC 8825-1, but EMV's 9F02 family uses them
        raise ValueError(f"tag at offset {at} is not in the two-byte form")
    return first << 8 | second, at + 2


def _read_length(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise ValueError(f"length is missing at offset {at}")
    first = data[at]
    if first < 0x80:
        return first, at + 1
    count = first & 0x7F
    if count not in (1, 2) or at + 1 + count > len(data):
        raise ValueError(f"length at offset {at} is not a definite short one")
    size = int.from_bytes(data[at + 1 : at + 1 + count], "big")
    if size < 0x80 or (count == 2 and size <= 0xFF):
        raise ValueError(f"length at offset {at} is not in the shortest form")
    return size, at + 1 + count


def parse_all(data: bytes) -> Iterator[Tlv]:
    """All data objects of `data`, one after the other. ValueError names the offset of the fault."""
    at = 0
    while at < len(data):
        tag, after_tag = _read_tag(data, at)
        size, start = _read_length(data, after_tag)
        if start + size > len(data):
            raise ValueError(f"value of tag {tag:X} is cut at offset {start}")
        yield Tlv(tag, data[start : start + size])
        at = start + size


def parse(data: bytes) -> Tlv:
    """Exactly one data object and nothing behind it."""
    objects = list(parse_all(data))
    if len(objects) != 1:
        raise ValueError("exactly one data object is expected")
    return objects[0]


def find(data: bytes, *path: int) -> bytes | None:
    """The value at a path of tags, for example ``find(fci, 0x6F, 0xA5, 0x9F0C)``; None if absent."""
    if len(path) > MAX_DEPTH:
        raise ValueError("path is deeper than any card's answer")
    for tag in path:
        for item in parse_all(data):
            if item.tag == tag:
                data = item.value
                break
        else:
            return None
    return data
