"""From a frame to its answer: every check in the order of R-18, then one command function. No cryptography here.

Order: frame, role (F4), HSM state (F9), syntax (15), rate (F0), key reference and usage (28, A6, A8, F1), the
command, its line in the count (F3), the answer. A client learns nothing about a key it may not use. An error
inside answers 41; the program's own log gets the place, never a value (R-36).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any

from core.errors import CityError
from hsm_sim.client import Request
from hsm_sim.codec import MAX_TRAILER, TRAILER_MARK
from hsm_sim.commands import audit, channel, data, generic, issue, purse, terminal
from hsm_sim.data_requests import KeyedIndex
from hsm_sim.device import Hsm
from hsm_sim.errors import OK, refusal
from hsm_sim.frame import ANSWER_ROOM, CODE_LENGTH, HEADER_LENGTH, answer_code, bare_code
from hsm_sim.policy import FORMS, RULES, Rate, Rule
from hsm_sim.work import HANDLERS, Client, Handler, Work

_LOG = logging.getLogger("citycard.hsm")
FAILURES = ("01", "20", "24")
WRONG_MESSAGE = "F8"  # around a card's evidence: the client's failure, not the card's
METERED = (Rate.EXPORT, Rate.BULK, Rate.INDEX)  # counted before the command
UNCOUNTED = ("F9", "F4", "F3", "68")  # nothing was asked that this client might have had
MODULES = (
    audit,
    channel,
    data,
    generic,
    issue,
    purse,
    terminal,
)  # importing them registers their functions


@dataclass(slots=True)
class _Frame:
    """One frame on its way: what was read from it, and what will be answered."""

    start: str  # header and the code of the answer
    code: str
    forms: tuple[type[Request[Any]], ...]
    request: Request[Any] | None
    trailer: str
    problem: CityError | None
    error: str = OK
    fields: bytes = b""
    work: Work | None = None

    def refuse(self, error: str) -> None:
        """Answer this error and nothing else."""
        self.error, self.fields = error, b""

    def answer(self) -> bytes:
        """The answer's body."""
        told = f"{self.start}{self.error}".encode("latin-1") + self.fields
        return told + self.trailer.encode("latin-1") if self.trailer else told


