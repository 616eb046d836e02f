"""Frozen records to JSON values and back, for the terminal's store: bytes as hex, enumerations by value.

The types come from the dataclass itself, so a new field with a default reads old files as well. A field
that is missing without a default, or of a wrong type, is ValueError.
"""

from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def plain(value: Any) -> Any:
    """A dataclass value as what JSON can hold."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def restore(kind: type[T], value: Any) -> T:
    """The dataclass of `kind` that `plain` came from."""
    if not isinstance(value, dict):
        raise ValueError(f"a {kind.__name__} is an object")
    given = {}
    hashable: Any = kind
    for name, expected, optional in _plan(hashable):
        if name in value:
            given[name] = _value(expected, value[name])
        elif not optional:
            raise ValueError(f"{kind.__name__} lacks {name}")
    return kind(**given)


@cache
def _plan(kind: Any) -> tuple[tuple[str, Any, bool], ...]:
    hints = get_type_hints(kind)
    return tuple(
        (f.name, hints[f.name], f.default is not MISSING or f.default_factory is not MISSING)
        for f in fields(kind)
    )


def _value(expected: Any, value: Any) -> Any:
    origin = get_origin(expected)
    if origin in (Union, UnionType):
        if value is None:
            return None
        (expected,) = (arm for arm in get_args(expected) if arm is not type(None))
        return _value(expected, value)
    if origin is tuple:
        return tuple(_value(get_args(expected)[0], item) for item in value)
    if expected is bytes:
        return bytes.fromhex(value)
    if is_dataclass(expected) and isinstance(expected, type):
        return restore(expected, value)
    if isinstance(expected, type) and issubclass(expected, StrEnum):
        return expected(value)
    if not isinstance(value, expected):
        raise ValueError(f"expected {expected.__name__}")
    return value
