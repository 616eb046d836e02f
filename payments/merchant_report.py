"""A merchant's day on one page and as a table: what was sold, the fee, what is paid out (iso8583-host.md 12, 13).

CSV is UTF-8 with a byte order mark (spreadsheets ask for it), amounts in yuan with two decimals. The PDF
is set by typst with the operating system's Noto Sans CJK; the same day gives the same bytes.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from pathlib import Path

import typst
from sqlalchemy import select

from core.db import Tx
from core.errors import NotFound
from core.money import format_yuan
from payments.clearing import read_report
from payments.tables import MerchantDayRow, MerchantRow, PurchaseRow

FONT_FOLDERS = ("/usr/share/fonts/opentype/noto", "/usr/share/fonts/noto-cjk")
FONT = "NotoSansCJK-Regular.ttc"
COLUMNS = ("time", "terminal", "batch", "trace", "card", "amount", "fee", "paid", "remarks")


@dataclass(frozen=True)
class Sale:
    """One purchase on the report; `card` is masked."""

    made: str
    terminal: str
    batch: str
    trace: str
    card: str
    amount: int
    fee: int
    flags: str


@dataclass(frozen=True)
class MerchantReport:
    """A merchant's cleared day. Amounts in fen."""

    day: date
    merchant: str
    name: str
    count: int
    amount: int
    fee: int
    paid: int
    sales: tuple[Sale, ...]


def merchant_report(tx: Tx, day: date, merchant: str) -> MerchantReport:
    """The report of a closed day, also of one without sales. Raises NotFound CLEARING-MERCHANT, CLEARING-DAY."""
    who = tx.get(MerchantRow, merchant)
    if who is None:
        raise NotFound("CLEARING-MERCHANT", "no such merchant", merchant=merchant)
    read_report(tx, day)
    row = tx.get(MerchantDayRow, (day, merchant))
    if row is None:
        return MerchantReport(day, merchant, who.name, 0, 0, 0, 0, ())
    sales = tx.scalars(
        select(PurchaseRow)
        .where(
            PurchaseRow.cleared == day,
            PurchaseRow.merchant == merchant,
            PurchaseRow.state == "POSTED",
        )
        .order_by(PurchaseRow.made, PurchaseRow.id)
    )
    return MerchantReport(
        day, merchant, who.name, row.count, row.amount, row.fee, row.paid,
        tuple(_sale(sale) for sale in sales),
    )  # fmt: skip


def _sale(row: PurchaseRow) -> Sale:
    masked = f"{row.asn[6:12]}****{row.asn[-4:]}"
    return Sale(
        row.made,
        row.terminal,
        f"{row.batch:06d}",
        row.trace,
        masked,
        row.amount,
        row.fee,
        row.flags,
    )


def as_csv(report: MerchantReport) -> bytes:
    """One line a sale and a last line with the sums."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for sale in report.sales:
        writer.writerow(_cells(sale))
    writer.writerow(
        (report.day.isoformat(), "", "", "", f"{report.count}", format_yuan(report.amount),
         format_yuan(report.fee), format_yuan(report.paid), report.merchant)
    )  # fmt: skip
    return b"\xef\xbb\xbf" + out.getvalue().encode("utf-8")


def _cells(sale: Sale) -> Sequence[str]:
    return (
        _readable(sale.made), sale.terminal, sale.batch, sale.trace, sale.card,
        format_yuan(sale.amount), format_yuan(sale.fee), format_yuan(sale.amount - sale.fee),
        sale.flags,
    )  # fmt: skip


def _readable(made: str) -> str:
    return f"{made[:4]}-{made[4:6]}-{made[6:8]} {made[8:10]}:{made[10:12]}:{made[12:14]}"


@cache
def _fonts() -> Path:
    folder = next((Path(name) for name in FONT_FOLDERS if (Path(name) / FONT).is_file()), None)
    if folder is None:
        raise NotFound("CLEARING-FONT", f"looked in {', '.join(FONT_FOLDERS)}", file=FONT)
    return folder


def as_pdf(report: MerchantReport) -> bytes:
    """A4 pages in both languages. Raises NotFound CLEARING-FONT."""
    facts = {
        "day": report.day.isoformat(),
        "merchant": report.merchant,
        "name": report.name,
        "count": report.count,
        "amount": format_yuan(report.amount),
        "fee": format_yuan(report.fee),
        "paid": format_yuan(report.paid),
        "sales": [list(_cells(sale)) for sale in report.sales],
    }
    with resources.as_file(resources.files("payments").joinpath("merchant_report.typ")) as template:
        return typst.compile(
            template,
            format="pdf",
            font_paths=[_fonts()],
            ignore_system_fonts=True,
            sys_inputs={"report": json.dumps(facts, ensure_ascii=False, sort_keys=True)},
        )
