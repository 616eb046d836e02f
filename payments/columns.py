"""Fixed-width lines whose fields are separated by one blank: easy to read, and a wrong offset shows at once."""

from collections.abc import Sequence

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
    found: list[str] = []
    at = 0
    for index, width in enumerate(widths):
        found.append(line[at : at + width])
        at += width
        if index < len(widths) - 1 and line[at] != " ":
            raise LineFault(number, "separator")
        at += 1
    if line[needed:].strip(" "):
        raise LineFault(number, "filling")
    return found


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
