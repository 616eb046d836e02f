"""From a frame to its answer: every check in the order of R-18, then one command function. No cryptography here.

Order: frame, role (F4), HSM state (F9), syntax (15), rate (F0), key reference and usage (28, A6, A8, F1), the
command, its line in the count (F3), the answer. A client learns nothing about a key it may not use. An error
inside answers 41; the program's own log gets the place, never a value (R-36).
"""

import logging
from threading import RLock
from typing import Any

from core.errors import CityError
from hsm_sim.client import Request
from hsm_sim.codec import MAX_TRAILER, TRAILER_MARK
from hsm_sim.commands import audit, channel, data, generic, issue, purse, terminal
from hsm_sim.device import Hsm
from hsm_sim.errors import OK, refusal
from hsm_sim.frame import CODE_LENGTH, HEADER_LENGTH, answer_code, bare_code, is_header
from hsm_sim.policy import FORMS, RULES, Rate, Rule
from hsm_sim.work import HANDLERS, Client, Work

_LOG = logging.getLogger("citycard.hsm")
FAILURES = ("01", "20", "24")
MODULES = (
    audit,
    channel,
    data,
    generic,
    issue,
    purse,
    terminal,
)  # importing them registers their functions


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
        header, text = body[:header_length], body[header_length:].decode("latin-1")
        code, text = text[:CODE_LENGTH], text[CODE_LENGTH:]
        if not is_header(header) or len(code) != CODE_LENGTH or not code.isascii():
            return None
        if not code.isprintable():
            return None
        with self._lock:
            error, fields, trailer = self._answer(client, code, text, bulk)
        told = f"{answer_code(code)}{error}".encode("latin-1")
        return header + told + fields + trailer.encode("latin-1")

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

    def _answer(self, client: Client, code: str, text: str, bulk: bool) -> tuple[str, bytes, str]:
        forms = FORMS.get(code)
        if forms is None or forms[0].bulk != bulk:
            return "68", b"", _guess_trailer(text)
        request, trailer, problem = _decode(forms, text)
        work = Work(self.hsm, client, code, {})
        kid, card, fields = "", "", b""
        try:
            self._require_client(client, forms[0])
            if request is None:
                raise problem or refusal("15")
            rule = RULES[type(request)]
            self._require_use(client, rule, type(request))
            for name, key_rule in rule.keys.items():
                work.keys[name] = self.hsm.key(getattr(request, name), key_rule)
            card = self._require_card(work, rule, request)
            kid = next((key.kid for key in work.keys.values()), "")
            fields = HANDLERS[type(request)](work, request)
            error = OK
        except CityError as refused:
            error = bare_code(refused)
            if not refused.code.startswith("HSM-"):
                self._report(code, refused)
                error = "41"
        except Exception as bug:  # whatever it was, the client learns 41 and the HSM goes on
            self._report(code, bug)
            error = "41"
        return self._settle(work, kid, card, error, fields, trailer)

    def _settle(
        self, work: Work, kid: str, card: str, error: str, fields: bytes, trailer: str
    ) -> tuple[str, bytes, str]:
        """Count the command before its answer leaves; failures feed the limits."""
        try:
            if error in FAILURES:
                self._note_failure(work, card, error)
            if error != OK:
                fields, work.good, work.bad = b"", 0, 1
            elif work.bad:
                self.hsm.limiter.note_bad_tacs(work.client.name, work.bad)
            if error not in ("F9", "F4") and self.hsm.unlocked:
                # A frame of one record tells that record's outcome: the count is read from this line.
                told = "01" if (work.good, work.bad, error) == (0, 1, OK) else error
                line = {"client": work.client.name, "rc": told}
                if card:
                    line["card"] = card
                done = error in (OK, *FAILURES)
                self.hsm.usage.count(kid if done else "", work.code, work.good, work.bad, line)
        except CityError:
            return "F3", b"", trailer
        return error, fields, trailer

    def _require_client(self, client: Client, form: type[Request[Any]]) -> None:
        if client.role not in form.roles:
            self.hsm.note_refused(client, form.code)
            raise refusal("F4")
        if not self.hsm.unlocked:
            raise refusal("F9")

    def _require_use(self, client: Client, rule: Rule, form: type[Request[Any]]) -> None:
        if rule.off and form.code not in self.hsm.policy.switched_on:
            raise refusal("68", "policy has it off")
        limiter = self.hsm.limiter
        limiter.require_client(client.name)
        if rule.rate is Rate.EXPORT:
            limiter.require_export(client.name)
        elif rule.rate is Rate.BULK:
            limiter.require_bulk(client.name)

    def _require_card(self, work: Work, rule: Rule, request: Request[Any]) -> str:
        """The card's pseudonym ("" for commands without a card); HSM-F0 while the card has to wait."""
        if not rule.card:
            return ""
        card = self.hsm.pseudonym(getattr(request, rule.card))
        if rule.rate is Rate.VERIFY:
            lineage = next(iter(work.keys.values())).lineage
            self.hsm.limiter.require_card(lineage, lambda: card)
        return card

    def _note_failure(self, work: Work, card: str, error: str) -> None:
        if error != "01":
            self.hsm.limiter.note_pin_failure(work.client.name)
            return
        lineage = next((key.lineage for key in work.keys.values()), "")
        self.hsm.limiter.note_failure(work.client.name, lineage, card)

    def _report(self, code: str, problem: Exception) -> None:
        """Where it broke, without a value: exception texts may quote what they choked on."""
        trace = problem.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else "?"
        _LOG.error("command %s broke inside: %s in %s", code, type(problem).__name__, place)


def _decode(
    forms: tuple[type[Request[Any]], ...], text: str
) -> tuple[Request[Any] | None, str, CityError | None]:
    """The request of the form that fits, its trailer, or the most telling refusal."""
    problem: CityError | None = None
    for form in forms:
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
