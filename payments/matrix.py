"""Which message is which, and which fields it must, may and must not have (iso8583-host.md 6.1 to 6.3).

Conditions of 6.3 that depend on other fields (C1 account, C3 tracks, C5 PIN) stand in `_conditional`, values
that a code table limits (4, 6.1) in `_wrong_value`; a field that is not listed is answered with 30, as one
that is missing.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from payments import requests as r
from payments.iso_fields import FIELDS, MAC_FIELD
from payments.messages import Message


class Task(StrEnum):
    """What a message asks for."""

    SIGN_ON = "sign_on"
    SIGN_OFF = "sign_off"
    ECHO = "echo"
    PARAMETERS = "parameters"
    PARAMETERS_DONE = "parameters_done"
    LIST_PAGE = "list_page"
    LIST_DONE = "list_done"
    STATUS = "status"
    BALANCE = "balance"
    LOAD = "load"
    UNLOAD = "unload"
    CONFIRM = "confirm"
    REVERSE = "reverse"
    PURCHASE = "purchase"
    SETTLE = "settle"
    DETAIL = "detail"
    PACK = "pack"
    BATCH_END = "batch_end"


LOAD_KINDS = frozenset({r.LOAD, r.CASH_LOAD, r.OTHER_LOAD})
ONLINE_KINDS = LOAD_KINDS | {r.UNLOAD}
BANK_KINDS = frozenset({r.LOAD, r.OTHER_LOAD})
IRREVERSIBLE = frozenset({r.BALANCE, r.PURCHASE})  # the card paid, or nothing moved
ADVICES = frozenset({Task.CONFIRM, Task.REVERSE, Task.PURCHASE, Task.DETAIL})
ADVICE_MTI = frozenset({"0220", "0320", "0400"})
WITHOUT_MAC = frozenset({Task.SIGN_ON, Task.ECHO})
# Without a MAC in the public dialects, with one here, unless the terminal's row says otherwise (6.1).
MANAGEMENT = frozenset(
    {Task.SIGN_OFF, Task.PARAMETERS, Task.PARAMETERS_DONE, Task.LIST_PAGE, Task.LIST_DONE,
     Task.STATUS, Task.SETTLE}
)  # fmt: skip
_NETWORK = {
    ("0800", "001"): Task.SIGN_ON,
    ("0800", r.SIGN_ON): Task.SIGN_ON,
    ("0800", "004"): Task.SIGN_ON,
    ("0800", "005"): Task.SIGN_ON,
    ("0800", "006"): Task.SIGN_ON,
    ("0820", r.SIGN_OFF): Task.SIGN_OFF,
    ("0820", r.ECHO): Task.ECHO,
    ("0800", r.PARAMETERS): Task.PARAMETERS,
    ("0800", r.PARAMETERS_DONE): Task.PARAMETERS_DONE,
    ("0800", r.BLACKLIST): Task.LIST_PAGE,
    ("0800", r.STATUS_LIST): Task.LIST_PAGE,
    ("0800", r.BLACKLIST_DONE): Task.LIST_DONE,
    ("0800", r.STATUS_LIST_DONE): Task.LIST_DONE,
    ("0820", r.STATUS): Task.STATUS,
}
_UPLOADS = {
    r.DETAIL: Task.DETAIL,
    r.DETAIL_BALANCED: Task.DETAIL,
    r.PACK: Task.PACK,
    r.END_BALANCED: Task.BATCH_END,
    r.END_UNBALANCED: Task.BATCH_END,
    r.NO_FUNCTION: Task.PURCHASE,
}


def task_of(message: Message) -> Task | None:
    """What a request asks for; None when the dialect or this host does not offer it (answer 40)."""
    mti, kind, function = message.mti, message.kind, message.function
    if mti in ("0800", "0820"):
        return _NETWORK.get((mti, function)) if kind == "00" else None
    if mti == "0500":
        return Task.SETTLE if (kind, function) == ("00", r.SETTLEMENT) else None
    if mti == "0320":
        task = _UPLOADS.get(function)
        return None if task is Task.PURCHASE and kind != r.PURCHASE else task
    if function != r.NO_FUNCTION:
        return None
    if kind == r.PURCHASE and mti in ("0200", "0220"):
        return Task.PURCHASE
    if kind in IRREVERSIBLE and mti == "0400":
        return Task.REVERSE  # answered 12: there is nothing to take back
    if mti == "0200":
        return _financial(message)
    if kind in ONLINE_KINDS and _processing_fits(message):
        return {"0220": Task.CONFIRM, "0400": Task.REVERSE}.get(mti)
    return None


def _processing_fits(message: Message) -> bool:
    """Whether field 3 is the one of type 60.1. One without field 3 is of its type, and incomplete: 30, not 40."""
    return 3 not in message or r.PROCESSING.get(message.kind) == message.text(3)


def _financial(message: Message) -> Task | None:
    kind = message.kind
    if not _processing_fits(message):
        return None
    if kind == r.BALANCE:
        return Task.BALANCE
    if kind in ONLINE_KINDS:
        return Task.UNLOAD if kind == r.UNLOAD else Task.LOAD
    return None


@dataclass(frozen=True)
class FieldRule:
    """Fields a request must have and may have; everything else is forbidden."""

    must: frozenset[int]
    may: frozenset[int] = frozenset()


_BASE = frozenset({11, 41, 42, 60})
_SEALED = _BASE | {64}
_PURSE = _SEALED | {3, 4, 22, 25, 49, 58}
_CARD = frozenset({2, 14, 23, 35})
_PIN = frozenset({26, 52, 53})
_NET = FieldRule(_SEALED)
_NET_DATA = FieldRule(_SEALED | {62})
_CONDITIONAL = frozenset({Task.BALANCE, Task.LOAD, Task.UNLOAD, Task.DETAIL})
SHAPES_KEPT = 256
_IGNORED = frozenset(
    {36, 59}
)  # track 3 and extra data: the dialect accepts them, nobody uses them (3.3)
RULES: dict[Task, FieldRule] = {
    Task.SIGN_ON: FieldRule(_BASE, frozenset({62, 63})),
    Task.ECHO: FieldRule(_BASE, frozenset({64})),
    Task.SIGN_OFF: _NET,
    Task.PARAMETERS: _NET,
    Task.PARAMETERS_DONE: _NET,
    Task.LIST_PAGE: _NET_DATA,
    Task.LIST_DONE: _NET_DATA,
    Task.STATUS: _NET_DATA,
    Task.BALANCE: FieldRule(_SEALED | {3, 22, 25, 49} | _PIN, _CARD | _IGNORED),
    Task.LOAD: FieldRule(_PURSE, _CARD | _PIN | _IGNORED),
    Task.UNLOAD: FieldRule(_PURSE, _CARD | _PIN | _IGNORED),
    Task.CONFIRM: FieldRule(_PURSE | {37, 61}, _IGNORED),
    Task.REVERSE: FieldRule(_PURSE | {39, 61}, frozenset({2}) | _IGNORED),
    Task.PURCHASE: FieldRule(_PURSE, _IGNORED),
    Task.SETTLE: FieldRule(_SEALED | {48, 49, 63}),
    Task.DETAIL: FieldRule(_SEALED | {3, 4, 22, 25, 49}, frozenset({2, 58, 62}) | _IGNORED),
    Task.PACK: FieldRule(_SEALED | {48}, _IGNORED),
    Task.BATCH_END: FieldRule(_SEALED | {48}, _IGNORED),
}


# Field 22 (4): how the card was read, and whether a PIN came with it. Field 25 (6.1).
ENTRY_MODES = frozenset(how + pin for how in ("01", "02", "05", "07") for pin in "012")
_CONDITIONS = {Task.BALANCE: "00", Task.LOAD: r.PURSE, Task.UNLOAD: r.PURSE}
_NO_TRACE = "000000"


def wrong_field(
    task: Task, message: Message, no_pin_fen: int = 0, unsealed: bool = False
) -> int | None:
    """The first field that is missing, does not belong or says what it cannot; None when all is well.

    An advice is not refused for a value nobody decides by: it holds evidence. `unsealed`: 64 may be absent.
    """
    present = tuple(message.fields)
    if unsealed and MAC_FIELD not in message:
        present = (*present, MAC_FIELD)
    wrong = _misplaced(task, present)
    if wrong is None and task not in ADVICES:
        wrong = _wrong_value(task, message)
    return _conditional(task, message, no_pin_fen) if wrong is None else wrong


def _wrong_value(task: Task, message: Message) -> int | None:
    if message.trace == _NO_TRACE:
        return 11
    if task not in _CONDITIONS:
        return None
    if message.text(22) not in ENTRY_MODES:
        return 22
    return 25 if message.text(25) != _CONDITIONS[task] else None


@lru_cache(maxsize=SHAPES_KEPT)
def _misplaced(task: Task, present: tuple[int, ...]) -> int | None:
    """The first field that is missing or forbidden whatever its value. Terminals send few shapes of a task."""
    rule = RULES[task]
    missing = sorted(rule.must.difference(present))
    return next(iter(missing or sorted(set(present) - rule.must - rule.may)), None)


def _conditional(task: Task, message: Message, no_pin_fen: int) -> int | None:
    fields = message.fields
    if task not in _CONDITIONAL:
        return None
    has_account = 2 in fields or 35 in fields
    if task in (Task.BALANCE, Task.UNLOAD) and not has_account:
        return 2
    if task is Task.LOAD and message.kind != r.CASH_LOAD and not has_account:
        return 2
    if has_account and not 0 < len(account_of(message)) <= FIELDS[2].length:
        return 35  # track 2 without a separator where an account number must end
    bank_load = task is Task.LOAD and message.kind in BANK_KINDS
    if bank_load and 52 not in fields and message.amount > no_pin_fen:
        return 52
    if (52 in fields) + (26 in fields) + (53 in fields) not in (0, len(_PIN)):
        return 52
    if 53 in fields and message.text(53) != r.PIN_CONTROL:
        return 53
    if task is Task.DETAIL and (58 in fields) == (62 in fields):
        return 58
    return None


def account_of(message: Message) -> str:
    """The funding account: field 2, or the digits before the separator of track 2."""
    return message.text(2) or message.text(35).split("D", 1)[0]
