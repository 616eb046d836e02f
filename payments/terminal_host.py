"""The terminal's talk with the host: seal, send, wait, believe only what has a good MAC (iso8583-host.md 7.1, 9.2).

An answer counts when it parses, belongs to the request (8.1) and its MAC is good. Without MAC it counts as no
answer, except that 39 = A0, 77 and 97 tell the sign-on logic to act (I-23). Nothing here decides about
money: the callers do, with the `Reply` they get.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from core.clock import SHANGHAI, Clock
from core.errors import EvidenceMismatch, Rejected, Unavailable
from hsm_sim.client import PinPad
from payments import frames
from payments.field_parts import PartFault, WorkKeys
from payments.frames import FrameFault
from payments.messages import Message, MessageFault, answers, build, parse
from payments.requests import Station
from payments.terminal_link import HostLink
from payments.terminal_records import BAD_MAC, NO_ANSWER
from payments.terminal_store import TerminalStore

SIGN_ON_TRIES = 3
CLOCK_TOLERANCE = timedelta(seconds=120)
SIGN_ON_CODES = frozenset({"A0", "77", "97"})
DAY = "%Y-%m-%d"
REPLACED = (
    "replaced batch"  # mark of the store: the batch before the one in use, until that is proven
)


@dataclass(frozen=True)
class Waits:
    """Seconds the terminal waits (8.5); `pauses` before the second and third try of a stored message (8.2)."""

    load: int = 30
    other: int = 15
    pauses: tuple[int, ...] = (5, 15)
    retry: int = 60


@dataclass(frozen=True)
class Reply:
    """What came back. `message` is None unless its MAC is good; `fault` is then 98 (none) or A0 (wrong MAC).

    `hint`: field 39 of an answer without MAC that asks for a sign-on. It proves nothing.
    """

    message: Message | None
    fault: str = ""
    hint: str = ""

    @property
    def code(self) -> str:
        """Field 39 of a good answer, else empty."""
        return self.message.response if self.message is not None else ""


@dataclass(frozen=True)
class Identity:
    """Who the terminal is: fields 41 and 42, and the 6-byte number of its PSAM (or its own without one)."""

    terminal: str
    merchant: str
    psam: bytes
    device: str = "CITYCARD"
    tpdu: bytes = frames.TPDU
    header: bytes = frames.HEADER


@dataclass
class HostSession:
    """One terminal's session: its work keys are in the pin pad, its numbers in the store.

    `pause` waits between tries; a test passes one that does not. `requirement` holds what the host asked
    for in headers (2.3); the terminal acts on it after the transaction.
    """

    identity: Identity
    pad: PinPad
    link: HostLink
    store: TerminalStore
    clock: Clock
    pause: Callable[[int], None]
    waits: Waits = field(default_factory=Waits)
    requirement: int = frames.NOTHING
    signed_on: bool = False
    sent: Counter[str] = field(default_factory=Counter)
    clock_offset: timedelta = timedelta(0)
    clock_warning: int = 0

    def __post_init__(self) -> None:
        self.clock_offset = timedelta(seconds=int(self.store.marks.get("clock", "0")))

    @property
    def batch(self) -> int:
        """The batch number in use, 0 before the first sign-on."""
        return int(self.store.marks.get("batch", "0"))

    def station(self, batch: int | None = None) -> Station:
        """Builder of messages for a batch (default: the one in use)."""
        number = self.batch if batch is None else batch
        me = self.identity
        return Station(me.terminal, me.merchant, f"{number:06d}", me.tpdu, me.header)

    def trace(self) -> str:
        """A new field 11."""
        return f"{self.store.next_trace():06d}"

    def now(self) -> datetime:
        """The terminal's clock, set by the last sign-on (I-19)."""
        return self.clock.now() + self.clock_offset

    # -- one exchange -------------------------------------------------------------------------------

    def send(self, message: Message, timeout: int, sealed: bool = True) -> Reply:
        """One try. Raises Unavailable TERM-OFFLINE when there is no line (nothing was sent)."""
        self.link.open()
        frame = build(message, self.pad.make_mac if sealed else None)
        self.sent[message.mti] += 1
        raw = self.link.exchange(frame, lambda answer: _belongs(message, answer), timeout)
        if raw is None:
            return Reply(None, NO_ANSWER)
        answer = parse(raw)
        self._note_requirement(answer.header)
        return self._judge(answer, sealed)

    def _judge(self, answer: Message, sealed: bool) -> Reply:
        if not sealed:
            return Reply(answer)
        if not answer.mac:
            hint = answer.response if answer.response in SIGN_ON_CODES else ""
            return Reply(None, NO_ANSWER, hint)
        try:
            self.pad.check_mac(answer.mab, answer.mac)
        except EvidenceMismatch:
            self.signed_on = False  # keys may differ: the next exchange fetches new ones
            return Reply(None, BAD_MAC)
        if answer.response != "77" and int(answer.batch) == self.batch:
            self._batch_proven()
        return Reply(answer)

    def _note_requirement(self, header: bytes) -> None:
        wanted = frames.requirement_of(header)
        if wanted != frames.NOTHING:
            self.requirement = wanted

    def ask(self, make: Callable[[], Message], timeout: int) -> Reply:
        """Send, signing on first when needed and once more when the host asks for it (77, A0, 97).

        `make` builds the message anew, since a sign-on may change the batch number.
        """
        self.be_signed_on()
        reply = self.send(make(), timeout)
        if reply.code == "77" or reply.hint:
            self.sign_on()
            reply = self.send(make(), timeout)
        return reply

    # -- sign-on ------------------------------------------------------------------------------------

    def be_signed_on(self) -> None:
        """Sign on unless that was done today: the first message of a business day is a sign-on (7.1)."""
        if not self.signed_on or self.store.marks.get("day") != self._today():
            self.sign_on()

    def _today(self) -> str:
        return self.now().astimezone(SHANGHAI).strftime(DAY)

    def sign_on(self) -> None:
        """0800: new work keys, the batch to use, the host's clock. At most three tries (I-9).

        Raises Unavailable TERM-SIGN-ON (silence), Rejected TERM-REFUSED with the host's code, EvidenceMismatch
        TERM-KEYS when no answer's check values were right; the old keys stay in force then.
        """
        wrong: EvidenceMismatch | None = None
        for _ in range(SIGN_ON_TRIES):
            request = self.station().sign_on(self.trace(), self.identity.device)
            reply = self.send(request, self.waits.other, sealed=False)
            if reply.message is None:
                continue
            if reply.code != "00":
                raise Rejected(
                    "TERM-REFUSED", f"sign-on answered {reply.code}", response=reply.code
                )
            try:
                self._take_keys(reply.message)
            except EvidenceMismatch as mismatch:
                wrong = mismatch
                continue
            self._signed_on(reply.message)
            return
        if wrong is not None:
            raise wrong
        raise Unavailable("TERM-SIGN-ON", "no answer to the sign-on")

    def _take_keys(self, answer: Message) -> None:
        try:
            keys = WorkKeys.parse(answer.octets(62))
        except PartFault as fault:
            raise EvidenceMismatch("TERM-KEYS", fault.detail) from fault
        self.pad.load_work_keys(bytes(keys))

    def _signed_on(self, answer: Message) -> None:
        self._set_clock(answer.text(13) + answer.text(12))
        before, given = self.batch, int(answer.batch)
        held = int(self.store.marks.get(REPLACED, "0")) or before
        self.store.mark(
            batch=str(given),
            day=self._today(),
            clock=str(int(self.clock_offset.total_seconds())),
            **{REPLACED: str(held if held != given else 0)},
        )
        self.signed_on, self.requirement = True, frames.NOTHING

    def _batch_proven(self) -> None:
        """An answer with a good MAC speaks of the batch in use: what is final of the one before may be forgotten.

        Not sooner, since the sign-on answer that named the batch has no MAC and may have been garbled.
        """
        before = int(self.store.marks.get(REPLACED, "0"))
        if before:
            self.store.close_batch(before)
            self.store.mark(**{REPLACED: "0"})

    def _set_clock(self, stamp: str) -> None:
        """MMDDhhmmss of the host, in the year that brings it nearest (I-18)."""
        here = self.clock.now().astimezone(SHANGHAI)
        told = nearest_year(stamp, here)
        if told is None:
            return
        offset = told - here
        if abs(told - self.now()) > CLOCK_TOLERANCE:
            self.clock_warning = int((told - self.now()).total_seconds())
        self.clock_offset = offset

    def sign_off(self) -> None:
        """0820 / 002. Rejected TERM-NOT-EMPTY while something waits (7.2)."""
        if not self.store.empty():
            raise Rejected("TERM-NOT-EMPTY", "records wait for the host")
        reply = self.ask(lambda: self.station().sign_off(self.trace()), self.waits.other)
        expect_done(reply)
        self.signed_on = False

    def echo(self) -> None:
        """0820 / 301. Raises Unavailable TERM-SILENT."""
        request = self.station().echo(self.trace())
        expect_done(self.send(request, self.waits.other, sealed=False))


def expect_done(reply: Reply) -> Message:
    """The good answer with 39 = 00. Raises Unavailable TERM-SILENT or Rejected TERM-REFUSED."""
    if reply.message is None:
        raise Unavailable("TERM-SILENT", f"no good answer ({reply.fault})")
    if reply.code != "00":
        raise Rejected("TERM-REFUSED", f"answered {reply.code}", response=reply.code)
    return reply.message


def nearest_year(stamp: str, here: datetime) -> datetime | None:
    """MMDDhhmmss as an instant of Asia/Shanghai nearest to `here`; None when it is no date of any near year."""
    found: list[datetime] = []
    for year in (here.year - 1, here.year, here.year + 1):
        try:
            naive = datetime.strptime(f"{year:04d}{stamp}", "%Y%m%d%H%M%S")  # noqa: DTZ007
        except ValueError:
            continue  # 29 February exists in one of the three years at most
        found.append(naive.replace(tzinfo=SHANGHAI))
    return min(found, key=lambda told: abs(told - here), default=None)


def _belongs(request: Message, raw: bytes) -> bool:
    try:
        return answers(request, parse(raw))
    except (FrameFault, MessageFault):
        return False  # garbled on its way: as if it had not come
