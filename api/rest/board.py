"""The equations and the stations as JSON: what the first screen shows."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from api.deps import City, Insider, Language
from core.errors import NotFound
from runtime import board

router = APIRouter(prefix="/api", tags=["board"], dependencies=[Insider])


@router.get("/board")
def read_board(city: City, lang: Language) -> dict[str, Any]:
    """Equations (stock, money, ceremony), stations, cards and the latest events."""
    return asdict(board.gather(city, lang))


@router.get("/summary")
def read_summary(city: City) -> dict[str, Any]:
    """The summary of a run that has ended. 404 RUN-NOT-ENDED while there is none."""
    summary = board.read_summary(city.settings.data)
    if summary is None:
        raise NotFound("RUN-NOT-ENDED", "no summary.json yet")
    return summary
