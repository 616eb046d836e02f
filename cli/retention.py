"""``citycard retention``: what the registers may no longer keep, and the holds that keep it all the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import json_object, result

if TYPE_CHECKING:
    from core.clock import Clock
    from core.db import Tx

app = typer.Typer(help="What is due to be deleted. 个人信息保存期限。", no_args_is_help=True)

Data = Annotated[Path, typer.Option("--data", help="Folder of an installation.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
Number = Annotated[str, typer.Argument(help="Acceptance or permit number, 18 digits.")]
DEFAULT_DATA = Path("citycard-data")


@app.command("purge")
def purge(
    by: Annotated[str, typer.Option("--by", help="The administrator who does it.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only.")] = False,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Delete what is past its time; may be stopped and run again. 清除到期信息。"""
    from registry import retention
    from registry.residence import retention as residence
    from runtime.services import build
    from runtime.settings import Settings

    services = build(Settings(data=data))
    try:
        if dry_run:
            with services.db.read() as tx:
                found = retention.due(tx, services.clock)
        else:
            found = retention.purge(services.db, services.clock, by)
        with services.db.read() as tx:
            held = residence.held(tx)
    finally:
        services.close()
    rules = {one.rule: one.rows for one in found}
    if as_json:
        json_object(
            {"schema": "citycard/retention/1", "dry_run": dry_run, "rows": rules, "held": held}
        )
        return
    for name, rows in {**rules, "people_held": held}.items():
        result(f"{name:22} {rows:9}")


@app.command("hold")
def hold(
    number: Number,
    case_no: Annotated[str, typer.Option("--case", help="The case it is for.")],
    by: Annotated[str, typer.Option("--by", help="The reviewer.")],
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Keep a person's data for a case, whatever their age. 保全。"""
    from registry.residence import retention
    from registry.roles import Actor, Role

    with _writing(data) as (tx, clock):
        retention.place_hold(tx, clock, number, case_no, Actor.of(by, Role.REVIEWER))
    _tell(number, "held", as_json)


@app.command("release")
def release(
    number: Number,
    by: Annotated[str, typer.Option("--by", help="The first reviewer.")],
    second: Annotated[str, typer.Option("--second", help="Another reviewer.")],
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """The case is over. 解除保全。"""
    from registry.residence import retention
    from registry.roles import Actor, Role

    first, other = (Actor.of(name, Role.REVIEWER) for name in (by, second))
    with _writing(data) as (tx, clock):
        retention.lift_hold(tx, clock, number, first, other)
    _tell(number, "released", as_json)


def _tell(number: str, became: str, as_json: bool) -> None:
    if as_json:
        json_object({"schema": "citycard/retention-hold/1", "number": number, "state": became})
    else:
        result(f"{became} {number}")


@contextmanager
def _writing(data: Path) -> "Iterator[tuple[Tx, Clock]]":
    """One transaction in an installation, and its clock."""
    from runtime.services import build
    from runtime.settings import Settings

    services = build(Settings(data=data))
    try:
        with services.db.write() as tx:
            yield tx, services.clock
    finally:
        services.close()
