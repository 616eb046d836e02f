"""Identifiers: time-ordered ones for rows, derived ones for things that must be the same when repeated."""

import secrets
import uuid
from datetime import datetime

NAMESPACE = uuid.UUID("6f2b7c52-6b0a-5d11-9b27-1c8f5a30c0de")


def uuid7(now: datetime) -> str:
    """A version 7 UUID (RFC 9562 5.7): 48 bits of milliseconds, then random; sorts by time."""
    milliseconds = int(now.timestamp() * 1000)
    value = (milliseconds & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def derived_id(*parts: str | int) -> str:
    """The same parts always give the same id (RFC 9562 5.5); parts are kept apart by length.

    >>> derived_id("load", 7) == derived_id("load", 7)
    True
    >>> derived_id("a", "bc") == derived_id("ab", "c")
    False
    """
    name = "".join(f"{len(text := str(part))}:{text}" for part in parts)
    return str(uuid.uuid5(NAMESPACE, name))
