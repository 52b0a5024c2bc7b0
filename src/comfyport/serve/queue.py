"""The queue behind the HTTP door: jobs in order, one at a time, answers kept for a while."""

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from comfyport.errors import JobUnknown, QueueFull

Status = Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED"]
Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


@dataclass
class Job:
    """A job and what became of it; times in seconds since 1970."""

    id: str
    input: Any = field(repr=False)
    status: Status = "IN_QUEUE"
    answer: dict[str, Any] | None = field(default=None, repr=False)
    queued_at: float = field(default_factory=time.time)
    started_at: float | None = None
    ended_at: float | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ("COMPLETED", "FAILED", "CANCELLED")

    def as_json(self) -> dict[str, Any]:
        """The job as RunPod's `/status` shows one: times in milliseconds, `output`, `error`."""
        shown: dict[str, Any] = {"id": self.id, "status": self.status}
        if self.started_at:
            shown["delayTime"] = round((self.started_at - self.queued_at) * 1000)
        if self.started_at and self.ended_at:
            shown["executionTime"] = round((self.ended_at - self.started_at) * 1000)
        if self.answer is not None:
            rest = {key: value for key, value in self.answer.items() if key != "error"}
            shown |= {"output": rest} if rest else {}
            shown |= {"error": self.answer["error"]} if "error" in self.answer else {}
        return shown


class Queue(Protocol):
    """Where the HTTP door puts its jobs: `LocalQueue` here, Modal's own on Modal."""

    async def submit(self, job_input: Any) -> Job:
        """Queues a job. Raises QueueFull."""

    async def find(self, job_id: str) -> Job:
        """A job as it is now. Raises JobUnknown."""

    async def wait(self, job_id: str, seconds: float) -> Job:
        """A job when it has ended, or as it is after `seconds`. Raises JobUnknown."""

    async def cancel(self, job_id: str) -> Job:
        """Ends a job that waits or runs. Raises JobUnknown."""

    async def counts(self) -> dict[str, int]:
        """Jobs by state, as RunPod's `/health` names them."""


class LocalQueue:
    """A queue in this process: `size` jobs may wait, answers are kept for `keep_seconds`."""

    def __init__(self, handler: Handler, *, size: int, keep_seconds: float) -> None:
        self._handler = handler
        self._size = size
        self._keep_seconds = keep_seconds
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._ended: dict[str, asyncio.Event] = {}
        self._waiting: asyncio.Queue[Job] = asyncio.Queue()
        self._running: dict[str, asyncio.Task[dict[str, Any]]] = {}

    async def submit(self, job_input: Any) -> Job:
        """Queues a job behind the others. Raises QueueFull."""
        self._forget()
        waiting = sum(job.status == "IN_QUEUE" for job in self._jobs.values())
        if waiting >= self._size:
            raise QueueFull(waiting)
        job = Job(str(uuid.uuid4()), job_input)
        self._jobs[job.id] = job
        self._ended[job.id] = asyncio.Event()
        self._waiting.put_nowait(job)
        return job

    async def find(self, job_id: str) -> Job:
        """A job as it is now. Raises JobUnknown."""
        self._forget()
        try:
            return self._jobs[job_id]
        except KeyError:
            raise JobUnknown(job_id) from None

    async def wait(self, job_id: str, seconds: float) -> Job:
        """A job when it has ended, or as it is after `seconds`. Raises JobUnknown."""
        job = await self.find(job_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended[job_id].wait()
        return job

    async def cancel(self, job_id: str) -> Job:
        """Ends a job; returns when ComfyUI was told. Raises JobUnknown."""
        job = await self.find(job_id)
        if not job.ended:
            self._end(job, "CANCELLED", None)
        if running := self._running.get(job_id):
            running.cancel()
            await asyncio.wait({running})
        return job

    async def counts(self) -> dict[str, int]:
        """Jobs by state."""
        names = {
            "inQueue": "IN_QUEUE",
            "inProgress": "IN_PROGRESS",
            "completed": "COMPLETED",
            "failed": "FAILED",
        }
        return {shown: sum(job.status == name for job in self._jobs.values()) for shown, name in names.items()}

    async def work(self) -> None:
        """Takes jobs in order until cancelled; the running one is then cancelled too."""
        while True:
            job = await self._waiting.get()
            if not job.ended:
                await self._perform(job)

    async def _perform(self, job: Job) -> None:
        job.status, job.started_at = "IN_PROGRESS", time.time()
        running = asyncio.ensure_future(self._handler({"id": job.id, "input": job.input}))
        self._running[job.id] = running
        try:
            await asyncio.wait({running})
        finally:
            running.cancel()
            del self._running[job.id]
        if not job.ended and not running.cancelled():
            answer = running.result()
            self._end(job, "FAILED" if "error" in answer else "COMPLETED", answer)

    def _end(self, job: Job, status: Status, answer: dict[str, Any] | None) -> None:
        job.status, job.answer, job.ended_at = status, answer, time.time()
        job.input = None
        self._ended[job.id].set()

    def _forget(self) -> None:
        """Drops answers that were kept long enough."""
        limit = time.time() - self._keep_seconds
        for job in [job for job in self._jobs.values() if job.ended_at and job.ended_at < limit]:
            del self._jobs[job.id], self._ended[job.id]
