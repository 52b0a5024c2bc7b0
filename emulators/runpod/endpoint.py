"""One serverless endpoint: its queue, its workers and its counts. Pure: the time is an argument."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from emulators.runpod.jobs import Job, JsonObject, Status


class Connection(Protocol):
    """The one thing asked of a worker's TCP connection (an asyncio transport has it)."""

    def is_closing(self) -> bool:
        """Whether the other side is gone."""


@dataclass
class Worker:
    """A worker process as the platform sees it: by its id and its connections.

    `stops` are the jobs it has yet to be told to stop. A `stopped` worker asked for its pod to be stopped
    (`stopPod`) and gets no more jobs until another process takes over its id.
    """

    id: str
    stops: list[str] = field(default_factory=list)
    stopped: bool = False
    unhealthy: bool = False
    _connections: set[Connection] = field(default_factory=set)

    @property
    def connected(self) -> bool:
        """Whether its process lives, judged by its open connections."""
        return any(not connection.is_closing() for connection in self._connections)

    def speaks_over(self, connection: Connection) -> None:
        """It sent a request. If its earlier connections are all closed, a new process has taken its id."""
        if not self.connected:
            self.stopped = self.unhealthy = False
        self._connections = {known for known in self._connections if not known.is_closing()} | {connection}


class Endpoint:
    """The jobs in the order they came, and who works on what."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.workers: dict[str, Worker] = {}
        self.stopped_workers: list[str] = []
        self._queue: list[Job] = []
        self._counts: Counter[str] = Counter()

    def worker(self, worker_id: str) -> Worker:
        """The worker of that id, known from its first request on."""
        return self.workers.setdefault(worker_id, Worker(worker_id))

    def find(self, job_id: str) -> Job | None:
        """The job, unless there never was one or its time is over."""
        job = self.jobs.get(job_id)
        return None if job is None or job.gone else job

    def submit(self, job: Job) -> None:
        """Puts a new job at the end of the queue."""
        self.jobs[job.id] = job
        self._queue.append(job)

    def take(self, worker_id: str, wanted: int, now: float) -> list[Job]:
        """Gives a worker up to `wanted` jobs, low-priority ones only when no other waits."""
        if self.worker(worker_id).stopped:
            return []
        taken = sorted(self._queue, key=lambda job: job.policy.low_priority)[:wanted]
        for job in taken:
            self._queue.remove(job)
            job.take(worker_id, now)
        return taken

    def finish(self, job: Job, body: JsonObject, now: float) -> None:
        """Books a worker's result, and its wish to be stopped."""
        job.finish(body, now)
        self._counts["failed" if job.status is Status.FAILED else "completed"] += 1
        if job.stop_pod and job.worker_id is not None:
            self.worker(job.worker_id).stopped = True
            self.stopped_workers.append(job.worker_id)

    def cancel(self, job: Job, now: float) -> None:
        """Cancels a job that is not over; a running one is stopped on its worker."""
        self._withdraw(job)
        job.cancel(now)

    def retry(self, job: Job, now: float) -> None:
        """Queues a failed or timed-out job again."""
        job.retry(now)
        self._queue.append(job)
        self._counts["retried"] += 1

    def purge(self, now: float) -> list[Job]:
        """Cancels all that waits in the queue."""
        waiting = list(self._queue)
        for job in waiting:
            self.cancel(job, now)
        return waiting

    def pass_deadline(self, job: Job, now: float) -> None:
        """Lets a job time out or be forgotten."""
        self._withdraw(job)
        job.pass_deadline(now)
        if job.status is Status.TIMED_OUT and not job.gone:
            self._counts["failed"] += 1

    def stops_for(self, worker_id: str) -> list[str]:
        """The jobs that a worker must stop, each told once."""
        worker = self.worker(worker_id)
        stops, worker.stops = worker.stops, []
        return stops

    def health(self) -> JsonObject:
        """The body of `/health`, with the six worker counts of the live service."""
        running = {job.worker_id for job in self.jobs.values() if job.status is Status.IN_PROGRESS and not job.gone}
        present = {worker.id for worker in self.workers.values() if worker.connected and not worker.stopped}
        idle = len(present - running)
        return {
            "jobs": {
                "completed": self._counts["completed"],
                "failed": self._counts["failed"],
                "inProgress": sum(job.status is Status.IN_PROGRESS and not job.gone for job in self.jobs.values()),
                "inQueue": len(self._queue),
                "retried": self._counts["retried"],
            },
            "workers": {
                "idle": idle,
                "initializing": 0,
                "ready": idle,
                "running": len(present & running),
                "throttled": 0,
                "unhealthy": sum(worker.unhealthy for worker in self.workers.values()),
            },
        }

    def _withdraw(self, job: Job) -> None:
        if job in self._queue:
            self._queue.remove(job)
        elif job.status is Status.IN_PROGRESS and not job.stuck and job.worker_id is not None:
            self.worker(job.worker_id).stops.append(job.id)
