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
