"""``citycard serve``: the API and the console page."""

from pathlib import Path
from typing import Annotated

import typer

from cli.output import note


def serve(
    data: Annotated[
        Path, typer.Option("--data", help="Folder of a run, for example the demo's.")
    ] = Path("citycard-demo"),
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", help="Port to listen on; 0 takes a free one.")
    ] = 8080,
) -> None:
    """Show a run in a browser: stations, cards, events, equations. 在浏览器中查看。"""
    import socket

    import uvicorn

    from api.app import create_app
    from runtime.services import build
    from runtime.settings import Settings

    settings = Settings(data=data, api_host=host, api_port=port)
    services = build(settings)
    listener = socket.create_server((settings.api_host, settings.api_port))
    try:
        bound = listener.getsockname()[1]
        note(f"citycard: http://{host}:{bound}/  (API documents at /docs)")
        config = uvicorn.Config(  # an open event stream must not hold the end up
            create_app(services), log_level="warning", timeout_graceful_shutdown=1
        )
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        listener.close()
        services.close()
