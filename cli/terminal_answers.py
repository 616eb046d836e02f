"""What a terminal's step answers, and how a typed line is read."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.errors import Rejected
from core.money import parse_yuan

MAX_LINE = 200
# What the same card told of a torn purchase or load, for the holder.
OUTCOMES = {
    "void": ("not charged", "未扣款"),
    "uncertain": ("not certain, kept for the centre", "无法确认，待中心处理"),
    "suspect": ("the card is not genuine", "卡片存疑"),
    "confirmed": ("loaded", "圈存成功"),
    "credited": ("loaded, to be confirmed", "圈存成功，待确认"),
    "reversing": ("not loaded, being taken back", "未圈存，冲正中"),
    "reversed": ("not loaded, taken back", "未圈存，已冲正"),
}


@dataclass(frozen=True)
class Answer:
    """What a step did. `mood`: good, bad (refused, nothing happened), again (hold the same card again)."""

    facts: dict[str, Any]
    en: str
    zh: str
    mood: str = "good"


def split(line: str) -> list[str]:
    """A line's words; what is behind ``#`` is none. Raises Rejected TERM-WORD."""
    if len(line) > MAX_LINE:
        raise Rejected("TERM-WORD", "the line is too long", word=line[:10])
    try:
        return shlex.split(line, comments=True)
    except ValueError as reason:
        raise Rejected("TERM-WORD", str(reason), word=line[:10]) from None


def take(words: list[str], least: int, most: int, usage: str) -> list[str]:
    """`words`, filled up to `most` with empty ones. Raises Rejected TERM-USAGE, which shows `usage`."""
    if not least <= len(words) <= most:
        raise Rejected("TERM-USAGE", f"{len(words)} words", usage=usage)
    return words + [""] * (most - len(words))


def fen_of(text: str) -> int:
    """Fen from typed yuan. Raises Rejected TERM-WORD."""
    try:
        fen = parse_yuan(text)
    except ValueError:
        fen = -1
    if fen < 0:
        raise Rejected("TERM-WORD", "an amount is yuan, for example 2.50", word=text)
    return fen


def verifier(pin: str) -> Callable[[Any], None]:
    """Presents the purse PIN to a card. Rejected TERM-PIN when none or no digits were typed."""
    from cardos.requests import VerifyPin

    if not (pin.isascii() and pin.isdigit() and 4 <= len(pin) <= 12):
        raise Rejected("TERM-PIN", "type the purse PIN first")
    packed = bytes.fromhex(pin if len(pin) % 2 == 0 else pin + "F")
    return lambda card: card.send(VerifyPin(packed))
