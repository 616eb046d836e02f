"""Field 58, the purse's own data inside a message (iso8583-host.md 5).

Two ASCII letters say which of the layouts follows; numbers are big-endian. Issuer and ASN are copied exactly
as read from the card and never reformatted. Amounts and balances are fen, counters numbers, dates and times
BCD bytes, `psam` the 6-byte terminal number inside the PSAM.

==== ========================= ===== =============================================================
flag use                       bytes layout behind the flag
==== ========================= ===== =============================================================
RQ   load request              48    issuer 8, asn 10, random 4, key index 1, key version 1, online
                                     counter 2, balance 4, amount 4, type 1, psam 6, MAC1 4, algorithm 1
RP   load answer               43    issuer 8, asn 10, amount 4, type 1, psam 6, date 4, time 3,
                                     MAC2 4, algorithm 1
SV   load confirmation         55    issuer 8, asn 10, random 4, key index 1, key version 1, online
                                     counter 2, amount 4, type 1, psam 6, date 4, time 3, TAC 4,
                                     balance after 4, algorithm 1
SX   load, outcome unknown     55    as SV, TAC 00000000, balance FFFFFFFF
TA   off-line purchase         59    issuer 8, asn 10, random 4, key index 1, key version 1, offline
                                     counter 2, amount 4, type 1, psam 6, terminal counter 4, date 4,
                                     time 3, TAC 4, balance before 4, algorithm 1
UQ   unload request            48    as RQ; UP: as RP; UV: as SV with MAC3 in place of the TAC
==== ========================= ===== =============================================================
"""

import struct
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, ClassVar, Self

from core.clock import SHANGHAI
from core.errors import Rejected

LOAD_REQUEST, LOAD_ANSWER, LOAD_CONFIRMATION, LOAD_UNKNOWN = "RQ", "RP", "SV", "SX"
PURCHASE = "TA"
UNLOAD_REQUEST, UNLOAD_ANSWER, UNLOAD_CONFIRMATION = "UQ", "UP", "UV"

_REQUEST = struct.Struct(">8s10s4sBBHIIB6s4sB")
_ANSWER = struct.Struct(">8s10sIB6s4s3s4sB")
_CONFIRMATION = struct.Struct(">8s10s4sBBHIB6s4s3s4sIB")
_PURCHASE = struct.Struct(">8s10s4sBBHIB6sI4s3s4sIB")
FLAG_LENGTH = 2
FORMS: dict[str, struct.Struct] = {
    LOAD_REQUEST: _REQUEST,
    UNLOAD_REQUEST: _REQUEST,
    LOAD_ANSWER: _ANSWER,
    UNLOAD_ANSWER: _ANSWER,
    LOAD_CONFIRMATION: _CONFIRMATION,
    LOAD_UNKNOWN: _CONFIRMATION,
    UNLOAD_CONFIRMATION: _CONFIRMATION,
    PURCHASE: _PURCHASE,
}
UNLOAD_TYPE = 0x03
# Types by flag (I-6). One public city uses 12 for loads: a local dialect would change this table alone.
TYPES: dict[str, frozenset[int]] = {
    LOAD_REQUEST: frozenset({0x02}),
    LOAD_ANSWER: frozenset({0x02}),
    LOAD_CONFIRMATION: frozenset({0x02}),
    LOAD_UNKNOWN: frozenset({0x02}),
    UNLOAD_REQUEST: frozenset({UNLOAD_TYPE}),
    UNLOAD_ANSWER: frozenset({UNLOAD_TYPE}),
    UNLOAD_CONFIRMATION: frozenset({UNLOAD_TYPE}),
    PURCHASE: frozenset({0x06, 0x09}),
}
UNKNOWN_TAC = bytes(4)
UNKNOWN_BALANCE = 0xFFFFFFFF
UNKNOWN_MAC2 = bytes(4)
BEHIND_MAC2 = 1  # RP and UP end in MAC2 and the byte of the algorithm


class PurseDataFault(Rejected):
    """Field 58 is not one of its forms; `reason` is ``flag`` or ``length``."""

    response_code = "30"

    def __init__(self, reason: str) -> None:
        super().__init__("ISO-PURSE-DATA", f"field 58 {reason}", reason=reason)
        self.reason = reason


def instant_of(date: bytes, time: bytes) -> datetime | None:
    """The instant of BCD date and time in Asia/Shanghai; None when they are no date (kept as evidence)."""
    try:
        naive = datetime.strptime(date.hex() + time.hex(), "%Y%m%d%H%M%S")  # noqa: DTZ007
    except ValueError:
        return None
    return naive.replace(tzinfo=SHANGHAI)


