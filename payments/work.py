"""One request on its way through the host: how it arrived, what was decided, what becomes of it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from core.db import Tx
from payments import matrix
from payments.decisions import DETAIL_MTI, BankLeg, Decision, Request, key_of
from payments.field_parts import PartFault, load_detail
from payments.frames import FrameFault
from payments.iso_fields import REQUESTS, fault_of
from payments.line_keys import MacKey
from payments.matrix import Task
from payments.messages import ADDRESS_FIELDS, Message, MessageFault, parse
from payments.purse_data import PurseData, PurseDataFault, parse_purse_data

_ADDRESSED = frozenset(ADDRESS_FIELDS)


class Act(StrEnum):
    """What becomes of one arrival. WAIT: the bank is asked; ATTACH: the same request is being worked on."""

    SEND = "send"
    CLOSE = "close"
    DROP = "drop"
    WAIT = "wait"
    ATTACH = "attach"


@dataclass(frozen=True)
class Arrival:
    """A frame and where it came from (for the brakes only; it carries no authority)."""

    frame: bytes
    peer: str = ""


@dataclass(slots=True)
class Reply:
    """`frame` for SEND; `key` of the request; `wrong_mac` for the host's own brake; `job` for WAIT.

    `secret`: the frame may hold a MAC2 and must be dropped if its load was reversed before it left (I-30);
    `withdrawn`: the key of the load that this reply reversed; `code`: field 39.
    """

    act: Act
    frame: bytes = b""
    key: str = ""
    wrong_mac: bool = False
    job: "Job | None" = None
    secret: bool = False
    withdrawn: str = ""
    code: str = ""


@dataclass(frozen=True)
class Job:
    """A held request whose bank leg is under way. MAC2 lives in `decision.issue` alone."""

    request: Request
    decision: Decision
    leg: BankLeg
    mac_key: MacKey | None


@dataclass
class Work:
    """One arrival on its way through a batch. `purse`: field 58 (None without a good one), `asn` its card, hex.

    `body`: the answer without field 64; `sealed`: with it, where the HSM made it already.
    """

    index: int
    arrival: Arrival
    message: Message
    task: Task | None
    key: str
    purse: PurseData | None
    asn: str
    fault: MessageFault | None = None
    request: Request | None = None
    mac_key: MacKey | None = None
    decision: Decision | None = None
    body: bytes | None = None
    sealed: bytes | None = None
    replay: bytes | None = None
    reply: Reply | None = None
    notes: list[Callable[[Tx], None]] = field(default_factory=list)

    @property
    def lanes(self) -> tuple[str, ...]:
        """What may be in a batch only once: the terminal, and the card whose money moves."""
        return (self.message.terminal, self.asn) if self.asn else (self.message.terminal,)

    def reset(self) -> None:
        """Forget a former try."""
        self.request = self.mac_key = self.decision = None
        self.body = self.sealed = self.replay = self.reply = None
        self.notes = []


def open_work(index: int, arrival: Arrival) -> Work | None:
    """The message of a frame; None when the connection must be closed (I-2)."""
    fault: MessageFault | None = None
    try:
        message = parse(arrival.frame)
    except FrameFault:
        return None
    except MessageFault as broken:
        if broken.message is None or broken.field in ADDRESS_FIELDS:
            return None
        message, fault = broken.message, broken
    if message.mti not in REQUESTS or not _addressed(message, fault):
        return None
    purse = _purse_of(message)
    asn = "" if purse is None else purse.asn.hex()
    task = matrix.task_of(message)
    return Work(index, arrival, message, task, key_of(message), purse, asn, fault)


def _purse_of(message: Message) -> PurseData | None:
    """Field 58, or a batch detail's load in field 62 (12.3)."""
    raw = message.octets(58)
    try:
        if not raw and message.mti == DETAIL_MTI and 62 in message:
            raw = load_detail(message.octets(62))
        return parse_purse_data(raw) if raw else None
    except (PartFault, PurseDataFault):  # broken, and answered 30
        return None


def _addressed(message: Message, fault: MessageFault | None) -> bool:
    """Fields 11, 41, 42 and 60 are there and good, so that an answer can find its way (I-2)."""
    if not message.fields.keys() >= _ADDRESSED:
        return False
    if fault is None:
        return True
    # Of a broken message nothing was checked yet.
    return all(fault_of(number, message.fields[number]) is None for number in ADDRESS_FIELDS)


def fingerprint(message: Message) -> bytes:
    """SHA-256 of the body with fields 52 and 64 set to zero (8.1)."""
    body = message.mab
    pin = message.octets(52)
    if pin:
        body = body.replace(pin, bytes(len(pin)), 1)
    return hashlib.sha256(body).digest()
