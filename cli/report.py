"""``citycard report``: shift, batch, spoil, stock, KPIs, uncollected; papers as PDF (production.md 11, 12, 13)."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.office import DEFAULT_DATA, Data, Json, read, table

if TYPE_CHECKING:
    from core.clock import Clock
    from core.db import Tx

app = typer.Typer(help="Reports and papers. 报表与单据。", no_args_is_help=True)
FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M"]
Since = Annotated[datetime | None, typer.Option("--since", formats=FORMATS, help="Local time.")]
Until = Annotated[datetime | None, typer.Option("--until", formats=FORMATS, help="Local time.")]
Pdf = Annotated[Path | None, typer.Option("--pdf", help="Write the paper here.")]
Copy = Annotated[int, typer.Option("--copy", min=1, help="2 and more is printed on the paper.")]
SHIFT_HOURS = 12
KPI_DAYS = 30


def _period(
    clock: "Clock", since: datetime | None, until: datetime | None, hours: int
) -> tuple[datetime, datetime]:
    from datetime import timedelta

    from core.clock import SHANGHAI

    end = until.replace(tzinfo=SHANGHAI) if until else clock.now()
    return (since.replace(tzinfo=SHANGHAI) if since else end - timedelta(hours=hours), end)


@app.command("shift")
def shift(
    since: Since = None, until: Until = None, pdf: Pdf = None, copy: Copy = 1,
    data: Data = DEFAULT_DATA, as_json: Json = False,
) -> None:  # fmt: skip
    """One shift on one page; the last 12 hours without --since. 交接班报告。"""

    def look(tx: "Tx", clock: "Clock") -> dict[str, Any]:
        from personalization import shift as page

        report = page.report(tx, *_period(clock, since, until, SHIFT_HOURS))
        if pdf is not None:
            from personalization.documents import papers

            pdf.write_bytes(papers.shift_report(report, copy))
        return report.as_facts()

    def lines(answer: dict[str, Any]) -> list[str]:
        return [
            f"{answer['since']} to {answer['until']}",
            "blanks", *table(answer["blanks"]), "batches", *table(answer["batches"]),
            "stops", *table(answer["stops"], "none"), "ribbons", *table(answer["ribbons"], "none"),
            f"cleanings {answer['cleanings']}", f"people {', '.join(answer['people'])}",
        ]  # fmt: skip

    read(data, "report.shift", look, lines, as_json=as_json)


@app.command("kpi")
def kpi(
    since: Since = None, until: Until = None, data: Data = DEFAULT_DATA, as_json: Json = False
) -> None:
    """Key figures of the last 30 days, stops and changeovers included. 关键指标。"""

    def look(tx: "Tx", clock: "Clock") -> dict[str, Any]:
        from personalization import kpi as figures

        found = figures.figures(tx, *_period(clock, since, until, KPI_DAYS * 24))
        return {
            **vars(found),
            "since": found.since.isoformat(),
            "until": found.until.isoformat(),
            "yield_percent": found.yield_percent,
            "first_pass_percent": found.first_pass_percent,
            "stations": [vars(station) for station in found.stations],
        }

    def lines(answer: dict[str, Any]) -> list[str]:
        plain = {name: value for name, value in answer.items() if name != "stations"}
        return [
            *(f"{name:<24} {'-' if value is None else value}" for name, value in plain.items()),
            *table([_rounded(row) for row in answer["stations"]], "no station"),
        ]

    read(data, "report.kpi", look, lines, as_json=as_json)


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: round(value, 2) if isinstance(value, float) else value for name, value in row.items()
    }


@app.command("batch")
def batch(
    number: Annotated[str, typer.Argument(help="Batch number.")],
    pdf: Pdf = None, copy: Copy = 1, data: Data = DEFAULT_DATA, as_json: Json = False,
) -> None:  # fmt: skip
    """A batch's sums, once it is counted; --pdf writes its traveller. 批次平衡与随盘单。"""

    def look(tx: "Tx", _clock: "Clock") -> dict[str, Any]:
        from personalization import balance, batches
        from personalization.documents import papers

        view = batches.show(tx, number)
        if pdf is not None:
            pdf.write_bytes(papers.traveller(tx, number, copy))
        shown = view.state in ("COUNTED", "CLOSED")
        sums = balance.batch_balance(tx, number).as_numbers() if shown else None
        return {"batch": number, "state": view.state, "balance": sums}

    def lines(answer: dict[str, Any]) -> list[str]:
        sums = answer["balance"]
        rest = table([sums]) if sums else ["its numbers are shown after the blind counts"]
        return [f"batch {number} is {answer['state']}", *rest]

    read(data, "report.batch", look, lines, as_json=as_json)


