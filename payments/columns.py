"""Fixed-width lines whose fields are separated by one blank: easy to read, and a wrong offset shows at once."""

from collections.abc import Sequence
from functools import cache

from core.errors import EvidenceMismatch


class LineFault(EvidenceMismatch):
    """A line does not have its form: `FILE-LINE`, with its running number and the reason."""

    response_code = "30"

    def __init__(self, number: int, reason: str) -> None:
        super().__init__("FILE-LINE", f"line {number}: {reason}", line=number, reason=reason)
        self.number = number
        self.reason = reason


def join(values: Sequence[str], widths: Sequence[int], length: int = 0) -> str:
    """One line; values shorter than their width are text and get blanks behind, longer ones are a mistake."""
    if len(values) != len(widths):
        raise ValueError("as many values as widths")
    for value, width in zip(values, widths, strict=True):
        if len(value) > width or not value.isprintable() or not value.isascii():
            raise ValueError(f"a value does not fit {width} characters")
    line = " ".join(value.ljust(width) for value, width in zip(values, widths, strict=True))
    return line.ljust(length)


def split(line: str, widths: Sequence[int], number: int = 0, length: int = 0) -> list[str]:
    """The fields of a line, blanks kept. Raises LineFault."""
    needed = sum(widths) + len(widths) - 1
    if len(line) != (length or needed):
        raise LineFault(number, "length")
    places, blanks = _places(tuple(widths))
    if any(line[at] != " " for at in blanks):
        raise LineFault(number, "separator")
    if line[needed:].strip(" "):
        raise LineFault(number, "filling")
    return [line[place] for place in places]


@cache
def _places(widths: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[int, ...]]:
    """Where the fields stand, and the blanks between them."""
    starts = [sum(widths[:n]) + n for n in range(len(widths))]
    places = tuple(slice(at, at + width) for at, width in zip(starts, widths, strict=True))
    return places, tuple(at - 1 for at in starts[1:])


def number_of(text: str, line: int) -> int:
    """A number with zeros in front. Raises LineFault."""
    if not (text.isascii() and text.isdecimal()):
        raise LineFault(line, "digits")
    return int(text)


def signed(value: int, width: int, negative: str = "D", positive: str = "C") -> str:
    """A sign and digits."""
    return f"{negative if value < 0 else positive}{abs(value):0{width - 1}d}"


def unsigned(text: str, line: int, negative: str = "D") -> int:
    """The inverse of `signed`. Raises LineFault."""
    if text[:1] not in ("C", "D"):
        raise LineFault(line, "sign")
    value = number_of(text[1:], line)
    return -value if text[0] == negative else value
