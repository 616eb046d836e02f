"""The host's side of field 64: who speaks (I-21), and the seal on what goes back (9.2, I-22, I-23)."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.clock import business_date
from core.errors import CityError
from hsm_sim.client import Hsm
from hsm_sim.client import Request as HsmRequest
from hsm_sim.generic_requests import GenerateWorkKey
from payments import answers, frames, line_keys, matrix, network
from payments.decisions import Incident, Request, refuse
from payments.iso_fields import MAC_LENGTH
from payments.known import Known
from payments.line_keys import MacKey
from payments.loads import AWAY, response_of
from payments.matrix import Task
from payments.proposals import Proposal
from payments.work import Act, Reply, Work, fingerprint

WRONG_MACS_ALARM = 3
HSM_SAYS_WRONG = ("HSM-01", "HSM-F8")  # F0 says nothing about this MAC: nothing was computed
MAC1_WRONG = "HSM-01"  # of a proposal: its field 64 was right
DECOY_USAGE = "M3"
Propose = Callable[[Work, MacKey], Proposal | None]


@dataclass(frozen=True, slots=True)
class Try:
    """A request whose MAC is to be checked under these keys, one after the other."""

    work: Work
    keys: list[MacKey]
    proposal: Proposal | None = None

    def ask(self) -> HsmRequest[Any] | None:
        """What the HSM is asked; None when the form of field 64 is wrong already."""
        if self.proposal is not None:
            return self.proposal.request
        message = self.work.message
        if (
            self.work.request is None
        ):  # the same work, and nothing that the HSM would count as a failure
            return self.keys[0].make(message.mab)
        return self.keys[0].verify(message.mab, message.mac or b"00000000")

    def next_key(self) -> "Try":
        """The same request under its next key."""
        return Try(self.work, self.keys[1:])


def _comes_plain(work: Work, terminal: Any) -> bool:
    """No field 64, and this terminal may leave it out (6.1)."""
    if terminal is None or work.message.mac:
        return False
    return network.may_come_plain(terminal, work.task)


class Line:
    """Checks and makes message MACs for whole batches, in rounds of HSM commands."""

    def __init__(self, hsm: Hsm, pool: Executor) -> None:
        self.hsm, self.pool = hsm, pool
        self._decoy: MacKey | None = None

    def authenticate(
        self, works: Sequence[Work], known: Known, at: datetime, propose: Propose
    ) -> None:
        """Before the MAC is good nothing is believed but 41 and 42, to find the key (I-21).

        What `propose` can answer already is decided and sealed by the command that checks its MAC.
        """
        day = business_date(at)
        waiting: list[Try] = []
        for work in works:
            terminal = known.terminals.get(work.message.terminal)
            if terminal is not None:
                work.request = Request(
                    work.message, work.task or Task.ECHO, work.key, fingerprint(work.message),
                    terminal, work.purse, work.asn, at, day,
                )  # fmt: skip
            if work.task in matrix.WITHOUT_MAC or _comes_plain(work, terminal):
                continue
            keys = self._decoys() if terminal is None else line_keys.keys_to_try(terminal)
            likely = work.task is Task.LOAD and work.request is not None and bool(keys)
            waiting.append(Try(work, keys, propose(work, keys[0]) if likely else None))
        while waiting:
            waiting = self._round(waiting)

    def _decoys(self) -> list[MacKey]:
        """A key of nobody: an unknown terminal takes as long as a wrong MAC."""
        if self._decoy is None:
            try:
                token, _ = self.hsm.call(GenerateWorkKey(DECOY_USAGE))
            except CityError:
                return []
            self._decoy = MacKey(token, line_keys.X919)
        return [self._decoy]

    def _round(self, waiting: list[Try]) -> list[Try]:
        """Ask of each under its next key; those that must be asked again."""
        asked: list[tuple[Try, HsmRequest[Any]]] = []
        for one in waiting:
            if not one.keys:
                self._no_key(one.work)
            elif (request := one.ask()) is None:
                self._wrong(one.work)
            else:
                asked.append((one, request))
        outcomes = line_keys.ask_all(self.hsm, [request for _, request in asked], self.pool)
        again: list[Try] = []
        for (one, _), outcome in zip(asked, outcomes, strict=True):
            if one.proposal is not None and self._proposed(one, one.proposal, outcome):
                continue
            again += self._checked(one, outcome)
        return again

    def _proposed(self, one: Try, proposal: Proposal, outcome: Any) -> bool:
        """Whether this outcome says field 64 was right, and so ends the request."""
        work = one.work
        assert work.request is not None
        if not isinstance(outcome, CityError):
            proposal.accept(work, *outcome)
        elif outcome.code == MAC1_WRONG:
            work.decision = proposal.refuse(outcome)
        else:
            return False
        self._good(work, work.request, one.keys[0])
        return True

    def _checked(self, one: Try, outcome: Any) -> list[Try]:
        """What a check of field 64 alone comes to, or a proposal that was not taken; what is still to be tried."""
        work, failed = one.work, isinstance(outcome, CityError)
        if work.request is None:
            work.decision = refuse("97", store=False)
        elif not failed and work.message.mac:
            self._good(work, work.request, one.keys[0])
        elif failed and outcome.code not in HSM_SAYS_WRONG:
            if one.proposal is not None and response_of(outcome) != AWAY:
                return [Try(work, one.keys)]  # about card or key: the rule will say which
            work.reply = Reply(Act.DROP)  # the HSM is away: silence, the terminal repeats
        elif len(one.keys) > 1:
            return [one.next_key()]
        else:
            self._wrong(work)
        return []

    def _good(self, work: Work, request: Request, key: MacKey) -> None:
        terminal = request.terminal
        work.mac_key = key
        request.mak = key.token
        if key.token == terminal.waiting_mak:
            work.notes.append(network.promote(terminal.number, key.token, request.at))
        elif terminal.wrong_macs:
            work.notes.append(network.macs_are_good(terminal.number))

    def _no_key(self, work: Work) -> None:
        """Unknown terminal 97; a known one without keys signs on first, 77."""
        if work.request is None:
            work.decision = refuse("97", store=False)
        elif work.fault is not None:
            work.decision = refuse("30", store=False)
        else:
            work.decision = refuse("77", store=False, requirement=frames.SIGN_ON_AGAIN)

    def _wrong(self, work: Work) -> None:
        """A0 without a MAC; counted, an alarm at the third in a row. The keys stay valid (I-22).

        A body that breaks a rule is answered 30 (I-2), whatever its MAC: noise is no attempt at a key.
        """
        if work.request is None:
            work.decision = refuse("97", store=False)
            return
        if work.fault is not None:
            work.decision = refuse("30", store=False)
            return
        terminal = work.request.terminal
        count = terminal.wrong_macs + 1
        work.notes.append(network.count_wrong_mac(terminal.number))
        seen: tuple[Incident, ...] = ()
        if count == WRONG_MACS_ALARM:
            seen = (Incident("mac-wrong", terminal.number, f"{count} wrong MACs in a row"),)
        alarm = frames.SIGN_ON_AGAIN if count >= WRONG_MACS_ALARM else frames.NOTHING
        work.decision = refuse("A0", *seen, store=False, requirement=alarm)

    def seal(self, answered: Sequence[tuple[MacKey | None, bytes | None]]) -> list[bytes | None]:
        """Bodies with field 64 made under their key; None where the HSM was away (it is stored: repeat)."""
        return self.begin_seal(answered)()

    def begin_seal(
        self, answered: Sequence[tuple[MacKey | None, bytes | None]]
    ) -> Callable[[], list[bytes | None]]:
        """As `seal` in two steps, so that the HSM works while the batch is written."""
        bodies = [body for _, body in answered]
        sealed = [
            (index, key, body)
            for index, (key, body) in enumerate(answered)
            if body and key is not None and answers.has_mac(body)
        ]
        made = line_keys.begin_all(
            self.hsm, [key.make(body[:-MAC_LENGTH]) for _, key, body in sealed], self.pool
        )

        def collect() -> list[bytes | None]:
            for (index, key, body), mac in zip(sealed, made(), strict=True):
                failed = isinstance(mac, CityError)
                bodies[index] = None if failed else body[:-MAC_LENGTH] + key.field64(mac)
            return bodies

        return collect
