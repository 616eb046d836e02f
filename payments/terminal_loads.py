"""Loads and unloads at a terminal: ask the host, let the card do it, confirm or reverse (iso8583-host.md 7.4, 7.6).

The two promises everything hangs on: the answer is saved *before* CREDIT FOR LOAD goes to the card (I-12), and
once a reversal is saved MAC2 never reaches the card. `flush` sends what waits, reversals first, and keeps
it until the host gave a final answer with a good MAC.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from cardos.client import CardSession, ChipError
from cardos.spec import Transaction
from core.errors import Rejected, Unavailable
from payments import responses
from payments.messages import Message
from payments.purse import open_purse
from payments.purse_data import PurseAnswer, PurseDataFault
from payments.purse_load import begin_load, finish_load, recover_load
from payments.purse_records import LoadRecord, LoadRequest, LoadStatus, OutcomeUnknown
from payments.requests import (
    CASH_LOAD,
    OTHER_REASON,
    TERMINAL_FAULT,
    UNLOAD,
    WITH_PIN,
    WITHOUT_PIN,
    reversal,
)
from payments.terminal_host import SIGN_ON_CODES, HostSession, Reply
from payments.terminal_records import NO_ANSWER, LoadCase, LoadState

ACCOUNT_DIGITS = 12
Verify = Callable[[CardSession], None]


@dataclass(frozen=True)
class LoadWish:
    """What the holder asked for. `kind` is 60.1: 41 cash at the counter, 40 and 42 from `account` (its PIN typed
    at the pad), 43 an unload to `account` (without its PIN). `verify` presents the purse PIN to the card. `key_id`
    is the load key's id on the cards.
    """

    amount: int
    verify: Verify
    kind: str = CASH_LOAD
    account: str = ""
    key_id: int = 1


class LoadDesk:
    """The load procedures of one terminal."""

    def __init__(self, session: HostSession) -> None:
        self._session = session
        self._store = session.store
        self._quiet_until = session.clock.monotonic()

    # -- a new load ---------------------------------------------------------------------------------

    def load(self, card: CardSession, wish: LoadWish) -> LoadCase:
        """Load `wish.amount` fen onto the card; the case is confirmed if the host answered that as well.

        Raises Rejected TERM-REFUSED with the host's code in `response`, ChipError when the card refused (a reversal
        is under way), OutcomeUnknown PURSE-PENDING when the card left in the middle, Unavailable TERM-OFFLINE
        (nothing happened), TERM-SILENT (a reversal is under way), TERM-REVERSAL-WAITING.
        """
        self._session.link.open()
        self.settle_card(card, wish.verify)
        self.clear_line()
        self._session.be_signed_on()
        case = self._try(card, wish)
        if case.code in SIGN_ON_CODES:
            self._session.sign_on()
            self.clear_line()
            case = self._try(card, wish)
        return self._finished(case)

    def _finished(self, case: LoadCase) -> LoadCase:
        if case.state is LoadState.DECLINED:
            code = case.code
            raise Rejected("TERM-REFUSED", f"the load was answered {code}", response=code)
        self.flush(at_once=True)
        if case.state is LoadState.REVERSING:
            raise Unavailable("TERM-SILENT", f"no usable answer to the load ({case.reason})")
        if case.state is LoadState.UNKNOWN:
            raise unknown(case)
        return self._store.loads[case.number]

    def _try(self, card: CardSession, wish: LoadWish) -> LoadCase:
        """One 0200 and what follows. The case comes back DECLINED, REVERSING, CREDITED or UNKNOWN."""
        session = self._session
        purse = open_purse(card)
        wish.verify(card)
        unload = wish.kind == UNLOAD
        kind = Transaction.UNLOAD if unload else Transaction.LOAD_EP
        request = begin_load(card, purse, wish.key_id, wish.amount, session.identity.psam, kind)
        pin_block = None
        if wish.account and not unload:
            pin_block = session.pad.pin_block(wish.account[:-1][-ACCOUNT_DIGITS:])
        case = LoadCase(
            self._store.next_number(), wish.kind, session.batch, self._store.next_trace(), request,
            account=wish.account, entry_mode=WITHOUT_PIN if pin_block is None else WITH_PIN,
        )  # fmt: skip
        self._store.put_load(case)
        try:
            reply = session.send(self._original(case, pin_block), session.waits.load)
        except Unavailable:
            reply = Reply(None, NO_ANSWER)
        return self._answered(card, case, reply)

    def _answered(self, card: CardSession, case: LoadCase, reply: Reply) -> LoadCase:
        if reply.message is None:
            # An unsealed 77, 97 or A0 proves nothing: reverse first, sign on, try anew.
            return self._put(case.to(LoadState.REVERSING, reason=reply.fault, code=reply.hint))
        if reply.code != "00":
            return self._put(case.to(LoadState.DECLINED, code=reply.code))
        rights = _rights(reply.message, case.request)
        if rights is None:
            return self._put(case.to(LoadState.REVERSING, reason=OTHER_REASON))
        case = self._put(
            case.to(
                LoadState.ANSWERED, reference=reply.message.text(37),
                host_date=reply.message.text(13), date=rights.date, time=rights.time,
            )
        )  # fmt: skip
        return self._credit(card, case, rights.mac2)

    def _credit(self, card: CardSession, case: LoadCase, mac2: bytes) -> LoadCase:
        try:
            finish_load(card, case.request, case.date, case.time, mac2, self._journal(case))
        except ChipError:
            self.flush(
                at_once=True
            )  # the card's counter says "not executed": 0400 with reason 96 waits
            raise
        return self._store.loads[case.number]

    def _journal(self, case: LoadCase) -> Callable[[LoadRecord], None]:
        """What the procedure tells, as the case's next state."""

        def tell(record: LoadRecord) -> None:
            now = self._store.loads[case.number]
            if record.status in (LoadStatus.DONE, LoadStatus.RECOVERED):
                self._put(self._to_confirm(now.to(LoadState.CREDITED, tac=record.tac)))
            elif record.status is LoadStatus.NOT_EXECUTED and now.state is LoadState.ANSWERED:
                self._put(now.to(LoadState.REVERSING, reason=TERMINAL_FAULT))
            elif record.status is LoadStatus.UNCERTAIN and now.state is LoadState.ANSWERED:
                self._put(self._to_confirm(now.to(LoadState.UNKNOWN)))

        return tell

    def _to_confirm(self, case: LoadCase) -> LoadCase:
        """With a trace number for its 0220."""
        return replace(
            case, confirm_batch=self._session.batch, confirm_trace=self._store.next_trace(), code=""
        )

    def _put(self, case: LoadCase) -> LoadCase:
        self._store.put_load(case)
        return case

    # -- a card that comes back ---------------------------------------------------------------------

    def doubtful(self) -> list[LoadCase]:
        """Loads of which only the card can tell the outcome."""
        states = (LoadState.ANSWERED, LoadState.UNKNOWN, LoadState.REPORTED)
        return [case for case in self._store.loads.values() if case.state in states]

    def settle_card(self, card: CardSession, verify: Verify | None = None) -> list[LoadCase]:
        """Ask a card what became of its doubtful loads; leaves the purse selected. Returns those now decided.

        Raises OutcomeUnknown when the card leaves again.
        """
        purse = open_purse(card)
        decided = []
        for case in self.doubtful():
            if case.request.asn != purse.asn:
                continue
            recover_load(card, case.record(), self._journal(case), verify)
            now = self._store.loads[case.number]
            if now.state is not case.state:
                decided.append(now)
        return decided

    def give_up(self) -> None:
        """No card is coming back: what is still ANSWERED is told to the host as unknown (SX), never reversed."""
        for case in self._store.open_loads():
            if case.state is LoadState.ANSWERED:
                self._put(self._to_confirm(case.to(LoadState.UNKNOWN)))

    def restart(self) -> None:
        """After a start: a request without a saved answer is reversed; MAC2 cannot have reached the card."""
        for case in self._store.open_loads():
            if case.state is LoadState.SENT:
                self._put(case.to(LoadState.REVERSING, reason=NO_ANSWER))

    # -- what waits for the host --------------------------------------------------------------------

    def reversals(self) -> list[LoadCase]:
        """Reversals without a final answer."""
        return [c for c in self._store.open_loads() if c.state is LoadState.REVERSING]

    def confirmations(self) -> list[LoadCase]:
        """Confirmations, with TAC or unknown, without a final answer."""
        wanted = (LoadState.CREDITED, LoadState.UNKNOWN)
        return [c for c in self._store.open_loads() if c.state in wanted]

    def clear_line(self) -> None:
        """Before an online transaction: no reversal may wait (8.2). Unavailable TERM-REVERSAL-WAITING."""
        self.flush(at_once=True)
        if self.reversals():
            raise Unavailable("TERM-REVERSAL-WAITING", "an older reversal has no answer yet")

    def flush(self, at_once: bool = False) -> bool:
        """Send reversals, then confirmations; True when nothing waits any more.

        Three tries each (`Waits.pauses` between); then not again for `Waits.retry` seconds unless `at_once`.
        """
        clock, waits = self._session.clock, self._session.waits
        self.restart()  # a request that something interrupted before its answer was saved
        waiting = [*self.reversals(), *self.confirmations()]
        if not waiting:
            return True
        if not at_once and clock.monotonic() < self._quiet_until:
            return False
        for case in waiting:
            if not self._deliver(case):
                self._quiet_until = clock.monotonic() + waits.retry
                return False
        return True

    def _deliver(self, case: LoadCase) -> bool:
        session = self._session
        for pause in (0, *session.waits.pauses):
            if pause:
                session.pause(pause)
            try:
                reply = self._post(case)
            except Unavailable:
                continue  # no line: the next try connects again
            if reply.message is not None and responses.code(reply.code).final:
                self._close(self._store.loads[case.number], reply.code)
                return True
        return False

    def _post(self, case: LoadCase) -> Reply:
        """One message for a waiting case, signing on first, and again when the host asks for it."""
        session = self._session
        session.be_signed_on()
        reply = session.send(self._waiting_message(case), session.waits.other)
        if reply.code == "77" or reply.hint:
            session.sign_on()
            reply = session.send(self._waiting_message(case), session.waits.other)
        return reply

    def _close(self, case: LoadCase, code: str) -> None:
        final = {
            LoadState.REVERSING: LoadState.REVERSED,
            LoadState.CREDITED: LoadState.CONFIRMED,
            LoadState.UNKNOWN: LoadState.REPORTED,
        }[case.state]
        self._put(case.to(final, code=code, account=""))

    # -- messages of a case -------------------------------------------------------------------------

    def _original(self, case: LoadCase, pin_block: bytes | None = None) -> Message:
        """The 0200 of a case. Built again without PIN it serves as the original of 0220 and 0400 (8.2)."""
        made = self._session.station(case.batch).load(
            f"{case.trace:06d}", case.request.evidence(), case.kind, case.account or None, pin_block
        )
        fields = {**made.fields, 22: case.entry_mode}
        return Message.of(made.mti, fields, made.tpdu, made.header)

    def _waiting_message(self, case: LoadCase) -> Message:
        if case.state is LoadState.REVERSING:
            return reversal(self._original(case), case.reason, case.host_date)
        batch = self._session.batch
        if (
            case.confirm_batch != batch
        ):  # the host closed the batch meanwhile: 0220 has a key of its own
            case = self._put(
                replace(case, confirm_batch=batch, confirm_trace=self._store.next_trace())
            )
        return self.confirmation(case)

    def confirmation(self, case: LoadCase) -> Message:
        """0220 with SV, or with SX while there is no TAC."""
        station = self._session.station(case.confirm_batch)
        return station.confirmation(
            f"{case.confirm_trace:06d}", self._original(case), case.reference,
            case.record().evidence(), case.host_date,
        )  # fmt: skip


def _rights(answer: Message, request: LoadRequest) -> PurseAnswer | None:
    """RP of a good answer when it is for this card and amount (7.4 step 4), else None."""
    try:
        rights = PurseAnswer.parse(answer.octets(58))
    except PurseDataFault:
        return None
    return rights if rights.fits(request.evidence()) and answer.amount == request.amount else None


def unknown(case: LoadCase) -> OutcomeUnknown:
    """What a screen tells about a doubtful case."""
    return OutcomeUnknown(
        "PURSE-PENDING", "the card left during the load",
        asn=case.request.asn.hex(), amount=case.request.amount,
    )  # fmt: skip
