"""One job's life: queued, taken, reported on, finished, forgotten. Pure: the time is always an argument.

States and fields follow RunPod's "Job states" and "Operation reference" pages. All times here are seconds
on one steady clock; the milliseconds of the API appear only in `describe` and `changed_by`.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

JsonObject = dict[str, Any]


class Status(StrEnum):
    """What a client is told about a job. The documented `RUNNING` is never sent (runpod/docs#511)."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.TIMED_OUT})


@dataclass(frozen=True)
class Policy:
    """How long a job may run and live (seconds), and whether others go first."""

    execution_timeout: float = 600.0
    ttl: float = 86_400.0
    low_priority: bool = False

    def changed_by(self, wishes: JsonObject) -> "Policy":
        """This policy with a request's `policy` object on top; its times are milliseconds."""
        return Policy(
            execution_timeout=wishes.get("executionTimeout", self.execution_timeout * 1000) / 1000,
            ttl=wishes.get("ttl", self.ttl * 1000) / 1000,
            low_priority=wishes.get("lowPriority", self.low_priority),
        )


@dataclass
class Job:
    """A request and what became of it.

    `passed_on` holds the top-level fields that the worker sees besides `id` and `input`. `result` holds
    `output` and `error` as the worker posted them. `reports` is all progress that counted, `chunks` everything
    streamed, `late` every report that came too late to count. `stop_pod`: the result asked for the worker's end.
    `gone`: forgotten, as if it had never been. `stuck`: put back to IN_PROGRESS for good.
    """

    id: str
    input: Any
    submitted: float
    policy: Policy = field(default_factory=Policy)
    kept_seconds: float = 1800.0
    passed_on: JsonObject = field(default_factory=dict)
    status: Status = Status.IN_QUEUE
    worker_id: str | None = None
    result: JsonObject = field(default_factory=dict)
    reports: list[JsonObject] = field(default_factory=list)
    chunks: list[Any] = field(default_factory=list)
    late: list[JsonObject] = field(default_factory=list)
    stop_pod: bool = False
    gone: bool = False
    stuck: bool = False
    queued: float = field(init=False)
    started: float | None = None
    finished: float | None = None
    _chunks_read: int = 0

    def __post_init__(self) -> None:
        self.queued = self.submitted

    @property
    def is_final(self) -> bool:
        """Whether nothing but being forgotten or retried can still happen to it."""
        return self.status in FINAL

    def for_worker(self) -> JsonObject:
        """The job as a worker receives it."""
        return {"id": self.id, "input": self.input, **self.passed_on}

    def describe(self) -> JsonObject:
        """The body of `/status`: times in milliseconds; `output` and `error` only where there are any."""
        body: JsonObject = {"id": self.id, "status": self.status.value}
        if self.started is not None:
            body["delayTime"] = round((self.started - self.queued) * 1000)
            body["workerId"] = self.worker_id
        if self.started is not None and self.finished is not None:
            body["executionTime"] = round((self.finished - self.started) * 1000)
        return body | self.result

    def unread_chunks(self) -> list[Any]:
        """What was streamed since the last call: `/stream` gives every chunk once."""
        unread = self.chunks[self._chunks_read :]
        self._chunks_read = len(self.chunks)
        return unread

    def take(self, worker_id: str, now: float) -> None:
        """A worker has it now."""
        self.status, self.worker_id, self.started = Status.IN_PROGRESS, worker_id, now

    def finish(self, body: JsonObject, now: float) -> None:
        """The worker's last word: failed if it has an `error`, else completed (rp_job.py, `run_job`)."""
        self.result = {key: body[key] for key in ("output", "error") if key in body}
        self.stop_pod = bool(body.get("stopPod"))
        self._end(Status.FAILED if body.get("error") else Status.COMPLETED, now)

    def progress(self, body: JsonObject) -> None:
        """What the worker wants shown while it works."""
        self.reports.append(body)
        self.result = {"output": body.get("output")}

    def stick(self, body: JsonObject) -> None:
        """Imitates runpod-python#250: progress that came after the result puts the job back, for good."""
        self.status, self.stuck = Status.IN_PROGRESS, True
        self.progress(body)

    def cancel(self, now: float) -> None:
        """Nobody wants it any more."""
        self._end(Status.CANCELLED, now)

    def retry(self, now: float) -> None:
        """Back into the queue with the same id and input, without its results."""
        self.status, self.worker_id, self.queued = Status.IN_QUEUE, None, now
        self.started = self.finished = None
        self.result, self.chunks, self._chunks_read = {}, [], 0

    def next_deadline(self) -> float:
        """When something happens to it by itself, unless something else happens first."""
        if self.finished is not None:
            return self.finished + self.kept_seconds
        lives_until = self.submitted + self.policy.ttl
        if self.started is None:
            return lives_until
        return min(lives_until, self.started + self.policy.execution_timeout)

    def pass_deadline(self, now: float) -> None:
        """What `next_deadline` announced: out of execution time, or out of life and then forgotten."""
        lives = now < self.submitted + self.policy.ttl
        if self.finished is None and lives:
            self.result = {"error": "executionTimeout exceeded"}
            self._end(Status.TIMED_OUT, now)
        else:
            self._forget()

    def _end(self, status: Status, now: float) -> None:
        self.status, self.finished = status, now

    def _forget(self) -> None:
        self.gone = True
        self.input, self.result, self.chunks = None, {}, []
