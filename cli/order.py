"""``citycard order``: tables from legacy points in, files out (production.md 13)."""

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.office import DEFAULT_DATA, As, Data, Dry, Id, Json, opened, person, show, table, write
from cli.output import EXIT_NO, result

if TYPE_CHECKING:
    from core.clock import Clock
    from core.db import Tx

app = typer.Typer(help="Orders: tables in, files out. 制证数据。", no_args_is_help=True)
FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M"]


@app.command("import")
def import_table(
    file: Annotated[Path, typer.Argument(help="CSV or XLSX with one header row.", exists=True)],
    photos: Annotated[Path, typer.Option("--photos", help="Folder of the portraits.", exists=True)],
    who: As, data: Data = DEFAULT_DATA, as_json: Json = False,
) -> int:  # fmt: skip
    """Enter a point's applications row by row. Exit 1 when a row was refused. 导入受理表。"""
    from rich.console import Console
    from rich.progress import Progress

    from personalization import paper_intake

    content = file.read_bytes()
    bar = Progress(console=Console(stderr=True), disable=as_json or not sys.stderr.isatty())
    with opened(data) as services, bar:
        task = bar.add_task("rows", total=content.count(b"\n"))
        done = paper_intake.take_in(
            services.db, services.clock, content, paper_intake.Folder(photos), person(who),
            lambda: bar.advance(task),
        )  # fmt: skip
    answer = {
        "rows": done.rows, "accepted": done.accepted, "repeated": done.repeated,
        "refused": len(done.errors), "errors": [vars(error) for error in done.errors],
    }  # fmt: skip

    def lines(_: object) -> list[str]:
        head = f"{done.accepted} accepted, {done.repeated} known, {len(done.errors)} refused"
        return [head, *table([vars(error) for error in done.errors], "every row is in")]

    show("order.import", answer, lines, as_json)
    return EXIT_NO if done.errors else 0


@app.command("export")
def export(
    batch: Annotated[str, typer.Argument(help="Batch number.")],
    file: Annotated[Path, typer.Argument(help="Where to write it.")],
    who: As, data: Data = DEFAULT_DATA,
) -> None:  # fmt: skip
    """A batch's work orders as NDJSON with a manifest; no names. 导出工单。"""
    from personalization import exports

    with opened(data) as services, services.db.write() as tx:
        file.write_bytes(exports.work_orders(tx, services.clock, batch, person(who)))
    result(str(file))


@app.command("take")
def take(
    file: Annotated[Path, typer.Argument(help="NDJSON of another centre.", exists=True)],
    who: As, data: Data = DEFAULT_DATA, command: Id = None, dry: Dry = False,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Take over another centre's work orders. Exit 1 when a line was refused. 接收工单。"""
    content = file.read_bytes()

    def act(tx: "Tx", clock: "Clock") -> dict[str, object]:
        from personalization import exports

        taken = exports.take_work_orders(tx, clock, content, person(who))
        return {
            "created": taken.created, "known": taken.known,
            "errors": [vars(error) for error in taken.errors],
        }  # fmt: skip

    answer = write(
        data, "order.take", {"file": file.name}, act, lambda a: table([a]),
        as_json=as_json, command=command, dry=dry,
    )  # fmt: skip
    return EXIT_NO if answer["errors"] else 0


@app.command("log")
def log(
    file: Annotated[Path, typer.Argument(help="Where to write it.")],
    since: Annotated[datetime, typer.Option("--since", formats=FORMATS, help="Local time.")],
    until: Annotated[datetime, typer.Option("--until", formats=FORMATS, help="Local time.")],
    who: As, data: Data = DEFAULT_DATA,
) -> None:  # fmt: skip
    """The personalization log: one chained line a card. 导出制证日志。"""
    from core.clock import SHANGHAI
    from personalization import exports

    begin, end = since.replace(tzinfo=SHANGHAI), until.replace(tzinfo=SHANGHAI)
    with opened(data) as services, services.db.write() as tx:
        file.write_bytes(exports.card_log(tx, services.clock, begin, end, person(who)))
    result(str(file))
