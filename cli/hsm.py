"""``citycard hsm``: the HSM as a process of its own, its certificates, its table of commands."""

from pathlib import Path
from typing import Annotated

import typer

from cli import output

app = typer.Typer(no_args_is_help=True, help="The HSM. 加密机。")
Home = Annotated[Path, typer.Option("--home", help="The HSM's folder (0700).")]


@app.command("serve")
def serve(
    home: Home,
    certificates: Annotated[
        Path, typer.Option("--certificates", help="Made by `hsm certificates`.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Host port; 0 takes a free one.")] = 0,
    bulk_port: Annotated[int, typer.Option(help="Port of command 90; 0 takes a free one.")] = 0,
    bulk_socket: Annotated[Path | None, typer.Option(help="Unix socket of command 90.")] = None,
    header: Annotated[int, typer.Option(min=0, max=16, help="Characters of a frame's header.")] = 4,
    frame_limit: Annotated[
        int, typer.Option(min=8192, max=32_767, help="Longest frame after its length.")
    ] = 8192,
    stay: Annotated[bool, typer.Option("--stay", help="Go on when standard input ends.")] = False,
    dev: Annotated[
        bool, typer.Option("--dev", help="A development HSM: known secrets, no limits.")
    ] = False,
) -> int:
    """Serve hosts over mutual TLS. The unlock secrets come as hex lines on standard input, then an empty line.

    Prints one JSON line with the ports when ready. Ends on SIGTERM, and when standard input ends (the
    program that started it is gone) unless --stay. 启动加密机服务。
    """
    from hsm_sim.serve import Serving
    from hsm_sim.serve import serve as serve_hsm

    where = Serving(
        home, certificates, host, port, bulk_port, bulk_socket, stay, dev, header, frame_limit
    )
    serve_hsm(where, output.note)
    return 0


@app.command("certificates")
def certificates(
    home: Home,
    folder: Annotated[Path, typer.Option("--folder", help="Where to write the certificates.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> int:
    """Make a private CA, a server certificate and one client certificate for each role; enter them in the policy.

    Done on the HSM's own machine while it is not serving; it replaces all clients known before. 签发证书。
    """
    from core.clock import SystemClock
    from hsm_sim import clients
    from hsm_sim.certificates import make_certificates
    from hsm_sim.hardening import require_private

    require_private(home)
    known = make_certificates(folder, SystemClock())
    clients.save(home, clients.load(home).with_clients(known))
    rows = [{"name": one.name, "role": one.role.value, "key": key} for key, one in known.items()]
    if json:
        output.json_object({"schema": "citycard/hsm-clients/1", "clients": rows})
        return 0
    for row in rows:
        output.result(f"{row['role']:8} {row['name']:8} {row['key']}")
    return 0


@app.command("suspend")
def suspend(
    home: Home,
    kid: Annotated[str, typer.Argument(help="The key's identifier, as `hsm status` lists it.")],
    reason: Annotated[str, typer.Option("--reason", help="Stands in the log.")],
) -> int:
    """Take a key out of use at once, while the HSM is not serving; only a ceremony brings it back.

    The unlock secrets come as hex lines on standard input, then an empty line. 暂停密钥。
    """
    from core.clock import SystemClock
    from hsm_sim.device import Hsm
    from hsm_sim.serve import read_secrets

    hsm = Hsm.open(home, SystemClock())
    try:
        hsm.unlock(read_secrets())
        hsm.suspend(kid, reason)
    finally:
        hsm.close()
    output.result(f"{kid} SUSPENDED")
    return 0


@app.command("backup")
def backup(
    home: Home,
    to: Annotated[Path, typer.Option("--to", help="A folder that does not exist yet.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> int:
    """Copy an HSM that is not serving, whole and checked: keys, LMK file and log belong together. 备份加密机。"""
    _copy(home, to, json)
    return 0


@app.command("restore")
def restore(
    home: Annotated[Path, typer.Option("--home", help="Where it goes; must not exist yet.")],
    backup: Annotated[Path, typer.Option("--backup", help="Made by `hsm backup`.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> int:
    """Put a backup back. Lines written after it are lost, and an auditor who saw them will notice: hold a
    ceremony of kind `restore` before the HSM serves again. 恢复加密机。
    """
    _copy(backup, home, json)
    output.note("hold a ceremony of kind restore; auditors who saw more lines find CHK-ROLLBACK")
    return 0


def _copy(source: Path, target: Path, json: bool) -> None:
    from core.clock import SystemClock
    from hsm_sim.backup import copy_hsm

    copied = copy_hsm(source, target, SystemClock())
    if json:
        output.json_object({"schema": "citycard/hsm-copy/1", **vars(copied)})
        return
    output.result(f"{copied.hsm}  {copied.lines} lines  root {copied.root}")


@app.command("status")
def status(
    home: Home, json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False
) -> int:
    """Show an HSM's folder without unlocking anything, and what a simulator must say of itself. 查看状态。"""
    from hsm_sim.status import folder_status

    value = folder_status(home)
    if json:
        output.json_object(value)
        return 0
    output.note("\n".join(value["notice"]))
    lmk = value["lmk_check"] or "none yet"
    output.result(
        f"{value['hsm']}  {value['firmware']}  LMK {lmk}  {value['signed_lines']} lines signed"
    )
    for key in value["keys"]:
        slot = f"K{key['slot']:03X}"
        output.result(
            f"{slot}  {key['kid']:24} {key['usage']} {key['alg']} {key['kcv']} {key['state']}"
        )
    return 0


@app.command("policy-table")
def policy_table() -> int:
    """Print the table of commands, roles, keys and limits as Markdown. 打印命令策略表。"""
    from hsm_sim.policy import table

    output.result(table().rstrip())
    return 0
