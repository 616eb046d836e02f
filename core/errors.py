"""The six errors, named by what the caller should do.

Every error carries a stable code (``P-F01``, ``CHIP-6983``, ``KEY-ORIGIN``). What a person reads, in
both languages, stands in the ``faults.toml`` of the package that raises it (see ``core/faults.py``),
so that console, command line and documents say the same thing. `detail` is for engineers and never
holds a key, a PIN or a person's data; `facts` are small public values the texts may quote.
"""

from typing import ClassVar


class CityError(Exception):
    """Root of all expected errors; anything else that escapes a module is a bug.

    Attributes
    ----------
    code : stable identifier, key of the fault catalogue.
    detail : one English sentence for engineers, may be empty.
    facts : small public values (numbers, identifiers) quoted by the catalogue's texts.
    """

    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 70
    response_code: ClassVar[str] = "96"

    def __init__(self, code: str, detail: str = "", **facts: str | int) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail
        self.facts = facts


class Rejected(CityError):
    """A rule says no; do not retry. For ISO 8583 `response_code` is the rule's own (51, 54, 61, ...)."""

    http_status = 409
    exit_code = 3
    response_code = "05"


class NotFound(CityError):
    """No such thing."""

    http_status = 404
    exit_code = 3
    response_code = "14"


class NotAllowed(CityError):
    """Wrong person, or a second person is missing."""

    http_status = 403
    exit_code = 4
    response_code = "58"


class DeviceFault(CityError):
    """Hardware wants a human."""

    http_status = 503
    exit_code = 5
    response_code = "91"


class Unavailable(CityError):
    """Try again later with the same id."""

    http_status = 503
    exit_code = 6
    response_code = "91"


class EvidenceMismatch(CityError):
    """MAC, TAC, seal or count disagrees: stop the line."""

    http_status = 409
    exit_code = 7
    response_code = "63"
