"""Rows of the purse network: ledger, merchants, terminals, batches, messages, loads, purchases, days.

Rules that must hold are constraints here. The ledger's transfers can neither be changed nor deleted: triggers
on both databases say so. Money is integer fen; balances are sums of transfers, nobody keeps a total.
"""

from datetime import date, datetime

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    event,
)
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Instant, Table
from payments.table_guards import guards

ASN_LENGTH = 20
KEY_LENGTH = 48
_SEQ = BigInteger().with_variant(Integer, "sqlite")


class AccountRow(Table):
    """A ledger account; `kind` is ``purse``, ``merchant``, ``bank``, ``cash``, ``fees`` or ``suspense``."""

    __tablename__ = "ledger_account"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(10), index=True)


class TransferRow(Table):
    """One immutable movement of money, named by its sender.

    `step`: ``P`` pending (money is promised), ``S`` single (moved at once), ``C`` the pending one happened,
    ``V`` it did not. ``C`` and ``V`` name their ``P``, which has at most one of them.
    """

    __tablename__ = "ledger_transfer"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("debit <> credit", name="sides"),
        CheckConstraint("step IN ('P','S','C','V')", name="step"),
        CheckConstraint("(step IN ('C','V')) = (pending_id IS NOT NULL)", name="resolves"),
        Index("ix_ledger_transfer_debit", "debit", "day"),
        Index("ix_ledger_transfer_credit", "credit", "day"),
    )

    id: Mapped[str] = mapped_column(String(80), primary_key=True)
    step: Mapped[str] = mapped_column(String(1))
    pending_id: Mapped[str | None] = mapped_column(
        String(80), ForeignKey("ledger_transfer.id"), unique=True
    )
    debit: Mapped[str] = mapped_column(ForeignKey("ledger_account.id"))
    credit: Mapped[str] = mapped_column(ForeignKey("ledger_account.id"))
    amount: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(String(20))
    day: Mapped[date] = mapped_column(Date)
    at: Mapped[datetime] = mapped_column(Instant)


