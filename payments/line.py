"""The host's side of field 64: who speaks (I-21), and the seal on what goes back (9.2, I-22, I-23)."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from datetime import datetime
from typing import Any

from core.clock import business_date
from core.errors import CityError
from hsm_sim.client import Hsm
from hsm_sim.generic_requests import GenerateWorkKey
from payments import answers, frames, line_keys, matrix, network
from payments.decisions import Incident, Request, refuse
from payments.iso_fields import MAC_LENGTH
from payments.known import Known
from payments.line_keys import MacKey
from payments.matrix import Task
from payments.work import Act, Reply, Work, fingerprint

WRONG_MACS_ALARM = 3
HSM_SAYS_WRONG = ("HSM-01",)  # F0 says nothing about this MAC: nothing was computed
DECOY_USAGE = "M3"
Try = tuple[Work, list[MacKey]]


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

    def authenticate(self, works: Sequence[Work], known: Known, at: datetime) -> None:
        """Before the MAC is good nothing is believed but 41 and 42, to find the key (I-21)."""
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
            waiting.append((work, keys))
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
        """Try the next key of each; those that have another one to try."""
        asked: list[tuple[Work, list[MacKey], Any]] = []
        for work, keys in waiting:
            if not keys:
                self._no_key(work)
                continue
            mac = work.message.mac or b"00000000"
            request = keys[0].verify(work.message.mab, mac)
            if request is None:
                self._wrong(work)
            else:
                asked.append((work, keys, request))
        outcomes = line_keys.ask_all(self.hsm, [one[2] for one in asked], self.pool)
        again: list[Try] = []
        for (work, keys, _), outcome in zip(asked, outcomes, strict=True):
            if work.request is None:
                work.decision = refuse("97", store=False)
            elif not isinstance(outcome, CityError) and work.message.mac:
                self._good(work, work.request, keys[0])
            elif isinstance(outcome, CityError) and outcome.code not in HSM_SAYS_WRONG:
                work.reply = Reply(Act.DROP)  # the HSM is away: silence, the terminal repeats
            elif len(keys) > 1:
                again.append((work, keys[1:]))
            else:
                self._wrong(work)
        return again

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
