"""The web shell: API, OpenAPI documents, one console page, one event stream."""

from importlib import resources
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from api import problems
from api.console import pages, stream
from api.limits import BodyLimit
from api.rest import applications, board, cards, events, health, permits
from runtime.services import Services

DESCRIPTION = (
    "Residents' permits as chip cards that also pay: what was made, paid, cleared and proven. "
    "Money is integer fen, identifiers are strings, errors are problem documents (RFC 9457). "
    "Writes carry an Idempotency-Key: sent twice, a write has one effect and one answer."
)


def create_app(services: Services) -> FastAPI:
    """An application over an open installation; the caller closes the services."""
    app = FastAPI(title="citycard", version="0.1.0", description=DESCRIPTION)
    app.state.services = services
    app.add_middleware(BodyLimit)
    problems.install(app)
    for part in (health, board, cards, events, applications, permits):
        app.include_router(part.router)
    app.include_router(stream.router)
    app.include_router(pages.router)
    static = Path(str(resources.files("api.console"))) / "static"
    app.mount("/static", StaticFiles(directory=static), name="static")
    return app