class MerchantRow(Table):
    """A merchant (field 42). `fee_points`: basis points of a purchase the merchant pays."""

    __tablename__ = "purse_merchant"
    __table_args__ = (CheckConstraint("fee_points BETWEEN 0 AND 10000", name="fee_points"),)

    number: Mapped[str] = mapped_column(String(15), primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    fee_points: Mapped[int] = mapped_column(Integer)
    open: Mapped[bool] = mapped_column(Boolean, default=True)


class TerminalRow(Table):
    """A terminal (field 41): its keys as HSM tokens, its batch, what it reported last.

    `mac_profile`: ``unionpay``, ``x99`` or ``x919`` (iso8583-host.md 9.2); `psam`: the 6-byte number in hex.
    Two key sets (I-10): *current*, and *waiting* from a sign-on whose first message has not come yet.
    `plain_management`: a foreign terminal whose 08xx and 0500 may come without a MAC (6.1). `full_batch`: the batch
    that holds as many messages as one may (8.1); 0: none.
    """

    __tablename__ = "purse_terminal"

    number: Mapped[str] = mapped_column(String(8), primary_key=True)
    merchant: Mapped[str] = mapped_column(ForeignKey("purse_merchant.number"))
    psam: Mapped[str] = mapped_column(String(12), unique=True)
    mac_profile: Mapped[str] = mapped_column(String(10))
    single_mak: Mapped[bool] = mapped_column(Boolean, default=False)
    plain_management: Mapped[bool] = mapped_column(Boolean, default=False)
    open: Mapped[bool] = mapped_column(Boolean, default=True)
    tmk: Mapped[str] = mapped_column(String(400))
    batch: Mapped[int] = mapped_column(Integer, default=1)
    full_batch: Mapped[int] = mapped_column(Integer, default=0)
    current_mak: Mapped[str] = mapped_column(String(400), default="")
    current_pik: Mapped[str] = mapped_column(String(400), default="")
    waiting_mak: Mapped[str] = mapped_column(String(400), default="")
    waiting_pik: Mapped[str] = mapped_column(String(400), default="")
    waiting_keys: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    waiting_at: Mapped[datetime | None] = mapped_column(Instant)
    signed_on: Mapped[date | None] = mapped_column(Date)
    wrong_macs: Mapped[int] = mapped_column(Integer, default=0)
    key_reuses: Mapped[int] = mapped_column(Integer, default=0)
    blacklist: Mapped[int] = mapped_column(Integer, default=0)
    status_list: Mapped[int] = mapped_column(Integer, default=0)
    waiting_records: Mapped[int] = mapped_column(Integer, default=0)
    psam_counter: Mapped[int | None] = mapped_column(BigInteger)
    seen_at: Mapped[datetime | None] = mapped_column(Instant)


class BatchRow(Table):
    """A terminal's batch through settlement (12): OPEN, SETTLED, UPLOADING, CLOSED, DIFFERENT."""

    __tablename__ = "purse_batch"

    terminal: Mapped[str] = mapped_column(ForeignKey("purse_terminal.number"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    state: Mapped[str] = mapped_column(String(9))
    claimed: Mapped[str] = mapped_column(String(163), default="")
    computed: Mapped[str] = mapped_column(String(163), default="")
    details: Mapped[int] = mapped_column(Integer, default=0)
    tries: Mapped[int] = mapped_column(Integer, default=0)
    closed_at: Mapped[datetime | None] = mapped_column(Instant)


class MessageRow(Table):
    """One request by its key (8.1), with the fingerprint and the stored answer (body without MAC).

    `state`: WORKING, ANSWERED or TOMBSTONE (a reversal that came before its request).
    """

    __tablename__ = "purse_message"
    __table_args__ = (
        CheckConstraint("state IN ('WORKING','ANSWERED','TOMBSTONE')", name="state"),
        CheckConstraint("(state = 'ANSWERED') = (answer IS NOT NULL)", name="answered"),
    )

    key: Mapped[str] = mapped_column(String(KEY_LENGTH), primary_key=True)
    terminal: Mapped[str] = mapped_column(String(8))
    batch: Mapped[int] = mapped_column(Integer)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(String(9))
    answer: Mapped[bytes | None] = mapped_column(LargeBinary)
    response: Mapped[str] = mapped_column(String(2), default="")
    requirement: Mapped[int] = mapped_column(Integer, default=0)
    day: Mapped[date] = mapped_column(Date)
    at: Mapped[datetime] = mapped_column(Instant)


class PurseCardRow(Table):
    """What the host knows of one purse: the highest online counter that MAC1 proved, and refusals.

    `version` rises with every change, so that two hosts cannot decide on the same old picture.
    """

    __tablename__ = "purse_card"

    asn: Mapped[str] = mapped_column(String(ASN_LENGTH), primary_key=True)
    counter: Mapped[int] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(Integer)
    balance: Mapped[int] = mapped_column(BigInteger)
    failures: Mapped[int] = mapped_column(Integer, default=0)
    blocked: Mapped[bool] = mapped_column(Boolean, default=False)
    seen_at: Mapped[datetime] = mapped_column(Instant)


class LoadRow(Table):
    """A load or unload (8.3). `key`: of its 0200. `issued`: date and time that went to the card with MAC2.

    `watched`: reversed on a terminal's word, the card's next counter unseen (I-17). `proven`: TAC (MAC3) right.
    """

    __tablename__ = "purse_load"
    __table_args__ = (
        CheckConstraint(
            "state IN ('HELD','ISSUED','CONFIRMED','REVERSED','UNRESOLVED','DECLINED')",
            name="state",
        ),
        CheckConstraint("amount > 0", name="amount"),
        Index("ix_purse_load_asn", "asn", "counter"),
        Index("ix_purse_load_batch", "terminal", "batch"),
        Index("ix_purse_load_state", "state", "at"),
    )

    key: Mapped[str] = mapped_column(String(KEY_LENGTH), primary_key=True)
    kind: Mapped[str] = mapped_column(String(2))
    asn: Mapped[str] = mapped_column(String(ASN_LENGTH))
    issuer: Mapped[str] = mapped_column(String(16))
    random: Mapped[str] = mapped_column(String(8))
    key_index: Mapped[int] = mapped_column(Integer)
    key_version: Mapped[int] = mapped_column(Integer)
    algorithm: Mapped[int] = mapped_column(Integer)
    counter: Mapped[int] = mapped_column(Integer)
    balance: Mapped[int] = mapped_column(BigInteger)
    amount: Mapped[int] = mapped_column(BigInteger)
    type: Mapped[int] = mapped_column(Integer)
    psam: Mapped[str] = mapped_column(String(12))
    terminal: Mapped[str] = mapped_column(String(8))
    merchant: Mapped[str] = mapped_column(String(15))
    batch: Mapped[int] = mapped_column(Integer)
    trace: Mapped[str] = mapped_column(String(6))
    reference: Mapped[str] = mapped_column(String(12), unique=True)
    account: Mapped[str] = mapped_column(String(19), default="")
    issued: Mapped[str] = mapped_column(String(14))
    state: Mapped[str] = mapped_column(String(10))
    reason: Mapped[str] = mapped_column(String(40), default="")
    watched: Mapped[bool] = mapped_column(Boolean, default=False)
    evidence: Mapped[bytes | None] = mapped_column(LargeBinary)
    proven: Mapped[bool] = mapped_column(Boolean, default=False)
    host: Mapped[str] = mapped_column(String(40))
    day: Mapped[date] = mapped_column(Date)
    at: Mapped[datetime] = mapped_column(Instant)


class PurchaseRow(Table):
    """An off-line purchase as uploaded: raw field 58 and its parsed columns, then the judgement (11.3).

    `purse_key` is set for the first record with that key only; a repeat has None and `first_id`.
    `state`: RECEIVED, POSTED, HELD (kept for people) or FOREIGN (goes to the centre's file).
    """

    __tablename__ = "purse_purchase"
    __table_args__ = (
        CheckConstraint("state IN ('RECEIVED','POSTED','HELD','REPEATED','FOREIGN')", name="state"),
        CheckConstraint("(state = 'REPEATED') = (first_id IS NOT NULL)", name="repeated"),
        Index("ix_purse_purchase_asn", "asn", "counter"),
        Index("ix_purse_purchase_psam", "psam", "terminal_counter"),
        Index("ix_purse_purchase_state", "state", "day"),
        Index("ix_purse_purchase_batch", "terminal", "batch"),
    )

    id: Mapped[int] = mapped_column(_SEQ, primary_key=True, autoincrement=True)
    purse_key: Mapped[str | None] = mapped_column(String(60), unique=True)
    first_id: Mapped[int | None] = mapped_column(ForeignKey("purse_purchase.id"))
    message_key: Mapped[str] = mapped_column(String(KEY_LENGTH), index=True)
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    issuer: Mapped[str] = mapped_column(String(16))
    asn: Mapped[str] = mapped_column(String(ASN_LENGTH))
    counter: Mapped[int] = mapped_column(Integer)
    type: Mapped[int] = mapped_column(Integer)
    amount: Mapped[int] = mapped_column(BigInteger)
    balance: Mapped[int] = mapped_column(BigInteger)
    psam: Mapped[str] = mapped_column(String(12))
    terminal_counter: Mapped[int] = mapped_column(BigInteger)
    tac: Mapped[str] = mapped_column(String(8))
    made: Mapped[str] = mapped_column(String(14))
    key_version: Mapped[int] = mapped_column(Integer)
    terminal: Mapped[str] = mapped_column(String(8))
    merchant: Mapped[str] = mapped_column(String(15))
    batch: Mapped[int] = mapped_column(Integer)
    trace: Mapped[str] = mapped_column(String(6))
    reference: Mapped[str] = mapped_column(String(12))
    state: Mapped[str] = mapped_column(String(9))
    flags: Mapped[str] = mapped_column(String(12), default="")
    tac_good: Mapped[bool | None] = mapped_column(Boolean)
    fee: Mapped[int] = mapped_column(BigInteger, default=0)
    day: Mapped[date] = mapped_column(Date)
    cleared: Mapped[date | None] = mapped_column(Date, index=True)
    at: Mapped[datetime] = mapped_column(Instant)


class BankOrderRow(Table):
    """What the bank must still be told, store and forward: ``reverse`` a debit or ``credit`` an unload."""

    __tablename__ = "purse_bank_order"
    __table_args__ = (
        CheckConstraint("kind IN ('reverse','credit')", name="kind"),
        Index("ix_purse_bank_order_state", "state", "at"),
    )

    reference: Mapped[str] = mapped_column(String(12), primary_key=True)
    kind: Mapped[str] = mapped_column(String(7), primary_key=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    account: Mapped[str] = mapped_column(String(19), default="")
    state: Mapped[str] = mapped_column(String(7))
    tries: Mapped[int] = mapped_column(Integer, default=0)
    at: Mapped[datetime] = mapped_column(Instant)


class IncidentRow(Table):
    """Something people must look at. `evidence` holds the bytes as received."""

    __tablename__ = "purse_incident"

    id: Mapped[int] = mapped_column(_SEQ, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(30), index=True)
    subject: Mapped[str] = mapped_column(String(60), index=True)
    detail: Mapped[str] = mapped_column(String(200))
    evidence: Mapped[bytes] = mapped_column(LargeBinary)
    open: Mapped[bool] = mapped_column(Boolean, default=True)
    day: Mapped[date] = mapped_column(Date)
    at: Mapped[datetime] = mapped_column(Instant)


class BlacklistVersionRow(Table):
    """A version of the purse blacklist (7.9); `digest` is SHA-256 over its sorted entries."""

    __tablename__ = "purse_blacklist_version"

    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    entries: Mapped[int] = mapped_column(Integer)
    digest: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(Instant)


class BlacklistEntryRow(Table):
    """What a version changed: `reason` 01 to 04, or 00 when the card left the list."""

    __tablename__ = "purse_blacklist_entry"

    version: Mapped[int] = mapped_column(
        ForeignKey("purse_blacklist_version.version"), primary_key=True
    )
    asn: Mapped[str] = mapped_column(String(ASN_LENGTH), primary_key=True)
    reason: Mapped[str] = mapped_column(String(2))


class ReferenceRow(Table):
    """How many reference numbers of a day were handed out (field 37), in blocks."""

    __tablename__ = "purse_reference"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    used: Mapped[int] = mapped_column(Integer)


class ClearingDayRow(Table):
    """A business day's clearing. CLOSING from the freeze on (`purchase_limit`, the input set), then CLOSED."""

    __tablename__ = "purse_clearing_day"
    __table_args__ = (CheckConstraint("state IN ('CLOSING','CLOSED')", name="state"),)

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    state: Mapped[str] = mapped_column(String(7))
    purchase_limit: Mapped[int] = mapped_column(BigInteger)
    report: Mapped[str] = mapped_column(String(8000), default="")
    digest: Mapped[str] = mapped_column(String(64), default="")
    at: Mapped[datetime] = mapped_column(Instant)


class ClearingFileRow(Table):
    """A clearing file that we made (`content`) or took in, once (I-28): then `content` is the E file it got."""

    __tablename__ = "purse_clearing_file"

    sender: Mapped[str] = mapped_column(String(11), primary_key=True)
    day: Mapped[str] = mapped_column(String(8), primary_key=True)
    kind: Mapped[str] = mapped_column(String(1), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    records: Mapped[int] = mapped_column(Integer)
    bad: Mapped[int] = mapped_column(Integer)
    content: Mapped[bytes | None] = mapped_column(LargeBinary)
    at: Mapped[datetime] = mapped_column(Instant)


class MerchantDayRow(Table):
    """A merchant's day: count, sum and fee of purchases posted to it, and what is paid out."""

    __tablename__ = "purse_merchant_day"
    __table_args__ = (CheckConstraint("paid = amount - fee", name="paid"),)

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    merchant: Mapped[str] = mapped_column(ForeignKey("purse_merchant.number"), primary_key=True)
    count: Mapped[int] = mapped_column(Integer)
    amount: Mapped[int] = mapped_column(BigInteger)
    fee: Mapped[int] = mapped_column(BigInteger)
    paid: Mapped[int] = mapped_column(BigInteger)


class DifferenceRow(Table):
    """A difference found in clearing, with its reason; `explained` when a rule accounts for it."""

    __tablename__ = "purse_difference"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    subject: Mapped[str] = mapped_column(String(60), primary_key=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(String(120))
    explained: Mapped[bool] = mapped_column(Boolean)


for _dialect in ("sqlite", "postgresql"):
    for _statement in guards(_dialect):
        event.listen(
            Table.metadata.tables["ledger_transfer"],
            "after_create",
            DDL(_statement).execute_if(dialect=_dialect),  # type: ignore[no-untyped-call]
        )
