"""The daily check file for a bank that sells loads (iso8583-host.md 13.3): head ``count|amount``, a line a load.

Partner products are known to exchange such a file under the name ``DZ_XYK_<agent>_<date>.txt``; what its lines hold
is not public, so they are ours: reference, time of day, terminal, ASN and fen, ASCII with CRLF. In it are the loads
the bank was debited for and that are neither declined nor taken back.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import date, datetime

from sqlalchemy import select

from core.clock import SHANGHAI
from core.db import Tx
from payments.columns import LineFault, number_of
from payments.decisions import CONFIRMED, ISSUED, TAKEN_BACK, UNRESOLVED
from payments.limits import HostProfile
from payments.matrix import BANK_KINDS
from payments.tables import LoadRow

BAR, EOL = "|", b"\r\n"
FIELD_COUNT = 5
MAX_LINES = 9_999_999


@dataclass(frozen=True)
class CheckLine:
    """One load: our reference (field 37, 12 digits), HHMMSS, terminal (8), ASN (20 hex digits), fen."""

    reference: str
    time: str
    terminal: str
    asn: str
    amount: int


def export_check_file(tx: Tx, profile: HostProfile, day: date) -> tuple[str, bytes]:
    """Name and bytes of a business day's file. Raises ValueError for more loads than a file may hold."""
    rows = tx.scalars(
        select(LoadRow)
        .where(
            LoadRow.day == day,
            LoadRow.kind.in_(sorted(BANK_KINDS)),
            LoadRow.state.in_((ISSUED, CONFIRMED, UNRESOLVED)),
            LoadRow.reason != TAKEN_BACK,
        )
        .order_by(LoadRow.reference)
    )
    lines = [
        CheckLine(row.reference, _time(row.at), row.terminal, row.asn, row.amount) for row in rows
    ]
    return f"DZ_XYK_{profile.acquirer}_{day:%Y%m%d}.txt", write_check_file(lines)


def _time(at: datetime) -> str:
    return at.astimezone(SHANGHAI).strftime("%H%M%S")


def write_check_file(lines: Sequence[CheckLine]) -> bytes:
    """The head, then the lines. Raises ValueError for too many."""
    if len(lines) > MAX_LINES:
        raise ValueError("too many loads for one file")
    head = f"{len(lines)}{BAR}{sum(line.amount for line in lines)}"
    told = [head, *(BAR.join(map(str, astuple(line))) for line in lines)]
    return b"".join(text.encode("ascii") + EOL for text in told)


def read_check_file(raw: bytes) -> list[CheckLine]:
    """The lines of a file whose head agrees with them. Raises LineFault; the head is line 0."""
    if not raw.isascii():
        raise LineFault(0, "characters")
    head, *texts = raw.decode("ascii").split(EOL.decode("ascii"))
    if not texts or texts.pop():
        raise LineFault(len(texts), "end")
    lines = [_line(text, number) for number, text in enumerate(texts, 1)]
    if head != f"{len(lines)}{BAR}{sum(line.amount for line in lines)}":
        raise LineFault(0, "count or amount")
    return lines


def _line(text: str, number: int) -> CheckLine:
    parts = text.split(BAR)
    if len(parts) != FIELD_COUNT:
        raise LineFault(number, "fields")
    reference, time, terminal, asn, amount = parts
    return CheckLine(reference, time, terminal, asn, number_of(amount, number))