class Engine:
    """Executes commands on one HSM, one at a time."""

    def __init__(self, hsm: Hsm) -> None:
        missing = set(RULES) - set(HANDLERS)
        if missing:
            raise RuntimeError(f"no function for {sorted(one.__name__ for one in missing)}")
        self.hsm = hsm
        self._lock = RLock()

    def execute(
        self, client: Client, body: bytes, header_length: int = HEADER_LENGTH, bulk: bool = False
    ) -> bytes | None:
        """The answer to a frame's body; None when it holds no code: then close the connection."""
        answers = self.execute_many(client, [body], header_length, bulk)
        return answers[0] if answers else None

    def execute_many(
        self,
        client: Client,
        bodies: Sequence[bytes],
        header_length: int = HEADER_LENGTH,
        bulk: bool = False,
    ) -> list[bytes]:
        """Answers to frames of one connection, in order, up to the first that holds no code.

        All of them are counted in one write before the first answer leaves; when that fails each is F3.
        """
        frames: list[_Frame] = []
        for body in bodies:  # three passes: each keeps its code and tables close to the processor
            frame = _read(body, header_length, bulk)
            if frame is None:
                break
            frames.append(frame)
        with self._lock:
            if self._count():
                for frame in frames:
                    self._run(client, frame)
                for frame in frames:
                    self._record(client, frame)
            if not self._count():
                for frame in frames:
                    frame.refuse("F3")
        return [frame.answer() for frame in frames]

    def _count(self) -> bool:
        """Write what was counted and logged; False when that fails: then nothing is done until it works (R-29)."""
        try:
            self.hsm.settle()
        except CityError:
            return False
        return True

    def tick(self) -> None:
        """Once a second: counts and checkpoints that are due. A log that cannot be written answers F3."""
        with self._lock:
            try:
                self.hsm.tick()
            except CityError as problem:
                _LOG.error("%s", problem.code)

    def note_stranger(self, key: str) -> None:
        """Somebody with a certificate of our CA that the policy does not know."""
        with self._lock:
            self.hsm.note_stranger(key)

    def connection_ended(self, client: Client) -> None:
        """Handles of a connection end with it (R-13)."""
        with self._lock:
            self.hsm.connection_ended(client.connection)

    def _run(self, client: Client, frame: "_Frame") -> None:
        """All checks, then the command; a failure is counted for the limits before the next command."""
        work = frame.work = Work(self.hsm, client, frame.code, {})
        compromised = ""
        try:
            frame.fields = self._perform(client, frame, work)
        except CityError as refused:
            known = refused.code.startswith("HSM-")
            if not known:
                self._report(frame.code, refused)
            elif refused.facts.get("state") == "COMPROMISED":
                compromised = str(refused.facts["kid"])
            frame.refuse(bare_code(refused) if known else "41")
        except Exception as bug:  # whatever it was, the client learns 41 and the HSM goes on
            self._report(frame.code, bug)
            frame.refuse("41")
        if frame.error != OK or work.bad:
            try:
                self._note_failure(client, frame, work, compromised)
            except CityError:
                frame.refuse("F3")

    def _perform(self, client: Client, frame: "_Frame", work: Work) -> bytes:
        """The fields of the answer; raises the refusal."""
        if not frame.forms:
            raise refusal("68")
        self._require_client(client, frame.forms[0])
        request = frame.request
        if request is None:
            raise frame.problem or refusal("15")
        form = type(request)
        rule, limiter = RULES[form], self.hsm.limiter
        if limiter.somebody_waits or rule.rate in METERED:
            self._require_rate(client, rule, request)
        for name, key_rule in rule.keys.items():
            work.keys[name] = self.hsm.keys.key(getattr(request, name), key_rule)
        if limiter.somebody_waits and rule.card and rule.rate is Rate.VERIFY:
            limiter.require_card(work.lineage, self._card(frame))
        if form.bulk:
            return self._unlocked_while(HANDLERS[form], work, request)
        fields = HANDLERS[form](work, request)
        if len(fields) > self.hsm.frame_limit - ANSWER_ROOM:
            raise refusal("80", "the answer does not fit into a frame")
        return fields

    def _unlocked_while(self, handler: Handler, work: Work, request: Request[Any]) -> bytes:
        """Run a long computation that touches nothing of the HSM while others go on."""
        self._lock.release()
        try:
            return handler(work, request)
        finally:
            self._lock.acquire()

    def _card(self, frame: "_Frame") -> str:
        """The pseudonym of the card a command is about; "" when it is about none."""
        if frame.request is None:
            return ""
        name = RULES[type(frame.request)].card
        return self.hsm.keys.pseudonym(getattr(frame.request, name)) if name else ""

    def _record(self, client: Client, frame: "_Frame") -> None:
        """Count the command: under the key that worked, or under none when it was refused before."""
        error, work = frame.error, frame.work
        if error in UNCOUNTED or work is None or not self.hsm.unlocked:
            return
        good, bad, kid = (work.good, work.bad, work.kid) if error == OK else (0, 1, "")
        if error in FAILURES:
            kid = work.kid
        # A frame of one record tells that record's outcome: the count is read from this line.
        told = "01" if error == OK and (good, bad) == (0, 1) else error
        line = {"client": client.name, "rc": told}
        card = self._card(frame)
        if card:
            line["card"] = card
        try:
            self.hsm.usage.record(kid, frame.code, good, bad, line)
        except CityError:
            frame.refuse("F3")

    def _require_client(self, client: Client, form: type[Request[Any]]) -> None:
        if client.role not in form.roles:
            self.hsm.note_refused(client, form.code)
            raise refusal("F4")
        if not self.hsm.unlocked:
            raise refusal("F9")
        if RULES[form].off and form.code not in self.hsm.policy.switched_on:
            raise refusal("68", "policy has it off")

    def _require_rate(self, client: Client, rule: Rule, request: Request[Any]) -> None:
        limiter = self.hsm.limiter
        limiter.require_client(client.name)
        if rule.rate is Rate.EXPORT:
            limiter.require_export(client.name)
        elif rule.rate is Rate.BULK:
            limiter.require_bulk(client.name)
        elif isinstance(request, KeyedIndex):
            limiter.require_index(client.name, len(request.entries))

    def _note_failure(self, client: Client, frame: "_Frame", work: Work, compromised: str) -> None:
        if compromised:
            self.hsm.note_compromised(client, compromised)
        elif frame.error == "01":
            self.hsm.limiter.note_failure(client.name, work.lineage, self._card(frame))
        elif frame.error == WRONG_MESSAGE:
            self.hsm.limiter.note_failure(client.name, "", "")
        elif frame.error in FAILURES:
            self.hsm.limiter.note_pin_failure(client.name)
        elif frame.error == OK:
            self.hsm.limiter.note_bad_tacs(client.name, work.bad)

    def _report(self, code: str, problem: Exception) -> None:
        """Where it broke, without a value: exception texts may quote what they choked on."""
        trace = problem.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else "?"
        _LOG.error("command %s broke inside: %s in %s", code, type(problem).__name__, place)


def _read(body: bytes, header_length: int, bulk: bool) -> _Frame | None:
    """Take a body apart; None when it holds no command."""
    text = body.decode("latin-1")
    at = header_length + CODE_LENGTH
    start = text[:at]
    if len(start) != at or not (start.isascii() and start.isprintable()):
        return None
    code, rest = start[header_length:], text[at:]
    told = start[:header_length] + answer_code(code)
    forms = FORMS.get(code, ())
    if not forms or forms[0].bulk != bulk:
        return _Frame(told, code, (), None, _guess_trailer(rest), None)
    return _Frame(told, code, forms, *_decode(forms, rest))


def _decode(
    forms: tuple[type[Request[Any]], ...], text: str
) -> tuple[Request[Any] | None, str, CityError | None]:
    """The request of the form that fits, its trailer, or the most telling refusal."""
    problem: CityError | None = None
    for form in forms:
        if len(forms) > 1 and not text.startswith(form.layout.prefix):
            continue
        try:
            request, trailer = form.decode(text)
        except CityError as refused:
            if problem is None or refused.code != "HSM-15":
                problem = refused
        else:
            return request, trailer, None
    return None, _guess_trailer(text), problem


def _guess_trailer(text: str) -> str:
    """The trailer of a frame that cannot be read to its end: from the last mark, when it is near."""
    at = text.rfind(TRAILER_MARK)
    return text[at:] if at >= 0 and len(text) - at <= 1 + MAX_TRAILER else ""
