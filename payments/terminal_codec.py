"""Frozen records to JSON values and back, for the terminal's store: bytes as hex, enumerations by value.

The types come from the dataclass itself, so a new field with a default reads old files as well. A field
that is missing without a default, or of a wrong type, is ValueError.
"""

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache, partial
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
Convert = Callable[[Any], Any]


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
    for name, convert, optional in _plan(hashable):
        if name in value:
            given[name] = convert(value[name])
        elif not optional:
            raise ValueError(f"{kind.__name__} lacks {name}")
    return kind(**given)


@cache
def _plan(kind: Any) -> tuple[tuple[str, Convert, bool], ...]:
    """Each field with what turns its JSON value back; made once: a start reads thousands of records."""
    hints = get_type_hints(kind)
    return tuple(
        (
            f.name,
            _converter(hints[f.name]),
            f.default is not MISSING or f.default_factory is not MISSING,
        )
        for f in fields(kind)
    )


def _converter(expected: Any) -> Convert:
    origin = get_origin(expected)
    if origin in (Union, UnionType):
        (arm,) = (_converter(arm) for arm in get_args(expected) if arm is not type(None))
        return lambda value: None if value is None else arm(value)
    if origin is tuple:
        item = _converter(get_args(expected)[0])
        return lambda value: tuple(item(one) for one in value)
    if expected is bytes:
        return lambda value: bytes.fromhex(_checked(str, value))
    if is_dataclass(expected) and isinstance(expected, type):
        return partial(restore, expected)
    if issubclass(expected, StrEnum):
        return partial(_member, expected)
    return partial(_checked, expected)


def _member(expected: type[StrEnum], value: Any) -> StrEnum:
    return expected(value)


def _checked(expected: type[Any], value: Any) -> Any:
    if not isinstance(value, expected):
        raise ValueError(f"expected {expected.__name__}")
    return value
