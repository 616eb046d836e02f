"""``/healthz`` the process lives; ``/readyz`` it can do its work."""

from fastapi import APIRouter
from sqlalchemy import text

from api.deps import City

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(city: City) -> dict[str, str]:
    """The database answers too; otherwise 503 with a problem document."""
    with city.db.read() as tx:
        tx.execute(text("SELECT 1"))
    return {"status": "ready"}
