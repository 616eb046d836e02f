"""The printer's status words, positions and last answers, and what they mean for a person (printer.md 2.6, 2.8).

Warnings say "a card cannot be started", errors say "a card was interrupted".
"""

from enum import IntFlag

from printer.port import Position


class Config(IntFlag):
    """First word of `Rst`: what is fitted."""

    FLIP = 0x00100000
    CONTACTLESS = 0x00080000
    SMART = 0x00040000
    MAGNETIC = 0x00020000
    FEED_BY_FEEDER = 0x00002000
    REJECT_SLOT = 0x00000020


class Info(IntFlag):
    """Second word: what is going on."""

    CARD_HOPPER = 0x40000000
    CARD_FEEDER = 0x20000000
    CARD_CONTACTLESS = 0x08000000
    CARD_SMART = 0x04000000
    CARD_PRINT = 0x02000000
    CARD_EJECT = 0x01000000
    PRINTER_MASTER = 0x00800000
    UNKNOWN_RIBBON = 0x00100000
    RIBBON_LOW = 0x00080000
    CLEANING_MANDATORY = 0x00040000
    CLEANING = 0x00020000
    RESET = 0x00010000
    BUSY = 0x00000001


class Warn(IntFlag):
    """Third word: why a card cannot be started."""

    REJECT_BOX_FULL = 0x08000000
    FEEDER_EMPTY = 0x01000000
    COOLING = 0x00200000
    HOPPER_FULL = 0x00100000
    RIBBON_ENDED = 0x00080000
    COVER_OPEN = 0x00020000
    NO_RIBBON = 0x00010000
    UNSUPPORTED_RIBBON = 0x00008000


class Err(IntFlag):
    """Fourth word: why a card was interrupted."""

    HEAD_TEMP = 0x20000000
    FEEDER_ERROR = 0x08000000
    RIBBON_ERROR = 0x04000000
    COVER_OPEN = 0x02000000
    MECHANICAL = 0x01000000
    REJECT_BOX_FULL = 0x00800000
    BAD_RIBBON = 0x00400000
    RIBBON_ENDED = 0x00200000
    HOPPER_FULL = 0x00100000


WARNING_CODES = {
    Warn.COVER_OPEN: "P-C01",
    Warn.FEEDER_EMPTY: "P-F01",
    Warn.RIBBON_ENDED: "P-R01",
    Warn.NO_RIBBON: "P-R06",
    Warn.UNSUPPORTED_RIBBON: "P-R04",
    Warn.COOLING: "P-T01",
    Warn.HOPPER_FULL: "P-H03",
    Warn.REJECT_BOX_FULL: "P-H04",
}

# Answers of `Rlr` in the machine's words, and the NAK code that goes with each.
OK = "OK"
ANSWER_CODES = {
    "ERR COMMAND": "1",
    "ERR PARAM": "2",
    "ERR FEEDER": "F",
    "ERR NO CARD": "T",
    "ERR MECHANICAL": "T",
    "ERR HOPPER FULL": "T",
    "ERR REJECT BOX FULL": "T",
    "ERR HEAD TEMP": "T",
    "ERR TIMEOUT": "T",
    "ERR POWER": "T",
    "ERR COVER OPEN": "C",
    "ERR RIB DETECTION": "R",
    "ERR RIBBON END": "R",
    "ERR RIBBON BROKEN": "R",
    "ERR BAD RIBBON": "R",
    "ERR NEED CLEANING": "F",
}

_POSITIONS = {
    "OK": Position.NONE,
    "NO CARD": Position.NONE,
    "CARD": Position.PRINT,
    "ERR CARD": Position.PRINT,
    "SMART CARD": Position.CONTACT,
    "CONTACTLESS CARD": Position.CONTACTLESS,
}


def parse_position(text: str) -> Position:
    """Both vocabularies of `Rlr;p`; anything else is UNKNOWN."""
    return _POSITIONS.get(text, Position.UNKNOWN)


def parse_words(text: str) -> tuple[Config, Info, Warn, Err]:
    """The four words of `Rst`: ``cfg;inf;war;err`` in hex. ValueError when they are not."""
    words = [int(word, 16) for word in text.split(";")]
    if len(words) != 4:
        raise ValueError("Rst has four words")
    return Config(words[0]), Info(words[1]), Warn(words[2]), Err(words[3])


def warning_codes(info: Info, warnings: Warn) -> tuple[str, ...]:
    """Fault codes that keep a card from being started, in a fixed order."""
    found = [code for flag, code in WARNING_CODES.items() if flag in warnings]
    if Info.CLEANING_MANDATORY in info:
        found.append("P-K02")
    return tuple(found)


def notice_codes(info: Info) -> tuple[str, ...]:
    """Fault codes worth a look soon."""
    found = []
    if Info.RIBBON_LOW in info:
        found.append("P-R05")
    if Info.CLEANING in info and Info.CLEANING_MANDATORY not in info:
        found.append("P-K01")
    return tuple(found)
