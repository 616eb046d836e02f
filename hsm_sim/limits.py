"""How often something may go wrong: MACs have 4 bytes, so guesses are counted (section 7).

Failures are counted per card (key lineage and the card's pseudonym) and per client; who goes over waits, and
the log says so in a `limit` line, from which a restart knows it again. Times are the HSM's clock. Counters are
bounded: the oldest card is forgotten when there are more than `MAX_CARDS`.
"""

from collections import OrderedDict
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from core.clock import Clock
from hsm_sim.errors import refusal
from hsm_sim.log import AuditLog

MAX_CARDS = 100_000
MINUTE, HOUR, DAY = 60, 3600, 86_400


@dataclass(frozen=True)
class Limits:
    """The numbers of section 7; a policy may set others, which the log shows by the policy's digest."""

    card_failures: int = 8
    card_wait_seconds: int = HOUR
    client_failures_per_minute: int = 200
    client_wait_seconds: int = MINUTE
    pin_failures_per_minute: int = 20
    bad_tacs_per_day: int = 100_000
    exports_per_second: int = 2000
    authentications_per_minute: int = 4
    index_values_per_day: int = 200_000

    @classmethod
    def of(cls, value: dict[str, Any]) -> "Limits":
        """From a policy file; ValueError for unknown names or values that are not counts."""
        known = {one.name for one in fields(cls)}
        if set(value) - known or not all(
            type(count) is int and count > 0 for count in value.values()
        ):
            raise ValueError("unknown limit, or not a count")
        return cls(**value)


class _Window:
    """Counts within a fixed span that begins with the first event."""

    __slots__ = ("count", "ends")

    def __init__(self, ends: float) -> None:
        self.count = 0
        self.ends = ends


class RateLimiter:
    """All counters of one HSM. Not thread-safe: the engine runs one command at a time."""

    def __init__(self, limits: Limits, clock: Clock, log: AuditLog, off: bool = False) -> None:
        self.limits = limits
        self.off = off  # --dev only
        self._clock = clock
        self._log = log
        self._windows: OrderedDict[tuple[str, ...], _Window] = OrderedDict()
        self._waits: dict[tuple[str, ...], float] = {}
        self._recall()

    def _recall(self) -> None:
        now = self._now()
        for event in self._log.events("limit"):
            body = event["body"]
            until = datetime.fromisoformat(body["until"]).timestamp()
            what, _, card = body["what"].partition(" ")
            if until > now and what in ("card", "client"):
                who = (body["kid"], card) if what == "card" else (body["client"],)
                self._waits[(what, *who)] = until

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _waiting(self, who: tuple[str, ...]) -> bool:
        until = self._waits.get(who)
        if until is None:
            return False
        if until <= self._now():
            del self._waits[who]
            return False
        return True

    def _count(self, who: tuple[str, ...], seconds: float, number: int = 1) -> int:
        now = self._now()
        window = self._windows.get(who)
        if window is None or window.ends <= now:
            window = self._windows[who] = _Window(now + seconds)
            if len(self._windows) > MAX_CARDS:
                self._windows.popitem(last=False)
        self._windows.move_to_end(who)
        window.count += number
        return window.count

    def _wait(self, who: tuple[str, ...], seconds: float, body: dict[str, str]) -> None:
        until = self._now() + seconds
        self._waits[who] = until
        self._tell(body, until)

    def _tell(self, body: dict[str, str], until: float) -> None:
        told = datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds")
        self._log.append("limit", {**body, "until": told})

    @property
    def somebody_waits(self) -> bool:
        """Whether any card or client has to wait at all: mostly nobody does."""
        return bool(self._waits)

    # -- before a command -------------------------------------------------------------------------

    def require_client(self, client: str) -> None:
        """HSM-F0 while this client has to wait."""
        if self._waits and not self.off and self._waiting(("client", client)):
            raise refusal("F0", "this client has to wait")

    def require_card(self, lineage: str, card: str) -> None:
        """HSM-F0 while this card (its pseudonym) has to wait."""
        if self._waits and not self.off and self._waiting(("card", lineage, card)):
            raise refusal("F0", "this card has to wait")

    def require_export(self, client: str) -> None:
        """HSM-F0 for more exports in a second than allowed."""
        if self.off:
            return
        if self._count(("export", client), 1) > self.limits.exports_per_second:
            raise refusal("F0", "too many exports in a second")

    def require_authentication(self, lineage: str, card: str) -> None:
        """HSM-F0 for more cryptograms a minute for one card than a person needs."""
        if self.off:
            return
        if self._count(("auth", lineage, card), MINUTE) > self.limits.authentications_per_minute:
            raise refusal("F0", "too many authentications of this card in a minute")

    def require_index(self, client: str, values: int) -> None:
        """HSM-F0 when the day's quota of `84` is used up; half of it is told in the log."""
        if not self.off:
            self._quota("index", client, values, self.limits.index_values_per_day)

    def require_bulk(self, client: str) -> None:
        """HSM-F0 when the client's bad TACs of the day are used up."""
        if not self.off:
            self._quota("bad-tacs", client, 0, self.limits.bad_tacs_per_day)

    def _quota(self, what: str, client: str, number: int, limit: int) -> None:
        who = (what, client)
        before = self._count(who, DAY, 0)
        if before + max(number, 1) > limit:
            raise refusal("F0", "the day's quota is used up")
        after = self._count(who, DAY, number)
        if before < limit // 2 <= after:
            self._tell({"what": f"{what}-half", "client": client}, self._windows[who].ends)

    # -- after a failure --------------------------------------------------------------------------

    def note_failure(self, client: str, lineage: str, card: str) -> None:
        """A verification failed; `card` is "" for a key without cards."""
        if self.off:
            return
        limits = self.limits
        if card and self._count(("card", lineage, card), HOUR) >= limits.card_failures:
            body = {"what": f"card {card}", "client": client, "kid": lineage}
            self._wait(("card", lineage, card), limits.card_wait_seconds, body)
            self._windows.pop(("card", lineage, card), None)
        self._note_client(client, "failures", limits.client_failures_per_minute)

    def note_pin_failure(self, client: str) -> None:
        """A PIN block did not read: a padding oracle in disguise (R-17)."""
        if not self.off:
            self._note_client(client, "pin", self.limits.pin_failures_per_minute)

    def _note_client(self, client: str, what: str, limit: int) -> None:
        if self._count((what, client), MINUTE) >= limit:
            seconds = self.limits.client_wait_seconds
            self._wait(("client", client), seconds, {"what": "client", "client": client})
            self._windows.pop((what, client), None)

    def note_bad_tacs(self, client: str, bad: int) -> None:
        """So many TACs of a frame were bad."""
        if bad and not self.off:
            who, limit = ("bad-tacs", client), self.limits.bad_tacs_per_day
            after = self._count(who, DAY, bad)
            if after - bad < limit // 2 <= after:
                self._tell({"what": "bad-tacs-half", "client": client}, self._windows[who].ends)