def card_serial_of(asn: bytes) -> str | None:
    """The 14-digit card serial inside an ASN of ours (``000000`` and the serial); None for a foreign card."""
    digits = asn.hex()
    return digits[6:] if digits.startswith("000000") and digits.isdecimal() else None


def factor_of(asn: bytes) -> str:
    """Card factor of the key diversification: trailing F stripped, the last 16 digits, as hex text.

    >>> factor_of(bytes.fromhex("8320889511000001FFFF"))
    '8320889511000001'
    """
    return asn.hex().upper().rstrip("F")[-16:].rjust(16, "0")


@dataclass(frozen=True)
class WireForm:
    """One of the layouts: the fields of a subclass stand in wire order, behind the flag."""

    flag: str
    _form: ClassVar[struct.Struct]
    _values: ClassVar["attrgetter[tuple[Any, ...]]"]

    def __init_subclass__(cls, form: struct.Struct) -> None:
        cls._form = form
        cls._values = attrgetter(*cls.__annotations__)

    def __bytes__(self) -> bytes:
        return self.flag.encode() + self._form.pack(*self._values(self))

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Raises PurseDataFault."""
        flag = check_form(raw)
        if FORMS[flag] is not cls._form:
            raise PurseDataFault("flag")
        return cls(flag, *cls._form.unpack(raw[FLAG_LENGTH:]))


@dataclass(frozen=True)
class PurseRequest(WireForm, form=_REQUEST):
    """RQ or UQ: what INITIALIZE FOR LOAD (or UNLOAD) gave."""

    issuer: bytes
    asn: bytes
    random: bytes
    key_index: int
    key_version: int
    counter: int
    balance: int
    amount: int
    type: int
    psam: bytes
    mac1: bytes
    algorithm: int


@dataclass(frozen=True)
class PurseAnswer(WireForm, form=_ANSWER):
    """RP or UP: the host's date, time and MAC2 for the card."""

    issuer: bytes
    asn: bytes
    amount: int
    type: int
    psam: bytes
    date: bytes
    time: bytes
    mac2: bytes
    algorithm: int

    def __repr__(self) -> str:
        return f"PurseAnswer({self.flag}, amount={self.amount})"

    def fits(self, request: PurseRequest) -> bool:
        """Whether this answers `request`: same card, amount, type and PSAM number."""
        return (self.issuer, self.asn, self.amount, self.type, self.psam) == (
            request.issuer, request.asn, request.amount, request.type, request.psam,
        )  # fmt: skip


@dataclass(frozen=True)
class PurseConfirmation(WireForm, form=_CONFIRMATION):
    """SV, SX or UV: what the card did. `tac` holds MAC3 for UV."""

    issuer: bytes
    asn: bytes
    random: bytes
    key_index: int
    key_version: int
    counter: int
    amount: int
    type: int
    psam: bytes
    date: bytes
    time: bytes
    tac: bytes
    balance_after: int
    algorithm: int


@dataclass(frozen=True)
class PurchaseEvidence(WireForm, form=_PURCHASE):
    """TA: an off-line purchase. TAC proves amount to time; balance before and counter are unproven."""

    issuer: bytes
    asn: bytes
    random: bytes
    key_index: int
    key_version: int
    counter: int
    amount: int
    type: int
    psam: bytes
    terminal_counter: int
    date: bytes
    time: bytes
    tac: bytes
    balance_before: int
    algorithm: int

    @property
    def at(self) -> datetime | None:
        """Purchase time by the terminal's clock; None when the bytes are no date."""
        return instant_of(self.date, self.time)


PurseData = PurseRequest | PurseAnswer | PurseConfirmation | PurchaseEvidence


def check_form(raw: bytes) -> str:
    """The flag of field 58 if its length fits (I-6). Raises PurseDataFault."""
    flag = raw[:FLAG_LENGTH].decode("ascii", "replace")
    form = FORMS.get(flag)
    if form is None:
        raise PurseDataFault("flag")
    if len(raw) != FLAG_LENGTH + form.size:
        raise PurseDataFault("length")
    return flag


def parse_purse_data(raw: bytes) -> PurseData:
    """Field 58 as the value of its flag. Raises PurseDataFault."""
    form = FORMS[check_form(raw)]
    if form is _REQUEST:
        return PurseRequest.parse(raw)
    if form is _ANSWER:
        return PurseAnswer.parse(raw)
    if form is _PURCHASE:
        return PurchaseEvidence.parse(raw)
    return PurseConfirmation.parse(raw)
