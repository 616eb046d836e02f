"""The end of a terminal's day: totals, repair by batch upload, the next batch (iso8583-host.md 12).

Nothing is settled while a reversal or a confirmation waits (I-27). When the totals differ, or the host cannot say,
every record of the batch goes again under its old trace number: what the host has already is counted, not
posted twice. After three ends with a wrong count the host closes the batch for people to look at.
"""

from collections.abc import Callable
from dataclasses import dataclass

from core.errors import Rejected, Unavailable
from payments import responses
from payments.field_parts import KindTotal, PartFault, Totals, parse_field48
from payments.messages import Message
from payments.requests import PURCHASE
from payments.terminal_host import HostSession, Reply
from payments.terminal_loads import LoadDesk
from payments.terminal_records import LoadCase, PurchaseEntry
from payments.terminal_sales import SalesDesk

MakeMessage = Callable[[], Message]

EQUAL, NOT_EQUAL = 1, 2
END_TRIES = 3
EXCHANGE_TRIES = 3
COUNT_DIFFERS = "95"


@dataclass(frozen=True)
class Settled:
    """How a batch was closed: its totals, the host's result digit (1 equal, 2 not, 3 cannot say), details sent."""

    batch: int
    totals: Totals
    result: int
    details: int
    differences: bool


class BatchDesk:
    """Settlement of one terminal."""

    def __init__(self, session: HostSession, loads: LoadDesk, sales: SalesDesk | None) -> None:
        self._session = session
        self._loads = loads
        self._sales = sales

    def loads_of(self, batch: int) -> list[LoadCase]:
        """Loads that count in a batch."""
        cases = self._session.store.loads.values()
        return [case for case in cases if case.batch == batch and case.counted]

    def purchases_of(self, batch: int) -> list[PurchaseEntry]:
        """Purchases of a batch: those not yet sent, and those the host was told of without TAC, among them."""
        entries = self._session.store.purchases.values()
        spent = [e for e in entries if e.spent and not e.settled and e.batch in (0, batch)]
        return spent + [e for e in entries if e.doubtful and e.told and e.batch == batch]

    def totals(self, batch: int) -> Totals:
        """Number and sum by transaction type."""
        kinds: dict[str, KindTotal] = {}
        amounts = [(case.kind, case.request.amount) for case in self.loads_of(batch)]
        amounts += [(PURCHASE, entry.record.amount) for entry in self.purchases_of(batch)]
        for kind, amount in amounts:
            had = kinds.get(kind, KindTotal())
            kinds[kind] = KindTotal(had.count + 1, had.amount + amount)
        return Totals(kinds)

    def settle(self) -> Settled:
        """0500, the upload it asks for, the end, and the sign-on that brings the next batch.

        Raises Unavailable TERM-WAITING while reversals or confirmations wait, TERM-SILENT when the host fell
        silent: call it again, it starts over and changes nothing twice.
        """
        session = self._session
        session.link.open()
        session.be_signed_on()
        self._loads.give_up()
        if not self._loads.flush(at_once=True):
            raise Unavailable("TERM-WAITING", "a reversal or confirmation has no answer yet")
        if self._sales is not None:
            self._sales.upload()
            self._sales.tell_doubtful()
        batch = session.batch
        totals = self.totals(batch)
        trace = session.trace()
        answer = self._asked(
            lambda: session.station().settlement(trace, totals), also=(COUNT_DIFFERS,)
        )
        if session.batch != batch:  # a sign-on on the way: the host has closed the batch without us
            raise Unavailable("TERM-SILENT", "the host opened another batch: settle again")
        result = _result(answer)
        details, differences = self._end(batch, result)
        session.sign_on()  # brings the next batch
        session.store.close_batch(batch)
        return Settled(batch, totals, result, details, differences)

    def _end(self, batch: int, result: int) -> tuple[int, bool]:
        """Upload what the result asks for, then 0320/207 or 202; (details sent, host keeps differences)."""
        balanced = result == EQUAL
        count = 0
        for _ in range(END_TRIES):
            count = 0 if balanced else self._upload(batch)
            if self._ended(count, balanced) != COUNT_DIFFERS:
                return count, False
            balanced = False
        return count, True

    def _ended(self, count: int, balanced: bool) -> str:
        station, trace = self._session.station(), self._session.trace()
        answer = self._asked(
            lambda: station.batch_end(trace, count, balanced), also=(COUNT_DIFFERS,)
        )
        return answer.response

    def _upload(self, batch: int) -> int:
        details = [self._load_detail(case) for case in self.loads_of(batch)]
        if self._sales is not None:
            details += [
                self._session.station(batch).detail(self._sales.message(entry))
                for entry in self.purchases_of(batch)
            ]
        for detail in details:
            self._delivered(detail)
        return len(details)

    def _load_detail(self, case: LoadCase) -> Message:
        """The load's own trace number and the SV that proves it."""
        proof = self._loads.confirmation(case)
        named = Message.of(
            proof.mti,
            {**proof.fields, 11: f"{case.trace:06d}", 60: case.kind + f"{case.batch:06d}00060"},
            proof.tpdu,
            proof.header,
        )
        return self._session.station(case.batch).detail(named)

    def _delivered(self, detail: Message) -> None:
        """One detail until its answer is final; which one that is does not matter here."""
        for _ in range(EXCHANGE_TRIES):
            reply = self._session.ask(lambda: detail, self._session.waits.other)
            if reply.message is not None and responses.code(reply.code).final:
                return
        raise Unavailable("TERM-SILENT", "no final answer to a batch detail")

    def _asked(self, make: MakeMessage, also: tuple[str, ...] = ()) -> Message:
        reply = Reply(None)
        for _ in range(EXCHANGE_TRIES):
            reply = self._session.ask(make, self._session.waits.other)
            if reply.message is not None and reply.code in ("00", *also):
                return reply.message
            if reply.message is not None and responses.code(reply.code).final:
                raise Rejected("TERM-REFUSED", f"answered {reply.code}", response=reply.code)
        raise Unavailable("TERM-SILENT", f"no good answer ({reply.fault or reply.code})")


def _result(answer: Message) -> int:
    """The domestic result digit of 0510; 95 and anything unreadable count as "not equal" (12.1)."""
    if answer.response == COUNT_DIFFERS:
        return NOT_EQUAL
    try:
        return parse_field48(answer.text(48)).domestic
    except PartFault:
        return NOT_EQUAL
