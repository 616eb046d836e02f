"""``citycard vault``: the seals on personal data, and their renewal after a key rotation."""

from pathlib import Path
from typing import Annotated

import typer

from cli.output import EXIT_NO, json_object, result

app = typer.Typer(help="Seals on personal data. 个人信息加密。", no_args_is_help=True)

Data = Annotated[Path, typer.Option("--data", help="Folder of an installation.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
DEFAULT_DATA = Path("citycard-data")


@app.command("show")
def show(data: Data = DEFAULT_DATA, as_json: Json = False) -> int:
    """Sealed rows by table; exit 1 while any carries an older key version. 密钥版本情况。"""
    from registry import resealing
    from runtime.services import build
    from runtime.settings import Settings

    services = build(Settings(data=data))
    try:
        with services.db.read() as tx:
            found = resealing.standing(tx)
    finally:
        services.close()
    if as_json:
        json_object({"schema": "citycard/vault/1", "tables": [vars(one) for one in found]})
    else:
        for one in found:
            result(f"{one.table:24} {one.rows:9} {one.old:9}")
    return EXIT_NO if any(one.old for one in found) else 0


@app.command("reseal")
def reseal(
    by: Annotated[str, typer.Option("--by", help="The administrator who does it.")],
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Seal under the newest key what an older one sealed; may be stopped and run again. 换密重封。"""
    from rich.console import Console
    from rich.progress import Progress

    from registry import resealing
    from runtime.services import build
    from runtime.settings import Settings

    services = build(Settings(data=data))
    try:
        with services.db.read() as tx:
            waiting = sum(one.old for one in resealing.standing(tx))
        with Progress(console=Console(stderr=True), transient=True, disable=as_json) as bar:
            task = bar.add_task("rows", total=waiting)

            def step(_table: str, rows: int) -> None:
                bar.advance(task, rows)

            done = resealing.reseal_all(services.db, services.clock, by, step)
    finally:
        services.close()
    if as_json:
        json_object({"schema": "citycard/vault-reseal/1", "rows": done})
    else:
        result(f"rows {done}")
