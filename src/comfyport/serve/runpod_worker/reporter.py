"""Tells RunPod how far a job is: twice a second at most, in order, and nothing once the job has ended.

The SDK's own `progress_update` posts from a new thread each time; its posts can overtake each other and the result.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from comfyport.jobs.events import Event

Json = dict[str, Any]
# Posts one event; whether that went well.
Tell = Callable[[Json], Awaitable[bool]]

INTERVAL_SECONDS = 0.5


class Reporter:
    """Passes the latest of a job's events on to `tell` while it is entered; an event that is outdated is left out.

    The first goes out after `interval` seconds, so that a short job tells nothing. When `tell` fails, this job has told
    its last: nobody shall wait for a platform that is slow to listen.
    """

    def __init__(self, tell: Tell, *, interval: float = INTERVAL_SECONDS) -> None:
        self._tell = tell
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._pending: dict[str, Json] = {}
        self._telling = False
        self._ended = False
        self._task: asyncio.Task[None] | None = None

    def observe(self, event: Event) -> None:
        """Takes an event, from whatever thread."""
        self._loop.call_soon_threadsafe(self._take, event)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._pass_on(), name="progress")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Returns once nothing is on its way any more."""
        self._ended = True
        assert self._task is not None  # noqa: S101 - it was entered
        if not self._telling:
            self._task.cancel()
        await asyncio.wait({self._task})

    def _take(self, event: Event) -> None:
        shown = event.as_json()
        # One of each type: a picture does not push the percentage out.
        self._pending[shown["type"]] = shown
        self._news.set()

    async def _pass_on(self) -> None:
        while not self._ended:
            await self._news.wait()
            await asyncio.sleep(self._interval)
            event = self._pending.pop(next(iter(self._pending)))
            if not self._pending:
                self._news.clear()
            self._telling = True
            heard = await self._tell(event)
            self._telling = False
            if not heard:
                return
