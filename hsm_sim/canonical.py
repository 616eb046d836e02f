"""One spelling for every value that is hashed or signed: RFC 8785, restricted (hsm-and-ceremony.md 11.2).

Objects, arrays, strings, booleans and integers within 2^53 - 1; member names are ASCII and sorted, text is
NFC; no null, no floats, no white space. The verifier has its own copy of this rule on purpose: the
vectors (`canonical-json`) judge both.
"""

import json
import unicodedata
from typing import Any

from core.errors import Rejected

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 32


class NotCanonical(Rejected):
    """Bytes or a value outside the canonical form."""


def encode(value: Any) -> bytes:
    """The canonical bytes of a value; raises NotCanonical (CANON) when it has none."""
    _require(value, 0)
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise NotCanonical("CANON", "text holds half a surrogate pair") from None


def decode(text: bytes) -> Any:
    """The value of bytes that are exactly canonical; raises NotCanonical (CANON) for all others."""
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_members)
    except (ValueError, RecursionError):
        raise NotCanonical("CANON", "not JSON text") from None
    if encode(value) != text:
        raise NotCanonical("CANON", "not the canonical spelling")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotCanonical("CANON", "an object has a member twice")
    return found


def _require(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise NotCanonical("CANON", f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        for name, member in value.items():
            if not isinstance(name, str) or not name.isascii():
                raise NotCanonical("CANON", "a member name is not ASCII text")
            _require(member, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _require(item, depth + 1)
    elif isinstance(value, str):
        if not unicodedata.is_normalized("NFC", value):
            raise NotCanonical("CANON", "text is not in NFC")
    elif not isinstance(value, int) or abs(value) > MAX_INTEGER:
        raise NotCanonical("CANON", f"{type(value).__name__} or integer out of range")
