"""The queue behind the HTTP door: jobs in order, one at a time, each with what it tells on the way."""

import asyncio
import logging
import math
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from comfyport.errors import ComfyportError, NotRetryable, PolicyExceeded, QueueFull, ResultDropped, WorkerStopped
from comfyport.jobs.events import Event, Observer
from comfyport.serve.events import Told
from comfyport.serve.job import Job, Status, Submission
from comfyport.serve.shelf import Shelf

logger = logging.getLogger(__name__)

Run = Callable[[dict[str, Any], Observer], Awaitable[dict[str, Any]]]
# How much the latest job counts when we guess how long the next will take, and the longest that we ever guess.
LATEST_SHARE = 0.3
LONGEST_GUESS_SECONDS = 600


class Queue(Protocol):
    """Where the HTTP door puts its jobs: `LocalQueue` here, Modal's own on Modal.

    One that cannot do what is asked for raises NotOffered.
    """

    async def submit(self, submission: Submission) -> Job:
        """Queues a job, or finds the one of the same idempotency key. Raises QueueFull, IdempotencyKeyReused."""

    async def find(self, job_id: str) -> Job:
        """A job as it is now. Raises JobUnknown."""

    async def wait(self, job_id: str, seconds: float) -> Job:
        """A job when it has ended, or as it is after `seconds`. Raises JobUnknown."""

    async def unread(self, job: Job) -> list[Told]:
        """What `job` has told and was not handed out by this method before, as RunPod's `/stream` has it."""

    async def cancel(self, job_id: str) -> Job:
        """Ends a job that waits or runs, at once. Raises JobUnknown."""

    async def retry(self, job_id: str) -> Job:
        """Queues a job that failed or timed out once more.

        Raises JobUnknown, NotRetryable, ResultDropped, QueueFull.
        """

    async def purge(self) -> int:
        """Cancels every job that waits; how many they were."""

    async def counts(self) -> dict[str, int]:
        """Jobs by state, as RunPod's `/health` names them."""

    async def latest(self, number: int) -> list[Job]:
        """So many jobs at most, the newest first."""


