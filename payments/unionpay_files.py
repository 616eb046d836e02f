"""The bank card network's transaction file (COM, ACOM), as an adapter over our day (iso8583-host.md 13.2).

34 fields separated by one blank. Purse loads and unloads have a bank leg and belong in it; off-line purchases
do not (they are settled by our own file, 13.1).
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import date
from typing import Self

from core.clock import SHANGHAI
from core.db import Tx
from payments.columns import LineFault, join, number_of, signed, split, unsigned
from payments.completed_loads import completed_loads
from payments.limits import HostProfile
from payments.matrix import BANK_KINDS
from payments.requests import PROCESSING, UNLOAD
from payments.tables import LoadRow

WIDTHS = (
    11, 11, 6, 10, 19, 12, 12, 12, 4, 6, 4, 8, 15, 12, 2, 6, 11, 6, 2, 3, 12, 12, 12, 1, 3, 1, 1, 10,
    11, 1, 2, 2, 12, 14,
)  # fmt: skip
EOL = b"\r\n"
FEE_WIDTH = 12
PURSE_CONDITION = "91"
MAX_LINES = 9_999_999


@dataclass(frozen=True)
class ComLine:
    """One line; amounts are twelve digits of fen, the five fees a sign (C, D) and eleven digits."""

    acquirer: str
    forwarder: str
    trace: str
    sent: str
    account: str
    amount: str
    partial: str
    holder_fee: str
    mti: str
    processing: str
    category: str
    terminal: str
    merchant: str
    reference: str
    condition: str
    authorization: str
    receiver: str
    original_trace: str
    response: str
    entry: str
    receivable: str
    payable: str
    switch_fee: str
    dual: str
    sequence: str
    ability: str
    chip_condition: str
    original_time: str
    issuer: str
    region: str
    terminal_type: str
    eci: str
    instalment: str
    other: str

    def __str__(self) -> str:
        return join(astuple(self), WIDTHS)

    @classmethod
    def parse(cls, line: str, number: int = 0) -> Self:
        """Raises LineFault for a wrong width, separator, digit or sign."""
        texts = [text.rstrip() for text in split(line, WIDTHS, number)]
        made = cls(*texts)
        number_of(made.amount, number)
        number_of(made.partial, number)
        fees = (made.holder_fee, made.receivable, made.payable, made.switch_fee, made.instalment)
        for fee in fees:
            unsigned(fee, number)
        return made

    @property
    def fen(self) -> int:
        """The amount."""
        return int(self.amount)


def com_line(profile: HostProfile, row: LoadRow) -> ComLine:
    """A confirmed load or unload of ours; the account is masked as far as we kept it."""
    nothing = signed(0, FEE_WIDTH)
    return ComLine(
        acquirer=profile.acquirer, forwarder=profile.acquirer, trace=row.trace,
        sent=row.at.astimezone(SHANGHAI).strftime("%m%d%H%M%S"), account=row.account,
        amount=f"{row.amount:012d}", partial="0" * 12, holder_fee=nothing, mti="0200",
        processing=PROCESSING[row.kind], category="", terminal=row.terminal, merchant=row.merchant,
        reference=row.reference, condition=PURSE_CONDITION, authorization="",
        receiver=profile.receiver, original_trace="0" * 6, response="00", entry="051",
        receivable=nothing, payable=nothing, switch_fee=nothing, dual="1", sequence="000",
        ability="5", chip_condition="0", original_time="0" * 10, issuer=profile.receiver,
        region="0", terminal_type="01", eci="", instalment=nothing, other="",
    )  # fmt: skip


def write_com(profile: HostProfile, rows: Sequence[LoadRow]) -> bytes:
    """The file of a day: one line a transaction, an unload after its load as they came. Raises ValueError."""
    if len(rows) > MAX_LINES:
        raise ValueError("too many transactions for one file")
    lines = [str(com_line(profile, row)) for row in rows]
    return b"".join(line.encode("ascii") + EOL for line in lines)


def export_com(tx: Tx, profile: HostProfile, day: date, number: int = 1) -> tuple[str, bytes]:
    """Name and bytes of a day's file: the completed loads and unloads whose money went through the bank.

    The name ``IND<yymmdd><nn>COM`` is the network's; the digits behind it differ by edition `[unconfirmed]`.
    """
    rows = [row for row in completed_loads(tx, day) if row.kind in BANK_KINDS | {UNLOAD}]
    return f"IND{day:%y%m%d}{number:02d}COM", write_com(profile, rows)


def read_com(raw: bytes) -> list[ComLine]:
    """The lines of a file. Raises LineFault, also for a last line that was cut off."""
    *lines, rest = raw.split(EOL)
    if rest:
        raise LineFault(len(lines) + 1, "end")
    return [ComLine.parse(_ascii(line, number), number) for number, line in enumerate(lines, 1)]


def _ascii(line: bytes, number: int) -> str:
    try:
        return line.decode("ascii")
    except UnicodeDecodeError:
        raise LineFault(number, "characters") from None


def is_unload(line: ComLine) -> bool:
    """Whether money went to the account."""
    return line.processing == PROCESSING[UNLOAD]
