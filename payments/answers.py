"""Answers: what of a request comes back, what the host adds (iso8583-host.md 6.2).

The body of an answer is built with eight zero bytes for field 64; the MAC is put in when it leaves, under the
key set its request used, so that a repeat is byte-equal but for the MAC (8.1).
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

from core.clock import SHANGHAI
from payments import frames, table_codec
from payments.iso_fields import MAC_FIELD, MAC_LENGTH, REQUESTS
from payments.limits import HostProfile
from payments.matrix import Task
from payments.messages import Message, Value, encode_body

_BASE = (11, 41, 42, 60)
_ECHO: dict[Task, tuple[int, ...]] = {
    Task.BALANCE: (2, 3, 25, 49),
    Task.LOAD: (2, 3, 4, 25, 49),
    Task.UNLOAD: (2, 3, 4, 25, 49),
    Task.CONFIRM: (3, 4),
    Task.REVERSE: (3, 4),
    Task.PURCHASE: (3, 4),
    Task.SETTLE: (49,),
    Task.DETAIL: (3, 4),
}
_WITH_ACQUIRER = frozenset({Task.BALANCE, Task.LOAD, Task.UNLOAD, Task.SETTLE, Task.SIGN_ON})
_WITH_REFERENCE = frozenset(
    {Task.BALANCE, Task.LOAD, Task.UNLOAD, Task.REVERSE, Task.PURCHASE, Task.SETTLE, Task.DETAIL,
     Task.PACK, Task.BATCH_END, Task.SIGN_ON}
)  # fmt: skip
_WITH_DAY = frozenset({Task.LOAD, Task.UNLOAD, Task.SETTLE})
CARD_ORGANIZATION = "CUP"
_ANSWERS = {mti: f"{int(mti) + 10:04d}" for mti in REQUESTS}
STAMPS_KEPT = 16


def answer_body(
    request: Message,
    task: Task | None,
    response: str,
    fields: Mapping[int, Value | None],
    profile: HostProfile,
    at: datetime,
    sealed: bool,
) -> bytes:
    """The body of an answer; field 64 is zeros when it will be sealed, absent otherwise (I-23)."""
    now, today = _stamps(at)
    echoed = (*_BASE, *(_ECHO.get(task, ()) if task is not None else ()))
    values: dict[int, Value | None] = {n: request.fields.get(n) for n in echoed}
    values |= {12: now, 13: today, 39: response}
    if task in _WITH_ACQUIRER:
        values[32] = profile.acquirer
    if task in _WITH_DAY:
        values[15] = today
    if task is Task.LOAD:
        values[44] = f"{profile.acquirer:<11}{profile.receiver:<11}"
    if task in (Task.LOAD, Task.BALANCE):
        values[63] = CARD_ORGANIZATION
    values |= fields
    if sealed:
        values[MAC_FIELD] = bytes(MAC_LENGTH)
    mti = _ANSWERS[request.mti]
    quick = table_codec.encode(mti, {n: v for n, v in values.items() if v is not None})
    return encode_body(Message.of(mti, values)) if quick is None else quick


@lru_cache(maxsize=STAMPS_KEPT)
def _stamps(at: datetime) -> tuple[str, str]:
    """Fields 12 and 13; a batch asks for the same instant up to 64 times."""
    local = at.astimezone(SHANGHAI)
    return local.strftime("%H%M%S"), local.strftime("%m%d")


def wants_reference(task: Task | None, fields: Mapping[int, Value | None]) -> bool:
    """Whether this answer must have field 37 and the decision gave none: a refusal has one too (6.2)."""
    return task in _WITH_REFERENCE and not fields.get(37)


def has_mac(body: bytes) -> bool:
    """Whether bit 64 of an answer's bitmap is set."""
    return bool(body[9] & 1)


def framed(request: Message, body: bytes, requirement: int) -> bytes:
    """The frame that goes back: addresses swapped, header echoed but for the requirement nibble."""
    return bytes(
        frames.Frame(
            frames.answer_tpdu(request.tpdu),
            frames.answer_header(request.header, requirement),
            body,
        )
    )