@app.command("spoil")
def spoil(
    since: Since = None, until: Until = None, data: Data = DEFAULT_DATA, as_json: Json = False
) -> None:
    """Why cards were lost, by code, lot, station and ribbon; the last 30 days. 废卡分析。"""

    def look(tx: "Tx", clock: "Clock") -> dict[str, Any]:
        from personalization import kpi as figures

        found = figures.figures(tx, *_period(clock, since, until, KPI_DAYS * 24))
        return {
            "spoiled": found.spoiled, "by_code": found.spoil_by_code, "by_lot": found.spoil_by_lot,
            "by_station": found.spoil_by_station, "by_ribbon": found.spoil_by_ribbon,
        }  # fmt: skip

    read(
        data, "report.spoil", look, lambda a: [f"{name:<11} {value}" for name, value in a.items()],
        as_json=as_json,
    )  # fmt: skip


@app.command("stock")
def stock(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """All lots' sums; numbers of lots that are being counted are not shown. 库存平衡。"""

    def look(tx: "Tx", _clock: "Clock") -> dict[str, Any]:
        from sqlalchemy import select

        from personalization import balance, counts
        from personalization.tables import LotRow

        rows = []
        for lot in tx.scalars(select(LotRow.lot).order_by(LotRow.lot)):
            sums = balance.lot_balance(tx, lot).as_numbers()
            hidden = counts.is_blind(tx, lot)
            kept = ("opening", "vault", "destroyed")
            rows.append(
                {
                    "lot": lot,
                    **{name: None if hidden and name not in kept else sums[name] for name in sums},
                }
            )
        return {"lots": rows}

    read(data, "report.stock", look, lambda a: table(a["lots"], "no lot"), as_json=as_json)


@app.command("uncollected")
def uncollected(
    point: Annotated[str, typer.Option("--point", help="Only this point.")] = "",
    data: Data = DEFAULT_DATA, as_json: Json = False,
) -> None:  # fmt: skip
    """Cards that wait at points for 30 days (remind) or 90 (return). 逾期未领。"""

    def look(tx: "Tx", clock: "Clock") -> dict[str, Any]:
        from personalization import receipt

        return {"cards": [vars(item) for item in receipt.uncollected(tx, clock, point or None)]}

    read(data, "report.uncollected", look, lambda a: table(a["cards"], "none"), as_json=as_json)


Paper = Annotated[Path, typer.Option("--pdf", help="Write the paper here.")]


def _write(
    kind: str, data: Path, pdf: Path, as_json: bool, paper: Callable[["Tx", "Clock"], bytes]
) -> None:
    """One paper into a file; its name is the answer."""

    def look(tx: "Tx", clock: "Clock") -> dict[str, Any]:
        pdf.write_bytes(paper(tx, clock))
        return {"pdf": str(pdf)}

    read(data, kind, look, lambda answer: [answer["pdf"]], as_json=as_json)


@app.command("act")
def act(
    number: Annotated[str, typer.Argument(help="Act number, as A2007-0001.")], pdf: Paper,
    copy: Copy = 1, data: Data = DEFAULT_DATA, as_json: Json = False,
) -> None:  # fmt: skip
    """The paper of a destruction act. 销毁记录。"""

    def paper(tx: "Tx", _clock: "Clock") -> bytes:
        from personalization.documents import papers

        return papers.destruction_act(tx, number, copy)

    _write("report.act", data, pdf, as_json, paper)


@app.command("receipt")
def receipt(
    card: Annotated[str, typer.Argument(help="Card serial, or the text of its symbol.")],
    clerk: Annotated[str, typer.Option("--clerk", help="Who handed it over.")],
    pdf: Paper,
    old_card: Annotated[bool, typer.Option("--old-card", help="The old card was taken.")] = False,
    copy: Copy = 1, data: Data = DEFAULT_DATA, as_json: Json = False,
) -> None:  # fmt: skip
    """The paper a holder signs for a card that was handed over. 领取回执。"""

    def paper(tx: "Tx", _clock: "Clock") -> bytes:
        from personalization import quality
        from personalization.documents import papers

        return papers.hand_over_receipt(tx, quality.read_qr(card), clerk, old_card, copy)

    _write("report.receipt", data, pdf, as_json, paper)


@app.command("box")
def box(
    name: Annotated[str, typer.Argument(help="Box number, as S1-reject.")],
    station: Annotated[str, typer.Option("--station", help="Whose box it is.")],
    seals: Annotated[tuple[str, str], typer.Option("--seals", help="Both seals' numbers.")],
    pdf: Paper, copy: Copy = 1, data: Data = DEFAULT_DATA, as_json: Json = False,
) -> None:  # fmt: skip
    """The label of a reject box that is put up today. 废卡盒标签。"""

    def paper(_tx: "Tx", clock: "Clock") -> bytes:
        from core.clock import SHANGHAI
        from personalization.documents import papers

        today = clock.now().astimezone(SHANGHAI).strftime(papers.DAY)
        return papers.box_label(name, station, today, seals, copy)

    _write("report.box", data, pdf, as_json, paper)
