"""The HSM as everybody else sees it: one port, one typed request per command, no key and no cryptography.

The requests stand in `generic_requests`, `issue_requests`, `purse_requests`, `terminal_requests`,
`audit_requests` and `data_requests`; `hsm_sim.tcp` has the client that speaks TLS to a server::

    slots = KeySlots.load(home / "slots.json")
    mac2 = hsm.call(Load(slots["purse-dlk-01"], (factor,), random=..., ...))

A key is named by the text of its key field: ``K`` and a slot for a resident key, ``S`` and a block for
a token the HSM gave out earlier, which nobody but the HSM may look into (R-2). Refusals come as the errors of
`hsm_sim.errors`, code ``HSM-xx``.
"""

import json
from abc import ABC
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from core.errors import NotFound, Rejected
from hsm_sim.codec import Layout

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
SLOTS_FILE = "slots.json"
SLOTS_SCHEMA = "citycard/hsm-slots/1"


class Role(StrEnum):
    """What a client of the HSM is; a certificate has exactly one (section 7)."""

    ISSUE = "ISSUE"
    DESK = "DESK"
    PURSE = "PURSE"
    SWITCH = "SWITCH"
    TERMS = "TERMS"
    AUDIT = "AUDIT"
    DATA = "DATA"
    SEAL = "SEAL"
    MONITOR = "MONITOR"


class NotSupportedByDevice(Rejected):
    """This back-end does not know the command (a payShield knows none whose code begins with a digit)."""


class Request(ABC, Generic[R_co]):
    """One command of one form: its fields, and how to read its answer.

    `code` and `roles` say what it is and who may send it (the port picks the connection by it);
    `layout` and `answer` are its fields on the wire, named as the attributes.
    """

    code: ClassVar[str]
    roles: ClassVar[tuple[Role, ...]]
    layout: ClassVar[Layout]
    answer: ClassVar[Layout] = Layout()
    bulk: ClassVar[bool] = False
    on_one_connection: ClassVar[bool] = (
        False  # commands of a secure channel, which has its handle there
    )

    def encode(self) -> bytes:
        """The fields as bytes; ValueError when a value does not fit its field."""
        return self.layout.encode(vars(self))

    @classmethod
    def decode(cls, text: str) -> tuple[Self, str]:
        """The request in a body read as Latin-1, and the trailer; raises HSM-15, 13, 26, 80."""
        values, trailer = cls.layout.decode(text)
        return cls.of(values), trailer

    @classmethod
    def of(cls, values: list[Any]) -> Self:
        """A request of the layout's values, in order (they are of the right form already)."""
        made = cls.__new__(cls)
        made.__dict__.update(zip(cls.layout.names, values, strict=True))
        return made

    def parse(self, data: bytes) -> R_co:
        """The answer: nothing, the single value, or the tuple of values of `answer`."""
        values = self.answer.read(data)
        result: Any = None if not values else values[0] if len(values) == 1 else tuple(values)
        return result  # type: ignore[no-any-return]  # R and `answer` are declared side by side


class Hsm(Protocol):
    """Port: an HSM that answers requests. Safe to share between threads."""

    def call(self, request: Request[R]) -> R:
        """The answer; raises the errors of `hsm_sim.errors` (HSM-01 when a verification fails)."""
        ...


class PinPad(Protocol):
    """Port: the keys of one terminal or counter, inside its PIN pad (iso8583-host.md 9.1).

    Keys come in wrapped and never leave; what was loaded before stays when anything is wrong.
    """

    def load_master_key(self, exported: str, check_value: str) -> None:
        """Take the TMK as `A0` mode 1 exported it under the pad's transport key (``R`` + block).

        Raises EvidenceMismatch (PAD-KCV) and Rejected (PAD-KEY).
        """
        ...

    def load_work_keys(self, field_62: bytes) -> None:
        """Take PIK and MAK of a sign-on answer: 40 bytes, each key with 4 bytes check value (7.1, I-9).

        A second half of the MAK that is eight zero bytes makes it single-length. Both check values are
        tested before anything is replaced; raises EvidenceMismatch (PAD-KCV), Rejected (PAD-KEY).
        """
        ...

    def make_mac(self, mab: bytes) -> bytes:
        """Field 64 over these bytes as they go over the wire: 8 ASCII characters (9.2)."""
        ...

    def check_mac(self, mab: bytes, mac: bytes) -> None:
        """Compare a received field 64 in constant time; raises EvidenceMismatch (PAD-MAC)."""
        ...

    def pin_block(self, account: str) -> bytes:
        """The PIN the holder typed, ISO format 0 with these 12 digits, encrypted under the PIK.

        For field 52 the 12 digits left of the account's check digit; for HSM `34` the last 12
        digits of the card serial. Raises Rejected (PAD-PIN) when no PIN was typed, (PAD-CANCEL)
        when the holder pressed cancel.
        """
        ...


@dataclass(frozen=True)
class KeySlot:
    """One resident key as the directory names it; never its value."""

    kid: str
    slot: int
    usage: str
    scope: str
    version: str
    alg: str
    state: str
    kcv: str

    @property
    def field(self) -> str:
        """Its key field: ``K`` and three hex characters."""
        return f"K{self.slot:03X}"


class KeySlots(Mapping[str, str]):
    """Which slot holds which key: ``slots["purse-dlk-01"]`` is ``K004``. Immutable.

    The HSM leaves it as ``slots.json`` beside its key file after every change, without any secret.
    """

    def __init__(self, keys: tuple[KeySlot, ...]) -> None:
        self.keys_known = keys
        self._fields = {key.kid: key.field for key in keys}
        self._by_use: dict[tuple[str, str, int], str] = {}
        for key in keys:
            self._by_use.setdefault((key.usage, key.scope, int(key.version, 16)), key.field)

    @classmethod
    def load(cls, path: Path) -> "KeySlots":
        """Read the file; raises NotFound (HSM-SLOTS) when it is not there or not one."""
        try:
            value = json.loads(path.read_text("utf-8"))
            if value["schema"] != SLOTS_SCHEMA:
                raise KeyError("schema")
            return cls(tuple(KeySlot(**entry) for entry in value["keys"]))
        except (OSError, ValueError, KeyError, TypeError):
            raise NotFound("HSM-SLOTS", "no key directory of an HSM", file=path.name) from None

    def text(self) -> bytes:
        """The file."""
        keys = [vars(key) for key in self.keys_known]
        return (json.dumps({"schema": SLOTS_SCHEMA, "keys": keys}, indent=1) + "\n").encode()

    def __getitem__(self, kid: str) -> str:
        return self._fields[kid]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def find(self, usage: str, scope: str, version: int = 1) -> str:
        """Key field of (usage, scope, version), as hosts look masters up (8.3).

        Raises NotFound (HSM-NO-KEY). Card key versions are one byte, the directory has two hex digits.
        """
        field = self._by_use.get((usage, scope, version))
        if field is None:
            raise NotFound("HSM-NO-KEY", "no such key", usage=usage, scope=scope, version=version)
        return field
