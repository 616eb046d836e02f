"""How personal numbers and names are shown to people who need not know them (residence.md 17).

>>> mask_citizen_id("994300198502130012"), mask_name("张伟"), mask_name("欧阳静怡"), mask_phone("10012345678")
('994300********0012', '张*', '欧***', '100****5678')
"""


def mask_citizen_id(number: str) -> str:
    """First six and last four digits."""
    return number[:6] + "*" * max(0, len(number) - 10) + number[-4:]


def mask_name(name: str) -> str:
    """The first character only."""
    return name[:1] + "*" * (len(name) - 1)


def mask_phone(number: str) -> str:
    """First three and last four digits."""
    return number[:3] + "*" * max(0, len(number) - 7) + number[-4:] if number else ""
