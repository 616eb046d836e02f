"""``citycard permit``: what the register says of a permit, and why."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.output import json_object, language, note, result

app = typer.Typer(help="Permits: status, reasons, what to do. 居住证。", no_args_is_help=True)

Data = Annotated[Path, typer.Option("--data", help="Folder of an installation or a run.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
DEFAULT_DATA = Path("citycard-demo")
MAX_LISTED = 1_000


@app.command("explain")
def explain(
    number: Annotated[str, typer.Argument(help="Permit number, 18 digits; hyphens allowed.")],
    data: Data = DEFAULT_DATA,
    day: Annotated[
        datetime | None,
        typer.Option("--day", formats=["%Y-%m-%d"], help="Judge this day instead of today."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Why a permit has its status, since when, and what to do. 状态说明。"""
    from core.clock import business_date
    from core.errors import Rejected
    from registry.dormancy import explanation
    from registry.identifiers import validate_permit_no
    from runtime.services import build
    from runtime.settings import Settings

    checked = validate_permit_no(number)
    if not checked.ok:
        raise Rejected(checked.code, "not a permit number")
    services = build(Settings(data=data))
    try:
        with services.db.read() as tx:
            wanted = day.date() if day else business_date(services.clock.now())
            told = explanation.explain(tx, checked.normalized, wanted)
    finally:
        services.close()
    if as_json:
        json_object(told.as_json())
        return
    lang = language()
    result(f"{told.permit_no}  {told.status}  ({told.since}, ssn {told.ssn})")
    for sentence in told.sentences(lang):
        result(f"  {sentence}")
    for ssn, on, status, evidence in told.because:
        result(f"  {on}  ssn {ssn}  {status}  {evidence}")


@app.command("list")
def list_permits(
    data: Data = DEFAULT_DATA,
    status: Annotated[
        str, typer.Option("--status", help="PENDING, ACTIVE, DORMANT, SUSPENDED or CANCELLED.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Permits with their status; no names. 居住证列表。"""
    from sqlalchemy import select

    from registry.residence.domain import ChipStatus
    from registry.residence.tables import PermitRow
    from runtime.services import build
    from runtime.settings import Settings

    query = select(PermitRow).order_by(PermitRow.permit_no).limit(MAX_LISTED)
    if status:
        if status.upper() not in ChipStatus.__members__:
            raise typer.BadParameter("unknown status")
        query = query.where(PermitRow.status == ChipStatus[status.upper()])
    services = build(Settings(data=data))
    try:
        with services.db.read() as tx:
            found = [
                {
                    "permit_no": row.permit_no,
                    "type": row.type,
                    "status": ChipStatus(row.status).name,
                    "ssn": row.ssn,
                    "since": str(row.effective_on),
                    "valid_until": str(row.valid_until),
                }
                for row in tx.scalars(query)
            ]
    finally:
        services.close()
    if as_json:
        json_object({"schema": "citycard/permits/1", "permits": found})
        return
    for entry in found:
        result("  ".join(str(entry[key]) for key in entry))
    if len(found) == MAX_LISTED:
        note(f"only the first {MAX_LISTED} are shown")


@app.command("sweep")
def sweep(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """The night's work: post, overdue steps, notices, sleeps, wakes. Twice changes nothing. 夜间核查。"""
    from rich.console import Console
    from rich.progress import Progress

    from registry import repeats
    from registry.dormancy import engine
    from registry.residence import watchdog
    from runtime import post
    from runtime.services import build
    from runtime.settings import Settings

    services = build(Settings(data=data))
    try:
        carried = post.carry(services.db, services.clock)
        with services.db.write() as tx:
            waiting = watchdog.scan(tx, services.clock)
            repeats.forget(tx, services.clock)
        with Progress(console=Console(stderr=True), transient=True, disable=as_json) as bar:
            task = bar.add_task("permits", total=None)

            def show(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            swept = engine.nightly(services.db, services.clock, progress=show)
    finally:
        services.close()
    figures = {
        "messages_taken": sum(one.taken for one in carried.values()),
        "messages_refused": sum(one.refused for one in carried.values()),
        "overdue": waiting.escalated,
        "reminded": waiting.reminded,
        "unclaimed": waiting.unclaimed,
        "drafts_dropped": waiting.dropped,
        "looked_at": swept.looked_at,
        "watched": swept.watched,
        "slept": swept.slept,
        "woken": swept.woken,
        "expired": swept.expired,
        "cancellation_proposed": swept.proposed,
        "held_back": swept.held_back,
        "silent_feeds": swept.silent_feeds,
    }
    if as_json:
        json_object({"schema": "citycard/sweep/1", **figures})
    else:
        for name, value in figures.items():
            result(f"{name:22} {value}")
    engine.refuse_when_stopped(swept)


@app.command("whatif")
def whatif(
    data: Data = DEFAULT_DATA,
    day: Annotated[
        datetime | None,
        typer.Option("--day", formats=["%Y-%m-%d"], help="Replay up to this day instead of today."),
    ] = None,
    as_json: Json = False,
) -> None:
    """What other grace periods would have done: sleeps, flickers, voided. 规则推演。"""
    from core.clock import business_date
    from registry.dormancy import whatif as replay
    from runtime.services import build
    from runtime.settings import Settings

    services = build(Settings(data=data))
    try:
        until = day.date() if day else business_date(services.clock.now())
        with services.db.read() as tx:
            table = replay.compare(tx, until)
    finally:
        services.close()
    if as_json:
        json_object(
            {"schema": "citycard/whatif/1", "until": str(until), "table": [vars(x) for x in table]}
        )
        return
    result("grace  permits  slept  open  flickers  voided")
    for line in table:
        result(
            f"{line.grace:5}  {line.permits:7}  {line.slept:5}  {line.open:4}  {line.flickers:8}"
            f"  {line.voided:6}"
        )
