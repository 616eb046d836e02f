"""The daily check file for a bank that sells loads (iso8583-host.md 13.3): head ``count|amount``, a line a load.

Partner products are known to exchange such a file under the name ``DZ_XYK_<agent>_<date>.txt``; what its lines hold
is not public, so they are ours: reference, time of day, terminal, ASN and fen, ASCII with CRLF. In it are the loads
the bank was debited for and that are neither declined nor given back. A bank's own file of a day is compared with
ours by reference; its times are those of another clock and are not.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import select

from core.clock import SHANGHAI
from core.db import Tx
from core.errors import Rejected
from payments.clearing_file import FileFault
from payments.columns import LineFault
from payments.decisions import CONFIRMED, HELD, ISSUED, UNRESOLVED
from payments.limits import HostProfile
from payments.matrix import BANK_KINDS
from payments.reconcile import REVERSE
from payments.tables import BankOrderRow, LoadRow
from payments.writing import WAITING

BAR, EOL = "|", b"\r\n"
FIELD_COUNT = 5
MAX_LINES = 9_999_999
_NAME = re.compile(r"DZ_XYK_([0-9]{8,11})_([0-9]{8})\.txt")
_FORMS = (
    ("reference", re.compile(r"[0-9]{12}")), ("time", re.compile(r"[0-9]{6}")),
    ("terminal", re.compile(r"[ -{}~]{1,8}")), ("asn", re.compile(r"[0-9A-Fa-f]{20}")),
    ("amount", re.compile(r"[0-9]{1,12}")),
)  # fmt: skip


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
    return f"DZ_XYK_{profile.acquirer}_{day:%Y%m%d}.txt", write_check_file(our_lines(tx, day))


def our_lines(tx: Tx, day: date) -> list[CheckLine]:
    """The loads of a business day that the bank was debited for and was not told to give back."""
    back = select(BankOrderRow.reference).where(
        BankOrderRow.kind == REVERSE, BankOrderRow.reference == LoadRow.reference
    )
    rows = tx.scalars(
        select(LoadRow)
        .where(
            LoadRow.day == day,
            LoadRow.kind.in_(sorted(BANK_KINDS)),
            LoadRow.state.in_((ISSUED, CONFIRMED, UNRESOLVED)),
            ~back.exists(),
        )
        .order_by(LoadRow.reference)
    )
    return [
        CheckLine(row.reference, _time(row.at), row.terminal, row.asn, row.amount) for row in rows
    ]


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
    for part, (name, form) in zip(parts, _FORMS, strict=True):
        if form.fullmatch(part) is None:
            raise LineFault(number, name)
    reference, time, terminal, asn, amount = parts
    return CheckLine(reference, time, terminal, asn.lower(), int(amount))


# ---- a bank's file beside our day


@dataclass(frozen=True)
class CheckDifference:
    """One reference on which bank and we differ: what the bank has more (less: negative) in fen, and why."""

    reference: str
    amount: int
    code: str
    explained: bool

    @property
    def texts(self) -> tuple[str, str]:
        """The reason in English and Chinese."""
        return REASONS[self.code]


@dataclass(frozen=True)
class Comparison:
    """A bank's file against our day: both sides' lines and every difference."""

    day: date
    theirs: tuple[CheckLine, ...]
    ours: tuple[CheckLine, ...]
    differences: tuple[CheckDifference, ...]

    @property
    def unexplained(self) -> int:
        """Differences that people must look at."""
        return sum(not one.explained for one in self.differences)


REASONS = {
    "missing": ("the bank does not have our load", "银行无此笔圈存"),
    "twice": ("the bank has the load twice", "银行重复记录"),
    "amount": ("the amounts differ", "金额不符"),
    "card": ("card or terminal differ", "卡号或终端不符"),
    "unknown": ("we have no such load", "本方无此笔圈存"),
    "day-before": ("we asked for it before midnight", "本方于前一营业日零点前发起"),
    "other-day": ("our load is of another business day", "本方记入其他营业日"),
    "declined": ("we declined the load", "本方已拒绝该笔圈存"),
    "held": ("we are still deciding the load", "本方尚未处理完毕"),
    "given-back": ("we told the bank to give it back", "本方已通知银行退款"),
    "not-told": ("the bank has not been told yet to give it back", "退款通知尚未送达银行"),
}  # fmt: skip
EXPLAINED = frozenset({"day-before", "held", "not-told"})


def check_day(name: str, profile: HostProfile) -> date:
    """The business day a file's name says. Raises FileFault ``name``, Rejected FILE-RECEIVER."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise FileFault("name")
    if match[1] != profile.acquirer:
        raise Rejected("FILE-RECEIVER", "another's file", file=name, receiver=match[1])
    try:
        return datetime.strptime(match[2], "%Y%m%d").date()  # noqa: DTZ007
    except ValueError:
        raise FileFault("name") from None


def compare(tx: Tx, day: date, raw: bytes) -> Comparison:
    """A bank's file beside our loads of `day`, reference by reference. Raises LineFault; changes nothing."""
    theirs, ours = read_check_file(raw), our_lines(tx, day)
    counted = Counter(line.reference for line in theirs)
    mine = {line.reference: line for line in ours}
    found = [
        CheckDifference(line.reference, -line.amount, "missing", False)
        for line in ours
        if not counted[line.reference]
    ]
    seen: set[str] = set()
    for line in theirs:
        own, again = mine.get(line.reference), line.reference in seen
        seen.add(line.reference)
        if again:
            found.append(CheckDifference(line.reference, line.amount, "twice", False))
        elif own is None:
            code = _why_not_ours(tx, line, day)
            found.append(CheckDifference(line.reference, line.amount, code, code in EXPLAINED))
        elif own.amount != line.amount:
            gap = line.amount - own.amount
            found.append(CheckDifference(line.reference, gap, "amount", False))
        elif (own.asn, own.terminal) != (line.asn, line.terminal):
            found.append(CheckDifference(line.reference, 0, "card", False))
    found.sort(key=lambda one: one.reference)
    return Comparison(day, tuple(theirs), tuple(ours), tuple(found))


def _why_not_ours(tx: Tx, line: CheckLine, day: date) -> str:
    row = tx.scalar(
        select(LoadRow).where(
            LoadRow.reference == line.reference, LoadRow.kind.in_(sorted(BANK_KINDS))
        )
    )
    if row is None:
        return "unknown"
    if row.amount != line.amount:
        return "amount"
    order = tx.get(BankOrderRow, (line.reference, REVERSE))
    if order is not None:
        return "not-told" if order.state == WAITING else "given-back"
    if row.state == HELD:
        return "held"
    if row.day == day - timedelta(days=1):
        return "day-before"
    return "other-day" if row.day != day else "declined"
