"""Whether a request may be worked on: terminal, session, batch, fields, key (7.4 steps 2 to 4, 8.1)."""

from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any

from core.clock import SHANGHAI
from payments import batch_fill, frames, matrix, network
from payments.decisions import REFUSED, TOMBSTONE, WORKING, Decision, Incident, Request, refuse
from payments.limits import HostProfile
from payments.loads import Desk
from payments.matrix import Task
from payments.messages import Message
from payments.requests import PURCHASE
from payments.work import Act, Reply, Work

KEY_REUSES_ALARM = 3
BALANCE_LIFE_SECONDS = 60


def refusal(work: Work, request: Request, profile: HostProfile) -> Decision | None:
    """Why this request is not worked on; None when it may be."""
    message, terminal = request.message, request.terminal
    if terminal.merchant != message.merchant or not terminal.merchant_open:
        return _refused(
            request, "03", "merchant-refused", "evidence under an unknown or closed merchant"
        )
    if work.fault is not None:
        return _refused(
            request, "30", "advice-broken", f"evidence in a message whose {work.fault.reason}"
        )
    if not terminal.open:
        return _refused(request, "58", "closed-terminal", "evidence of a closed terminal")
    free = work.task in matrix.WITHOUT_MAC or work.task is Task.SIGN_OFF
    if not free and network.day_is_over(terminal.signed_on, request.day):
        return refuse("77", store=False, requirement=frames.SIGN_ON_AGAIN)
    if work.task is None:
        return _refused(request, "40", "advice-broken", "evidence in a message of no known type")
    unsealed = network.may_come_plain(terminal, work.task)
    wrong = matrix.wrong_field(work.task, message, profile.parameters.no_pin_fen, unsealed)
    if wrong is None and message.text(49) not in ("", "156"):
        wrong = 49
    if wrong is not None:
        return _refused(
            request, "30", "advice-broken", f"evidence in a message whose field {wrong} is wrong"
        )
    return None


def _refused(request: Request, response: str, kind: str, detail: str) -> Decision:
    """A refusal; what an advice holds as evidence is kept, since the terminal may throw it away now."""
    message = request.message
    raw = message.octets(58) or message.octets(62)
    advice = message.mti in matrix.ADVICE_MTI or message.kind == PURCHASE
    if not advice or not raw:
        return refuse(response, store=False)
    return refuse(response, Incident(kind, request.key, detail, raw), store=False)


def wrong_batch(task: Task, message: Message, terminal: Any) -> Decision | None:
    """77 for a new request of another batch; evidence may belong to a batch that is closed already.

    Asked after `replayed`: a repeat gets its stored answer, whatever was closed since. A reversal is judged in any
    batch: a sign-on answer has no MAC, so one that was garbled can name a batch nobody opened. Its load was
    answered 77; the reversal leaves a tombstone (25), or the terminal would repeat it for ever.
    """
    if message.mti in batch_fill.NETWORK_MTI:
        return None
    batch = int(message.batch)
    late = task in matrix.ADVICES or task in (Task.BATCH_END, Task.PACK)
    if batch == terminal.batch or task is Task.REVERSE or (late and batch < terminal.batch):
        return None
    return refuse("77", store=False, requirement=frames.SIGN_ON_AGAIN)


def replayed(work: Work, request: Request, desk: Desk) -> Decision | None:
    """What is known under the request's key (8.1); None for a new one that may begin. Sets `work.replay` or
    `work.reply`.
    """
    row = desk.known.messages.get(request.key)
    if row is None:
        return _full_batch(request, desk) or _day_changes(request, desk.profile)
    if row.state == TOMBSTONE:  # its reversal overtook it (I-16)
        return refuse(REFUSED, store=False)
    if row.fingerprint != request.fingerprint:
        return _key_reused(request)
    if row.state == WORKING:
        work.reply = Reply(Act.ATTACH, key=request.key)
        return refuse("96", store=False)
    if not row.answer:  # reversed since: its MAC2 is gone for good (I-30)
        return refuse(REFUSED, store=False)
    old = (request.at - row.at).total_seconds() >= BALANCE_LIFE_SECONDS
    if work.task is Task.BALANCE and old:
        return None  # the account is asked anew
    work.replay = row.answer
    return Decision(row.response, requirement=row.requirement, store=False)


def _full_batch(request: Request, desk: Desk) -> Decision | None:
    """77 to anything new but a reversal, until a sign-on has opened the next batch."""
    message, terminal = request.message, request.terminal
    mine = message.mti not in batch_fill.NETWORK_MTI and int(message.batch) == terminal.batch
    if not mine or request.task is Task.REVERSE:
        return None
    counted = desk.known.batch_sizes.get(terminal.number, 0) > desk.profile.batch_messages
    if not counted and not batch_fill.is_full(terminal):
        return None
    told = refuse("77", store=False, requirement=frames.SIGN_ON_AGAIN)
    return replace(told, also=(batch_fill.marked(terminal.number, terminal.batch),))


def _day_changes(request: Request, profile: HostProfile) -> Decision | None:
    """90 while the business day changes: nothing new begins on line, the terminal repeats."""
    if request.task not in (Task.BALANCE, Task.LOAD, Task.UNLOAD, Task.SETTLE):
        return None
    if not profile.day_change_seconds:
        return None
    begun = datetime.combine(request.day, time(), SHANGHAI)
    changing = request.at < begun + timedelta(seconds=profile.day_change_seconds)
    return refuse("90", store=False) if changing else None


def _key_reused(request: Request) -> Decision:
    """94; the third of a terminal is an incident, and evidence is kept each time."""
    count = request.terminal.key_reuses + 1
    evidence = request.message.octets(58)
    seen: tuple[Incident, ...] = ()
    if evidence or count >= KEY_REUSES_ALARM:
        seen = (Incident("key-reused", request.key, f"{count} times", evidence),)
    noted = network.count_key_reuse(request.terminal.number)
    return replace(refuse("94", *seen, store=False), also=(noted,))
