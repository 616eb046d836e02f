"""The rules of sign-on, sign-off and echo (iso8583-host.md 7.1, 7.2)."""

from collections import deque
from collections.abc import Callable
from datetime import date, datetime
from functools import partial
from threading import Lock
from typing import Any

import structlog
from sqlalchemy import update

from core.db import Tx
from core.errors import CityError
from payments import batch_fill, line_keys, matrix
from payments.decisions import Decision, Request, Rule, refuse
from payments.field_parts import PartFault, parse_operator, parse_sequence_number
from payments.loads import Desk, response_of
from payments.matrix import Task
from payments.tables import TerminalRow

DOUBLE, WITH_TRACK = "003", "004"
WITHOUT_TRACK_BYTES = 40  # of field 62: the track key and its check value come last
NEW_SETS_PER_MINUTE = 60
MAX_PEERS = 10_000
_log = structlog.get_logger("purse.host")


class SignOnBrake:
    """At most 60 new key sets per minute and connection, so that a stranger cannot wear out the HSM (I-11)."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}
        self._lock = Lock()

    def allows(self, peer: str, now: float) -> bool:
        """Count one new set for `peer`; False when it had its share of this minute."""
        with self._lock:
            return self._allows(peer, now)

    def _allows(self, peer: str, now: float) -> bool:
        times = self._times.setdefault(peer, deque())
        while times and now - times[0] >= 60:
            times.popleft()
        if len(times) >= NEW_SETS_PER_MINUTE:
            return False
        times.append(now)
        if len(self._times) > MAX_PEERS:  # forget the peer that was quiet longest
            self._times.pop(next(iter(self._times)))
        return True


def sign_on(request: Request, desk: Desk, may_make: Callable[[], bool]) -> Rule:
    """0800 / 003 or 004: a waiting key set, the same again while an unused one is young (I-11).

    Every set is made with a track key, so that a stranger's 004 cannot replace the set that a 003 was given.
    """
    message, terminal = request.message, request.terminal
    if message.function not in (DOUBLE, WITH_TRACK):
        return refuse("40", store=False)
    try:
        if 62 in message:
            parse_sequence_number(message.octets(62))
        if 63 in message:
            parse_operator(message.text(63))
    except PartFault:
        return refuse("30", store=False)
    batch = batch_fill.open_batch(terminal, request.at)
    told = partial(Decision, "00", store=False, incidents=batch.incidents)
    fields = {37: desk.references(), 60: f"00{batch.number:06d}{message.text(60)[8:]}"}
    given = slice(None if message.function == WITH_TRACK else WITHOUT_TRACK_BYTES)
    if terminal.waiting_mak and line_keys.still_waiting(terminal, request.at):
        noted = _set(terminal.number, **_day_begins(request))
        return told(fields={**fields, 62: terminal.waiting_keys[given]}, also=(noted, *batch.also))
    if not may_make():
        return refuse("91", store=False)
    try:
        keys = yield line_keys.new_keys(terminal)
    except CityError as error:
        return refuse(response_of(error), store=False)
    wrapped = line_keys.field_62_of(keys)
    made = _new_set(keys[0].token, keys[1].token, wrapped, request)
    return told(fields={**fields, 62: wrapped[given]}, also=(made, *batch.also))


def _new_set(pik: str, mak: str, wrapped: bytes, request: Request) -> Callable[[Tx], None]:
    return _set(
        request.message.terminal, waiting_pik=pik, waiting_mak=mak, waiting_keys=wrapped,
        waiting_at=request.at, **_day_begins(request),
    )  # fmt: skip


def _day_begins(request: Request) -> dict[str, Any]:
    """The day's first sign-on begins a new count of reused keys (8.1: three per day)."""
    begun: dict[str, Any] = {"signed_on": request.day}
    return begun if request.terminal.signed_on == request.day else {**begun, "key_reuses": 0}


def promote(number: str, mak: str, at: datetime) -> Callable[[Tx], None]:
    """The first good MAC under the waiting set makes it current and destroys the old one (I-10)."""

    def note(tx: Tx) -> None:
        tx.execute(
            update(TerminalRow)
            .where(TerminalRow.number == number, TerminalRow.waiting_mak == mak)
            .values(
                current_mak=TerminalRow.waiting_mak,
                current_pik=TerminalRow.waiting_pik,
                waiting_mak="",
                waiting_pik="",
                waiting_keys=b"",
                waiting_at=None,
                wrong_macs=0,
                seen_at=at,
            )
        )

    return note


def sign_off(request: Request) -> Decision:
    """0820 / 002 with a good MAC destroys both key sets, after the answer was sealed with the old one.

    Without a MAC anybody may have sent it: it is recorded and the keys stay (6.1).
    """
    number = request.message.terminal
    if not request.mak:
        _log.info("signed off without a MAC", terminal=number)
        return Decision("00", store=False, also=(_set(number, seen_at=request.at),))
    destroy = _set(
        number, current_mak="", current_pik="", waiting_mak="", waiting_pik="",
        waiting_keys=b"", waiting_at=None, signed_on=None,
    )  # fmt: skip
    return Decision("00", store=False, also=(destroy,))


def may_come_plain(terminal: Any, task: Task | None) -> bool:
    """Whether this terminal sends such a message without a MAC."""
    return bool(terminal.plain_management) and task in matrix.MANAGEMENT


def day_is_over(signed_on: date | None, day: date) -> bool:
    """The day's first message must be a sign-on (77 otherwise)."""
    return signed_on is None or signed_on < day


def count_wrong_mac(number: str) -> Callable[[Tx], None]:
    """One more wrong MAC in a row (I-22)."""
    return _set(number, wrong_macs=TerminalRow.wrong_macs + 1)


def macs_are_good(number: str) -> Callable[[Tx], None]:
    """A good MAC ends the row of wrong ones."""
    return _set(number, wrong_macs=0)


def count_key_reuse(number: str) -> Callable[[Tx], None]:
    """The terminal used a request's key for another request (8.1)."""
    return _set(number, key_reuses=TerminalRow.key_reuses + 1)


def _set(number: str, **values: Any) -> Callable[[Tx], None]:
    def note(tx: Tx) -> None:
        tx.execute(update(TerminalRow).where(TerminalRow.number == number).values(**values))

    return note
