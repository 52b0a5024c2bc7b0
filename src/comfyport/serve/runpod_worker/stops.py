"""Hears which jobs RunPod wants stopped, those included that have not arrived yet."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from runpod.http_client import TooManyRequests

from comfyport.serve.runpod_worker.outage import NETWORK_ERRORS, Outage, reason

# As in the SDK (rp_scale.py): how long a poll is held at most, and the pause after a 429.
POLL_SECONDS = 90.0
DEBOUNCE_SECONDS = 5.0
# A poll that comes back empty is not asked again before this, counted from when it was sent.
FLOOR_SECONDS = 1.0
# A job that was handed out arrives within this time.
EARLY_SECONDS = 10.0


class Stops:
    """Polls with `fetch` and calls `stop` with the id of each job; `stop` says whether that job is at work.

    A job can be cancelled after it was handed out and before it arrives. The SDK forgets such a stop.
    """

    def __init__(self, fetch: Callable[[], Awaitable[list[str]]], stop: Callable[[str], bool]) -> None:
        self._fetch = fetch
        self._stop = stop
        self._early: dict[str, float] = {}
        self._known: deque[str] = deque(maxlen=100)

    def arrived(self, job_id: str) -> bool:
        """Notes a job that has arrived; whether it was to be stopped before it did."""
        self._known.append(job_id)
        told_at = self._early.pop(job_id, None)
        return told_at is not None and asyncio.get_running_loop().time() - told_at < EARLY_SECONDS

    async def hear(self) -> None:
        """Polls until cancelled."""
        loop = asyncio.get_running_loop()
        outage = Outage("asking for jobs to stop")
        while True:
            started = loop.time()
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    job_ids = await self._fetch()
            except TooManyRequests:
                await asyncio.sleep(DEBOUNCE_SECONDS)
            except TimeoutError:
                await asyncio.sleep(FLOOR_SECONDS)
            except (*NETWORK_ERRORS, ValueError) as error:
                await asyncio.sleep(outage.failed(reason(error)))
            else:
                outage.over()
                for job_id in job_ids:
                    self._take(job_id)
                if not job_ids:
                    await asyncio.sleep(max(0.0, started + FLOOR_SECONDS - loop.time()))

    def _take(self, job_id: str) -> None:
        # What has come and gone may come again: RunPod retries a job under the id that it had.
        if not self._stop(job_id) and job_id not in self._known:
            now = asyncio.get_running_loop().time()
            self._early = {known: at for known, at in self._early.items() if now - at < EARLY_SECONDS}
            self._early[job_id] = now
