"""Logging for people and machines: readable lines on a terminal, JSON elsewhere, nothing secret in either.

A processor masks long digit strings (card, citizen and account numbers) and replaces bytes by their
length, so that a careless call cannot leak an APDU, a key or a photo.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_LONG_NUMBER = re.compile(r"\b(\d{6})\d{4,}(\d{4}[\dXx]?)\b")


def mask(text: str) -> str:
    """Hide the middle of every number of 14 or more digits.

    >>> mask("card 07001000000102")
    'card 070010****0102'
    """
    return _LONG_NUMBER.sub(r"\1****\2", text)


def _mask_values(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = mask(value)
        elif isinstance(value, bytes | bytearray | memoryview):
            event[key] = f"<{len(value)} bytes>"
    return event


def configure(level: str = "WARNING", json_lines: bool | None = None) -> None:
    """Set up structlog on standard error; `json_lines` None decides by whether that is a terminal."""
    as_json = not sys.stderr.isatty() if json_lines is None else json_lines
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _mask_values,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
