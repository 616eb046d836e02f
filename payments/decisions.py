"""What the host decides about one request, as plain values: nothing here touches database, HSM or bank.

A rule is a generator: it yields what it needs from the HSM (or from the bank's zone key) and returns a
`Decision`. The authorizer runs many of them in step, so that one round trip serves a whole batch, and
writes all their decisions in one transaction.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from core.db import Tx
from core.errors import CityError
from hsm_sim.client import Request as HsmRequest
from payments.field_parts import Original
from payments.ledger import Transfer
from payments.matrix import Task
from payments.messages import Message, Value
from payments.purse_data import PurseData

Rule = Generator[HsmRequest[Any], Any, "Decision"]

WORKING, ANSWERED, TOMBSTONE = "WORKING", "ANSWERED", "TOMBSTONE"
HELD, ISSUED, CONFIRMED = "HELD", "ISSUED", "CONFIRMED"
REVERSED, UNRESOLVED, DECLINED = "REVERSED", "UNRESOLVED", "DECLINED"
# Every move a load may make (8.3); any other is a bug.
ALLOWED: dict[str, frozenset[str]] = {
    HELD: frozenset({ISSUED, REVERSED, DECLINED}),
    ISSUED: frozenset({CONFIRMED, REVERSED, UNRESOLVED}),
    REVERSED: frozenset({UNRESOLVED}),
    UNRESOLVED: frozenset({CONFIRMED, REVERSED}),
    CONFIRMED: frozenset(),
    DECLINED: frozenset(),
}
# Why a load is in its state, where a rule asks for it later.
BY_PROOF, BY_COUNTER, TAKEN_BACK = "by proof", "by counter", "reversed"
REFUSED = "22"
DETAIL_MTI = "0320"
_WITH_FUNCTION = (DETAIL_MTI, "0800", "0820")


@dataclass(slots=True)
class Request:
    """One request on its way: the message, what it asks for, its key (8.1) and fingerprint, its terminal's row.

    `purse` is field 58 (or the load detail of 62) and `asn` its card. `at`, `day` are the host's; `mak`: the token
    its MAC was good under.
    """

    message: Message
    task: Task
    key: str
    fingerprint: bytes
    terminal: Any
    purse: PurseData | None
    asn: str
    at: datetime
    day: date
    mak: str = ""


def message_key(merchant: str, terminal: str, batch: str, trace: str, kind: str) -> str:
    """Key of 8.1: merchant 15, terminal 8, batch 6, trace 6, class."""
    return f"{merchant}{terminal}{batch}{trace}{kind}"


def key_of(message: Message) -> str:
    """The request's key (8.1); the class of details and network messages has 60.3 beside it."""
    kind = message.mti + (message.function if message.mti in _WITH_FUNCTION else "")
    return message_key(message.merchant, message.terminal, message.batch, message.trace, kind)


def original_key(message: Message) -> str:
    """Key of the 0200 that a confirmation, a reversal (field 61) or a batch detail (its own trace) means.

    Raises PartFault when field 61 names nothing.
    """
    if message.mti == DETAIL_MTI:
        original = Original(message.batch, message.trace)
    else:
        original = Original.parse(message.text(61))
    return message_key(message.merchant, message.terminal, original.batch, original.trace, "0200")


@dataclass(frozen=True)
class LoadMove:
    """A load's change of state, guarded by the state it had; `money` completes or voids its transfer.

    `proven`: the TAC (MAC3) in `evidence` was right.
    """

    key: str
    before: str
    after: str
    reason: str
    money: str = ""
    watched: bool | None = None
    evidence: bytes | None = None
    proven: bool | None = None
    issued: str | None = None

    def __post_init__(self) -> None:
        if self.after != self.before and self.after not in ALLOWED[self.before]:
            raise AssertionError(f"a load does not move from {self.before} to {self.after}")


@dataclass(frozen=True)
class CardMove:
    """The card's row after a decision; `version` None when it has none yet."""

    asn: str
    version: int | None
    counter: int
    balance: int
    failures: int = 0
    blocked: bool = False


@dataclass(frozen=True)
class BankOrder:
    """Something the bank must be told, however long that takes."""

    reference: str
    kind: str
    amount: int
    account: str = ""


@dataclass(frozen=True)
class Incident:
    """Something people must look at, with the bytes that show it."""

    kind: str
    subject: str
    detail: str
    evidence: bytes = b""


@dataclass(frozen=True)
class BankLeg:
    """What the bank is asked while the money is held: ``debit`` or ``balance``. `pin` is under the zone key."""

    kind: str
    reference: str
    amount: int
    account: str
    pin: bytes | None = field(default=None, repr=False)


@dataclass(slots=True)
class Decision:
    """The answer to one request and everything that must be written before it may leave.

    `store`: the answer is kept and repeated byte for byte (else a repeat is decided anew). `leg`: the bank
    must be asked first; `issue` then makes the final decision of the bank's answer.
    """

    response: str
    fields: dict[int, Value | None] = field(default_factory=dict)
    requirement: int = 0
    store: bool = True
    load: dict[str, Any] | None = None
    moves: tuple[LoadMove, ...] = ()
    card: CardMove | None = None
    transfers: tuple[Transfer, ...] = ()
    purchase: dict[str, Any] | None = None
    tombstone: str = ""
    orders: tuple[BankOrder, ...] = ()
    incidents: tuple[Incident, ...] = ()
    also: tuple[Callable[[Tx], None], ...] = ()
    leg: BankLeg | None = None
    issue: Callable[["BankAnswer"], "Decision"] | None = None

    @property
    def changes(self) -> bool:
        """Whether anything but the answer must be written."""
        return bool(
            self.moves or self.card or self.incidents or self.also or self.tombstone or self.orders
        )


@dataclass(frozen=True)
class BankAnswer:
    """What the bank said: field 39, and the authorization code or the balance in fen."""

    response: str
    authorization: str = ""
    balance: int = 0


def refuse(
    response: str, *incidents: Incident, store: bool = True, requirement: int = 0
) -> Decision:
    """A plain refusal."""
    return Decision(response, store=store, incidents=incidents, requirement=requirement)


def answer_now(decision: Decision) -> Rule:
    """A rule that needs nothing from the HSM."""
    return decision
    yield  # makes this a generator


def step(rule: Rule, outcome: Any) -> tuple[HsmRequest[Any] | None, Decision | None]:
    """Tell a rule what the HSM said (an answer, an error; None at first): what it asks next, or what it decided."""
    try:
        asked = rule.throw(outcome) if isinstance(outcome, CityError) else rule.send(outcome)
    except StopIteration as done:
        return None, done.value
    return asked, None
