"""How personal numbers and names are shown to people who need not know them, and kept out of free text (17).

>>> mask_citizen_id("994300198502130012"), mask_name("张伟"), mask_name("欧阳静怡"), mask_phone("10012345678")
('994300********0012', '张*', '欧***', '100****5678')
"""

import re

from core.errors import Rejected

# identity numbers (15 or 18), telephones (7 and more), also with blanks or hyphens between, any width of digit
_NUMBER = re.compile(r"(?:\d[\s-]?){6,}\d|\d{14,}[\dXx]")


def mask_citizen_id(number: str) -> str:
    """First six and last four digits."""
    return number[:6] + "*" * max(0, len(number) - 10) + number[-4:]


def mask_name(name: str) -> str:
    """The first character only."""
    return name[:1] + "*" * (len(name) - 1)


def mask_phone(number: str) -> str:
    """First three and last four digits."""
    return number[:3] + "*" * max(0, len(number) - 7) + number[-4:] if number else ""


def refuse_personal(text: str) -> None:
    """For what people type in a sentence, which stands open in the registers and the event log.

    Raises Rejected E-PERSONAL for a number of seven digits and more. A name cannot be told from words by a
    machine: who types is told to name nobody.
    """
    if _NUMBER.search(text):
        raise Rejected("E-PERSONAL", "a number of seven digits and more")
