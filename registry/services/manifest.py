"""What a service says of itself: owner, legal basis, data, behaviour, chip space (residence.md 14).

A TOML file per service in ``modules/``. Read strictly: an unknown or missing word refuses the whole file, so
that nothing slips onto the card that nobody described.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

from core.errors import Rejected

MAX_BYTES = 8_192
MAX_ID = 0xFFFF
MAX_FILES = 8
AREAS = ("labour", "rental", "education", "medical", "family_planning", "public")
FIELDS = frozenset(
    {
        "permit_status", "basis", "employed_since", "address_text", "lives_there_since",
        "birth_year", "name_masked",
    }
)  # fmt: skip
HOOKS = frozenset({"personalise", "activate", "dormant", "wake", "replace", "cancel"})


class Requires(StrEnum):
    """The permit's state a service needs."""

    ACTIVE = "ACTIVE"
    VALID = "VALID"  # asleep will do, as long as it is not expired or cancelled
    NONE = "NONE"


@dataclass(frozen=True)
class ChipFile:
    """A file the service wants in the residence application."""

    fid: int
    size: int


@dataclass(frozen=True)
class Manifest:
    """One service. `id` is its number in EF.SVC (1..65535); `data_fields` is all it may ever see."""

    id: int
    code: str
    version: int
    name_zh: str
    name_en: str
    owner_org: str
    area: str
    legal_basis: str
    purpose: str
    data_fields: tuple[str, ...]
    retention_days: int
    requires: Requires
    dormant_ok: bool
    offline: bool
    eeprom_bytes: int
    files: tuple[ChipFile, ...]
    hooks: tuple[str, ...]
    kpi: tuple[str, ...]


WORDS = frozenset(Manifest.__dataclass_fields__)


def parse(text: bytes) -> Manifest:
    """Read a manifest. Raises Rejected E-MANIFEST with the word that is wrong."""
    if len(text) > MAX_BYTES:
        raise _wrong("size")
    try:
        raw = tomllib.loads(text.decode("utf-8"))
    except ValueError as reason:
        raise _wrong("toml") from reason
    for word in sorted(WORDS ^ set(raw)):
        raise _wrong(word)
    numbers = ("id", "version", "retention_days", "eeprom_bytes")
    texts = ("code", "name_zh", "name_en", "owner_org", "area", "legal_basis", "purpose")
    for word in numbers:
        if type(raw[word]) is not int or not 0 <= raw[word] <= MAX_ID:
            raise _wrong(word)
    for word in texts:
        if not isinstance(raw[word], str) or (not raw[word].strip() and word != "legal_basis"):
            raise _wrong(word)
    for word in ("dormant_ok", "offline"):
        if type(raw[word]) is not bool:
            raise _wrong(word)
    return _checked(raw)


def _checked(raw: Mapping[str, Any]) -> Manifest:
    if raw["id"] == 0 or raw["area"] not in AREAS:
        raise _wrong("id" if raw["id"] == 0 else "area")
    _words(raw, "data_fields", FIELDS)
    _words(raw, "hooks", HOOKS)
    _words(raw, "kpi", None)
    try:
        requires = Requires(raw["requires"])
        files = tuple(ChipFile(**entry) for entry in raw["files"])
    except (ValueError, TypeError) as reason:
        raise _wrong("requires" if raw["requires"] not in list(Requires) else "files") from reason
    if len(files) > MAX_FILES or sum(file.size for file in files) > raw["eeprom_bytes"]:
        raise _wrong("eeprom_bytes")
    if raw["dormant_ok"] and requires is Requires.ACTIVE:
        raise _wrong("dormant_ok")
    lists = {word: tuple(raw[word]) for word in ("data_fields", "hooks", "kpi")}
    return Manifest(**{**raw, **lists, "requires": requires, "files": files})


def _words(raw: Mapping[str, Any], word: str, allowed: frozenset[str] | None) -> None:
    values = raw[word]
    good = isinstance(values, list) and all(isinstance(one, str) for one in values)
    if (
        not good
        or len(set(values)) != len(values)
        or (allowed is not None and not set(values) <= allowed)
    ):
        raise _wrong(word)


def _wrong(word: str) -> Rejected:
    return Rejected("E-MANIFEST", f"the manifest's {word} is missing, unknown or wrong", word=word)


@cache
def shipped() -> dict[str, Manifest]:
    """The manifests that ship with the system, by code. A wrong one is a bug."""
    folder = resources.files("registry.services").joinpath("modules")
    found = [parse(file.read_bytes()) for file in folder.iterdir() if file.name.endswith(".toml")]
    if len({one.id for one in found}) != len(found) or len({one.code for one in found}) != len(
        found
    ):
        raise AssertionError("two services share a number or a code")
    return {one.code: one for one in sorted(found, key=lambda one: one.id)}
