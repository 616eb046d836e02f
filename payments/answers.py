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
_ECHO: dict[Task | None, tuple[int, ...]] = {
    Task.BALANCE: (*_BASE, 2, 3, 25, 49),
    Task.LOAD: (*_BASE, 2, 3, 4, 25, 49),
    Task.UNLOAD: (*_BASE, 2, 3, 4, 25, 49),
    Task.CONFIRM: (*_BASE, 3, 4),
    Task.REVERSE: (*_BASE, 3, 4),
    Task.PURCHASE: (*_BASE, 3, 4),
    Task.SETTLE: (*_BASE, 49),
    Task.DETAIL: (*_BASE, 3, 4),
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
UNSEALED = bytes(MAC_LENGTH)


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
    asked = request.fields
    values: dict[int, Value] = {n: asked[n] for n in _ECHO.get(task, _BASE) if n in asked}
    values[12], values[13] = _stamps(at)
    values[39] = response
    if task in _WITH_ACQUIRER:
        values[32] = profile.acquirer
    if task in _WITH_DAY:
        values[15] = values[13]
    if task is Task.LOAD:
        values[44] = f"{profile.acquirer:<11}{profile.receiver:<11}"
    if task in (Task.LOAD, Task.BALANCE):
        values[63] = CARD_ORGANIZATION
    values.update((n, value) for n, value in fields.items() if value is not None)
    if sealed:
        values[MAC_FIELD] = UNSEALED
    mti = _ANSWERS[request.mti]
    quick = table_codec.encode(mti, values)
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
