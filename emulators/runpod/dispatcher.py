"""The endpoint in time: clock, deadlines, and waking whoever waits. Runs on the server's event loop only."""

import asyncio
import time
from enum import Enum, auto

from emulators.runpod.bell import Bell
from emulators.runpod.endpoint import Connection, Endpoint
from emulators.runpod.faults import Faults
from emulators.runpod.jobs import Job, JsonObject, Status
from emulators.runpod.webhooks import Webhooks


class Receipt(Enum):
    """What became of a worker's report."""

    KEPT = auto()
    LATE = auto()
    UNKNOWN = auto()


class Dispatcher:
    """Every change to the endpoint goes through here, so that timers and waiters follow."""

    def __init__(self, endpoint: Endpoint, faults: Faults, *, webhook_retry_seconds: float) -> None:
        self.endpoint = endpoint
        self.faults = faults
        self.bell = Bell()
        self.webhooks = Webhooks(webhook_retry_seconds, posted=self.bell.ring)
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def now(self) -> float:
        """Seconds on the clock that all jobs are timed by."""
        return time.monotonic()

    async def close(self) -> None:
        """Ends all long polls, timers and deliveries."""
        self.bell.close()
        for timer in self._timers.values():
            timer.cancel()
        await self.webhooks.close()

    def submit(self, job: Job) -> None:
        """Queues a new job."""
        self.endpoint.submit(job)
        self._changed(job)

    async def take(self, worker_id: str, wanted: int, connection: Connection, seconds: float) -> list[Job]:
        """Waits for jobs for a worker. One that hung up meanwhile gets none, or they would be lost."""

        def look() -> list[Job]:
            return [] if connection.is_closing() else self.endpoint.take(worker_id, wanted, self.now())

        taken = await self.bell.until(look, seconds)
        for job in taken:
            self._changed(job)
        return taken

    async def stops(self, worker_id: str, connection: Connection, seconds: float) -> list[str]:
        """Waits for jobs that a worker must stop."""

        def look() -> list[str]:
            return [] if connection.is_closing() else self.endpoint.stops_for(worker_id)

        return await self.bell.until(look, seconds)

    async def finished(self, job: Job, seconds: float) -> bool:
        """Waits for the end of a job."""
        return await self.bell.until(lambda: job.is_final, seconds)

    def report(self, worker_id: str, job_id: str, body: JsonObject) -> Receipt:
        """Books what a worker posted to job-done: progress, or the job's end."""
        job = self.endpoint.find(job_id)
        if job is None:
            return Receipt.UNKNOWN
        is_progress = body.get("status") == Status.IN_PROGRESS
        if not self._works_on(worker_id, job):
            return self._late(job, body, sticks=is_progress and self.faults.strikes("late_progress_sticks"))
        if is_progress:
            job.progress(body)
        else:
            self.endpoint.finish(job, body, self.now())
            self._call_webhook(job)
        self._changed(job)
        return Receipt.KEPT

    def stream(self, worker_id: str, job_id: str, chunk: JsonObject) -> Receipt:
        """Books a chunk that a worker streamed."""
        job = self.endpoint.find(job_id)
        if job is None:
            return Receipt.UNKNOWN
        if not self._works_on(worker_id, job):
            return self._late(job, chunk, sticks=False)
        job.chunks.append(chunk)
        self._changed(job)
        return Receipt.KEPT

    def cancel(self, job: Job) -> None:
        """Cancels a job unless it is over."""
        if not job.is_final:
            self.endpoint.cancel(job, self.now())
            self._changed(job)

    def retry(self, job: Job) -> None:
        """Queues a job again."""
        self.endpoint.retry(job, self.now())
        self._changed(job)

    def purge(self) -> int:
        """Cancels the whole queue; returns how many jobs that were."""
        purged = self.endpoint.purge(self.now())
        for job in purged:
            self._changed(job)
        return len(purged)

    def _works_on(self, worker_id: str, job: Job) -> bool:
        return job.status is Status.IN_PROGRESS and job.worker_id == worker_id and not job.stuck

    def _late(self, job: Job, body: JsonObject, *, sticks: bool) -> Receipt:
        job.late.append(body)
        if sticks:
            job.stick(body)
        self._changed(job)
        return Receipt.LATE

    def _changed(self, job: Job) -> None:
        self._set_timer(job)
        self.bell.ring()

    def _call_webhook(self, job: Job) -> None:
        if url := job.passed_on.get("webhook"):
            self.webhooks.deliver(url, job.describe())

    def _set_timer(self, job: Job) -> None:
        if timer := self._timers.pop(job.id, None):
            timer.cancel()
        if not job.gone:
            delay = job.next_deadline() - self.now()
            self._timers[job.id] = asyncio.get_running_loop().call_later(delay, self._pass_deadline, job)

    def _pass_deadline(self, job: Job) -> None:
        self.endpoint.pass_deadline(job, max(self.now(), job.next_deadline()))
        if not job.gone:
            self._call_webhook(job)
        self._changed(job)
