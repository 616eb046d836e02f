"""``citycard clearing``: close a business day, read its report, exchange files (iso8583-host.md 11 to 13)."""

from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import output
from cli.office import DEFAULT_DATA, Data, Json, opened

app = typer.Typer(no_args_is_help=True, help="Close a day and read its report. 日终清算。")
Day = Annotated[str, typer.Option("--day", help="Business day, YYYY-MM-DD.")]
Certificates = Annotated[Path, typer.Option("--certificates", help="Clients of the HSM.")]
Slots = Annotated[Path, typer.Option("--slots", help="The HSM's slots.json.")]
HsmPort = Annotated[int, typer.Option("--hsm-port", help="The HSM's port.")]
HsmHost = Annotated[str, typer.Option("--hsm-host", help="The HSM's address.")]
BulkPort = Annotated[int | None, typer.Option("--hsm-bulk-port", help="Its port for many TACs.")]
Out = Annotated[Path, typer.Option("--out", file_okay=False, help="Folder for what is written.")]
THERE = {"exists": True, "dir_okay": False, "readable": True}
HERE = Path()


class Form(StrEnum):
    """Which file a day is written as."""

    PCF = "pcf"
    COM = "com"
    DZ = "dz"


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("a day is YYYY-MM-DD", param_hint="--day") from None