class LocalQueue:
    """A queue in this process, of one event loop: `size` jobs may wait, one runs, `shelf` keeps them all.

    `run` is the handler; its observer may be called in any thread. Each of `on_end` hears of every job that ended.
    """

    def __init__(self, run: Run, shelf: Shelf, *, size: int, on_end: Sequence[Callable[[Job], None]] = ()) -> None:
        self._run = run
        self._shelf = shelf
        self._size = size
        self._on_end = on_end
        self._waiting: OrderedDict[str, Job] = OrderedDict()
        self._arrived = asyncio.Event()
        self._running: tuple[Job, asyncio.Future[dict[str, Any]]] | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._totals: Counter[str] = Counter()
        self._began = 0.0
        self._typical_seconds: float | None = None
        self._closed = False

    async def submit(self, submission: Submission) -> Job:
        """Queues a job behind the others, or finds the one of the same idempotency key.

        Raises QueueFull, IdempotencyKeyReused, WorkerStopped.
        """
        if known := self._shelf.same(submission):
            return known
        self._check_room(submission.size)
        job = Job(str(uuid.uuid4()), submission, webhook=submission.webhook)
        self._shelf.add(job)
        self._enqueue(job)
        return job

    async def find(self, job_id: str) -> Job:
        """A job as it is now. Raises JobUnknown."""
        return self._shelf.find(job_id)

    async def wait(self, job_id: str, seconds: float) -> Job:
        """A job when it has ended, or as it is after `seconds`. Raises JobUnknown."""
        job = self._shelf.find(job_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not job.ended:
                    await job.events.news.wait()
        return job

    async def unread(self, job: Job) -> list[Told]:
        """What `job` has told and was not handed out by this method before."""
        return job.events.unread()

    async def cancel(self, job_id: str) -> Job:
        """Ends a job; ComfyUI is told meanwhile. Raises JobUnknown."""
        job = self._shelf.find(job_id)
        if not job.ended:
            self._end(job, "CANCELLED", None)
        return job

    async def retry(self, job_id: str) -> Job:
        """Queues a job that failed or timed out once more.

        Raises JobUnknown, NotRetryable, ResultDropped, QueueFull.
        """
        job = self._shelf.find(job_id)
        if job.dropped:
            raise ResultDropped(job.id, job.status)
        if job.status not in ("FAILED", "TIMED_OUT"):
            raise NotRetryable(job.id, job.status)
        self._check_room(0)
        job.retries += 1
        self._totals["retried"] += 1
        self._enqueue(job)
        self._shelf.run_again(job)
        return job

    async def purge(self) -> int:
        """Cancels every job that waits; how many they were."""
        waiting = list(self._waiting.values())
        for job in waiting:
            self._end(job, "CANCELLED", None)
        return len(waiting)

    async def latest(self, number: int) -> list[Job]:
        """So many jobs at most, the newest first."""
        return self._shelf.latest(number)

    async def counts(self) -> dict[str, int]:
        """Jobs by state: those that ended since the start, and those that are here now."""
        return {
            "completed": self._totals["COMPLETED"],
            "failed": self._totals["FAILED"] + self._totals["TIMED_OUT"],
            "inProgress": int(self._running is not None),
            "inQueue": len(self._waiting),
            "retried": self._totals["retried"],
        }

    def gauges(self) -> dict[str, float]:
        """What the metrics show of the queue as it is now."""
        return {
            "waiting_jobs": len(self._waiting),
            "running_jobs": int(self._running is not None),
            "kept_bytes": self._shelf.bytes,
            "dropped_results": self._shelf.dropped,
        }

    async def work(self) -> None:
        """Takes jobs in order until cancelled."""
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            await self._perform(self._waiting.popitem(last=False)[1])

    async def close(self, grace: float) -> None:
        """Ends every job: those that wait at once, the running one after `grace` seconds. No more are taken."""
        self._closed = True
        for job in list(self._waiting.values()):
            self._end(job, "FAILED", WorkerStopped("before the job had begun").as_answer())
        if self._running:
            job = await self.wait(self._running[0].id, grace)
            if not job.ended:
                self._end(job, "FAILED", WorkerStopped("while the job ran").as_answer())

    def _check_room(self, size: int) -> None:
        if self._closed:
            raise WorkerStopped("and takes no more jobs")
        if len(self._waiting) >= self._size:
            raise QueueFull(len(self._waiting), retry_after=self._seconds_to_room())
        if not self._shelf.has_room(size):
            raise QueueFull(len(self._waiting), retry_after=self._seconds_to_room(), setting="QUEUE_BYTES")

    def _seconds_to_room(self) -> int:
        """When the next job will be taken, as far as can be told."""
        if self._running:
            lasted = asyncio.get_running_loop().time() - self._began
        else:
            lasted = max((time.time() - job.queued_at for job in self._waiting.values()), default=0.0)
        return guess_left(self._typical_seconds or 0.0, lasted)

    def _enqueue(self, job: Job) -> None:
        job.wait_in_queue()
        self._waiting[job.id] = job
        self._arrived.set()
        if job.submission and job.submission.ttl is not None:
            self._end_after(job, "ttl", job.submission.ttl)

    async def _perform(self, job: Job) -> None:
        job.begin()
        self._began = asyncio.get_running_loop().time()
        running = asyncio.ensure_future(self._run(job.for_handler(), self._observer(job)))
        self._running = job, running
        if job.submission and job.submission.execution_timeout is not None:
            self._end_after(job, "executionTimeout", job.submission.execution_timeout)
        try:
            await asyncio.wait({running})
        finally:
            running.cancel()
            self._running = None
        if not job.ended:
            answer = _answer(running)
            answer.pop("refresh_worker", None)  # RunPod's affair; http_door asks the worker itself
            self._learn(asyncio.get_running_loop().time() - self._began)
            self._end(job, "FAILED" if "error" in answer else "COMPLETED", answer)

    def _observer(self, job: Job) -> Observer:
        loop = asyncio.get_running_loop()

        def tell(event: Event) -> None:
            if not job.ended:
                job.events.add(event)

        def observe(event: Event) -> None:
            # The loop may have ended when the last word of a job comes.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(tell, event)

        return observe

    def _end_after(self, job: Job, policy: str, seconds: float) -> None:
        """Ends the job in that time, unless something else does, or an earlier policy."""
        loop = asyncio.get_running_loop()
        earlier = self._timers.get(job.id)
        if earlier and earlier.when() <= loop.time() + seconds:
            return
        if earlier:
            earlier.cancel()
        exceeded = PolicyExceeded(policy, seconds=seconds).as_answer()
        self._timers[job.id] = loop.call_later(seconds, self._end, job, "TIMED_OUT", exceeded)

    def _end(self, job: Job, status: Status, answer: dict[str, Any] | None) -> None:
        self._waiting.pop(job.id, None)
        if timer := self._timers.pop(job.id, None):
            timer.cancel()
        job.end(status, answer)
        if self._running and self._running[0] is job:
            self._running[1].cancel()
        self._totals[status] += 1
        self._shelf.keep(job)
        for tell in self._on_end:
            try:
                tell(job)
            except Exception:
                logger.exception("an observer of the queue failed id=%s", job.id)

    def _learn(self, seconds: float) -> None:
        before = seconds if self._typical_seconds is None else self._typical_seconds
        self._typical_seconds = before + LATEST_SHARE * (seconds - before)


def guess_left(typical: float, lasted: float) -> int:
    """Seconds that what has `lasted` so long will still take; beyond what is `typical`, as long again."""
    return max(1, min(LONGEST_GUESS_SECONDS, math.ceil(typical - lasted if typical > lasted else lasted)))


def _answer(running: "asyncio.Future[dict[str, Any]]") -> dict[str, Any]:
    if running.cancelled():
        return WorkerStopped("while the job ran").as_answer()
    if error := running.exception():
        logger.error("the handler failed", exc_info=error)
        return ComfyportError(f"An unexpected error occurred: {error}").as_answer()
    return running.result()
