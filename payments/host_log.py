"""How the host says that something unexpected happened: kind and place, never a value.

A traceback's texts and variables may hold a message, a MAC2 or an account number (a database error quotes its
parameters), so neither is logged; kind, file, line and function are enough to find the fault.
"""

import traceback

import structlog

_log = structlog.get_logger("purse.host")
DEEPEST = 6


def unexpected(what: str, error: BaseException) -> None:
    """Log an error that should not happen."""
    frames = traceback.extract_tb(error.__traceback__)[-DEEPEST:]
    places = [
        f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames
    ]
    _log.error(what, kind=type(error).__name__, places=places)