@app.command("run")
def run(
    day: Day,
    certificates: Certificates,
    slots: Slots,
    hsm_port: HsmPort,
    hsm_host: HsmHost = "127.0.0.1",
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> int:
    """Freeze, judge, total, reconcile, close. 日终清算。

    Run again it gives the same report. Exit 1: a difference is unexplained.
    """
    from payments.clearing import ClearingRun
    from runtime.purse_host import HostSetup, purse_host

    setup = HostSetup(data, certificates, slots, hsm_host, hsm_port, "clearing")
    with purse_host(setup) as host:
        clearing = ClearingRun(host.db, host.clock, host.hsm, host.masters, host.profile, host.bank)
        report = clearing.close(_day(day))
    _show(report, as_json)
    if report.differences:
        output.note(f"citycard clearing report --day {report.day} names every difference")
    return output.EXIT_NO if report.unexplained else 0


@app.command("report")
def report(day: Day, data: Data = DEFAULT_DATA, as_json: Json = False) -> int:
    """The report of a closed day, with every difference and its reason. 清算报告。"""
    from sqlalchemy import select

    from payments.clearing import read_report
    from payments.tables import DifferenceRow

    with opened(data) as city, city.db.read() as tx:
        found = read_report(tx, _day(day))
        rows = tx.scalars(
            select(DifferenceRow).where(DifferenceRow.day == _day(day)).order_by(DifferenceRow.kind)
        )
        listed = [
            {"kind": row.kind, "subject": row.subject, "amount_fen": row.amount,
             "reason": row.reason, "explained": row.explained}
            for row in rows
        ]  # fmt: skip
    _show(found, as_json, listed)
    return 0


def _show(found: object, as_json: bool, listed: Sequence[Mapping[str, Any]] | None = None) -> None:
    from core.money import format_yuan
    from payments.clearing import DayReport

    assert isinstance(found, DayReport)
    if as_json:
        rows = {} if listed is None else {"listed": listed}
        output.json_object({**vars(found), "digest": found.digest, **rows})
        return
    output.result(
        f"{found.day}: {found.purchases} purchases, {format_yuan(found.amount)} yuan, fees "
        f"{format_yuan(found.fees)}, paid out {format_yuan(found.paid)}"
    )
    output.result(
        f"  TACs good {found.tac_good}, wrong {found.tac_bad}; repeated {found.repeated}, kept "
        f"{found.kept}, foreign {found.foreign}; loads {found.loads}, {format_yuan(found.loaded)} yuan"
    )
    output.result(
        f"  float {format_yuan(found.float_fen)}; differences {found.differences}, unexplained "
        f"{found.unexplained}; incidents {found.incidents}; SHA-256 {found.digest}"
    )
    for row in listed or ():
        mark = "explained" if row["explained"] else "UNEXPLAINED"
        output.result(
            f"  {row['kind']} {row['subject']}: {row['amount_fen']} fen, {row['reason']} [{mark}]"
        )


@app.command("merchant")
def merchant(
    number: Annotated[str, typer.Argument(help="Merchant number (field 42).")],
    day: Day,
    out: Out = HERE,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> int:
    """A merchant's day as CSV and PDF; the same bytes every time. 商户对账单。"""
    from payments.merchant_report import as_csv, as_pdf, merchant_report

    with opened(data) as city, city.db.read() as tx:
        found = merchant_report(tx, _day(day), number)
    out.mkdir(parents=True, exist_ok=True)
    base = out / f"merchant-{number}-{found.day:%Y%m%d}"
    written = {"csv": base.with_suffix(".csv"), "pdf": base.with_suffix(".pdf")}
    written["csv"].write_bytes(as_csv(found))
    written["pdf"].write_bytes(as_pdf(found))
    if as_json:
        paths = {kind: str(path) for kind, path in written.items()}
        output.json_object(
            {"schema": "citycard/merchant-report/1", **paths, "count": found.count,
             "amount_fen": found.amount, "fee_fen": found.fee, "paid_fen": found.paid}
        )  # fmt: skip
    else:
        for path in written.values():
            output.result(str(path))
    return 0


@app.command("export")
def export(
    day: Day,
    form: Annotated[
        Form,
        typer.Option(
            "--form",
            help="pcf: our 279 characters; com: the card network's; dz: a bank's check file.",
        ),
    ] = Form.PCF,
    out: Out = HERE,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> int:
    """A closed day as our 279-character file, with digest, or as a partner's. 导出清算文件。

    Ours is made once when the day is over, and stays as it is.
    """
    from payments.check_file import export_check_file
    from payments.clearing import read_report
    from payments.day_file import day_file
    from payments.limits import HostProfile
    from payments.unionpay_files import export_com

    with opened(data) as city, city.db.write() as tx:
        read_report(tx, _day(day))
        if form is Form.PCF:
            name, raw = day_file(tx, city.clock, HostProfile(), _day(day))
        elif form is Form.COM:
            name, raw = export_com(tx, HostProfile(), _day(day))
        else:
            name, raw = export_check_file(tx, HostProfile(), _day(day))
    out.mkdir(parents=True, exist_ok=True)
    (out / name).write_bytes(raw)
    if as_json:
        output.json_object(
            {"schema": "citycard/clearing-file/1", "file": str(out / name), "bytes": len(raw)}
        )
    else:
        output.result(str(out / name))
    return 0


@app.command("take")
def take(
    file: Annotated[
        Path, typer.Argument(**THERE, help="A partner's T or E file, under its own name.")
    ],
    certificates: Certificates,
    slots: Slots,
    hsm_port: HsmPort,
    hsm_host: HsmHost = "127.0.0.1",
    hsm_bulk_port: BulkPort = None,
    out: Out = HERE,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> int:
    """Check and book a partner's file; bad records go back in an E file. 接收清算文件。

    Each record of ours that an E file brings back becomes an incident (`citycard purse incidents`). Taken twice a
    file changes nothing and gives the same E file. Exit 1: a record was bad.
    """
    from payments.exchange_files import FileDesk
    from runtime.purse_host import HostSetup, purse_host

    setup = HostSetup(
        data, certificates, slots, hsm_host, hsm_port, "clearing", hsm_bulk_port=hsm_bulk_port
    )
    with purse_host(setup) as host:
        desk = FileDesk(
            host.db, host.clock, host.hsm, host.masters, host.profile,
            bulk=hsm_bulk_port is not None,
        )  # fmt: skip
        taken = desk.take(file.name, file.read_bytes())
    returned = None
    if taken.returned is not None:
        out.mkdir(parents=True, exist_ok=True)
        returned = out / taken.returned_name
        returned.write_bytes(taken.returned)
    if as_json:
        output.json_object(
            {"schema": "citycard/clearing-take/1", "records": taken.records, "bad": taken.bad,
             "posted": taken.posted, "again": taken.again,
             "returned": None if returned is None else str(returned)}
        )  # fmt: skip
    else:
        before = ", taken before" if taken.again else ""
        output.result(f"{file.name}: {taken.records} records, {taken.bad} bad{before}")
        if returned is not None:
            output.result(str(returned))
    return output.EXIT_NO if taken.bad else 0


@app.command("compare")
def compare(
    file: Annotated[
        Path, typer.Argument(**THERE, help="A bank's check file DZ_XYK_..., under its own name.")
    ],
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> int:
    """A bank's check file beside our closed day: every difference with its reason. 银行对账。

    Nothing is changed. Exit 1: a difference is unexplained.
    """
    from core.money import format_yuan
    from payments import check_file
    from payments.clearing import read_report
    from payments.limits import HostProfile

    day = check_file.check_day(file.name, HostProfile())
    with opened(data) as city, city.db.read() as tx:
        read_report(tx, day)
        found = check_file.compare(tx, day, file.read_bytes())
    theirs, ours = (sum(one.amount for one in side) for side in (found.theirs, found.ours))
    if as_json:
        rows = [
            {"reference": one.reference, "amount_fen": one.amount, "code": one.code,
             "reason_en": one.texts[0], "reason_zh": one.texts[1], "explained": one.explained}
            for one in found.differences
        ]  # fmt: skip
        output.json_object(
            {"schema": "citycard/clearing-compare/1", "day": day.isoformat(), "bank": len(found.theirs),
             "bank_fen": theirs, "ours": len(found.ours), "ours_fen": ours,
             "unexplained": found.unexplained, "differences": rows}
        )  # fmt: skip
        return output.EXIT_NO if found.unexplained else 0
    chinese = output.language() == "zh"
    head = (
        f"{day}：银行{len(found.theirs)}笔{format_yuan(theirs)}元，本方{len(found.ours)}笔"
        f"{format_yuan(ours)}元；差异{len(found.differences)}笔，未说明{found.unexplained}笔"
        if chinese
        else f"{day}: bank {len(found.theirs)} loads, {format_yuan(theirs)} yuan; ours "
        f"{len(found.ours)}, {format_yuan(ours)}; differences {len(found.differences)}, unexplained "
        f"{found.unexplained}"
    )
    output.result(head)
    for one in found.differences:
        mark = ("" if chinese else " [explained]") if one.explained else ""
        output.result(
            f"  {one.reference}  {format_yuan(one.amount):>12}  {one.texts[chinese]}{mark}"
        )
    return output.EXIT_NO if found.unexplained else 0


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(**THERE, help="A clearing file, under its own name.")],
    as_json: Json = False,
) -> int:
    """Check a file as its receiver would, record forms included; needs no installation. 校验清算文件。"""
    from payments.clearing_file import read_file

    found = read_file(file.name, file.read_bytes())
    sums = found.sums
    if as_json:
        output.json_object(
            {"schema": "citycard/clearing-check/1", **vars(sums), "net_fen": sums.net,
             "digest": found.digest, "broken": len(found.broken)}
        )  # fmt: skip
    else:
        output.result(
            f"{file.name}: {sums.details} records, net {sums.net} fen, {len(found.broken)} broken, "
            f"SHA-256 {found.digest}"
        )
    return output.EXIT_NO if found.broken else 0
