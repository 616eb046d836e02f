"""The authorizer: a batch of requests in, their answers out, all committed in between (iso8583-host.md 7, 8).

The order of one batch::

    parse -> read once -> check MACs (HSM) -> decide (HSM, in step) -> write once, seal (HSM) meanwhile -> send

A load whose answer can be foretold is checked, decided and sealed by one HSM command (`proposals`).
A request with a bank leg is held by that write and answered by `finish` when the bank has spoken. Nothing
leaves before its commit. It owns its HSM and database, and holds no transaction while it asks the HSM.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy.exc import IntegrityError

from core.clock import Clock, business_date
from core.db import DEADLOCK, Database, Tx
from core.errors import Unavailable
from hsm_sim.client import Hsm
from payments import (
    account_balance,
    admission,
    answers,
    bank_orders,
    confirmations,
    downloads,
    line_keys,
    loads,
    network,
    reversals,
    settlement,
    uploads,
)
from payments.bank import Bank, BankDown, BankRefusal, BankSilent
from payments.decisions import (
    REVERSED,
    BankAnswer,
    BankLeg,
    BankOrder,
    Decision,
    Request,
    Rule,
    answer_now,
    refuse,
    step,
)
from payments.known import overshot, read, taken_back
from payments.limits import Gate, HostProfile, Masters, register_gate
from payments.line import Line
from payments.line_keys import MacKey
from payments.loads import Desk
from payments.matrix import Task
from payments.proposals import Proposal, propose
from payments.references import References
from payments.work import Act, Arrival, Job, Reply, Work, open_work
from payments.writing import (
    Conflict,
    Outcome,
    beaten,
    finish_message,
    move_loads,
    order_bank,
    write,
)

MAX_BATCH = 64
MAX_TRIES = 3
HSM_THREADS = 8
_RULES: dict[Task, Callable[[Request, Desk], Rule]] = {
    Task.LOAD: loads.load,
    Task.UNLOAD: loads.load,
    Task.CONFIRM: confirmations.confirm,
    Task.REVERSE: reversals.reverse,
    Task.PURCHASE: uploads.upload,
    Task.DETAIL: uploads.detail,
    Task.BALANCE: account_balance.ask,
}
PLAIN_CODES = frozenset({"03", "30", "40", "97"})  # answered with the bare fields of I-2


class Authorizer:
    """Decides requests. Several threads may call it, for different terminals and cards; several processes may
    share its database.

    `recover` must run once before the first request: what a stopped host still held is voided (I-31).
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        hsm: Hsm,
        bank: Bank,
        masters: Masters,
        profile: HostProfile | None = None,
        gate: Gate = register_gate,
    ) -> None:
        self.db, self.clock, self.bank = db, clock, bank
        self.profile = profile or HostProfile()
        self._masters, self._gate = masters, gate
        self._brake = network.SignOnBrake()
        self._references = References(db)
        self._pool = ThreadPoolExecutor(HSM_THREADS, "hsm-calls")
        self._line = Line(hsm, self._pool)
        self._kept = db.keep()

    def close(self) -> None:
        """End the threads that wait for the HSM, give the database's connections back."""
        self._pool.shutdown()
        self._kept.close()

    # -- a batch ------------------------------------------------------------------------------------

    def handle(self, arrivals: Sequence[Arrival]) -> list[Reply]:
        """Replies in the order of `arrivals`, at most `MAX_BATCH`, one a card and terminal."""
        if len(arrivals) > MAX_BATCH:
            raise AssertionError("a batch has a limit")
        replies: list[Reply] = [Reply(Act.CLOSE)] * len(arrivals)
        opened = (open_work(index, arrival) for index, arrival in enumerate(arrivals))
        works = [work for work in opened if work is not None]
        if works:
            for work, reply in zip(works, self.decide(works), strict=True):
                replies[work.index] = reply
        return replies

    def answer(self, frame: bytes, peer: str = "") -> bytes | None:
        """One request, its bank leg included, for tests and tools; None when no answer may be sent."""
        reply = self.handle([Arrival(frame, peer)])[0]
        if reply.job is not None:
            reply = self.finish([(reply.job, self.ask_bank(reply.job.leg))])[0]
        return reply.frame if reply.act is Act.SEND else None

    def decide(self, works: Sequence[Work]) -> list[Reply]:
        """Decide and write together; where another host was quicker, each again by itself."""
        with beaten():
            return self._once(works)
        return [self._alone(work) for work in works]

    def _alone(self, work: Work) -> Reply:
        for _ in range(MAX_TRIES):
            with beaten():
                return self._once([work])[0]
        return Reply(Act.DROP)  # silence: the terminal repeats under the same key

    def _once(self, works: Sequence[Work]) -> list[Reply]:
        at = self.clock.now()
        for work in works:
            work.reset()
        with self._kept.read() as tx:
            known = read(tx, works, self.profile, self._gate, at)
        desk = Desk(self.profile, self._masters, lambda: self._references.take(at), known)
        self._line.authenticate(works, known, at, partial(self._propose, desk))
        undecided = [w for w in works if w.decision is None and w.reply is None]
        self._drive([(work, self._rule(work, desk)) for work in undecided])
        self._make_bodies(works, at)
        sealed = self._line.begin_seal(  # the HSM makes MACs while the disk is written
            [(None, w.sealed) if w.sealed else (w.mac_key, w.replay or w.body) for w in works]
        )
        self._write(works, at)
        return self._last_look(
            [_reply(work, body) for work, body in zip(works, sealed(), strict=True)]
        )

    def _last_look(self, replies: list[Reply]) -> list[Reply]:
        """No MAC2 of a load that another host has reversed meanwhile (I-30); the listener knows of our own."""
        secret = [reply.key for reply in replies if reply.secret]
        if not secret:
            return replies
        with self._kept.read() as tx:
            gone = taken_back(tx, secret)
        return [Reply(Act.DROP, key=r.key) if r.secret and r.key in gone else r for r in replies]

    def _propose(self, desk: Desk, work: Work, key: MacKey) -> Proposal | None:
        made = propose(work, key, partial(self._rule, work, desk), self._body)
        if made is None:  # what the rule found is found again when the MAC is known to be good
            work.replay = work.reply = None
        return made

    # -- decisions ----------------------------------------------------------------------------------

    def _rule(self, work: Work, desk: Desk) -> Rule:
        """The checks every request passes, then the rule of its task."""
        request = work.request
        if request is None:
            return answer_now(refuse("97", store=False))
        decided = admission.refusal(work, request, self.profile)
        decided = decided or admission.replayed(work, request, desk)
        decided = decided or admission.wrong_batch(request.task, work.message, request.terminal)
        if decided is not None:
            return answer_now(decided)
        return self._task_rule(work, request, desk)

    def _task_rule(self, work: Work, request: Request, desk: Desk) -> Rule:
        task = request.task
        if task in _RULES:
            return _RULES[task](request, desk)
        if task is Task.SIGN_ON:
            return network.sign_on(
                request,
                desk,
                lambda: self._brake.allows(work.arrival.peer, self.clock.monotonic()),
            )
        return answer_now(self._plain(task, request, desk))

    def _plain(self, task: Task, request: Request, desk: Desk) -> Decision:
        """Tasks that only look things up and need no HSM."""
        if task in (Task.ECHO, Task.PARAMETERS_DONE):
            return Decision("00", store=False)
        if task is Task.SIGN_OFF:
            return network.sign_off(request)
        if task is Task.LIST_DONE:
            return downloads.list_done(request)
        if task is Task.PACK:
            return settlement.pack(request, desk.references())
        reference = desk.references() if task in (Task.SETTLE, Task.BATCH_END) else ""
        with self.db.read() as tx:
            return self._looked_up(tx, task, request, reference)

    def _looked_up(self, tx: Tx, task: Task, request: Request, reference: str) -> Decision:
        if task is Task.SETTLE:
            return settlement.settle(tx, self.clock, request, reference)
        if task is Task.BATCH_END:
            return settlement.end(tx, self.clock, request, reference)
        if task is Task.PARAMETERS:
            return downloads.parameters(tx, request, self.profile)
        if task is Task.STATUS:
            return downloads.status(tx, request)
        return downloads.list_page(tx, request)

    def _drive(self, running: list[tuple[Work, Rule]]) -> None:
        """Run rules in step: what all of them ask the HSM next goes in one round."""
        outcomes: list[Any] = [None] * len(running)
        while running:
            asking: list[tuple[Work, Rule, Any]] = []
            for (work, rule), outcome in zip(running, outcomes, strict=True):
                wanted, work.decision = step(rule, outcome)
                if wanted is not None:
                    asking.append((work, rule, wanted))
            outcomes = line_keys.ask_all(self._line.hsm, [one[2] for one in asking], self._pool)
            running = [(work, rule) for work, rule, _ in asking]

    # -- writing and sending --------------------------------------------------------------------------

    def _make_bodies(self, works: Sequence[Work], at: datetime) -> None:
        """The answers that can be given now; a request with a bank leg has none yet, a repeat has its own."""
        for work in works:
            decision = work.decision
            if decision is None or work.reply is not None or work.replay is not None:
                continue
            if work.body is not None:  # of a proposal
                continue
            if work.request is None:
                work.body = answers.answer_body(
                    work.message, None, decision.response, {}, self.profile, at, sealed=False
                )
            elif decision.leg is None:
                work.body = self._body(
                    work.request, decision, work.mac_key, bare=work.fault is not None
                )

    def _write(self, works: Sequence[Work], at: datetime) -> None:
        """One transaction for the batch; a batch that changes nothing needs none."""
        outcomes: list[Outcome] = []
        for work in works:
            decision = work.decision
            if work.request is None or decision is None or work.reply is not None:
                continue
            if decision.leg is not None and decision.load is None:
                continue  # a balance holds no money: nothing to write before the bank has answered
            if decision.store or decision.changes:
                outcomes.append(Outcome(work.request, decision, work.body))
        notes = [note for work in works for note in work.notes]
        if not outcomes and not notes:
            return
        with self._kept.write() as tx:
            for note in notes:
                note(tx)
            write(tx, self.clock, outcomes, business_date(at), at)
            loads = [o.decision.load for o in outcomes if o.decision.load is not None]
            if overshot(tx, self.profile, loads, at):
                raise Conflict

    def _body(
        self, request: Request, decision: Decision, mac_key: MacKey | None, bare: bool = False
    ) -> bytes:
        """The answer's body. `bare`: a field of the request is broken, so none but I-2's four are echoed."""
        task = None if bare or decision.response in PLAIN_CODES else request.task
        fields = decision.fields
        if answers.wants_reference(task, fields):
            fields = {**fields, 37: self._references.take(request.at)}
        return answers.answer_body(
            request.message, task, decision.response, fields, self.profile, request.at,
            sealed=mac_key is not None,
        )  # fmt: skip

    # -- the bank -------------------------------------------------------------------------------------

    def ask_bank(self, leg: BankLeg) -> BankAnswer:
        """The bank leg of a held request; no transaction is open and no lock is held."""
        try:
            if leg.kind == "balance":
                return BankAnswer("00", balance=self.bank.balance(leg.account, leg.pin))
            code = self.bank.debit(leg.reference, leg.account, leg.amount, leg.pin)
        except BankRefusal as no:
            return BankAnswer(no.response)
        except BankSilent:
            return BankAnswer("68")
        except BankDown:
            return BankAnswer("91")
        return BankAnswer("00", code)

    def finish(self, answered: Sequence[tuple[Job, BankAnswer]]) -> list[Reply]:
        """tx2 of held requests: the whole answer stored with ISSUED, then the frames to send."""
        with beaten():
            return self._finish(answered)
        return [self._finish_alone(job, bank) for job, bank in answered]

    def _finish_alone(self, job: Job, bank: BankAnswer) -> Reply:
        for _ in range(MAX_TRIES):
            try:
                return self._finish([(job, bank)])[0]
            except (Conflict, IntegrityError):
                break
            except Unavailable as fault:
                if fault.code != DEADLOCK:
                    raise
        else:
            return Reply(Act.DROP)  # still held: the repeat, or the next start, decides it
        at = (
            self.clock.now()
        )  # a reversal was first: what the bank took goes back, MAC2 is forgotten
        order = BankOrder(job.leg.reference, "reverse", job.leg.amount)
        with self.db.write() as tx:
            order_bank(tx, [order], at)
        return Reply(Act.DROP)

    def _finish(self, answered: Sequence[tuple[Job, BankAnswer]]) -> list[Reply]:
        at = self.clock.now()
        day = business_date(at)
        made: list[tuple[Job, Decision, bytes]] = []
        for job, bank in answered:
            assert job.decision.issue is not None
            decision = job.decision.issue(bank)
            made.append((job, decision, self._body(job.request, decision, job.mac_key)))
        with self._kept.write() as tx:
            for job, decision, body in made:
                if job.decision.load is not None:
                    finish_message(tx, job.request.key, body, decision.response)
            moves = [move for _, decision, _ in made for move in decision.moves]
            move_loads(tx, self.clock, moves, day, at)
            order_bank(tx, [order for _, decision, _ in made for order in decision.orders], at)
            balances = [
                Outcome(job.request, decision, body, replaces=True)
                for job, decision, body in made
                if job.decision.load is None
            ]
            write(tx, self.clock, balances, day, at)
        bodies = self._line.seal([(job.mac_key, body) for job, _, body in made])
        replies = [
            Reply(Act.DROP, key=job.request.key)
            if body is None
            else Reply(
                Act.SEND, answers.framed(job.request.message, body, decision.requirement),
                job.request.key, secret=58 in decision.fields, code=decision.response,
            )
            for (job, decision, _), body in zip(made, bodies, strict=True)
        ]  # fmt: skip
        return self._last_look(replies)

    # -- after a stop, and in quiet moments -----------------------------------------------------------

    def recover(self) -> int:
        """Void what this host still held when it stopped (I-31); how many loads that were."""
        return bank_orders.void_held(self.db, self.clock, self.profile.name)

    def forward_orders(self) -> int:
        """Tell the bank what waits for it; how many orders were done. What fails waits for the next time."""
        return bank_orders.forward(self.db, self.bank)


def _reply(work: Work, body: bytes | None) -> Reply:
    decision = work.decision
    if work.reply is not None:
        return work.reply
    if decision is None:
        return Reply(Act.DROP)
    if decision.leg is not None and work.request is not None:
        job = Job(work.request, decision, decision.leg, work.mac_key)
        return Reply(Act.WAIT, key=work.key, job=job)
    if body is None:
        return Reply(Act.DROP, key=work.key)
    frame = answers.framed(work.message, body, decision.requirement)
    secret = 58 in decision.fields or work.replay is not None
    reversed_key = next((m.key for m in decision.moves if m.after == REVERSED), "")
    return Reply(
        Act.SEND, frame, work.key, wrong_mac=decision.response == "A0", secret=secret,
        withdrawn=reversed_key, code=decision.response,
    )  # fmt: skip
