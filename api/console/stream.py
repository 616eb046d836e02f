"""The one event stream: says that something changed, the page then fetches what it shows.

A heartbeat every few seconds lets the page notice a dead stream. `async` because a thread per open
screen would be a waste; the database is asked in the thread pool.
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from core import events
from runtime.services import Services

router = APIRouter()
POLL_SECONDS = 0.5
HEARTBEAT_POLLS = 4


@router.get("/console/stream", response_class=EventSourceResponse, include_in_schema=False)
async def stream(request: Request) -> AsyncIterator[ServerSentEvent]:
    """``changed`` when the event log has grown (data: its new length), ``alive`` in between."""
    services: Services = request.app.state.services

    def newest() -> int:
        with services.db.read() as tx:
            return events.last_seq(tx)

    seen, quiet = -1, 0
    while not await request.is_disconnected():
        seq = await run_in_threadpool(newest)
        if seq != seen:
            seen, quiet = seq, 0
            yield ServerSentEvent(event="changed", raw_data=str(seq))
        elif quiet >= HEARTBEAT_POLLS:
            quiet = 0
            yield ServerSentEvent(event="alive", raw_data=str(seq))
        quiet += 1
        await asyncio.sleep(POLL_SECONDS)
