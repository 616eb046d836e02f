"""What a terminal remembers of a load and of a purchase, and the order of their states (iso8583-host.md 7.4, 8.4).

A case leaves the store only when it is final: the host gave a final answer with a good MAC, or nothing
irreversible had been sent. Everything here is frozen; a new state is a new value, saved before the act.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from payments.purse_data import UNKNOWN_TAC
from payments.purse_records import (
    LoadRecord,
    LoadRequest,
    LoadStatus,
    PurchaseRecord,
    PurchaseStatus,
)

NO_ANSWER, CARD_FAULT, BAD_MAC = "98", "96", "A0"
"""Reasons of a reversal, field 39 of 0400."""


class LoadState(StrEnum):
    """Where a load stands at the terminal.

    SENT: 0200 may be on its way, MAC2 has not reached the card. ANSWERED: a good 0210 is saved, CREDIT
    FOR LOAD may have been sent. CREDITED: the TAC is here, 0220 waits for its answer. UNKNOWN: the card
    left, 0220 with SX waits. REVERSING: 0400 waits. The last four are final.
    """

    SENT = "sent"
    ANSWERED = "answered"
    CREDITED = "credited"
    UNKNOWN = "unknown"
    REVERSING = "reversing"
    CONFIRMED = "confirmed"
    REPORTED = "reported"
    REVERSED = "reversed"
    DECLINED = "declined"


ALLOWED: dict[LoadState, frozenset[LoadState]] = {
    LoadState.SENT: frozenset({LoadState.ANSWERED, LoadState.REVERSING, LoadState.DECLINED}),
    LoadState.ANSWERED: frozenset({LoadState.CREDITED, LoadState.UNKNOWN, LoadState.REVERSING}),
    LoadState.UNKNOWN: frozenset({LoadState.CREDITED, LoadState.REPORTED}),
    LoadState.REPORTED: frozenset({LoadState.CREDITED}),  # the card came back after all
    LoadState.CREDITED: frozenset({LoadState.CONFIRMED}),
    LoadState.REVERSING: frozenset({LoadState.REVERSED}),
    LoadState.CONFIRMED: frozenset(),
    LoadState.REVERSED: frozenset(),
    LoadState.DECLINED: frozenset(),
}
OPEN = frozenset(
    {
        LoadState.SENT,
        LoadState.ANSWERED,
        LoadState.CREDITED,
        LoadState.UNKNOWN,
        LoadState.REVERSING,
    }
)


@dataclass(frozen=True)
class LoadCase:
    """One load at this terminal. `number` is local; `kind` is 60.1 (40 account, 41 cash, 42 other account).

    `account` is the funding account (field 2), needed again in a reversal; it has no place in a `repr`.
    `code` is field 39 of the answer that ended the case, or of the refusal.
    """

    number: int
    kind: str
    batch: int
    trace: int
    request: LoadRequest
    state: LoadState = LoadState.SENT
    account: str = field(default="", repr=False)
    entry_mode: str = "052"
    reference: str = ""
    host_date: str = ""
    date: bytes = b""
    time: bytes = b""
    tac: bytes = b""
    confirm_batch: int = 0
    confirm_trace: int = 0
    reason: str = ""
    code: str = ""

    def to(self, state: LoadState, **changes: str | int | bytes) -> Self:
        """The case in its next state. An unlisted step is a bug: ValueError."""
        if state not in ALLOWED[self.state]:
            raise ValueError(f"a load does not go from {self.state} to {state}")
        return replace(self, state=state, **changes)  # type: ignore[arg-type]

    @property
    def open(self) -> bool:
        """Whether the case still waits for the host or the card."""
        return self.state in OPEN

    @property
    def counted(self) -> bool:
        """Whether settlement counts it (12.1): credited, or reported to a host that knows it as undecided."""
        reported = self.state is LoadState.REPORTED and self.code == "00"
        return reported or self.state in (LoadState.CREDITED, LoadState.CONFIRMED)

    def record(self) -> LoadRecord:
        """The procedure's view: what `recover_load` settles and field 58 of 0220 is made from."""
        known = self.tac not in (b"", UNKNOWN_TAC)
        status = LoadStatus.DONE if known else LoadStatus.PENDING
        return LoadRecord(status, self.request, self.date, self.time, self.tac if known else b"")


@dataclass(frozen=True)
class PurchaseEntry:
    """One purchase at this terminal. `sale` is the cashier's own id: the same sale never charges twice.
    `aside`: the card did not come back and others are served; it is settled whenever it comes. `told`: the host
    knows of it without its TAC.

    `batch` and `trace` are given at the first upload and kept, so that a repeat is byte-equal; `code` is
    field 39 of the final answer, empty while the record waits. `reference` is the host's field 37. `settled`: its
    batch is closed, only the sale's id is still of interest.
    """

    number: int
    record: PurchaseRecord
    sale: str = ""
    batch: int = 0
    trace: int = 0
    code: str = ""
    reference: str = ""
    aside: bool = False
    settled: bool = False
    told: bool = False

    @property
    def spent(self) -> bool:
        """Whether goods were given for it: it has a TAC and belongs to the host."""
        return self.record.status in (PurchaseStatus.DONE, PurchaseStatus.RECOVERED)

    @property
    def waiting(self) -> bool:
        """Whether the host has still to be told."""
        return self.spent and not self.code

    @property
    def doubtful(self) -> bool:
        """Whether the card may have paid although there is no TAC: people decide, nobody is paid before."""
        pending = self.record.status in (PurchaseStatus.PENDING, PurchaseStatus.UNCERTAIN)
        return pending and self.record.log_seen is not False

    @property
    def lost(self) -> bool:
        """Whether no proof can come any more, and the host knows all there is to know."""
        uncertain = self.record.status is PurchaseStatus.UNCERTAIN
        return uncertain and (self.told or not self.doubtful)

    @property
    def torn(self) -> bool:
        """Whether only the same card can say what happened."""
        return self.record.status in (PurchaseStatus.OPENED, PurchaseStatus.PENDING)
