"""The event log, read by position."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from api.deps import City, Insider, Language
from core import events

router = APIRouter(prefix="/api/events", tags=["events"], dependencies=[Insider])


class EventOut(BaseModel):
    """One event: position, instant (UTC), kind, what it is about, who did it, its data and a sentence."""

    seq: int
    at: datetime
    kind: str
    subject: str
    actor: str
    data: dict[str, Any]
    sentence: str


@router.get("")
def read_events(
    city: City,
    lang: Language,
    after: Annotated[int, Query(ge=0, description="Position already seen.")] = 0,
    limit: Annotated[int, Query(ge=1, le=events.MAX_PAGE)] = 200,
    kind: Annotated[list[str] | None, Query(description="Only these kinds.")] = None,
) -> list[EventOut]:
    """Events behind a position, oldest first."""
    with city.db.read() as tx:
        found = events.after(tx, after, kinds_wanted=kind or (), limit=limit)
    return [
        EventOut(
            seq=event.seq, at=event.at, kind=event.kind, subject=event.subject, actor=event.actor,
            data=dict(event.data), sentence=event.sentence(lang),
        )
        for event in found
    ]  # fmt: skip
