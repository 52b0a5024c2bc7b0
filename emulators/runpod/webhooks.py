"""Posts finished jobs to the webhooks that their requests named."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from emulators.runpod.jobs import JsonObject

TRIES = 3  # "up to 2 more times with a 10-second delay" (RunPod docs, "Send API requests")


@dataclass(frozen=True)
class WebhookPost:
    """One attempt to deliver: the answer's HTTP status, or None if there was no answer."""

    url: str
    job_id: str
    attempt: int
    status: int | None


class Webhooks:
    """Delivers in the background; `posts` lists every attempt, oldest first; `posted` is called after each."""

    def __init__(self, retry_seconds: float, posted: Callable[[], None]) -> None:
        self.posts: list[WebhookPost] = []
        self._posted = posted
        self._retry_seconds = retry_seconds
        self._tasks: set[asyncio.Task[None]] = set()

    def deliver(self, url: str, body: JsonObject) -> None:
        """Starts delivering the body of `/status` to `url`."""
        task = asyncio.get_running_loop().create_task(self._deliver(url, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Gives up on what is not delivered yet."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, url: str, body: JsonObject) -> None:
        async with aiohttp.ClientSession() as session:
            for attempt in range(1, TRIES + 1):
                status = await self._post(session, url, body)
                self.posts.append(WebhookPost(url, body["id"], attempt, status))
                self._posted()
                if status == 200:
                    return
                if attempt < TRIES:
                    await asyncio.sleep(self._retry_seconds)

    async def _post(self, session: aiohttp.ClientSession, url: str, body: JsonObject) -> int | None:
        try:
            async with session.post(url, json=body, timeout=aiohttp.ClientTimeout(total=30)) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return None
