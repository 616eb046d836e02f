"""A load answered in one HSM command: the answer is ready before anybody knows whether it may be given.

The rule runs as if both MACs were right and the answer is built with a gap for MAC2; then HSM command `4G` checks
field 64 and MAC1, fills the gap and makes the answer's field 64 (performance.md 3.4, ADR 0011). Until the HSM has
said yes nothing of a proposal counts (I-21); when it says no, the request is decided as any other. A load with a
PIN, a bank leg or a refusal takes the ordinary way: its answer cannot be foretold.
"""

from collections.abc import Callable
from dataclasses import dataclass

from core.errors import CityError
from hsm_sim.purse_requests import Load, LoadOnLine
from payments.decisions import Decision, Request, Rule, step
from payments.iso_fields import MAC_LENGTH
from payments.line_keys import MacKey
from payments.messages import PURSE_FIELD
from payments.purse_data import BEHIND_MAC2, UNKNOWN_MAC2
from payments.work import Work

ASKS_ONCE = "a load asks the HSM once"
Build = Callable[[Request, Decision, MacKey], bytes]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What will be decided and answered when both MACs are right. `place`: of MAC2 in `body`."""

    request: LoadOnLine
    decision: Decision
    body: bytes
    place: int
    again: Callable[[], Rule]

    def accept(self, work: Work, mac2: bytes, seal: bytes) -> None:
        """Both MACs were right: this is the decision."""
        end = self.place + len(mac2)
        work.decision = self.decision
        work.body = self.body[: self.place] + mac2 + self.body[end:]
        work.sealed = work.body[:-MAC_LENGTH] + seal

    def refuse(self, wrong: CityError) -> Decision:
        """Field 64 was right and MAC1 wrong: what the rule says to that."""
        rule = self.again()
        step(rule, None)
        _, decision = step(rule, wrong)
        if decision is None:
            raise AssertionError(ASKS_ONCE)
        return decision


def propose(work: Work, key: MacKey, rule: Callable[[], Rule], build: Build) -> Proposal | None:
    """The proposal for a load under this MAK; None for what must go the ordinary way."""
    if work.request is None or len(work.message.mac) != MAC_LENGTH:
        return None
    running = rule()
    asked, _ = step(running, None)
    if type(asked) is not Load:
        return None
    _, decision = step(running, UNKNOWN_MAC2)
    if decision is None:
        raise AssertionError(ASKS_ONCE)
    purse = decision.fields.get(PURSE_FIELD)
    if decision.leg is not None or not isinstance(purse, bytes):
        return None
    body = build(work.request, decision, key)
    place = body.index(purse) + len(purse) - BEHIND_MAC2 - len(UNKNOWN_MAC2)
    request = LoadOnLine.around(
        asked,
        key.algorithm,
        key.token,
        work.message.mab,
        work.message.mac,
        body[:-MAC_LENGTH],
        place,
    )
    return Proposal(request, decision, body, place, rule)
