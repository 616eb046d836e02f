"""``citycard host``: the purse host as a process of its own, for terminals (docs/terminals.md)."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import output

if TYPE_CHECKING:
    from runtime.purse_host import PurseHost
    from runtime.purse_lab import RunningLab

app = typer.Typer(no_args_is_help=True, help="The purse host. 电子钱包主机。")
Bind = Annotated[str, typer.Option("--bind", help="Address to listen on.")]
Port = Annotated[int, typer.Option("--port", help="ISO 8583 port; 0 takes a free one.")]
MetricsPort = Annotated[
    int, typer.Option("--metrics-port", help="Port of /metrics and /healthz; 0: none.")
]
Concentrators = Annotated[
    list[str] | None,
    typer.Option("--concentrator", help="Address that many terminals share: no limits for it."),
]


@app.command("lab")
def lab(
    setup: Annotated[Path, typer.Argument(help="Set-up file with test keys, terminals, accounts.")],
    bind: Bind = "127.0.0.1",
    port: Port = 8583,
    metrics_port: MetricsPort = 0,
    data: Annotated[
        Path | None, typer.Option("--data", help="Keep database and bank here; else nowhere.")
    ] = None,
    now: Annotated[
        str, typer.Option("--now", help="Begin at this time, e.g. 2026-11-28T09:00:00+08:00.")
    ] = "",
    still: Annotated[
        bool, typer.Option("--still", help="With --now: the date and time stand still.")
    ] = False,
    concentrator: Concentrators = None,
) -> int:
    """Serve with known keys, to try a terminal or another program against the real host. 测试主机。

    Prints one JSON line with the port when ready; ends on SIGTERM or Ctrl-C.
    """
    from runtime.purse_lab import laboratory
    from runtime.purse_lab_file import Laboratory

    start = datetime.fromisoformat(now) if now else None
    with laboratory(Laboratory.load(setup), data, start, still) as running:
        return _serve(running, bind, port, metrics_port, concentrator)


@app.command("serve")
def serve(
    data: Annotated[Path, typer.Option("--data", help="The installation's folder.")],
    certificates: Annotated[Path, typer.Option("--certificates", help="Clients of the HSM.")],
    slots: Annotated[Path, typer.Option("--slots", help="The HSM's slots.json.")],
    hsm_port: Annotated[int, typer.Option("--hsm-port", help="The HSM's port.")],
    hsm_host: Annotated[str, typer.Option("--hsm-host", help="The HSM's address.")] = "127.0.0.1",
    bind: Bind = "127.0.0.1",
    port: Port = 8583,
    metrics_port: MetricsPort = 0,
    name: Annotated[
        str, typer.Option("--name", help="This host among several on one database.")
    ] = "host-1",
    tls: Annotated[
        Path | None, typer.Option("--tls", help="PEM with certificate and key: TLS on the wire.")
    ] = None,
    concentrator: Concentrators = None,
) -> int:
    """Serve an installation's terminals. The bank is the simulator; its books lie in the data folder. 启动主机。

    Several processes with different names may serve one PostgreSQL database.
    """
    from runtime.purse_host import HostSetup, purse_host

    setup = HostSetup(data, certificates, slots, hsm_host, hsm_port, name)
    with purse_host(setup) as running:
        return _serve(running, bind, port, metrics_port, concentrator, tls)


def _serve(
    host: "RunningLab | PurseHost",
    bind: str,
    port: int,
    metrics_port: int,
    concentrators: list[str] | None,
    tls: Path | None = None,
) -> int:
    import json
    import signal
    import sys
    import threading

    from core import telemetry
    from payments.host import Limits
    from payments.host import serve as listen
    from payments.host_health import health_page
    from payments.host_process import settle_in
    from payments.tls import server_context

    telemetry.configure()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, lambda *_: ended.set())
    context = None if tls is None else server_context(tls)
    limits = Limits(trusted=frozenset(concentrators or ()))
    with (
        listen(
            host.authorizer, host.clock, bind, port, limits, tls=context, judge=host.judge
        ) as running,
        health_page(running.metrics, bind, metrics_port) as health,
    ):
        settle_in()
        ready = {"schema": "citycard/host-ready/1", "port": running.port, "metrics_port": health}
        output.result(json.dumps(ready))
        sys.stdout.flush()
        ended.wait()
    return 0
