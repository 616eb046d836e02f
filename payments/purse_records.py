"""What purchases and loads leave behind at a terminal, and their form in field 58 (iso8583-host.md 5).

Amounts and balances are fen, counters numbers, dates and times BCD bytes, `psam` the 6-byte terminal
number inside the PSAM (or the terminal's own for a load).
"""

from dataclasses import dataclass
from enum import StrEnum

from core.errors import Unavailable
from payments.purse_data import (
    LOAD_CONFIRMATION,
    LOAD_REQUEST,
    LOAD_UNKNOWN,
    PURCHASE,
    UNKNOWN_BALANCE,
    UNKNOWN_TAC,
    UNLOAD_CONFIRMATION,
    UNLOAD_REQUEST,
    UNLOAD_TYPE,
    PurchaseEvidence,
    PurseConfirmation,
    PurseRequest,
)

TAC_LENGTH = 4


class OutcomeUnknown(Unavailable):
    """The card left before its answer: only the same card can tell what it did (code PURSE-PENDING)."""


class PurchaseStatus(StrEnum):
    """What is known of a purchase. OPENED: nothing irreversible was sent yet."""

    OPENED = "opened"
    PENDING = "pending"
    DONE = "done"
    RECOVERED = "recovered"
    VOID = "void"
    UNCERTAIN = "uncertain"
    SUSPECT = "suspect"


@dataclass(frozen=True)
class PurchaseRecord:
    """Everything a purchase leaves behind (purse-card.md 13.4, iso8583-host.md 5, flag TA).

    `psam` is the 6-byte terminal number inside the PSAM, `counter` the offSN that INITIALIZE gave, `type`
    06 or 09. `mac2_checked`: the PSAM itself confirmed MAC2; else the TAC is the only evidence.
    `log_seen`: for UNCERTAIN, whether the card's own log holds this purchase.
    """

    status: PurchaseStatus
    issuer: bytes
    asn: bytes
    random: bytes
    key_index: int
    key_version: int
    algorithm: int
    counter: int
    amount: int
    type: int
    psam: bytes
    psam_serial: bytes
    date: bytes
    time: bytes
    balance_before: int
    terminal_counter: int = 0
    mac1: bytes = b""
    mac2: bytes = b""
    tac: bytes = b""
    mac2_checked: bool = False
    log_seen: bool | None = None

    def evidence(self) -> PurchaseEvidence:
        """Field 58 with the flag TA. ValueError while there is no TAC."""
        if len(self.tac) != TAC_LENGTH:
            raise ValueError("a purchase without TAC is no evidence")
        return PurchaseEvidence(
            PURCHASE, self.issuer, self.asn, self.random, self.key_index, self.key_version,
            self.counter, self.amount, self.type, self.psam, self.terminal_counter, self.date,
            self.time, self.tac, self.balance_before, self.algorithm,
        )  # fmt: skip


@dataclass(frozen=True)
class LoadRequest:
    """What INITIALIZE FOR LOAD or UNLOAD gave, as the host wants it. `psam` is the 6-byte terminal number."""

    issuer: bytes
    asn: bytes
    random: bytes
    key_index: int
    key_version: int
    algorithm: int
    counter: int
    balance: int
    amount: int
    type: int
    psam: bytes
    mac1: bytes

    @property
    def balance_after(self) -> int:
        """What the card holds once it did what was asked."""
        return self.balance + (-self.amount if self.type == UNLOAD_TYPE else self.amount)

    def evidence(self) -> PurseRequest:
        """Field 58 with the flag RQ, or UQ of an unload."""
        flag = UNLOAD_REQUEST if self.type == UNLOAD_TYPE else LOAD_REQUEST
        return PurseRequest(
            flag, self.issuer, self.asn, self.random, self.key_index, self.key_version,
            self.counter, self.balance, self.amount, self.type, self.psam, self.mac1,
            self.algorithm,
        )  # fmt: skip


class LoadStatus(StrEnum):
    """What is known of a load. NOT_EXECUTED is the card's claim, UNCERTAIN not even that."""

    PENDING = "pending"
    DONE = "done"
    RECOVERED = "recovered"
    NOT_EXECUTED = "not_executed"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True)
class LoadRecord:
    """A load from the moment MAC2 goes to the card. `date`, `time` are the host's, BCD."""

    status: LoadStatus
    request: LoadRequest
    date: bytes
    time: bytes
    tac: bytes = b""

    def evidence(self) -> PurseConfirmation:
        """Field 58 with the flag SV (UV of an unload), or SX while there is no TAC."""
        asked = self.request
        tac, after = self.tac, asked.balance_after
        flag = UNLOAD_CONFIRMATION if asked.type == UNLOAD_TYPE else LOAD_CONFIRMATION
        if len(self.tac) != TAC_LENGTH:
            flag, tac, after = LOAD_UNKNOWN, UNKNOWN_TAC, UNKNOWN_BALANCE
        return PurseConfirmation(
            flag, asked.issuer, asked.asn, asked.random, asked.key_index, asked.key_version,
            asked.counter, asked.amount, asked.type, asked.psam, self.date, self.time, tac, after,
            asked.algorithm,
        )  # fmt: skip
