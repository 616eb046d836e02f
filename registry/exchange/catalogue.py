"""The interface catalogue: who owns a message type, who gets it, its version and fields (residence.md 10.1).

A sender that breaks its own form is a bug of ours; a message that arrives broken is refused with
E-MSG-FORM and not retried (10.4, `bad_request`).
"""

import hashlib
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

from core.errors import Rejected
from registry.exchange.messages import Envelope, Type

MAX_ID, MAX_TEXT, MAX_TEXTS = 40, 200, 50


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(date.fromisoformat(value))
    except ValueError:
        return False


KINDS: Mapping[str, Callable[[Any], bool]] = {
    "id": lambda value: isinstance(value, str) and 0 < len(value) <= MAX_ID,
    "code": lambda value: isinstance(value, str) and value.isascii() and value.isdigit(),
    "date": _is_date,
    "text": lambda value: isinstance(value, str) and len(value) <= MAX_TEXT,
    "number": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "texts": lambda value: (
        isinstance(value, list)
        and len(value) <= MAX_TEXTS
        and all(isinstance(item, str) and len(item) <= MAX_ID for item in value)
    ),
}


@dataclass(frozen=True)
class Interface:
    """One message type. `digest` is over version-independent content: owner, receivers, fields."""

    type: Type
    version: str
    owner: tuple[str, ...]
    to: tuple[str, ...]
    category: str
    event: str
    fields: Mapping[str, str]
    optional: Mapping[str, str]

    @property
    def digest(self) -> str:
        """What a version stands for, 16 hex digits; pinned by a test."""
        content = [self.owner, self.to, dict(self.fields), dict(self.optional)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@cache
def all_interfaces() -> Mapping[Type, Interface]:
    """Every type has exactly one entry; anything else is a bug."""
    text = resources.files("registry.exchange").joinpath("catalogue.toml").read_text("utf-8")
    entries = tomllib.loads(text)
    if set(entries) != {str(kind) for kind in Type}:
        raise AssertionError("catalogue and message types differ")
    return {
        Type(name): Interface(
            Type(name), entry["version"], tuple(entry["owner"]), tuple(entry["to"]),
            entry["category"], entry["event"], entry["fields"], entry.get("optional", {}),
        )
        for name, entry in entries.items()
    }  # fmt: skip


def of(kind: Type) -> Interface:
    """The entry of a type."""
    return all_interfaces()[kind]


def event_kinds() -> list[str]:
    """The event kinds that announce messages."""
    return sorted({interface.event for interface in all_interfaces().values()})


def concerns(message: Envelope, consumer: str) -> bool:
    """Whether a message is for a consumer."""
    return consumer in of(message.type).to and message.addressee in ("", consumer)


def check(message: Envelope) -> None:
    """Raises Rejected E-MSG-FORM with the field: wrong owner, version, missing, unknown or malformed."""
    interface = of(message.type)
    if message.source not in interface.owner:
        raise _broken(message, "source")
    if message.schema.split(".")[0] != interface.version.split(".")[0]:
        raise _broken(message, "schema")  # a new major version is another contract
    if message.subject_seq < 1 or not 0 < len(message.subject) <= MAX_ID:
        raise _broken(message, "subject")
    known = {**interface.fields, **interface.optional}
    for name in interface.fields:
        if name not in message.payload:
            raise _broken(message, name)
    for name, value in message.payload.items():
        if name not in known or not KINDS[known[name]](value):
            raise _broken(message, name)


def _broken(message: Envelope, name: str) -> Rejected:
    return Rejected("E-MSG-FORM", f"{message.type}: {name}", type=str(message.type), field=name)
