"""``citycard access``: who may sign in to the API, as what, until when."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.output import json_object, note, result

app = typer.Typer(help="Grants: who may sign in to the API. 接口登录授权。", no_args_is_help=True)

Data = Annotated[Path, typer.Option("--data", help="Folder of an installation.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
By = Annotated[str, typer.Option("--by", help="The administrator who does it.")]
Person = Annotated[str, typer.Argument(help="Whom; a holder by the person's id.")]
DEFAULT_DATA = Path("citycard-data")


@app.command("grant")
def grant(
    person: Person,
    by: By,
    role: Annotated[list[str], typer.Option("--role", help="A role; may be given twice.")],
    until: Annotated[
        datetime, typer.Option("--until", formats=["%Y-%m-%d"], help="Last day, within a year.")
    ],
    point: Annotated[str, typer.Option("--point", help="A clerk's acceptance point.")] = "",
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Let somebody in; the token is shown this once. 授权登录（令牌只显示一次）。"""
    from registry.points import sign_in
    from registry.roles import Actor, Role
    from runtime.services import build
    from runtime.settings import Settings

    known = {str(one) for one in Role}
    if not set(role) <= known:
        raise typer.BadParameter("a role is one of " + ", ".join(sorted(known)))
    services = build(Settings(data=data))
    try:
        with services.db.write() as tx:
            token = sign_in.grant(
                tx, services.clock, person, [Role(one) for one in role], until.date(),
                Actor.of(by, Role.SYSADMIN), point,
            )  # fmt: skip
    finally:
        services.close()
    if as_json:
        json_object({"schema": "citycard/access-grant/1", "person": person, "token": token})
        return
    note("The token is not kept: hand it over now. 令牌不留存，请立即交付。")
    result(token)


@app.command("revoke")
def revoke(person: Person, by: By, data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Take back every grant of a person; again changes nothing. 收回授权。"""
    from registry.points import sign_in
    from registry.roles import Actor, Role
    from runtime.services import build
    from runtime.settings import Settings

    services = build(Settings(data=data))
    try:
        with services.db.write() as tx:
            ended = sign_in.revoke(tx, services.clock, person, Actor.of(by, Role.SYSADMIN))
    finally:
        services.close()
    if as_json:
        json_object({"schema": "citycard/access-revoke/1", "person": person, "ended": ended})
    else:
        result(f"{person}  {ended}")


@app.command("list")
def list_grants(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Grants in force: person, roles, point, last day. 有效授权。"""
    from registry.points import sign_in
    from runtime.services import build
    from runtime.settings import Settings

    services = build(Settings(data=data))
    try:
        with services.db.read() as tx:
            found = [
                {
                    "person": row.person,
                    "roles": row.roles.split(),
                    "point": row.point,
                    "last_day": str(row.last_day),
                    "granted_by": row.granted_by,
                }
                for row in sign_in.granted(tx, services.clock)
            ]
    finally:
        services.close()
    if as_json:
        json_object({"schema": "citycard/access/1", "grants": found})
        return
    for one in found:
        result(f"{one['last_day']}  {one['person']}  {' '.join(one['roles'])}  {one['point']}")
