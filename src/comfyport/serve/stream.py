"""`/stream`: what a job tells, as server-sent events, or piece by piece as RunPod's client library fetches it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.responses import Response

from comfyport.serve.answers import encoded
from comfyport.serve.events import Told
from comfyport.serve.job import Job

# Below the 60 s after which proxies commonly take a silent connection for dead.
KEEP_ALIVE_SECONDS = 15.0
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def pieces(job: Job, told: Iterable[Told]) -> dict[str, Any]:
    """RunPod's form: what was `told` since the last call."""
    return {"status": job.status, "stream": [{"output": item.event.as_json()} for item in told]}


def server_sent(job: Job, last_event_id: str, *, keep_alive: float = KEEP_ALIVE_SECONDS) -> Response:
    """Server-sent events after `last_event_id` until the job has ended; the last is its result.

    204, which tells a browser not to come back, if it has been sent already.
    """
    seen = int(last_event_id) if last_event_id.isdecimal() and len(last_event_id) < 16 else 0
    if job.ended and seen >= job.events.last:
        return Response(status_code=204)
    return EventSourceResponse(_events(job, seen, keep_alive), headers=HEADERS)


async def _events(job: Job, seen: int, keep_alive: float) -> AsyncIterator[bytes]:
    backlog = job.events
    while True:
        news = backlog.news
        for told in backlog.after(seen):
            yield await _event(job, told)
            seen = told.number
        if job.ended and seen >= backlog.last:
            return
        try:
            async with asyncio.timeout(keep_alive):
                await news.wait()
        except TimeoutError:
            yield KEEPALIVE_COMMENT


async def _event(job: Job, told: Told) -> bytes:
    content = told.event.as_json()
    kind = content["type"]
    if kind == "result" and told.number == job.events.last:
        content |= job.as_json()
    data = (await encoded(content)).decode("ascii")
    return format_sse_event(data_str=data, event=kind, id=str(told.number))
